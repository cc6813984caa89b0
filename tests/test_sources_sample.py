"""The invented town."""

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtrack.errors import NotFound
from xtrack.sources import sample

NOW = datetime(2026, 3, 14, 15, 8, 59, tzinfo=UTC)
DAY = tuple(sample.posts(NOW - timedelta(days=1), NOW))


def read(cursor, now):
    pages = list(sample.open_source("sample").read(cursor, now))
    assert all(0 < len(page.posts) <= 200 for page in pages)
    return [post for page in pages for post in page.posts], pages[-1].cursor if pages else cursor


def test_a_post_a_minute_whose_id_holds_its_time():
    assert len(DAY) == 1440
    for before, post in pairwise(DAY):
        assert before.created_at < post.created_at
        assert int(before.id) < int(post.id)
        assert (int(post.id) >> 22) + 1288834974657 == post.created_at.timestamp() * 1000
        assert post.url == f"https://sample.example/{post.author}/{post.id}"


def test_another_process_makes_the_same_posts():
    code = f"from xtrack.sources.sample import posts; import datetime; print([*posts({DAY[0].created_at!r}, {NOW!r})])"
    made = subprocess.check_output(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"}
    )
    assert made.decode().strip() == repr([*DAY[1:]])


def test_slots_are_filled_and_short():
    for post in DAY:
        assert not re.search(r"[{}]", post.text)
        assert len(post.text) <= 280
        assert post.text or post.kind == "repost"


def test_three_hours_hardly_repeat():
    texts = [post.text for post in DAY[:180] if post.text]
    assert len(set(texts)) > 0.95 * len(texts)


def test_all_kinds_accounts_and_languages_have_their_part():
    assert Counter(post.kind for post in DAY).keys() == {"post", "reply", "repost", "quote"}
    assert {post.author: post.author_name for post in DAY} == sample.accounts()
    assert {post.lang for post in DAY} == {"en", "de", "ja"}
    assert min(Counter(post.author for post in DAY).values()) > 100


def test_reposts_and_quotes_show_an_earlier_post():
    known = {post.id: post for post in DAY}
    for post in DAY[60:]:
        assert (post.original is not None) == (post.kind in {"repost", "quote"})
        if post.original:
            shown = known[post.original.id]
            assert shown.created_at < post.created_at
            assert shown.kind == "post"
            assert shown.author != post.author
            assert (shown.author, shown.text, shown.url) == (
                post.original.author,
                post.original.text,
                post.original.url,
            )


def test_the_town_is_whole():
    town = json.loads(Path(sample.__file__).with_name("sample.json").read_text("utf-8"))
    stories = town["posts"]
    texts = [story[key] for story in [*stories, *town["remarks"]] for key in ("text", "then") if key in story]
    assert {slot for text in texts for slot in re.findall(r"\{(\w+)\}", text)} == town["slots"].keys()
    assert {story["by"] for story in [*stories, *town["remarks"]]} == town["accounts"].keys()
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,15}", handle) for handle in town["accounts"])
    assert {story.get("lang", "en") for story in stories} == town["again"].keys()


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * 3600), max_size=5))
def test_reads_at_any_times_give_every_post_once(seconds):
    first, cursor = read(None, NOW)
    found = [*first]
    for second in [*sorted(seconds), 3 * 3600]:
        new, cursor = read(cursor, NOW + timedelta(seconds=second))
        found += new
    assert found == list(sample.posts(NOW - timedelta(hours=3), NOW + timedelta(hours=3)))


def test_the_span_has_its_end_but_not_its_start():
    assert list(sample.posts(DAY[0].created_at, DAY[2].created_at)) == [*DAY[1:3]]


def test_a_feed_that_slept_for_months_gets_a_day():
    posts, cursor = read("2025-11-01T00:00:00+00:00", NOW)
    assert tuple(posts) == DAY
    assert read(cursor, NOW) == ([], cursor)


def test_a_cursor_ahead_of_the_clock_stays():
    assert read("2026-03-15T00:00:00+00:00", NOW) == ([], "2026-03-15T00:00:00+00:00")


def test_a_clock_from_before_the_first_id_gives_nothing():
    assert read(None, datetime(1970, 1, 1, tzinfo=UTC)) == ([], None)


def test_claim_takes_the_word_alone():
    assert sample.claim("sample") == "sample"
    assert sample.claim("samples") is None


def test_check_knows_the_accounts():
    source = sample.open_source("sample")
    source.check(())
    source.check(("kettlelibrary", "SundPower"))
    with pytest.raises(NotFound, match=r"no nobody, no_one; it has KettlesundPort, .*TidewrackLab"):
        source.check(("SundPower", "nobody", "no_one"))
