"""What a job owes: the due slot, what was missed before it, when it is tried again, and clocks that were wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import BERLIN, JOB
from tests.test_slots import between, frequencies, places, utc
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
    ("frequency", "seconds"),
    [("1min", 5), ("4min", 5), ("5min", 60), ("30min", 60), ("hourly", 60), ("daily", 60), ("weekly", 60)],
)
def test_short_periods_have_little_tolerance(frequency: str, seconds: int) -> None:
    assert ledger.tolerance(replace(HOURLY, frequency=frequency)) == timedelta(seconds=seconds)


def test_the_next_run_is_the_next_slot() -> None:
    assert ledger.next_run(HOURLY, at("10:30"), BERLIN) == at("11:30")


# whatever the clock does and the timers do

# What happens between one start and the next: nothing, some time, a sleep of days.
passing = st.one_of(
    st.just(timedelta(0)),
    st.timedeltas(timedelta(0), timedelta(hours=2)),
    st.timedeltas(timedelta(0), timedelta(days=9)),
)
jitter = st.one_of(st.just(timedelta(0)), st.timedeltas(timedelta(seconds=-30), timedelta(seconds=30)))
shifts = st.one_of(st.just(timedelta(0)), st.timedeltas(timedelta(hours=-3), timedelta(hours=3)))
absurd_shifts = st.one_of(shifts, st.timedeltas(timedelta(days=-500), timedelta(days=500)))
by_timer = st.booleans()


class Diary:
    """A job's slots as its starts close them, one after the other, and how many each found missed."""

    def __init__(self, frequency: str, since: datetime, zone: tzinfo) -> None:
        at = slots.anchor(frequency, None, since.astimezone(zone))
        self.job = replace(JOB, frequency=frequency, at=at, created_at=since, schedule_since=since)
        self.zone, self.now = zone, since
        self.closed: dict[datetime, int] = {}

    def start(self, by_timer: bool) -> None:
        """Do what is due; right afterwards nothing is."""
        early = ledger.tolerance(self.job) if by_timer else timedelta(0)
        slot = ledger.due(self._known(), self.now, self.zone, early)
        if slot:
            assert slot not in self.closed
            assert slot <= self.now + early
            self.closed[slot] = ledger.missed(self._known(), slot, self.now, self.zone)
        assert ledger.due(self._known(), self.now, self.zone, early) is None

    def _known(self) -> Job:
        """The job as the store gives it: closed slots after the horizon are not looked at."""
        seen = (slot for slot in self.closed if slot <= ledger.horizon(self.now))
        return replace(self.job, closed_slot=max(seen, default=None))


Starts = list[tuple[timedelta, timedelta, bool]]


def lived(frequency: str, place: tuple[datetime, ZoneInfo], starts: Starts) -> tuple[Diary, int]:
    """A diary after starts that are doubled, early, late, in the repeated hour or after sleeps, by a clock that errs.

    Gives it with the number of slots since its beginning.
    """
    since, zone = place
    diary, true = Diary(frequency, since, zone), since
    for time, wrong, by_timer in starts:
        true += time
        diary.now = true + wrong
        diary.start(by_timer)
    # Two weeks: one of them may have no weekly slot.
    diary.now = true + timedelta(days=14)
    diary.start(by_timer=False)
    cal, last = slots.calendar(frequency, diary.job.at), max(diary.closed)
    assert last == slots.latest(cal, diary.now, zone)
    assert all(between(cal, slot - MINUTE, slot + MINUTE, zone) == [slot] for slot in diary.closed)
    return diary, 1 + slots.count(cal, since, last, zone)


@example(
    "5min",
    (datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("Asia/Kolkata")),
    [(timedelta(minutes=14), timedelta(0), True), (timedelta(0), timedelta(seconds=-30), False)],
)
@given(frequencies, places(), st.lists(st.tuples(passing, jitter, by_timer), max_size=12))
def test_every_slot_is_done_or_missed_once(frequency: str, place: tuple[datetime, ZoneInfo], starts: Starts) -> None:
    diary, number = lived(frequency, place, starts)
    assert len(diary.closed) + sum(diary.closed.values()) == number


