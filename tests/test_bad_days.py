"""Days on which the machine is not as it should be: a line, a hint, the exit code; and then all goes on."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, Outcome, flocked, line, write_lines

IS_ROOT = os.getuid() == 0
NOBODY = 65534


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "xtrack.db")) as database:
        return database.execute(sql).fetchall()


def by_timer(xtrack: Command, **options: Any) -> Outcome:
    return xtrack("run-job", "1", **{"XTRACK_TRIGGER": "timer", **options})


def no_traceback(outcome: Outcome) -> Outcome:
    assert "Traceback" not in outcome.err, outcome
    assert "a bug" not in outcome.err, outcome
    return outcome


@pytest.fixture
def outsider(tmp_path: Path) -> Iterator[Command]:
    """The command of a user who may not do everything: ourselves, or for root nobody."""
    if not IS_ROOT:
        yield Command(tmp_path)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, NOBODY, NOBODY)
        nobody = Unprivileged(folder)
        if nobody("--version").code != 0:
            pytest.skip("the program is not open to nobody")
        yield nobody


class Unprivileged(Command):
    """The command as nobody types it."""

    def __call__(self, *words: str, before: tuple[str, ...] = (), **options: Any) -> Outcome:
        drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        return super().__call__(*words, before=(*before, *drop), **options)


# a database that cannot be used


def test_after_a_command_all_is_in_the_database_s_one_file(hourly: Command) -> None:
    """So that a copy of it, and what befalls it, is one of everything."""
    hourly.make_due(1)
    for outcome in (by_timer(hourly), hourly("run-job", "1"), hourly("list-jobs"), hourly("show-job", "7")):
        assert outcome.code in (0, 66)
        assert {path.name for path in hourly.home.iterdir()} == {"xtrack.db", "locks"}


def test_a_write_waits_for_another_s_and_is_done_then(hourly: Command) -> None:
    with locked(hourly.home / "xtrack.db"):
        typed = start(hourly, "run-job", "1")
        time.sleep(1.5)
        assert typed.poll() is None
    _, err = typed.communicate(timeout=30)
    assert typed.returncode == 0, err


@contextmanager
def locked(path: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Hold a lock of the database's as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        if how == "exclusive":
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
        else:
            database.execute(how)
        yield


def start(xtrack: Command, *words: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xtrack", *words],
        cwd=xtrack.folder,
        env={**xtrack.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


READERS = [["list-jobs"], ["backup", "copy.db"]]
WRITERS = [
    *(["install-job", "--source", "sample", "--every", "daily"], ["pause-job", "1"], ["sync"]),
    ["delete-job", "1", "--yes"],
]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "exclusive"])
def test_a_database_that_stays_locked_is_temporary(hourly: Command, how: str) -> None:
    """For longer than the 30 seconds that a write waits. In WAL mode readers do not wait for a writer."""
    hourly.make_due(1)
    with locked(hourly.home / "xtrack.db", how):
        writers = [*(start(hourly, *typed) for typed in WRITERS), start(hourly, "run-job", "1", XTRACK_TRIGGER="timer")]
        readers = [start(hourly, *typed) for typed in READERS]
        wrote, read = ([ended(process) for process in some] for some in (writers, readers))
    for outcome in (*wrote, *(read if how == "exclusive" else ())):
        no_traceback(outcome)
        assert outcome.code == 75, outcome
        assert "the database is locked by another process" in outcome.err
        assert f"fuser {hourly.home}/xtrack.db" in outcome.err
    if how != "exclusive":
        assert [outcome.code for outcome in read] == [0, 0]
    assert rows(hourly.home, "SELECT count(*) FROM runs WHERE state <> 'done'") == [(0,)]
    assert rows(hourly.home, "SELECT id, paused FROM jobs") == [(1, 0)]
    hourly.good("run-job", "1")


def ended(process: "subprocess.Popen[str]") -> Outcome:
    out, err = process.communicate(timeout=180)
    return Outcome(process.returncode, out, err)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def header(path: Path) -> None:
    overwrite(path, 0, b"SQLite format 4\0")


def middle(path: Path) -> None:
    """Every page but the first."""
    overwrite(path, 4096, b"\xa5" * (path.stat().st_size - 4096))


def empty(path: Path) -> None:
    os.truncate(path, 0)


def page_count(path: Path) -> None:
    overwrite(path, 16, b"\0\3")


def words(path: Path) -> None:
    path.write_text("these are notes, not a database\n" * 200)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize("damage", [cut, header, middle, words, page_count])
def test_a_damaged_database_is_bad_data_and_stays_as_it_is(hourly: Command, damage: Any) -> None:
    path = hourly.home / "xtrack.db"
    damage(path)
    before = path.read_bytes()
    for outcome in (
        hourly("run-job", "1"),
        by_timer(hourly),
        hourly("delete-job", "1", "--yes"),
    ):
        assert "the database is damaged" in outcome.complaint(65)
        assert str(path) in outcome.err
        assert len(outcome.err.splitlines()) == 2
    assert hourly("doctor").code == 78
    assert path.read_bytes() == before


def test_a_page_damaged_in_the_middle_fails_the_run_that_needs_it(hourly: Command) -> None:
    """The ledger is sound, the posts are not."""
    path = hourly.home / "xtrack.db"
    (root,) = rows(hourly.home, "SELECT rootpage FROM sqlite_schema WHERE name = 'posts'")[0]
    overwrite(path, 4096 * (root - 1), b"\xa5" * 4096)
    hourly.make_due(1)
    for outcome in (by_timer(hourly), hourly("run-job", "1")):
        assert outcome.code == 65, outcome
        assert re.search(r"^run \d: failed: the database is damaged", no_traceback(outcome).err, re.MULTILINE)
    assert [run["exit_code"] for run in hourly.good("list-runs", "--json").json] == [65, 65]


def test_an_empty_database_is_a_home_without_jobs(hourly: Command) -> None:
    empty(hourly.home / "xtrack.db")
    assert hourly.good("list-jobs", "--json").json == []
    assert "no job 1" in hourly("run-job", "1").complaint(66)
    assert hourly.installed() == 1


@pytest.mark.parametrize("place", ["", "xtrack.db", "locks"])
def test_what_may_not_be_written_is_told_with_where_to_look(outsider: Command, place: str) -> None:
    outsider.installed()
    outsider.make_due(1)
    path = outsider.home / place
    path.chmod(path.stat().st_mode & ~0o222)
    for outcome in (outsider("run-job", "1"), by_timer(outsider)):
        said = outcome.complaint(78)
        assert "cannot be" in said
        assert str(outsider.home) in said
        assert f"ls -la {outsider.home}" in outcome.err
    # What SQLite has made meanwhile beside the database has its permissions.
    for closed in (path, *outsider.home.glob("xtrack.db-*")):
        closed.chmod(closed.stat().st_mode | 0o200)
    outsider.good("run-job", "1")
    assert [run["state"] for run in outsider.good("list-runs", "--json").json] == ["done"]


@pytest.mark.parametrize("place", ["", "xtrack.db", "locks", "config.toml"])
def test_what_may_not_be_looked_at_is_told(outsider: Command, place: str) -> None:
    outsider.installed()
    outsider.make_due(1)
    path = outsider.home / place
    path.touch(0o600)
    if IS_ROOT:
        os.chown(path, NOBODY, NOBODY)
    mode = path.stat().st_mode
    path.chmod(0)
    for typed in (["list-jobs"], ["run-due"], ["doctor"], ["uninstall", "--yes"], ["show-job", "1"]):
        outcome = outsider(*typed)
        assert outcome.code in (0, 66, 77, 78), outcome
        no_traceback(outcome)
    outcome = outsider("run-job", "1")
    assert outcome.code in (66, 78)
    assert place in no_traceback(outcome).err
    path.chmod(mode)
    outsider.good("run-job", "1")


# homes


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({"XTRACK_HOME": "", "HOME": "/nonexistent/nobody"}, 77, "/nonexistent"),
        ({"XTRACK_HOME": "", "HOME": "here"}, 78, "not absolute"),
        ({"XTRACK_HOME": "/etc/passwd"}, 77, "/etc/passwd"),
        ({"XTRACK_HOME": "/etc/passwd/home"}, 77, "/etc/passwd"),
        ({"XTRACK_HOME": "~nobody_of_that_name/x"}, 78, "no such user"),
        ({"XTRACK_HOME": "/tmp/" + "x" * 300}, 78, "longer than"),
        ({"XTRACK_HOME": "", "XTRACK_DATA": "data"}, 78, "not absolute"),
    ],
    ids=str,
)
def test_a_home_that_cannot_be_is_refused(outsider: Command, environ: dict[str, Any], code: int, said: str) -> None:
    install = ("install-job", "--source", "sample", "--every", "hourly")
    outcome = outsider(*install, **environ)
    assert said in outcome.complaint(code)
    assert "folder" in outcome.err.splitlines()[-1]
    for typed in (["run-due"], ["doctor"]):
        assert no_traceback(outsider(*typed, **environ)).code in (0, 66, 78)


def test_a_home_that_may_not_be_written_is_refused(outsider: Command) -> None:
    outsider.folder.chmod(0o555)
    outcome = outsider("install-job", "--source", "sample", "--every", "hourly")
    assert str(outsider.home) in outcome.complaint(77)
    outsider.folder.chmod(0o755)
    outsider.installed()


def test_without_home_the_user_s_entry_is_asked_and_who_has_none_is_told(outsider: Command) -> None:
    no_home = ("env", "-u", "HOME", "-u", "XTRACK_HOME")
    install = ("install-job", "--source", "sample", "--every", "hourly")
    assert outsider(*install, before=no_home).code in (0, 77)
    if IS_ROOT:
        stranger = Command(outsider.folder)
        drop = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
        outcome = stranger(*install, before=(*no_home, *drop))
        assert "HOME is not set" in outcome.complaint(78)
        assert "XTRACK_HOME" in outcome.err


def test_in_a_folder_that_is_gone_an_absolute_home_works(hourly: Command) -> None:
    gone = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
    hourly.good("list-jobs", before=gone)
    assert "is gone" in hourly("list-jobs", before=gone, XTRACK_HOME="home").complaint(78)
    for typed in (["backup", "copy.db"], ["install-job", "--source", "./posts.jsonl", "--every", "daily"]):
        assert no_traceback(hourly(*typed, before=gone)).code in (65, 66, 77, 78)


def test_data_that_are_deleted_under_a_run_end_it_in_a_line(hourly: Command) -> None:
    hourly.configure("parallel_runs = 1\n")
    with flocked(hourly.home / "locks" / "place-1"):
        run = start(hourly, "run-job", "1")
        assert run.stderr
        assert run.stderr.readline().startswith("run 1: job 1")
        shutil.rmtree(hourly.home)
        _, err = run.communicate(timeout=60)
    assert no_traceback(Outcome(run.returncode, "", err)).code in (75, 78)
    assert not hourly.home.exists()
    assert hourly.installed() == 1


# disks that are full


KEEPER = """
import json, sqlite3, subprocess, sys
folder, options = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", folder], check=True)
print("mounted", flush=True)
for line in sys.stdin:
    database = sqlite3.connect(f"{folder}/xtrack.db")
    with database:
        found = database.execute(*json.loads(line)).fetchall()
    database.close()
    print(json.dumps(found), flush=True)
