"""The store on real files: jobs, shared feeds, runs and summaries; and files that are newer, damaged or locked."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import JOB, NOON, World, agree, post
from tests.processes import all_at_once
from xtrack import jobs
from xtrack.errors import BadData, Misconfigured, NotFound, Temporary
from xtrack.jobs import Wish
from xtrack.models import Attempts, Digest, FeedSpec, Job, Line, Original, Page, Post, Run
from xtrack.store import Store
from xtrack.store.database import SCHEMA_VERSION, RunGone
from xtrack.store.posts import FIRST_DIGEST_POSTS

FAR = NOON + timedelta(days=3650)
HOUR = timedelta(hours=1)
QUIET = Digest("none", "Nothing new", (), 0)
FEED = FeedSpec("jsonl", "/srv/posts.jsonl")
SAMPLE = FeedSpec("sample", "sample")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "xtrack.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path) as store:
        yield store


def added(store: Store, feed: FeedSpec = FEED, **changes: Any) -> Job:
    """Add a job on a feed."""
    return store.job(store.add_jobs([(replace(JOB, source=feed.spec, **changes), [feed])])[0].id, FAR)


def started(store: Store, job: Job, slot: datetime | None = None, at: datetime = NOON) -> Run:
    return store.start_run(job.id, "timer" if slot else "manual", slot, 0, at, "")


def fetched(store: Store, job: Job, posts: list[Post], cursor: str = "c") -> int:
    """Have a run of a job bring posts, and go wrong afterwards; gives the feed."""
    (feed,) = store.feeds(job.id)
    run = started(store, job)
    store.add_page(run, feed.id, Page(tuple(posts), cursor))
    store.fail_run(run, "failed", NOON, 70, "", None)
    return feed.id


def new_ids(store: Store, job: Job, feed_id: int) -> list[str]:
    found, _ = store.new_posts(job, feed_id, store.last_arrival(feed_id))
    return [item.id for item in found]


def digested(store: Store, job: Job, feed_id: int, *post_ids: str) -> int:
    """Have a run of a job end well, with one line on these posts; gives the summary."""
    lines = (Line("A line.", post_ids, "ferries"),) if post_ids else ()
    run = started(store, job)
    return store.finish_run(
        run, Digest("extractive", "1 new post", lines, 0), 1, {feed_id: store.last_arrival(feed_id)}, None, NOON
    )


def rows(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


# jobs


def test_a_job_comes_back_as_it_went_in(store: Store) -> None:
    job = replace(
        JOB,
        names=("kaya", "Oslo_Ferries"),
        topics=("public transport", "日本 🚢"),
        frequency="daily",
        at="07:30",
        paused=True,
        created_at=NOON + timedelta(microseconds=1),
    )
    job_id = store.add_jobs([(job, [SAMPLE])])[0].id
    assert store.job(job_id, FAR) == replace(job, id=job_id)
    assert store.jobs(FAR) == [replace(job, id=job_id)]


def test_times_are_kept_as_instants(store: Store) -> None:
    elsewhere = NOON.astimezone(datetime.now().astimezone().tzinfo)
    job_id = store.add_jobs([(replace(JOB, created_at=elsewhere), [FEED])])[0].id
    assert store.job(job_id, FAR).created_at == NOON
    assert store.job(job_id, FAR).created_at.tzinfo == UTC


def test_numbers_are_never_used_again(store: Store) -> None:
    first, second = added(store), added(store)
    store.delete_jobs([second.id])
    assert added(store).id == second.id + 1
    store.delete_jobs([first.id])
    assert added(store).id == second.id + 2


def test_an_update_changes_what_it_names_and_keeps_what_was_done(store: Store) -> None:
    job = added(store)
    digested(store, job, store.feeds(job.id)[0].id)
    store.update_job(job.id, lambda was: replace(was, topics=("tide",), paused=True, created_at=FAR, last_run=None))
    now = store.job(job.id, FAR)
    assert (now.topics, now.paused, now.created_at, now.last_run) == (("tide",), True, NOON, NOON)


@pytest.mark.parametrize("number", [0, 7, -1])
def test_a_job_that_is_not_there_is_not_found(store: Store, number: int) -> None:
    with pytest.raises(NotFound, match=f"no job {number}"):
        store.job(number, FAR)
    with pytest.raises(NotFound):
        store.update_job(number, lambda was: was)
    with pytest.raises(NotFound):
        store.delete_jobs([number])
    with pytest.raises(NotFound):
        store.start_run(number, "manual", None, 0, NOON, "")


def test_a_changed_job_is_unsettled_until_it_is_settled(store: Store) -> None:
    first, second = added(store), added(store)
    assert store.unsettled_jobs(FAR) == [first, second]
    store.settle_jobs([first, second])
    store.pause_jobs([second.id])
    assert [job.id for job in store.unsettled_jobs(FAR)] == [second.id]
    assert store.active_jobs() == {first.id}


@pytest.mark.parametrize("change", [{"paused": True}, {"at": "00:31"}, {"frequency": "daily"}])
def test_a_job_that_was_changed_while_it_was_settled_stays_unsettled(store: Store, change: dict[str, Any]) -> None:
    job = added(store)
    store.update_job(job.id, lambda was: replace(was, **change))
    store.settle_jobs([job])
    assert [job.id for job in store.unsettled_jobs(FAR)] == [job.id]


def test_jobs_are_paused_and_resumed_all_or_none(store: Store) -> None:
    first, second = added(store), added(store)
    with pytest.raises(NotFound):
        store.pause_jobs([first.id, 99])
    assert store.active_jobs() == {first.id, second.id}
    store.pause_jobs([second.id])
    later = NOON + HOUR
    with pytest.raises(NotFound):
        store.resume_jobs([second.id, 99], later)
    store.resume_jobs([first.id, second.id], later)
    assert [(job.paused, job.schedule_since) for job in store.jobs(FAR)] == [(False, NOON), (False, later)]


def test_deleting_a_job_takes_its_runs_and_summaries_along(store: Store, path: Path) -> None:
    job, other = added(store), added(store)
    feed_id = fetched(store, job, [post(1)])
    digested(store, job, feed_id, "1001")
    kept = digested(store, other, feed_id, "1001")
    store.delete_jobs([job.id])
    assert [run.job_id for run in store.runs()] == [other.id]
    assert [summary.id for summary in store.summaries()] == [kept]
    assert rows(path, "SELECT DISTINCT summary_id FROM summary_posts") == [(kept,)]
    assert rows(path, "PRAGMA foreign_key_check") == []


# feeds and posts


def test_jobs_on_the_same_source_share_its_feed(store: Store) -> None:
    first, second = added(store), added(store)
    assert store.feeds(first.id) == store.feeds(second.id)


def test_a_feed_stays_until_its_last_job_goes(store: Store, path: Path) -> None:
    first, second = added(store), added(store)
    feed_id = fetched(store, first, [post(1)])
    store.delete_jobs([first.id])
    assert new_ids(store, second, feed_id) == ["1001"]
    store.delete_jobs([second.id])
    assert store.feed(feed_id) is None
    assert rows(path, "SELECT id FROM posts") == rows(path, "SELECT id FROM arrivals") == []


def test_a_post_that_another_feed_brought_too_stays(store: Store) -> None:
    first, second = added(store), added(store, FeedSpec("jsonl", "/srv/other.jsonl"))
    fetched(store, first, [post(1), post(2)])
    feed_id = fetched(store, second, [post(2)])
    store.delete_jobs([first.id])
    assert new_ids(store, second, feed_id) == ["1002"]


def test_a_post_that_a_summary_cites_stays_when_its_feed_goes(store: Store) -> None:
    job = added(store)
    summary = digested(store, job, fetched(store, job, [post(1), post(2)]), "1001")
    store.update_job(job.id, lambda was: was, [SAMPLE])
    assert [item.id for item in store.posts(summary)] == ["1001"]


def test_the_posts_of_a_deleted_job_do_not_stay_for_ever(store: Store, path: Path) -> None:
    job = added(store)
    digested(store, job, fetched(store, job, [post(1)]), "1001")
    store.update_job(job.id, lambda was: was, [SAMPLE])
    store.delete_jobs([job.id])
    assert rows(path, "SELECT id FROM posts") == []


def test_the_number_of_a_feed_is_not_used_again(store: Store) -> None:
    """A walk that goes on while its feed is taken away must not find another feed under its number."""
    added(store, SAMPLE)
    second = added(store)
    (gone,) = store.feeds(second.id)
    store.update_job(second.id, lambda was: was, [SAMPLE])
    third = added(store, FeedSpec("jsonl", "/srv/third.jsonl"))
    assert store.feeds(third.id)[0].id != gone.id


def test_a_post_comes_back_as_it_went_in(store: Store) -> None:
    original = Original("7", "other", "Other 🌊", "Højvande", "https://x.com/other/status/7")
    whole = replace(post(1, text="Zitat – “quoted”\n日本"), kind="quote", original=original)
    job = added(store)
    feed_id = fetched(store, job, [whole])
    assert store.new_posts(job, feed_id, store.last_arrival(feed_id)) == ([whole], 0)


def test_a_page_is_stored_with_its_cursor(store: Store) -> None:
    job = added(store)
    feed_id = fetched(store, job, [post(1)], cursor='{"offset":12}')
    feed = store.feed(feed_id)
    assert feed
    assert (feed.kind, feed.spec, feed.cursor) == (FEED.kind, FEED.spec, '{"offset":12}')


def test_a_page_that_cannot_be_stored_moves_no_cursor(store: Store) -> None:
    job = added(store)
    (feed,) = store.feeds(job.id)
    run = started(store, job)
    no_url: Any = None
    broken = replace(post(2), url=no_url)
    with pytest.raises(sqlite3.IntegrityError):
        store.add_page(run, feed.id, Page((post(1), broken), "further"))
    assert store.feed(feed.id) == feed
    assert store.last_arrival(feed.id) == 0


def test_a_post_arrives_once(store: Store) -> None:
    job = added(store)
    (feed,) = store.feeds(job.id)
    run = started(store, job)
    assert store.add_page(run, feed.id, Page((post(1), post(2), post(2)), "a")) == 2
    assert store.add_page(run, feed.id, Page((post(2), post(3)), "b")) == 1
    assert store.add_page(run, feed.id, Page((post(3),), "c")) == 0
    assert store.add_page(run, feed.id, Page((), "d")) == 0
    assert new_ids(store, job, feed.id) == ["1001", "1002", "1003"]


def test_an_edited_post_takes_the_newer_text_and_is_not_new_again(store: Store) -> None:
    job = added(store)
    digested(store, job, fetched(store, job, [post(1, text="The ferry leeves.")]))
    feed_id = fetched(store, job, [post(1, text="The ferry leaves.")])
    assert new_ids(store, job, feed_id) == []
    other = added(store)
    assert store.new_posts(other, feed_id, 9)[0][0].text == "The ferry leaves."


def test_a_post_that_knows_less_of_its_original_changes_nothing(store: Store) -> None:
    original = Original("7", "other", "Other", "High tide", "https://x.com/other/status/7")
    whole = replace(post(1, text=""), kind="repost", original=original)
    job = added(store)
    fetched(store, job, [whole])
    feed_id = fetched(store, job, [replace(whole, text="RT @other: High ti…", original=None)])
    assert store.new_posts(job, feed_id, 9) == ([whole], 0)


def test_each_job_has_its_own_watermark(store: Store) -> None:
    first, second = added(store), added(store)
    feed_id = fetched(store, first, [post(1)])
    digested(store, first, feed_id)
    assert new_ids(store, first, feed_id) == []
    fetched(store, second, [post(2)])
    assert new_ids(store, first, feed_id) == ["1002"]
    assert new_ids(store, second, feed_id) == ["1001", "1002"]


def test_a_post_that_arrives_late_is_new_all_the_same(store: Store) -> None:
    job = added(store)
    digested(store, job, fetched(store, job, [post(5)]))
    assert new_ids(store, job, fetched(store, job, [post(1)])) == ["1001"]


def test_what_arrives_after_until_is_left_for_the_next_run(store: Store) -> None:
    job = added(store)
    until = store.last_arrival(fetched(store, job, [post(1)]))
    feed_id = fetched(store, job, [post(2)])
    assert [item.id for item in store.new_posts(job, feed_id, until)[0]] == ["1001"]


def test_posts_come_oldest_first(store: Store) -> None:
    job = added(store)
    assert new_ids(store, job, fetched(store, job, [post(3), post(1), post(2)])) == ["1001", "1002", "1003"]


def test_a_first_digest_covers_the_newest_posts(store: Store) -> None:
    job = added(store)
    feed_id = fetched(store, job, [post(n) for n in range(FIRST_DIGEST_POSTS + 20)])
    found, left_out = store.new_posts(job, feed_id, store.last_arrival(feed_id))
    assert (len(found), found[0].id, left_out) == (500, "1020", 20)


def test_a_later_digest_covers_all_posts(store: Store) -> None:
    job = added(store)
    digested(store, job, fetched(store, job, [post(0)]))
    feed_id = fetched(store, job, [post(n) for n in range(1, FIRST_DIGEST_POSTS + 21)])
    found, left_out = store.new_posts(job, feed_id, store.last_arrival(feed_id))
    assert (len(found), left_out) == (520, 0)


def test_names_filter_authors_whatever_their_case(store: Store) -> None:
    job = added(store, names=("KAYA", "nobody"))
    feed_id = fetched(store, job, [post(1, "Kaya"), post(2, "kayak"), post(3, "kaya"), post(4, "")])
    assert new_ids(store, job, feed_id) == ["1001", "1003"]


def test_the_newest_posts_of_a_first_digest_are_the_names_own(store: Store) -> None:
    job = added(store, names=("kaya",))
    others = [post(n, "other") for n in range(1, FIRST_DIGEST_POSTS + 21)]
    feed_id = fetched(store, job, [post(0, "kaya"), *others])
    assert store.new_posts(job, feed_id, store.last_arrival(feed_id)) == ([post(0, "kaya")], 0)


# runs


def test_a_run_is_running_from_its_start_on(store: Store) -> None:
    job = added(store)
    run = store.start_run(job.id, "timer", NOON, 3, NOON + timedelta(seconds=1), "abc")
    assert store.running_run(job.id) == run
    assert store.open_runs()
    assert (run.slot, run.missed, run.started_at, run.invocation_id) == (NOON, 3, NOON + timedelta(seconds=1), "abc")
    store.set_stage(run, "fetching")
    assert store.runs(job.id) == [replace(run, stage="fetching")]


def test_a_job_has_one_running_run(store: Store) -> None:
    job = added(store)
    started(store, job)
    with pytest.raises(sqlite3.IntegrityError):
        started(store, job)
    started(store, added(store))


def test_a_slot_is_closed_once(store: Store) -> None:
    job = added(store)
    store.finish_run(started(store, job, NOON), QUIET, 0, {}, NOON, NOON)
    again = started(store, job, NOON)
    with pytest.raises(sqlite3.IntegrityError):
        store.finish_run(again, QUIET, 0, {}, NOON, NOON)
    assert len(store.summaries()) == 1


def test_a_run_that_ends_well_stores_everything_at_once(store: Store) -> None:
    job = added(store)
    feed_id = fetched(store, job, [post(1), post(2)])
    digest = Digest("extractive", "2 new posts", (Line("One.", ("1001", "1002"), "tide"), Line("Two.", ("1002",))), 4)
    run = started(store, job, NOON)
    summary_id = store.finish_run(run, digest, 2, {feed_id: 2}, NOON, NOON + HOUR)
    summary = store.summary(summary_id)
    assert (summary.job_id, summary.run_id, summary.post_count, summary.digest) == (job.id, run.id, 2, digest)
    assert {item.id for item in store.posts(summary_id)} == {"1001", "1002"}
    assert new_ids(store, job, feed_id) == []
    (done, *_) = store.runs(job.id)
    assert (done.state, done.exit_code, done.new_posts, done.finished_at) == ("done", 0, 2, NOON + HOUR)
    assert store.job(job.id, FAR).closed_slot == NOON
    assert store.job(job.id, FAR).last_run == NOON + HOUR


def test_a_run_that_cannot_end_well_stores_nothing(store: Store) -> None:
    job = added(store)
    feed_id = fetched(store, job, [post(1)])
    run = started(store, job, NOON)
    unknown = Digest("extractive", "1 new post", (Line("One.", ("404",)),), 0)
    with pytest.raises(sqlite3.IntegrityError):
        store.finish_run(run, unknown, 1, {feed_id: 1}, NOON, NOON)
    assert store.summaries() == []
    assert new_ids(store, job, feed_id) == ["1001"]
    assert store.running_run(job.id) == run
    assert store.job(job.id, FAR).closed_slot is None


def test_a_failed_run_that_is_tried_again_leaves_its_slot_open(store: Store) -> None:
    job = added(store)
    store.fail_run(started(store, job, NOON, NOON), "failed", NOON + HOUR, 75, "away", NOON + 2 * HOUR)
    store.fail_run(started(store, job, NOON, NOON + 2 * HOUR), "died", NOON + 3 * HOUR, 75, "died", NOON + 4 * HOUR)
    assert store.job(job.id, FAR).closed_slot is None
    assert store.attempts(job.id, NOON) == Attempts(2, NOON, NOON + 4 * HOUR)
    assert [(run.state, run.error) for run in store.runs(job.id)] == [("died", "died"), ("failed", "away")]


def test_a_failed_run_that_is_not_tried_again_closes_its_slot(store: Store) -> None:
    job = added(store)
    store.fail_run(started(store, job, NOON), "failed", NOON, 65, "bad", None)
    assert store.job(job.id, FAR).closed_slot == NOON


def test_a_failed_run_by_hand_closes_nothing(store: Store) -> None:
    job = added(store)
    store.fail_run(started(store, job), "failed", NOON, 65, "bad", None)
    assert store.job(job.id, FAR).closed_slot is None
    assert store.job(job.id, FAR).last_run == NOON


def test_a_running_run_is_no_ended_attempt(store: Store) -> None:
    job = added(store)
    started(store, job, NOON)
    assert store.attempts(job.id, NOON) == Attempts()


def test_closed_slots_beyond_the_horizon_are_not_looked_at(store: Store) -> None:
    job = added(store)
    for slot in (NOON, FAR):
        store.finish_run(started(store, job, slot), QUIET, 0, {}, slot, NOON)
    assert store.job(job.id, FAR).closed_slot == FAR
    assert store.job(job.id, NOON + HOUR).closed_slot == NOON
    assert store.jobs(NOON - HOUR)[0].closed_slot is None


def test_a_run_of_a_deleted_job_stores_nothing_more(store: Store, path: Path) -> None:
    job = added(store)
    added(store)
    (feed,) = store.feeds(job.id)
    run = started(store, job, NOON)
    with Store(path) as other:
        other.delete_jobs([job.id])
    for write in (
        lambda: store.set_stage(run, "x"),
        lambda: store.add_page(run, feed.id, Page((post(1),), "c")),
        lambda: store.finish_run(run, QUIET, 0, {feed.id: 0}, NOON, NOON),
        lambda: store.fail_run(run, "failed", NOON, 70, "", None),
    ):
        with pytest.raises(RunGone):
            write()
    assert store.feed(feed.id) == feed
    assert rows(path, "SELECT id FROM posts") == []


def test_the_newest_runs_and_summaries_come_first(store: Store) -> None:
    first, second = added(store), added(store)
    feed_id = store.feeds(first.id)[0].id
    ids = [digested(store, job, feed_id) for job in (first, second, first)]
    assert [summary.id for summary in store.summaries()] == ids[::-1]
    assert [summary.id for summary in store.summaries(first.id)] == [ids[2], ids[0]]
    assert [summary.id for summary in store.summaries(limit=1)] == [ids[2]]
    assert [run.id for run in store.runs(second.id)] == [2]
    assert [run.id for run in store.runs(limit=2)] == [3, 2]
    assert {job: run.id for job, run in store.last_runs().items()} == {first.id: 3, second.id: 2}


def test_a_summary_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no summary 4"):
        store.summary(4)


# the file


def test_a_new_file_is_made_in_wal_mode_with_the_schema(store: Store, path: Path) -> None:
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    store.check()


def test_foreign_keys_are_enforced(store: Store, path: Path) -> None:
    job = added(store)
    fetched(store, job, [post(1)])
    store.delete_jobs([job.id])
    assert rows(path, "SELECT count(*) FROM runs") == [(0,)]


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    Store(path).__exit__()
    rows(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(Misconfigured, match="newer xtrack"):
        Store(path)
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION + 1,)]


def test_a_file_that_is_no_database_is_bad_data(path: Path) -> None:
    path.write_text("These are the notes of somebody else. " * 50)
    with pytest.raises(BadData, match="damaged"):
        Store(path)
    assert path.read_text().startswith("These are the notes")


def test_a_file_that_is_damaged_inside_is_found_by_the_check(path: Path) -> None:
    with Store(path) as store:
        job = added(store)
        for first in range(0, 2000, 500):
            fetched(store, job, [post(n) for n in range(first, first + 500)])
    whole = bytearray(path.read_bytes())
    page = len(whole) // 2 // 4096 * 4096
    whole[page : page + 4096 * 8] = b"\xff" * 4096 * 8
    path.write_bytes(whole)
    with Store(path) as store, pytest.raises(BadData, match="damaged"):
        store.check()


def test_a_place_without_a_folder_is_a_misconfiguration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened"):
        Store(tmp_path / "missing" / "xtrack.db")


def test_a_file_that_another_process_locks_is_temporary(store: Store, path: Path) -> None:
    store._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Temporary, match="locked by another process") as error:
            added(store)
    finally:
        other.close()
    assert error.value.exit_code == 75
    added(store)


def test_those_who_queue_wait_for_a_lock_no_longer_than_one_would(store: Store, path: Path) -> None:
    """29 of their 30 seconds they were in the queue: one is left, and the next time all."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    try:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store._begin(29.5)
    finally:
        other.close()
    assert 0.9 < time.monotonic() - begun < 15
    assert store.all("PRAGMA busy_timeout")[0][0] == 30_000


