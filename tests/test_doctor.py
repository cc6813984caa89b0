"""What doctor finds in a home without a scheduler; what it asks systemd is seen in tests/system."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import NOON, World, agree, write_config, write_lines
from xtrack import jobs
from xtrack.doctor import examine
from xtrack.jobs import Wish
from xtrack.run import run_job
from xtrack.scheduler import Check


def found(world: World, name: str) -> Check:
    (check,) = [check for check in examine(world.context) if check.name == name]
    return check


@pytest.fixture
def job(world: World) -> int:
    return jobs.install(world.context, Wish(source="sample", frequency="hourly", at="12:30"), agree).jobs[0][0].id


def test_a_sound_home_has_nothing_wrong(world: World, job: int) -> None:
    assert [check for check in examine(world.context) if not check.ok] == []
    assert found(world, "clock").detail == "Fri 2027-01-15 13:00 CET"


def test_what_is_wrong_comes_with_what_to_type(world: World, job: int) -> None:
    write_config(world.home.config, "parallel_runs = 'many'")
    world.pass_(hours=3)
    for mode, name in ((0o600, "config"), (0o640, "permissions")):
        world.home.config.chmod(mode)
        wrong = [check for check in examine(world.context) if not check.ok]
        assert [check.name for check in wrong] == [name, "slots"]
        assert all(check.hint for check in wrong)


@pytest.mark.parametrize(("mode", "ok"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o620, False)])
def test_settings_are_for_their_owner(world: World, job: int, mode: int, ok: bool) -> None:
    write_config(world.home.config, "")
    world.home.config.chmod(mode)
    check = found(world, "permissions")
    assert (check.ok, f"{mode:04o}" in check.detail) == (ok, not ok)


def test_a_secret_that_only_the_shell_knows_is_named_and_not_shown(
    world: World, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a scheduler it need not be wrong: whoever calls run-due may know it as well."""
    monkeypatch.setenv("XTRACK_X_TOKEN", "s3cret")
    check = found(world, "secrets")
    told = "only the environment knows XTRACK_X_TOKEN: a run sees it where xtrack run-due is called with it"
    assert (check.ok, check.detail) == (True, told)
    assert not any("s3cret" in check.detail + check.hint for check in examine(world.context))
    write_config(world.home.config, "[x]\ntoken = 's3cret'")
    check = found(world, "secrets")
    assert (check.ok, check.detail) == (True, "none that only this shell knows")


def test_a_clock_that_was_never_set_is_seen(world: World) -> None:
    world.now = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
    check = found(world, "clock")
    assert (check.ok, check.hint) == (False, "timedatectl set-ntp true")


def test_slots_done_ahead_of_time_are_named(world: World, job: int) -> None:
    world.pass_(days=400)
    assert run_job(world.context, job, "timer") == 0
    world.now = NOON + timedelta(minutes=1)
    check = found(world, "ledger")
    assert not check.ok
    assert "job 1 did slots that are to come" in check.detail
    world.pass_(days=400)
    assert found(world, "ledger").ok


def test_a_queued_run_that_nobody_starts_is_seen_after_a_while(world: World, job: int) -> None:
    jobs.play(world.context, job)
    world.pass_(minutes=9)
    assert found(world, "slots").ok
    world.pass_(minutes=2)
    assert "run 1 is queued since Fri 2027-01-15 13:00 CET" in found(world, "slots").detail


def test_many_jobs_make_no_long_line(world: World) -> None:
    names = tuple(f"name_{number}" for number in range(5))
    source = str(write_lines(world.home.data / "posts.jsonl", range(3)))
    jobs.install(world.context, Wish(names=names, source=source, frequency="1min"), agree, each=True)
    world.sql("UPDATE jobs SET schedule_since = '2030-01-01T00:00:00.000000Z'")
    assert "job 1, job 2, job 3 and 2 more" in found(world, "ledger").detail


def test_a_database_that_cannot_be_written_is_seen(world: World, job: int) -> None:
    world.store._db.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(world.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check = found(world, "database")
    assert (check.ok, "locked by another process" in check.detail) == (False, True)
