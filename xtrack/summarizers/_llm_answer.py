"""What a model answered, checked: of its words only plain text is left, and of its numbers those that exist."""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xtrack.columns import cut

_MOST_HEADLINE, _MOST_TEXT, _MOST_THEME = 140, 320, 40
_MOST_READ = 1_500
_MOST_ITEMS = 100
_MOST_STARTS = 50
_MOST_MARKS = 3


class Flawed(Exception):
    """An answer that cannot be used; the message says why, to the model too."""


@dataclass(frozen=True)
class Item:
    """A line and the numbers of the posts that it rests on, at least one."""

    theme: str
    text: str
    posts: tuple[int, ...]


@dataclass(frozen=True)
class Draft:
    """An answer that is good; without items it says that there is nothing to tell."""

    headline: str
    items: tuple[Item, ...]


def draft(said: str, posts: int, most: int) -> Draft:
    """The good items of an answer about so many posts, at most `most`. Raises Flawed where there are none, unless the
    answer itself has none.
    """
    answer = _object(said, "items")
    items = answer["items"]
    if not isinstance(items, list):
        raise Flawed('"items" is not a list')
    good = [item for item in (_item(one, posts) for one in items[:_MOST_ITEMS]) if item]
    if items and not good:
        raise Flawed(f"no item has a text of words, and numbers of posts from 0 to {posts - 1}")
    return Draft(plain(answer.get("headline"), _MOST_HEADLINE), tuple(_merged(good)[:most]))


def merger(said: str, headlines: int, lines: int, most: int) -> tuple[int, list[list[int]]]:
    """The number of a headline, and groups of numbers of lines, each number once. Raises Flawed without any group."""
    answer = _object(said, "lines")
    groups, used = [], set[int]()
    for one in answer["lines"] if isinstance(answer["lines"], list) else ():
        group = [number for number in _numbers(one if isinstance(one, list) else [one], lines) if number not in used]
        used.update(group)
        groups += [group] if group else []
    if not groups:
        raise Flawed(f'"lines" has no numbers from 0 to {lines - 1}')
    return next(iter(_numbers([answer.get("headline")], headlines)), 0), groups[:most]


def _item(item: Any, posts: int) -> Item | None:
    if not isinstance(item, dict) or not isinstance(item.get("posts"), list):
        return None
    text, cited = plain(item.get("text"), _MOST_TEXT), _numbers(item["posts"], posts)
    return Item(plain(item.get("theme"), _MOST_THEME), text, cited) if _has_words(text) and cited else None


