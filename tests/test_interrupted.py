"""Commands that are stopped at many moments, by Ctrl-C or by what systemd sends: the next one goes on.

Each moment has a home of its own, a copy of one with some thousand posts. The moments are spread over the time that the
command takes, from when it has begun to listen: until then Python itself is starting, and nothing has been done.
"""

import fcntl
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, Outcome, flocked, write_lines

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SIGNALS = ((INT,), (TERM,), (TERM, TERM), (HUP,), (INT, TERM, INT))
STORED, NEW = 1500, 1000


@dataclass(frozen=True)
class Full:
    """A home with a job that has run, and whose source has new posts."""

    home: Path
    source: Path


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    command = Command(tmp_path_factory.mktemp("full"))
    source = write_lines(command.folder / "posts.jsonl", range(1))
    command.installed("--source", str(source))
    command.good("run-job", "1")
    write_lines(source, range(1, STORED))
    command.good("run-job", "1")
    write_lines(source, range(STORED, STORED + NEW))
    command.make_due(1)
    with closing(sqlite3.connect(command.home / "xtrack.db")) as database, database:
        database.execute("UPDATE posts SET created_at = '2026-01-01T00:00:00.000000+00:00'")
    return Full(command.home, source)


class Interrupted:
    """A command in copies of a home, each of which is stopped at another moment."""

    def __init__(self, full: Full, folder: Path, words: tuple[str, ...], environ: dict[str, str]) -> None:
        self.full = full
        self.folder = folder
        self.words = words
        self.environ = environ

    def moments(self, count: int) -> Iterator[tuple[Command, Outcome]]:
        """Give the command in each home, and what became of the one that was stopped."""
        whole = self._stopped(self._home(0), 60, ())
        assert whole[1].code == 0, whole
        for number, signals in zip(range(1, count + 1), cycle(SIGNALS), strict=False):
            xtrack = self._home(number)
            _, outcome = self._stopped(xtrack, whole[0] * (number - 1) / (count - 1), signals)
            self._check(outcome, signals)
            yield xtrack, outcome
            shutil.rmtree(xtrack.folder)

    def _home(self, number: int) -> Command:
        folder = self.folder / f"moment-{number}"
        shutil.copytree(self.full.home, folder / "home")
        return Command(folder)

    def _stopped(self, xtrack: Command, delay: float, signals: tuple[int, ...]) -> tuple[float, Outcome]:
        """Type it, and send signals after so many seconds; gives how long it took, and what became of it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "xtrack", *self.words],
            cwd=xtrack.folder,
            env={**xtrack.environ, **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until_it_listens(process)
        begun = time.monotonic()
        if signals:
            time.sleep(delay)
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return time.monotonic() - begun, Outcome(process.returncode, out, err)

    def _check(self, outcome: Outcome, signals: tuple[int, ...]) -> None:
        assert outcome.code in (0, *(128 + number for number in signals)), outcome
        assert "Traceback" not in outcome.err, outcome
        assert "Exception" not in outcome.err, outcome
        said = [line for line in outcome.err.splitlines() if line.startswith("xtrack: ")]
        # One line each, of the command and the runs that it has started.
        assert set(said) <= {"xtrack: stopped"}, outcome
        assert len(said) in ((1, 2) if outcome.code else (0,)), outcome


def wait_until_it_listens(process: "subprocess.Popen[str]") -> None:
    """Until it catches SIGTERM, by proc_pid_status(5), or has ended."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)
        if caught and int(caught[1], 16) >> (TERM - 1) & 1:
            return
        time.sleep(0.001)


Interrupt = Callable[..., Interrupted]


@pytest.fixture
def interrupt(full: Full, tmp_path: Path) -> Interrupt:
    def make(*words: str, **environ: str) -> Interrupted:
        return Interrupted(full, tmp_path, words, environ)

    return make


# Quick, and as it should be.
spread = pytest.mark.parametrize("count", [3, pytest.param(25, marks=pytest.mark.slow)])


def sql(xtrack: Command, statement: str) -> Any:
    with closing(sqlite3.connect(xtrack.home / "xtrack.db")) as database:
        found = database.execute(statement).fetchall()
    return found[0][0] if len(found) == 1 and len(found[0]) == 1 else found


def assert_sound(xtrack: Command) -> None:
    """Nothing is damaged, held or half written."""
    assert sql(xtrack, "PRAGMA integrity_check") == "ok"
    assert sql(xtrack, "PRAGMA foreign_key_check") == []
    for lock in (xtrack.home / "locks").iterdir():
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    known = {"xtrack.db", "xtrack.db-wal", "xtrack.db-shm", "locks", "backups", "config.toml"}
    assert {path.name for path in xtrack.home.iterdir()} <= known


