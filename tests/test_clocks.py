"""Clocks that are wrong by a year, by hours or by a minute: no slot is lost for good, none is done twice."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import NOON, World, write_lines
from xtrack import ledger, outcomes, slots
from xtrack.doctor import examine
from xtrack.models import Job
from xtrack.run import run_job
from xtrack.store.rows import stamp

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)

ANCHORS = {"15min": "00:10", "hourly": "00:30", "every_6_hours": "03:30", "daily": "13:30", "weekly": "Mon 08:00"}
PERIODS = {frequency: slots.calendar(frequency, at).period for frequency, at in ANCHORS.items()}

frequencies = st.sampled_from(list(ANCHORS))
few_examples = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Host:
    """The machine of one job: its clock, and the job's timer, which starts it as systemd does.

    That is at each slot of the clock, once for all that a clock set forwards, or a power cut, has leapt over, and again
    from now on where the clock was set back (systemd 252, timer_time_change and Persistent=).
    """

    def __init__(self, world: World, frequency: str, source: Path) -> None:
        self.world = world
        self.source = source
        self.posts = 0
        self.job_id = world.install(str(source), frequency=frequency, at=ANCHORS[frequency])
        self.calendar = slots.calendar(frequency, ANCHORS[frequency])
        self.timer_last = world.now

    @property
    def job(self) -> Job:
        return self.world.context.job(self.job_id)

    @property
    def now(self) -> datetime:
        return self.world.now

    def start(self) -> int:
        """Somebody has posted, and the timer starts the job."""
        self.timer_last = self.now
        write_lines(self.source, [self.posts])
        self.posts += 1
        return run_job(self.world.context, self.job_id, "timer")

    def _next(self) -> datetime:
        return slots.following(self.calendar, self.timer_last, self.world.zone)

    def set_clock(self, by: timedelta) -> None:
        """Somebody sets the clock; or by as much the machine was off, which to the timer is the same."""
        self.world.now += by
        self.timer_last = min(self.timer_last, self.now)
        if self._next() <= self.now:
            assert self.start() == 0

    def pass_(self, time: timedelta) -> list[datetime]:
        """Let time go by; gives the slots whose time it was."""
        until, reached = self.now + time, []
        while (slot := self._next()) <= until:
            self.world.now = slot
            assert self.start() == 0
            reached.append(slot)
        self.world.now = until
        return reached

    def pass_periods(self, number: float) -> list[datetime]:
        return self.pass_(number * self.calendar.period)

    def err(self, by: timedelta, time: timedelta) -> None:
        """Have the clock wrong for some time."""
        self.set_clock(by)
        self.pass_(time)
        self.set_clock(-by)

    def done(self) -> list[datetime]:
        """The slots that are done, in the order in which they were."""
        statement = "SELECT slot FROM runs WHERE job_id = ? AND closed = 1 AND state = 'done' ORDER BY id"
        return [datetime.fromisoformat(row["slot"]) for row in self.world.sql(statement, self.job_id)]

    def lost(self, reached: list[datetime]) -> list[datetime]:
        done = set(self.done())
        return [slot for slot in reached if slot not in done]

    def doubled(self) -> list[datetime]:
        return [slot for slot, times in Counter(self.done()).items() if times > 1]

    def summarised(self) -> int:
        """How many posts the job's digests were made of, and those that wait for the next one."""
        made_of = "SELECT sum(post_count) AS number FROM summaries WHERE job_id = ?"
        self.world.now = self._next()
        self.start()
        return int(self.world.sql(made_of, self.job_id)[0]["number"])


Boot = Callable[[str], Host]


@pytest.fixture
def boot(world: World, tmp_path: Path) -> Iterator[Boot]:
    """Give a function that makes a job's machine at noon, its clock right; each has a source of its own."""
    made: list[Host] = []

    def make(frequency: str) -> Host:
        world.now = NOON
        made.append(Host(world, frequency, tmp_path / f"posts-{len(made)}.jsonl"))
        write_lines(made[-1].source, [])
        return made[-1]

    yield make


