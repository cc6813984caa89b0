"""An X archive: what X gives to people who ask for their data, as a zip or unpacked in a folder.

Its data/tweets.js, tweets-part1.js … (tweet.js in older ones) and community-tweet.js each assign a JSON array of posts
to a variable; note-tweet.js has the whole text of the long ones, account.js who posted them all. Nothing is unpacked
to disk. Symlinks in a folder are followed: it is the user's own.
"""

import codecs
import hashlib
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from xtrack.errors import BadData, NotFound
from xtrack.models import Page, Post
from xtrack.sources import _file, _v1, _v2

if TYPE_CHECKING:
    import zipfile

Json = dict[str, Any]

_PAGE_POSTS = 200
_CHUNK_BYTES = 1 << 20
_ITEM_CHARS = 4 << 20
# A file in a zip may be as large as the one, or as many times its packed size; what is small may pack as it likes. Real
# ones pack to a tenth, those made to fill a disk to a thousandth.
_MEMBER_BYTES = 2 << 30
_MEMBER_TIMES = 200
_SMALL_BYTES = 16 << 20
# What zipfile raises beside its own error where a number or an offset cannot be one.
_NO_ZIP = (ValueError, OverflowError, NotImplementedError, OSError, struct.error)
_POSTS = re.compile(r"(community-)?tweets?(?:-part(\d{1,4}))?\.js", re.ASCII)
_NOTES = re.compile(r"note-tweet(?:-part\d{1,4})?\.js", re.ASCII)
_BEGINNING = re.compile(r"\ufeff?\s*(?:window\.)?YTD\.\w+\.part\d+\s*=\s*\[")
_GAP = re.compile(r"[\s,]*")


def claim(argument: str) -> str | None:
    """The absolute path of a folder or of what ends in .zip."""
    path = _file.absolute(argument)
    if path is None:
        return None
    try:
        return path if path.lower().endswith(".zip") or Path(path).is_dir() else None
    except OSError:
        return None


def describe(spec: str) -> str:
    """What it is."""
    return f"an X archive ({'zip' if spec.lower().endswith('.zip') else 'folder'})"


def open_source(spec: str) -> "Archive":
    """The archive with the absolute path `spec`."""
    return Archive(spec)


@dataclass(frozen=True)
class _Contents:
    """The files of an archive's data folder by name, each opened by calling it; `stamp` changes when they do."""

    path: Path
    stamp: str
    files: Mapping[str, Callable[[], AbstractContextManager[IO[bytes]]]]

    def posts(self) -> list[str]:
        """The names of the files with posts, in their order. Raises BadData when there is none."""
        found = {name: match for name in self.files if (match := _POSTS.fullmatch(name))}
        if not found:
            hint = "give the folder or zip that has data/tweets.js in it"
            raise BadData(f"{self.path} is no X archive: there is no data/tweets.js in it", hint)
        return sorted(found, key=lambda name: (bool(found[name][1]), int(found[name][2] or 0), name))

    @contextmanager
    def items(self, name: str, offset: int = 0) -> Iterator[Iterator[tuple[Json, int]]]:
        """The objects of a file's array, each with the offset behind it, from such an offset on.

        What is wrong with them, or within, is told of the file. Raises BadData.
        """
        try:
            with self.files[name]() as file:
                yield _items(file, offset)
        except BadData as error:
            raise BadData(f"{self.path}, data/{name}: {error}", error.hint) from error

    def owner(self) -> Json:
        """The author of the posts, as in the API v2; {} when the archive does not tell."""
        if "account.js" not in self.files:
            return {}
        with self.items("account.js") as items:
            account = next((_v2.as_object(item.get("account")) for item, _ in items), {})
        names = {"id": "accountId", "username": "username", "name": "accountDisplayName"}
        return {name: account.get(called) for name, called in names.items()}

    def notes(self) -> _v1.Notes:
        """The long texts. Raises BadData when they are longer than any person's."""
        notes = _v1.Notes()
        for name in filter(_NOTES.fullmatch, self.files):
            with self.items(name) as items:
                for item, _ in items:
                    notes.add(_v2.as_object(item.get("noteTweet")))
        return notes


class Archive:
    """An archive. Its cursor is JSON: the archive's stamp, which of its files is being read, and the offset there."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def check(self, names: tuple[str, ...]) -> None:
        """Parse the first post, and compare `names` with whose archive it is."""
        with _opened(self.path) as contents:
            owner = contents.owner()
            with contents.items(contents.posts()[0]) as items:
                for item, _ in items:
                    _v1.post(item, owner, _v1.Notes())
                    break
        handle = str(owner.get("username") or "")
        if strangers := [name for name in names if name.lower() != handle.lower()]:
            whose = f"of @{handle}" if handle else "of somebody that it does not name"
            raise NotFound(f"{self.path} is the archive {whose}, without posts of {', '.join(strangers)}")

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """The posts after `cursor`, in the archive's order; all of them once it was replaced by another."""
        with _opened(self.path) as contents:
            done = json.loads(cursor) if cursor else {}
            number, offset = (done["file"], done["offset"]) if done.get("archive") == contents.stamp else (0, 0)
            if number < len(contents.posts()):
                owner, notes = contents.owner(), contents.notes()
                for name in contents.posts()[number:]:
                    yield from _pages(contents, number, name, offset, partial(_v1.post, owner=owner, notes=notes))
                    number, offset = number + 1, 0


