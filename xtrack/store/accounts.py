"""Accounts by their numbers: their names and states, and what whoever reads their feeds has to know."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime

from xtrack.models import Account, AccountState, Bill, Notice, Page, Sighting
from xtrack.store import rows
from xtrack.store.usage import Usage


class Accounts(Usage):
    """What the program asks of accounts."""

    def accounts_named(self, names: Iterable[str]) -> dict[str, Account]:
        """The accounts that have these names, by lower-case name; of several the one that was looked up last."""
        found = self.all(
            "SELECT * FROM accounts WHERE username IN (SELECT value FROM json_each(?)) ORDER BY checked_at",
            [json.dumps([*names])],
        )
        return {row["username"].lower(): rows.account(row) for row in found}

    def account(self, account_id: str) -> Account | None:
        """One account as far as it is known."""
        found = self.all("SELECT * FROM accounts WHERE id = ?", [account_id])
        return rows.account(found[0]) if found else None

    def accounts(self, job_id: int) -> list[Account]:
        """The accounts that a job reads, in the order of its feeds."""
        sql = """SELECT accounts.* FROM job_feeds JOIN feeds ON feeds.id = feed_id
            JOIN accounts ON accounts.id = account_id WHERE job_id = ? ORDER BY feed_id"""
        return [rows.account(row) for row in self.all(sql, [job_id])]

    def lost_accounts(self) -> dict[int, list[Account]]:
        """The accounts that cannot be read, by the jobs that should."""
        found: dict[int, list[Account]] = {}
        sql = """SELECT job_id, accounts.* FROM accounts JOIN feeds ON account_id = accounts.id
            JOIN job_feeds ON feed_id = feeds.id WHERE state <> 'ok' ORDER BY job_id, feed_id"""
        for row in self.all(sql):
            found.setdefault(row["job_id"], []).append(rows.account(row))
        return found

    def accounts_checked_before(self, job_id: int, before: datetime) -> dict[str, list[str]]:
        """The ids of the accounts that a job reads and that were not looked up since, by the kind of their feed."""
        found: dict[str, list[str]] = {}
        sql = """SELECT DISTINCT kind, accounts.id FROM job_feeds JOIN feeds ON feeds.id = feed_id
            JOIN accounts ON accounts.id = account_id WHERE job_id = ? AND checked_at < ?"""
        for row in self.all(sql, [job_id, rows.stamp(before)]):
            found.setdefault(row["kind"], []).append(row["id"])
        return found

    def add_accounts(self, accounts: Iterable[Account], missing: Mapping[str, AccountState], bill: Bill) -> None:
        """Store accounts as they were looked up, what has become of known ones by id, and what that cost."""
        with self.write() as db:
            self._settle(db, bill)
            for account in accounts:
                self._rename(db, Sighting(account.id, account.username, account.checked_at))
                self._set_state(db, account.id, account.state, account.checked_at)
                db.execute(
                    """INSERT INTO accounts (id, username, name, state, checked_at, posts_a_day)
                    VALUES (:id, :username, :name, :state, :checked_at, :posts_a_day) ON CONFLICT DO UPDATE SET
                    name = excluded.name, checked_at = excluded.checked_at, posts_a_day = excluded.posts_a_day""",
                    {**vars(account), "checked_at": rows.stamp(account.checked_at)},
                )
            for account_id, state in missing.items():
                self._set_state(db, account_id, state, bill.at)
                sql = "UPDATE accounts SET checked_at = ? WHERE id = ?"
                db.execute(sql, [rows.stamp(bill.at), account_id])

    def _note(self, db: sqlite3.Connection, feed_id: int, page: Page, at: datetime) -> None:
        """Keep what a page of a feed tells beside its posts."""
        for text in page.notices:
            self._add_notice(db, feed_id, text, at, is_gap=True)
        if page.state:
            row = db.execute("SELECT account_id FROM feeds WHERE id = ?", [feed_id]).fetchone()
            self._set_state(db, row["account_id"], page.state, at)
        for sighting in page.sightings:
            self._rename(db, sighting)

    def _add_notice(self, db: sqlite3.Connection, feed_id: int, text: str, at: datetime, is_gap: bool = False) -> None:
        sql = "INSERT INTO notices (feed_id, at, text, is_gap) VALUES (?, ?, ?, ?)"
        db.execute(sql, [feed_id, rows.stamp(at), text, is_gap])

    def _tell_readers(self, db: sqlite3.Connection, account_id: str, text: str, at: datetime) -> None:
        for row in db.execute("SELECT id FROM feeds WHERE account_id = ?", [account_id]).fetchall():
            self._add_notice(db, row["id"], text, at)

    def _set_state(self, db: sqlite3.Connection, account_id: str, state: AccountState, at: datetime) -> None:
        sql = "UPDATE accounts SET state = ?1 WHERE id = ?2 AND state <> ?1 RETURNING *"
        for row in db.execute(sql, [state, account_id]).fetchall():
            self._tell_readers(db, account_id, rows.account(row).said, at)

    def _rename(self, db: sqlite3.Connection, seen: Sighting) -> None:
        """Have a known account the name that it was seen with since it was looked up, and tell its readers."""
        at = rows.stamp(seen.at)
        row = db.execute("SELECT * FROM accounts WHERE id = ? AND checked_at < ?", [seen.account_id, at]).fetchone()
        if not row:
            return
        before, sql = row["username"], "UPDATE accounts SET username = ?, checked_at = ? WHERE id = ?"
        db.execute(sql, [seen.username, at, seen.account_id])
        if before == seen.username:
            return
        self._tell_readers(db, seen.account_id, f"@{before} is called @{seen.username} now", seen.at)
        reading = """SELECT DISTINCT jobs.id, names FROM feeds JOIN job_feeds ON feed_id = feeds.id
            JOIN jobs ON jobs.id = job_id WHERE account_id = ?"""
        for job in db.execute(reading, [seen.account_id]).fetchall():
            names = [seen.username if name.lower() == before.lower() else name for name in json.loads(job["names"])]
            db.execute("UPDATE jobs SET names = ? WHERE id = ?", [json.dumps(names), job["id"]])

    def notices(self, job_id: int) -> list[Notice]:
        """What a job's readers have not been told yet, oldest first."""
        found = self.all(
            """SELECT notices.* FROM job_feeds JOIN notices ON notices.feed_id = job_feeds.feed_id
            AND notices.id > noticed WHERE job_id = ? ORDER BY notices.id""",
            [job_id],
        )
        return [Notice(row["id"], row["feed_id"], row["text"], bool(row["is_gap"])) for row in found]
