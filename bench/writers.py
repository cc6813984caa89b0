"""200 processes that write at once: whole runs, and no more than what a run writes, all let go at one moment."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from bench.homes import Home, lines
from xtrack.models import Digest, FeedSpec, Line
from xtrack.sources import open_source
from xtrack.store import Store

WRITERS = 200
POSTS = 3


def measure(bin_: Path, scratch: Path, say: Callable[[str], None]) -> dict[str, float]:
    """How many of them failed, and the seconds until the last was done."""
    home = Home(bin_, scratch / "writers")
    feeds = make_jobs(home, WRITERS)
    say(f"{WRITERS} processes that write at once …")
    values = write_at_once(home.database, feeds)
    say(f"{WRITERS} runs at once …")
    return values | _run_at_once(home, list(feeds))


def make_jobs(home: Home, count: int) -> dict[int, int]:
    """Jobs whose slots are due, each with a file of its own with three posts; gives the feed of each."""
    home.install()
    with Store(home.database) as store:
        model = store.job(1, datetime.now(UTC))
        store.delete_jobs([1])
        model = replace(model, schedule_since=datetime.now(UTC) - timedelta(days=2))
        for number in range(count):
            file = home.folder / f"{number}.jsonl"
            file.write_text("".join(lines(range(POSTS * number, POSTS * number + POSTS))))
            store.add_jobs([(replace(model, source=str(file)), [FeedSpec("jsonl", str(file))])])
        return {job.id: store.feeds(job.id)[0].id for job in store.jobs(datetime.now(UTC))}


def write_at_once(database: Path, feeds: dict[int, int]) -> dict[str, float]:
    """What a run writes, by a process for each job, in the time from when all are ready until all have ended."""
    context = get_context("fork")
    ready = context.Barrier(len(feeds) + 1)
    processes = [context.Process(target=_write, args=(database, ready, job, feed)) for job, feed in feeds.items()]
    for process in processes:
        process.start()
    ready.wait()
    begun = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - begun
    return {"writers": seconds, "writers_failed": sum(process.exitcode != 0 for process in processes)}


def _write(database: Path, ready: Barrier, job_id: int, feed_id: int) -> None:
    """In the order in which a run does it; an error ends the process with another code than 0."""
    now = datetime.now(UTC)
    ready.wait()
    with Store(database) as store:
        run = store.start_run(job_id, "manual", None, 0, now, "")
        feed = store.feed(feed_id)
        if feed is None:
            raise RuntimeError(f"feed {feed_id} is gone")
        store.set_stage(run, f"fetching {feed.spec}")
        pages = list(open_source(feed.kind, feed.spec).read(None, now))
        for page in pages:
            store.add_page(run, feed_id, page)
        store.note_read(run, feed_id, now)
        store.set_stage(run, "summarising")
        said = tuple(Line(post.text, (post.id,)) for page in pages for post in page.posts)
        digest = Digest("extractive", f"{len(said)} new posts", said, 0)
        store.finish_run(run, digest, len(said), {feed_id: store.last_arrival(feed_id)}, None, now)


def _run_at_once(home: Home, jobs: list[int]) -> dict[str, float]:
    """The runs that their timers start, none of which waits for a place."""
    config = home.database.with_name("config.toml")
    config.touch(mode=0o600)
    config.write_text(f"parallel_runs = {len(jobs)}\n")
    environ = {**home.environ, "XTRACK_TRIGGER": "timer"}
    begun = time.perf_counter()
    command = home.bin / "xtrack"
    runs = [subprocess.Popen([command, "run-job", str(job)], env=environ, stderr=subprocess.DEVNULL) for job in jobs]
    failed = sum(run.wait() != 0 for run in runs)
    return {"writers_runs": time.perf_counter() - begun, "writers_runs_failed": failed}
