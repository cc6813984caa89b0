"""The machine is as the table says: after a kill at any step, beside others, and after the machine has changed."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from subprocess import CalledProcessError, CompletedProcess, Popen
from zoneinfo import ZoneInfo

import pytest

from tests.system.conftest import MakeMachine
from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, scope_of

pytestmark = pytest.mark.systemd

# The second scope in test-slow: nothing in it depends on the scope.
USER_AND_SLOWLY_SYSTEM = ["user", pytest.param("system", marks=pytest.mark.slow)]

ALL_WELL = "All timers are as the jobs say.\n"
HOURLY = ("install-job", "--source", "sample", "--every", "hourly")
DAILY = ("install-job", "--source", "sample", "--every", "daily", "--at")
Table = dict[int, tuple[str, int]]
Snapshot = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module")
def shared(make_machine: MakeMachine) -> Machine:
    return make_machine()


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    return scope_of(machine, request.param)


@pytest.fixture(params=SCOPES)
def shared_scope(request: pytest.FixtureRequest, shared: Machine) -> Scope:
    """A scope of a machine that is booted once; a test leaves no home in it."""
    return scope_of(shared, request.param)


@pytest.fixture
def user(machine: Machine) -> Scope:
    return scope_of(machine, "user")


def inside(scope: Scope, path: Path) -> Path:
    """What the machine calls one of its files."""
    return Path("/", path.relative_to(scope.machine.disk))


def snapshot(*folders: Path) -> Snapshot:
    """Owner, mode, time and content of everything below these folders."""
    found: Snapshot = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        about = path.lstat()
        content: object = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path)] = (about.st_uid, about.st_mode, about.st_mtime_ns, content)
    return found


def names(folder: Path, pattern: str) -> set[str]:
    return {path.name for path in folder.glob(pattern)}


def table_of(scope: Scope) -> Table:
    """Anchor and pause of every job."""
    with closing(sqlite3.connect(scope.data / "xtrack.db", timeout=10)) as db:
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            return {}
        return {job: (at, paused) for job, at, paused in db.execute("SELECT id, at, paused FROM jobs")}


def timers(scope: Scope, prefix: str = "xtrack") -> dict[str, dict[str, str]]:
    """What the manager says of each job's timer that it has not stopped."""
    properties = ("Id", "ActiveState", "NextElapseUSecRealtime", "ActiveEnterTimestampMonotonic", "NeedDaemonReload")
    options = [word for name in properties for word in ("-p", name)]
    shown = scope.systemctl("show", *options, f"{prefix}-job@*.timer")
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n") if block.strip()]
    return {unit["Id"]: unit for unit in units if unit["ActiveState"] != "inactive"}


def next_elapses(scope: Scope) -> dict[str, datetime]:
    shown = json.loads(scope.systemctl("list-timers", "--output=json", "xtrack-job@*"))
    return {timer["unit"]: datetime.fromtimestamp(timer["next"] / 1e6, UTC) for timer in shown}


def next_runs(scope: Scope) -> dict[str, datetime]:
    return {job["timer"]: datetime.fromisoformat(job["next_run"]) for job in scope.json("list-jobs") if job["timer"]}


def job_starts(scope: Scope) -> list[str]:
    """Every start of a job's unit that the journal knows."""
    scope.machine.run("journalctl", "--sync")
    field = "--user-unit" if scope.user else "--unit"
    words = ["journalctl", "--quiet", "--output=cat", f"{field}=xtrack-job@*", f"{field}=xtrack-manual@*"]
    said = scope.machine.run(*words, user=scope.user, check=False).stdout
    return [line for line in said.splitlines() if line.startswith("Starting ")]


def assert_as_the_jobs_say(scope: Scope) -> None:
    """Table, files, links, stamps and the manager's memory agree, and a sync has nothing to do and does nothing."""
    assert scope.xtrack("sync", "--dry-run") == ALL_WELL
    before = snapshot(scope.units, scope.stamps)
    assert scope.xtrack("sync") == ALL_WELL
    assert snapshot(scope.units, scope.stamps) == before
    wanted = {f"xtrack-job@{job}.timer" for job, (_, paused) in table_of(scope).items() if not paused}
    assert names(scope.units, "xtrack-job@*.timer") == wanted
    sweep = names(scope.units, "xtrack-run-due.timer")
    assert names(scope.units, "timers.target.wants/xtrack-*") == wanted | sweep
    assert names(scope.stamps, "stamp-xtrack-job@*") == {f"stamp-{timer}" for timer in wanted}
    states = {name: (unit["ActiveState"], unit["NeedDaemonReload"]) for name, unit in timers(scope).items()}
    assert states == dict.fromkeys(wanted, ("active", "no"))
    assert next_elapses(scope) == next_runs(scope)


