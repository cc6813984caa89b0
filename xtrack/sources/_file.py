"""Files that somebody named: opened without ever waiting for them, and what the system refuses said in our words."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from xtrack.errors import BadData, Refused, Temporary

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def absolute(argument: str) -> str | None:
    """The absolute path, symlinks kept, of what looks like one: it has a slash or a dot, and no scheme."""
    if "://" in argument or not ("/" in argument or "." in argument):
        return None
    try:
        return str(Path(argument).expanduser().absolute())
    except RuntimeError:  # ~name, and nobody has that name
        return None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What the system refuses within, told of `path`. Raises Refused or Temporary."""
    try:
        yield
    except PermissionError:
        raise Refused(f"{path} may not be read", f"ls -ld {path}") from None
    except OSError as error:
        raise Temporary(f"{path} cannot be read: {error.strerror}", f"ls -l {path.parent}") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, to be read. Raises BadData for anything else, Refused and Temporary as `explained` does."""
    with explained(path):
        # Not even opened: that alone has a device do something, and waits for a pipe's other end.
        _require_regular(path, path.stat().st_mode)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _require_regular(path, os.fstat(file.fileno()).st_mode)
            yield file


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise BadData(f"{path} is {kind}, not a file", f"ls -ld {path}")
