"""Runs on a real systemd: queued, at once, hung, killed, failed, paused, deleted, and what their log says."""

import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import flocked, write_lines
from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, minutes_ago, scope_of

pytestmark = pytest.mark.systemd

# The second scope in test-slow: nothing in it depends on the scope.
USER_AND_SLOWLY_SYSTEM = ["user", pytest.param("system", marks=pytest.mark.slow)]

SOURCE = "/srv/posts.jsonl"
QUICK_SWEEP = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\n"
FETCHING = f"fetching {SOURCE}"
PYTHON = "/opt/xtrack/bin/python"
XTRACK = "/opt/xtrack/bin/xtrack"


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    return scope_of(machine, request.param)


@pytest.fixture
def both_scopes(machine: Machine) -> list[Scope]:
    return [scope_of(machine, name) for name in SCOPES]


def install(scope: Scope, *words: str, source: str = SOURCE) -> None:
    """An hourly job, by default on a file of three posts."""
    path = scope.machine.path(SOURCE)
    if not path.exists():
        write_lines(path, range(1, 4))
    scope.xtrack("install-job", "--source", source, "--every", "hourly", *words)


def query(scope: Scope, statement: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(scope.data / "xtrack.db", timeout=10)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(statement)]


def runs(scope: Scope, job: int | None = None) -> list[dict[str, Any]]:
    """The ledger's rows, oldest first; unlike a command, looking at them takes no time."""
    return [run for run in query(scope, "SELECT * FROM runs ORDER BY id") if job in (None, run["job_id"])]


def outcomes(scope: Scope, job: int | None = None) -> list[tuple[str, str, int | None]]:
    return [(run["trigger"], run["state"], run["exit_code"]) for run in runs(scope, job)]


def wait_until_at(scope: Scope, stage: str, *jobs: int) -> None:
    def are_there() -> bool:
        return {run["job_id"] for run in runs(scope) if (run["state"], run["stage"]) == ("running", stage)} == {*jobs}

    scope.machine.wait_for(are_there, 60, f"{jobs} {stage}")


def wait_until_done(scope: Scope, count: int) -> None:
    def are_done() -> bool:
        return [run["state"] for run in runs(scope)].count("done") >= count

    scope.machine.wait_for(are_done, 60, f"{count} runs done")


def unit(scope: Scope, name: str) -> str:
    """Such as `failed exit-code 65`."""
    shown = scope.systemctl("show", "-p", "ActiveState", "-p", "Result", "-p", "ExecMainStatus", name)
    found = dict(line.split("=", 1) for line in shown.splitlines())
    return f"{found['ActiveState']} {found['Result']} {found['ExecMainStatus']}"


def wait_for_unit(scope: Scope, name: str, state: str, seconds: float = 60) -> None:
    scope.machine.wait_for(lambda: unit(scope, name) == state, seconds, f"{name}: {state}")


def wait_until_dead(scope: Scope, timer: str) -> None:
    def is_dead() -> bool:
        return scope.systemctl("is-active", timer, check=False) == "inactive\n"

    scope.machine.wait_for(is_dead, 60, f"{timer}'s rest")


def begin(scope: Scope, *jobs: int) -> None:
    """Start the jobs as their timers would."""
    scope.systemctl("start", "--no-block", *(f"xtrack-job@{job}.service" for job in jobs))


def run_to_its_end(scope: Scope, job: int = 1) -> str:
    """Start a job as its timer would; what its unit came to."""
    scope.systemctl("start", f"xtrack-job@{job}.service", check=False)
    return unit(scope, f"xtrack-job@{job}.service")


def sweep(scope: Scope) -> None:
    scope.systemctl("start", "xtrack-run-due.service")


def settle(scope: Scope) -> None:
    """Wait until no unit of ours is at work."""

    def is_idle() -> bool:
        return not scope.systemctl("list-units", "--state=activating", "--plain", "--no-legend", "xtrack-*").strip()

    scope.machine.wait_for(is_idle, 60, "units at rest")


def sweeps_find_nothing_to_do(scope: Scope) -> None:
    before = query(scope, "SELECT * FROM runs")
    for _ in range(3):
        sweep(scope)
        settle(scope)
    assert query(scope, "SELECT * FROM runs") == before


