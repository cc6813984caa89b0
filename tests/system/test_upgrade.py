"""Homes that something else has left behind: the release before, with its timers, and a clock that was wrong."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import line
from tests.released import DATA, history, released_database, rows, stored
from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, minutes_ago, scope_of
from xtrack.store.database import SCHEMA_VERSION

HOUR = timedelta(hours=1)

# Of the released home: job 1 owes a slot, job 2 is paused, and job 3's last slot failed, to be tried again.
SLOT_MINUTES = (17, 47)
FAILED_SLOT = datetime(2026, 11, 24, 19, 47, tzinfo=UTC)
SHARED = ("xtrack-job@.service", "xtrack-run-due.service", "xtrack-run-due.timer")


# The release before, on a machine


def away_from_a_slot() -> None:
    """What is laid down for one slot has to be over before the next."""
    now = datetime.now(UTC)
    for minute in SLOT_MINUTES:
        seconds = (minute - now.minute) % 60 * 60 - now.second
        if 0 <= seconds % 3600 < 40:
            time.sleep(seconds % 3600 + 2)


def lay_down(scope: Scope) -> None:
    """Leave a home as the release before did, an hour ago, and the machine off."""
    machine = scope.machine
    away_from_a_slot()
    if scope.user is None:
        machine.run("useradd", "--system", "--no-create-home", "--home-dir", "/var/lib/xtrack", "xtrack")
        machine.path("/etc/xtrack").mkdir()
        machine.path("/etc/xtrack/config.toml").touch(0o600)
    machine.path("/srv/posts.jsonl").write_text("".join(line(number) for number in range(5)))
    machine.path("/srv/other.jsonl").write_text("".join(line(number, "oslo") for number in range(10, 12)))
    for name, text in json.loads((DATA / "released_1_units.json").read_text())[scope_name(scope)].items():
        path = scope.units / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)
    quick = scope.units / "xtrack-run-due.timer.d/quick.conf"
    quick.parent.mkdir()
    quick.write_text("[Timer]\nOnActiveSec=\nOnActiveSec=1s\n")
    scope.data.mkdir(parents=True, mode=0o700)
    (scope.data / "locks").mkdir(mode=0o700)
    database = released_database(scope.data / "xtrack.db", later=(datetime.now(UTC) - FAILED_SLOT) // HOUR * HOUR)
    rows(database, "UPDATE runs SET next_try = ? WHERE next_try IS NOT NULL", stored(datetime.now(UTC)))
    scope.stamps.mkdir(parents=True, exist_ok=True)
    for job, ago in ((1, "2 hours ago"), (3, "now")):
        stamp = scope.stamps / f"stamp-xtrack-job@{job}.timer"
        machine.run("touch", f"--date={ago}", f"/{stamp.relative_to(machine.disk)}")
    owner, places = ("ann:", ("/home/ann",)) if scope.user else ("xtrack:", ("/var/lib/xtrack",))
    machine.run("chown", "--recursive", owner, *places)
    machine.power_off()


def scope_name(scope: Scope) -> str:
    return "user" if scope.user else "system"


def new_runs(scope: Scope) -> list[Any]:
    """The runs that ended since the release before, by job."""
    statement = 'SELECT job_id, state, "trigger", slot FROM runs WHERE id > 5 AND state <> ? ORDER BY job_id'
    return rows(scope.data / "xtrack.db", statement, "running")


@pytest.mark.systemd
@pytest.mark.parametrize(("name", "command"), [("user", ("sync",)), ("system", ("resume-job", "2"))])
def test_the_timers_of_the_release_before_run_on_and_the_next_command_renews_them(
    machine: Machine, name: str, command: tuple[str, ...]
) -> None:
    """Nothing is typed before the machine is on and both timers, a job's and the sweep's, have done their work."""
    scope = scope_of(machine, name)
    lay_down(scope)
    database = scope.data / "xtrack.db"
    before, old_units = history(database), {unit: (scope.units / unit).read_text() for unit in SHARED}
    failed_slot = rows(database, "SELECT slot FROM runs WHERE id = 5")[0][0]
    assert rows(database, "PRAGMA user_version") == [(1,)]

    machine.boot()
    machine.wait_for(lambda: len(new_runs(scope)) >= 2, 30, "the owed slot and the failed one")
    assert rows(database, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    (owed, again) = new_runs(scope)
    assert (owed[:3], again) == ((1, "done", "timer"), (3, "done", "timer", failed_slot))
    # A timer that fires within the minute before a slot does that one.
    assert timedelta(minutes=-1) <= datetime.now(UTC) - datetime.fromisoformat(owed[3]) < HOUR
    assert history(database) == before
    assert rows(database, "SELECT job_id, post_count FROM summaries WHERE id > 3 ORDER BY job_id") == [(1, 0), (3, 2)]
    machine.wait_for(lambda: "inactive" in state(scope, "xtrack-run-due.timer"), 10, "the sweep's rest")
    assert {unit: (scope.units / unit).read_text() for unit in SHARED} == old_units

    checks = machine.run("xtrack", "doctor", "--json", user=scope.user, check=False)
    wrong = [check for check in json.loads(checks.stdout) if not check["ok"]]
    # The old units gave the system's config as a credential.
    expected = ["timers"] if scope.user else ["home", "timers"]
    assert [(check["name"], check["hint"]) for check in wrong] == [(name, "xtrack sync") for name in expected]
    assert "write xtrack-manual@.service" in scope.xtrack("sync", "--dry-run")
    scope.xtrack(*command)
    assert (scope.units / "xtrack-manual@.service").exists()
    assert scope.xtrack("doctor")
    assert scope.xtrack("sync") == "All timers are as the jobs say.\n"
    assert state(scope, "xtrack-job@1.timer", "xtrack-job@3.timer") == "active\nactive\n"
    assert len(new_runs(scope)) == 2
    assert "5 new posts by @kaya" in scope.xtrack("show-summary", "2")
    scope.xtrack("run-job", "2", "--queue")
    scope.wait_for_runs(8, 20)
    assert [(run["job"], run["state"]) for run in scope.runs()[7:]] == [(2, "done")]


def state(scope: Scope, *units: str) -> str:
    return scope.systemctl("is-active", *units, check=False)


# A clock that was wrong


def move(scope: Scope, job: int, modifier: str) -> None:
    """Have the ledger of a job look as if the clock had been wrong when it was written."""
    columns = {"jobs": ("created_at", "schedule_since", "last_run"), "runs": ("slot", "started_at", "finished_at")}
    for table, names in columns.items():
        key = "id" if table == "jobs" else "job_id"
        for name in names:
            moved = f"strftime('%Y-%m-%dT%H:%M:%f', {name}, '{modifier}') || '000Z'"
            scope.sql(f"UPDATE {table} SET {name} = {moved} WHERE {key} = ?", job)


def failed_checks(scope: Scope) -> dict[str, str]:
    """What doctor is not content with."""
    shown = scope.machine.run("xtrack", "doctor", "--json", user=scope.user, check=False).stdout
    return {check["name"]: check["detail"] for check in json.loads(shown) if not check["ok"]}


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    return scope_of(machine, request.param)


@pytest.mark.systemd
def test_after_a_clock_a_year_ahead_and_one_a_year_back_the_next_timer_start_does_its_slot(scope: Scope) -> None:
    """Job 1's ledger is from a clock that was a year ahead, job 2's from one that was a year back."""
    for _ in range(2):
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly", "--at", minutes_ago(scope, 10))
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", "xtrack-job@2.service")
    slots = [run["slot"] for run in scope.runs()]
    assert len(slots) == 2
    assert failed_checks(scope) == {}
    move(scope, 1, "+1 year")
    move(scope, 2, "-1 year")
    wrong = failed_checks(scope)
    assert wrong.keys() == {"ledger", "slots"}
    assert wrong["ledger"].startswith("the clock was wrong once: job 1 did slots that are to come")

    timers = ("xtrack-job@1.timer", "xtrack-job@2.timer")
    scope.systemctl("stop", *timers)
    stamps = [f"/{(scope.stamps / f'stamp-{timer}').relative_to(scope.machine.disk)}" for timer in timers]
    scope.machine.run("touch", "--date=2 hours ago", *stamps, user=scope.user)
    scope.systemctl("start", *timers)
    scope.wait_for_runs(4, 20)
    scope.machine.wait_for(lambda: all(run["state"] == "done" for run in scope.runs()), 20, "the end of both runs")
    assert {(run["job"], run["slot"]) for run in scope.runs()[2:]} == {(1, slots[0]), (2, slots[1])}
    scope.systemctl("start", "xtrack-job@1.service", "xtrack-job@2.service", "xtrack-run-due.service")
    assert len(scope.runs()) == 4
    assert failed_checks(scope).keys() == {"ledger"}
