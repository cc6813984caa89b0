"""Posts of the X API v2 in a file, one JSON value a line: pages as twarc2 writes them, flattened posts, bare posts.

The file may grow between two reads; one that was replaced or cut off is read again from its start.
"""

import codecs
import hashlib
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from xtrack.errors import BadData, Refused, Temporary
from xtrack.models import Page, Post
from xtrack.sources import _v2

_PAGE_LINES = 200
_PAGE_BYTES = 1 << 20
_LINE_BYTES = 64 << 20
_HASHED_BYTES = 1024


def claim(argument: str) -> str | None:
    """The absolute path, symlinks kept, of what looks like one: it has a slash or a dot, and no scheme."""
    if "://" in argument or not ("/" in argument or "." in argument):
        return None
    try:
        return str(Path(argument).expanduser().absolute())
    except RuntimeError:  # ~name, and nobody has that name
        return None


def open_source(spec: str) -> "JsonLines":
    """The file with the absolute path `spec`."""
    return JsonLines(spec)


class JsonLines:
    """A JSONL file.

    Its cursor is JSON: the bytes read, the line ends among them, and a fingerprint by which to know them again.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def check(self, names: tuple[str, ...]) -> None:
        """Parse the first line that is not blank."""
        with self._open() as file:
            for number, line in enumerate(_lines(file), start=1):
                if line.strip():
                    self._posts(line, number)
                    return

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """The lines after `cursor`, in the file's order. A last line that is not yet whole is left for later."""
        with self._open() as file:
            start, ends = _resume(file, cursor)
            offset, lines, posts, error = start, 0, list[Post](), None
            for line in _lines(file):
                try:
                    posts += self._posts(line, ends + 1)
                except BadData as bad:
                    error = bad if line.endswith(b"\n") or len(line) == _LINE_BYTES else None
                    break
                offset, lines, ends = offset + len(line), lines + 1, ends + line.endswith(b"\n")
                if lines == _PAGE_LINES or offset - start >= _PAGE_BYTES:
                    yield Page(tuple(posts), _cursor(file, offset, ends))
                    start, lines, posts = offset, 0, []
            if lines:
                yield Page(tuple(posts), _cursor(file, offset, ends))
            if error:
                raise error

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """The file; what the system refuses while it is open becomes an error of ours."""
        path = Path(self.path)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BadData(f"{path} is not a file")
            with path.open("rb") as file:
                yield file
        except PermissionError:
            raise Refused(f"{path} may not be read", f"ls -l {path}") from None
        except OSError as error:
            raise Temporary(f"{path} cannot be read: {error.strerror}", f"ls -l {path.parent}") from error

    def _posts(self, line: bytes, number: int) -> tuple[Post, ...]:
        try:
            text = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode()
            return _v2.posts(json.loads(text)) if text.strip() else ()
        except BadData as error:
            reason = str(error)
        except UnicodeDecodeError:
            reason = "not UTF-8"
        except (ValueError, RecursionError):
            reason = "not JSON"
        raise BadData(f"{self.path}, line {number}: {reason}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(_LINE_BYTES), b"")


def _cursor(file: BinaryIO, offset: int, ends: int) -> str:
    return json.dumps({"offset": offset, "lines": ends, "hash": _fingerprint(file, offset)}, separators=(",", ":"))


def _resume(file: BinaryIO, cursor: str | None) -> tuple[int, int]:
    """Go to where `cursor` ends; to the start when the file no longer begins with what was read."""
    if cursor:
        read = json.loads(cursor)
        if _fingerprint(file, read["offset"]) == read["hash"]:
            return read["offset"], read["lines"]
        file.seek(0)
    return 0, 0


def _fingerprint(file: BinaryIO, offset: int) -> str:
    """Of the first and the last KiB of the `offset` bytes that were read, where it leaves the file."""
    digest = hashlib.sha256()
    for start in (0, max(0, offset - _HASHED_BYTES)):
        file.seek(start)
        digest.update(file.read(min(_HASHED_BYTES, offset)))
    return digest.hexdigest()[:16]
