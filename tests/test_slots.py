"""Slots: what frequencies name, on days of 23, 24 and 25 hours, and that systemd names the same."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BERLIN, JOB
from xtrack import slots
from xtrack.errors import UsageError
from xtrack.scheduler.units import on_calendar
from xtrack.slots import Calendar

MINUTES = ["1min", "2min", "3min", "4min", "5min", "6min", "10min", "12min", "15min", "20min", "30min"]
HOURS = [f"every_{hours}_hours" for hours in (2, 3, 4, 6, 8, 12)]
FREQUENCIES = ["hourly", *HOURS, "daily", "weekdays", "weekly", *MINUTES]
# Half an hour of summer time, changes at midnight, half hours all year, and the usual ones.
ZONES = [
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/New_York",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Kolkata",
    "UTC",
]
# Changes of an hour, of half an hour, and at midnight.
SOME_ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Beirut")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MIDSUMMER = datetime(2026, 7, 15, tzinfo=UTC)


def times_of(cal: Calendar) -> list[time]:
    """The local times of a day."""
    return [time(hour, minute) for hour in cal.hours for minute in cal.minutes]


@cache
def changes(zone: ZoneInfo) -> list[datetime]:
    """The instants at which the zone's clock is put on or back, in two years."""
    halves = [NEW_YEAR + timedelta(minutes=30 * n) for n in range(2 * 365 * 48)]
    offsets = [half.astimezone(zone).utcoffset() for half in halves]
    return [half for half, before, now in zip(halves[1:], offsets, offsets[1:], strict=False) if before != now]