@contextmanager
def held(scope: Scope, name: str) -> Iterator[None]:
    """Hold one of the home's locks, which has its runs wait in the act."""
    path = scope.data / "locks" / name
    with flocked(path):
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
        yield


def attempts_age(scope: Scope, minutes: int) -> None:
    """Move the attempts into the past, which to the program is as if that time had gone by."""
    for column in ("started_at", "finished_at", "next_try"):
        _age(scope, "runs", column, minutes)


def next_slot_comes(scope: Scope) -> None:
    """An hour goes by, in which the slots that are known stay on the calendar."""
    attempts_age(scope, 60)
    _age(scope, "runs", "slot", 60)
    _age(scope, "jobs", "schedule_since", 60)


def _age(scope: Scope, table: str, column: str, minutes: int) -> None:
    aged = f"strftime('%Y-%m-%dT%H:%M:%f', {column}, '-{minutes} minutes') || '000Z'"
    scope.sql(f"UPDATE {table} SET {column} = {aged}")


def waits_from_start(run: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(run["next_try"]) - datetime.fromisoformat(run["started_at"])


def posts_in_summaries(scope: Scope, job: int) -> list[int]:
    """How many new posts each summary of a job's is about."""
    return [row["post_count"] for row in query(scope, "SELECT * FROM summaries ORDER BY id") if row["job_id"] == job]


def move(scope: Scope, source: str, target: str) -> None:
    scope.machine.run("mv", source, target)


# runs that were queued by hand


def test_queued_run_is_one_run_by_hand_and_leaves_the_schedule_alone(scope: Scope) -> None:
    install(scope)
    install(scope, "--paused")
    stamp = scope.stamps / "stamp-xtrack-job@1.timer"
    before = (scope.systemctl("show", "-p", "NextElapseUSecRealtime", "xtrack-job@1.timer"), stamp.stat().st_mtime_ns)
    for job in (1, 2):
        scope.xtrack("run-job", str(job), "--queue")
    wait_until_done(scope, 2)
    settle(scope)
    assert outcomes(scope) == [("manual", "done", 0)] * 2
    assert [run["slot"] for run in runs(scope)] == [None, None]
    for job in (1, 2):
        assert scope.journal(f"xtrack-manual@{job}.service").count(f"run {job}: summary {job}") == 1
        assert scope.journal(f"xtrack-job@{job}.service") == ""
    after = (scope.systemctl("show", "-p", "NextElapseUSecRealtime", "xtrack-job@1.timer"), stamp.stat().st_mtime_ns)
    assert after == before
    assert [job["state"] for job in scope.json("list-jobs")] == ["active", "paused"]
    assert not (scope.units / "xtrack-job@2.timer").exists()
    assert not (scope.stamps / "stamp-xtrack-job@2.timer").exists()


def test_queued_run_whose_unit_cannot_start_is_done_by_the_sweep_once_it_can(scope: Scope) -> None:
    install(scope)
    install(scope, "--paused")
    scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
    move(scope, XTRACK, "/opt/xtrack/bin/away")
    for job in ("1", "2"):
        scope.machine.run(PYTHON, "-m", "xtrack", "run-job", job, "--queue", user=scope.user)
        wait_for_unit(scope, f"xtrack-manual@{job}.service", "failed exit-code 203")
    assert [run["state"] for run in runs(scope)] == ["queued", "queued"]
    move(scope, "/opt/xtrack/bin/away", XTRACK)
    wait_until_done(scope, 2)
    settle(scope)
    assert outcomes(scope) == [("manual", "done", 0)] * 2
    wait_until_dead(scope, "xtrack-run-due.timer")


def test_runs_by_timer_queue_and_terminal_at_once_each_do_their_part_once(scope: Scope) -> None:
    """Four jobs on one file: two are due, of which one is queued too, the others are paused, one queued, one typed."""
    machine = scope.machine
    for words in ([], [], ["--paused"], ["--paused"]):
        install(scope, *words)
    an_hour_passes(scope)
    with held(scope, "feed-1"):
        begin(scope, 1, 2)
        wait_until_at(scope, FETCHING, 1, 2)
        scope.xtrack("run-job", "1", "--queue")
        scope.xtrack("run-job", "3", "--queue")
        code, said = scope.refused("run-job", "2")
        assert (code, said) == (75, "xtrack: a run of job 2 is going on\n  xtrack list-runs 2\n")
        typed = machine.start("xtrack", "run-job", "4", user=scope.user)
        wait_until_at(scope, FETCHING, 1, 2, 3, 4)
        wait_for_unit(scope, "xtrack-manual@1.service", "activating success 0")
    typed.communicate(timeout=60)
    assert typed.returncode == 0
    wait_until_done(scope, 5)
    first, second = runs(scope, 1)
    assert (first["trigger"], first["closed"], first["new_posts"]) == ("timer", 1, 3)
    assert (second["trigger"], second["slot"], second["new_posts"]) == ("manual", None, 0)
    assert first["finished_at"] <= second["started_at"]
    assert outcomes(scope, 2) == [("timer", "done", 0)]
    assert outcomes(scope, 3) == outcomes(scope, 4) == [("manual", "done", 0)]
    assert [posts_in_summaries(scope, job) for job in (1, 2, 3, 4)] == [[3, 0], [3], [3], [3]]

    # Again, and who comes first is left to chance.
    write_lines(machine.path(SOURCE), range(4, 6))
    settle(scope)
    next_slot_comes(scope)
    typing = [machine.start("xtrack", "run-job", *words, user=scope.user) for words in (["1", "--queue"], ["4"])]
    begin(scope, 1, 2)
    for command in typing:
        command.communicate(timeout=60)
        assert command.returncode == 0
    wait_until_done(scope, 8)
    settle(scope)
    assert {run["state"] for run in runs(scope)} == {"done"}
    assert [sum(posts_in_summaries(scope, job)) for job in (1, 2, 3, 4)] == [5, 5, 3, 5]
    assert [[run["closed"] for run in runs(scope, job)].count(1) for job in (1, 2)] == [2, 2]
    assert [run["trigger"] for run in runs(scope, 1)].count("manual") == 2
    assert query(scope, "SELECT count(*) AS arrived FROM arrivals") == [{"arrived": 5}]


# runs that end before they have ended


@pytest.mark.slow
def test_hung_and_killed_runs_are_recorded_with_their_stage_and_tried_again(both_scopes: list[Scope]) -> None:
    """Three jobs wait for their source: one hangs, one is killed, and one waits for longer than its unit's timeout."""
    hangs, is_killed, waits = (f"xtrack-job@{job}.service" for job in (1, 2, 3))
    with ExitStack() as locks:
        for scope in both_scopes:
            for _ in range(3):
                install(scope)
            # Deaf to what the run says, the timeout takes the wait for a hang.
            scope.drop_in(hangs, "[Service]\nTimeoutStartSec=5s\nTimeoutStopSec=1s\nNotifyAccess=none\n")
            scope.drop_in(waits, "[Service]\nTimeoutStartSec=5s\n")
            an_hour_passes(scope)
            locks.enter_context(held(scope, "feed-1"))
            begin(scope, 1, 2, 3)
            wait_until_at(scope, FETCHING, 1, 2, 3)
            scope.systemctl("kill", "--signal=STOP", hangs)
            scope.systemctl("kill", "--signal=KILL", is_killed)
        for scope in both_scopes:
            wait_for_unit(scope, hangs, "failed timeout 143")
            wait_for_unit(scope, is_killed, "failed signal 9")
        time.sleep(1)
        assert [unit(scope, waits) for scope in both_scopes] == ["activating success 0"] * 2
    for scope in both_scopes:
        wait_until_done(scope, 1)
        assert outcomes(scope, 3) == [("timer", "done", 0)]
        assert outcomes(scope, 1) == [("timer", "failed", 75)]
        assert scope.xtrack("list-jobs").count(f"died: {FETCHING}") == 1
        _are_found_dead_and_tried_again(scope)


def _are_found_dead_and_tried_again(scope: Scope) -> None:
    """By the next start of the one job, and by the sweep."""
    assert run_to_its_end(scope, 1) == "inactive success 0"
    sweep(scope)
    settle(scope)
    for job, how in ((1, "stopped by SIGTERM"), (2, "died")):
        (ended,) = runs(scope, job)
        assert (ended["state"], ended["exit_code"], ended["closed"]) == ("died" if job == 2 else "failed", 75, 0)
        assert ended["error"] == f"{how} while it was at: {FETCHING}"
    assert waits_from_start(ended) == timedelta(minutes=5)
    attempts_age(scope, 5)
    sweep(scope)
    wait_until_done(scope, 3)
    for job in (1, 2):
        died, again = runs(scope, job)
        assert (again["state"], again["slot"], again["closed"]) == ("done", died["slot"], 1)
        assert posts_in_summaries(scope, job) == [3]


def test_what_died_with_the_machine_is_finished_by_run_due_after_boot(
    machine: Machine, both_scopes: list[Scope]
) -> None:
    with ExitStack() as locks:
        for scope in both_scopes:
            install(scope)
            scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
            an_hour_passes(scope)
            locks.enter_context(held(scope, "feed-1"))
            begin(scope, 1)
            wait_until_at(scope, FETCHING, 1)
        machine.power_off()
    for scope in both_scopes:
        assert outcomes(scope) == [("timer", "running", None)]
        attempts_age(scope, 6)  # the time without power
    machine.boot()
    for scope in both_scopes:
        wait_until_done(scope, 1)
        assert outcomes(scope) == [("timer", "died", 75), ("timer", "done", 0)]
        died, again = runs(scope)
        assert (died["error"], again["slot"]) == (f"died while it was at: {FETCHING}", died["slot"])
        assert posts_in_summaries(scope, 1) == [3]
        wait_until_dead(scope, "xtrack-run-due.timer")


# failures


@pytest.mark.slow
def test_locked_database_is_waited_for_and_tried_again(both_scopes: list[Scope]) -> None:
    """One job cannot write that it runs, the other not what it has read: SQLite waits for 30 s each time."""
    for scope in both_scopes:
        install(scope, "--at", minutes_ago(scope, 10), source="sample")
        install(scope)
        an_hour_passes(scope)
    with ExitStack() as locked:
        for scope in both_scopes:
            with held(scope, "feed-2"):
                begin(scope, 2)
                wait_until_at(scope, FETCHING, 2)
                db = locked.enter_context(closing(sqlite3.connect(scope.data / "xtrack.db", isolation_level=None)))
                db.execute("BEGIN IMMEDIATE")
                begin(scope, 1)
        for scope in both_scopes:
            for job in (1, 2):
                wait_for_unit(scope, f"xtrack-job@{job}.service", "failed exit-code 75", 120)
            assert runs(scope, 1) == []
            assert outcomes(scope, 2) == [("timer", "running", None)]
            assert "the database is locked by another process" in scope.journal("xtrack-job@1.service")
            assert "status 75" in scope.xtrack("list-jobs")
    for scope in both_scopes:
        sweep(scope)
        wait_until_done(scope, 1)
        assert outcomes(scope, 1) == [("timer", "done", 0)]
        assert outcomes(scope, 2) == [("timer", "died", 75)]
        attempts_age(scope, 5)
        sweep(scope)
        wait_until_done(scope, 2)
        assert posts_in_summaries(scope, 2) == [3]


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_source_that_stays_away_is_given_up_and_the_next_slot_runs(scope: Scope) -> None:
    """An hourly job's slot is tried for half an hour: at once, 5 and 15 minutes later, and not 35 minutes later."""
    install(scope)
    move(scope, SOURCE, "/srv/away")
    an_hour_passes(scope)
    for minutes in (5, 10):
        assert run_to_its_end(scope) == "failed exit-code 75"
        assert run_to_its_end(scope) == "inactive success 0"  # its time has not come
        attempts_age(scope, minutes)
    assert run_to_its_end(scope) == "failed exit-code 69"
    assert outcomes(scope) == [("timer", "failed", 75)] * 2 + [("timer", "failed", 69)]
    assert len({run["slot"] for run in runs(scope)}) == 1
    assert [(run["next_try"] is None, run["closed"]) for run in runs(scope)] == [(False, 0)] * 2 + [(True, 1)]
    move(scope, "/srv/away", SOURCE)
    sweeps_find_nothing_to_do(scope)
    assert run_to_its_end(scope) == "inactive success 0"
    assert len(runs(scope)) == 3
    next_slot_comes(scope)
    assert run_to_its_end(scope) == "inactive success 0"
    assert outcomes(scope)[3:] == [("timer", "done", 0)]
    assert runs(scope)[3]["missed"] == 0
    assert posts_in_summaries(scope, 1) == [3]


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_bad_data_and_bad_config_are_not_tried_again_and_the_next_slot_runs(scope: Scope) -> None:
    install(scope)
    install(scope, source="sample")
    an_hour_passes(scope)
    file = scope.machine.path(SOURCE)
    good = file.read_text()
    file.write_text(f"{good}{good[:50]}\n")
    assert run_to_its_end(scope, 1) == "failed exit-code 65"
    write_config(scope, "parallel_runs =")
    assert run_to_its_end(scope, 2) == "failed exit-code 78"
    assert outcomes(scope) == [("timer", "failed", 65), ("timer", "failed", 78)]
    assert runs(scope)[0]["error"] == f"{SOURCE}, line 4: not JSON"
    assert runs(scope)[1]["error"].startswith("the config is no TOML")
    assert [(run["next_try"], run["closed"]) for run in runs(scope)] == [(None, 1)] * 2

    # Mended or not, these slots are over.
    file.write_text(good)
    write_config(scope, "")
    sweeps_find_nothing_to_do(scope)
    for job in (1, 2):
        assert run_to_its_end(scope, job) == "inactive success 0"
    assert len(runs(scope)) == 2
    next_slot_comes(scope)
    for job in (1, 2):
        assert run_to_its_end(scope, job) == "inactive success 0"
        assert outcomes(scope, job)[1:] == [("timer", "done", 0)]
    assert posts_in_summaries(scope, 1) == [3]


def write_config(scope: Scope, text: str) -> None:
    file = ".config/xtrack/config.toml" if scope.user else "/etc/xtrack/config.toml"
    script = f"umask 077; mkdir -p $(dirname {file}) && cat >{file}"
    scope.machine.run("sh", "-c", script, user=scope.user, input=text)


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_no_slot_of_a_paused_or_deleted_job_is_tried_again(scope: Scope) -> None:
    for _ in range(3):
        install(scope)
    move(scope, SOURCE, "/srv/away")
    an_hour_passes(scope)
    for job in (1, 2, 3):
        assert run_to_its_end(scope, job) == "failed exit-code 75"
    move(scope, "/srv/away", SOURCE)
    scope.xtrack("pause-job", "1")
    scope.xtrack("delete-job", "2", "--yes")
    attempts_age(scope, 5)
    sweep(scope)
    wait_until_done(scope, 1)  # job 3 shows that the sweep works
    settle(scope)
    assert [(run["job_id"], run["state"]) for run in runs(scope)] == [(1, "failed"), (3, "failed"), (3, "done")]
    sweeps_find_nothing_to_do(scope)
    for job in (1, 2):
        assert run_to_its_end(scope, job) == "inactive success 0"
    scope.xtrack("resume-job", "1")
    sweeps_find_nothing_to_do(scope)
    assert len(runs(scope)) == 3
    assert not (scope.data / "locks/job-2").exists()


def test_deleting_during_a_run_leaves_no_row_file_or_unit_behind(scope: Scope) -> None:
    """One run reads its source, one that was queued waits for the first to end."""
    install(scope)
    an_hour_passes(scope)
    with held(scope, "feed-1"):
        begin(scope, 1)
        wait_until_at(scope, FETCHING, 1)
        scope.xtrack("run-job", "1", "--queue")
        wait_for_unit(scope, "xtrack-manual@1.service", "activating success 0")
        scope.xtrack("delete-job", "1", "--yes")
    settle(scope)
    for table in ("jobs", "feeds", "job_feeds", "posts", "arrivals", "runs", "summaries", "summary_posts"):
        assert query(scope, f"SELECT * FROM {table}") == []
    assert "@1." not in scope.systemctl("list-units", "--all", "xtrack-*")
    for pattern in ("*@1.*", "job-1"):
        assert scope.machine.run("find", "/etc", "/var", "/home", "/root", "-name", pattern).stdout == ""
    sweeps_find_nothing_to_do(scope)


# units that cannot start


# Of an administrator's drop-in.
CREDENTIAL = "/etc/token"


def take_away(scope: Scope, status: str) -> str:
    """Take away what its absence makes a unit fail with this status; where it belongs."""
    data = f"/{scope.data.relative_to(scope.machine.disk)}"
    path = {"203": XTRACK, "226": data, "243": CREDENTIAL}[status]
    if status == "243":
        scope.machine.path(CREDENTIAL).write_text("secret")
        scope.drop_in("xtrack-job@.service", f"[Service]\nLoadCredential=token:{CREDENTIAL}\n")
    if scope.machine.path(path).exists():
        move(scope, path, f"{path}.away")
    return path


def bring_back(scope: Scope, path: str) -> None:
    if scope.machine.path(f"{path}.away").exists():
        move(scope, f"{path}.away", path)


def overdue(machine: Machine, *names: str) -> list[Scope]:
    """These scopes, each with a job that should have run ten minutes ago."""
    scopes = [scope_of(machine, name) for name in names]
    for scope in scopes:
        install(scope, "--at", minutes_ago(scope, 10))
        an_hour_passes(scope)
    return scopes


@pytest.mark.parametrize(
    "statuses", [{"user": "226", "system": "243"}, pytest.param({"system": "226"}, marks=pytest.mark.slow)]
)
def test_unit_without_its_folder_or_credential_is_seen_and_done_once_it_can(
    machine: Machine, statuses: dict[str, str]
) -> None:
    for scope, status in zip(overdue(machine, *statuses), statuses.values(), strict=True):
        gone = take_away(scope, status)
        assert run_to_its_end(scope) == f"failed exit-code {status}"
        assert scope.systemctl("is-active", "xtrack-run-due.timer") == "active\n"
        if status == "226":  # the jobs are gone too, until it is back
            bring_back(scope, gone)
        for command in ("list-jobs", "doctor"):
            said = scope.xtrack(command, check=False)
            assert f"(xtrack-job@1.service: exit-code, status {status})" in said
        assert runs(scope) == []
        bring_back(scope, gone)
        scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
        wait_until_done(scope, 1)
        assert outcomes(scope) == [("timer", "done", 0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "statuses", [{"user": "203", "system": "203"}, {"user": "226", "system": "243"}, {"system": "226"}]
)
def test_unit_that_cannot_start_is_not_started_over_and_over(machine: Machine, statuses: dict[str, str]) -> None:
    """Once now, and once more when the sweep's five minutes, which are real ones, are over."""
    scopes = overdue(machine, *statuses)
    gone = [take_away(scope, status) for scope, status in zip(scopes, statuses.values(), strict=True)]
    for scope, status in zip(scopes, statuses.values(), strict=True):
        assert run_to_its_end(scope) == f"failed exit-code {status}"
    time.sleep(20)
    for scope, path in zip(scopes, gone, strict=True):
        assert scope.journal("xtrack-job@1.service").count("Starting ") == 1
        assert "Starting " not in scope.journal("xtrack-run-due.service")
        bring_back(scope, path)
    for scope in scopes:
        scope.drop_in("xtrack-run-due.timer", QUICK_SWEEP)
        wait_until_done(scope, 1)
        assert scope.journal("xtrack-job@1.service").count("Starting ") == 2


# run-due


def test_two_run_dues_at_once_start_nothing_twice(scope: Scope) -> None:
    """Three jobs are due, a queued run of a paused one was never started, and a run of another has died."""
    for _ in range(3):
        install(scope)
    install(scope, "--paused")
    install(scope, "--paused")
    an_hour_passes(scope)
    write_run = "INSERT INTO runs (job_id, trigger, state, started_at) VALUES (?, 'manual', ?, ?)"
    for job, state in ((4, "queued"), (5, "running")):
        scope.sql(write_run, job, state, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    both_at_once(scope, {})
    wait_until_done(scope, 4)
    settle(scope)
    found = {job: outcomes(scope, job) for job in range(1, 6)}
    by_timer, queued, died = [("timer", "done", 0)], [("manual", "done", 0)], [("manual", "died", 75)]
    assert found == {1: by_timer, 2: by_timer, 3: by_timer, 4: queued, 5: died}
    sweeps_find_nothing_to_do(scope)


def test_two_run_dues_at_once_without_a_scheduler_run_nothing_twice(machine: Machine) -> None:
    scope = scope_of(machine, "user")
    scope.data = machine.path("/home/ann/none")
    env = {"XTRACK_HOME": "/home/ann/none", "XTRACK_SCHEDULER": "none"}
    write_lines(machine.path(SOURCE), range(1, 4))
    for _ in range(4):
        machine.run("xtrack", "install-job", "--source", SOURCE, "--every", "hourly", user="ann", env=env)
    an_hour_passes(scope)
    both_at_once(scope, env)
    assert [(run["job_id"], run["state"]) for run in sorted(runs(scope), key=lambda run: run["job_id"])] == [
        (job, "done") for job in range(1, 5)
    ]
    assert [posts_in_summaries(scope, job) for job in range(1, 5)] == [[3]] * 4


def both_at_once(scope: Scope, env: dict[str, str]) -> None:
    """Two run-dues, started at the same moment."""
    due = [scope.machine.start("xtrack", "run-due", user=scope.user, env=env) for _ in range(2)]
    for command in due:
        said, _ = command.communicate(timeout=60)
        assert command.returncode == 0, said


# what is told


@pytest.mark.parametrize("scope", USER_AND_SLOWLY_SYSTEM, indirect=True)
def test_logs_are_one_job_s_or_one_run_s(scope: Scope) -> None:
    install(scope)
    install(scope)
    an_hour_passes(scope)
    assert run_to_its_end(scope, 1) == run_to_its_end(scope, 2) == "inactive success 0"
    for done in (3, 4):
        scope.xtrack("run-job", "1", "--queue")
        wait_until_done(scope, done)
        settle(scope)
    scope.xtrack("run-job", "1")
    scope.machine.run("journalctl", "--sync")
    assert named_in(scope.xtrack("logs", "1")) == {1, 3, 4}
    assert named_in(scope.xtrack("logs", "2")) == {2}
    for job, run in ((1, 1), (2, 2), (1, 3), (1, 4)):
        log = scope.xtrack("logs", str(job), "--run", str(run))
        assert named_in(log) == {run}
        assert log.count(": summary ") == log.count("Finished") == 1
    code, said = scope.refused("logs", "1", "--run", "5")
    assert (code, said[:25]) == (66, "xtrack: run 5 has no log:")
    assert said.endswith("\n  xtrack list-runs 1\n")
    code, said = scope.refused("logs", "2", "--run", "1")
    assert (code, said) == (66, "xtrack: run 1 is job 1's\n  xtrack logs 1 --run 1\n")
    assert scope.refused("logs", "1", "--run", "99") == (66, "xtrack: no run 99\n  xtrack list-runs\n")


def named_in(log: str) -> set[int]:
    """The numbers of the runs that lines of a log begin with."""
    return {int(number) for number in re.findall(r": run (\d+): ", log)}


def test_logs_follow_until_ctrl_c(scope: Scope) -> None:
    machine = scope.machine
    install(scope)
    scope.xtrack("run-job", "1", "--queue")
    wait_until_done(scope, 1)
    home = "home/ann" if scope.user else "root"
    shown = machine.path(f"{home}/shown")
    # In a session of its own, so that Ctrl-C reaches it and what it has started, and nobody else.
    command = machine.start("sh", "-c", "exec setsid xtrack logs 1 --follow >shown 2>said", user=scope.user)
    machine.wait_for(lambda: shown.exists() and "run 1: summary 1" in shown.read_text(), 20, "what was logged before")
    assert "run 2" not in shown.read_text()
    scope.xtrack("run-job", "1", "--queue")
    machine.wait_for(lambda: "run 2: summary 2" in shown.read_text(), 20, "a line that came later")
    assert command.poll() is None
    [process] = subprocess.run(["pgrep", "-P", str(command.pid)], capture_output=True, check=True).stdout.split()
    os.killpg(int(process), signal.SIGINT)
    assert command.wait(20) == 130
    assert machine.path(f"{home}/said").read_text().strip() == "xtrack: stopped"
    assert machine.run("pgrep", "journalctl", check=False).stdout == ""


def test_linger_off_is_told_by_install_job_and_doctor(machine: Machine) -> None:
    scope = scope_of(machine, "user")
    words = ["xtrack", "install-job", "--source", "sample", "--every", "hourly"]
    type_this = "loginctl enable-linger ann"
    assert type_this not in machine.run(*words, user="ann").stderr
    assert "ok    linger: on" in scope.xtrack("doctor")
    machine.run("loginctl", "disable-linger", "ann")
    machine.run("systemctl", "start", "user@1000.service")
    assert type_this in machine.run(*words, user="ann").stderr
    assert scope.refused("doctor")[0] == 78
    said = scope.xtrack("doctor", check=False)
    assert "FAIL  linger: off" in said
    assert type_this in said
    assert [line for line in said.splitlines() if line.startswith("FAIL")] == [
        "FAIL  linger: off: timers stop when you log out"
    ]
