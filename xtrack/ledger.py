"""What a job owes: its open slot, whether that is to be tried now, and its next run. Pure.

Slots have no table. The due slot is the latest one <= now that is later than the job's schedule_since and than its last
closed slot; slots before it are missed, counted on the run that catches up.
"""

from datetime import datetime, timedelta, tzinfo

from xtrack import slots
from xtrack.models import Attempts, Job

_EARLIEST = timedelta(minutes=1)
_CLOCK_WAS_WRONG = timedelta(hours=6)
_AS_GOOD_AS_COME = timedelta(minutes=1)


def horizon(now: datetime) -> datetime:
    """No slot is closed earlier, by a clock that was set back by a minute since: those after this come from one that
    was wrong, and count when their time comes.
    """
    return now + 2 * _EARLIEST


def is_absurd(since: datetime, now: datetime) -> bool:
    """Whether a schedule_since comes from a clock that was wrong by so much that nobody waits for it."""
    return since > now + timedelta(days=1)


def period(job: Job) -> timedelta:
    """From one slot to the next; the shortest such time, where they differ."""
    return slots.calendar(job.frequency, job.at).period


def tolerance(job: Job) -> timedelta:
    """How much too early a timer's start may be (AccuracySec=, a clock that was just set)."""
    return timedelta(seconds=5) if period(job) < timedelta(minutes=5) else _EARLIEST


def _done(job: Job, now: datetime) -> datetime | None:
    """Up to when nothing is owed; None when all that is known of it comes from a clock that was wrong."""
    since = None if is_absurd(job.schedule_since, now) else job.schedule_since
    closed = job.closed_slot if job.closed_slot and job.closed_slot <= horizon(now) else None
    return max((moment for moment in (since, closed) if moment), default=None)


def due(job: Job, now: datetime, zone: tzinfo, early: timedelta = timedelta(0)) -> datetime | None:
    """The job's open slot at now + early, or None. A paused job has none."""
    if job.paused:
        return None
    slot, done = slots.latest(slots.calendar(job.frequency, job.at), now + early, zone), _done(job, now)
    return slot if done is None or slot > done else None


def missed(job: Job, slot: datetime, now: datetime, zone: tzinfo) -> int:
    """How many slots before the open one are not closed."""
    done = _done(job, now)
    return slots.count(slots.calendar(job.frequency, job.at), done, slot, zone) if done else 0


def is_to_be_tried(attempts: Attempts, now: datetime) -> bool:
    """Whether an open slot's time has come: never tried, or next_try within the coming minute, or absurdly far."""
    if attempts.count == 0 or attempts.next_try is None:
        return True
    return has_come(attempts.next_try, now)


def has_come(next_try: datetime, now: datetime) -> bool:
    """Whether what is to be tried again is to be now: within the coming minute, or by a clock that was wrong."""
    return next_try <= now + _AS_GOOD_AS_COME or next_try > now + _CLOCK_WAS_WRONG


def next_run(job: Job, now: datetime, zone: tzinfo) -> datetime | None:
    """The job's next slot, None for a paused job."""
    if job.paused:
        return None
    return slots.following(slots.calendar(job.frequency, job.at), now, zone)


def retry_at(job: Job, attempts: Attempts, since: datetime, earliest: datetime | None = None) -> datetime | None:
    """When the slot is tried again after these attempts, the last of which ended at `since`, and not before `earliest`;
    None: give up.
    """
    cal = slots.calendar(job.frequency, job.at)
    return slots.retry_at(cal, attempts.first or since, attempts.count, since, earliest)
