"""Moments as people type them: a day, a day with a time, or how long ago. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from xtrack.errors import UsageError

_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_HINT = "a day as 2026-11-01, a day with a time as '2026-11-01 07:30', or how long ago: 36h, 90d, 8w"


def parse(text: str, now: datetime, zone: tzinfo) -> datetime:
    """The moment, in UTC, that a text means in a zone. Raises UsageError for another text, and for what is to come."""
    try:
        if ago := re.fullmatch(r"(\d+)([hdw])", text, re.ASCII):
            return now - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no moment", _HINT) from None
    if moment > now:
        raise UsageError(f"{text} is still to come", _HINT)
    return moment