def assert_all_is_done(xtrack: Command) -> None:
    """Every post is stored once, and was in one summary."""
    assert_sound(xtrack)
    assert sql(xtrack, "SELECT count(*) FROM posts") == STORED + NEW
    assert sql(xtrack, "SELECT count(*) FROM arrivals") == STORED + NEW
    assert sql(xtrack, "SELECT sum(post_count) FROM summaries") == STORED + NEW
    assert sql(xtrack, "SELECT count(*) FROM runs WHERE state IN ('running', 'queued')") == 0


@spread
def test_a_run_by_hand_that_is_stopped_is_finished_by_the_next(interrupt: Interrupt, count: int) -> None:
    states = set()
    for xtrack, _ in interrupt("run-job", "1").moments(count):
        states.add(last_run(xtrack)[:1])
        xtrack.good("run-job", "1")
        assert_all_is_done(xtrack)
    assert ("failed",) in states


def last_run(xtrack: Command) -> tuple[Any, ...]:
    row: tuple[Any, ...] = sql(xtrack, "SELECT state, exit_code, error, next_try FROM runs ORDER BY id DESC LIMIT 1")[0]
    return row


@spread
def test_a_timer_s_run_that_is_stopped_is_tried_again(interrupt: Interrupt, count: int) -> None:
    states = set()
    for xtrack, outcome in interrupt("run-job", "1", XTRACK_TRIGGER="timer").moments(count):
        state, code, error, next_try = last_run(xtrack)
        states.add(state)
        if state == "failed":
            name = signal.Signals(outcome.code - 128).name
            assert code == 75
            assert re.match(f"stopped by {name} while it was at: (fetching|summarising|waiting|its start)", error)
            assert next_try
        with closing(sqlite3.connect(xtrack.home / "xtrack.db")) as database, database:
            database.execute("UPDATE runs SET next_try = started_at WHERE next_try IS NOT NULL")
            # One that is found dead is tried five minutes after its start.
            database.execute("UPDATE runs SET started_at = '2026-01-01T00:00:00.000000+00:00' WHERE state = 'running'")
        again = xtrack("run-job", "1", XTRACK_TRIGGER="timer")
        assert again.code == 0, again
        xtrack.good("run-job", "1")
        assert_all_is_done(xtrack)
        assert sql(xtrack, "SELECT count(*) FROM runs WHERE closed = 1") == 1
    assert "failed" in states


@spread
def test_run_due_that_is_stopped_ends_its_runs_in_order(interrupt: Interrupt, count: int) -> None:
    states = set()
    for xtrack, outcome in interrupt("run-due").moments(count):
        # Nobody is left behind.
        assert_sound(xtrack)
        found = sql(xtrack, "SELECT state FROM runs WHERE trigger = 'timer'")
        states.add(str(found))
        if outcome.code > 0:
            assert found != "running"
        xtrack.good("run-job", "1")
        assert_all_is_done(xtrack)
    assert "failed" in states


@spread
def test_an_install_that_is_stopped_makes_all_its_jobs_or_none(interrupt: Interrupt, count: int) -> None:
    names = [f"name_{number}" for number in range(300)]
    install = ("install-job", *names, "--each", "--source", str(interrupt().full.source), "--every", "daily")
    for xtrack, _ in interrupt(*install).moments(count):
        jobs = sql(xtrack, "SELECT count(*) FROM jobs")
        assert jobs in (1, 301)
        xtrack.good("pause-job", "1")
        assert sql(xtrack, "SELECT count(*) FROM jobs WHERE unsettled = 1") == 0
        assert_sound(xtrack)


@spread
def test_an_update_that_is_stopped_is_made_or_not(interrupt: Interrupt, count: int) -> None:
    update = ("update-job", "1", "kaya", "--topic", "ferry", "--every", "daily", "--at", "07:30")
    changed = ('["kaya"]', '["ferry"]', "daily", "07:30")
    for xtrack, outcome in interrupt(*update).moments(count):
        (job,) = sql(xtrack, "SELECT names, topics, frequency, at FROM jobs")
        assert job == changed or (job[:3] == ("[]", "[]", "hourly") and outcome.code), job
        xtrack.good(*update)
        assert sql(xtrack, "SELECT names, topics, frequency, at FROM jobs") == [changed]
        assert sql(xtrack, "SELECT count(*) FROM jobs WHERE unsettled = 1") == 0
        assert_sound(xtrack)


@spread
def test_a_delete_that_is_stopped_is_whole_or_not_at_all(interrupt: Interrupt, count: int) -> None:
    for xtrack, outcome in interrupt("delete-job", "1", "--yes").moments(count):
        assert_sound(xtrack)
        counts = [sql(xtrack, f"SELECT count(*) FROM {table}") for table in ("jobs", "feeds", "posts", "summaries")]
        assert counts in ([0, 0, 0, 0], [1, 1, STORED, 2])
        assert outcome.code or counts[0] == 0
        if counts[0]:
            xtrack.good("delete-job", "1", "--yes")
        assert sql(xtrack, "SELECT count(*) FROM posts") == 0