def test_schedule_that_was_changed_while_paused_is_the_timers_too(scope: Scope) -> None:
    """Also where the manager, since it last read its units, remembers the timer as it was."""
    scope.xtrack(*DAILY, "08:00")
    scope.systemctl("daemon-reload")
    scope.xtrack("pause-job", "1")
    scope.xtrack("update-job", "1", "--at", "09:30")
    scope.xtrack("resume-job", "1")
    assert_as_the_jobs_say(scope)


# Killed at every step

# Counts what the interpreter reports of files written, locks and children, from the first opening of a database on:
# https://docs.python.org/3/library/audit_events.html. A transaction's end is not among it, and the lock after it is.
KILLED_AT_STEP = """
import os, sys
from xtrack.__main__ import main

changes = {
    "fcntl.flock", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "os.utime", "shutil.rmtree", "sqlite3.connect", "subprocess.Popen",
}
left, begun = int(sys.argv[1]), False
sys.argv = ["/opt/xtrack/bin/xtrack", *sys.argv[2:]]

def audit(event, args):
    global left, begun
    begun = begun or event == "sqlite3.connect"
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if begun and (writes or event in changes):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)

sys.addaudithook(audit)
main()
"""


@dataclass(frozen=True)
class Killing:
    """A command to be killed: what is typed before it, and the table before it and after."""

    typed: tuple[str, ...]
    before: tuple[tuple[str, ...], ...]
    table_before: Table
    table_after: Table
    first_step: int  # that the quick form takes


AT_EIGHT = (*DAILY, "08:00")
PAUSED_AT_EIGHT = ((*DAILY, "07:00"), ("pause-job", "1"), ("update-job", "1", "--at", "08:00"))
KILLINGS = {
    "install": Killing(AT_EIGHT, (), {}, {1: ("08:00", 0)}, 2),
    "update": Killing(("update-job", "1", "--at", "09:30"), (AT_EIGHT,), {1: ("08:00", 0)}, {1: ("09:30", 0)}, 1),
    "pause": Killing(("pause-job", "1"), (AT_EIGHT,), {1: ("08:00", 0)}, {1: ("08:00", 1)}, 1),
    "resume": Killing(("resume-job", "1"), PAUSED_AT_EIGHT, {1: ("08:00", 1)}, {1: ("08:00", 0)}, 8),
    "delete": Killing(("delete-job", "1", "--yes"), (AT_EIGHT,), {1: ("08:00", 0)}, {}, 2),
}
SYNC = ("sync",)
NEXT_COMMAND = (*DAILY, "10:15")


def is_killed(scope: Scope, step: int, words: Sequence[str]) -> bool:
    """Type a command that is killed at this step; says whether it was, or ended well before."""
    python = "/opt/xtrack/bin/python"
    done = scope.machine.run(python, "-B", "-c", KILLED_AT_STEP, str(step), *words, user=scope.user, check=False)
    assert done.returncode in (0, -9, 128 + 9), done
    return done.returncode != 0


def kill(scope: Scope, killing: Killing, step: int, healer: tuple[str, ...]) -> bool:
    """Kill a command at one step, have it healed, look, and leave no home behind; says whether it was killed.

    The manager has read its units before, as at a boot: then it remembers those of stopped timers.
    """
    for words in killing.before:
        scope.xtrack(*words)
    scope.systemctl("daemon-reload")
    was_killed = is_killed(scope, step, killing.typed)
    if was_killed:
        scope.xtrack(*healer)
    table = table_of(scope)
    others = {job: row for job, row in table.items() if row[0] == "10:15"}
    assert len(others) == (was_killed and healer is NEXT_COMMAND)
    may_be = [killing.table_before, killing.table_after] if was_killed else [killing.table_after]
    assert {job: row for job, row in table.items() if job not in others} in may_be
    assert_as_the_jobs_say(scope)
    with closing(sqlite3.connect(scope.data / "xtrack.db", timeout=10)) as db:
        assert db.execute("SELECT count(*) FROM jobs WHERE unsettled").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    scope.xtrack("uninstall", "--purge", "--yes")
    assert_only_half_written_files_stay(scope)
    return was_killed