def ahead(less_than: Callable[[timedelta], timedelta]) -> st.SearchStrategy[tuple[str, timedelta]]:
    """A frequency, and by how much a clock is ahead."""
    return frequencies.flatmap(
        lambda name: st.tuples(st.just(name), st.timedeltas(SECOND, less_than(PERIODS[name]) - SECOND))
    )


# Back, or ahead by less than a period: nothing is lost and nothing waits


@few_examples
@given(ahead(lambda period: min(period, 12 * HOUR)), st.integers(0, 20))
@example(("hourly", MINUTE), 1)
def test_ahead_by_less_than_a_period_every_slot_is_done_once(
    boot: Boot, wrong: tuple[str, timedelta], share: int
) -> None:
    frequency, error = wrong
    host = boot(frequency)
    reached = host.pass_periods(1.3)
    host.err(error, share * host.calendar.period / 10)
    reached += host.pass_periods(8)
    assert reached
    assert (host.lost(reached), host.doubled()) == ([], [])
    assert host.summarised() == host.posts


@few_examples
@given(frequencies, st.timedeltas(SECOND, 2 * YEAR), st.integers(0, 20))
@example("hourly", MINUTE, 1)
@example("daily", YEAR, 15)
@example("15min", 5 * HOUR, 20)
def test_back_by_any_time_every_slot_is_done_once(boot: Boot, frequency: str, error: timedelta, share: int) -> None:
    """Also those whose time it was while the clock was wrong are caught up by one run."""
    host = boot(frequency)
    host.pass_periods(3.3)
    host.err(-error, share * host.calendar.period / 10)
    assert ledger.due(host.job, host.now, host.world.zone) is None
    reached = host.pass_periods(6)
    assert reached
    assert (host.lost(reached), host.doubled()) == ([], [])
    assert host.summarised() == host.posts


@few_examples
@given(frequencies, st.lists(st.tuples(st.integers(-90, 90), st.integers(1, 300)), max_size=12))
@example("hourly", [(60, 60), (-60, 60), (61, 61)])
def test_a_clock_that_is_set_by_a_minute_again_and_again_does_each_slot_once(
    boot: Boot, frequency: str, settings_of_it: list[tuple[int, int]]
) -> None:
    host = boot(frequency)
    host.set_clock(slots.following(host.calendar, host.now, host.world.zone) - host.now - 2 * MINUTE)
    first = host.now
    for error, seconds in settings_of_it:
        host.err(error * SECOND, seconds * SECOND)
    reached = host.pass_periods(3)
    due = slots.following(host.calendar, first, host.world.zone)
    assert (host.lost([*([due] if due <= host.now else []), *reached]), host.doubled()) == ([], [])
    assert host.summarised() == host.posts


@pytest.mark.parametrize("frequency", ANCHORS)
@pytest.mark.parametrize("early", [1, 59, 60])
def test_a_start_up_to_a_minute_early_does_the_coming_slot_once(boot: Boot, frequency: str, early: int) -> None:
    host = boot(frequency)
    slot = slots.following(host.calendar, host.now, host.world.zone)
    host.world.now = slot - early * SECOND
    assert host.start() == 0
    assert host.done() == [slot]
    assert host.start() == 0
    assert host.pass_periods(2)[0] == slot
    assert (host.done()[0], host.doubled()) == (slot, [])


def test_a_start_more_than_a_minute_early_leaves_the_slot_to_its_time(boot: Boot) -> None:
    host = boot("hourly")
    slot = slots.following(host.calendar, host.now, host.world.zone)
    host.world.now = slot - 61 * SECOND
    assert host.start() == 0
    assert host.done() == []
    assert host.pass_(2 * MINUTE) == host.done() == [slot]


# Errors of all kinds, also ahead by more


