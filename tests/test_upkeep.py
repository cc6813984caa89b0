"""Backup, restore, purge and vacuum: on real files, beside processes that go on working."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import NOON, Command, World, flocked, line, post, write_lines
from tests.processes import PROJECT, after, duration, forked, kill_when, on_small_disk
from tests.released import everything, released_database, rows
from tests.test_store import FAR, FEED, added, fetched, started
from xtrack import upkeep
from xtrack.errors import BadData, Misconfigured, NotFound, Refused, Temporary, UsageError
from xtrack.models import Bill, Bought, Digest, Line, Original, Page
from xtrack.run import run_job
from xtrack.sources import open_source
from xtrack.store import Store, copies
from xtrack.store.database import RunGone
from xtrack.words import query

DAY = timedelta(days=1)
LATER = NOON + DAY


def single(path: Path) -> sqlite3.Connection:
    """A database that is one file: it is read without anything beside it."""
    return sqlite3.connect(f"file:{path}?immutable=1", uri=True)


def assert_sound(path: Path) -> None:
    """What holds between the tables at any moment."""
    with closing(single(path)) as db:
        for sql, expected in {
            "PRAGMA integrity_check": [("ok",)],
            "PRAGMA foreign_key_check": [],
            "SELECT count(*) FROM posts WHERE id NOT IN (SELECT post_id FROM arrivals)": [(0,)],
            "SELECT count(*) FROM runs WHERE state = 'done' AND id NOT IN (SELECT run_id FROM summaries)": [(0,)],
            "SELECT count(*) FROM summaries JOIN runs ON runs.id = run_id WHERE state <> 'done'": [(0,)],
        }.items():
            assert db.execute(sql).fetchall() == expected, sql


WRITER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from tests.conftest import NOON, post
from tests.test_store import FAR
from xtrack.models import Digest, Line, Page
from xtrack.store import Store, copies
from xtrack.store.database import RunGone
with Store(Path(sys.argv[1])) as store:
    job = store.job(int(sys.argv[2]), FAR)
    (feed,) = store.feeds(job.id)
    print("ready", flush=True)
    for number in range(1, 100000):
        new = replace(post(number), id=f"{job.id}-{number}")
        run = store.start_run(job.id, "manual", None, 0, NOON, "")
        try:
            store.add_page(run, feed.id, Page((new,), str(number)))
            digest = Digest("extractive", "1 new post", (Line("A line.", (new.id,)),), 0)
            store.finish_run(run, digest, 1, {feed.id: store.last_arrival(feed.id)}, None, NOON)
        except RunGone:
            print("gone", flush=True)
            break
"""


