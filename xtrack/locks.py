"""Locks between processes: one a job, one a feed, and the parallel places. flock(2) frees them when a process ends."""

import errno
import fcntl
import os
import time
from _thread import get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xtrack.errors import Misconfigured, Temporary

# A few wait little; of a thousand each looks seldom, and yet some one of them at once.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
Waiting = Callable[[float], None]
# The files of the locks that threads of this process hold in their turn, by path and thread.
_turns: dict[tuple[Path, int], list[int]] = {}


def _take(path: Path) -> int | None:
    """Lock a file, made where missing; None when somebody has it."""
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        # Whoever deletes a job unlinks its lock file: a lock on a file that is gone locks nobody out.
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)


def _open(path: Path) -> int:
    """Raises Misconfigured when we may not, Temporary when the disk is full or the like."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Misconfigured(f"a lock cannot be made: {error}", f"ls -la {path.parent.parent}") from error
        raise Temporary(f"a lock cannot be made: {error}", f"df -h {path.parent.parent}") from error


def is_held(path: Path) -> bool:
    """Whether another process holds this lock."""
    # Where we may not look, taking it says so.
    with suppress(PermissionError):
        if not path.exists():
            return False
    fd = _take(path)
    if fd is not None:
        os.close(fd)
    return fd is None


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a lock if it is free; gives whether it is ours."""
    fd = _take(path)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            os.close(fd)


@contextmanager
def queued_for(path: Path) -> Iterator[None]:
    """Hold a lock that everybody holds for a moment only, in the order in which they came. Not twice in one thread."""
    # A stop that comes just as the last one ends keeps it from being let go: this thread would wait for itself.
    key = (path, get_ident())
    _let_go(key, _turns.get(key))
    turn = _turns[key] = [_open(path)]
    try:
        fcntl.flock(turn[0], fcntl.LOCK_EX)
        yield
    finally:
        _let_go(key, turn)


def _let_go(key: tuple[Path, int], turn: list[int] | None) -> None:
    """Close the file of a lock that was queued for, once; its number may be another's after that."""
    if turn is not None and _turns.get(key) is turn:
        del _turns[key]
        os.close(turn[0])


@contextmanager
def waited_for(paths: list[Path], waiting: Waiting) -> Iterator[None]:
    """Hold the first of these locks that is free; `waiting` is told the seconds of each pause meanwhile."""
    pause = _FIRST_PAUSE
    while (fd := next((taken for path in paths if (taken := _take(path)) is not None), None)) is None:
        waiting(pause)
        time.sleep(pause)
        pause = min(1.3 * pause, _LONGEST_PAUSE)
    try:
        yield
    finally:
        os.close(fd)


def places(folder: Path, count: int) -> list[Path]:
    """The parallel places of a home."""
    return [folder / f"place-{number}" for number in range(1, count + 1)]


def job(folder: Path, job_id: int) -> Path:
    """The lock of a job's runs."""
    return folder / f"job-{job_id}"


def feed(folder: Path, feed_id: int) -> Path:
    """The lock of a feed's walks."""
    return folder / f"feed-{feed_id}"


def timers(folder: Path) -> Path:
    """The lock of whoever makes timers as the jobs say."""
    return folder / "timers"
