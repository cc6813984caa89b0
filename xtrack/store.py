"""The only SQL: jobs, feeds, posts, runs and summaries in one SQLite file.

Every write is one short BEGIN IMMEDIATE transaction.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from xtrack import rows
from xtrack.database import Database
from xtrack.errors import NotFound, Temporary, XTrackError
from xtrack.models import Attempts, Digest, Feed, Job, Page, Post, Run, Summary, Trigger

FIRST_DIGEST_POSTS = 500

_JOB = """SELECT jobs.*, (SELECT slot FROM runs WHERE job_id = jobs.id AND closed = 1 AND slot <= :horizon
    ORDER BY slot DESC LIMIT 1) AS closed_slot FROM jobs"""


class RunGone(XTrackError):
    """The run's own row is gone, because its job was deleted meanwhile: nothing more is to be done."""

    exit_code = 0


class Store(Database):
    """What the program asks of the file and writes into it."""

    @contextmanager
    def _write_as(self, run_id: int) -> Iterator[sqlite3.Connection]:
        """One transaction of a run, which first finds the run's own row. Raises RunGone when that is not there."""
        with self.write() as db:
            sql = "SELECT 1 FROM runs WHERE id = ? AND state = 'running'"
            if not db.execute(sql, [run_id]).fetchone():
                raise RunGone(f"run {run_id} was taken away")
            yield db

    # jobs

    def add_jobs(self, jobs: Sequence[Job], feeds: Sequence[tuple[str, str]]) -> list[Job]:
        """Store new jobs, all or none, that read `feeds`, pairs of kind and spec; gives them with their numbers."""
        with self.write() as db:
            return [self._add_job(db, job, feeds) for job in jobs]

    def _add_job(self, db: sqlite3.Connection, job: Job, feeds: Sequence[tuple[str, str]]) -> Job:
        cursor = db.execute(
            """INSERT INTO jobs
            (source, names, topics, frequency, at, paused, created_at, schedule_since, unsettled) VALUES
            (:source, :names, :topics, :frequency, :at, :paused, :created_at, :schedule_since, 1)""",
            rows.job_values(job),
        )
        job = replace(job, id=int(cursor.lastrowid or 0))
        self._set_feeds(db, job.id, feeds)
        return job

    def update_job(self, job: Job, feeds: Sequence[tuple[str, str]] | None = None) -> None:
        """Store what can be changed of a job; `feeds` None: as they are. Raises NotFound when it is gone."""
        with self.write() as db:
            cursor = db.execute(
                """UPDATE jobs SET source = :source, names = :names, topics = :topics, frequency = :frequency,
                at = :at, paused = :paused, schedule_since = :schedule_since, unsettled = 1 WHERE id = :id""",
                rows.job_values(job),
            )
            if cursor.rowcount == 0:
                raise _no_job(job.id)
            if feeds is not None:
                self._set_feeds(db, job.id, feeds)

    def _set_feeds(self, db: sqlite3.Connection, job_id: int, feeds: Iterable[tuple[str, str]]) -> None:
        wanted = []
        for kind, spec in feeds:
            db.execute("INSERT INTO feeds (kind, spec) VALUES (?, ?) ON CONFLICT DO NOTHING", [kind, spec])
            row = db.execute("SELECT id FROM feeds WHERE kind = ? AND spec = ?", [kind, spec]).fetchone()
            wanted.append(row["id"])
        for row in db.execute("SELECT feed_id FROM job_feeds WHERE job_id = ?", [job_id]).fetchall():
            if row["feed_id"] not in wanted:
                db.execute("DELETE FROM job_feeds WHERE job_id = ? AND feed_id = ?", [job_id, row["feed_id"]])
                self._drop_feed_if_unused(db, row["feed_id"])
        for feed_id in wanted:
            db.execute(
                "INSERT INTO job_feeds (job_id, feed_id) VALUES (?, ?) ON CONFLICT DO NOTHING", [job_id, feed_id]
            )

    def _drop_feed_if_unused(self, db: sqlite3.Connection, feed_id: int) -> bool:
        """A feed that no job reads goes, and with it the posts that no other feed brought and no summary cites."""
        if db.execute("SELECT 1 FROM job_feeds WHERE feed_id = ? LIMIT 1", [feed_id]).fetchone():
            return False
        db.execute(
            """DELETE FROM posts WHERE id IN (SELECT post_id FROM arrivals WHERE feed_id = :feed)
            AND NOT EXISTS (SELECT 1 FROM arrivals WHERE post_id = posts.id AND feed_id <> :feed)
            AND NOT EXISTS (SELECT 1 FROM summary_posts WHERE post_id = posts.id)""",
            {"feed": feed_id},
        )
        return db.execute("DELETE FROM feeds WHERE id = ?", [feed_id]).rowcount == 1

    def pause_jobs(self, job_ids: Iterable[int]) -> None:
        """Pause jobs, all or none. Raises NotFound when there is no such job."""
        self._change_jobs("UPDATE jobs SET paused = 1, unsettled = 1 WHERE id = :id", job_ids)

    def resume_jobs(self, job_ids: Iterable[int], now: datetime) -> None:
        """Have paused jobs go on from now, all or none. Raises NotFound when there is no such job."""
        sql = """UPDATE jobs SET schedule_since = CASE WHEN paused THEN :now ELSE schedule_since END, paused = 0,
            unsettled = 1 WHERE id = :id"""
        self._change_jobs(sql, job_ids, now=rows.stamp(now))

    def _change_jobs(self, sql: str, job_ids: Iterable[int], **values: str) -> None:
        with self.write() as db:
            for job_id in job_ids:
                if db.execute(sql, {"id": job_id, **values}).rowcount == 0:
                    raise _no_job(job_id)

    def delete_jobs(self, job_ids: Iterable[int]) -> list[int]:
        """Delete jobs, all or none, with their runs and summaries, and what only they read; gives the feeds that went.

        Raises NotFound when there is no such job.
        """
        with self.write() as db:
            return [feed_id for job_id in job_ids for feed_id in self._delete_job(db, job_id)]

    def _delete_job(self, db: sqlite3.Connection, job_id: int) -> list[int]:
        feeds = db.execute("SELECT feed_id FROM job_feeds WHERE job_id = ?", [job_id]).fetchall()
        cited = db.execute(
            """SELECT DISTINCT post_id FROM summaries JOIN summary_posts ON summary_id = summaries.id
            WHERE job_id = ?""",
            [job_id],
        ).fetchall()
        if db.execute("DELETE FROM jobs WHERE id = ?", [job_id]).rowcount == 0:
            raise _no_job(job_id)
        gone = [row["feed_id"] for row in feeds if self._drop_feed_if_unused(db, row["feed_id"])]
        db.executemany(
            """DELETE FROM posts WHERE id = ?
            AND NOT EXISTS (SELECT 1 FROM arrivals WHERE post_id = posts.id)
            AND NOT EXISTS (SELECT 1 FROM summary_posts WHERE post_id = posts.id)""",
            [[row["post_id"]] for row in cited],
        )
        return gone

    def job(self, job_id: int, horizon: datetime) -> Job:
        """One job; closed slots after `horizon` are not looked at. Raises NotFound."""
        found = self.all(f"{_JOB} WHERE jobs.id = :id", {"id": job_id, "horizon": rows.stamp(horizon)})
        if not found:
            raise _no_job(job_id)
        return rows.job(found[0])

    def jobs(self, horizon: datetime) -> list[Job]:
        """All jobs by number; closed slots after `horizon` are not looked at."""
        return [rows.job(row) for row in self.all(f"{_JOB} ORDER BY jobs.id", {"horizon": rows.stamp(horizon)})]

    def jobs_ahead(self, horizon: datetime) -> list[int]:
        """Jobs with a schedule_since or a closed slot after `horizon`."""
        found = self.all(
            """SELECT id FROM jobs WHERE schedule_since > :horizon
            OR EXISTS (SELECT 1 FROM runs WHERE job_id = jobs.id AND closed = 1 AND slot > :horizon) ORDER BY id""",
            {"horizon": rows.stamp(horizon)},
        )
        return [row["id"] for row in found]

    def unsettled_jobs(self, horizon: datetime) -> list[Job]:
        """Jobs whose row was changed and whose timer may not have been."""
        found = self.all(f"{_JOB} WHERE jobs.unsettled = 1", {"horizon": rows.stamp(horizon)})
        return [rows.job(row) for row in found]

    def active_jobs(self) -> set[int]:
        """Numbers of the jobs that are not paused."""
        return {row["id"] for row in self.all("SELECT id FROM jobs WHERE paused = 0")}

    def settle_jobs(self, jobs: Iterable[Job]) -> None:
        """Note that the timers of these jobs are as their rows say, unless a row has been changed meanwhile."""
        with self.write() as db:
            db.executemany(
                "UPDATE jobs SET unsettled = 0 WHERE id = ? AND frequency = ? AND at = ? AND paused = ?",
                [(job.id, job.frequency, job.at, job.paused) for job in jobs],
            )

    # feeds and posts

    def feeds(self, job_id: int) -> list[Feed]:
        """What a job reads."""
        found = self.all(
            """SELECT feeds.* FROM job_feeds JOIN feeds ON feeds.id = feed_id WHERE job_id = ? ORDER BY feeds.id""",
            [job_id],
        )
        return [Feed(row["id"], row["kind"], row["spec"], row["cursor"]) for row in found]

    def feed(self, feed_id: int) -> Feed | None:
        """One feed as it is now; None when its last job was deleted."""
        found = self.all("SELECT * FROM feeds WHERE id = ?", [feed_id])
        return Feed(found[0]["id"], found[0]["kind"], found[0]["spec"], found[0]["cursor"]) if found else None

    def add_page(self, run_id: int, feed_id: int, page: Page) -> int:
        """Store a page with its cursor in one transaction; gives how many of its posts the feed did not have.

        A post that is there already, an edited one, takes the newer text, but none that knows less of its original.
        """
        with self._write_as(run_id) as db:
            if not db.execute("SELECT 1 FROM feeds WHERE id = ?", [feed_id]).fetchone():
                raise source_changed()
            db.executemany(
                """INSERT INTO posts (id, author, author_name, created_at, kind, text, url, lang, original) VALUES
                (:id, :author, :author_name, :created_at, :kind, :text, :url, :lang, :original)
                ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, text = excluded.text, original = excluded.original
                WHERE excluded.original IS NOT NULL OR posts.original IS NULL""",
                map(rows.post_values, page.posts),
            )
            added = db.executemany(
                "INSERT INTO arrivals (feed_id, post_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(feed_id, post.id) for post in page.posts],
            ).rowcount
            db.execute("UPDATE feeds SET cursor = ? WHERE id = ?", [page.cursor, feed_id])
        return max(added, 0)

    def last_arrival(self, feed_id: int) -> int:
        """The number of a feed's newest arrival, 0 when it has none."""
        return int(self.all("SELECT coalesce(max(id), 0) FROM arrivals WHERE feed_id = ?", [feed_id])[0][0])

    def new_posts(self, job: Job, feed_id: int, until: int) -> tuple[list[Post], int]:
        """A job's posts of a feed beyond its watermark up to arrival `until`, oldest first, and how many were left out.

        A job's first digest of a feed covers the newest FIRST_DIGEST_POSTS of them; the others are left out.
        """
        seen = self.all("SELECT seen FROM job_feeds WHERE job_id = ? AND feed_id = ?", [job.id, feed_id])
        since = seen[0]["seen"] if seen else None
        by_name = f"AND author IN ({', '.join('?' * len(job.names))})" if job.names else ""
        found = self.all(
            f"""SELECT posts.* FROM arrivals JOIN posts ON posts.id = post_id
            WHERE feed_id = ? AND arrivals.id > ? AND arrivals.id <= ? {by_name} ORDER BY created_at, posts.id""",  # noqa: S608 only question marks
            [feed_id, since or 0, until, *job.names],
        )
        left_out = max(0, len(found) - FIRST_DIGEST_POSTS) if since is None else 0
        return [rows.post(row) for row in found[left_out:]], left_out

    def posts(self, summary_id: int) -> list[Post]:
        """The posts that a summary's lines stand for."""
        sql = "SELECT posts.* FROM summary_posts JOIN posts ON posts.id = post_id WHERE summary_id = ?"
        return [rows.post(row) for row in self.all(sql, [summary_id])]

    # runs

    def _require_job(self, db: sqlite3.Connection, job_id: int) -> None:
        if not db.execute("SELECT 1 FROM jobs WHERE id = ?", [job_id]).fetchone():
            raise _no_job(job_id)

    def start_run(
        self, job_id: int, trigger: Trigger, slot: datetime | None, missed: int, now: datetime, invocation_id: str
    ) -> Run:
        """Write the running row of a run whose process holds the job's lock. Raises NotFound when the job is gone."""
        with self.write() as db:
            self._require_job(db, job_id)
            row = db.execute(
                """INSERT INTO runs (job_id, trigger, state, slot, missed, started_at, invocation_id)
                VALUES (?, ?, 'running', ?, ?, ?, ?) RETURNING *""",
                [job_id, trigger, rows.stamp(slot) if slot else None, missed, rows.stamp(now), invocation_id],
            ).fetchone()
            return rows.run(row)

    def queue_run(self, job_id: int, now: datetime) -> Run:
        """Write a run that the scheduler is to start; gives the one that waits already, if one does."""
        with self.write() as db:
            self._require_job(db, job_id)
            sql = "INSERT INTO runs (job_id, trigger, state, started_at) VALUES (?, 'manual', 'queued', ?)"
            db.execute(f"{sql} ON CONFLICT DO NOTHING", [job_id, rows.stamp(now)])
            sql = "SELECT * FROM runs WHERE job_id = ? AND state = 'queued'"
            return rows.run(db.execute(sql, [job_id]).fetchone())

    def start_queued_run(self, job_id: int, now: datetime, invocation_id: str) -> Run | None:
        """Make the job's queued run the running one; None when no run is queued."""
        with self.write() as db:
            row = db.execute(
                """UPDATE runs SET state = 'running', started_at = ?, invocation_id = ?
                WHERE job_id = ? AND state = 'queued' RETURNING *""",
                [rows.stamp(now), invocation_id, job_id],
            ).fetchone()
            return rows.run(row) if row else None

    def run(self, run_id: int) -> Run:
        """One run. Raises NotFound."""
        found = self.all("SELECT * FROM runs WHERE id = ?", [run_id])
        if not found:
            raise NotFound(f"no run {run_id}", "xtrack list-runs")
        return rows.run(found[0])

    def set_stage(self, run_id: int, stage: str) -> None:
        """Note what a run is at, so that one that dies is known by it."""
        with self._write_as(run_id) as db:
            db.execute("UPDATE runs SET stage = ? WHERE id = ?", [stage, run_id])

    def running_run(self, job_id: int) -> Run | None:
        """The job's run that says it is running."""
        found = self.all("SELECT * FROM runs WHERE job_id = ? AND state = 'running'", [job_id])
        return rows.run(found[0]) if found else None

    def open_runs(self) -> list[Run]:
        """All runs that say that they are running, or that are queued."""
        # Not OR: each half has a partial index of its own.
        sql = "SELECT * FROM runs WHERE state = 'running' UNION ALL SELECT * FROM runs WHERE state = 'queued'"
        return [rows.run(row) for row in self.all(sql)]

    def slots_tried(self, job_id: int, after: datetime, before: datetime) -> int:
        """How many slots strictly between two instants have had an attempt."""
        sql = "SELECT count(DISTINCT slot) FROM runs WHERE job_id = ? AND slot > ? AND slot < ?"
        return int(self.all(sql, [job_id, rows.stamp(after), rows.stamp(before)])[0][0])

    def attempts(self, job_id: int, slot: datetime) -> Attempts:
        """The attempts at one slot that have ended."""
        found = self.all(
            """SELECT started_at, next_try FROM runs WHERE job_id = ? AND slot = ? AND state <> 'running'
            ORDER BY id""",
            [job_id, rows.stamp(slot)],
        )
        if not found:
            return Attempts()
        return Attempts(len(found), rows.known(found[0]["started_at"]), rows.moment(found[-1]["next_try"]))

    def _note_end(self, db: sqlite3.Connection, job_id: int, now: datetime, closed: datetime | None) -> None:
        """Set last_run; a slot that is closed ends a schedule_since that a wrong clock wrote, or it would come true."""
        values = {"id": job_id, "now": rows.stamp(now), "closed": rows.stamp(closed) if closed else None}
        db.execute(
            """UPDATE jobs SET last_run = :now, schedule_since =
            CASE WHEN :closed IS NOT NULL AND schedule_since > :absurd THEN :closed ELSE schedule_since END
            WHERE id = :id""",
            {**values, "absurd": rows.stamp(now + timedelta(days=1))},
        )

    def fail_run(
        self, run: Run, state: str, now: datetime, exit_code: int | None, error: str, next_try: datetime | None
    ) -> None:
        """End a run that failed or died. Without `next_try` its slot is closed."""
        with self._write_as(run.id) as db:
            db.execute(
                """UPDATE runs SET state = ?, finished_at = ?, exit_code = ?, error = ?, next_try = ?,
                closed = (slot IS NOT NULL AND ?) WHERE id = ?""",
                [
                    state,
                    rows.stamp(now),
                    exit_code,
                    error,
                    rows.stamp(next_try) if next_try else None,
                    next_try is None,
                    run.id,
                ],
            )
            self._note_end(db, run.job_id, now, run.slot if next_try is None else None)

    def finish_run(
        self, run: Run, digest: Digest, post_count: int, seen: dict[int, int], slot: datetime | None, now: datetime
    ) -> int:
        """End a run well, in one transaction: summary, its posts, the watermark of each feed, and the closed slot.

        `seen` maps feed ids to arrivals. Gives the summary's number.
        """
        with self._write_as(run.id) as db:
            moved = db.executemany(
                "UPDATE job_feeds SET seen = ? WHERE job_id = ? AND feed_id = ?",
                [(arrival, run.job_id, feed_id) for feed_id, arrival in seen.items()],
            ).rowcount
            if moved < len(seen):
                raise source_changed()
            cursor = db.execute(
                """INSERT INTO summaries (job_id, run_id, created_at, post_count, method, headline, lines, omitted)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
                [
                    run.job_id,
                    run.id,
                    rows.stamp(now),
                    post_count,
                    digest.method,
                    digest.headline,
                    json.dumps([asdict(line) for line in digest.lines], ensure_ascii=False),
                    digest.omitted,
                ],
            )
            summary_id = int(cursor.lastrowid or 0)
            db.executemany(
                "INSERT INTO summary_posts (summary_id, post_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(summary_id, post_id) for line in digest.lines for post_id in line.post_ids],
            )
            db.execute(
                """UPDATE runs SET state = 'done', finished_at = ?, exit_code = 0, new_posts = ?, slot = ?, closed = ?,
                stage = '' WHERE id = ?""",
                [rows.stamp(now), post_count, rows.stamp(slot) if slot else None, slot is not None, run.id],
            )
            self._note_end(db, run.job_id, now, slot)
        return summary_id

    def runs(self, job_id: int | None = None, limit: int = 50) -> list[Run]:
        """The newest runs, of one job or of all, newest first."""
        if job_id is None:
            return [rows.run(row) for row in self.all("SELECT * FROM runs ORDER BY id DESC LIMIT ?", [limit])]
        sql = "SELECT * FROM runs WHERE job_id = ? ORDER BY id DESC LIMIT ?"
        return [rows.run(row) for row in self.all(sql, [job_id, limit])]

    def last_runs(self) -> dict[int, Run]:
        """The newest run of every job that has one, by job."""
        found = self.all(
            """SELECT runs.* FROM jobs JOIN runs ON runs.id =
            (SELECT id FROM runs WHERE job_id = jobs.id ORDER BY id DESC LIMIT 1)"""
        )
        return {row["job_id"]: rows.run(row) for row in found}

    # summaries

    def summary(self, summary_id: int) -> Summary:
        """One summary. Raises NotFound."""
        found = self.all("SELECT * FROM summaries WHERE id = ?", [summary_id])
        if not found:
            raise NotFound(f"no summary {summary_id}", "xtrack list-summaries")
        return rows.summary(found[0])

    def summaries(self, job_id: int | None = None, limit: int = 50) -> list[Summary]:
        """The newest summaries, of one job or of all, newest first."""
        if job_id is None:
            return [rows.summary(row) for row in self.all("SELECT * FROM summaries ORDER BY id DESC LIMIT ?", [limit])]
        sql = "SELECT * FROM summaries WHERE job_id = ? ORDER BY id DESC LIMIT ?"
        return [rows.summary(row) for row in self.all(sql, [job_id, limit])]


def source_changed() -> Temporary:
    """What a run ends with when its job was given another source meanwhile: its next try reads that one."""
    return Temporary("the job was given another source meanwhile")


def _no_job(job_id: int) -> NotFound:
    return NotFound(f"no job {job_id}", "xtrack list-jobs")