def _pages(contents: _Contents, number: int, name: str, offset: int, convert: Callable[[Json], Post]) -> Iterator[Page]:
    """The pages of one file, then what is wrong with it."""

    def page(number: int, offset: int) -> Page:
        return Page(tuple(posts), json.dumps({"archive": contents.stamp, "file": number, "offset": offset}))

    posts: list[Post] = []
    try:
        with contents.items(name, offset) as items:
            for item, end in items:
                posts.append(convert(item))
                offset = end
                if len(posts) == _PAGE_POSTS:
                    yield page(number, offset)
                    posts = []
    except BadData:
        if posts:
            yield page(number, offset)
        raise
    yield page(number + 1, 0)


# Reading


def _items(file: IO[bytes], offset: int) -> Iterator[tuple[Json, int]]:
    """The objects of the array that a file assigns, each with the offset behind it. Raises BadData."""
    window = _Window(file, offset)
    if not offset and not window.skip(_BEGINNING):
        raise BadData("does not begin as X writes it, with window.YTD")
    while window.next_char() != "]":
        item = window.value()
        if not isinstance(item, dict):
            raise BadData(f"not an object before byte {window.offset}")
        yield item, window.offset


class _Window:
    """A UTF-8 file's text, a piece at a time. `offset` is the byte at which what comes next begins."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        file.seek(offset)
        self.offset = offset
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._json = json.JSONDecoder()
        self._text, self._at = "", 0
        self._more()

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Go on behind `pattern` if it is what comes next."""
        match = pattern.match(self._text, self._at)
        if match:
            self._advance(match.end())
        return match is not None

    def next_char(self) -> str:
        """What comes after white space and commas."""
        while self.skip(_GAP) and self._at == len(self._text):
            if not self._more():
                raise BadData("cut off: the array has no end")
        return self._text[self._at]

    def value(self) -> Any:
        """The JSON value that comes next."""
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                # Perhaps there is more of it.
                if len(self._text) - self._at > _ITEM_CHARS or not self._more():
                    raise BadData(f"not JSON, or cut off, at byte {self.offset}") from None
            else:
                self._advance(end)
                return value

    def _advance(self, end: int) -> None:
        self.offset += len(self._text[self._at : end].encode())
        self._at = end

    def _more(self) -> bool:
        piece = self._file.read(_CHUNK_BYTES)
        try:
            self._text = self._text[self._at :] + self._decode(piece, final=not piece)
        except UnicodeDecodeError:
            raise BadData(f"not UTF-8 behind byte {self.offset}") from None
        self._at = 0
        return bool(piece)


# Opening


@contextmanager
def _opened(path: Path) -> Iterator[_Contents]:
    """The archive at `path`. Raises BadData for what is none, Refused and Temporary for what cannot be read."""
    with _file.explained(path):
        is_folder = path.is_dir()
    if is_folder:
        yield _folder(path)
        return
    import zipfile

    with _file.opened(path) as file, ExitStack() as stack:
        status = os.fstat(file.fileno())
        with _unzipping(path, *_NO_ZIP):
            archive = stack.enter_context(zipfile.ZipFile(file))
        files = {name: partial(_member, path, archive, member) for name, member in _members(path, archive).items()}
        yield _Contents(path, f"{status.st_size}-{status.st_mtime_ns}", files)


@contextmanager
def _member(path: Path, archive: "zipfile.ZipFile", member: "zipfile.ZipInfo") -> Iterator[IO[bytes]]:
    with _unzipping(path, *_NO_ZIP):
        file = archive.open(member)
    with _unzipping(path), file:
        yield file


@contextmanager
def _unzipping(path: Path, *also: type[Exception]) -> Iterator[None]:
    """What is wrong with a zip, told of `path`. Raises BadData."""
    import zipfile

    wrong: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, EOFError, *also)
    try:
        yield
    except wrong as error:
        raise BadData(f"{path} is no whole zip: {error}", f"unzip -t {path}") from None


def _folder(path: Path) -> _Contents:
    found = {}
    digest = hashlib.sha256()
    with _file.explained(path):
        data = path / "data"
        for file in sorted(data.iterdir()) if data.is_dir() else ():
            if _is_ours(file.name):
                status = file.stat()
                digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
                found[file.name] = partial(_file.opened, file)
    return _Contents(path, digest.hexdigest()[:16], found)


def _members(path: Path, archive: "zipfile.ZipFile") -> dict[str, "zipfile.ZipInfo"]:
    """The files of a zip's data folder, perhaps below one folder more. Raises BadData for a hostile zip."""
    found = {}
    tops = set()
    for member in archive.infolist():
        parts = re.split(r"[/\\]", member.filename)
        if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
            raise BadData(f"{path} holds a name that leads out of it: {member.filename!r:.80}", "do not unpack it")
        if parts[-2:-1] == ["data"] and len(parts) <= 3 and _is_ours(parts[-1]):
            _require_harmless(path, member)
            tops.add("/".join(parts[:-2]))
            found[parts[-1]] = member
    if len(tops) > 1:
        raise BadData(f"{path} holds more than one archive", "unpack it and give one of its folders")
    return found


def _require_harmless(path: Path, member: "zipfile.ZipInfo") -> None:
    if member.flag_bits & 1:
        raise BadData(f"{path} is encrypted", "unpack it with its password and give the folder")
    if member.compress_type not in (0, 8):  # stored, deflated
        raise BadData(f"{path} is packed in an unknown way", "unpack it and give the folder")
    if member.file_size > min(_MEMBER_BYTES, max(_SMALL_BYTES, _MEMBER_TIMES * member.compress_size)):
        raise BadData(f"{path} would unpack to {member.file_size >> 20} MiB", "do not unpack it")


def _is_ours(name: str) -> bool:
    return name == "account.js" or bool(_POSTS.fullmatch(name) or _NOTES.fullmatch(name))