def _has_words(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _merged(items: Sequence[Item]) -> list[Item]:
    """The items, those with the same text as one."""
    found: dict[str, Item] = {}
    for item in items:
        same = found.get(item.text, item)
        found[item.text] = Item(same.theme, same.text, tuple(dict.fromkeys((*same.posts, *item.posts))))
    return list(found.values())


def _numbers(values: Sequence[Any], count: int) -> tuple[int, ...]:
    """Those of the values that are numbers below `count`, each once; digits in quotes are numbers too."""
    numbers = [
        int(one) for one in values if type(one) is int or (isinstance(one, str) and re.fullmatch("[0-9]{1,6}", one))
    ]
    return tuple(dict.fromkeys(number for number in numbers if 0 <= number < count))


def _object(said: str, key: str) -> dict[str, Any]:
    """The JSON object in an answer, also behind a model's thoughts, or in a fence of Markdown. Raises Flawed."""
    said = re.sub(r"^\s*<think>.*?</think>", "", said, count=1, flags=re.DOTALL)
    decoder = json.JSONDecoder()
    for found, _ in zip(re.finditer(r"\{", said), range(_MOST_STARTS), strict=False):
        try:
            answer, _end = decoder.raw_decode(said, found.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(answer, dict) and key in answer:
            return answer
    raise Flawed(f'it has no JSON object with "{key}"')


# words

# Letters to the eye of nobody: fillers of Hangul, the blank of Braille, and others that no category tells.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufffc")
_JOINERS = "\u200c\u200d"

_OPEN, _CLOSE = r"\s?[\[({<]\s?", r"\s?[\])}>]\s?"
_DOT = rf"(?:\.|{_OPEN}(?:\.|dot|punkt){_CLOSE})"
_AT = rf"(?:@|{_OPEN}(?:@|at){_CLOSE})"
_COLON = rf"(?:\s?:\s?|%3a|{_OPEN}:{_CLOSE})"
_SLASHES = r"(?:[/\\]\s?[/\\]|%2f%2f)"
_WORD = r"(?<![\w%+-])[\w%+-]+"
# Tried on a text in which each character is the one that it stands for: fullwidth ones are ASCII, in small letters.
_TAKEN_OUT = re.compile(
    rf"""!?\[[^\[\]]*\]\s?\([^()\s]*(?:\s[^()]*)?\)          # a link of Markdown: words, which stay, and an address
    | <(?=[a-z/!?])(?:[^<>]*>)?                              # a tag
    | (?:{_WORD})?{_COLON}{_SLASHES}\S*                           # an address with its scheme
    | (?:mailto|javascript|vbscript|data|file|tel|sms|xmpp|sip|magnet|bitcoin|about|blob){_COLON}\S+
    | {_SLASHES}{_WORD}(?:{_DOT}{_WORD})+\S*                 # without it
    | \bwww\d?{_DOT}\S+
    | {_WORD}(?:\.{_WORD})*{_AT}{_WORD}\S*(?:{_DOT}[a-z]\S*)?  # an address for mail
    | {_WORD}(?:{_DOT}{_WORD})*{_DOT}[^\W\d_]{{2,}}(?::\d+\S*|[/?\#]\S+)  # a host with a path
    | \d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d+|/)\S*
    | [\[(](?:posts?\s|n\s?=\s?)?\d+(?:,\s?\d+)*[\])](?=[\s.,;:!?]|$)     # numbers of posts
    | \](?=[(\[]) | ^\s*\#{{1,6}}\s | [*`|]+ | ~~+ | __+ | <<+ | >>+ | ^\s*[>•+-]+\s | \[/?[a-z]{{1,5}}(?:=[^\]]*)?\]
    """,
    re.VERBOSE,
)
_MARKDOWN = re.compile(r"!?\[([^\[\]]*)\]\s?\(")
# What mail programs take for a host: its dots become spaces, "Booking.com" is still to be read.
_INNER_DOT = re.compile(rf"(?<=[\w-]){_DOT}(?=[^\W\d_]{{2,}})")


def plain(said: object, most: int) -> str:
    """A model's words as one line of plain text, at most about so many characters; "" for what is no text.

    No address in it can be clicked, written out or disguised, and there is no markup. What is taken out leaves a space,
    so that nothing new can come together.
    """
    if not isinstance(said, str):
        return ""
    text = said[:_MOST_READ]
    while (cleaner := _cleaned(text)) != text:
        text = cleaner
    return cut(text, most)


def _cleaned(text: str) -> str:
    text = _seen(html.unescape(text))
    text = _replaced(text, _TAKEN_OUT, lambda gone: f" {found[1]} " if (found := _MARKDOWN.match(gone)) else " ")
    text = _replaced(text, _INNER_DOT, lambda _: " ")
    return re.sub(r" +(?=[.,](?:\s|$))", "", " ".join(text.split()))


def _seen(text: str) -> str:
    """A text without what nobody sees, what steers a terminal or the direction of the text, and heaps of marks.

    Joiners stay where they join: between characters of which none is ASCII.
    """
    kept: list[str] = []
    marks = 0
    for char, after in zip(text, text[1:] + " ", strict=False):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char.isspace() or category in ("Zl", "Zp"):
            kept.append(" ")
        elif char in _JOINERS:
            kept += [char] if kept and not kept[-1].isascii() and not after.isascii() else []
        elif category[0] != "C" and char not in _BLANK and marks <= _MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def _replaced(text: str, pattern: re.Pattern[str], by: Callable[[str], str]) -> str:
    """A text in which what the pattern finds, among what its characters stand for, is replaced."""
    folded, origins = _folded(text)
    pieces, end = list[str](), 0
    for found in pattern.finditer(folded):
        start = max(end, origins[found.start()])
        pieces += [text[end:start], by(text[start : origins[found.end() - 1] + 1])]
        end = origins[found.end() - 1] + 1
    return "".join([*pieces, text[end:]])


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """What the characters of a text stand for (NFKC, UAX 15), in small letters, and where each of these comes from."""
    if text.isascii():
        return text.lower(), range(len(text))
    folded = [
        (stands_for, origin)
        for origin, char in enumerate(text)
        if char not in _JOINERS
        for stands_for in unicodedata.normalize("NFKC", char).casefold()
    ]
    # The full stop of Chinese is a dot in the name of a host (UTS 46), not at the end of a sentence.
    joined = re.sub(r"(?<=[a-z0-9-])。(?=[a-z])", ".", "".join(char for char, _ in folded))
    return joined, [origin for _, origin in folded]