def live_through(host: Host, errors: list[tuple[timedelta, int]]) -> list[datetime]:
    """Have the clock wrong by each of these for so many tenths of a period, and then right until all is past.

    Gives the slots whose time has come since it is right. The machine is off for most of a long way to the last one
    that was done ahead of its time.
    """
    host.pass_periods(1.3)
    for error, tenths in errors:
        host.err(error, tenths * host.calendar.period / 10)
        host.pass_periods(0.4)
    last = max(host.done(), default=host.now)
    reached = host.pass_periods(4)
    if host.now < last - 1.5 * DAY:
        host.set_clock(last - 1.5 * DAY - host.now)
    return reached + host.pass_(max(last - host.now, timedelta(0)) + 2 * host.calendar.period)


errors = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([YEAR, -YEAR, 5 * HOUR, -5 * HOUR, DAY, -DAY, MINUTE, -MINUTE]),
            st.timedeltas(-400 * DAY, 400 * DAY),
        ),
        st.integers(0, 20),
    ),
    min_size=1,
    max_size=3,
)


@few_examples
@given(st.sampled_from(["hourly", "every_6_hours", "daily", "weekly"]), errors)
@example("hourly", [(5 * HOUR, 20)])
@example("15min", [(3 * HOUR, 20)])
@example("hourly", [(2 * DAY, 20)])
@example("hourly", [(YEAR, 50)])
@example("daily", [(47 * HOUR, 1)])
def test_after_any_errors_every_slot_is_done_once(
    boot: Boot, frequency: str, wrong: list[tuple[timedelta, int]]
) -> None:
    """At its time, but for those that were done ahead; also when the time has come that the wrong clock told."""
    host = boot(frequency)
    reached = live_through(host, wrong)
    assert reached
    assert (host.lost(reached), host.doubled()) == ([], [])
    assert ledger.due(host.job, host.now, host.world.zone) is None
    assert host.summarised() == host.posts


@pytest.mark.parametrize("error", [5 * HOUR, YEAR], ids=str)
def test_a_run_by_hand_across_a_slot_that_was_done_ahead_does_it_no_second_time(boot: Boot, error: timedelta) -> None:
    host = boot("hourly")
    host.err(error, 2 * HOUR)
    ahead = host.done()[-1]
    host.world.now = ahead - 2 * MINUTE

    def fetching_takes_a_while() -> None:
        if host.world.said and "fetched" in host.world.said[-1]:
            host.world.now = ahead + MINUTE

    host.world.on_the_way = fetching_takes_a_while
    assert run_job(host.world.context, host.job_id, "typed") == 0
    assert host.now == ahead + MINUTE
    assert host.doubled() == []


# A job that was installed, or resumed, by a clock that was wrong


@pytest.mark.parametrize("error", [YEAR, 25 * HOUR, -HOUR, -YEAR], ids=str)
def test_a_job_installed_by_a_wrong_clock_does_each_slot_once_the_clock_is_right(boot: Boot, error: timedelta) -> None:
    host = boot("hourly")
    host.world.sql("UPDATE jobs SET schedule_since = ?", stamp(host.now + error))
    reached = host.pass_(5 * HOUR)
    assert (host.lost(reached), host.doubled()) == ([], [])
    assert len(host.done()) == 5


def test_a_job_installed_by_a_clock_less_than_a_day_ahead_waits_for_that_moment(boot: Boot) -> None:
    """What comes before is not told from what was there before the job."""
    host = boot("hourly")
    host.world.sql("UPDATE jobs SET schedule_since = ?", stamp(host.now + 5 * HOUR))
    assert host.lost(host.pass_(5 * HOUR)) == [NOON + HOUR / 2 + number * HOUR for number in range(5)]
    reached = host.pass_(3 * HOUR)
    assert (host.lost(reached), host.doubled()) == ([], [])
    assert host.summarised() == host.posts


def test_a_schedule_that_was_far_ahead_once_holds_nothing_up_when_that_moment_comes_near(boot: Boot) -> None:
    host = boot("hourly")
    host.world.sql("UPDATE jobs SET schedule_since = ?", stamp(host.now + YEAR))
    host.pass_(2 * HOUR)
    host.set_clock(YEAR - 1.1 * DAY - 2 * HOUR)
    assert host.lost(host.pass_(6 * HOUR)) == []


