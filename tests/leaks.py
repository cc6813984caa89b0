"""The search for X's token in what the tests see of the program: what processes are told and say, and what files hold.

All tests have one token, which belongs into config.toml, and there alone. What is found is kept until it is taken: by
conftest.py after every test, which fails then.
"""

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.peers.x.api import TOKEN

# Files that tests have put it into, and folders that are searched by whoever made them.
meant: set[Path] = set()
_found: list[str] = []
# Processes and their threads, and files, may end while they are looked at.
_gone_meanwhile = suppress(FileNotFoundError, ProcessLookupError)


def _pieces(token: str) -> Iterator[bytes]:
    """What stays of a token, and of each half of it, however it is quoted: the longest run of letters and digits, as it
    is and in base64 (RFC 4648, section 4), where it looks different at each of three places.
    """
    for half in (token[: len(token) // 2], token[len(token) // 2 :]):
        run = max(re.findall("[A-Za-z0-9]+", half), key=len).encode()
        yield run
        for before in range(3):
            encoded = base64.b64encode(b"." * before + run)
            # Without the characters that also tell of what stands beside it.
            whole = encoded[-(-before * 8 // 6) : (before + len(run)) * 8 // 6]
            yield from {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}


_PIECES = tuple(_pieces(TOKEN))


def holds(text: str | bytes) -> bool:
    """Whether the token or a half of it is in a text."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return any(piece in data for piece in _PIECES)


def look(where: str, *texts: str | bytes | None) -> None:
    """Search texts."""
    if any(text and holds(text) for text in texts):
        _found.append(where)


def look_below(folder: Path) -> None:
    """Search the files below a folder, but config.toml and what is meant to hold it, and their names."""
    for path in _files(folder):
        # Closed ones are a test's that is not root's.
        with _gone_meanwhile, suppress(PermissionError):
            look(f"the file {path}", os.fsencode(path.name), path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(at, name) not in meant]
        for name in names:
            path = Path(at, name)
            if name != "config.toml" and path not in meant and path.is_file() and not path.is_symlink():
                yield path


def look_at_processes() -> None:
    """Search the arguments of those that this process, and those which it started, have running (proc(5))."""
    waiting = _children(os.getpid())
    while waiting:
        pid = waiting.pop()
        with _gone_meanwhile:
            look(f"the arguments of process {pid}", Path(f"/proc/{pid}/cmdline").read_bytes())
        waiting += _children(pid)


def _children(pid: int) -> list[int]:
    """Of all its threads; none where there is no /proc."""
    found: list[int] = []
    with _gone_meanwhile:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with _gone_meanwhile:
                found += map(int, (task / "children").read_text().split())
    return found


def taken() -> list[str]:
    """Where it was found since this was asked last."""
    found = _found[:]
    _found.clear()
    return found


class Process(subprocess.Popen[Any]):
    """A process whose arguments are searched, and what it says to those who communicate() with it, as run() does."""

    def __init__(self, args: Any, *more: Any, **options: Any) -> None:
        words = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
        self._name = " ".join(map(str, words))
        look(f"the arguments of {self._name}", *map(os.fsencode, words))
        super().__init__(args, *more, **options)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002 - its name
        said = super().communicate(input, timeout)
        look(f"what was said by {self._name}", *said)
        return said
