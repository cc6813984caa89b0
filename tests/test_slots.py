"""Slots: what frequencies name, on days of 23, 24 and 25 hours, and that systemd names the same."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BERLIN, JOB
from xtrack import slots
from xtrack.errors import UsageError
from xtrack.scheduler.systemd import on_calendar
from xtrack.slots import Calendar

FREQUENCIES = [
    *("hourly", "every_6_hours", "every_12_hours", "daily"),
    *("1min", "2min", "3min", "4min", "5min", "6min", "10min", "12min", "15min", "20min", "30min"),
]
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

moments = st.integers(0, 5 * 365 * 24 * 3600).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
frequencies = st.sampled_from(FREQUENCIES)


def times_of(cal: slots.Calendar) -> list[time]:
    """The local times of a day."""
    return [time(hour, minute) for hour in cal.hours for minute in cal.minutes]


anchors = st.times().map(lambda at: f"{at:%H:%M}")
zones = st.sampled_from(ZONES).map(ZoneInfo)
calendars = st.builds(slots.calendar, frequencies, anchors)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(cal: Calendar, after: datetime, before: datetime, zone: ZoneInfo) -> list[datetime]:
    """The slots strictly between two instants, found without slots.py: each minute whose local time is one, once."""
    times = set(times_of(cal))
    minute = after.replace(second=0, microsecond=0)
    found = []
    while (minute := minute + timedelta(minutes=1)) < before:
        local = minute.astimezone(zone)
        if local.time() in times and local.fold == 0:
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
        ("hourly", "hourly"),
        (" Daily ", "daily"),
        ("every-6-hours", "every_6_hours"),
        ("EVERY_12_HOURS", "every_12_hours"),
        ("1min", "1min"),
        ("05min", "5min"),
        ("15 minutes", "15min"),
        ("30m", "30min"),
        ("1 minute", "1min"),
    ],
)
def test_frequencies_have_one_spelling(typed: str, frequency: str) -> None:
    assert slots.canonical(typed) == frequency


@pytest.mark.parametrize(
    "typed", ["", "7min", "60min", "0min", "-5min", "often", "1.5min", "٥min", "5min\n6", "5 mins"]
)
def test_other_words_are_no_frequency_and_the_hint_has_the_allowed_ones(typed: str) -> None:
    with pytest.raises(UsageError) as error:
        slots.canonical(typed)
    assert "every_6_hours" in error.value.hint
    assert "30min" in error.value.hint


def test_every_frequency_of_the_hint_is_allowed() -> None:
    assert [slots.canonical(word) for word in slots.ALLOWED.split(", ")] == FREQUENCIES


def test_without_at_the_anchor_is_the_minute_of_creation() -> None:
    assert slots.anchor("daily", None, datetime(2027, 1, 1, 7, 5, 59, tzinfo=BERLIN)) == "07:05"


@pytest.mark.parametrize(
    ("typed", "at"), [("07:30", "07:30"), ("7:30", "07:30"), (" 23:59 ", "23:59"), ("0:00", "00:00")]
)
def test_at_is_a_time_of_day(typed: str, at: str) -> None:
    assert slots.anchor("daily", typed, datetime.now(UTC)) == at


@pytest.mark.parametrize("typed", ["25:00", "24:00", "12:60", "12", "12:5", "12:00:00", "noon", "", "-1:00", "١٢:00"])
def test_what_is_no_time_of_day_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        slots.anchor("daily", typed, datetime.now(UTC))


def test_minute_periods_refuse_at() -> None:
    with pytest.raises(UsageError, match="5min takes no --at"):
        slots.anchor("5min", "07:30", datetime.now(UTC))


@pytest.mark.parametrize(
    ("frequency", "at", "first", "number"),
    [
        ("hourly", "17:42", time(0, 42), 24),
        ("every_6_hours", "14:15", time(2, 15), 4),
        ("every_12_hours", "12:00", time(0, 0), 2),
        ("daily", "23:59", time(23, 59), 1),
        ("1min", "10:10", time(0, 0), 1440),
        ("20min", "10:45", time(0, 5), 72),
    ],
)
def test_a_calendar_has_the_anchor_modulo_the_period(frequency: str, at: str, first: time, number: int) -> None:
    times = times_of(slots.calendar(frequency, at))
    assert (times[0], len(times)) == (first, number)


@given(frequencies, anchors)
def test_the_anchor_is_a_slot_of_its_day(frequency: str, at: str) -> None:
    assert time.fromisoformat(at) in times_of(slots.calendar(frequency, at))


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


# properties


@given(calendars, moments, zones)
def test_latest_and_following_agree(cal: Calendar, moment: datetime, zone: ZoneInfo) -> None:
    slot = slots.following(cal, moment, zone)
    assert slots.latest(cal, slot, zone) == slot
    assert slots.latest(cal, slot - timedelta(microseconds=1), zone) <= moment < slot


@given(calendars, moments, zones)
def test_no_slot_lies_between_latest_and_following(cal: Calendar, moment: datetime, zone: ZoneInfo) -> None:
    last, following = slots.latest(cal, moment, zone), slots.following(cal, moment, zone)
    assert last <= moment < following
    assert slots.following(cal, last, zone) == following
    assert slots.count(cal, last, following, zone) == 0
    assert between(cal, last, following, zone) == []


@given(calendars, moments, st.timedeltas(timedelta(0), timedelta(hours=30)), zones)
def test_count_is_the_number_of_slots_between(cal: Calendar, moment: datetime, span: timedelta, zone: ZoneInfo) -> None:
    assert slots.count(cal, moment, moment + span, zone) == len(between(cal, moment, moment + span, zone))


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("frequency", ["hourly", "every_6_hours", "daily", "12min", "30min"])
def test_each_wall_clock_time_of_a_day_is_a_slot_once_and_no_other(frequency: str, name: str) -> None:
    cal, zone = slots.calendar(frequency, "01:45"), ZoneInfo(name)
    for day in _days_around_changes(zone):
        start = datetime.combine(day, time(), zone).astimezone(UTC) - timedelta(hours=3)
        found = walked(cal, start, start + timedelta(hours=31), zone)
        assert found == sorted(set(found))
        local = [slot.astimezone(zone) for slot in found]
        of_day = [at.time() for at in local if at.date() == day]
        assert of_day == [at for at in times_of(cal) if _exists(datetime.combine(day, at), zone)]
        assert all(at.fold == 0 for at in local)


def _days_around_changes(zone: ZoneInfo) -> list[date]:
    """The days on which the zone's clock changes in 2026 and 2027, and a day on which it does not."""
    first = date(2026, 1, 1)
    offsets = [datetime.combine(first + timedelta(days), time(), zone).utcoffset() for days in range(731)]
    changes = [first + timedelta(n) for n in range(730) if offsets[n] != offsets[n + 1]]
    return [date(2026, 7, 15), *changes]


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