"""


class Disk:
    """A disk of a size, which only the commands that are typed here see: a tmpfs in a mount namespace of its own."""

    def __init__(self, xtrack: Command, options: str) -> None:
        self.xtrack = xtrack
        xtrack.home.mkdir(mode=0o700)
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", sys.executable, "-c", KEEPER, xtrack.home, options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._answer() != "mounted\n":
            pytest.skip("no filesystem can be mounted here")
        self.namespace = f"/proc/{self._keeper.pid}/ns/mnt"
        # The kernel finds the way through this; SQLite, which follows links itself, does not.
        self.home = Path(f"/proc/{self._keeper.pid}/root{xtrack.home}")

    def _answer(self) -> str:
        assert self._keeper.stdout
        return self._keeper.stdout.readline()

    def __call__(self, *typed: str, **environ: Any) -> Outcome:
        return self.xtrack(*typed, before=("nsenter", f"--mount={self.namespace}", "--"), **environ)

    def good(self, *typed: str, **environ: Any) -> Outcome:
        outcome = self(*typed, **environ)
        assert outcome.code == 0, outcome
        return outcome

    def sql(self, statement: str, *values: Any) -> Any:
        """Look into the database, or change it; gives the rows, or of one with one column what is in it."""
        assert self._keeper.stdin
        self._keeper.stdin.write(json.dumps([statement, values]) + "\n")
        self._keeper.stdin.flush()
        found = json.loads(self._answer())
        return found[0][0] if len(found) == 1 and len(found[0]) == 1 else found

    @contextmanager
    def with_free(self, pages: int) -> Iterator[None]:
        """Have only so many pages free, of 4 KiB."""
        ballast = self.home / "ballast"
        disk = os.statvfs(self.home)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, (disk.f_bavail - pages) * disk.f_frsize))
        yield
        ballast.unlink()

    def close(self) -> None:
        self._keeper.communicate()


@pytest.fixture
def disk(xtrack: Command, request: pytest.FixtureRequest) -> Iterator[Disk]:
    if not IS_ROOT or not shutil.which("nsenter"):
        pytest.skip("only root mounts a disk")
    disk = Disk(xtrack, getattr(request, "param", "size=4m"))
    yield disk
    disk.close()


def test_a_run_on_a_full_disk_fails_for_now_and_loses_nothing(disk: Disk, tmp_path: Path) -> None:
    """With so many pages free it fails at another step each time, and at last not at all; the next run has it all."""
    posts = write_lines(tmp_path / "posts.jsonl", range(1))
    disk.good("install-job", "--source", str(posts), "--every", "hourly")
    disk.good("run-job", "1")
    codes, stages, count = [], set(), 1
    for pages in (0, 2, 5, 10, 16, 22, 26, 60):
        write_lines(posts, range(count, count + 30))
        count += 30
        before = disk.sql("SELECT max(id) FROM runs")
        with disk.with_free(pages):
            outcome = disk("run-job", "1")
        codes.append(outcome.code)
        no_traceback(outcome)
        if outcome.code:
            assert "df -h" in outcome.err
            stages.add(outcome.err.count("\n"))
        if disk.sql("SELECT max(id) FROM runs") == before:
            assert "fetched" not in outcome.err
        assert disk.sql("PRAGMA integrity_check") == "ok"
        disk.good("run-job", "1")
        assert disk.sql("SELECT count(*) FROM posts") == count
    assert set(codes) == {0, 75}
    assert codes == sorted(codes, reverse=True)
    assert len(stages) > 1
    assert disk.sql("SELECT sum(post_count) FROM summaries") == count
    assert disk.sql("SELECT count(*) FROM runs WHERE state IN ('running', 'queued')") == 0


def test_a_timer_s_run_on_a_full_disk_is_tried_again(disk: Disk) -> None:
    disk.good("install-job", "--source", "sample", "--every", "hourly")
    disk.sql("UPDATE jobs SET schedule_since = '2026-01-01T00:00:00.000000+00:00'")
    with disk.with_free(0):
        outcome = disk("run-job", "1", XTRACK_TRIGGER="timer")
        assert "cannot be written" in outcome.complaint(75)
        assert disk("run-due").code == 75
    assert disk.sql("SELECT count(*) FROM runs WHERE state = 'done'") == 0
    disk.good("run-job", "1", XTRACK_TRIGGER="timer")
    assert disk.sql("SELECT count(*) FROM runs WHERE state = 'done' AND closed = 1") == 1


def test_an_install_on_a_full_disk_leaves_no_half_job(disk: Disk) -> None:
    install = ("install-job", "--source", "sample", "--every", "hourly")
    codes = []
    for pages in (0, 1, 2, 4, 8, 16, 32, 64, 128):
        with disk.with_free(pages):
            outcome = disk(*install)
        codes.append(outcome.code)
        if outcome.code == 0:
            break
        assert "cannot be" in outcome.complaint(75)
        assert "df -h" in outcome.err
        assert disk.good("list-jobs", "--json").json == []
    assert codes[0] == 75
    assert codes[-1] == 0
    assert len(disk.good("list-jobs", "--json").json) == 1
    assert disk.sql("PRAGMA integrity_check") == "ok"


def test_a_delete_on_a_full_disk_is_whole_or_not_at_all(disk: Disk, tmp_path: Path) -> None:
    posts = write_lines(tmp_path / "posts.jsonl", range(300))
    codes = []
    for pages in (0, 8, 32, 400):
        number = disk.good("install-job", "--source", str(posts), "--every", "hourly").out.split()[1]
        disk.good("run-job", number)
        with disk.with_free(pages):
            outcome = disk("delete-job", number, "--yes")
        codes.append(outcome.code)
        assert disk.sql("PRAGMA integrity_check") == "ok"
        assert disk.sql("SELECT count(*) FROM jobs WHERE id = ?", number) == bool(outcome.code)
        if outcome.code:
            assert "cannot be written" in outcome.complaint(75)
            assert disk.sql("SELECT sum(post_count) FROM summaries WHERE job_id = ?", number) == 300
            disk.good("delete-job", number, "--yes")
    assert set(codes) == {0, 75}


def test_a_backup_on_a_full_disk_is_whole_or_not_at_all(disk: Disk, tmp_path: Path) -> None:
    posts = write_lines(tmp_path / "posts.jsonl", range(100))
    disk.good("install-job", "--source", str(posts), "--every", "hourly")
    disk.good("run-job", "1")
    codes = []
    for pages in (0, 1, 8, 32, 400):
        with disk.with_free(pages):
            outcome = disk("backup", str(disk.xtrack.home / "copy.db"))
        codes.append(outcome.code)
        if outcome.code:
            assert "df -h" in outcome.err
            outcome.complaint(75)
            assert list(disk.home.glob("*copy*")) == []
    assert set(codes) == {0, 75}
    shutil.copy(disk.home / "copy.db", tmp_path / "xtrack.db")
    assert rows(tmp_path, "SELECT count(*) FROM posts") == [(100,)]


@pytest.mark.parametrize("disk", ["nr_inodes=12"], indirect=True)
def test_without_an_inode_left_a_run_fails_and_the_next_goes_on(disk: Disk) -> None:
    disk.good("install-job", "--source", "sample", "--every", "hourly")
    ballast: list[Path] = []
    while os.statvfs(disk.home).f_favail:
        ballast.append(disk.home / f"ballast-{len(ballast)}")
        ballast[-1].touch()
    outcome = disk("run-job", "1")
    assert outcome.code in (75, 78)
    assert "cannot be" in no_traceback(outcome).err
    assert str(disk.xtrack.home) in outcome.err
    for path in ballast:
        path.unlink()
    disk.good("run-job", "1")


def test_on_a_disk_that_is_read_only_nothing_is_lost(disk: Disk) -> None:
    disk.good("install-job", "--source", "sample", "--every", "hourly")
    remount = ("nsenter", f"--mount={disk.namespace}", "mount", "-o")
    subprocess.run([*remount, "remount,ro", disk.xtrack.home], check=True)
    for outcome in (disk("run-job", "1"), disk("pause-job", "1"), disk("run-due")):
        assert str(disk.xtrack.home) in outcome.complaint(78)
    subprocess.run([*remount, "remount,rw", disk.xtrack.home], check=True)
    disk.good("run-job", "1")


# clocks, and the machine's zone


@pytest.mark.parametrize("years", [1, -56], ids=["a year ahead", "1970"])
def test_what_a_wrong_clock_has_written_stops_nothing(hourly: Command, years: int) -> None:
    """All times in the ledger are what they would be had the clock been wrong from the installation until now."""
    hourly.good("run-job", "1")
    hourly.make_due(1)
    assert by_timer(hourly).code == 0
    shift_times(hourly.home, years)
    for typed in (["list-jobs"], ["show-job", "1"], ["list-runs"], ["show-summary", "1"], ["show-job", "1", "--json"]):
        hourly.good(*typed)
    assert hourly("doctor").code in (0, 78)
    assert by_timer(hourly).code == 0
    hourly.good("run-job", "1")
    # What is due by the clock that is right is done, once.
    hourly.make_due(1)
    assert by_timer(hourly).code == 0
    done = hourly.good("list-runs", "--json").json
    assert [run["state"] for run in done] == ["done"] * len(done)
    assert by_timer(hourly).err == ""


def shift_times(home: Path, years: int) -> None:
    columns = {
        "jobs": ("created_at", "schedule_since", "last_run"),
        "runs": ("slot", "started_at", "finished_at", "next_try"),
        "summaries": ("created_at",),
        "feeds": ("read_at",),
    }
    with closing(sqlite3.connect(home / "xtrack.db")) as database, database:
        for table, names in columns.items():
            for name in names:
                year = f"printf('%04d', substr({name}, 1, 4) + {years})"
                database.execute(f"UPDATE {table} SET {name} = {year} || substr({name}, 5) WHERE {name} <> ''")


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")
@pytest.mark.parametrize("wrong", ["1970-01-02 00:00:00", "+1y"])
def test_a_clock_that_is_wrong_and_then_right_loses_nothing(xtrack: Command, tmp_path: Path, wrong: str) -> None:
    posts = write_lines(tmp_path / "posts.jsonl", range(3))
    fake = ("faketime", "-f" if wrong[0] == "+" else "", wrong)
    before = tuple(word for word in fake if word)
    assert xtrack("install-job", "--source", str(posts), "--every", "hourly", before=before).code == 0
    for typed in (["run-job", "1"], ["list-jobs"], ["run-due"]):
        assert no_traceback(xtrack(*typed, before=before)).code == 0
    write_lines(posts, range(3, 6))
    xtrack.good("run-due")
    xtrack.make_due(1)
    assert by_timer(xtrack).code == 0
    assert sum(summary["posts"] for summary in xtrack.good("list-summaries", "--json").json) == 6


@pytest.mark.skipif(not IS_ROOT, reason="only root mounts")
@pytest.mark.parametrize(("content", "code"), [(b"no zone", 78), (b"TZif2" + b"\xff" * 60, 78)])
def test_a_broken_zone_of_the_machine_is_told(hourly: Command, tmp_path: Path, content: bytes, code: int) -> None:
    broken = tmp_path / "localtime"
    broken.write_bytes(content)
    mounted = in_namespace(f"mount --bind {broken} /etc/localtime")
    outcome = hourly("list-jobs", before=mounted)
    assert "/etc/localtime cannot be read" in outcome.complaint(code)
    assert "timedatectl" in outcome.err
    assert hourly("run-job", "1", before=mounted, XTRACK_TRIGGER="timer").code == code


@pytest.mark.skipif(not IS_ROOT, reason="only root mounts")
def test_a_machine_without_a_zone_is_in_utc(hourly: Command) -> None:
    empty_etc = in_namespace("cp /etc/passwd /run/passwd && mount -t tmpfs tmpfs /etc && mv /run/passwd /etc")
    assert " UTC" in hourly.good("list-jobs", before=empty_etc).out
    hourly.good("run-job", "1", before=empty_etc)


def in_namespace(mounting: str) -> tuple[str, ...]:
    """Words that start a command where other things are mounted."""
    return ("unshare", "--mount", "sh", "-c", f'{mounting} && exec "$@"', "sh")


# bugs of ours


def broken(xtrack: Command, module: str = "sqlite3") -> None:
    """A module of Python's own that is not what we know it as: whatever needs it fails as nobody foresaw."""
    folder = xtrack.folder / "modules"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text("raise ValueError('not here\\nand that\\x1b[m is all')\n")
    xtrack.environ["PYTHONPATH"] = str(folder)


