"""What was bought and for whom, what may still be bought, and what was learnt about a server."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from xtrack.errors import Paused
from xtrack.models import Bill, Resource
from xtrack.money import shown
from xtrack.store import rows
from xtrack.store.database import Database

# Longer than any call may take: what a process that died has set aside is free again then.
_RESERVED = timedelta(minutes=70)
_SPENT = """SELECT (SELECT coalesce(sum(cost), 0) FROM usage WHERE month = :month AND (:job IS NULL OR job_id = :job)),
    (SELECT coalesce(sum(cost), 0) FROM reservations
    WHERE until > :now AND until <= :latest AND (:job IS NULL OR job_id = :job))"""


@dataclass(frozen=True)
class Used:
    """What was bought of one resource for a job (0: for none yet) in a UTC month; `cost` in millionths of a dollar."""

    month: str
    job_id: int
    resource: Resource
    count: int
    cost: int
    first_at: datetime


class Usage(Database):
    """What the program asks of what it buys."""

    def reserve(
        self, job_id: int, each: int, least: int, most: int, budget: int | None, now: datetime
    ) -> tuple[int, int]:
        """Set money aside for a call that brings `least` to `most` items which cost `each` at the most, in one
        transaction with the look at what is left of the budgets, the home's and the job's own.

        Gives the reservation, 0 where none is needed, and how many items there is money for. Raises Paused when these
        are fewer than `least`. Costs and budgets in millionths of a dollar.
        """
        with self.write() as db:
            row = db.execute("SELECT budget FROM jobs WHERE id = ?", [job_id]).fetchone()
            of_job = row["budget"] if row else None
            if each == 0 or (budget is None and of_job is None):
                return 0, most
            granted = most
            for limit, whose in ((budget, None), (of_job, job_id)):
                if limit is not None:
                    granted = min(granted, self._affordable(db, limit, whose, each, least, now))
            until = rows.stamp(now + _RESERVED)
            sql = "INSERT INTO reservations (job_id, cost, until) VALUES (?, ?, ?)"
            return int(db.execute(sql, [job_id, granted * each, until]).lastrowid or 0), granted

    def _affordable(
        self, db: sqlite3.Connection, budget: int, job_id: int | None, each: int, least: int, now: datetime
    ) -> int:
        """How many items a budget has money for, of the home or of a job. Raises Paused for fewer than `least`."""
        at = rows.stamp(now)
        values = {"month": at[:7], "job": job_id, "now": at, "latest": rows.stamp(now + _RESERVED)}
        spent, reserved = db.execute(_SPENT, values).fetchone()
        found = max(0, budget - spent - reserved) // each
        if found < least:
            whose = f"job {job_id}'s budget" if job_id else "the budget"
            left = shown(max(0, budget - spent - reserved))
            what = f"{whose} of {shown(budget)} for {now:%B} has {left} left"
            raise Paused(f"{what}, and the next call may cost {shown(least * each)}", "xtrack usage")
        return int(found)

    def release(self, reservation: int) -> None:
        """Give back what was set aside for a call that brought nothing."""
        with self.write() as db:
            db.execute("DELETE FROM reservations WHERE id = ?", [reservation])

    def settle(self, bill: Bill) -> None:
        """Book what was bought, and nothing else."""
        with self.write() as db:
            self._settle(db, bill)

    def _settle(self, db: sqlite3.Connection, bill: Bill) -> None:
        """Book what an answer held in place of what was set aside for it, each thing once a UTC day."""
        at = rows.stamp(bill.at)
        db.execute("DELETE FROM reservations WHERE id = ?", [bill.reservation])
        db.execute("DELETE FROM bought WHERE day < ?", [rows.stamp(bill.at - timedelta(days=2))[:10]])
        counts: Counter[Resource] = Counter()
        costs: Counter[Resource] = Counter()
        for item, price in bill.items.items():
            sql = "INSERT INTO bought (day, resource, id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            if db.execute(sql, [at[:10], item.resource, item.id]).rowcount:
                counts[item.resource] += 1
                costs[item.resource] += price
        for resource, (count, cost) in bill.amounts.items():
            counts[resource], costs[resource] = count, cost
        db.executemany(
            """INSERT INTO usage (month, job_id, resource, count, cost, first_at) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET count = count + excluded.count, cost = cost + excluded.cost""",
            [(at[:7], bill.job_id, name, count, costs[name], at) for name, count in counts.items()],
        )

    def usage(self, months: Sequence[str]) -> list[Used]:
        """What was bought in some months ("2026-11"), by month, job and resource."""
        found = []
        for month in sorted(months):
            found += self.all("SELECT * FROM usage WHERE month = ? ORDER BY job_id, resource", [month])
        return [Used(**{**dict(row), "first_at": rows.known(row["first_at"])}) for row in found]

    def recall(self, name: str) -> str:
        """What was learnt under a name, "" for nothing."""
        found = self.all("SELECT value FROM learnt WHERE name = ?", [name])
        return str(found[0]["value"]) if found else ""

    def remember(self, name: str, value: str) -> None:
        """Keep what was learnt."""
        with self.write() as db:
            sql = "INSERT INTO learnt (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
            db.execute(sql, [name, value])