def test_a_page_is_one_part_of_the_search_index(store: Store) -> None:
    """With a statement for each post it would be as many, which FTS5 has to merge, again and again."""
    fetched(store, added(store), [post(number) for number in range(50)])
    parts = store.all("SELECT count(DISTINCT segid) FROM posts_fts_idx")
    assert parts[0][0] == 1


def test_readers_do_not_wait_for_a_writer(store: Store, path: Path) -> None:
    job = added(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert store.jobs(FAR) == [job]
    finally:
        other.close()


def at_once(path: Path, number: int = 4) -> list[int]:
    """Have processes open the same file and add a job to it; gives the jobs that are there then."""

    def add() -> None:
        with Store(path) as store:
            added(store)

    all_at_once([add] * number)
    with Store(path) as store:
        return [job.id for job in store.jobs(FAR)]


@pytest.mark.parametrize("attempt", range(3))
def test_processes_may_make_the_same_file_at_once(path: Path, attempt: int) -> None:
    assert at_once(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("attempt", range(3))
def test_processes_may_fill_the_same_empty_file_at_once(path: Path, attempt: int) -> None:
    rows(path, "PRAGMA journal_mode = WAL")
    assert at_once(path) == [1, 2, 3, 4]


def test_many_processes_may_write_at_once(path: Path) -> None:
    count = 40

    def write() -> None:
        with Store(path) as store:
            job = added(store, FeedSpec("jsonl", f"/srv/{os.getpid()}.jsonl"))
            feed_id = fetched(store, job, [replace(post(n), id=f"{job.id}-{n}") for n in range(20)])
            digested(store, job, feed_id, f"{job.id}-1")

    all_at_once([write] * count)
    with Store(path) as store:
        assert [job.id for job in store.jobs(FAR)] == list(range(1, count + 1))
        assert len(store.summaries(limit=1000)) == count
        store.check()
    assert rows(path, "SELECT count(*) FROM posts") == [(20 * count,)]


def test_updates_at_once_do_not_undo_each_other(store: Store, path: Path) -> None:
    """What the one changes is not what the other had read before."""
    job = added(store)

    def change(was: Job) -> Job:
        assert not was.paused
        return replace(was, topics=("tide",))

    with Store(path) as other:
        other.update_job(job.id, lambda was: replace(was, names=("kaya",)))
    store.update_job(job.id, change)
    assert (store.job(job.id, FAR).names, store.job(job.id, FAR).topics) == (("kaya",), ("tide",))


def test_commands_at_once_change_each_what_they_name(world: World) -> None:
    """The second begins and ends after the first has read the job."""
    job_id = world.install("sample", "sample")
    with Store(world.home.database) as other:

        def meanwhile() -> None:
            world.on_the_way = lambda: None
            other.update_job(job_id, lambda was: replace(was, names=("SundPower",), frequency="daily", at="07:30"))

        def reading() -> None:
            world.on_the_way = meanwhile

        world.on_the_way = reading
        jobs.update(world.context, job_id, Wish(topics=("tide",)), agree)
    job = world.context.job(job_id)
    assert (job.topics, job.names, job.frequency, job.at) == (("tide",), ("SundPower",), "daily", "07:30")


# how SQLite goes about it


def _statements(store: Store, path: Path) -> list[str]:
    """Everything that SQLite is asked in the course of a run, and to list what there is."""
    job = added(store, names=("kaya",))
    (feed,) = store.feeds(job.id)
    seen: list[str] = []
    store._db.set_trace_callback(seen.append)
    store.jobs(FAR)
    store.job(job.id, FAR)
    store.unsettled_jobs(FAR)
    store.active_jobs()
    store.jobs_ahead(FAR)
    queued = store.queue_run(job.id, NOON)
    store.run(queued.id)
    by_hand = store.start_queued_run(job.id, NOON, "")
    assert by_hand
    store.finish_run(by_hand, QUIET, 0, {}, None, NOON)
    run = started(store, job, NOON)
    store.running_run(job.id)
    store.open_runs()
    store.set_stage(run, "x")
    store.feeds(job.id)
    store.feed(feed.id)
    store.add_page(run, feed.id, Page((post(1),), "c"))
    store.note_read(run, feed.id, NOON)
    store.new_posts(job, feed.id, store.last_arrival(feed.id))
    since = store.add_jobs([(replace(JOB, source=FEED.spec), [FEED])], since=NOON)[0]
    store.new_posts(since, feed.id, 9)
    store.attempts(job.id, NOON)
    store.slots_tried(job.id, NOON, FAR)
    summary_id = store.finish_run(run, QUIET, 0, {feed.id: 1}, NOON, NOON)
    store.fail_run(started(store, job, NOON + HOUR), "failed", NOON, 75, "", FAR)
    store.posts(summary_id)
    store.runs(job.id)
    store.runs()
    store.summaries(job.id)
    store.summaries()
    store.last_runs()
    store.new_posts(job, feed.id, 9)
    store.found("ferry", None, 50)
    store.found("ferry", job.id, 50)
    store.purge_post("1001", NOON)
    store.purge_posts(FAR, NOON)
    store.has_purged()
    store.delete_jobs([since.id])
    store.update_job(job.id, lambda was: was, [SAMPLE])
    store.delete_jobs([job.id])
    store._db.set_trace_callback(None)
    return [sql for sql in seen if re.match(r"SELECT|UPDATE|DELETE", sql)]


def test_nothing_is_looked_for_from_one_end_to_the_other(store: Store, path: Path) -> None:
    """Only jobs are listed whole, and what is wanted newest first is read in the order of its numbers."""
    scans = []
    plain = sqlite3.connect(path)
    for sql in _statements(store, path):
        for _, _, _, step in plain.execute(f"EXPLAIN QUERY PLAN {sql}"):
            allowed = re.fullmatch(
                r"SCAN jobs.*|SCAN CONSTANT ROW|SCAN json_each.*|SCAN \w+_fts VIRTUAL TABLE INDEX \d+:M\d+"
                r"|SCAN (main\.)?\w+_fts_config",
                step,
            ) or (step in ("SCAN runs", "SCAN summaries") and "ORDER BY id DESC LIMIT" in sql)
            few = re.search("USING (COVERING )?INDEX (runs_(running|queued)|posts_purged)", step)
            if step.startswith("SCAN") and not allowed and not few:
                scans.append(f"{step}: {sql}")
    plain.close()
    assert scans == []


def test_new_posts_are_a_range_of_arrivals(store: Store, path: Path) -> None:
    found = {sql for sql in _statements(store, path) if "FROM arrivals JOIN posts" in sql}
    assert len(found) == 5, found
    for sql in found:
        plan = " ".join(str(row[3]) for row in rows(path, f"EXPLAIN QUERY PLAN {sql}"))
        assert "arrivals USING COVERING INDEX" in plan or "arrivals USING INDEX" in plan
        assert "feed_id=? AND rowid>?" in plan or "feed_id=? AND id>?" in plan