@pytest.mark.parametrize(("frequency", "limit"), [("every_6_hours", 3), ("every_12_hours", 6), ("daily", 6)])
def test_nothing_is_tried_for_longer_than_half_a_period_or_six_hours(frequency: str, limit: int) -> None:
    cal, at, attempts = slots.calendar(frequency, "00:00"), FIRST, 0
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


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
@pytest.mark.parametrize("frequency", FREQUENCIES)
@pytest.mark.parametrize(
    ("zone", "base"),
    [
        ("Europe/Berlin", "2026-10-18T10:07:30"),
        ("Europe/Berlin", "2027-03-21T10:07:30"),
        ("Australia/Lord_Howe", "2026-09-28T10:07:30"),
        ("Australia/Lord_Howe", "2027-03-28T10:07:30"),
        ("America/New_York", "2026-10-26T10:07:30"),
        ("America/New_York", "2027-03-08T10:07:30"),
        ("America/Santiago", "2026-08-30T10:07:30"),
        ("America/Santiago", "2027-03-28T10:07:30"),
        ("Asia/Beirut", "2026-10-19T10:07:30"),
        ("Asia/Beirut", "2027-03-22T10:07:30"),
        ("Asia/Kolkata", "2026-10-18T10:07:30"),
    ],
)
def test_systemd_names_the_same_slots(frequency: str, zone: str, base: str) -> None:
    """Two weeks with a change in their midst; of the shorter periods the hours around it."""
    job = replace(JOB, frequency=frequency, at="14:03")
    cal = slots.calendar(job.frequency, job.at)
    is_short = cal.period < timedelta(hours=1)
    start = utc(base) + (_until_change(zone, base) if is_short else timedelta(0))
    expected = between(cal, start, start + (timedelta(hours=9) if is_short else timedelta(days=14)), ZoneInfo(zone))
    assert _systemd(on_calendar(job), zone, start, len(expected)) == expected


def _until_change(zone: str, base: str) -> timedelta:
    """From `base` to six hours before the zone's next change of offset, within two weeks."""
    start = utc(base)
    offset = start.astimezone(ZoneInfo(zone)).utcoffset()
    for hours in range(14 * 24):
        if (start + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).utcoffset() != offset:
            return timedelta(hours=hours - 6)
    return timedelta(days=7)


def _systemd(calendar: str, zone: str, base: datetime, number: int) -> list[datetime]:
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
    found = re.findall(r"\(in UTC\): \w+ (\S+ \S+) UTC", shown)
    return [datetime.strptime(at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) for at in found]
