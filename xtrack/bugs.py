"""Where the traceback of a bug goes: into a file of its own, so that a log has one line of it and nothing is lost."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from xtrack import __version__
from xtrack.config import locate
from xtrack.errors import XTrackError
from xtrack.privileges import become_service_user
from xtrack.streams import printable

_KEPT = 20


def write(error: Exception, command: str) -> Path | None:
    """Write what a maintainer needs to know, for its owner's eyes; gives the file, None where none can be written.

    A traceback has lines of our code and what the error says, no values of variables.
    """
    import platform
    import tempfile
    import traceback

    text = f"xtrack {__version__}, Python {platform.python_version()}, {platform.platform()}\nxtrack {command}\n\n"
    text += "".join(traceback.format_exception(error))
    text = "\n".join(map(printable, text.split("\n")))
    for folder in _folders():
        with suppress(OSError):
            fd, name = tempfile.mkstemp(prefix="bug-", suffix=".txt", dir=folder)
            if _filled(fd, text):
                return Path(name)
            Path(name).unlink()
    return None


def _filled(fd: int, text: str) -> bool:
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return False
    return True


def _folders() -> Iterator[Path | None]:
    """Below the home's data if there are any, with room for a new one; then None, the one for what is temporary."""
    with suppress(XTrackError, OSError):
        home = locate(os.environ)
        if home.is_system:
            become_service_user()
        if home.data.is_dir():
            home.bugs.mkdir(mode=0o700, exist_ok=True)
            newest_first = sorted(home.bugs.glob("bug-*.txt"), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in newest_first[_KEPT - 1 :]:
                old.unlink(missing_ok=True)
            yield home.bugs
    yield None
