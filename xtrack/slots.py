"""Frequencies as wall-clock calendars, and the instants they name: latest, next, counted. Pure.

A slot is a wall-clock time in the machine's zone, once: none in a spring gap, the first of the two in autumn. That is
what systemd.time(7) calendars name too, from any base outside the repeated hour, so the timer and the ledger agree.
An anchor is where a frequency's times lie: "HH:MM", of a weekly one "Mon HH:MM".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from itertools import count as count_up

from xtrack.errors import UsageError

_MINUTES = {f"{n}min": n for n in range(1, 60) if 60 % n == 0}
_HOURS = {
    "hourly": 1,
    **{f"every_{n}_hours": n for n in (2, 3, 4, 6, 8, 12)},
    **{"daily": 24, "weekdays": 24, "weekly": 7 * 24},
}
_ALSO = {"60m": "hourly", "1h": "hourly", "24h": "daily"}
ALLOWED = (
    "hourly, every_6_hours (or 2, 3, 4, 8, 12), daily, weekdays, weekly, 30min (or 1, 2, 3, 4, 5, 6, 10, 12, 15, 20)"
)

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORT = tuple(day[:3] for day in _WEEKDAYS)
_SIX_HOURS = timedelta(hours=6)
# No clock is put on or back by more at once.
_CHANGE = timedelta(hours=3)


@dataclass(frozen=True)
class Calendar:
    """The local times at which slots lie: on these `weekdays` (0 is Monday) every one of `hours` at every one of
    `minutes`, all ascending."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    period: timedelta
    weekdays: tuple[int, ...] = tuple(range(7))


def canonical(frequency: str) -> str:
    """The one spelling of a frequency. Raises UsageError with the allowed ones."""
    word = frequency.strip().lower().replace("-", "_").replace(" ", "_")
    typed = re.fullmatch(r"(?:every_)?(\d{1,2})_*(m|min|minutes?|h|hours?)", word, re.ASCII)
    if typed:
        number, unit = int(typed[1]), typed[2][0]
        word = _ALSO.get(f"{number}{unit}", f"{number}min" if unit == "m" else f"every_{number}_hours")
    if word in _MINUTES or word in _HOURS:
        return word
    raise UsageError(f"{frequency!r} is no frequency", f"one of {ALLOWED}")


def anchor(frequency: str, at: str | None, local_now: datetime) -> str:
    """The anchor of a canonical frequency: `at`, or the minute of creation.

    Raises UsageError when `at` is not what the frequency takes.
    """
    if at is None:
        return kept(frequency, f"{local_now:%H:%M}", local_now)
    if frequency in _MINUTES:
        raise UsageError(f"{frequency} takes no --at", "leave --at out, or choose hourly or longer")
    typed = re.fullmatch(r"(?:([A-Z][a-z]+) +)?([01]?\d|2[0-3]):([0-5]\d)", at.strip().title(), re.ASCII)
    if typed and typed[1] in ((*_WEEKDAYS, *_SHORT) if frequency == "weekly" else (None,)):
        clock = f"{int(typed[2]):02}:{typed[3]}"
        return f"{typed[1][:3]} {clock}" if typed[1] else clock
    if frequency == "weekly":
        raise UsageError(f"{at!r} is no weekday with a time of day", "write it as 'Mon 08:00'")
    hint = "write it as HH:MM, from 00:00 to 23:59; a weekday is for weekly alone"
    raise UsageError(f"{at!r} is no time of day", hint)


def kept(frequency: str, at: str, local_now: datetime) -> str:
    """The anchor of a frequency that takes another one's place, whose anchor was `at`: the same time of day."""
    if frequency != "weekly":
        return at[-5:]
    return f"{at[:-6] or _SHORT[local_now.weekday()]} {at[-5:]}"


