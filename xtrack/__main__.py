"""`python -m xtrack` is the xtrack command."""

from xtrack.cli import main

main()
