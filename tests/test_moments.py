"""Moments as typed: days, times and how long ago, in a zone; everything else is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BERLIN, NOON
from xtrack import moments
from xtrack.errors import UsageError


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 10, 31, 23, 0, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, 0, tzinfo=UTC)),
        ("2026-11-01 07:30", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-01T07:30", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-01T07:30Z", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        ("2026-11-01 07:30+05:45", datetime(2026, 11, 1, 1, 45, tzinfo=UTC)),
        ("0001-06-01", datetime(1, 5, 31, 23, 6, 32, tzinfo=UTC)),
        ("0d", NOON),
        ("36h", NOON - timedelta(hours=36)),
        ("90d", NOON - timedelta(days=90)),
        ("8w", NOON - timedelta(weeks=8)),
    ],
)
def test_a_moment_is_understood(text: str, moment: datetime) -> None:
    found = moments.parse(text, NOON, BERLIN)
    assert found == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "90", "d", "-3d", "1.5d", "3 d", "90D", "٣d", "2026-13-01", "2026-02-30", "25:00", "2026"),
        *("9" * 5000 + "d", "9" * 30 + "w", "0001-01-01", "9999-12-31 23:59-14:00", "2026-11-01 07:30 Europe/Berlin"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(UsageError, match="is no moment") as error:
        moments.parse(text, NOON, BERLIN)
    assert "90d" in error.value.hint


def test_what_is_to_come_is_refused() -> None:
    assert moments.parse("2027-01-15 13:00", NOON, BERLIN) == NOON
    with pytest.raises(UsageError, match="still to come"):
        moments.parse("2027-01-15 13:01", NOON, BERLIN)


@given(st.text() | st.from_regex(r"\d{1,20}[hdw]") | st.datetimes().map(str))
def test_any_text_is_a_moment_in_the_past_or_refused(text: str) -> None:
    try:
        assert moments.parse(text, NOON, BERLIN) <= NOON
    except UsageError as error:
        assert error.hint
