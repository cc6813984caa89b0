"""What the search index is given, and how it is asked: FTS5 knows words by the spaces between them. Pure."""

import re
from collections.abc import Iterable
from functools import cache

from xtrack.errors import BadData

# Thai, Lao, Burmese, Khmer; kana; the ideographs; the syllables of Korean, to whose words particles cling.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
# The points of Hebrew and Arabic, vowels that are seldom written.
_POINTS = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
# Letters off which FTS5 itself takes all accents (remove_diacritics 2), and what is none.
_LATIN = "\0-\u017f"
# What ends a query, and half characters, of which arguments that are no UTF-8 are made.
_NOT_SQL = re.compile("[\0\ud800-\udfff]")


@cache
def _any_of(characters: str) -> re.Pattern[str]:
    """Compiled when first needed, which takes some milliseconds: most runs have no use for it."""
    return re.compile(f"[{characters}]")


def spaced(text: str) -> str:
    """A text without accents in which each character of a script without spaces is a word of its own.

    A row of them is then found as a phrase is.
    """
    if text.isascii():
        return text
    from unicodedata import normalize

    bare = _any_of(f"\u0300-\u036f{_POINTS}").sub("", normalize("NFD", text))
    return _any_of(_SPACELESS).sub(r" \g<0> ", normalize("NFC", bare))


def unfound(text: str) -> str:
    """What has to be indexed beside a text itself: nothing, unless FTS5 does not find all its words by it."""
    if text.isascii():
        return ""
    others = _any_of(_LATIN).sub("", text)
    return "" if spaced(others) == others else spaced(text)


def query(words: Iterable[str]) -> str:
    """What to ask FTS5 (https://www.sqlite.org/fts5.html) for texts with all these words or phrases.

    One that ends with * is the beginning of a word. Raises BadData when there is nothing in them to search for.
    """
    parts = []
    for word in words:
        text = _NOT_SQL.sub(" ", spaced(word.rstrip("*"))).replace('"', '""')
        if any(map(str.isalnum, text)):
            parts.append(f'"{text}"' + "*" * word.endswith("*"))
    if not parts:
        raise BadData("there is no word to search for", "xtrack search --help")
    return " ".join(parts)
