"""Backup and restore on a real systemd, in both scopes: who may read what, and timers that follow."""

import sqlite3
from contextlib import closing

import pytest

from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, scope_of

pytestmark = pytest.mark.systemd


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    return scope_of(machine, request.param)


def timers(scope: Scope) -> set[str]:
    return {path.name for path in scope.units.glob("xtrack-job@*.timer")}


def test_restore_brings_jobs_and_timers_back_as_they_were(scope: Scope) -> None:
    """The copy is where its owner alone may look: root's service user may not."""
    folder = f"/home/{scope.user}/backup" if scope.user else "/root/backup"
    scope.machine.run("mkdir", "-m", "700", folder, user=scope.user)
    for _ in range(3):
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    scope.xtrack("pause-job", "3")
    scope.xtrack("run-job", "1")
    scope.xtrack("backup", f"{folder}/xtrack.db")
    copy = scope.machine.path(f"{folder}/xtrack.db")
    assert [path.name for path in copy.parent.iterdir()] == ["xtrack.db"]
    assert copy.stat().st_mode & 0o777 == 0o600
    before = scope.json("list-jobs")
    assert timers(scope) == {"xtrack-job@1.timer", "xtrack-job@2.timer"}

    scope.xtrack("delete-job", "1", "--yes")
    scope.xtrack("pause-job", "2")
    scope.xtrack("resume-job", "3")
    scope.xtrack("install-job", "--source", "sample", "--every", "daily")
    scope.xtrack("restore", f"{folder}/xtrack.db", "--yes")
    assert timers(scope) == {"xtrack-job@1.timer", "xtrack-job@2.timer"}
    assert scope.systemctl("is-active", *sorted(timers(scope))) == "active\nactive\n"
    assert scope.json("list-jobs") == before
    assert scope.xtrack("doctor")
    scope.systemctl("start", "xtrack-job@2.service")
    scope.machine.run("xtrack", "run-job", "2", user=scope.user)
    assert [run["state"] for run in scope.runs()] == ["done", "done"]

    owner = scope.data.stat().st_uid
    assert {path.stat().st_uid for path in scope.data.rglob("*")} == {owner}
    with closing(sqlite3.connect(scope.data / "backups/restore-1.db")) as kept:
        assert kept.execute("SELECT id, paused FROM jobs").fetchall() == [(2, 1), (3, 0), (4, 0)]


def test_a_moved_home_is_restored_on_a_machine_that_has_none(scope: Scope) -> None:
    place = f"/home/{scope.user}/moved.db" if scope.user else "/root/moved.db"
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    scope.xtrack("run-job", "1")
    scope.xtrack("backup", place)
    scope.xtrack("uninstall", "--purge", "--yes")
    assert not scope.data.exists()
    scope.xtrack("restore", place, "--yes")
    assert timers(scope) == {"xtrack-job@1.timer"}
    assert scope.xtrack("doctor")
    assert scope.xtrack("show-summary", "1").startswith("Digest 1 of job 1")
