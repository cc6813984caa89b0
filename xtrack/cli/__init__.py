"""The xtrack command: each command parses, calls one use case, and prints what it gives."""

from importlib import import_module

from xtrack.cli.command import run as run_group
from xtrack.cli.group import cli

# In the order in which one needs their commands, and --help lists them.
for _module in ("life", "runs", "digests", "machine", "data"):
    import_module(f"{__name__}.{_module}")


def run() -> int:
    """Do what is typed; gives the exit code."""
    return run_group(cli)
