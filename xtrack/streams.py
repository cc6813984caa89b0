"""The standard streams as they may be: closed, full, read by nobody, in another encoding."""

import os
import sys
from typing import TextIO

_LONGEST_LINE = 1000
# Of a terminal that does not tell, such as one that a program has opened.
_UNKNOWN_WIDTH = 80
_CLEAR = "\r\x1b[K"


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
        sys.stderr.write(f"{_CLEAR if _is_watched() else ''}{line}\n")
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def show(progress: str) -> None:
    """Show a terminal how far something is, in the place of what it showed before and until the next line."""
    if _is_watched():
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or _UNKNOWN_WIDTH
            sys.stderr.write(f"{_CLEAR}{printable(progress)[: width - 1]}")
            sys.stderr.flush()
        except OSError:
            abandon(sys.stderr)


def _is_watched() -> bool:
    """Whether stderr is a terminal that can take back what it showed."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def abandon(stream: TextIO) -> None:
    """Have all that is written to a stream go nowhere, also what could not be written yet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def printable(text: str) -> str:
    """A text as one line, which has an end: control characters and the like as escapes."""
    text = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]} …"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