def spread(frequency: str, at: str, index: int, count: int) -> str:
    """The anchor of one of `count` jobs installed together: from `at` on, evenly over the period, or over an hour.

    Those of weekdays stay on the same side of midnight, or Friday's would come on Monday.
    """
    weekday, hour, minute = _parts(at)
    room = min(60, 24 * 60 - 60 * hour - minute) if frequency == "weekdays" else _MINUTES.get(frequency, 60)
    later = timedelta(minutes=index * room // count)
    # Any week that begins on the first of a month.
    return anchor(frequency, None, datetime(2001, 1, 1 + weekday, hour, minute, tzinfo=UTC) + later)


def _parts(at: str) -> tuple[int, int, int]:
    """An anchor's weekday, 0 where it has none, hour and minute."""
    return _SHORT.index(at[:-6] or "Mon"), int(at[-5:-3]), int(at[-2:])


@cache
def calendar(frequency: str, at: str) -> Calendar:
    """The calendar of a canonical frequency with its anchor."""
    weekday, hour, minute = _parts(at)
    if frequency in _MINUTES:
        step = _MINUTES[frequency]
        return Calendar(tuple(range(24)), tuple(range(minute % step, 60, step)), timedelta(minutes=step))
    step = min(_HOURS[frequency], 24)
    days = {"weekdays": range(5), "weekly": range(weekday, weekday + 1)}.get(frequency, range(7))
    hours = tuple(range(hour % step, 24, step))
    return Calendar(hours, (minute,), timedelta(hours=_HOURS[frequency]), tuple(days))


def _walls(cal: Calendar, day: date, hours: range = range(24), way: int = 1) -> Iterator[datetime]:
    """The calendar's wall-clock times in these hours of a day, naive; the latest first where `way` is -1."""
    if day.weekday() in cal.weekdays:
        for hour in cal.hours[::way]:
            if hour in hours:
                for minute in cal.minutes[::way]:
                    yield datetime.combine(day, time(hour, minute))


def _instant(wall: datetime, zone: tzinfo) -> datetime | None:
    """The UTC instant of a naive wall-clock time: the first of two, None in a gap."""
    there = wall.replace(tzinfo=zone)
    instant = there.astimezone(UTC)
    # Times of one zone are compared by their clock.
    return instant if instant.astimezone(zone) == there else None


def _wall(moment: datetime, zone: tzinfo, way: int) -> datetime:
    """A moment's wall-clock time, naive; where the clock is changed around it, one beyond that change."""
    around = {(moment + change).astimezone(zone).utcoffset() for change in (-_CHANGE, _CHANGE)}
    leeway = timedelta(0) if len(around) == 1 else _CHANGE
    return moment.astimezone(zone).replace(tzinfo=None) + way * leeway


def _slots(cal: Calendar, wall: datetime, zone: tzinfo, way: int) -> Iterator[datetime]:
    """Slots from a wall-clock time on, forwards, or backwards where `way` is -1."""
    rest = range(wall.hour, 24) if way == 1 else range(wall.hour + 1)
    for days in count_up(0):
        day = wall.date() + way * timedelta(days=days)
        for at in _walls(cal, day, range(24) if days else rest, way):
            slot = _instant(at, zone) if way * (at - wall) >= timedelta(0) else None
            if slot:
                yield slot


def latest(cal: Calendar, until: datetime, zone: tzinfo) -> datetime:
    """The last slot <= until."""
    return next(slot for slot in _slots(cal, _wall(until, zone, 1), zone, -1) if slot <= until)


def following(cal: Calendar, after: datetime, zone: tzinfo) -> datetime:
    """The first slot > after."""
    return next(slot for slot in _slots(cal, _wall(after, zone, -1), zone, 1) if slot > after)


def count(cal: Calendar, after: datetime, before: datetime, zone: tzinfo) -> int:
    """How many slots lie strictly between two instants. Only days of a change, and the outer ones, are looked into."""
    first, last = _wall(after, zone, -1), _wall(before, zone, 1)
    total = 0
    for days in range((last.date() - first.date()).days + 1):
        day = first.date() + timedelta(days=days)
        begin, end = (datetime.combine(midnight, time(), zone) for midnight in (day, day + timedelta(days=1)))
        if after < begin and end <= before and begin.utcoffset() == end.utcoffset():
            total += len(cal.hours) * len(cal.minutes) * (day.weekday() in cal.weekdays)
        else:
            slots = (_instant(wall, zone) for wall in _walls(cal, day) if first <= wall <= last)
            total += sum(after < slot < before for slot in slots if slot)
    return total


def gap(cal: Calendar, now: datetime, zone: tzinfo) -> date | None:
    """The first day within a year on which the clock leaps over a time of a calendar with few of them a day."""
    if cal.period < timedelta(hours=12):
        return None
    today = now.astimezone(zone).date()
    walls = (wall for days in range(367) for wall in _walls(cal, today + timedelta(days=days)))
    return next((w.date() for w in walls if w.replace(tzinfo=zone) > now and not _instant(w, zone)), None)


def retry_at(
    cal: Calendar, first: datetime, attempts: int, since: datetime, earliest: datetime | None = None
) -> datetime | None:
    """When a slot is tried again after `attempts` failures, 5, 10, 20, 40 … minutes after `since` and not before
    `earliest`; None: give up.

    It is given up when that would be later than half a period or six hours, whichever is less, after the `first`
    attempt's start. Periods under 15 minutes are never retried: the next slot does it.
    """
    if cal.period < timedelta(minutes=15):
        return None
    at = since + timedelta(minutes=5) * 2 ** (attempts - 1)
    at = max(at, earliest) if earliest else at
    return at if at - first <= min(cal.period / 2, _SIX_HOURS) else None
