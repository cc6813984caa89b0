"""What was spent in a month, by job and in all, what it comes to by its end, and the budgets."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import environ

from xtrack.context import Context
from xtrack.errors import UsageError
from xtrack.models import Job, Resource
from xtrack.settings import X, load
from xtrack.store.usage import Used

RESOURCES: tuple[Resource, ...] = ("post", "user", "media", "input_token", "output_token")


@dataclass(frozen=True)
class Spent:
    """What was bought for a job, or in all, and its cost, forecast and budget in millionths of a dollar.

    `job` is None for what was bought for none yet, for one that was deleted, and in all. The forecast is for the end of
    the month that is going on; of one that is over there is none.
    """

    job_id: int
    job: Job | None
    counts: dict[Resource, int]
    cost: int
    forecast: int | None
    budget: int | None


@dataclass(frozen=True)
class Spending:
    """A UTC month, "2026-11"; `jobs` by number, 0 being for no job yet; `x` has the prices that are set now."""

    month: str
    jobs: tuple[Spent, ...]
    total: Spent
    x: X


def spending(context: Context, month: str | None) -> Spending:
    """What was spent in a month, by default the one that is going on. Raises UsageError when it is none."""
    now = context.clock().astimezone(UTC)
    this = f"{now:%Y-%m}"
    chosen = _month(month) if month else this
    before = f"{_first_day(chosen) - timedelta(days=1):%Y-%m}"
    used, settings = context.store.usage([before, chosen]), load(context.home, environ)
    jobs = {job.id: job for job in context.jobs()}
    end = now if chosen == this else None
    budgets = {job_id: job.budget for job_id, job in jobs.items()}

    def spent(job_id: int, rows: Sequence[Used], budget: int | None) -> Spent:
        counts = {
            name: sum(row.count for row in rows if (row.month, row.resource) == (chosen, name)) for name in RESOURCES
        }
        cost = sum(row.cost for row in rows if row.month == chosen)
        forecast = cost + _to_come(rows, end, settings.x.look_back) if end else None
        return Spent(job_id, jobs.get(job_id), counts, cost, forecast, budget)

    numbers = sorted({row.job_id for row in used if row.month == chosen})
    parts = [spent(number, [row for row in used if row.job_id == number], budgets.get(number)) for number in numbers]
    return Spending(chosen, tuple(parts), spent(0, used, settings.budget), settings.x)


def _month(text: str) -> str:
    if not re.fullmatch(r"2\d{3}-(0[1-9]|1[0-2])", text, re.ASCII):
        raise UsageError(f"{text!r} is no month", "--month 2026-11")
    return text


def _first_day(month: str) -> datetime:
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def _to_come(rows: Iterable[Used], now: datetime, look_back: timedelta) -> int:
    """What the rest of the month costs if it goes on as in this month and the one before.

    Where the first purchase lies in that time, it was of the posts of the time before, too.
    """
    rows = list(rows)
    if not rows:
        return 0
    this = _first_day(f"{now:%Y-%m}")
    begin, first = _first_day(f"{this - timedelta(days=1):%Y-%m}"), min(row.first_at for row in rows)
    covered = now - first + (look_back if first > begin + timedelta(days=1) else timedelta(0))
    following = _first_day(f"{this + timedelta(days=31):%Y-%m}")
    return round(sum(row.cost for row in rows) * ((following - now) / max(covered, timedelta(days=1))))