# Attempts that failed while the clock was wrong


@pytest.mark.parametrize("frequency", ["daily", "weekly"])
def test_a_next_try_far_ahead_does_not_keep_its_slot_open(boot: Boot, frequency: str) -> None:
    """The clock goes on by most of a period, the slot's first try fails then, and the clock is right again."""
    host = boot(frequency)
    slot = slots.following(host.calendar, host.now, host.world.zone)
    host.world.now = slot + 7 * HOUR
    assert failed_try(host) == 75
    host.world.now = slot + MINUTE
    assert host.start() == 0
    assert host.done() == [slot]


def test_a_next_try_up_to_six_hours_ahead_is_waited_for(boot: Boot) -> None:
    host = boot("daily")
    slot = slots.following(host.calendar, host.now, host.world.zone)
    host.world.now = slot + 5 * HOUR
    assert failed_try(host) == 75
    for later, done in ((MINUTE, []), (5 * HOUR, []), (5 * HOUR + 5 * MINUTE, [slot])):
        host.world.now = slot + later
        assert host.start() == 0
        assert host.done() == done


@pytest.mark.parametrize("error", [5 * HOUR, YEAR], ids=str)
def test_a_slot_that_failed_ahead_of_its_time_is_done_when_its_next_try_comes(boot: Boot, error: timedelta) -> None:
    """The timer's start finds it waiting for its next try; the slots before it are done as ever."""
    host = boot("hourly")
    host.pass_(2 * HOUR)
    host.world.now += error + HOUR
    assert failed_try(host) == 75
    [ahead] = host.world.store.runs(host.job_id, 1)
    host.world.now -= error + HOUR
    host.timer_last = host.now
    assert host.lost(host.pass_(4 * HOUR)) == []
    if error > DAY:
        host.set_clock(error - DAY - HOUR)
    reached = host.pass_(ahead.slot - host.now)
    assert host.lost(reached) == [ahead.slot]
    host.world.now = ahead.next_try
    assert host.start() == 0
    assert (host.lost(reached), host.doubled()) == ([], [])


def failed_try(host: Host) -> int:
    """Start the job while its source is away."""
    away = host.source.rename(host.source.with_suffix(".away"))
    try:
        return run_job(host.world.context, host.job_id, "timer")
    finally:
        away.rename(host.source)


# What doctor says


def ledger_check(host: Host) -> tuple[bool, str]:
    [check] = [check for check in examine(host.world.context) if check.name == "ledger"]
    return check.ok, check.detail


def test_doctor_tells_of_slots_done_ahead_until_their_time_has_come(boot: Boot) -> None:
    host = boot("hourly")
    assert ledger_check(host) == (True, "no slot is done before its time")
    host.err(YEAR, 2 * HOUR)
    said = f"the clock was wrong once: job {host.job_id} did slots that are to come; they are not counted"
    assert ledger_check(host) == (False, said)
    host.pass_(2 * HOUR)
    assert ledger_check(host) == (False, said)
    host.set_clock(YEAR)
    assert ledger_check(host)[0]


def test_doctor_tells_of_a_schedule_that_starts_ahead(boot: Boot) -> None:
    host = boot("hourly")
    host.world.sql("UPDATE jobs SET schedule_since = ?", stamp(host.now + 2 * MINUTE + SECOND))
    assert not ledger_check(host)[0]
    host.pass_(SECOND)
    assert ledger_check(host)[0]


def test_after_a_clock_that_was_back_doctor_has_nothing_to_say(boot: Boot) -> None:
    host = boot("hourly")
    host.pass_(3 * HOUR)
    host.err(-YEAR, 2 * HOUR)
    assert ledger_check(host)[0]
    assert [status.overdue for status in outcomes.statuses(host.world.context, [host.job])] == [None]