def report(outcome: Outcome) -> Path:
    """The file that a bug's report is said to be in."""
    outcome.complaint(70)
    told = re.search(r"^  where it happened is written to (\S+)$", outcome.err, re.MULTILINE)
    assert told, outcome
    assert "please report it" in outcome.err.splitlines()[-1]
    return Path(told[1])


@pytest.mark.parametrize("trigger", ["", "timer"])
def test_a_bug_is_told_in_a_line_with_where_its_traceback_is(hourly: Command, trigger: str) -> None:
    broken(hourly)
    outcome = hourly("run-job", "1", XTRACK_TRIGGER=trigger, MY_TOKEN="pass0word", TMPDIR=str(hourly.folder))
    path = report(outcome)
    assert outcome.complaint(70) == r"xtrack: a bug: ValueError: not here\nand that\x1b[m is all"
    assert path.parent == hourly.home / "bugs"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    written = path.read_text()
    assert re.match(r"xtrack \d+\.\d+\.\d+, Python 3\.\d+.*\nxtrack run-job\n\nTraceback", written)
    assert 'modules/sqlite3.py", line 1' in written
    assert "\x1b" not in written


def test_a_bug_in_a_run_is_in_the_ledger_too(hourly: Command) -> None:
    with closing(sqlite3.connect(hourly.home / "xtrack.db")) as database, database:
        database.execute("DROP TABLE summary_posts")
    hourly.make_due(1)
    outcome = by_timer(hourly)
    assert outcome.code == 70
    assert re.search(r"^run 1: failed: a bug: OperationalError", outcome.err, re.MULTILINE)
    assert "Traceback" not in outcome.err
    assert rows(hourly.home, "SELECT state, exit_code, closed FROM runs") == [("failed", 70, 1)]
    assert "no such table: summary_posts" in next((hourly.home / "bugs").iterdir()).read_text()


