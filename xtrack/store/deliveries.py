"""Mails: whom each digest goes to, and what has become of it."""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from xtrack.errors import NotFound
from xtrack.models import Delivery, DeliveryKind, DeliveryState
from xtrack.store import rows
from xtrack.store.database import Database

_ADD = """INSERT INTO deliveries (job_id, summary_id, run_id, kind, recipient, key, state, next_try, created_at)
    VALUES (?, ?, ?, ?, ?, ?, 'pending', ?7, ?7)"""


class Deliveries(Database):
    """What the program asks of deliveries."""

    def _post(
        self,
        db: sqlite3.Connection,
        job_id: int,
        run_id: int,
        summary_id: int | None,
        kind: DeliveryKind,
        recipients: Sequence[str],
        now: datetime,
    ) -> None:
        """Have something be mailed, now or as soon as it can be."""
        for recipient in recipients:
            # Unguessable, as it becomes the mail's Message-ID (RFC 5322, section 3.6.4).
            key, at = secrets.token_hex(16), rows.stamp(now)
            db.execute(_ADD, [job_id, summary_id, run_id, kind, recipient, key, at])

    def post_summary(self, summary_id: int, recipients: Sequence[str], now: datetime) -> list[Delivery]:
        """Have a summary be mailed, once more perhaps. Raises NotFound."""
        with self.write() as db:
            row = db.execute("SELECT job_id, run_id FROM summaries WHERE id = ?", [summary_id]).fetchone()
            if row is None:
                raise NotFound(f"no summary {summary_id}", "xtrack list-summaries")
            self._post(db, row["job_id"], row["run_id"], summary_id, "digest", recipients, now)
            sql = "SELECT * FROM deliveries WHERE summary_id = ? ORDER BY id DESC LIMIT ?"
            found = db.execute(sql, [summary_id, len(recipients)]).fetchall()
        return [rows.delivery(row) for row in reversed(found)]

    def pending_deliveries(self, job_id: int) -> list[Delivery]:
        """What waits to be mailed for a job, the oldest first."""
        sql = "SELECT * FROM deliveries WHERE job_id = ? AND state = 'pending' ORDER BY id"
        return [rows.delivery(row) for row in self.all(sql, [job_id])]

    def waiting_deliveries(self) -> dict[int, datetime]:
        """The jobs that have something to be mailed, and when next."""
        sql = "SELECT job_id, min(next_try) AS next_try FROM deliveries WHERE state = 'pending' GROUP BY job_id"
        return {row["job_id"]: rows.known(row["next_try"]) for row in self.all(sql)}

    def begin_sending(self, delivery: Delivery) -> bool:
        """Claim a delivery, just before all of it is given to the server; False when it was taken back meanwhile."""
        with self.write() as db:
            sql = "UPDATE deliveries SET state = 'sending', tries = tries + 1 WHERE id = ? AND state = 'pending'"
            return db.execute(sql, [delivery.id]).rowcount == 1

    def end_sending(
        self,
        delivery: Delivery,
        state: DeliveryState,
        now: datetime,
        error: str = "",
        next_try: datetime | None = None,
    ) -> None:
        """Note what has become of a delivery, begun or not."""
        sent_at, again = (rows.stamp(now) if state == "sent" else None), rows.stamp(next_try) if next_try else None
        with self.write() as db:
            db.execute(
                """UPDATE deliveries SET state = :state, sent_at = :sent_at, error = :error, next_try = :again,
                tries = tries + (state = 'pending') WHERE id = :id AND state IN ('pending', 'sending')""",
                {"state": state, "sent_at": sent_at, "error": error, "again": again, "id": delivery.id},
            )

    def sending_jobs(self) -> set[int]:
        """The jobs that have something being sent, or had when a process died."""
        return {row["job_id"] for row in self.all("SELECT job_id FROM deliveries WHERE state = 'sending'")}

    def lose_track(self, job_id: int) -> int:
        """Note that nobody knows what has become of what a process that died was sending; gives how many.

        For whoever holds the job's lock: nobody else is sending then.
        """
        if not self.all("SELECT 1 FROM deliveries WHERE job_id = ? AND state = 'sending'", [job_id]):
            return 0
        with self.write() as db:
            sql = """UPDATE deliveries SET state = 'unknown', next_try = NULL, error = 'died while it was sending'
                WHERE job_id = ? AND state = 'sending'"""
            return db.execute(sql, [job_id]).rowcount

    def _drop_strangers(self, db: sqlite3.Connection, job_id: int, emails: str) -> None:
        """Who is no recipient of a job any more is sent nothing that waits; `emails` is a JSON list."""
        db.execute(
            """DELETE FROM deliveries WHERE job_id = ? AND state = 'pending' AND kind = 'digest'
            AND recipient NOT IN (SELECT value FROM json_each(?))""",
            [job_id, emails],
        )

    def deliveries(self, job_id: int | None, limit: int) -> list[Delivery]:
        """The newest deliveries, of one job or of all, newest first."""
        if job_id is None:
            return [
                rows.delivery(row) for row in self.all("SELECT * FROM deliveries ORDER BY id DESC LIMIT ?", [limit])
            ]
        sql = "SELECT * FROM deliveries WHERE job_id = ? ORDER BY id DESC LIMIT ?"
        return [rows.delivery(row) for row in self.all(sql, [job_id, limit])]

    def wrong_deliveries(self, since: datetime) -> dict[int, list[Delivery]]:
        """The deliveries since a moment that failed or of which nobody knows, by job."""
        found: dict[int, list[Delivery]] = {}
        sql = """SELECT * FROM deliveries WHERE state IN ('failed', 'unknown') AND created_at >= ?
            ORDER BY job_id, id"""
        for row in self.all(sql, [rows.stamp(since)]):
            found.setdefault(row["job_id"], []).append(rows.delivery(row))
        return found

    def _emails(self, db: sqlite3.Connection, job_id: int) -> list[str]:
        return list(json.loads(db.execute("SELECT emails FROM jobs WHERE id = ?", [job_id]).fetchone()["emails"]))

    def _mails_quiet(self, db: sqlite3.Connection, job_id: int) -> bool:
        return bool(db.execute("SELECT mail_quiet FROM jobs WHERE id = ?", [job_id]).fetchone()["mail_quiet"])
