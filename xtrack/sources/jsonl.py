"""Posts of the X API v2 in a file, one JSON value a line: pages as twarc2 writes them, flattened posts, bare posts.

The file may grow between two reads, be rotated as logrotate(8) does it (by rename or copytruncate, numbered or dated,
compressed or not; several times), be cut off or replaced. Of a rotated file the rest is read first.
"""

import codecs
import hashlib
import json
import os
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self, cast

from xtrack.errors import BadData, Temporary, XTrackError
from xtrack.models import Page, Post
from xtrack.sources import _file, _v2

_PAGE_LINES = 200
_PAGE_BYTES = 1 << 20
_LINE_BYTES = 64 << 20
_HASHED_BYTES = 1024
# A compressed file may hold this much, or this many times its size: posts pack to a tenth, not to a thousandth.
_UNPACKED_BYTES = 1 << 20
_UNPACKED_TIMES = 100
# More rotations than this between two reads are not looked for; each costs an open file.
_ROTATED_FILES = 100
# What logrotate puts behind a file's name: a number, 1 the newest, or a date, perhaps with a time.
_ROTATED = re.compile(r"(?:\.(?P<number>\d{1,6})|-(?P<date>\d{6,14}(?:[-_.T]?\d{2,6})?))(?P<packed>\.gz)?", re.ASCII)


def claim(argument: str) -> str | None:
    """The absolute path of whatever looks like one and is of no other kind."""
    return _file.absolute(argument)


def describe(spec: str) -> str:  # noqa: ARG001 - the same for each
    """What it is."""
    return "a file of X API posts (JSONL)"


def open_source(spec: str) -> "JsonLines":
    """The file with the absolute path `spec`."""
    return JsonLines(spec)


@dataclass(frozen=True)
class _Mark:
    """How far one file was read, as the cursor tells it, and by what to know that file again.

    The bytes and line ends that were read, a hash of the first and last KiB of them, the inode and the time in ns of
    the file's last change when it was opened. Cursors of XTrack 0.1 lack these two.
    """

    offset: int
    lines: int
    hash: str
    inode: int | None = None
    changed: int | None = None

    @classmethod
    def of(cls, cursor: str | None) -> Self | None:
        return cls(**json.loads(cursor)) if cursor else None


class JsonLines:
    """A JSONL file. Its cursor is a _Mark in JSON: of the file itself, or of what it was before it was rotated."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def check(self, names: tuple[str, ...]) -> None:
        """Parse the first line that is not blank."""
        with _file.opened(self.path) as file:
            reading = _Reading(self.path, file)
            for line in reading.lines():
                if line.strip():
                    reading.posts(line)
                    return
                reading.advance(line)

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """The lines after `cursor`, in the file's order. A last line that is not yet whole is left for later."""
        mark = _Mark.of(cursor)
        with ExitStack() as stack:
            files = self._unread(stack, mark)
            torn = b""
            for file in files:
                torn = yield from _pages(file, torn)
            if mark is None and not files[-1].offset:
                yield Page((), files[-1].cursor())  # so that the next read knows what was here

    def _unread(self, stack: ExitStack, mark: _Mark | None) -> list["_Reading"]:
        """The files that hold what came after `mark`, oldest first, each opened where reading it goes on.

        A file of the same inode that begins with what was read has grown. Else the newest rotated file that begins so
        is the one that we were in, and those after it are all new. Where none does, the one that we were in may be
        gone and later ones not: those changed since. The file itself is then read from its start: what is known
        already is not stored twice.
        """
        current = _Reading(self.path, stack.enter_context(_file.opened(self.path)))
        if mark is None or (mark.offset and mark.inode in (None, current.inode) and current.go_to(mark)):
            return [current]
        newer = [current]
        for path in self._rotated():
            try:
                file = stack.enter_context(_file.opened(path))
            except XTrackError:  # something else of that name, or just being moved
                continue
            newer.insert(0, _Reading(path, file, packed=path.suffix == ".gz"))
            if mark.offset and newer[0].go_to(mark):
                return newer
        return [file for file in newer if file is current or (mark.changed and file.changed >= mark.changed)]

    def _rotated(self) -> list[Path]:
        """The files that logrotate made of this one, newest first; of one being compressed the old form."""
        found: dict[tuple[str, int], Path] = {}
        try:
            for path in self.path.parent.iterdir():
                match = _ROTATED.fullmatch(path.name.removeprefix(self.path.name))
                if match and path.name.startswith(self.path.name):
                    age = (match["date"] or "", -int(match["number"] or 0))
                    found[age] = min(path, found.get(age, path))
        except OSError:  # a folder that may not be listed hides them
            return []
        return [found[age] for age in sorted(found, reverse=True)[:_ROTATED_FILES]]


