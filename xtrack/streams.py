"""The standard streams as they may be: closed, full, read by nobody, in another encoding."""

import os
import sys
from typing import TextIO

_LONGEST_LINE = 1000


def open_all() -> None:
    """Have all three: the next file that is opened takes the number of one that is closed, and its output.

    What the encoding that somebody has chosen does not have is written as an escape.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - stays open
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")


def tell(line: str) -> None:
    """Tell whoever watches, by stderr. That nobody can be told stops nothing."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def abandon(stream: TextIO) -> None:
    """Have all that is written to a stream go nowhere, also what could not be written yet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def printable(text: str) -> str:
    """A text as one line, which has an end: control characters and the like as escapes."""
    text = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} …"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
