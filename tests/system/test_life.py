"""A job's life on a real systemd, in both scopes: typed commands, files on disk, what the manager says."""

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.systemd

SCOPES = ["user", "system"]
POST = {"id": "1860000000000000001", "text": "The mill wheel turns again.", "created_at": "2024-11-22T10:00:00.000Z"}


@dataclass
class Scope:
    """One scope of a machine: how commands are typed in it, and where it keeps things."""

    machine: Machine
    user: str | None
    units: Path
    data: Path
    stamps: Path

    def xtrack(self, *words: str, check: bool = True) -> str:
        return self.machine.run("xtrack", *words, user=self.user, check=check).stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.xtrack(*words, "--json"))

    def refused(self, *words: str) -> tuple[int, str]:
        done = self.machine.run("xtrack", *words, user=self.user, check=False)
        return done.returncode, done.stderr

    def systemctl(self, *words: str, check: bool = True) -> str:
        scope = ["--user"] if self.user else []
        return self.machine.run("systemctl", *scope, *words, user=self.user, check=check).stdout

    def journal(self, unit: str) -> str:
        return self.machine.journal(unit, user=self.user)

    def runs(self) -> list[Any]:
        found: list[Any] = self.json("list-runs")
        return found[::-1]

    def wait_for_runs(self, count: int, seconds: float) -> None:
        """Wait until there are so many runs and the last one has ended."""

        def ended() -> bool:
            runs = self.runs()
            return len(runs) >= count and runs[-1]["state"] not in ("queued", "running")

        self.machine.wait_for(ended, seconds, f"run {count}")

    def sql(self, statement: str, *values: object) -> None:
        # Closed at once: whoever opens and closes the file in this process takes an open one's locks away (fcntl(2)).
        with closing(sqlite3.connect(self.data / "xtrack.db", timeout=10)) as db, db:
            db.execute(statement, values)

    def write(self, inside: str, *posts: dict[str, str]) -> None:
        self.machine.path(inside).write_text("".join(json.dumps(post) + "\n" for post in posts))

    def drop_in(self, unit: str, text: str) -> None:
        """An administrator's drop-in, which shortens the times so that a test need not wait for them."""
        folder = self.units / f"{unit}.d"
        folder.mkdir(parents=True)
        (folder / "quick.conf").write_text(text)
        self.systemctl("daemon-reload")


def scope_of(machine: Machine, name: str) -> Scope:
    if not machine.path("/home/ann").exists():
        machine.user("ann")
    if name == "system":
        units, data, stamps = "/etc/systemd/system", "/var/lib/xtrack", "/var/lib/systemd/timers"
        return Scope(machine, None, machine.path(units), machine.path(data), machine.path(stamps))
    home = machine.path("/home/ann")
    share = home / ".local/share"
    return Scope(machine, "ann", home / ".config/systemd/user", share / "xtrack", share / "systemd/timers")


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    return scope_of(machine, request.param)


def starts(scope: Scope) -> int:
    return scope.journal("xtrack-job@1.service").count("Starting ")