def assert_only_half_written_files_stay(scope: Scope) -> None:
    """At most the one that was being written, under a name that the manager does not read; takes it away."""
    left = names(scope.units, "**/*xtrack*")
    assert left <= names(scope.units, ".xtrack-*")
    assert len(left) <= 1
    assert ".xtrack" not in scope.systemctl("list-unit-files", "--all", "--full")
    for name in left:
        (scope.units / name).unlink()


def kill_at(scope: Scope, command: str, kills: Iterable[tuple[int, tuple[str, ...]]]) -> int:
    """Kill a command at each of these steps and heal it so, until it survives; gives how often it was killed."""
    count = 0
    for step, healer in kills:
        try:
            was_killed = kill(scope, KILLINGS[command], step, healer)
        except (AssertionError, CalledProcessError) as error:
            error.add_note(f"{command} was killed at step {step}, then came {healer[0]}")
            raise
        if not was_killed:
            break
        count += 1
    assert not was_killed
    assert job_starts(scope) == []
    return count


@pytest.mark.parametrize("command", ["update", "pause", "delete"])
def test_a_kill_at_some_steps_is_healed(user: Scope, command: str) -> None:
    """At every eighth, by sync and by the next command in turn; all commands and steps in test-exhaustive."""
    steps = range(KILLINGS[command].first_step, 999, 8)
    count = kill_at(user, command, zip(steps, cycle((SYNC, NEXT_COMMAND))))
    assert count >= 2, count


@pytest.mark.exhaustive
@pytest.mark.parametrize("healer", [SYNC, NEXT_COMMAND], ids=["sync", "next command"])
@pytest.mark.parametrize("command", KILLINGS)
def test_a_kill_at_every_step_is_healed(scope: Scope, command: str, healer: tuple[str, ...]) -> None:
    count = kill_at(scope, command, ((step, healer) for step in range(1, 999)))
    assert count >= 10, count


# Files that are not ours, and those that an administrator has put beside ours

UNMARKED = "[Timer]\nOnCalendar=daily\n"
ANOTHER_HOMES = f'[Unit]\nX-XTrack-Home="/srv/theirs"\n\n{UNMARKED}'


@pytest.mark.parametrize(
    ("name", "text"),
    [("xtrack-job@1.timer", ANOTHER_HOMES), ("xtrack-run-due.timer", UNMARKED)],
    ids=["another home's", "unmarked"],
)
def test_foreign_file_is_neither_adopted_nor_touched(shared_scope: Scope, name: str, text: str) -> None:
    scope, folder = shared_scope, inside(shared_scope, shared_scope.units)
    scope.machine.run("mkdir", "-p", folder, user=scope.user)
    scope.machine.run("tee", folder / name, user=scope.user, input=text)
    before = snapshot(scope.units)
    code, said = scope.refused(*HOURLY)
    assert (code, f"{name} is there already and not of this home" in said) == (78, True)
    assert said.endswith("  move it away, then: xtrack sync\n")
    assert scope.json("list-jobs") == []
    scope.xtrack("uninstall", "--purge", "--yes")
    assert snapshot(scope.units) == before
    (scope.units / name).unlink()
    scope.xtrack(*HOURLY)
    assert_as_the_jobs_say(scope)
    scope.xtrack("uninstall", "--purge", "--yes")


