"""Frequencies as wall-clock calendars, and the instants they name: latest, next, counted. Pure.

A slot is a wall-clock time in the machine's zone, once: none in a spring gap, the first of the two in autumn. That is
what systemd.time(7) calendars name too, from any base outside the repeated hour, so the timer and the ledger agree.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import count as count_up

from xtrack.errors import UsageError

_HOURS = {"hourly": 1, "every_6_hours": 6, "every_12_hours": 12, "daily": 24}
_MINUTES = tuple(n for n in range(1, 60) if 60 % n == 0)
_SIX_HOURS = timedelta(hours=6)
# No clock is put on or back by more at once.
_CHANGE = timedelta(hours=3)

ALLOWED = ", ".join([*_HOURS, *(f"{n}min" for n in _MINUTES)])


@dataclass(frozen=True)
class Calendar:
    """The local times of each day at which slots lie: every one of `hours` at every one of `minutes`, ascending."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    period: timedelta


def canonical(frequency: str) -> str:
    """The one spelling of a frequency. Raises UsageError with the allowed ones."""
    word = frequency.strip().lower().replace("-", "_")
    minutes = re.fullmatch(r"(\d{1,2}) *(?:m|min|minutes?)", word, re.ASCII)
    if minutes and int(minutes[1]) in _MINUTES:
        return f"{int(minutes[1])}min"
    if word in _HOURS:
        return word
    raise UsageError(f"{frequency!r} is no frequency", f"one of {ALLOWED}")


def anchor(frequency: str, at: str | None, local_now: datetime) -> str:
    """The anchor "HH:MM" of a canonical frequency: `at`, or the minute of creation.

    Raises UsageError when `at` is no time of day, or the frequency takes none.
    """
    if at is None:
        return f"{local_now:%H:%M}"
    if frequency not in _HOURS:
        raise UsageError(f"{frequency} takes no --at", "leave --at out, or choose hourly or longer")
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at.strip(), re.ASCII)
    if not match:
        raise UsageError(f"{at!r} is no time of day", "write it as HH:MM, from 00:00 to 23:59")
    return f"{int(match[1]):02}:{match[2]}"


def calendar(frequency: str, at: str) -> Calendar:
    """The calendar of a canonical frequency with its anchor."""
    hour, minute = (int(part) for part in at.split(":"))
    if frequency in _HOURS:
        step = _HOURS[frequency]
        return Calendar(tuple(range(hour % step, 24, step)), (minute,), timedelta(hours=step))
    step = int(frequency.removesuffix("min"))
    return Calendar(tuple(range(24)), tuple(range(minute % step, 60, step)), timedelta(minutes=step))


def _instant(local: datetime, zone: tzinfo) -> datetime | None:
    """The UTC instant of a naive wall-clock time: the first of two, None in a gap."""
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == local else None


def _leeway(moment: datetime, zone: tzinfo) -> timedelta:
    """How far from a moment's own wall-clock time slots near it may lie: only where the clock is changed around it."""
    around = ((moment + change).astimezone(zone).utcoffset() for change in (-_CHANGE, _CHANGE))
    return timedelta(0) if len(set(around)) == 1 else _CHANGE


def _backward(cal: Calendar, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Slots <= until, latest first."""
    start = until.astimezone(zone).replace(tzinfo=None) + _leeway(until, zone)
    for day in count_up(0):
        date = start.date() - timedelta(days=day)
        for hour in reversed(cal.hours):
            if day or hour <= start.hour:
                for minute in reversed(cal.minutes):
                    wall = datetime.combine(date, time(hour, minute))
                    slot = _instant(wall, zone) if wall <= start else None
                    if slot is not None and slot <= until:
                        yield slot


def _forward(cal: Calendar, after: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Slots > after, earliest first."""
    start = after.astimezone(zone).replace(tzinfo=None) - _leeway(after, zone)
    for day in count_up(0):
        date = start.date() + timedelta(days=day)
        for hour in cal.hours:
            if day or hour >= start.hour:
                for minute in cal.minutes:
                    wall = datetime.combine(date, time(hour, minute))
                    slot = _instant(wall, zone) if wall >= start else None
                    if slot is not None and slot > after:
                        yield slot


def latest(cal: Calendar, until: datetime, zone: tzinfo) -> datetime:
    """The last slot <= until."""
    return next(_backward(cal, until, zone))


def following(cal: Calendar, after: datetime, zone: tzinfo) -> datetime:
    """The first slot > after."""
    return next(_forward(cal, after, zone))


def count(cal: Calendar, after: datetime, before: datetime, zone: tzinfo) -> int:
    """How many slots lie strictly between two instants."""
    total = 0
    for slot in _forward(cal, after, zone):
        if slot >= before:
            break
        total += 1
    return total


def retry_at(cal: Calendar, first: datetime, attempts: int, since: datetime) -> datetime | None:
    """When a slot is tried again after `attempts` failures, 5, 10, 20, 40 … minutes after `since`; None: give up.

    It is given up when that would be later than half a period or six hours, whichever is less, after the `first`
    attempt's start. Periods under 15 minutes are never retried: the next slot does it.
    """
    if cal.period < timedelta(minutes=15):
        return None
    at = since + timedelta(minutes=5) * 2 ** (attempts - 1)
    return at if at - first <= min(cal.period / 2, _SIX_HOURS) else None