@spread
def test_a_backup_that_is_stopped_leaves_the_old_one_or_the_new(interrupt: Interrupt, count: int) -> None:
    for xtrack, outcome in interrupt("backup", "copy.db").moments(count):
        left = {path.name for path in xtrack.folder.iterdir()} - {"home"}
        assert left <= {"copy.db"}
        if "copy.db" in left:
            with closing(sqlite3.connect(xtrack.folder / "copy.db")) as database:
                assert database.execute("SELECT count(*) FROM posts").fetchone() == (STORED,)
        else:
            assert outcome.code
        xtrack.good("backup", "copy.db")
        assert_sound(xtrack)


@spread
def test_a_purge_that_is_stopped_is_finished_by_the_next(interrupt: Interrupt, count: int) -> None:
    for xtrack, _ in interrupt("purge", "--older-than", "2026-02-01", "--yes").moments(count):
        half = "SELECT count(*) FROM posts WHERE (purged_at IS NULL) <> (text <> '')"
        assert sql(xtrack, half) == 0
        assert_sound(xtrack)
        xtrack.good("purge", "--older-than", "2026-02-01", "--yes")
        assert sql(xtrack, "SELECT count(*) FROM posts WHERE text <> ''") == 0
        assert sql(xtrack, "SELECT count(*) FROM posts") == STORED


@spread
def test_a_restore_that_is_stopped_leaves_the_old_data_or_the_new(
    interrupt: Interrupt, full: Full, tmp_path: Path, count: int
) -> None:
    backup = tmp_path / "backup.db"
    command = Command(tmp_path / "other")
    command.folder.mkdir()
    command.installed("--every", "daily")
    command.good("backup", str(backup))
    for xtrack, outcome in interrupt("restore", str(backup), "--yes").moments(count):
        (frequency,) = [job["frequency"] for job in xtrack.good("list-jobs", "--json").json]
        assert frequency == "daily" or outcome.code
        assert sql(xtrack, "SELECT count(*) FROM posts") == (0 if frequency == "daily" else STORED)
        xtrack.good("restore", str(backup), "--yes")
        assert_sound(xtrack)


def test_while_python_starts_a_signal_ends_it_at_once(full: Full, tmp_path: Path) -> None:
    """Before anything is done."""
    shutil.copytree(full.home, tmp_path / "home")
    xtrack = Command(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "xtrack", "run-job", "1"], env=xtrack.environ, stderr=subprocess.PIPE
    )
    process.send_signal(TERM)
    process.communicate(timeout=30)
    assert process.returncode == -TERM
    assert sql(xtrack, "SELECT count(*) FROM runs") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_further_signals_do_not_disturb_a_run_that_is_ending(full: Full, tmp_path: Path) -> None:
    """It waits to write that it was stopped."""
    shutil.copytree(full.home, tmp_path / "home")
    xtrack = Command(tmp_path)
    xtrack.configure("parallel_runs = 1\n")
    with flocked(xtrack.home / "locks" / "place-1"):
        command = [sys.executable, "-m", "xtrack", "run-job", "1"]
        run = subprocess.Popen(command, env=xtrack.environ, stderr=subprocess.PIPE, text=True)
        while not str(sql(xtrack, "SELECT stage FROM runs WHERE id = 3")).startswith("waiting"):
            time.sleep(0.01)
        with closing(sqlite3.connect(xtrack.home / "xtrack.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            for number in (TERM, TERM, INT):
                run.send_signal(number)
                time.sleep(0.5)
        _, err = run.communicate(timeout=30)
    assert (run.returncode, err.splitlines()[-1]) == (143, "xtrack: stopped")
    assert last_run(xtrack)[:2] == ("failed", 75)


def test_a_stop_that_python_drops_comes_again(full: Full, tmp_path: Path) -> None:
    """In the callback of a weak reference, where nobody could catch it; imports are full of them."""
    shutil.copytree(full.home, tmp_path / "home")
    xtrack = Command(tmp_path)
    (tmp_path / "sqlite3.py").write_text(DROPS)
    outcome = xtrack("list-jobs", PYTHONPATH=str(tmp_path))
    assert (outcome.code, outcome.out, outcome.err) == (143, "", "xtrack: stopped\n")


DROPS = """
import os, signal, time, weakref

class Thing:
    pass

def called(_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000):
        pass

thing = Thing()
reference = weakref.ref(thing, called)
del thing
time.sleep(20)
"""