@st.composite
def places(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """A zone, and a moment of five years there; half of them near a change of its clock, if it has any."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    near = st.timedeltas(timedelta(hours=-30), timedelta(hours=30))
    if changes(zone) and draw(st.booleans()):
        return draw(st.sampled_from(changes(zone))) + draw(near), zone
    return draw(moments), zone


moments = st.integers(0, 5 * 365 * 24 * 3600).map(lambda s: NEW_YEAR + timedelta(seconds=s))
frequencies = st.sampled_from(FREQUENCIES)
# What a job has that was made at any moment without --at.
schedules = st.tuples(frequencies, moments).map(lambda made: (made[0], slots.anchor(made[0], None, made[1])))
calendars = schedules.map(lambda schedule: slots.calendar(*schedule))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(cal: Calendar, after: datetime, before: datetime, zone: ZoneInfo) -> list[datetime]:
    """The slots strictly between two instants, found without slots.py: each minute whose local time is one, once."""
    times = set(times_of(cal))
    minute = after.replace(second=0, microsecond=0)
    found = []
    while (minute := minute + timedelta(minutes=1)) < before:
        local = minute.astimezone(zone)
        if local.time() in times and local.weekday() in cal.weekdays and local.fold == 0:
            found.append(minute)
    return found


def walked(cal: Calendar, after: datetime, before: datetime, zone: ZoneInfo) -> list[datetime]:
    """The slots strictly between two instants, one after the other."""
    found = []
    while (after := slots.following(cal, after, zone)) < before:
        found.append(after)
    return found


# frequencies and anchors


@pytest.mark.parametrize(
    ("typed", "frequency"),
    [
        *((frequency, frequency) for frequency in FREQUENCIES),
        *((f"every_{number}_minutes", f"{number}min") for number in (1, 15, 30)),
        (" Daily ", "daily"),
        ("WeekDays", "weekdays"),
        ("every-6-hours", "every_6_hours"),
        ("every 6 hours", "every_6_hours"),
        ("EVERY_12_HOURS", "every_12_hours"),
        ("05min", "5min"),
        ("15m", "15min"),
        ("15 minutes", "15min"),
        ("1 minute", "1min"),
        ("every-15-minutes", "15min"),
        ("60min", "hourly"),
        ("60m", "hourly"),
        ("1h", "hourly"),
        ("1 hour", "hourly"),
        ("2h", "every_2_hours"),
        ("2 hours", "every_2_hours"),
        ("6H", "every_6_hours"),
        ("24h", "daily"),
        ("every_24_hours", "daily"),
    ],
)
def test_frequencies_have_one_spelling(typed: str, frequency: str) -> None:
    assert slots.canonical(typed) == frequency


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "often", "monthly", "min", "h", "every", "every_hours", "week", "everyday"),
        *("7min", "0min", "00m", "-5min", "120min", "90min", "1.5min", "5min\n6", "5 mins", "5 seconds"),
        *("5h", "0h", "48h", "168h", "16 hours", "every_5_hours", "-6h", "every every_6_hours"),
        *("٥min", "² h", "2 ℎ", "６h"),
    ],
)
def test_other_words_are_no_frequency_and_the_hint_has_the_allowed_ones(typed: str) -> None:
    with pytest.raises(UsageError, match="is no frequency") as error:
        slots.canonical(typed)
    assert slots.ALLOWED in error.value.hint


def test_the_hint_lists_every_frequency_and_no_other() -> None:
    listed = []
    for word, others in re.findall(r"(\w+)(?: \(or ([\d, ]+)\))?", slots.ALLOWED):
        listed += [word, *(re.sub(r"\d+", number, word) for number in re.findall(r"\d+", others))]
    assert sorted(listed) == sorted(FREQUENCIES)


A_FRIDAY = datetime(2027, 1, 1, 7, 5, 59, tzinfo=BERLIN)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_without_at_the_anchor_is_the_minute_of_creation(frequency: str) -> None:
    assert slots.anchor(frequency, None, A_FRIDAY) == ("Fri 07:05" if frequency == "weekly" else "07:05")


@pytest.mark.parametrize("frequency", ["hourly", *HOURS, "daily", "weekdays"])
@pytest.mark.parametrize(
    ("typed", "at"), [("07:30", "07:30"), ("7:30", "07:30"), (" 23:59 ", "23:59"), ("0:00", "00:00")]
)
def test_at_is_a_time_of_day(frequency: str, typed: str, at: str) -> None:
    assert slots.anchor(frequency, typed, A_FRIDAY) == at


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ("Mon 08:00", "Mon 08:00"),
        ("Monday 8:00", "Mon 08:00"),
        ("tue 23:59", "Tue 23:59"),
        ("WEDNESDAY 00:00", "Wed 00:00"),
        ("thu 9:05", "Thu 09:05"),
        ("fRi 9:05", "Fri 09:05"),
        (" Sat  9:05 ", "Sat 09:05"),
        ("sunday 12:00", "Sun 12:00"),
    ],
)
def test_at_of_weekly_has_its_weekday_too(typed: str, at: str) -> None:
    assert slots.anchor("weekly", typed, A_FRIDAY) == at


NO_TIMES = [
    "25:00",
    "24:00",
    "12:60",
    "12",
    "12:5",
    "12:00:00",
    "noon",
    "",
    "-1:00",
    "١٢:00",
    "٨:00",
    "08:0٥",
    ":30",
    "12:",
    "8.00",
]


@pytest.mark.parametrize("typed", [*NO_TIMES, "Mon 08:00", "monday 08:00"])
def test_what_is_no_time_of_day_is_refused(typed: str) -> None:
    for frequency in ("hourly", "every_6_hours", "daily", "weekdays"):
        with pytest.raises(UsageError, match="is no time of day") as error:
            slots.anchor(frequency, typed, A_FRIDAY)
        assert "HH:MM" in error.value.hint
        assert "a weekday is for weekly alone" in error.value.hint


@pytest.mark.parametrize(
    "typed",
    [
        *NO_TIMES,
        *(f"Mon {typed}" for typed in NO_TIMES),
        *(
            "08:00",
            "Mon",
            "Mon08:00",
            "Mo 08:00",
            "Mond 08:00",
            "day 08:00",
            "08:00 Mon",
            "Mon Tue 08:00",
            "Mon,Tue 08:00",
        ),
    ],
)
def test_what_is_no_weekday_with_a_time_of_day_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="is no weekday with a time of day") as error:
        slots.anchor("weekly", typed, A_FRIDAY)
    assert "'Mon 08:00'" in error.value.hint


@pytest.mark.parametrize("typed", ["07:30", "Mon 07:30", ""])
def test_minute_periods_refuse_at(typed: str) -> None:
    for frequency in MINUTES:
        with pytest.raises(UsageError, match=f"^{frequency} takes no --at") as error:
            slots.anchor(frequency, typed, A_FRIDAY)
        assert "leave --at out" in error.value.hint


@pytest.mark.parametrize(
    ("frequency", "at", "kept"),
    [
        ("hourly", "17:42", "17:42"),
        ("every_6_hours", "Mon 08:00", "08:00"),
        ("daily", "08:00", "08:00"),
        ("weekdays", "Sun 08:00", "08:00"),
        ("weekly", "Mon 08:00", "Mon 08:00"),
        ("weekly", "08:00", "Fri 08:00"),
        ("5min", "17:42", "17:42"),
        ("5min", "Mon 08:00", "08:00"),
    ],
)
def test_another_frequency_keeps_the_time_of_day(frequency: str, at: str, kept: str) -> None:
    assert slots.kept(frequency, at, A_FRIDAY) == kept


@pytest.mark.parametrize(
    ("frequency", "at", "first", "number"),
    [
        ("hourly", "17:42", time(0, 42), 24),
        ("every_6_hours", "14:15", time(2, 15), 4),
        ("every_12_hours", "12:00", time(0, 0), 2),
        ("every_2_hours", "17:42", time(1, 42), 12),
        ("every_3_hours", "17:42", time(2, 42), 8),
        ("every_4_hours", "17:42", time(1, 42), 6),
        ("every_8_hours", "17:42", time(1, 42), 3),
        ("daily", "23:59", time(23, 59), 1),
        ("weekdays", "00:00", time(0, 0), 1),
        ("weekly", "Wed 08:00", time(8, 0), 1),
        ("1min", "10:10", time(0, 0), 1440),
        ("20min", "10:45", time(0, 5), 72),
    ],
)
def test_a_calendar_has_the_anchor_modulo_the_period(frequency: str, at: str, first: time, number: int) -> None:
    times = times_of(slots.calendar(frequency, at))
    assert (times[0], len(times)) == (first, number)


@pytest.mark.parametrize(
    ("frequency", "days", "weekdays"),
    [("daily", 1, range(7)), ("weekdays", 1, range(5)), ("weekly", 7, [2]), ("hourly", 1 / 24, range(7))],
)
def test_a_calendar_has_its_weekdays_and_its_period(frequency: str, days: float, weekdays: Sequence[int]) -> None:
    cal = slots.calendar(frequency, "Wed 08:00" if frequency == "weekly" else "08:00")
    assert (cal.period, cal.weekdays) == (timedelta(days=days), tuple(weekdays))


@given(schedules)
def test_the_anchor_is_a_slot_of_its_day(schedule: tuple[str, str]) -> None:
    assert time.fromisoformat(schedule[1][-5:]) in times_of(slots.calendar(*schedule))


@given(frequencies, moments)
def test_the_minute_of_creation_is_a_slot_unless_at_a_weekend(frequency: str, moment: datetime) -> None:
    cal = slots.calendar(frequency, slots.anchor(frequency, None, moment))
    minute = moment.replace(second=0)
    assert (slots.latest(cal, moment, UTC) == minute) is (frequency != "weekdays" or moment.weekday() < 5)


# several jobs at once


@pytest.mark.parametrize(
    ("frequency", "at", "number", "spread"),
    [
        ("hourly", "17:42", 1, ["17:42"]),
        ("hourly", "17:42", 4, ["17:42", "17:57", "18:12", "18:27"]),
        ("daily", "23:50", 3, ["23:50", "00:10", "00:30"]),
        ("weekdays", "23:50", 2, ["23:50", "23:55"]),
        ("weekly", "Sun 23:50", 3, ["Sun 23:50", "Mon 00:10", "Mon 00:30"]),
        ("weekly", "Wed 08:00", 2, ["Wed 08:00", "Wed 08:30"]),
        ("every_12_hours", "11:59", 2, ["11:59", "12:29"]),
        ("5min", "08:03", 5, ["08:03", "08:04", "08:05", "08:06", "08:07"]),
        ("5min", "23:58", 2, ["23:58", "00:00"]),
        ("1min", "08:03", 3, ["08:03", "08:03", "08:03"]),
        ("30min", "08:03", 4, ["08:03", "08:10", "08:18", "08:25"]),
    ],
)
def test_jobs_installed_together_have_anchors_apart(frequency: str, at: str, number: int, spread: list[str]) -> None:
    assert [slots.spread(frequency, at, index, number) for index in range(number)] == spread


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_of_a_thousand_jobs_no_minute_has_more_than_its_share(frequency: str) -> None:
    at = slots.anchor(frequency, None, A_FRIDAY)
    anchors = [slots.spread(frequency, at, index, 1000) for index in range(1000)]
    minutes = Counter(slots.calendar(frequency, anchor) for anchor in anchors)
    span = int(frequency.removesuffix("min")) if frequency in MINUTES else 60
    assert (anchors[0], len(minutes)) == (at, span)
    assert set(minutes.values()) <= {1000 // span, -(-1000 // span)}


@given(schedules, st.integers(1, 2000), st.data())
def test_a_spread_anchor_is_one_that_may_be_typed(schedule: tuple[str, str], number: int, data: st.DataObject) -> None:
    frequency, at = schedule
    index = data.draw(st.integers(0, number - 1))
    spread = slots.spread(frequency, at, index, number)
    assert spread == (slots.kept if frequency in MINUTES else slots.anchor)(frequency, spread, A_FRIDAY)
    first = slots.following(slots.calendar(frequency, at), NEW_YEAR, UTC)
    later = slots.following(slots.calendar(frequency, spread), first - timedelta(minutes=1), UTC) - first
    room = min(slots.calendar(frequency, at).period, timedelta(hours=1)) // timedelta(minutes=1)
    if frequency == "weekdays":
        room = min(room, 24 * 60 - 60 * int(at[:2]) - int(at[3:]))
    assert later == timedelta(minutes=index * room // number)


# weekdays


def test_weekdays_leave_the_weekend_out() -> None:
    weekdays = slots.calendar("weekdays", "08:00")
    assert walked(weekdays, utc("2027-01-07T12:00"), utc("2027-01-12T12:00"), BERLIN) == [
        utc("2027-01-08T07:00"),
        utc("2027-01-11T07:00"),
        utc("2027-01-12T07:00"),
    ]
    assert slots.latest(weekdays, utc("2027-01-11T06:59"), BERLIN) == utc("2027-01-08T07:00")
    assert slots.count(weekdays, utc("2027-01-08T07:00"), utc("2027-01-11T07:00"), BERLIN) == 0


def test_the_weekday_is_the_zone_s() -> None:
    monday = slots.calendar("weekly", "Mon 00:30")
    assert slots.following(monday, utc("2027-01-08T12:00"), BERLIN) == utc("2027-01-10T23:30")
    assert slots.following(monday, utc("2027-01-08T12:00"), ZoneInfo("America/New_York")) == utc("2027-01-11T05:30")


def test_weekly_has_a_slot_every_seven_days_of_the_wall_clock() -> None:
    friday = slots.calendar("weekly", "Fri 18:00")
    assert walked(friday, utc("2027-03-19T12:00"), utc("2027-04-04T12:00"), BERLIN) == [
        utc("2027-03-19T17:00"),
        utc("2027-03-26T17:00"),
        utc("2027-04-02T16:00"),
    ]


def test_weekly_is_left_out_where_its_time_is_in_the_spring_gap_of_its_weekday() -> None:
    sunday = slots.calendar("weekly", "Sun 02:30")
    assert walked(sunday, utc("2027-03-15T12:00"), utc("2027-04-05T12:00"), BERLIN) == [
        utc("2027-03-21T01:30"),
        utc("2027-04-04T00:30"),
    ]
    assert slots.latest(sunday, utc("2027-04-03T12:00"), BERLIN) == utc("2027-03-21T01:30")
    assert slots.count(sunday, utc("2027-03-21T01:30"), utc("2027-04-04T00:30"), BERLIN) == 0


# days with a change of the clock


def test_a_time_in_the_spring_gap_is_no_slot() -> None:
    daily = slots.calendar("daily", "02:30")
    assert walked(daily, utc("2027-03-26T12:00"), utc("2027-03-30T12:00"), BERLIN) == [
        utc("2027-03-27T01:30"),
        utc("2027-03-29T00:30"),
        utc("2027-03-30T00:30"),
    ]


def test_of_the_repeated_hour_the_first_is_the_slot() -> None:
    daily = slots.calendar("daily", "02:30")
    assert walked(daily, utc("2026-10-24T12:00"), utc("2026-10-26T12:00"), BERLIN) == [
        utc("2026-10-25T00:30"),
        utc("2026-10-26T01:30"),
    ]


def test_an_hourly_job_has_no_slot_in_the_second_of_the_repeated_hours() -> None:
    hourly = slots.calendar("hourly", "00:30")
    assert slots.latest(hourly, utc("2026-10-25T01:45"), BERLIN) == utc("2026-10-25T00:30")
    assert slots.following(hourly, utc("2026-10-25T00:30"), BERLIN) == utc("2026-10-25T02:30")


def test_lord_howe_changes_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    half_hourly = slots.calendar("30min", "00:00")
    # On 2026-10-04 02:00 becomes 02:30; on 2027-04-04 02:00 becomes 01:30.
    assert walked(half_hourly, utc("2026-10-03T14:45"), utc("2026-10-03T16:45"), zone) == [
        utc("2026-10-03T15:00"),
        utc("2026-10-03T15:30"),
        utc("2026-10-03T16:00"),
        utc("2026-10-03T16:30"),
    ]
    assert walked(half_hourly, utc("2027-04-03T14:15"), utc("2027-04-03T16:15"), zone) == [
        utc("2027-04-03T14:30"),
        utc("2027-04-03T15:30"),
        utc("2027-04-03T16:00"),
    ]


def test_a_day_may_begin_at_one_o_clock() -> None:
    zone = ZoneInfo("America/Santiago")
    midnight = slots.calendar("daily", "00:00")
    assert walked(midnight, utc("2026-09-05T12:00"), utc("2026-09-07T12:00"), zone) == [utc("2026-09-07T03:00")]


def test_a_day_may_end_an_hour_late() -> None:
    zone = ZoneInfo("America/Santiago")
    before_midnight = slots.calendar("daily", "23:30")
    assert walked(before_midnight, utc("2026-04-04T12:00"), utc("2026-04-06T12:00"), zone) == [
        utc("2026-04-05T02:30"),
        utc("2026-04-06T03:30"),
    ]


def test_a_zone_of_half_hours() -> None:
    assert slots.latest(slots.calendar("hourly", "00:00"), utc("2027-01-01T00:00"), ZoneInfo("Asia/Kolkata")) == utc(
        "2026-12-31T23:30"
    )


def test_count_leaves_both_ends_out() -> None:
    hourly = slots.calendar("hourly", "00:00")
    assert slots.count(hourly, utc("2027-01-01T10:00"), utc("2027-01-01T13:00"), ZoneInfo("UTC")) == 2
    assert slots.count(hourly, utc("2027-01-01T10:00"), utc("2027-01-01T10:00"), ZoneInfo("UTC")) == 0
    assert slots.count(hourly, utc("2027-01-01T10:00"), utc("2026-01-01T10:00"), ZoneInfo("UTC")) == 0


@pytest.mark.parametrize(
    ("zone", "frequency", "at", "number"),
    [
        ("UTC", "1min", "00:00", 365 * 1440),
        ("Asia/Kolkata", "1min", "00:00", 365 * 1440),
        # An hour less in spring, and half an hour.
        ("Europe/Berlin", "1min", "00:00", 365 * 1440 - 60),
        ("Australia/Lord_Howe", "1min", "00:00", 365 * 1440 - 30),
        ("Europe/Berlin", "daily", "02:30", 364),
        ("Europe/Berlin", "daily", "03:00", 365),
        ("Europe/Berlin", "weekdays", "02:30", 261),
        ("Europe/Berlin", "weekly", "Sun 02:30", 51),
        ("Europe/Berlin", "weekly", "Thu 02:30", 53),
    ],
)
def test_the_slots_of_a_year(zone: str, frequency: str, at: str, number: int) -> None:
    start, end = (datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for year in (2026, 2027))
    cal = slots.calendar(frequency, at)
    assert slots.count(cal, start - timedelta(microseconds=1), end, ZoneInfo(zone)) == number


# times that the clock leaps over


@pytest.mark.parametrize(
    ("zone", "frequency", "at", "now", "day"),
    [
        ("Europe/Berlin", "daily", "02:30", "2026-07-01T12:00", "2027-03-28"),
        ("Europe/Berlin", "daily", "02:00", "2026-07-01T12:00", "2027-03-28"),
        ("Europe/Berlin", "daily", "01:59", "2026-07-01T12:00", None),
        ("Europe/Berlin", "daily", "03:00", "2026-07-01T12:00", None),
        ("Europe/Berlin", "daily", "02:30", "2027-03-28T00:59", "2027-03-28"),
        ("Europe/Berlin", "daily", "02:30", "2027-03-28T12:00", "2028-03-26"),
        ("Europe/Berlin", "every_12_hours", "14:30", "2026-07-01T12:00", "2027-03-28"),
        ("Europe/Berlin", "every_8_hours", "02:30", "2026-07-01T12:00", None),
        ("Europe/Berlin", "hourly", "02:30", "2026-07-01T12:00", None),
        ("Europe/Berlin", "5min", "02:30", "2026-07-01T12:00", None),
        ("Europe/Berlin", "weekdays", "02:30", "2026-07-01T12:00", None),
        ("Europe/Berlin", "weekly", "Sun 02:30", "2026-07-01T12:00", "2027-03-28"),
        ("Europe/Berlin", "weekly", "Mon 02:30", "2026-07-01T12:00", None),
        ("America/New_York", "daily", "02:30", "2026-07-01T12:00", "2027-03-14"),
        ("America/Santiago", "daily", "00:00", "2026-07-01T12:00", "2026-09-06"),
        ("Australia/Lord_Howe", "daily", "02:29", "2026-07-01T12:00", "2026-10-04"),
        ("Australia/Lord_Howe", "daily", "02:30", "2026-07-01T12:00", None),
        ("Asia/Kolkata", "daily", "02:30", "2026-07-01T12:00", None),
        ("UTC", "daily", "02:30", "2026-07-01T12:00", None),
    ],
)
def test_the_first_day_on_which_the_clock_leaps_over_a_time(
    zone: str, frequency: str, at: str, now: str, day: str | None
) -> None:
    found = slots.gap(slots.calendar(frequency, at), utc(now), ZoneInfo(zone))
    assert found == (date.fromisoformat(day) if day else None)


@given(schedules, places())
def test_a_day_without_its_slot_is_one_of_a_gap(schedule: tuple[str, str], place: tuple[datetime, ZoneInfo]) -> None:
    cal, (now, zone) = slots.calendar(*schedule), place
    if cal.period >= timedelta(hours=12):
        today = now.astimezone(zone).date()
        days = [day for n in range(1, 366) if (day := today + timedelta(days=n)).weekday() in cal.weekdays]
        leaps = [day for day in days if not all(_exists(datetime.combine(day, at), zone) for at in times_of(cal))]
        found = slots.gap(cal, now, zone)
        assert found == next(iter(leaps), None) or found in {today, today + timedelta(days=366)}


# properties


@given(calendars, places())
def test_latest_and_following_agree(cal: Calendar, place: tuple[datetime, ZoneInfo]) -> None:
    moment, zone = place
    slot = slots.following(cal, moment, zone)
    assert slots.latest(cal, slot, zone) == slot
    assert slots.latest(cal, slot - timedelta(microseconds=1), zone) <= moment < slot


@given(calendars, places())
def test_no_slot_lies_between_latest_and_following(cal: Calendar, place: tuple[datetime, ZoneInfo]) -> None:
    moment, zone = place
    last, following = slots.latest(cal, moment, zone), slots.following(cal, moment, zone)
    assert last <= moment < following
    assert slots.following(cal, last, zone) == following
    assert slots.count(cal, last, following, zone) == 0
    assert between(cal, last, following, zone) == []


@given(calendars, places(), st.timedeltas(timedelta(0), timedelta(days=4)))
def test_count_is_the_number_of_slots_between(cal: Calendar, place: tuple[datetime, ZoneInfo], span: timedelta) -> None:
    moment, zone = place
    assert slots.count(cal, moment, moment + span, zone) == len(between(cal, moment, moment + span, zone))


@given(calendars, places(), st.timedeltas(timedelta(0), timedelta(days=500)), st.floats(0, 1))
def test_counts_of_the_parts_add_up(
    cal: Calendar, place: tuple[datetime, ZoneInfo], span: timedelta, part: float
) -> None:
    start, zone = place
    middle = slots.latest(cal, start + span * part, zone)
    if start < middle < start + span:
        parts = slots.count(cal, start, middle, zone) + slots.count(cal, middle, start + span, zone)
        assert slots.count(cal, start, start + span, zone) == parts + 1


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("frequency", ["hourly", "every_4_hours", "daily", "weekdays", "weekly", "12min", "30min"])
def test_each_wall_clock_time_of_a_day_is_a_slot_once_and_no_other(frequency: str, name: str) -> None:
    cal, zone = slots.calendar(frequency, "Sun 01:45" if frequency == "weekly" else "01:45"), ZoneInfo(name)
    for moment in [MIDSUMMER, *changes(zone)]:
        day = (moment - timedelta(minutes=1)).astimezone(zone).date()
        start = datetime.combine(day, time(), zone).astimezone(UTC) - timedelta(hours=3)
        found = walked(cal, start, start + timedelta(hours=31), zone)
        assert found == sorted(set(found))
        local = [slot.astimezone(zone) for slot in found]
        of_day = [at.time() for at in local if at.date() == day]
        times = times_of(cal) if day.weekday() in cal.weekdays else []
        assert of_day == [at for at in times if _exists(datetime.combine(day, at), zone)]
        assert all(at.fold == 0 for at in local)


def _exists(local: datetime, zone: ZoneInfo) -> bool:
    there_and_back = local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there_and_back.replace(tzinfo=None) == local


# trying again

FIRST = utc("2027-01-01T10:00")


def test_waits_double_until_half_a_period_is_over() -> None:
    hourly = slots.calendar("hourly", "00:00")
    assert slots.retry_at(hourly, FIRST, 1, FIRST) == FIRST + timedelta(minutes=5)
    assert slots.retry_at(hourly, FIRST, 2, FIRST + timedelta(minutes=5)) == FIRST + timedelta(minutes=15)
    assert slots.retry_at(hourly, FIRST, 3, FIRST + timedelta(minutes=15)) is None


def test_half_a_period_after_the_first_attempt_is_still_in_time() -> None:
    hourly = slots.calendar("hourly", "00:00")
    assert slots.retry_at(hourly, FIRST, 1, FIRST + timedelta(minutes=25)) == FIRST + timedelta(minutes=30)
    assert slots.retry_at(hourly, FIRST, 1, FIRST + timedelta(minutes=25, seconds=1)) is None


@pytest.mark.parametrize(
    ("frequency", "limit"),
    [("every_6_hours", 3), ("every_8_hours", 4), ("every_12_hours", 6), ("daily", 6), ("weekdays", 6), ("weekly", 6)],
)
def test_nothing_is_tried_for_longer_than_half_a_period_or_six_hours(frequency: str, limit: int) -> None:
    cal, at, attempts = slots.calendar(frequency, slots.anchor(frequency, None, FIRST)), FIRST, 0
    while True:
        attempts += 1
        following = slots.retry_at(cal, FIRST, attempts, at)
        if following is None:
            break
        at = following
    assert at <= FIRST + timedelta(hours=limit) < at + timedelta(minutes=5) * 2 ** (attempts - 1)


@pytest.mark.parametrize("frequency", ["1min", "5min", "12min"])
def test_short_periods_are_never_tried_again(frequency: str) -> None:
    assert slots.retry_at(slots.calendar(frequency, "00:00"), FIRST, 1, FIRST) is None


def test_a_quarter_of_an_hour_is_tried_again_once() -> None:
    cal = slots.calendar("15min", "00:00")
    assert slots.retry_at(cal, FIRST, 1, FIRST) == FIRST + timedelta(minutes=5)
    assert slots.retry_at(cal, FIRST, 2, FIRST + timedelta(minutes=5)) is None


# systemd's own word

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
YEAR = (utc("2026-06-15T10:07:30"), utc("2027-06-15T10:07:30"))


@needs_systemd
@pytest.mark.parametrize("frequency", [name for name in FREQUENCIES if name not in MINUTES])
@pytest.mark.parametrize(
    ("zone", "at"),
    [
        ("Europe/Berlin", "Sun 02:03"),
        ("Australia/Lord_Howe", "Sun 01:45"),
        ("Australia/Lord_Howe", "Sun 02:15"),
        ("America/New_York", "Sun 01:03"),
        ("America/New_York", "Sun 02:03"),
        ("America/Santiago", "Sun 00:03"),
        ("America/Santiago", "Sat 23:03"),
        ("Asia/Beirut", "Sun 00:03"),
        ("Asia/Beirut", "Sat 23:03"),
        ("Asia/Kolkata", "Fri 14:03"),
        ("UTC", "Fri 14:03"),
    ],
)
def test_systemd_names_the_same_slots_all_year(frequency: str, zone: str, at: str) -> None:
    """At times that the clock leaps over or comes to twice, where the zone has such."""
    _compare(frequency, at, ZoneInfo(zone), *YEAR)


@needs_systemd
@pytest.mark.parametrize("frequency", MINUTES)
@pytest.mark.parametrize(
    "zone", [zone if zone in SOME_ZONES else pytest.param(zone, marks=pytest.mark.slow) for zone in ZONES]
)
def test_systemd_names_the_same_slots_around_a_change(frequency: str, zone: str) -> None:
    for change in [MIDSUMMER, *changes(ZoneInfo(zone))]:
        base = change - timedelta(hours=6) + timedelta(seconds=30)
        _compare(frequency, "00:03", ZoneInfo(zone), base, base + timedelta(hours=12))


@needs_systemd
@pytest.mark.slow
@pytest.mark.parametrize("frequency", MINUTES)
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
def test_systemd_names_the_same_slots_of_short_periods_all_year(frequency: str, zone: str) -> None:
    _compare(frequency, "00:03", ZoneInfo(zone), *YEAR)


@needs_systemd
@pytest.mark.parametrize("frequency", ["hourly", "1min", "15min", "30min"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut"])
def test_what_systemd_starts_more_within_the_repeated_hour_is_no_slot(frequency: str, zone: str) -> None:
    """From a base in it systemd names its second instants too."""
    place = ZoneInfo(zone)
    (back,) = (at for at in changes(place) if at.year == 2026 and at.astimezone(place).fold)
    job = replace(JOB, frequency=frequency, at="00:45")
    cal = slots.calendar(job.frequency, job.at)
    started = _systemd(on_calendar(job), zone, back + timedelta(seconds=30), 200)
    named = walked(cal, back, started[-1] + timedelta(seconds=1), place)
    assert set(named) <= set(started)
    more = [at for at in started if at not in named]
    assert more
    assert {slots.latest(cal, at, place) for at in more} == {slots.latest(cal, back, place)}


def _compare(frequency: str, at: str, zone: ZoneInfo, base: datetime, end: datetime) -> None:
    """Have systemd and slots.py name the slots between two instants."""
    job = replace(JOB, frequency=frequency, at=slots.kept(frequency, at, base))
    cal = slots.calendar(job.frequency, job.at)
    ours = walked(cal, base, end, zone)
    assert len(ours) == slots.count(cal, base, end, zone)
    assert _systemd(on_calendar(job), zone.key, base, len(ours)) == ours
    assert slots.latest(cal, end - timedelta(microseconds=1), zone) == ours[-1]


def _systemd(calendar: str, zone: str, base: datetime, number: int) -> list[datetime]:
    """The first instants after `base` that a calendar names, by systemd-analyze."""
    shown = subprocess.run(
        [
            "systemd-analyze",
            "calendar",
            f"--iterations={number}",
            f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC",
            calendar,
        ],
        env={**os.environ, "TZ": zone, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # In UTC itself an instant is shown once.
    label = r"(?:elapse|Iter\. #\d+)" if zone == "UTC" else r"\(in UTC\)"
    return [datetime.fromisoformat(at + "+00:00") for at in re.findall(label + r": \w+ (\S+ \S+) UTC", shown)]
