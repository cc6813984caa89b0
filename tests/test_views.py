"""What is printed: tables, jobs and what was found, from records alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import JOB
from xtrack import views
from xtrack.columns import width
from xtrack.models import Digest, Hit, Line, Original, Post, Run, Summary
from xtrack.outcomes import Status

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POST = Post("7", "kaya", "Kaya", NOON, "post", "The mill wheel turns again.", "https://x.com/kaya/status/7")
RUN = Run(3, 1, "timer", "done", NOON, NOON, NOON, "", 12, 0, 0, "", None, "")
STATUS = Status(JOB, RUN, NOON, None, "", "xtrack-job@1.timer")


def local(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def digest(*lines: Line, omitted: int = 0) -> Summary:
    return Summary(5, 1, 3, NOON, 12, Digest("extractive", "12 new posts", lines, omitted))


def test_each_column_is_as_wide_as_its_widest_cell() -> None:
    assert views.table(("A", "LONG", "C"), [("wide", "x", ""), ("y", "z", "last")]) == (
        "A     LONG  C\nwide  x\ny     z     last"
    )


def test_wide_characters_take_two_columns_of_a_table() -> None:
    assert views.table(("A", "B"), [("水車", "x"), ("mill", "y")]) == "A     B\n水車  x\nmill  y"


def test_a_quiet_summary_is_an_entry_with_its_time_and_number() -> None:
    quiet = Summary(6, 1, 4, NOON, 0, Digest("none", "Nothing new", (), 0))
    assert views.summaries_table([quiet, digest()], local).splitlines() == [
        "SUMMARY  JOB  WRITTEN  POSTS  HEADLINE",
        "6        1    12:00    0      Nothing new",
        "5        1    12:00    12     12 new posts",
    ]


def test_a_headline_does_not_steer_the_terminal() -> None:
    evil = replace(digest(), digest=Digest("llm", "\x1b[2J\u202eone\ntwo", (), 0))
    assert views.summaries_table([evil], local).splitlines()[1].endswith("  [2Jone two")


def test_a_job_says_what_its_source_is() -> None:
    assert views.job_text(STATUS, local, "an X archive (zip)").splitlines()[:3] == [
        "Job 0",
        "  watches:   the bundled sample",
        "  source:    an X archive (zip)",
    ]


def test_a_preview_has_a_line_a_post() -> None:
    long = replace(POST, author="", author_name="Mill\x1b[2J", text="Wheel\n水車 " * 20)
    repost = replace(POST, kind="repost", text="", original=Original("6", "mira", "", "Hello.", ""))
    lines = views.preview_text([POST, long, repost], local, 40).splitlines()
    assert lines == [
        "  @kaya  12:00  The mill wheel turns ag…",
        "  Mill[2J  12:00  Wheel 水車 Wheel 水車…",
        "  @kaya reposting @mira  12:00  Hello.",
    ]
    assert max(map(width, lines)) <= 40


def test_what_was_found_is_told_apart() -> None:
    hits = [
        Hit("summary", "5", 1, "", NOON, "12 new posts\nThe mill wheel turns again.", ""),
        Hit("post", "7", None, "kaya", NOON, "The mill wheel turns again.", "https://x.com/kaya/status/7"),
        Hit("post", "8", None, "", NOON, "A mill.", "javascript:alert(1)"),
    ]
    assert views.search_text(hits, ["mill"], local, 80).splitlines() == [
        "summary 5 of job 1, 12:00",
        "  12 new posts The mill wheel turns again.",
        "post 7 by kaya, 12:00",
        "  The mill wheel turns again.",
        "  https://x.com/kaya/status/7",
        "post 8 by unknown author, 12:00",
        "  A mill.",
    ]


FILLED = "Flour is sold on Monday and bread is sold on Tuesday. " * 3


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (FILLED + "The mill is dear.", ["dear"], "… on Tuesday. The mill is <dear>."),
        (FILLED + "Millers say the mill is dear, " + FILLED, ["MILL"], "… say the <mill> is dear, Flour is…"),
        ("one mill, the Mill again", ["mill"], "one <mill>, the <Mill> again"),
        ("millers", ["mill*"], "<mill>ers"),
        ("mill and ferry", ["ferry", "mill"], "<mill> and <ferry>"),
        ("the old mill, the mill old", ["old mill"], "the <old mill>, the mill old"),
        ("Un café, une CAFE\u0301.", ["cafe"], "Un <café>, une <CAFE>\u0301."),
        ("古い水車は回る", ["水車"], "古い<水車>は回る"),
        ("回" * 50 + "水車" + "回" * 50, ["水車"], "… 回回回回回<水車>回回回回回回回回…"),
        ("nothing \x1b[2J of\nit", ["mill"], "nothing [2J of it"),
        ("a.b (c", ["(", "b (c"], "a.<b (c>"),
        ("a" * 100, ["a" * 100], "a" * 33 + "…"),
    ],
)
def test_an_excerpt_shows_the_first_word_that_was_found(text: str, words: list[str], said: str) -> None:
    hit = Hit("post", "7", None, "kaya", NOON, text, "")
    found = views.search_text([hit], words, local, 36, mark=lambda word: f"<{word}>").split("\n")[1]
    assert found == f"  {said}"
    assert width(views.search_text([hit], words, local, 36).split("\n")[1]) <= 36


@given(st.text(), st.text(max_size=3), st.integers(8, 60))
@example("\u0301" * 20_000 + "mill", "mill", 20)
@example("ﬃ İ ß", "ss", 10)
def test_any_excerpt_fits(text: str, word: str, columns: int) -> None:
    hit = Hit("post", "7", None, "kaya", NOON, f"{text} mill {text}", "")
    shown = views.search_text([hit], [word], local, columns).split("\n")
    assert len(shown) == 2
    assert max(map(width, shown)) <= columns


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (RUN, "12 new"),
        (replace(RUN, state="running", stage="fetching sample", exit_code=None), "running: fetching sample"),
        (replace(RUN, state="died", stage="summarising", exit_code=None), "died: summarising"),
        (replace(RUN, state="failed", exit_code=75, next_try=NOON), "failed (75), again 12:00"),
        (replace(RUN, state="failed", exit_code=65), "failed (65)"),
    ],
)
def test_what_became_of_a_run(run: Run, said: str) -> None:
    assert views.outcome(run, local) == said


def test_an_overdue_slot_goes_before_an_old_result() -> None:
    overdue = replace(STATUS, overdue=NOON, problem="xtrack-job@1.service: exit-code, status 203")
    assert views.result(overdue, local) == "overdue since 12:00 (xtrack-job@1.service: exit-code, status 203)"
    assert views.result(replace(STATUS, last=None), local) == "-"


def test_what_was_found_as_json() -> None:
    assert views.hit_json(Hit("summary", "5", 1, "", NOON, "One.", "")) == {
        "kind": "summary",
        "id": "5",
        "job": 1,
        "author": "",
        "created_at": "2026-11-24T12:00:00Z",
        "text": "One.",
        "url": "",
    }


def test_json_has_times_in_utc_and_ids_as_strings() -> None:
    assert views.job_json(STATUS)["next_run"] == "2026-11-24T12:00:00Z"
    assert views.run_json(RUN)["slot"] == "2026-11-24T12:00:00Z"
    assert views.post_json(POST)["id"] == "7"
    assert views.summary_json(digest(Line("One.", ("7",))))["lines"] == [{"text": "One.", "group": "", "posts": ["7"]}]
