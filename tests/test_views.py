"""What is printed: tables, jobs and digests, from records alone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.conftest import JOB
from xtrack import views
from xtrack.jobs import Status
from xtrack.models import Digest, Line, Original, Post, Run, Summary

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POST = Post("7", "kaya", "Kaya", NOON, "post", "The mill wheel turns again.", "https://x.com/kaya/status/7")
RUN = Run(3, 1, "timer", "done", NOON, NOON, NOON, "", 12, 0, 0, "", None, "")
STATUS = Status(JOB, RUN, NOON, None, "", "xtrack-job@1.timer")


def local(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def digest(*lines: Line, omitted: int = 0) -> Summary:
    return Summary(5, 1, 3, NOON, 12, Digest("extractive", "12 new posts", lines, omitted))


def shown(summary: Summary, *posts: Post) -> str:
    return views.summary_text(summary, posts, local)


def test_each_column_is_as_wide_as_its_widest_cell() -> None:
    assert views.table(("A", "LONG", "C"), [("wide", "x", ""), ("y", "z", "last")]) == (
        "A     LONG  C\nwide  x\ny     z     last"
    )


def test_each_line_of_a_digest_has_its_author_and_link() -> None:
    text = shown(digest(Line("The mill wheel turns again.", ("7",))), POST)
    assert text.splitlines() == [
        "Digest 5 of job 1, 12:00",
        "12 new posts (sentences taken from the posts, not written by a model)",
        "",
        "  - The mill wheel turns again.",
        "    @kaya  https://x.com/kaya/status/7",
    ]


def test_posts_that_say_the_same_are_counted_and_groups_are_headed() -> None:
    lines = (Line("One.", ("7",), "mills"), Line("Two.", ("8", "7"), "ferries"))
    text = shown(digest(*lines, omitted=1), POST, replace(POST, id="8", url="https://x.com/kaya/status/8"))
    assert text.index("\nMILLS\n") < text.index("One.") < text.index("\nFERRIES\n") < text.index("Two.")
    assert "https://x.com/kaya/status/8 (+1 alike)" in text
    assert text.endswith("and 1 more post")


@pytest.mark.parametrize(("original", "said"), [("mira", "@kaya reposting @mira"), ("", "@kaya (repost)")])
def test_a_repost_names_both(original: str, said: str) -> None:
    repost = replace(POST, kind="repost", original=Original("6", original, "", "Hello.", "https://x.com/i/status/6"))
    assert said in shown(digest(Line("Hello.", ("7",))), repost)


def test_an_author_that_is_not_known_is_said_to_be() -> None:
    assert "unknown author  https://" in shown(digest(Line("Hello.", ("7",))), replace(POST, author=""))


def test_long_lines_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = shown(digest(Line("word " * 30, ("7",))), POST)
    assert max(len(line) for line in text.splitlines()[3:-1]) <= 40


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


def test_json_has_times_in_utc_and_ids_as_strings() -> None:
    assert views.job_json(STATUS)["next_run"] == "2026-11-24T12:00:00Z"
    assert views.run_json(RUN)["slot"] == "2026-11-24T12:00:00Z"
    assert views.post_json(POST)["id"] == "7"
    assert views.summary_json(digest(Line("One.", ("7",))))["lines"] == [{"text": "One.", "group": "", "posts": ["7"]}]