@given(frequencies, places(), st.lists(st.tuples(passing, shifts, by_timer), max_size=12))
def test_every_slot_is_done_or_missed_by_a_clock_that_is_hours_wrong(
    frequency: str, place: tuple[datetime, ZoneInfo], starts: Starts
) -> None:
    """Also both: one that a clock ahead found missed is done when its time comes."""
    diary, number = lived(frequency, place, starts)
    assert len(diary.closed) + sum(diary.closed.values()) >= number


@given(frequencies, places(), st.lists(st.tuples(passing, absurd_shifts, by_timer), max_size=12))
def test_no_slot_is_done_twice_nor_left_open_however_wrong_the_clock_was(
    frequency: str, place: tuple[datetime, ZoneInfo], starts: list[tuple[timedelta, timedelta, bool]]
) -> None:
    since, zone = place
    diary = Diary(frequency, since, zone)
    for time, wrong, by_timer in starts:
        diary.now += time + wrong
        diary.start(by_timer)
    diary.now = max(diary.now, since, *diary.closed) + timedelta(days=14)
    diary.start(by_timer=False)
    assert max(diary.closed) == slots.latest(slots.calendar(frequency, diary.job.at), diary.now, zone)


@given(frequencies, places())
def test_the_next_run_is_the_first_that_will_be_due(frequency: str, place: tuple[datetime, ZoneInfo]) -> None:
    now, zone = place
    job = Diary(frequency, now, zone).job
    slot = ledger.next_run(job, now, zone)
    assert slot is not None
    assert ledger.due(job, slot - timedelta(microseconds=1), zone) is None
    assert owing(job, slot, zone) == (slot, 0)
    assert ledger.due(job, slot - ledger.tolerance(job), zone, ledger.tolerance(job)) == slot


@given(frequencies, places(), st.timedeltas(timedelta(0), timedelta(days=10)))
def test_what_is_due_and_missed_are_all_slots_since_the_last_closed_one(
    frequency: str, place: tuple[datetime, ZoneInfo], later: timedelta
) -> None:
    since, zone = place
    job, now = Diary(frequency, since, zone).job, since + later
    owed = between(slots.calendar(frequency, job.at), since, now + timedelta(microseconds=1), zone)
    assert owing(job, now, zone) == ((owed[-1], len(owed) - 1) if owed else None)
    if owed:
        assert ledger.due(replace(job, closed_slot=owed[-1]), now, zone) is None


def test_starts_within_the_repeated_hour_do_nothing() -> None:
    """What systemd names there from a base inside it, after the first of the two hours."""
    day = datetime(2026, 10, 25, tzinfo=UTC)
    job = replace(HOURLY, frequency="15min", at="00:00", schedule_since=day, closed_slot=day + 45 * MINUTE)
    for minutes in range(60, 120, 15):
        assert ledger.due(job, day + minutes * MINUTE, BERLIN, ledger.tolerance(job)) is None
        assert ledger.next_run(job, day + minutes * MINUTE, BERLIN) == day + 120 * MINUTE
    assert owing(job, day + 120 * MINUTE, BERLIN) == (day + 120 * MINUTE, 0)


@pytest.mark.parametrize(
    ("frequency", "anchor", "closed", "now", "slot", "missed"),
    [
        # On Monday nothing was missed at the weekend; after a week's sleep five were.
        ("weekdays", "08:00", "2027-01-15T07:00", "2027-01-18T07:00", "2027-01-18T07:00", 0),
        ("weekdays", "08:00", "2027-01-15T07:00", "2027-01-25T12:00", "2027-01-25T07:00", 5),
        ("weekly", "Mon 08:00", "2027-01-11T07:00", "2027-01-18T07:00", "2027-01-18T07:00", 0),
        ("weekly", "Mon 08:00", "2027-01-11T07:00", "2027-02-03T12:00", "2027-02-01T07:00", 2),
        # The clock leaps over it on 2027-03-28.
        ("weekly", "Sun 02:30", "2027-03-21T01:30", "2027-04-04T00:30", "2027-04-04T00:30", 0),
    ],
)
def test_what_a_job_with_weekdays_owes(
    frequency: str, anchor: str, closed: str, now: str, slot: str, missed: int
) -> None:
    job = replace(
        HOURLY, frequency=frequency, at=anchor, closed_slot=utc(closed), schedule_since=utc("2027-01-01T00:00")
    )
    assert owing(job, utc(now), BERLIN) == (utc(slot), missed)


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
