"""Runs: attempts to do a job, from their queue to the summary that they leave."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from xtrack.errors import GaveUp, NotFound
from xtrack.models import Attempts, DeliveryKind, Digest, Run, RunState, Trigger
from xtrack.store import rows
from xtrack.store.database import no_job, source_changed
from xtrack.store.deliveries import Deliveries

# So many slots in a row have to fail before somebody is told, unless one fails for good.
_IN_A_ROW = 3
_WAITING = "SELECT 1 FROM deliveries WHERE job_id = ? AND state = 'pending'"


class Runs(Deliveries):
    """What the program asks of runs."""

    def _require_job(self, db: sqlite3.Connection, job_id: int) -> None:
        if not db.execute("SELECT 1 FROM jobs WHERE id = ?", [job_id]).fetchone():
            raise no_job(job_id)

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

    def set_stage(self, run: Run, stage: str) -> None:
        """Note what a run is at, so that one that dies is known by it."""
        with self.write_as(run) as db:
            db.execute("UPDATE runs SET stage = ? WHERE id = ?", [stage, run.id])

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
        self,
        run: Run,
        state: str,
        now: datetime,
        exit_code: int | None,
        error: str,
        next_try: datetime | None,
        admin: str | None = None,
    ) -> None:
        """End a run that failed or died. Without `next_try` its slot is closed, and whoever gets the job's mails, else
        `admin`, is told of a job that fails for good, or that has failed so for some slots.
        """
        with self.write_as(run) as db:
            db.execute(
                """UPDATE runs SET state = ?, finished_at = ?, exit_code = ?, error = ?, next_try = ?,
                closed = (closed OR (slot IS NOT NULL AND ?)) WHERE id = ?""",
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
            if (
                next_try is None
                and run.slot
                and (exit_code != GaveUp.exit_code or self._has_failed_long(db, run.job_id))
            ):
                self._alarm(db, run, "failing", admin, now)

    def _has_failed_long(self, db: sqlite3.Connection, job_id: int) -> bool:
        sql = "SELECT state FROM runs WHERE job_id = ? AND closed = 1 AND slot IS NOT NULL ORDER BY slot DESC LIMIT ?"
        states = [row["state"] for row in db.execute(sql, [job_id, _IN_A_ROW])]
        return len(states) == _IN_A_ROW and set(states) <= {"failed", "died"}

    def _alarm(self, db: sqlite3.Connection, run: Run, kind: DeliveryKind, admin: str | None, now: datetime) -> None:
        """Tell once that a job is failing, and once that it is well again; who is told nothing the first time neither
        is the second.
        """
        is_failing = kind == "failing"
        sql = "UPDATE jobs SET alarmed = ? WHERE id = ? AND alarmed = ?"
        if db.execute(sql, [is_failing, run.job_id, not is_failing]).rowcount:
            recipients = self._emails(db, run.job_id) or ([admin] if admin else [])
            self._post(db, run.job_id, run.id, None, kind, recipients, now)

    def finish_run(
        self,
        run: Run,
        digest: Digest,
        post_count: int,
        seen: Mapping[int, int],
        slot: datetime | None,
        now: datetime,
        noticed: Mapping[int, int] = MappingProxyType({}),
        error: str = "",
        admin: str | None = None,
    ) -> int:
        """End a run well, in one transaction: summary, its posts, the watermarks of each feed, the closed slot, and
        what is to be mailed. It goes on as long as there is something to mail: `end_run` ends it then.

        `seen` maps feed ids to arrivals, `noticed` to notices; `error` is what kept it from reading all. Gives the
        summary's number.
        """
        with self.write_as(run) as db:
            moved = db.executemany(
                "UPDATE job_feeds SET seen = ? WHERE job_id = ? AND feed_id = ?",
                [(arrival, run.job_id, feed_id) for feed_id, arrival in seen.items()],
            ).rowcount
            if moved < len(seen):
                raise source_changed()
            db.executemany(
                "UPDATE job_feeds SET noticed = ? WHERE job_id = ? AND feed_id = ?",
                [(notice, run.job_id, feed_id) for feed_id, notice in noticed.items()],
            )
            lines = rows.lines_json(digest.lines)
            (summary_id,) = db.execute(
                """INSERT INTO summaries
                (job_id, run_id, created_at, post_count, method, headline, lines, omitted, notices, words,
                model, input_tokens, output_tokens, cost)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
                [
                    run.job_id,
                    run.id,
                    rows.stamp(now),
                    post_count,
                    digest.method,
                    digest.headline,
                    lines,
                    digest.omitted,
                    json.dumps(digest.notices, ensure_ascii=False),
                    rows.words_of_lines(lines),
                    digest.model,
                    digest.input_tokens,
                    digest.output_tokens,
                    digest.cost,
                ],
            ).fetchone()
            db.executemany(
                "INSERT INTO summary_posts (summary_id, post_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(summary_id, post_id) for line in digest.lines for post_id in line.post_ids],
            )
            db.execute(
                "UPDATE runs SET new_posts = ?, slot = ?, closed = ?, stage = 'mailing', error = ? WHERE id = ?",
                [post_count, rows.stamp(slot) if slot else None, slot is not None, error, run.id],
            )
            self._note_end(db, run.job_id, now, slot)
            self._alarm(db, run, "recovered", admin, now)
            if post_count or self._mails_quiet(db, run.job_id):
                self._post(db, run.job_id, run.id, summary_id, "digest", self._emails(db, run.job_id), now)
            if not db.execute(f"{_WAITING} LIMIT 1", [run.job_id]).fetchone():
                self._end_run(db, run, "done", now, 0, error)
        return int(summary_id)

    def end_run(self, run: Run, state: RunState, now: datetime, exit_code: int, error: str) -> None:
        """End a run that has mailed what it could."""
        with self.write_as(run) as db:
            self._end_run(db, run, state, now, exit_code, error)

    def _end_run(
        self, db: sqlite3.Connection, run: Run, state: RunState, now: datetime, exit_code: int, error: str
    ) -> None:
        sql = "UPDATE runs SET state = ?, finished_at = ?, exit_code = ?, stage = '', error = ? WHERE id = ?"
        db.execute(sql, [state, rows.stamp(now), exit_code, error, run.id])

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
