"""Copies of the whole database, made by SQLite's online backup while others read and write it.

https://www.sqlite.org/backup.html. In one step, so that in WAL mode a copy is of one moment, and keeps nobody waiting.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from pathlib import Path

_KEPT = 3
_UNFINISHED = ".xtrack-copy-"
_BESIDE = ("-wal", "-shm", "-journal")


def write(
    source: sqlite3.Connection, target: Path, as_owner: Callable[[], AbstractContextManager[None]] = nullcontext
) -> None:
    """Write a copy, whole or not at all, and replace what is there. It is in no WAL mode: one file, readable anywhere.

    `as_owner` is entered for what is done by names at the target's place. Raises OSError and sqlite3.Error.
    """
    new = target.with_name(f"{_UNFINISHED}{os.getpid()}")
    try:
        with as_owner():
            _clear(target.parent)
            # By us, so that it is for its owner's eyes only and no link that somebody has laid there.
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            copy = sqlite3.connect(new, isolation_level=None)
        with closing(copy):
            # Without a journal no other file has to be made there; nobody else has the copy open.
            copy.execute("PRAGMA journal_mode = OFF")
            source.backup(copy)
        with as_owner():
            with closing(sqlite3.connect(new, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = DELETE")
            new.replace(target)
    finally:
        with as_owner():
            _remove(new)


def _clear(folder: Path) -> None:
    """Remove what copies left there whose processes were killed."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        pid = path.name.removeprefix(_UNFINISHED)
        if pid.isdecimal() and (int(pid) == os.getpid() or not _lives(int(pid))):
            _remove(path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        for one in (path, *(path.with_name(f"{path.name}{suffix}") for suffix in _BESIDE)):
            one.unlink(missing_ok=True)


def keep(source: sqlite3.Connection, folder: Path, occasion: str) -> Path:
    """Write a copy that nobody asked for; the oldest of more than three of an occasion goes. Gives its path."""
    folder.mkdir(mode=0o700, exist_ok=True)
    ends = (path.stem.rpartition("-")[2] for path in folder.glob(f"{occasion}-*.db"))
    numbers = sorted(int(end) for end in ends if end.isdecimal())
    path = folder / f"{occasion}-{max(numbers, default=0) + 1}.db"
    write(source, path)
    for number in numbers[: -_KEPT + 1]:
        (folder / f"{occasion}-{number}.db").unlink(missing_ok=True)
    return path


def set_aside(database: Path, folder: Path) -> Path:
    """Move a database that cannot be read into a folder of its own; the file itself stays in its place too, until it is
    replaced. Gives its path.
    """
    number = 1
    while (aside := folder / f"damaged-{number}").exists():
        number += 1
    aside.mkdir(mode=0o700, parents=True)
    (aside / database.name).hardlink_to(database)
    # A new database would be read together with a log that is not its own.
    for beside in (database.with_name(f"{database.name}{suffix}") for suffix in _BESIDE):
        with suppress(FileNotFoundError):
            beside.rename(aside / beside.name)
    return aside / database.name