def test_nothing_secret_is_in_a_report(hourly: Command) -> None:
    broken(hourly)
    secrets: dict[str, Any] = {"XTRACK_TOKEN": "pass1word", "SMTP_PASSWORD": "pass2word"}
    install = ("install-job", "--source", "/srv/pass3word", "--topic", "pass4word", "--every", "hourly")
    written = report(hourly(*install, **secrets)).read_text()
    assert not re.search(r"pass\dword", written)
    assert "install-job" in written


def test_twenty_reports_are_kept(hourly: Command) -> None:
    broken(hourly)
    bugs = hourly.home / "bugs"
    bugs.mkdir(mode=0o700)
    for number in range(25):
        (bugs / f"bug-{number}.txt").touch()
        os.utime(bugs / f"bug-{number}.txt", (number, number))
    (bugs / "notes.txt").touch()
    path = report(hourly("list-jobs"))
    kept = {f"bug-{number}.txt" for number in range(6, 25)} | {"notes.txt", path.name}
    assert {file.name for file in bugs.iterdir()} == kept


def test_a_bug_before_there_are_data_is_written_among_what_is_temporary(xtrack: Command) -> None:
    broken(xtrack)
    elsewhere = xtrack.folder / "temporary"
    elsewhere.mkdir()
    assert report(xtrack("list-jobs", TMPDIR=str(elsewhere))).parent == elsewhere
    assert not xtrack.home.exists()


