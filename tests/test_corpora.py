"""The corpora with known themes: alike for the same seed, and with all that people do to a piece of news."""

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest

from bench.corpora import LANGUAGES, START, Corpus, corpus
from bench.digests import extractive, from_sample
from xtrack.models import Post

PRINT_HASH = """
from hashlib import sha256
from bench.corpora import corpus
print(sha256(repr(corpus(("en", "ja"), 7).posts).encode()).hexdigest())
"""


@pytest.fixture(params=list(LANGUAGES.values()), ids=list(LANGUAGES))
def made(request: pytest.FixtureRequest) -> Corpus:
    return corpus(request.param, 1)


def words_of(post: Post) -> str:
    return post.original.text if post.kind == "repost" and post.original else post.text


def test_a_seed_gives_the_same_posts_in_every_process() -> None:
    here = sha256(repr(corpus(("en", "ja"), 7).posts).encode()).hexdigest()
    for seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PRINT_HASH]
        assert subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip() == here
    assert corpus(("en", "ja"), 8).posts != corpus(("en", "ja"), 7).posts


def test_a_corpus_has_every_kind_of_post_and_authors_to_write_them(made: Corpus) -> None:
    assert len(made.posts) == len({post.id for post in made.posts}) == 120
    assert {post.kind for post in made.posts} == {"post", "reply", "repost", "quote"}
    assert len({post.author for post in made.posts}) > 20
    assert [post.created_at for post in made.posts] == sorted(post.created_at for post in made.posts)


def test_themes_are_of_different_sizes_and_a_part_is_about_none(made: Corpus) -> None:
    sizes = Counter(made.theme_of.values())
    assert set(sizes) == set(made.sentences)
    assert len(sizes) == 12
    assert sizes["theme 1"] > 5 * sizes["theme 12"]
    assert 30 <= len(made.posts) - len(made.theme_of) <= 40


def test_what_is_shown_is_an_earlier_post_on_the_same_theme(made: Corpus) -> None:
    by_id = {post.id: post for post in made.posts}
    shown = [post for post in made.posts if post.original]
    for post in shown:
        assert post.original
        earlier = by_id[post.original.id]
        assert (earlier.text, earlier.author) == (post.original.text, post.original.author)
        assert earlier.created_at < post.created_at
        assert made.theme_of[post.id] == made.theme_of[earlier.id]
    assert len(shown) > 5


def test_reports_tell_their_theme_and_remarks_tell_none(made: Corpus) -> None:
    for post in made.posts:
        if post.kind in ("reply", "quote") or post.id not in made.theme_of:
            assert made.told(post.text) == ""
        else:
            assert made.told(words_of(post)) in (made.theme_of[post.id], "")
    told = Counter(made.told(words_of(post)) for post in made.posts if post.kind == "post")
    assert len(told) >= len(made.sentences)  # with "", without at most one that has but one post, which could be of two


def test_a_line_tells_a_theme_also_cut_or_in_part() -> None:
    said = "The ferry to Penlock sails again after nine days"
    other = "The ferry to Vallen sails again after nine days"
    made = Corpus((), {}, {"ferry": frozenset([said]), "other": frozenset([other, "Lamps"])})
    assert made.told(f"Update: {said}! https://news.example/1") == "ferry"
    assert made.told("Update:\nThe ferry to  Penlock sails ag…") == "ferry"
    assert made.told("to Penlock sails again after nine days.") == "ferry"
    assert made.told("sails again after nine days") == ""
    assert made.told("The ferry") == ""
    assert made.told("") == ""


def test_the_stories_of_the_sample_are_themes() -> None:
    made = from_sample(START)
    assert set(made.theme_of) == {post.id for post in made.posts}
    assert len(set(made.theme_of.values())) > 50
    for post in made.posts:
        if post.kind == "quote":
            assert made.told(post.text) == ""
        else:
            assert made.told(words_of(post)) == made.theme_of[post.id]
    assert all(made.told(line) for line in extractive(made.posts))