@pytest.mark.parametrize(
    "plant",
    ["touch $0 && chmod 600 $0", "mkdir $0", "ln -s /nowhere $0", "ln -s /dev/null $0"],
    ids=["root's alone", "folder", "link to nothing", "masked"],
)
def test_foreign_thing_that_is_no_readable_file_is_refused_too(shared_scope: Scope, plant: str) -> None:
    scope, planted = shared_scope, inside(shared_scope, shared_scope.units) / "xtrack-job@1.timer"
    scope.machine.run("mkdir", "-p", planted.parent, user=scope.user)
    scope.machine.run("sh", "-c", plant, planted)
    before = snapshot(scope.units)
    code, said = scope.refused(*HOURLY)
    after = snapshot(scope.units)
    scope.machine.run("rm", "-rf", planted)
    scope.refused("uninstall", "--purge", "--yes")
    assert (code, "xtrack-job@1.timer is there already and not of this home" in said) == (78, True), said
    assert after == before


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_drop_ins_stay_and_hold_through_every_command(scope: Scope) -> None:
    for _ in range(2):
        scope.xtrack(*HOURLY)
    for unit in ("xtrack-job@1.timer", "xtrack-job@.timer", "xtrack-job@.service", "xtrack-run-due.timer"):
        scope.drop_in(unit, "[Unit]\nDocumentation=https://example.org\n")

    def drop_ins() -> Snapshot:
        return {path: seen for path, seen in snapshot(scope.units).items() if ".d/" in path}

    before = drop_ins()
    assert len(before) == 4
    for words in (
        ["update-job", "1", "--every", "daily", "--at", "08:00"],
        ["pause-job", "1"],
        ["resume-job", "1"],
        ["sync"],
        ["delete-job", "2", "--yes"],
        ["uninstall", "--yes"],
        ["sync"],
    ):
        scope.xtrack(*words)
        assert drop_ins() == before, words
    assert scope.systemctl("show", "-p", "DropInPaths", "xtrack-job@1.timer").count("quick.conf") == 1
    assert_as_the_jobs_say(scope)


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_sync_says_beforehand_what_it_does(scope: Scope) -> None:
    for _ in range(5):
        scope.xtrack(*HOURLY)
    scope.xtrack("pause-job", "4")
    text = (scope.units / "xtrack-job@5.timer").read_text()
    with (scope.units / "xtrack-job@1.timer").open("a") as file:
        file.write("# mine\n")
    (scope.units / "xtrack-job@2.timer").unlink()
    scope.systemctl("stop", "xtrack-job@3.timer")
    for orphan in (4, 9):
        scope.machine.run("tee", inside(scope, scope.units) / f"xtrack-job@{orphan}.timer", user=scope.user, input=text)
    (scope.units / "xtrack-manual@.service").unlink()
    before = snapshot(scope.units, scope.stamps)
    plan = scope.xtrack("sync", "--dry-run")
    assert sorted(plan.splitlines()) == [
        "add xtrack-job@2.timer",
        "change xtrack-job@1.timer",
        "remove xtrack-job@4.timer",
        "remove xtrack-job@9.timer",
        "start xtrack-job@3.timer",
        "write xtrack-manual@.service",
    ]
    assert snapshot(scope.units, scope.stamps) == before
    assert scope.xtrack("sync") == plan
    assert_as_the_jobs_say(scope)
    assert job_starts(scope) == []


# Homes


@dataclass
class OtherHome:
    """One of several homes of one user on one machine."""

    scope: Scope
    path: str | None
    prefix: str = ""

    def type(self, *words: str) -> CompletedProcess[str]:
        scope = self.scope
        return scope.machine.run("xtrack", *words, user=scope.user, env={"XTRACK_HOME": self.path}, check=False)

    def install_two(self) -> None:
        for _ in range(2):
            assert self.type(*HOURLY).returncode == 0
        timer = json.loads(self.type("show-job", "1", "--json").stdout)["timer"]
        self.prefix = timer.removesuffix("-job@1.timer")

    def state(self) -> object:
        """Files, links and stamps, what the manager says of the timers, and the data."""
        ours = tuple(
            f"{lead}{self.prefix}-{kind}" for lead in ("", "stamp-") for kind in ("job@", "manual@", "run-due.")
        )
        found = snapshot(self.scope.units, self.scope.stamps)
        units = {path: seen for path, seen in found.items() if Path(path).name.startswith(ours)}
        assert len(units) == 4 + 2 + 3 + 2
        loaded = timers(self.scope, self.prefix)
        assert len(loaded) == 2
        data = snapshot(self.scope.machine.path(self.path) if self.path else self.scope.data)
        assert any(path.endswith("/xtrack.db") for path in data)
        return units, loaded, data


