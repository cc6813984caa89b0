"""What is left of a model's words and numbers once they are checked."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtrack.summarizers._llm_answer import Draft, Flawed, draft, merger, plain


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("See https://evil.example/x now", "See now"),
        ("hxxps[:]//evil[.]example/a b", "b"),
        ("ｈｔｔｐｓ：／／ｅｖｉｌ．ｅｘａｍｐｌｅ/x ok", "ok"),
        ("ht\u200btps://ev\u200dil.example", ""),
        ("https:\\\\evil.example a", "a"),
        ("https%3A%2F%2Fevil.example a", "a"),
        ("see https:// evil.example", "see evil example"),
        ("//evil.example/x a", "a"),
        ("ev\u200bil.example", "evil example"),
        ("evil\u2024example", "evil example"),
        ("evil。example 你好。世界", "evil example 你好。世界"),
        ("evil (dot) example", "evil example"),
        ("bit.ly/abc end", "end"),
        ("evil.example:8080 end", "end"),
        ("192.0.2.1/login 1.2.3.4", "1.2.3.4"),
        ("www.evil a", "a"),
        ("javascript:alert(1) mailto:x@y data:text/html,x", ""),
        ("to kaya@evil.example or kaya (at) evil (dot) example, now", "to or now"),
        ("kaya＠evil.example a", "a"),
        ("@kaya says: @mira agrees", "@kaya says: @mira agrees"),
        ("[click me](https://evil.example) ![a](http://evil.example/d.png)", "click me a"),
        ("[words](https://evil.example 'title') x", "words x"),
        ("<a href='https://evil.example'>Foo</a> <b", "Foo b"),
        ("&lt;b&gt;Hi&lt;/b&gt; https&#58;//evil.example", "Hi"),
        ("&amp;lt;script&amp;gt;x", "x"),
        ("[b]bold[/b] [url=https://evil.example]x[/url]", "bold x"),
        ("# Title **bold** `code` __x__ ~5% C# snake_case", "Title bold code x ~5% C# snake_case"),
        ("The ferry [0, 3] stops (post 2).", "The ferry stops."),
        (
            "Booking.com and Node.js 3.5% at 10:30, U.S. e.g. v1.2",
            "Booking com and Node js 3.5% at 10:30, U.S. e.g. v1.2",
        ),
        ("5 < 6, A & B; it isn't and/or", "5 < 6, A & B; it isn't and/or"),
        ("\u202egpj.exe\u202c a\x00b\x1b[31m", "gpj exe ab[31m"),
        ("a\nb\u2028c\td", "a b c d"),
        ("👩\u200d💻 می\u200cخواهم a\u200db", "👩\u200d💻 می\u200cخواهم ab"),
        ("Z" + "\u0301" * 50 + "a", "Z\u0301\u0301\u0301a"),
        ("\u3164\u2800 x", "x"),
        (None, ""),
        (7, ""),
        (["x"], ""),
    ],
)
def test_only_plain_words_are_left(said: object, left: str) -> None:
    assert plain(said, 300) == left


def test_words_have_an_end() -> None:
    assert plain("word " * 400, 20) == "word word word word…"


ADDRESS = re.compile(r"://|\bwww\.\S|\w@\w|[^\W\d_]\.[^\W\d_]{2}|<[a-z/]|\]\(|[*`]", re.IGNORECASE)
PIECES = [
    "http",
    "s",
    ":",
    "/",
    "//",
    "evil",
    ".",
    "example",
    "@",
    " ",
    "www",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "a",
    "&#58;",
    "&lt;",
]
PIECES += [
    "dot",
    "at",
    "hxxp",
    "\u200b",
    "\u200d",
    "：",
    "．",
    "＠",
    "。",
    "%3a",
    "\u202e",
    "é",
    "#",
    "*",
    "&amp;",
    "|",
    "mailto:",
]


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_no_address_can_be_put_together(said: str) -> None:
    left = plain(said, 300)
    assert not ADDRESS.search(left), left
    assert plain(left, 300) == left


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "[(", "<", "a@", "&amp;", "://", "%3a", "(", "a (dot) ", "[](", "\u0301", "{ ", "a.b/", "//", "[ "],
)
def test_hostile_words_take_no_long_time(piece: str) -> None:
    begun = time.process_time()
    plain(piece * 5000, 300)
    assert time.process_time() - begun < 1


GOOD = {"theme": "t", "text": "Words.", "posts": [0]}


def answer(*items: Any, **more: Any) -> str:
    return json.dumps({"headline": "H", "items": items, **more})


def test_numbers_that_exist_are_kept() -> None:
    found = draft(answer({**GOOD, "posts": [1, "0", 1, 2, -1, 0.0, True, None, [0], "1e0", "９"]}), 2, 9)
    assert found.items[0].posts == (1, 0)


def test_the_same_words_are_one_line() -> None:
    found = draft(answer({**GOOD, "posts": [2]}, {**GOOD, "posts": [0, 2]}), 3, 9)
    assert [item.posts for item in found.items] == [(2, 0)]


def test_no_more_lines_than_wanted() -> None:
    assert len(draft(answer(*({**GOOD, "text": f"Line {n}."} for n in range(9))), 1, 2).items) == 2


def test_an_empty_answer_is_one() -> None:
    assert draft('{"items": []}', 2, 2) == Draft("", ())


@pytest.mark.parametrize(
    "said", ["", "no", "[]", "{}", '{"items": {}}', '{"items": [1]}', "{" * 100_000, '{"items": [' * 9000]
)
def test_what_is_no_answer_is_told(said: str) -> None:
    with pytest.raises(Flawed):
        draft(said, 2, 2)


@pytest.mark.parametrize(
    "around", ["{}", "```json\n{}\n```", '<think>{{"items": 1}}</think> So: {}', "Set {{x}} is {} ok?"]
)
def test_the_json_is_found(around: str) -> None:
    said = around.replace("{}", answer(GOOD)).replace("{{", "{").replace("}}", "}") if "{}" in around else around
    assert draft(said, 1, 1).items


def test_a_merger_is_of_numbers() -> None:
    assert merger('{"headline": 1, "lines": [[3, 3, 9], 2, ["0"], [3], "x"]}', 2, 4, 9) == (1, [[3], [2], [0]])
    assert merger('{"headline": "x", "lines": [[0], [1]]}', 2, 4, 1) == (0, [[0]])
    with pytest.raises(Flawed):
        merger('{"headline": 0, "lines": [[9]]}', 2, 4, 9)
