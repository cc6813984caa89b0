"""Jobs, and which feeds they read."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from xtrack.models import FeedSpec, Job
from xtrack.store import rows
from xtrack.store.database import no_job
from xtrack.store.deliveries import Deliveries

_JOB = """SELECT jobs.*, (SELECT slot FROM runs WHERE job_id = jobs.id AND closed = 1 AND slot <= :horizon
    ORDER BY slot DESC LIMIT 1) AS closed_slot FROM jobs"""


class Jobs(Deliveries):
    """What the program asks of jobs."""

    def add_jobs(self, jobs: Sequence[tuple[Job, Sequence[FeedSpec]]], since: datetime | None = None) -> list[Job]:
        """Store new jobs, all or none, each with what it reads; gives them with their numbers.

        `since`: the first digest of each covers the posts since then.
        """
        with self.write() as db:
            return [self._add_job(db, job, feeds, since) for job, feeds in jobs]

    def _add_job(self, db: sqlite3.Connection, job: Job, feeds: Sequence[FeedSpec], since: datetime | None) -> Job:
        cursor = db.execute(
            """INSERT INTO jobs
            (source, names, topics, frequency, at, paused, created_at, schedule_since, unsettled,
            excluded, excluded_at_source, budget, summarizer, focus, language, emails, mail_quiet) VALUES
            (:source, :names, :topics, :frequency, :at, :paused, :created_at, :schedule_since, 1,
            :excluded, :excluded_at_source, :budget, :summarizer, :focus, :language, :emails, :mail_quiet)""",
            rows.job_values(job),
        )
        job = replace(job, id=int(cursor.lastrowid or 0))
        self._set_feeds(db, job.id, feeds)
        if since:
            db.execute("UPDATE job_feeds SET since = ? WHERE job_id = ?", [rows.stamp(since), job.id])
        return job

    def update_job(self, job_id: int, change: Callable[[Job], Job], feeds: Sequence[FeedSpec] | None = None) -> None:
        """Store what `change` makes of a job as it is now; `feeds` None: as they are. Raises NotFound when it is gone.

        Within one transaction, so that two commands that change different things of a job do not undo each other.
        """
        with self.write() as db:
            row = db.execute(f"{_JOB} WHERE jobs.id = :id", {"id": job_id, "horizon": ""}).fetchone()
            if row is None:
                raise no_job(job_id)
            db.execute(
                """UPDATE jobs SET source = :source, names = :names, topics = :topics, frequency = :frequency,
                at = :at, paused = :paused, schedule_since = :schedule_since, unsettled = 1,
                excluded = :excluded, excluded_at_source = :excluded_at_source, budget = :budget,
                summarizer = :summarizer, focus = :focus, language = :language, emails = :emails,
                mail_quiet = :mail_quiet WHERE id = :id""",
                values := rows.job_values(change(rows.job(row))),
            )
            self._drop_strangers(db, job_id, values["emails"])
            if feeds is not None:
                self._set_feeds(db, job_id, feeds)

    def _set_feeds(self, db: sqlite3.Connection, job_id: int, feeds: Iterable[FeedSpec]) -> None:
        known = self._known_until(db, job_id)
        wanted: dict[int, str | None] = {}
        for feed in feeds:
            db.execute(
                """INSERT INTO feeds (kind, spec, account_id, cursor) VALUES (:kind, :spec, :account_id, :cursor)
                ON CONFLICT DO NOTHING""",
                vars(feed),
            )
            row = db.execute("SELECT id FROM feeds WHERE kind = :kind AND spec = :spec", vars(feed)).fetchone()
            wanted[row["id"]] = known.get(feed.account_id)
        for row in db.execute("SELECT feed_id FROM job_feeds WHERE job_id = ?", [job_id]).fetchall():
            if row["feed_id"] not in wanted:
                db.execute("DELETE FROM job_feeds WHERE job_id = ? AND feed_id = ?", [job_id, row["feed_id"]])
                self._drop_feed_if_unused(db, row["feed_id"])
        for feed_id, since in wanted.items():
            # What readers had to know before is not for this one.
            db.execute(
                """INSERT INTO job_feeds (job_id, feed_id, noticed, since) SELECT ?1, ?2, coalesce(max(id), 0), ?3
                FROM notices WHERE feed_id = ?2 ON CONFLICT DO NOTHING""",
                [job_id, feed_id, since],
            )

    def _known_until(self, db: sqlite3.Connection, job_id: int) -> dict[str, str | None]:
        """By account: what was posted later is still news to the readers of a job, whichever feed brings it."""
        found = db.execute(
            """SELECT account_id, since, seen, read_at, (SELECT max(started_at) FROM runs
            WHERE runs.job_id = job_feeds.job_id AND state = 'done') AS told_at
            FROM job_feeds JOIN feeds ON feeds.id = feed_id WHERE job_id = ? AND account_id <> ''""",
            [job_id],
        )
        # A feed that was not read to its end may have older news.
        return {
            row["account_id"]: min(row["told_at"], row["read_at"])
            if row["seen"] is not None and row["told_at"] and row["read_at"]
            else row["since"]
            for row in found
        }

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
                    raise no_job(job_id)

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
            raise no_job(job_id)
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
            raise no_job(job_id)
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