def test_homes_on_one_machine_never_touch_each_others_units(user: Scope) -> None:
    user.machine.run("install", "-d", "-o", "ann", "/srv/a", "/srv/b")
    homes = [OtherHome(user, path) for path in (None, "/srv/a", "/srv/b")]
    for home in homes:
        home.install_two()
    assert len({home.prefix for home in homes}) == 3
    for home in homes[:2]:
        others = [other for other in homes if other is not home]
        before = [other.state() for other in others]
        for words in (
            HOURLY,
            ("pause-job", "1"),
            ("resume-job", "1"),
            ("delete-job", "2", "--yes"),
            ("sync",),
            ("doctor",),
            ("run-job", "1"),
            ("uninstall", "--purge", "--yes"),
        ):
            done = home.type(*words)
            assert done.returncode == 0, (home.path, words, done.stdout, done.stderr)
            assert [other.state() for other in others] == before, (home.path, words)
        assert names(user.units, f"**/{home.prefix}-job@*") == set()
        home.install_two()


# Two commands at once


def assert_ends_well(process: Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def test_ten_installs_at_once_make_ten_jobs_with_timers(user: Scope) -> None:
    anchors = [f"08:{minute:02}" for minute in range(10)]
    installs = [user.machine.start("xtrack", *DAILY, anchor, user="ann") for anchor in anchors]
    said = [assert_ends_well(install) for install in installs]
    assert sorted(int(line.split()[1]) for line in said) == list(range(1, 11))
    assert sorted(at for at, _ in table_of(user).values()) == anchors
    assert_as_the_jobs_say(user)
    assert job_starts(user) == []


SYNC_UNTIL_TOLD = "while [ ! -e ~/enough ]; do xtrack sync >/dev/null || exit; done"


def jobs_come_and_go_while_others_sync(user: Scope, rounds: int) -> None:
    for _ in range(3):
        user.xtrack(*HOURLY)
    syncs = [user.machine.start("sh", "-c", SYNC_UNTIL_TOLD, user="ann") for _ in range(2)]
    try:
        for _ in range(rounds):
            gone = [("delete-job", str(job), "--yes") for job in table_of(user)]
            both = [user.machine.start("xtrack", *words, user="ann") for words in (*gone, *[HOURLY] * 3)]
            for process in both:
                assert_ends_well(process)
            assert set(timers(user)) == {f"xtrack-job@{job}.timer" for job in table_of(user)}
    finally:
        user.machine.run("touch", "/home/ann/enough", user="ann")
        said = [process.communicate(timeout=60)[0] for process in syncs]
    assert [process.returncode for process in syncs] == [0, 0], said
    assert len(table_of(user)) == 3
    assert_as_the_jobs_say(user)
    assert job_starts(user) == []


def test_sync_takes_away_no_timer_that_is_being_made(user: Scope) -> None:
    jobs_come_and_go_while_others_sync(user, rounds=1)


@pytest.mark.exhaustive
def test_sync_takes_away_no_timer_that_is_being_made_in_many_rounds(user: Scope) -> None:
    jobs_come_and_go_while_others_sync(user, rounds=30)


# The machine changes

# A second environment for the same program; the first one's command is gone, as after a reinstall elsewhere.
MOVE_PROGRAM = """
mkdir -p /opt/other/bin && cp -a /opt/xtrack/pyvenv.cfg /opt/other && cp -a /opt/xtrack/bin/python /opt/other/bin
ln -s /opt/xtrack/lib /opt/other/lib
sed 's,^#!/opt/xtrack/,#!/opt/other/,' /opt/xtrack/bin/xtrack >/opt/other/bin/xtrack
chmod 755 /opt/other/bin/xtrack && rm /opt/xtrack/bin/xtrack
"""


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_executable_that_moved_is_noticed_and_mended(scope: Scope) -> None:
    machine, moved = scope.machine, "/opt/other/bin/xtrack"
    scope.xtrack(*HOURLY)
    machine.run("sh", "-ec", MOVE_PROGRAM)
    done = machine.run(moved, "doctor", user=scope.user, check=False)
    assert done.returncode == 78
    said = done.stdout.splitlines()
    (failed,) = [index for index, line in enumerate(said) if line.startswith("FAIL  executable")]
    assert 'the units start "/opt/xtrack/bin/xtrack" run-job %i' in said[failed]
    assert said[failed + 1].strip() == "xtrack sync"
    assert machine.run(moved, "sync", user=scope.user).stdout.splitlines() == [
        "write xtrack-job@.service",
        "write xtrack-manual@.service",
        "write xtrack-run-due.service",
    ]
    machine.run(moved, "doctor", user=scope.user)
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", "xtrack-run-due.service")
    for unit in ("xtrack-job@1.service", "xtrack-run-due.service"):
        shown = scope.systemctl("show", "-p", "ExecStart", "-p", "ExecMainStatus", unit)
        assert "path=/opt/other/bin/xtrack" in shown
        assert "ExecMainStatus=0" in shown
    (run,) = json.loads(machine.run(moved, "list-runs", "--json", user=scope.user).stdout)
    assert (run["state"], run["trigger"]) == ("done", "timer")


def kill_the_mending_of_a_move(scope: Scope, steps: Iterable[int]) -> int:
    """Kill the sync that writes the units for another executable, until it survives; gives how often."""
    scope.xtrack(*HOURLY)
    kills = 0
    for step in steps:
        for path in scope.units.glob("xtrack-*.service"):
            path.write_text(path.read_text().replace("/opt/xtrack/bin", "/opt/old/bin"))
        scope.systemctl("daemon-reload")
        if not is_killed(scope, step, ["sync"]):
            break
        kills += 1
        scope.xtrack("sync")
        for unit in ("xtrack-job@1.service", "xtrack-run-due.service"):
            shown = scope.systemctl("show", "-p", "ExecStart", "-p", "NeedDaemonReload", unit)
            assert "path=/opt/xtrack/bin/xtrack" in shown, step
            assert "NeedDaemonReload=no" in shown
        assert_as_the_jobs_say(scope)
    return kills


def test_move_of_the_executable_is_mended_also_after_some_kills(user: Scope) -> None:
    assert kill_the_mending_of_a_move(user, range(1, 999, 10)) >= 2


@pytest.mark.exhaustive
def test_move_of_the_executable_is_mended_also_after_a_kill_at_any_step(scope: Scope) -> None:
    assert kill_the_mending_of_a_move(scope, range(1, 999)) >= 10


def of_ours(machine: Machine) -> set[str]:
    """Everything in the machine that is called after us, but for the program."""
    prunes = [word for folder in ("/opt", "/usr", "/proc", "/sys") for word in ("-path", folder, "-prune", "-o")]
    return set(machine.run("find", "/", *prunes, "-name", "*xtrack*", "-print").stdout.split())


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_uninstall_asks_and_keeps_what_is_not_its_own(scope: Scope) -> None:
    machine, before, config = scope.machine, of_ours(scope.machine), "parallel_runs = 3\n"
    for _ in range(2):
        scope.xtrack(*HOURLY)
    scope.xtrack("pause-job", "2")
    folder = "/home/ann/.config/xtrack" if scope.user else "/etc/xtrack"
    machine.run("mkdir", "-p", folder, user=scope.user)
    machine.run("sh", "-c", f"umask 077; cat >{folder}/config.toml", user=scope.user, input=config)
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", "xtrack-run-due.service")
    assert [run["state"] for run in scope.runs()] == ["done"]

    everything = snapshot(scope.units, scope.stamps, scope.data)
    for purge in ([], ["--purge"]):
        done = machine.run("xtrack", "uninstall", *purge, user=scope.user, input="n\n", check=False)
        assert done.returncode != 0
        assert "[y/N]" in done.stdout + done.stderr
        assert snapshot(scope.units, scope.stamps, scope.data) == everything
    assert len(timers(scope)) == 1

    done = machine.run("xtrack", "uninstall", "--yes", user=scope.user)
    assert f"The data stay in {inside(scope, scope.data)}" in done.stderr
    assert names(scope.units, "**/*xtrack*") == set()
    assert names(scope.stamps, "*xtrack*") == set()
    assert scope.systemctl("list-units", "--all", "--plain", "--no-legend", "xtrack-*") == ""
    assert [job["id"] for job in scope.json("list-jobs")] == [1, 2]
    scope.xtrack("sync")

    done = machine.run("xtrack", "uninstall", "--purge", "--yes", user=scope.user)
    assert f"The settings stay: {folder}/config.toml" in done.stderr
    assert of_ours(machine) - before == {folder}
    assert machine.path(f"{folder}/config.toml").read_text() == config
    if scope.user is None:
        assert machine.run("id", "-un", "xtrack").stdout == "xtrack\n"


def test_purge_keeps_what_others_have_put_into_the_data_folder(shared_scope: Scope) -> None:
    scope = shared_scope
    scope.xtrack(*HOURLY)
    notes = scope.data / "notes.txt"
    notes.write_text("mine")
    scope.xtrack("uninstall", "--purge", "--yes")
    assert names(scope.data, "*") == {"notes.txt"}
    notes.unlink()


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo")


def change_zone(machine: Machine, zone: str) -> None:
    """As timedatectl does it: another link takes the old one's place, in one step."""
    machine.run("ln", "-s", f"/usr/share/zoneinfo/{zone}", "/etc/localtime.new")
    machine.run("mv", "-T", "/etc/localtime.new", "/etc/localtime")


def test_change_of_the_zone_fires_nothing_and_timers_follow_it(machine: Machine) -> None:
    scopes = [scope_of(machine, name) for name in SCOPES]
    now = datetime.now(UTC)
    for scope in scopes:
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly", "--at", "00:47")
        scope.xtrack("install-job", "--source", "sample", "--every", "every_6_hours", "--at", "03:05")
        # Times of day that will have just gone by in the zone to come, or be just to come.
        for zone in ZONES[1:]:
            for minutes in (-20, 20):
                scope.xtrack(*DAILY, f"{(now + timedelta(minutes=minutes)).astimezone(ZoneInfo(zone)):%H:%M}")
    for zone in (*ZONES[1:], ZONES[0]):
        before = [next_elapses(scope) for scope in scopes]
        change_zone(machine, zone)
        for scope, elapses in zip(scopes, before, strict=True):
            machine.wait_for(lambda s=scope, e=elapses: next_elapses(s) != e, 10, f"new times in {zone}")  # type: ignore[misc]  # defaults
            assert len(next_runs(scope)) == 6
            assert next_elapses(scope) == next_runs(scope)
    time.sleep(1)
    for scope in scopes:
        assert job_starts(scope) == []
        assert scope.runs() == []


def test_slot_that_is_done_stays_done_in_another_zone(user: Scope) -> None:
    ago = datetime.now(ZoneInfo(ZONES[0])) - timedelta(minutes=10)
    for every in ("hourly", "daily"):
        user.xtrack("install-job", "--source", "sample", "--every", every, "--at", f"{ago:%H:%M}")
    an_hour_passes(user)
    units = ("xtrack-job@1.service", "xtrack-job@2.service", "xtrack-run-due.service")
    user.systemctl("start", *units)
    slots = [run["slot"] for run in user.runs()]
    assert len(slots) == 2
    for zone in (*ZONES[1:], ZONES[0]):
        change_zone(user.machine, zone)
        user.systemctl("start", *units)
        assert [run["slot"] for run in user.runs()] == slots, zone


# Root, and the folder that the service user owns

SECRET = "root's own\n"
# Mode and content; what is empty, SQLite would take for a new database.
TARGETS = {"/etc/empty": (0o644, ""), "/etc/secret": (0o600, SECRET), "/etc/targets/kept": (0o644, SECRET)}
DATA = ("xtrack.db",)
BESIDE_DATA = ("xtrack.db-wal", "xtrack.db-shm", "xtrack.db-journal")
LOCK_FOLDER = ("locks",)
LOCKS = ("config.toml", "locks/job-1", "locks/job-2", "locks/timers", "locks/schema", "locks/place-1", "locks/feed-1")
AS_SERVICE_USER = ["setpriv", "--reuid=xtrack", "--regid=xtrack", "--clear-groups"]
PLANTS = {
    "link to an empty file": [*AS_SERVICE_USER, "ln", "-sfn", "/etc/empty"],
    "link to a secret": [*AS_SERVICE_USER, "ln", "-sfn", "/etc/secret"],
    "link to a folder": [*AS_SERVICE_USER, "ln", "-sfn", "/etc/targets"],
    "link to nothing": [*AS_SERVICE_USER, "ln", "-sfn", "/etc/made"],
    # As a kernel without fs.protected_hardlinks lets the service user do it.
    "the empty file itself": ["ln", "-f", "/etc/empty"],
    "the secret itself": ["ln", "-f", "/etc/secret"],
}
ROOTS_COMMANDS = (
    HOURLY,
    ("list-jobs",),
    ("run-job", "1"),
    ("run-due",),
    ("sync",),
    ("doctor",),
    ("delete-job", "1", "--yes"),
    ("uninstall", "--purge", "--yes"),
)


def roots_files(machine: Machine) -> set[str]:
    """What belongs to root outside of the places where root keeps the units and the system its logs."""
    pruned = ("/opt", "/usr", "/proc", "/sys", "/run", "/dev", "/var/log", "/etc/systemd/system", "/var/lib/systemd")
    prunes = [word for folder in pruned for word in ("-path", folder, "-prune", "-o")]
    return set(machine.run("find", "/", *prunes, "-user", "root", "-print").stdout.split())


def seen(machine: Machine, path: str) -> tuple[object, ...]:
    file = machine.path(path)
    about = file.stat()
    return about.st_uid, about.st_gid, about.st_mode, about.st_mtime_ns, file.read_bytes() if file.is_file() else ""


def assert_root_writes_nowhere_else(machine: Machine, home: str, kind: str, planted: Sequence[str]) -> None:
    """Plant links in a home that has a job, and type every command."""
    env = {"XTRACK_HOME": home}
    machine.run("xtrack", *HOURLY, env=env)
    machine.run("xtrack", "run-job", "1", env=env)
    for name in planted:
        machine.run("rm", "-rf", f"{home}/{name}")
        machine.run(*PLANTS[kind], f"{home}/{name}")
    looked_at = [*TARGETS, "/etc/targets", "/etc"]
    before, roots = {path: seen(machine, path) for path in looked_at}, roots_files(machine)
    try:
        for words in ROOTS_COMMANDS:
            done = machine.run("xtrack", *words, env=env, check=False)
            assert SECRET.strip() not in done.stdout + done.stderr
            assert "a bug" not in done.stderr, (words, done.stderr)
            assert {path: seen(machine, path) for path in looked_at} == before, words
            assert roots_files(machine) <= roots, words
    finally:
        machine.run("rm", "-rf", home)
        machine.run("xtrack", "uninstall", "--yes", env=env)


@pytest.fixture(scope="module")
def with_targets(make_machine: MakeMachine) -> Machine:
    machine = make_machine()
    machine.run("mkdir", "-p", "/etc/targets")
    for target, (mode, text) in TARGETS.items():
        machine.path(target).write_text(text)
        machine.path(target).chmod(mode)
    machine.run("touch", "--date=2020-01-01", *TARGETS, "/etc/targets")
    # Makes the user and the empty config, which stay.
    machine.run("xtrack", *HOURLY)
    machine.run("xtrack", "uninstall", "--purge", "--yes")
    return machine


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        ("link to nothing", DATA),
        ("link to an empty file", DATA),
        ("link to a folder", LOCK_FOLDER),
        ("link to a secret", LOCKS),
        ("the secret itself", LOCKS),
    ],
    ids=["data to nothing", "data to a file", "locks to a folder", "a lock to a secret", "a lock is a secret"],
)
def test_links_in_the_data_folder_make_root_write_nowhere_else(
    with_targets: Machine, kind: str, planted: Sequence[str]
) -> None:
    assert_root_writes_nowhere_else(with_targets, "/var/lib/xtrack", kind, planted)


@pytest.mark.exhaustive
@pytest.mark.parametrize("planted", [DATA, BESIDE_DATA, LOCK_FOLDER, LOCKS], ids=["data", "beside", "folder", "locks"])
@pytest.mark.parametrize("kind", PLANTS)
@pytest.mark.parametrize("home", ["/var/lib/xtrack", "/srv/theirs"])
def test_no_link_in_any_home_makes_root_write_elsewhere(
    with_targets: Machine, kind: str, planted: Sequence[str], home: str
) -> None:
    if planted is LOCK_FOLDER and kind.endswith("itself"):
        pytest.skip("a folder has no second name")
    assert_root_writes_nowhere_else(with_targets, home, kind, planted)