@contextmanager
def writing(path: Path, *job_ids: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that add posts and summaries to jobs all the time."""
    command = [sys.executable, "-c", WRITER, str(path)]
    processes = [
        subprocess.Popen(
            [*command, str(job_id)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for job_id in job_ids
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def filled(world: World, count: int = 3) -> int:
    """Have a home with posts that are summarised; gives the job."""
    source = write_lines(world.home.data.parent / "posts.jsonl", range(count))
    job = world.install(str(source))
    assert run_job(world.context, job, "typed") == 0
    return job


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# backup


def test_a_backup_is_one_file_with_everything(world: World, tmp_path: Path) -> None:
    filled(world)
    folder = tmp_path / "backup"
    folder.mkdir()
    upkeep.back_up(world.context, folder / "copy.db")
    assert left_in(folder) == {"copy.db"}
    assert (folder / "copy.db").stat().st_mode & 0o777 == 0o600
    assert_sound(folder / "copy.db")
    with closing(single(folder / "copy.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        copied = db.execute("SELECT id, text, words FROM posts").fetchall()
    assert copied == rows(world.home.database, "SELECT id, text, words FROM posts")
    assert len(copied) == 3
    assert everything(folder / "copy.db") == everything(world.home.database)


def test_backups_while_others_write_are_each_of_one_moment(world: World, tmp_path: Path) -> None:
    jobs = [world.install(f"/srv/{name}.jsonl") for name in "abc"]
    with writing(world.home.database, *jobs):
        counts = []
        for number in range(6):
            copy = tmp_path / f"{number}.db"
            upkeep.back_up(world.context, copy)
            assert_sound(copy)
            with closing(single(copy)) as db:
                counts += db.execute("SELECT count(*) FROM summaries").fetchone()
            time.sleep(0.05)
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_a_backup_replaces_an_older_one(world: World, tmp_path: Path) -> None:
    filled(world)
    copy = tmp_path / "copy.db"
    copy.write_text("an older one")
    copy.chmod(0o644)
    upkeep.back_up(world.context, copy)
    assert_sound(copy)
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_backup_goes_only_where_a_plain_file_may_be(world: World, tmp_path: Path) -> None:
    filled(world)
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.write_text("mine")
    (tmp_path / "link.db").symlink_to(elsewhere)
    (tmp_path / "dangling.db").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = left_in(tmp_path)
    for name, error in {
        "link.db": Refused,
        "dangling.db": Refused,
        "pipe": Refused,
        "folder": UsageError,
        "missing/copy.db": NotFound,
        "elsewhere.db/copy.db": NotFound,
        "home/xtrack.db": UsageError,
        "home/xtrack.db-wal": UsageError,
        "home/../home/xtrack.db-shm": UsageError,
        f"{'x' * 300}.db": Refused,
    }.items():
        with pytest.raises(error):
            upkeep.back_up(world.context, tmp_path / name)
    assert left_in(tmp_path) == before
    assert elsewhere.read_text() == "mine"
    world.store.check()


def test_a_backup_does_not_go_where_one_may_not_write(world: World) -> None:
    """Not even root may write there."""
    filled(world)
    with pytest.raises((Refused, Temporary, NotFound)):
        upkeep.back_up(world.context, Path("/proc/copy.db"))
    assert world.context.store.jobs(FAR)


def test_the_command_understands_paths_as_a_shell_does_not(xtrack: Command) -> None:
    xtrack.installed()
    (xtrack.folder / "backup").mkdir()
    assert f"to {xtrack.folder}/backup/a.db" in xtrack.good("backup", "backup/a.db").out
    assert f"to {xtrack.folder}/backup/b.db" in xtrack.good("backup", "~/backup/b.db").out
    assert left_in(xtrack.folder / "backup") == {"a.db", "b.db"}
    assert xtrack("backup", "backup").code == 2
    assert xtrack("backup", "missing/a.db").code == 66
    assert xtrack("backup", "~nobody-of-that-name/a.db").code == 2
    assert xtrack("backup", "a\nb").code == 0


def test_a_backup_that_is_killed_leaves_the_older_one(world: World, tmp_path: Path) -> None:
    filled(world, 3000)
    folder = tmp_path / "backup"
    folder.mkdir()
    copy = folder / "copy.db"
    upkeep.back_up(world.context, copy)
    older = copy.read_bytes()
    world.store.pause_jobs([1])
    world.store.__exit__()

    def again() -> None:
        with Store(world.home.database) as store:
            store.copy_to(copy)

    whole = duration(again)
    newer = copy.read_bytes()
    assert newer != older
    for moment in (lambda: any(folder.glob(".*")), *(after(whole * part / 6) for part in range(1, 6))):
        copy.write_bytes(older)
        kill_when(moment, again)
        assert copy.read_bytes() in (older, newer)
    again()
    assert left_in(folder) == {"copy.db"}


def test_what_killed_processes_left_is_removed_by_the_next_copy(world: World, tmp_path: Path) -> None:
    filled(world)
    folder = tmp_path / "backup"
    folder.mkdir()
    dead = forked(lambda: None)
    os.waitpid(dead, 0)
    gone = [f".xtrack-copy-{dead}", f".xtrack-copy-{dead}-journal", f".xtrack-copy-{os.getpid()}"]
    stays = {f".xtrack-copy-{os.getppid()}", ".xtrack-copy-of-mine", ".mine", "other.db"}
    for name in (*gone, *stays):
        (folder / name).touch()
    upkeep.back_up(world.context, folder / "copy.db")
    assert left_in(folder) == {"copy.db", *stays}


def test_a_backup_on_a_full_disk_leaves_the_older_one(tmp_path: Path) -> None:
    code = """
from tests.conftest import JOB, post
from tests.test_store import FEED, added, fetched
from xtrack.errors import Temporary
from xtrack.store import Store, copies
from xtrack.store.database import RunGone
path, copy = FOLDER.parent / "xtrack.db", FOLDER / "copy.db"
with Store(path) as store:
    fetched(store, added(store), [post(n) for n in range(2000)])
    copy.write_text("an older one")
    try:
        store.copy_to(copy)
    except Temporary as error:
        print(error)
    print(copy.read_text(), [found.name for found in FOLDER.iterdir()])
    grow()
    store.copy_to(copy)
with Store(copy) as store:
    store.check()
"""
    said = on_small_disk(tmp_path / "disk", 400, code)
    assert "disk is full" in said
    assert "an older one ['copy.db']" in said


# restore


def test_a_restore_brings_back_what_was(world: World, tmp_path: Path) -> None:
    job = filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    before = everything(world.home.database)
    world.store.delete_jobs([job])
    other = world.install("/srv/other.jsonl")
    restored = upkeep.restore(world.context, tmp_path / "copy.db")
    assert without(everything(world.home.database), "unsettled") == without(before, "unsettled")
    assert [hit.kind for hit in world.store.found(query(["ferry"]), None, 1)] == ["summary", "post"]
    assert restored.kept == world.home.backups / "restore-1.db"
    assert rows(restored.kept, "SELECT id FROM jobs") == [(other,)]
    assert left_in(world.home.backups) == {"restore-1.db"}
    assert world.context.jobs()[0].id == job


def without(found: dict[str, list[tuple[object, ...]]], _: str) -> dict[str, list[tuple[object, ...]]]:
    """Whether timers are as the jobs say is no part of a backup."""
    return {**found, "jobs": [row[:-1] for row in found["jobs"]]}


def test_after_a_restore_all_timers_are_made_anew(world: World, tmp_path: Path) -> None:
    """Also by the next command, if the restore was killed before it did that itself."""
    filled(world)
    world.store.settle_jobs(world.context.jobs())
    upkeep.back_up(world.context, tmp_path / "copy.db")
    with Store(shutil.copy(tmp_path / "copy.db", tmp_path / "new.db")) as new:
        world.store.take_from(new, NOON)
    assert len(world.store.unsettled_jobs(FAR)) == 1


def test_after_a_restore_no_number_is_used_again(world: World, tmp_path: Path) -> None:
    filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    for name in ("a", "b"):
        job = world.install(f"/srv/{name}.jsonl")
        world.store.fail_run(started(world.store, world.context.job(job)), "failed", NOON, 70, "", None)
    numbers = dict(rows(world.home.database, "SELECT name, seq FROM sqlite_sequence"))
    upkeep.restore(world.context, tmp_path / "copy.db")
    assert dict(rows(world.home.database, "SELECT name, seq FROM sqlite_sequence")) == numbers
    assert world.install("/srv/c.jsonl") == job + 1


def settled(store: Store, day: timedelta, *ids: str, job: int = 1, price: int = 5000) -> None:
    """What a run of a job has bought some time after NOON."""
    store.settle(Bill(0, job, NOON + day, {Bought("post", one): price for one in ids}))


def usage(store: Store) -> dict[tuple[str, int], tuple[int, int]]:
    """Count and cost by month and job."""
    return {(one.month, one.job_id): (one.count, one.cost) for one in store.usage(["2027-01", "2027-02"])}


def test_a_restore_keeps_the_bill_and_budgets_go_on(world: World, tmp_path: Path) -> None:
    """Of each month and job the larger one; what was bought today is not bought again, nor twice in what comes."""
    world.install("/srv/a.jsonl", budget=30_000)
    settled(world.store, timedelta(0), "1", "2")
    settled(world.store, timedelta(0), "3", "4", job=2)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    settled(world.store, timedelta(hours=1), "2", "5", "6")
    settled(world.store, 20 * DAY, "7", job=3)
    with Store(tmp_path / "copy.db") as copy:
        settled(copy, timedelta(hours=1), "8", job=2)
    upkeep.restore(world.context, tmp_path / "copy.db")
    assert usage(world.store) == {
        ("2027-01", 1): (4, 20_000),
        ("2027-01", 2): (3, 15_000),
        ("2027-02", 3): (1, 5000),
    }
    assert world.store.usage(["2027-02"])[0].first_at == NOON + 20 * DAY
    assert world.store.reserve(1, 5000, 1, 100, None, NOON + timedelta(hours=2))[1] == 2
    settled(world.store, 20 * DAY, "7", "9", job=3)
    assert usage(world.store)["2027-02", 3] == (2, 10_000)


def test_a_restore_keeps_the_bill_of_what_cannot_be_opened_as_far_as_it_can_be_read(
    world: World, tmp_path: Path
) -> None:
    world.install("/srv/a.jsonl")
    settled(world.store, timedelta(0), "1")
    upkeep.back_up(world.context, tmp_path / "copy.db")
    settled(world.store, timedelta(0), "1", "2")
    world.store.__exit__()
    rows(world.home.database, "PRAGMA user_version = 99")
    for kept in ((2, 10_000), (1, 5000)):
        fresh = World(world.home)
        upkeep.restore(fresh.context, tmp_path / "copy.db")
        assert usage(fresh.store) == {("2027-01", 1): kept}
        fresh.store.__exit__()
        world.home.database.write_bytes(b"not a database any more " * 400)


def test_a_run_that_was_going_on_when_the_backup_was_made_has_died(world: World, tmp_path: Path) -> None:
    """Its process may still be there: what it stores now would have lost what it stored before."""
    job = world.context.job(filled(world))
    feed_id = world.store.feeds(job.id)[0].id
    run = world.store.start_run(job.id, "timer", NOON, 0, NOON, "")
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.add_page(run, feed_id, Page((post(100),), "c"))
    upkeep.restore(world.context, tmp_path / "copy.db")
    with pytest.raises(RunGone):
        world.store.add_page(run, feed_id, Page((post(101),), "d"))
    (died, *_) = world.store.runs(job.id)
    assert (died.state, died.exit_code, died.next_try) == ("died", 75, NOON)
    assert run_job(world.context, job.id, "typed") == 0


def test_a_run_knows_its_row_by_more_than_its_number(world: World) -> None:
    first, second = (world.context.job(world.install(f"/srv/{name}.jsonl")) for name in "ab")
    run = started(world.store, second)
    with pytest.raises(RunGone):
        world.store.set_stage(replace(run, job_id=first.id), "mixed up")


def test_a_backup_of_an_older_release_is_brought_up_to_date(world: World, tmp_path: Path) -> None:
    filled(world)
    old = released_database(tmp_path / "old.db", 1)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    before, whole = everything(old), left_in(tmp_path)
    upkeep.restore(world.context, old)
    assert without(everything(world.home.database), "unsettled") == without(before, "unsettled")
    assert len(world.store.found(query(["ferry"]), None, 50)) == 7
    assert left_in(tmp_path) == whole
    assert rows(old, "PRAGMA user_version") == [(1,)]


def test_a_file_in_wal_mode_is_restored_with_its_log(world: World, tmp_path: Path) -> None:
    """As a plain copy of a database is that somebody has open."""
    with Store(tmp_path / "running.db") as store:
        job = added(store)
        fetched(store, job, [post(1)])
        folder = tmp_path / "copied"
        folder.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"running.db{suffix}", folder / f"copy.db{suffix}")
    assert (folder / "copy.db-wal").stat().st_size > 0
    world.install("/srv/mine.jsonl")
    upkeep.restore(world.context, folder / "copy.db")
    assert world.sql("SELECT id FROM posts") == [{"id": "1001"}]
    assert left_in(folder) == {"copy.db", "copy.db-wal"}


def test_what_is_no_backup_changes_nothing(world: World, tmp_path: Path) -> None:
    job = filled(world, 500)
    upkeep.back_up(world.context, tmp_path / "good.db")
    whole = (tmp_path / "good.db").read_bytes()
    (tmp_path / "notes.db").write_text("no database at all " * 500)
    (tmp_path / "empty.db").touch()
    (tmp_path / "short.db").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.db").write_bytes(whole[:50])
    (tmp_path / "page.db").write_bytes(whole[:4096])
    holed = bytearray(whole)
    holed[8192 : 8192 + 40000] = b"\xff" * 40000
    (tmp_path / "holed.db").write_bytes(holed)
    (tmp_path / "folder.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    rows(tmp_path / "other.db", "CREATE TABLE jobs (id INTEGER)")
    shutil.copy(tmp_path / "good.db", tmp_path / "newer.db")
    rows(tmp_path / "newer.db", "PRAGMA user_version = 99")
    rows(tmp_path / "newer.db", "PRAGMA journal_mode = DELETE")
    before = world.home.database.read_bytes(), everything(world.home.database)
    for name, error in {
        **dict.fromkeys(("notes", "empty", "short", "head", "page", "holed", "folder", "pipe", "other"), BadData),
        "newer": Misconfigured,
        "missing": NotFound,
    }.items():
        with pytest.raises(error, match=f"{tmp_path}/{name}.db") as caught:
            upkeep.restore(world.context, tmp_path / f"{name}.db")
        assert "restoring" not in f"{caught.value}{caught.value.hint}"
    with pytest.raises(UsageError, match="the database itself"):
        upkeep.restore(world.context, world.home.database)
    assert (world.home.database.read_bytes(), everything(world.home.database)) == before
    assert not world.home.backups.exists() or left_in(world.home.backups) == set()
    assert world.context.job(job)


def test_a_damaged_database_is_set_aside(world: World, tmp_path: Path) -> None:
    filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.__exit__()
    for number in (1, 2):
        damaged = b"not a database any more " * 400 + bytes([number])
        world.home.database.write_bytes(damaged)
        world.home.database.with_name("xtrack.db.mine").touch()
        fresh = World(world.home)
        restored = upkeep.restore(fresh.context, tmp_path / "copy.db")
        assert restored.kept == world.home.backups / f"damaged-{number}" / "xtrack.db"
        assert restored.kept.read_bytes() == damaged
        fresh.store.check()
        assert len(fresh.store.summaries()) == 1
        fresh.store.__exit__()
    assert world.home.database.with_name("xtrack.db.mine").exists()


def test_what_is_set_aside_has_its_log_and_leaves_the_file_in_its_place(tmp_path: Path) -> None:
    """Until another one replaces it: who is killed in between leaves no empty home. The log must not meet that one."""
    database, folder = tmp_path / "xtrack.db", tmp_path / "backups"
    for name in ("xtrack.db", "xtrack.db-wal", "xtrack.db-shm", "xtrack.db.mine"):
        (tmp_path / name).write_text(name)
    aside = copies.set_aside(database, folder)
    assert {path.name: path.read_text() for path in aside.parent.iterdir()} == {
        name: name for name in ("xtrack.db", "xtrack.db-wal", "xtrack.db-shm")
    }
    assert left_in(tmp_path) == {"xtrack.db", "xtrack.db.mine", "backups"}
    assert copies.set_aside(database, folder) == folder / "damaged-2" / "xtrack.db"


def test_a_database_that_is_damaged_inside_is_replaced(world: World, tmp_path: Path) -> None:
    filled(world, 2000)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.__exit__()
    whole = bytearray(world.home.database.read_bytes())
    whole[len(whole) // 8192 * 4096 :] = b"\xff" * (len(whole) - len(whole) // 8192 * 4096)
    world.home.database.write_bytes(whole)
    fresh = World(world.home)
    restored = upkeep.restore(fresh.context, tmp_path / "copy.db")
    assert restored.kept
    assert restored.kept.stat().st_size == len(whole)
    fresh.store.check()
    assert fresh.sql("SELECT count(*) AS count FROM posts") == [{"count": 2000}]


def test_a_newer_database_is_set_aside_too(world: World, tmp_path: Path) -> None:
    """Whoever goes back to an older release goes back with the copy that was made before its migration."""
    filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.__exit__()
    rows(world.home.database, "PRAGMA user_version = 99")
    fresh = World(world.home)
    restored = upkeep.restore(fresh.context, tmp_path / "copy.db")
    assert restored.kept == world.home.backups / "damaged-1" / "xtrack.db"
    assert rows(restored.kept, "PRAGMA user_version") == [(99,)]
    assert len(fresh.store.summaries()) == 1


def test_a_fresh_home_is_filled(xtrack: Command, tmp_path: Path) -> None:
    old = released_database(tmp_path / "old.db", 2)
    assert xtrack("restore", "missing.db", "--yes").code == 66
    assert not xtrack.home.exists()
    assert "[y/N]" in xtrack("restore", "old.db", stdin="n\n").out
    assert not xtrack.home.exists()
    outcome = xtrack.good("restore", "old.db", "--yes")
    assert outcome.err == ""
    assert xtrack.good("list-jobs", "--json").json[1]["state"] == "paused"
    assert xtrack.good("show-summary", "1").out.startswith("Digest 1 of job 2")
    assert old.exists()
    assert left_in(xtrack.home) >= {"xtrack.db", "locks"}


def test_one_restore_at_a_time(world: World, tmp_path: Path) -> None:
    filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    with flocked(world.home.locks / "restore"), pytest.raises(Temporary, match="another restore"):
        upkeep.restore(world.context, tmp_path / "copy.db")


def test_a_restore_does_not_wait_for_ever(world: World, tmp_path: Path) -> None:
    filled(world)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store._db.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(world.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Store(shutil.copy(tmp_path / "copy.db", tmp_path / "new.db")) as new, pytest.raises(Temporary):
            world.store.take_from(new, NOON)
    world.store.check()


def test_a_restore_under_processes_that_write_mixes_nothing_up(world: World, tmp_path: Path) -> None:
    """Each of them finds its row gone, also where another run has got its number."""
    jobs = [world.install(f"/srv/{name}.jsonl") for name in "abc"]
    upkeep.back_up(world.context, tmp_path / "copy.db")
    with writing(world.home.database, *jobs) as processes:
        time.sleep(0.3)
        restored = upkeep.restore(world.context, tmp_path / "copy.db")
        time.sleep(0.3)
        upkeep.back_up(world.context, tmp_path / "after.db")
        for process in processes:
            process.kill()
        said = [process.communicate() for process in processes]
    assert [error for _, error in said] == ["", "", ""]
    assert restored.kept
    assert_sound(restored.kept)
    assert_sound(tmp_path / "after.db")
    assert rows(restored.kept, "SELECT count(*) FROM summaries")[0][0] > 0
    for path in (restored.kept, tmp_path / "after.db"):
        mixed = (
            "SELECT count(*) FROM summary_posts JOIN summaries ON id = summary_id WHERE post_id NOT LIKE job_id || '-%'"
        )
        assert rows(path, mixed) == [(0,)]


def test_runs_that_go_on_during_a_restore_end_well_or_for_now(xtrack: Command) -> None:
    for number, name in enumerate("abc"):
        source = write_lines(xtrack.folder / f"{name}.jsonl", range(number * 1000, number * 1000 + 1000), name)
        xtrack.installed("--source", str(source))
    xtrack.good("backup", "copy.db")
    command = [sys.executable, "-m", "xtrack", "run-job"]
    runs = [subprocess.Popen([*command, job], env=xtrack.environ, stderr=subprocess.PIPE, text=True) for job in "123"]
    time.sleep(0.4)
    xtrack.good("restore", "copy.db", "--yes")
    ends = [(process.communicate()[1], process.returncode) for process in runs]
    assert {code for _, code in ends} <= {0, 75}, ends
    xtrack.good("backup", "after.db")
    assert_sound(xtrack.folder / "after.db")
    for job in "123":
        xtrack.good("run-job", job)
    counts = rows(xtrack.home / "xtrack.db", "SELECT author, count(*) FROM posts GROUP BY author ORDER BY author")
    assert counts == [("a", 1000), ("b", 1000), ("c", 1000)]


def test_a_restore_that_is_killed_leaves_the_old_or_the_new(world: World, tmp_path: Path) -> None:
    filled(world, 600)
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.pause_jobs([1])
    other = world.install("/srv/other.jsonl")
    old, new = (1, other), (1,)
    world.store.__exit__()
    before = shutil.copy(world.home.database, tmp_path / "before.db")

    def again() -> None:
        upkeep.restore(World(world.home).context, tmp_path / "copy.db")

    def reset() -> None:
        shutil.rmtree(world.home.backups, ignore_errors=True)
        for path in world.home.data.glob("xtrack.db*"):
            path.unlink()
        shutil.copy(before, world.home.database)

    whole = duration(again)
    seen = set()
    backups = world.home.backups
    for moment in (
        lambda: (backups / "restoring").exists(),
        lambda: (backups / "restore-1.db").exists(),
        *(after(whole * part / 8) for part in range(1, 8)),
    ):
        reset()
        kill_when(moment, again)
        assert rows(world.home.database, "PRAGMA integrity_check") == [("ok",)]
        seen.add(tuple(row[0] for row in rows(world.home.database, "SELECT id FROM jobs")))
        again()
        assert rows(world.home.database, "SELECT id FROM jobs") == [(1,)]
        assert {name.rpartition("-")[0] for name in left_in(world.home.backups)} == {"restore"}
        assert not [name for name in left_in(world.home.data) if name.startswith(".")]
    assert seen <= {old, new}
    assert old in seen


# purge


ORIGINAL = Original("1001", "kaya", "Kaya", "Zugspitze", "https://x.com/kaya/status/1001")


def bytes_of(world: World) -> bytes:
    return b"".join(path.read_bytes() for path in world.home.data.glob("xtrack.db*"))


def shown(world: World) -> int:
    """A post, a repost and a quote of it, another post, and a summary of them; gives the job."""
    job = world.context.job(world.install(FEED.spec))
    fetched(
        world.store,
        job,
        [
            post(1, text="Zugspitze"),
            replace(post(2, "oslo", text="x"), kind="repost", text="", original=ORIGINAL),
            replace(post(3, "mira", text="Brocken"), kind="quote", original=ORIGINAL),
            post(4, text="Watzmann"),
        ],
    )
    (feed,) = world.store.feeds(job.id)
    run = started(world.store, job)
    lines = (
        Line("Zugspitze", ("1001", "1002"), "peaks"),
        Line("Zugspitze by repost", ("1002",), "peaks"),
        Line("Watzmann", ("1004", "1001"), "peaks"),
    )
    digest = Digest("extractive", "4 new posts", lines, 0)
    world.store.finish_run(run, digest, 4, {feed.id: world.store.last_arrival(feed.id)}, None, NOON)
    return job.id


def hits(world: World, word: str) -> list[str]:
    return [hit.id for hit in world.store.found(query([word]), None, 50)]


def test_a_purged_post_is_nowhere(world: World) -> None:
    shown(world)
    assert hits(world, "zugspitze") == ["1", "1003", "1002", "1001"]
    assert upkeep.purge_post(world.context, "1001") == 2
    assert hits(world, "zugspitze") == []
    assert hits(world, "brocken") == ["1003"]
    assert hits(world, "watzmann") == ["1", "1004"]
    summary = world.store.summary(1)
    assert [line.text for line in summary.digest.lines] == ["", "", "Watzmann"]
    assert [line.post_ids for line in summary.digest.lines] == [("1001", "1002"), ("1002",), ("1004", "1001")]
    assert world.sql("SELECT id FROM posts") == [{"id": str(number)} for number in range(1001, 1005)]
    (quote,) = world.sql("SELECT original FROM posts WHERE id = '1003'")
    assert '"text": ""' in quote["original"]
    assert b"Zugspitze" in bytes_of(world) or b"zugspitze" in bytes_of(world)
    upkeep.vacuum(world.context)
    assert b"zugspitze" not in bytes_of(world).lower()
    assert b"watzmann" in bytes_of(world).lower()
    assert upkeep.purge_post(world.context, "1001") == 0


def test_a_purged_post_does_not_come_back(world: World) -> None:
    """Neither when its source is read anew, nor edited, nor in what reposts and quotes show of it."""
    job = world.context.job(shown(world))
    upkeep.purge_post(world.context, "1001")
    (feed,) = world.store.feeds(job.id)
    again = [
        post(1, text="Zugspitze, edited"),
        replace(post(2, "oslo", text="x"), kind="repost", text="", original=ORIGINAL),
        replace(post(3, "mira", text="Brocken again"), kind="quote", original=ORIGINAL),
        replace(post(5, "late", text="x"), kind="repost", text="", original=ORIGINAL),
        replace(post(6, "late", text="Rigi"), kind="quote", original=ORIGINAL),
    ]
    fetched(world.store, job, again)
    found, left_out = world.store.new_posts(job, feed.id, world.store.last_arrival(feed.id))
    assert [(item.text, item.original and item.original.text) for item in found] == [("Rigi", "")]
    assert left_out == 0
    assert hits(world, "zugspitze") == []
    assert hits(world, "brocken") == ["1003"]
    world.store.delete_jobs([job.id])
    other = added(world.store)
    fetched(world.store, other, again)
    assert hits(world, "zugspitze") == []


def test_a_post_that_is_only_known_from_quotes_can_be_purged(world: World) -> None:
    job = world.context.job(world.install(FEED.spec))
    fetched(world.store, job, [replace(post(3, "mira", text="Brocken"), kind="quote", original=ORIGINAL)])
    assert upkeep.purge_post(world.context, "1001") == 0
    fetched(world.store, job, [post(1, text="Zugspitze")])
    assert hits(world, "zugspitze") == []
    with pytest.raises(NotFound, match="no post 1009"):
        upkeep.purge_post(world.context, "1009")


def test_all_posts_before_a_moment_are_purged(world: World) -> None:
    job = world.context.job(world.install(FEED.spec))
    posts = [post(n, text=f"Peak{n:04}") for n in range(6000)]
    fetched(world.store, job, posts)
    assert upkeep.purge(world.context, NOON + timedelta(seconds=5990)) == 5990
    assert upkeep.purge(world.context, NOON + timedelta(seconds=5990)) == 0
    assert hits(world, "peak5990") == ["6990"]
    assert hits(world, "peak598*") == []
    found, left_out = world.store.new_posts(job, 1, FAR.year * 10000)
    assert ([item.id for item in found], left_out) == ([str(n) for n in range(6990, 7000)], 0)
    fetched(world.store, job, posts)
    assert hits(world, "peak0001") == []
    upkeep.vacuum(world.context)
    assert b"peak0001" not in bytes_of(world).lower()
    assert b"peak5990" in bytes_of(world).lower()


def test_a_moment_in_a_year_of_three_digits_is_long_ago(world: World) -> None:
    job = world.context.job(world.install(FEED.spec))
    fetched(world.store, job, [post(1)])
    assert upkeep.purge(world.context, NOON.replace(year=300)) == 0
    assert upkeep.purge(world.context, NOON.replace(year=9999)) == 1


def test_a_post_purged_before_it_was_summarised_is_no_line(world: World) -> None:
    source = write_lines(world.home.data.parent / "posts.jsonl", range(3))
    job = world.install(str(source))
    assert run_job(world.context, job, "typed") == 0
    write_lines(source, range(3, 6))
    (feed,) = world.store.feeds(job)
    world.on_the_way = lambda: None
    run = world.store.start_run(job, "manual", None, 0, NOON, "")
    for page in open_source(feed.kind, feed.spec).read(feed.cursor, NOON):
        world.store.add_page(run, feed.id, page)
    world.store.fail_run(run, "failed", NOON, 75, "", None)
    upkeep.purge_post(world.context, "1700000000000000004")
    assert run_job(world.context, job, "typed") == 0
    summary = world.store.summaries()[0]
    assert summary.post_count == 2
    assert all(line.text and "1700000000000000004" not in line.post_ids for line in summary.digest.lines)


def test_the_purge_command(xtrack: Command) -> None:
    source = write_lines(xtrack.folder / "posts.jsonl", range(3))
    job = xtrack.installed("--source", str(source))
    xtrack.good("run-job", str(job))
    for words, code in {
        (): 2,
        ("--older-than", "9d", "--post", "1"): 2,
        ("--older-than", "2999-01-01"): 2,
        ("--post", "1", "--yes"): 66,
    }.items():
        assert xtrack("purge", *words).code == code, words
    assert xtrack("purge", "--post", "1700000000000000001", stdin="n\n").code == 130
    with source.open() as file:
        assert len(file.readlines()) == 3
    out = xtrack.good("purge", "--post", "1700000000000000001", "--yes").out
    assert out.startswith("Post 1700000000000000001 blanked, and ")
    assert xtrack.good("purge", "--older-than", "1d", "--yes").out.startswith("0 posts blanked")
    source.write_text(source.read_text() + line(7))
    xtrack.good("run-job", str(job))
    texts = {post["id"]: post["text"] for post in xtrack.good("export", "posts").json}
    assert [texts[key] == "" for key in sorted(texts)] == [False, True, False, False]


# vacuum


def test_a_vacuum_where_little_is_free_does_nothing(world: World) -> None:
    filled(world, 50)
    before = world.home.database.stat().st_mtime_ns
    assert upkeep.vacuum(world.context) is None
    assert world.home.database.stat().st_mtime_ns == before


def test_a_vacuum_gives_back_what_is_free_and_loses_nothing(world: World) -> None:
    kept = filled(world, 300)
    gone = world.context.job(world.install(FEED.spec))
    fetched(world.store, gone, [post(n, text=f"Gone {n} " * 20) for n in range(3000)])
    world.store.delete_jobs([gone.id])
    before, size = everything(world.home.database), world.store.room().total
    freed = upkeep.vacuum(world.context)
    assert freed
    assert freed > size // 2
    assert world.home.database.stat().st_size == size - freed
    assert everything(world.home.database) == before
    assert len(world.store.found(query(["ferry"]), kept, 500)) == 301
    assert hits(world, "gone") == []
    for index in ("posts_fts", "summaries_fts"):
        world.sql(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


def test_a_vacuum_while_others_read_and_write(world: World) -> None:
    jobs = [world.install(f"/srv/{name}.jsonl") for name in "abc"]
    gone = world.context.job(jobs[2])
    fetched(world.store, gone, [post(n, text=f"Gone {n} " * 20) for n in range(3000)])
    with writing(world.home.database, *jobs[:2]) as processes:
        world.store.delete_jobs([gone.id])
        while world.sql("SELECT count(*) AS many FROM posts")[0]["many"] < 10:
            time.sleep(0.05)
        with closing(sqlite3.connect(world.home.database)) as reader:
            read = reader.execute("SELECT * FROM posts")
            read.fetchone()
            assert upkeep.vacuum(world.context)
            assert len(read.fetchall()) >= 9
        time.sleep(0.2)
        assert [process.poll() for process in processes] == [None, None]
    world.store.check()
    for index in ("posts_fts", "summaries_fts"):
        world.sql(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