def test_a_bug_where_the_folder_is_taken_is_written_among_what_is_temporary(hourly: Command) -> None:
    broken(hourly)
    (hourly.home / "bugs").touch()
    elsewhere = hourly.folder / "temporary"
    elsewhere.mkdir()
    path = report(hourly("list-jobs", TMPDIR=str(elsewhere)))
    assert (path.parent, path.stat().st_mode & 0o777) == (elsewhere, 0o600)


@pytest.mark.parametrize("module", ["traceback", "platform", "tempfile"])
def test_a_bug_in_what_reports_it_is_a_line_all_the_same(hourly: Command, module: str) -> None:
    broken(hourly)
    broken(hourly, module)
    outcome = hourly("list-jobs")
    assert "a bug: ValueError" in outcome.complaint(70)
    assert outcome.err.splitlines()[1] == "  XTRACK_DEBUG=1 shows where it happened"


def test_a_bug_where_nothing_can_be_written_is_a_line_and_leaves_nothing_half_written(hourly: Command) -> None:
    """No file may grow, here or among what is temporary."""
    broken(hourly)
    outcome = hourly("list-jobs", before=("sh", "-c", 'ulimit -f 0 && exec "$@"', "sh"))
    outcome.complaint(70)
    assert "XTRACK_DEBUG=1" in outcome.err
    assert list((hourly.home / "bugs").iterdir()) == []