def an_hour_passes(scope: Scope) -> None:
    """Move the ledger an hour and a minute into the past, which to the program is as if that time had gone by."""
    since = datetime.now(UTC) - timedelta(minutes=61)
    scope.sql("UPDATE jobs SET schedule_since = ?", since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def minutes_ago(scope: Scope, minutes: int) -> str:
    """A time of day in the machine's zone."""
    return f"{datetime.now(ZoneInfo(scope.machine.zone)) - timedelta(minutes=minutes):%H:%M}"


def test_no_command_fires_a_run(scope: Scope) -> None:
    """Not even a schedule with a slot just behind us, or a stamp as old as a long pause leaves it."""
    past = minutes_ago(scope, 2)
    scope.xtrack("install-job", "--source", "sample", "--every", "daily", "--at", minutes_ago(scope, -60))
    stamp = scope.stamps / "stamp-xtrack-job@1.timer"
    inside = f"/{stamp.relative_to(scope.machine.disk)}"
    # As if it had last fired two hours ago: the next schedule has a slot since then.
    scope.systemctl("stop", "xtrack-job@1.timer")
    scope.machine.run("touch", "--date=2 hours ago", inside, user=scope.user)
    scope.systemctl("start", "xtrack-job@1.timer")
    assert starts(scope) == 0
    scope.xtrack("update-job", "1", "--at", past)
    scope.xtrack("update-job", "1", "--every", "hourly")
    scope.xtrack("update-job", "1", "--topic", "harbour")
    scope.xtrack("pause-job", "1")
    assert not (scope.units / "xtrack-job@1.timer").exists()
    assert scope.systemctl("is-active", "xtrack-job@1.timer", check=False) == "inactive\n"
    scope.machine.run("touch", "--date=3 days ago", inside, user=scope.user)
    scope.xtrack("resume-job", "1")
    assert scope.systemctl("is-active", "xtrack-job@1.timer") == "active\n"
    scope.xtrack("sync")
    time.sleep(1.5)
    assert starts(scope) == 0
    assert scope.runs() == []
    assert scope.json("show-job", "1")["topics"] == ["harbour"]
    assert scope.xtrack("doctor")


def test_next_run_is_what_systemd_says(scope: Scope) -> None:
    for every, at in (("hourly", "00:17"), ("every_6_hours", "03:05"), ("every_12_hours", "03:05"), ("daily", "23:59")):
        scope.xtrack("install-job", "--source", "sample", "--every", every, "--at", at)
    scope.xtrack("install-job", "--source", "sample", "--every", "5min")
    timers = json.loads(scope.systemctl("list-timers", "--output=json", "xtrack-job@*"))
    theirs = {timer["unit"]: datetime.fromtimestamp(timer["next"] / 1e6, UTC) for timer in timers}
    ours = {job["timer"]: datetime.fromisoformat(job["next_run"]) for job in scope.json("list-jobs")}
    assert len(ours) == 5
    assert theirs == ours


def test_update_that_leaves_the_schedule_touches_no_file(scope: Scope) -> None:
    scope.xtrack("install-job", "@SundWeather", "--source", "sample", "--every", "hourly")
    before = {path: path.stat().st_mtime_ns for path in scope.units.glob("xtrack-*")}
    scope.xtrack("update-job", "1", "@SundPower", "--topic", "wind")
    assert {path: path.stat().st_mtime_ns for path in scope.units.glob("xtrack-*")} == before
    assert scope.json("show-job", "1")["names"] == ["SundPower"]


def test_delete_leaves_nothing_of_the_job_and_uninstall_nothing_at_all(scope: Scope) -> None:
    machine = scope.machine
    scope.write("/srv/posts.jsonl", POST)
    for source in ("/srv/posts.jsonl", "sample"):
        scope.xtrack("install-job", "--source", source, "--every", "hourly")
    scope.xtrack("run-job", "1")
    machine.run("rm", "/srv/posts.jsonl")
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", check=False)
    assert scope.systemctl("is-failed", "xtrack-job@1.service") == "failed\n"
    assert (scope.data / "locks/job-1").exists()
    scope.xtrack("delete-job", "1", "--yes")
    for pattern in ("*job@1.*", "job-1"):
        assert machine.run("find", "/etc", "/var", "/home", "/root", "-name", pattern).stdout == ""
    assert "job@1" not in scope.systemctl("list-units", "--all", "xtrack-*")
    assert "job@2" in scope.systemctl("list-units", "--all", "xtrack-*")
    assert scope.json("list-runs") == []
    assert scope.refused("show-job", "1") == (66, "xtrack: no job 1\n  xtrack list-jobs\n")
    assert scope.xtrack("install-job", "--source", "sample", "--every", "hourly").startswith("Job 3 installed")

    scope.xtrack("uninstall", "--yes")
    found = machine.run("find", "/etc/systemd", "/var/lib/systemd", "/home", "/root", "-name", "*xtrack-*").stdout
    assert found == ""
    assert "0 unit" in scope.systemctl("list-unit-files", "xtrack-*", check=False)
    assert [job["id"] for job in scope.json("list-jobs")] == [2, 3]
    assert scope.refused("doctor")[0] == 78
    scope.xtrack("sync")
    assert scope.systemctl("is-active", "xtrack-job@2.timer", "xtrack-job@3.timer") == "active\nactive\n"


def test_run_by_hand_moves_nothing(scope: Scope) -> None:
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    timers = scope.systemctl("show", "-p", "NextElapseUSecRealtime", "xtrack-job@1.timer")
    stamp = (scope.stamps / "stamp-xtrack-job@1.timer").stat().st_mtime_ns
    next_run = scope.json("show-job", "1")["next_run"]
    done = scope.machine.run("xtrack", "run-job", "1", user=scope.user)
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["run 1"] * 3
    assert scope.systemctl("show", "-p", "NextElapseUSecRealtime", "xtrack-job@1.timer") == timers
    assert (scope.stamps / "stamp-xtrack-job@1.timer").stat().st_mtime_ns == stamp
    job = scope.json("show-job", "1")
    assert job["next_run"] == next_run
    assert (job["last_result"]["trigger"], job["last_result"]["slot"]) == ("manual", None)


def test_starts_without_a_slot_are_no_runs(scope: Scope) -> None:
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    for _ in range(2):
        scope.systemctl("start", "xtrack-job@1.service")
    assert scope.runs() == []
    an_hour_passes(scope)
    for _ in range(2):
        scope.systemctl("start", "xtrack-job@1.service")
    (run,) = scope.runs()
    assert (run["state"], run["trigger"]) == ("done", "timer")


def test_failed_run_is_tried_again_and_succeeds(scope: Scope) -> None:
    """The source goes away and comes back; OnFailure= arms the sweep, which starts the job's unit again."""
    machine = scope.machine
    scope.write("/srv/posts.jsonl", POST)
    scope.xtrack("install-job", "--source", "/srv/posts.jsonl", "--every", "hourly")
    scope.drop_in("xtrack-run-due.timer", "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n")
    machine.run("mv", "/srv/posts.jsonl", "/srv/away")
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", check=False)
    assert scope.systemctl("is-failed", "xtrack-job@1.service") == "failed\n"
    (failed,) = scope.runs()
    assert (failed["state"], failed["exit_code"]) == ("failed", 75)
    waits = datetime.fromisoformat(failed["next_try"]) - datetime.fromisoformat(failed["finished_at"])
    assert waits == timedelta(minutes=5)
    assert "failed (75), again" in scope.xtrack("list-jobs")

    # Armed again and again while the slot waits, and nothing is started before its time.
    machine.wait_for(lambda: scope.journal("xtrack-run-due.service").count("Finished") >= 2, 10, "two sweeps")
    assert len(scope.runs()) == 1
    machine.run("mv", "/srv/away", "/srv/posts.jsonl")
    scope.sql("UPDATE runs SET next_try = ?", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    scope.wait_for_runs(2, 10)
    assert scope.runs()[1]["slot"] == failed["slot"]
    assert "The mill wheel turns again." in scope.xtrack("show-summary", "1")
    machine.wait_for(lambda: _is_dead(scope, "xtrack-run-due.timer"), 10, "the sweep's rest")


@pytest.mark.slow
def test_failed_run_is_tried_again_in_real_time(machine: Machine) -> None:
    """Both scopes on one machine, with the times that users have: five minutes from the failure to the second try."""
    scopes = [scope_of(machine, name) for name in SCOPES]
    scopes[0].write("/srv/posts.jsonl", POST)
    for scope in scopes:
        scope.xtrack("install-job", "--source", "/srv/posts.jsonl", "--every", "hourly")
    machine.run("mv", "/srv/posts.jsonl", "/srv/away")
    for scope in scopes:
        an_hour_passes(scope)
        scope.systemctl("start", "xtrack-job@1.service", check=False)
        assert [run["exit_code"] for run in scope.runs()] == [75]
    machine.run("mv", "/srv/away", "/srv/posts.jsonl")
    time.sleep(240)
    assert [len(scope.runs()) for scope in scopes] == [1, 1]
    for scope in scopes:
        scope.wait_for_runs(2, 90)
        assert [run["exit_code"] for run in scope.runs()] == [75, 0]


def _is_dead(scope: Scope, unit: str) -> bool:
    return scope.systemctl("is-active", unit, check=False) == "inactive\n"


def test_unit_that_cannot_start_is_seen_and_done_once_it_can(scope: Scope) -> None:
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly", "--at", minutes_ago(scope, 10))
    scope.drop_in("xtrack-run-due.timer", "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n")
    scope.machine.run("mv", "/opt/xtrack/bin/xtrack", "/opt/xtrack/bin/away")
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", check=False)
    typed = ["/opt/xtrack/bin/python", "-m", "xtrack"]
    listed = scope.machine.run(*typed, "list-jobs", user=scope.user).stdout
    assert "overdue since" in listed
    assert "status 203" in listed
    assert scope.machine.run(*typed, "doctor", user=scope.user, check=False).returncode == 78
    scope.machine.run("mv", "/opt/xtrack/bin/away", "/opt/xtrack/bin/xtrack")
    scope.wait_for_runs(1, 10)


def test_drift_is_seen_and_mended_and_foreign_files_are_left(scope: Scope) -> None:
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    timer = scope.units / "xtrack-job@1.timer"
    right = timer.read_text()
    timer.unlink()
    code, _ = scope.refused("doctor")
    assert code == 78
    assert scope.xtrack("sync", "--dry-run") == "add xtrack-job@1.timer\n"
    assert not timer.exists()
    assert scope.xtrack("sync") == "add xtrack-job@1.timer\n"
    assert timer.read_text() == right
    scope.systemctl("stop", "xtrack-job@1.timer")
    assert scope.xtrack("sync") == "start xtrack-job@1.timer\n"
    assert scope.xtrack("sync") == "All timers are as the jobs say.\n"
    assert scope.runs() == []

    foreign = scope.units / "xtrack-job@2.timer"
    foreign.write_text("[Timer]\nOnCalendar=daily\n")
    code, said = scope.refused("install-job", "--source", "sample", "--every", "hourly")
    assert (code, "xtrack-job@2.timer is there already and not of this home" in said) == (78, True)
    assert foreign.read_text() == "[Timer]\nOnCalendar=daily\n"
    assert [job["id"] for job in scope.json("list-jobs")] == [1]
    assert scope.xtrack("install-job", "--source", "sample", "--every", "hourly").startswith("Job 3 installed")


def test_two_homes_never_meet(scope: Scope) -> None:
    machine, other = scope.machine, "/srv/other"
    env = {"XTRACK_HOME": other}
    if scope.user:
        machine.run("install", "-d", "-o", scope.user, other)
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    machine.run("xtrack", "install-job", "--source", "sample", "--every", "hourly", user=scope.user, env=env)
    assert len(list(scope.units.glob("xtrack-job@1.timer"))) == 1
    assert len(list(scope.units.glob("xtrack-????????-job@1.timer"))) == 1
    timer = json.loads(machine.run("xtrack", "show-job", "1", "--json", user=scope.user, env=env).stdout)["timer"]
    scope.systemctl("start", timer.replace(".timer", ".service"))
    assert "All timers" in machine.run("xtrack", "sync", user=scope.user, env=env).stdout
    machine.run("xtrack", "uninstall", "--yes", user=scope.user, env=env)
    assert "All timers" in scope.xtrack("sync")
    assert not list(scope.units.glob("xtrack-????????-*"))


def test_logs_are_one_jobs(scope: Scope) -> None:
    for _ in range(2):
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", "xtrack-job@2.service")
    scope.machine.run("journalctl", "--sync")
    log = scope.xtrack("logs", "1")
    assert "job 1, slot" in log
    assert "job 2" not in log


def test_system_scope_makes_its_user_and_keeps_its_data_to_itself(machine: Machine) -> None:
    scope = scope_of(machine, "system")
    assert machine.run("getent", "passwd", "xtrack", check=False).returncode == 2
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    assert machine.run("stat", "-c", "%U %a", "/var/lib/xtrack", "/etc/xtrack/config.toml").stdout.splitlines() == [
        "xtrack 700",
        "root 640",
    ]
    scope.xtrack("run-job", "1")
    owners = machine.run("find", "/var/lib/xtrack", "!", "-user", "xtrack").stdout
    assert owners == ""


def test_what_the_service_cannot_see_is_refused(machine: Machine) -> None:
    scope = scope_of(machine, "system")
    scope.write("/root/posts.jsonl", POST)
    code, said = scope.refused("install-job", "--source", "/root/posts.jsonl", "--every", "hourly")
    assert code == 77
    assert "/root/posts.jsonl is hidden from the service" in said
    scope.write("/srv/closed.jsonl", POST)
    machine.path("/srv/closed.jsonl").chmod(0o600)
    code, said = scope.refused("install-job", "--source", "/srv/closed.jsonl", "--every", "hourly")
    assert (code, "user xtrack cannot read /srv/closed.jsonl" in said) == (77, True)
    assert scope.xtrack("list-jobs") == ""


def test_user_scope_warns_without_linger_and_finds_the_manager_without_a_session(machine: Machine) -> None:
    scope = scope_of(machine, "user")
    machine.run("loginctl", "disable-linger", "ann")
    machine.run("systemctl", "start", "user@1000.service")
    env = {"XDG_RUNTIME_DIR": None}
    words = ["install-job", "--source", "sample", "--every", "hourly"]
    done = machine.run("xtrack", *words, user="ann", env=env)
    assert "timers stop when you log out, unless you type once: loginctl enable-linger ann" in done.stderr
    code, _ = scope.refused("doctor")
    assert code == 78
    code, said = scope.refused("install-job", "--system", *words[1:])
    assert (code, "sudo xtrack install-job" in said) == (77, True)


def test_no_manager_is_refused_with_the_other_way(machine: Machine) -> None:
    machine.run("useradd", "--create-home", "bob")
    done = machine.run("xtrack", "install-job", "--source", "sample", "--every", "hourly", user="bob", check=False)
    assert done.returncode == 78
    assert "*/5 * * * * XTRACK_SCHEDULER=none /opt/xtrack/bin/xtrack run-due" in done.stderr
    assert machine.run("xtrack", "list-jobs", user="bob").stdout == ""