class _Reading:
    """One open file and how far it was read."""

    def __init__(self, path: Path, file: BinaryIO, packed: bool = False) -> None:
        status = os.fstat(file.fileno())
        self.path, self.file = path, file
        self.inode, self.changed = status.st_ino, status.st_mtime_ns
        self.offset = self.line_ends = 0
        self._head = self._tail = b""
        self._most_bytes = 0
        if packed:
            import gzip

            self.file = cast(BinaryIO, gzip.GzipFile(fileobj=file))
            self._most_bytes = max(_UNPACKED_BYTES, _UNPACKED_TIMES * status.st_size)

    def go_to(self, mark: _Mark) -> bool:
        """Whether the file begins with what was read up to `mark`; then reading goes on there, else at its start.

        A compressed file that is broken does not; reading it will tell.
        """
        hashed = min(_HASHED_BYTES, mark.offset)
        with suppress(BadData, Temporary), _unpacking(self.path):
            head = self.file.read(hashed)
            self.file.seek(mark.offset - hashed)
            tail = self.file.read(hashed)
            if _fingerprint(head, tail) == mark.hash:
                self.offset, self.line_ends, self._head, self._tail = mark.offset, mark.lines, head, tail
                return True
        self.file.seek(0)
        return False

    def lines(self) -> Iterator[bytes]:
        """What follows, a line at a time; `advance` says that one was taken."""
        with _unpacking(self.path):
            while line := self.file.readline(_LINE_BYTES):
                yield line

    def posts(self, line: bytes, torn: bytes = b"") -> tuple[Post, ...]:
        """The posts of the next line, of which `torn` may be the beginning. Raises BadData, which names the line."""
        try:
            return _posts(line.removeprefix(codecs.BOM_UTF8) if self.line_ends == 0 else line)
        except BadData as error:
            if torn:
                with suppress(BadData):
                    return _posts(torn + line)
            where = f"{self.path}, line {self.line_ends + 1}"
            raise BadData(f"{where}: {error}", "mend or remove that line") from None

    def advance(self, line: bytes) -> None:
        """The next line was taken. Raises BadData when a compressed file holds too much."""
        self.offset += len(line)
        self.line_ends += line.endswith(b"\n")
        if len(self._head) < _HASHED_BYTES:
            self._head = (self._head + line)[:_HASHED_BYTES]
        self._tail = (self._tail + line[-_HASHED_BYTES:])[-_HASHED_BYTES:]
        if 0 < self._most_bytes < self.offset:
            raise BadData(f"{self.path} unpacks to more than {_UNPACKED_TIMES} times its size", "move it elsewhere")

    def cursor(self) -> str:
        """From where reading goes on."""
        mark = _Mark(self.offset, self.line_ends, _fingerprint(self._head, self._tail), self.inode, self.changed)
        return json.dumps(asdict(mark), separators=(",", ":"))


def _pages(file: _Reading, torn: bytes) -> Generator[Page, None, bytes]:
    """The pages of one file, then what is wrong with it; at last gives the beginning of a line that it ends with.

    `torn` is such a beginning, from the file before this one: rotation by copying may cut a line in two.
    """
    posts: list[Post] = []
    error = None
    start, count = file.offset, 0
    for line in file.lines():
        try:
            posts += file.posts(line, torn)
        except BadData as bad:
            if line.endswith(b"\n") or len(line) == _LINE_BYTES:
                error = bad
            torn += line
            break
        file.advance(line)
        torn, count = b"", count + 1
        if count == _PAGE_LINES or file.offset - start >= _PAGE_BYTES:
            yield Page(tuple(posts), file.cursor())
            posts, start, count = [], file.offset, 0
    if count:
        yield Page(tuple(posts), file.cursor())
    if error:
        raise error
    return torn


def _posts(line: bytes) -> tuple[Post, ...]:
    if len(line) == _LINE_BYTES:
        raise BadData(f"longer than {_LINE_BYTES >> 20} MiB")
    try:
        text = line.decode()
        return _v2.posts(json.loads(text)) if text.strip() else ()
    except UnicodeDecodeError:
        raise BadData("not UTF-8") from None
    except (ValueError, RecursionError):
        raise BadData("not JSON") from None


def _fingerprint(head: bytes, tail: bytes) -> str:
    return hashlib.sha256(head + tail).hexdigest()[:16]


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """What is wrong with a compressed file, told of `path`. Raises BadData, or Temporary where more may be to come."""
    try:
        yield
    except EOFError:
        raise Temporary(f"{path} ends too early: not yet compressed, or cut off", f"gzip --test {path}") from None
    except (OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise BadData(f"{path} is not what gzip writes", f"gzip --test {path}") from None