# what is read and written: stdin, stdout, stderr


def redirected(how: str) -> tuple[str, ...]:
    return ("sh", "-c", f'exec "$@" {how}', "sh")


PRINTING = [["list-jobs"], ["list-jobs", "--json"], ["--help"], ["show-summary", "1"], ["export", "posts"], ["doctor"]]


def test_output_that_cannot_be_written_is_told(hourly: Command) -> None:
    hourly.good("run-job", "1")
    for typed in PRINTING:
        outcome = hourly(*typed, before=redirected(">/dev/full"))
        assert outcome.complaint(75) == "xtrack: the output cannot be written: No space left on device"


def test_output_that_nobody_wants_is_no_failure(hourly: Command) -> None:
    for how in (">&-", "<&- >&- 2>&-"):
        for typed in (["list-jobs"], ["run-job", "1"], ["export", "posts"]):
            assert hourly(*typed, before=redirected(how)).code == 0
    assert hourly("show-job", "7", before=redirected("2>&-")).code == 66
    assert rows(hourly.home, "PRAGMA integrity_check") == [("ok",)]
    assert [run["state"] for run in hourly.good("list-runs", "--json").json] == ["done", "done"]


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"])
def test_a_log_that_cannot_be_written_stops_no_run(hourly: Command, how: str) -> None:
    hourly.make_due(1)
    assert by_timer(hourly, before=redirected(how)).code == 0
    assert hourly("run-job", "7", before=redirected(how)).code in (0 if "|" in how else 66,)
    assert [run["state"] for run in hourly.good("list-runs", "--json").json] == ["done"]


