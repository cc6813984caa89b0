"""Copies of the whole database, made by SQLite's online backup while others read and write it.

https://www.sqlite.org/backup.html. In one step, so that in WAL mode a copy is of one moment, and keeps nobody waiting.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

_KEPT = 3


def write(
    source: sqlite3.Connection, target: Path, as_owner: Callable[[], AbstractContextManager[None]] = nullcontext
) -> None:
    """Write a copy, whole or not at all, and replace what is there. It is in no WAL mode: one file, readable anywhere.

    `as_owner` is entered for what is done by names at the target's place.
    """
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with as_owner():
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
            for path in (new, *(new.with_name(f"{new.name}{suffix}") for suffix in ("-wal", "-shm", "-journal"))):
                path.unlink(missing_ok=True)


def keep(source: sqlite3.Connection, folder: Path, occasion: str) -> Path:
    """Write a copy that nobody asked for; the oldest of more than three of an occasion goes. Gives its path."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{occasion}-*.db")]
    path = folder / f"{occasion}-{max(found, default=0) + 1}.db"
    write(source, path)
    for number in sorted([*found, max(found, default=0) + 1])[:-_KEPT]:
        (folder / f"{occasion}-{number}.db").unlink(missing_ok=True)
    return path
