"""What a job owes: the due slot, what was missed before it, when it is tried again, and clocks that were wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BERLIN, JOB
from xtrack import ledger, slots
from xtrack.models import Attempts, Job


def at(text: str) -> datetime:
    """A time of 2027-01-15 in UTC; Berlin is an hour ahead."""
    return datetime.fromisoformat(f"2027-01-15T{text}").replace(tzinfo=UTC)


def owing(job: Job, now: datetime, zone: tzinfo, early: timedelta = timedelta(0)) -> tuple[datetime, int] | None:
    """The due slot and how many were missed before it."""
    slot = ledger.due(job, now, zone, early)
    return (slot, ledger.missed(job, slot, now, zone)) if slot else None


# An hourly job, installed at 10:10, with slots at half past.
HOURLY = replace(JOB, frequency="hourly", at="00:30", created_at=at("10:10"), schedule_since=at("10:10"))
MINUTE = timedelta(minutes=1)


def test_a_new_job_owes_nothing_before_its_first_slot() -> None:
    assert ledger.due(HOURLY, at("10:29:59"), BERLIN) is None


def test_a_slot_is_due_from_its_instant_on() -> None:
    assert owing(HOURLY, at("10:30"), BERLIN) == (at("10:30"), 0)


def test_a_slot_at_the_instant_of_installation_is_not_due() -> None:
    assert ledger.due(replace(HOURLY, schedule_since=at("10:30")), at("10:45"), BERLIN) is None


def test_a_closed_slot_is_done() -> None:
    assert ledger.due(replace(HOURLY, closed_slot=at("12:30")), at("13:29"), BERLIN) is None


def test_slots_that_passed_are_missed_and_the_latest_is_due() -> None:
    done = replace(HOURLY, closed_slot=at("12:30"))
    assert owing(done, at("16:35"), BERLIN) == (at("16:30"), 3)


def test_before_the_first_closed_slot_they_are_counted_from_installation() -> None:
    assert owing(HOURLY, at("13:00"), BERLIN) == (at("12:30"), 2)


def test_resuming_forgets_what_passed_meanwhile() -> None:
    resumed = replace(HOURLY, closed_slot=at("10:30"), schedule_since=at("15:00"))
    assert ledger.due(resumed, at("15:29"), BERLIN) is None
    assert owing(resumed, at("15:30"), BERLIN) == (at("15:30"), 0)


def test_a_paused_job_owes_nothing_and_has_no_next_run() -> None:
    paused = replace(HOURLY, paused=True)
    assert ledger.due(paused, at("16:35"), BERLIN) is None
    assert ledger.next_run(paused, at("16:35"), BERLIN) is None


def test_a_timer_may_be_early_by_its_tolerance() -> None:
    early = ledger.tolerance(HOURLY)
    assert owing(HOURLY, at("10:29:00"), BERLIN, early) == (at("10:30"), 0)
    assert ledger.due(HOURLY, at("10:28:59"), BERLIN, early) is None


@pytest.mark.parametrize(
    ("frequency", "seconds"), [("1min", 5), ("4min", 5), ("5min", 60), ("30min", 60), ("hourly", 60), ("daily", 60)]
)
def test_short_periods_have_little_tolerance(frequency: str, seconds: int) -> None:
    assert ledger.tolerance(replace(HOURLY, frequency=frequency)) == timedelta(seconds=seconds)


def test_the_next_run_is_the_next_slot() -> None:
    assert ledger.next_run(HOURLY, at("10:30"), BERLIN) == at("11:30")


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from(["hourly", "every_6_hours", "daily", "30min"]))
def test_what_is_due_and_missed_are_all_slots_since_the_last_closed_one(
    installed: int, later: int, frequency: str
) -> None:
    since = at("00:00") + timedelta(minutes=30 * installed)
    now = since + timedelta(minutes=17 * later)
    job = replace(HOURLY, frequency=frequency, schedule_since=since)
    due = owing(job, now, BERLIN)
    cal = slots.calendar(frequency, job.at)
    owed = slots.count(cal, since, now + timedelta(microseconds=1), BERLIN)
    assert (due[1] + 1 if due else 0) == owed


@given(st.integers(0, 3000))
def test_closing_what_is_due_leaves_nothing_due(minutes: int) -> None:
    now = at("10:10") + timedelta(minutes=minutes)
    due = ledger.due(HOURLY, now, BERLIN)
    if due:
        assert ledger.due(replace(HOURLY, closed_slot=due), now, BERLIN) is None


# trying again


def test_a_slot_that_was_never_tried_is_to_be_tried() -> None:
    assert ledger.is_to_be_tried(Attempts(), at("10:30"))


def test_a_failed_slot_is_tried_when_its_time_has_come() -> None:
    attempts = Attempts(1, at("10:30"), next_try=at("10:35"))
    assert not ledger.is_to_be_tried(attempts, at("10:33:59"))
    assert ledger.is_to_be_tried(attempts, at("10:35"))


def test_the_coming_minute_counts_as_come() -> None:
    assert ledger.is_to_be_tried(Attempts(1, at("10:30"), next_try=at("10:35")), at("10:34:00"))


def test_retries_are_counted_from_the_first_attempt() -> None:
    assert ledger.retry_at(HOURLY, Attempts(1, at("10:30")), at("10:31")) == at("10:36")
    assert ledger.retry_at(HOURLY, Attempts(2, at("10:30")), at("10:37")) == at("10:47")
    assert ledger.retry_at(HOURLY, Attempts(3, at("10:30")), at("10:48")) is None


def test_a_retry_that_would_be_later_than_half_a_period_after_the_first_is_none() -> None:
    assert ledger.retry_at(HOURLY, Attempts(1, at("10:30")), at("10:56")) is None


# clocks that were wrong


def test_a_closed_slot_far_ahead_is_ignored() -> None:
    job = replace(HOURLY, closed_slot=at("10:30") + timedelta(days=365))
    assert owing(job, at("11:30"), BERLIN) == (at("11:30"), 1)


def test_a_schedule_that_starts_far_ahead_is_ignored() -> None:
    job = replace(HOURLY, schedule_since=at("10:30") + timedelta(days=365))
    assert owing(job, at("11:30"), BERLIN) == (at("11:30"), 0)
    assert ledger.due(replace(job, closed_slot=at("11:30")), at("11:31"), BERLIN) is None


def test_a_schedule_that_starts_within_a_day_is_waited_for() -> None:
    job = replace(HOURLY, schedule_since=at("10:30") + timedelta(days=1))
    assert ledger.due(job, at("10:30"), BERLIN) is None


def test_a_next_try_far_ahead_is_ignored() -> None:
    now = at("10:30")
    assert not ledger.is_to_be_tried(Attempts(1, now, now + timedelta(hours=6)), now)
    assert ledger.is_to_be_tried(Attempts(1, now, now + timedelta(hours=6, seconds=1)), now)
