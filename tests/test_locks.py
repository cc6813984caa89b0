"""Locks between real processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import flocked
from xtrack import locks
from xtrack.errors import Temporary

_HOLDER = """
import sys
from pathlib import Path
from xtrack import locks
with locks.held(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "True\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return locks.job(tmp_path / "locks", 1)


def test_a_free_lock_is_ours_and_free_again_afterwards(lock: Path) -> None:
    with locks.held(lock) as ours:
        assert ours
        assert locks.is_held(lock)
    assert not locks.is_held(lock)


def test_a_lock_is_free_again_after_an_error(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), locks.held(lock):
        _ = 1 / 0
    assert not locks.is_held(lock)


def test_a_lock_that_nobody_ever_took_is_not_held_and_not_made(lock: Path) -> None:
    assert not locks.is_held(lock)
    assert not lock.exists()


def test_another_process_has_it(lock: Path) -> None:
    with holder(lock):
        assert locks.is_held(lock)
        with locks.held(lock) as ours:
            assert not ours


def test_a_process_that_is_killed_has_it_no_longer(lock: Path) -> None:
    with holder(lock) as process:
        process.kill()
        process.wait()
        assert not locks.is_held(lock)


def test_lock_files_are_for_their_owner_s_eyes(lock: Path) -> None:
    with locks.held(lock):
        assert (lock.parent.stat().st_mode & 0o777, lock.stat().st_mode & 0o077) == (0o700, 0)


def test_a_lock_file_that_is_gone_locks_nobody_out(lock: Path) -> None:
    with holder(lock):
        lock.unlink()
        with locks.held(lock) as ours:
            assert ours
            assert lock.exists()


def test_who_waits_for_a_lock_gets_it_when_it_is_free(lock: Path) -> None:
    told: list[float] = []
    with holder(lock) as process:
        threading.Timer(0.3, process.kill).start()
        with locks.waited_for([lock], told.append):
            assert locks.is_held(lock)
    assert told
    assert sum(told) < 5


def test_who_waits_for_a_lock_file_that_is_unlinked_locks_the_new_one(lock: Path) -> None:
    with holder(lock), locks.waited_for([lock], lambda _: lock.unlink()):
        assert lock.exists()
        assert locks.is_held(lock)


def test_a_free_lock_is_not_waited_for(lock: Path) -> None:
    told: list[float] = []
    with locks.waited_for([lock], told.append):
        pass
    assert told == []


def test_a_queue_is_served_in_the_order_of_those_who_came(lock: Path) -> None:
    served = list[int]()

    def wait(number: int) -> None:
        with locks.queued_for(lock):
            served.append(number)
            time.sleep(0.01)

    with holder(lock):
        threads = [threading.Thread(target=wait, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        assert not served
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2, 3, 4, 5]


def test_the_first_free_place_is_taken(tmp_path: Path) -> None:
    places = locks.places(tmp_path / "locks", 3)
    with flocked(places[0]), locks.waited_for(places, lambda _: None):
        assert [locks.is_held(place) for place in places] == [True, True, False]


def test_who_finds_no_place_waits_for_any(tmp_path: Path) -> None:
    places = locks.places(tmp_path / "locks", 2)
    with flocked(places[0]), holder(places[1]) as process:
        threading.Timer(0.3, process.kill).start()
        start = time.monotonic()
        with locks.waited_for(places, lambda _: None):
            assert time.monotonic() - start >= 0.25


def test_a_symlink_in_a_lock_s_place_is_not_followed(lock: Path, tmp_path: Path) -> None:
    lock.parent.mkdir()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Temporary, match="symbolic links"), locks.held(lock):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_jobs_feeds_and_places_have_locks_of_their_own(tmp_path: Path) -> None:
    assert len({locks.job(tmp_path, 1), locks.feed(tmp_path, 1), *locks.places(tmp_path, 8)}) == 10


def test_a_turn_that_a_stop_kept_from_ending_is_not_waited_for(tmp_path: Path) -> None:
    """As a signal does that comes when a `with` ends and before its end has begun; the trace of it keeps the lock."""
    lock = tmp_path / "locks" / "write"
    cut_short = locks.queued_for(lock)
    cut_short.__enter__()
    started = time.monotonic()
    with locks.queued_for(lock):
        cut_short.__exit__(None, None, None)
        assert locks.is_held(lock)
    assert not locks.is_held(lock)
    assert time.monotonic() - started < 5