@pytest.mark.parametrize("how", ["<&-", "</dev/null"])
def test_a_question_that_nobody_answers_is_a_no(hourly: Command, how: str) -> None:
    for typed in (["delete-job", "1"], ["purge", "--older-than", "1d"], ["uninstall"], ["restore", "copy.db"]):
        outcome = hourly(*typed, before=redirected(how))
        assert outcome.complaint(130) == "xtrack: nothing was done, for want of a yes"
        assert outcome.err.splitlines()[1:] == ["  --yes does it without asking"]
    assert len(hourly.good("list-jobs", "--json").json) == 1


@pytest.mark.parametrize(
    "environ",
    [
        {"LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:strict"},
        {"PYTHONIOENCODING": "utf-16"},
        {"COLUMNS": "1"},
        {"COLUMNS": "wide"},
        {"TERM": "nonsense", "NO_COLOR": "1"},
    ],
    ids=str,
)
def test_whatever_the_terminal_is_like_all_is_shown(speaking: Command, environ: dict[str, str]) -> None:
    for typed in (["show-summary", "1"], ["list-jobs"], ["show-job", "1", "--json"]):
        outcome = no_traceback(Outcome(*shown(speaking, *typed, **environ)))
        assert outcome.code == 0
        assert outcome.out
    missing = Outcome(*shown(speaking, "install-job", "--source", "./潮汐.jsonl", "--every", "daily", **environ))
    assert missing.code in (65, 66), missing
    assert len(missing.err.splitlines()) == 2, missing


