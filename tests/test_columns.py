"""Text by the columns that it takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrack.columns import cut, tidy, width, wrap

LINK = "https://x.com/kaya/status/7"
HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table></body><h1>new",
    "<!-- --><style>*{display:none}</style>",
    "\"' onmouseover='alert(1)' x=\"",
    "&lt;b&gt; &amp;amp; &#60;",
    "{{ shown }} {% raw %} {# #}",
]


@pytest.mark.parametrize(
    ("said", "columns"),
    [
        *(("", 0), ("mill", 4), ("水車", 4), ("ｱ", 1), ("Ａ", 2), ("e\u0301", 1), ("नमस्ते", 4), ("\u200b", 0)),
        *(("🎉", 2), ("❤\ufe0f", 2), ("👩\u200d🚀", 4), ("한국", 4), ("كلمة", 4), ("كَ", 1)),
    ],
)
def test_columns_that_text_takes(said: str, columns: int) -> None:
    assert width(said) == columns


def test_wide_characters_are_wrapped_by_what_they_take() -> None:
    assert wrap("水車は回る、また回る。", 10) == "水車は回\nる、また回\nる。"
    assert wrap("a 水車は回る", 6) == "a 水車\nは回る"


def test_a_link_is_never_broken_and_a_long_word_is() -> None:
    link = "https://example.org/" + "a" * 20
    assert wrap(f"see {link} now", 12) == f"see\n{link}\nnow"
    assert wrap(f"{link} {'b' * 30}", 12) == f"{link}\n{'b' * 12}\n{'b' * 12}\n{'b' * 6}"
    assert wrap("b" * 30, 12, "- ", "  ") == f"- {'b' * 10}\n  {'b' * 10}\n  {'b' * 10}"


def test_what_belongs_together_is_not_torn_apart() -> None:
    assert wrap("ab" + "e\u0301" * 3, 3) == "abe\u0301\ne\u0301e\u0301"
    assert wrap("abc👩\u200d🚀", 6) == "abc\n👩\u200d🚀"
    assert wrap("ab👍🏽", 5) == "ab\n👍🏽"
    assert cut("mill wheel", 6) == "mill…"
    assert cut("水車は", 5) == "水車…"
    assert cut("水車は", 6) == "水車は"


CHARACTERS = st.sampled_from("ab. \u0301\u200d\ufe0f、。水ｱ🎉👩🏽❤كمن\u0903\u200b\u202e\x1b\x85\ud83d<>&\"'")
WORDS = st.lists(st.one_of(st.text(CHARACTERS), st.text(max_size=5), st.sampled_from([*HOSTILE, LINK]))).map(" ".join)


@given(WORDS, st.integers(8, 100))
def test_text_keeps_to_its_columns_and_loses_nothing(said: str, columns: int) -> None:
    tidied = tidy(said)
    wrapped = wrap(tidied, columns, "  - ", "    ")
    assert "".join(tidied.split()) == "".join(wrapped.removeprefix("  -").split())
    for line in wrapped.split("\n"):
        assert width(line) <= columns or re.search(r"https?://\S+$", line)
    assert width(cut(tidied, columns)) <= columns