@pytest.fixture
def speaking(xtrack: Command, tmp_path: Path) -> Command:
    """A job with a topic and a digest that not every encoding has."""
    source = tmp_path / "posts.jsonl"
    source.write_text(line(1, text="潮汐 – Höchststand um 12 Uhr 🚢, die Fähre fährt später.") + line(2))
    xtrack.installed("--source", str(source), "--topic", "潮汐", "--topic", "ferry")
    xtrack.good("run-job", "1")
    return xtrack


def shown(xtrack: Command, *typed: str, **environ: str) -> tuple[int, str, str]:
    """What a command prints, whatever the encoding is."""
    encoding = environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    done = subprocess.run(
        [sys.executable, "-m", "xtrack", *typed],
        cwd=xtrack.folder,
        env={**xtrack.environ, **environ},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(encoding, "replace"), done.stderr.decode(encoding, "replace")


def test_a_run_outlives_its_terminal_under_nohup(hourly: Command) -> None:
    """A caller that has us ignore a signal is obeyed."""
    hourly.configure("parallel_runs = 1\n")
    with flocked(hourly.home / "locks" / "place-1"):
        command = [*redirected(""), "nohup", sys.executable, "-m", "xtrack", "run-job", "1"]
        run = subprocess.Popen(command, env=hourly.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert run.stderr
        while not (said := run.stderr.readline()).startswith("run 1"):
            assert said
        run.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert run.poll() is None
    run.communicate(timeout=60)
    assert run.returncode == 0
