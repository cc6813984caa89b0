"""Text laid out by the columns of a terminal that it takes, hostile text too. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate

# What could steer a terminal, turn the direction of what follows, or not be encoded; white space is no part of it.
_UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A word that is left whole, so that it can be clicked, with the marks around it.
_WHOLE = re.compile(r"[(\"“]?https?://[!-~]+…?", re.IGNORECASE)
_FEW = 3
_JOINER = "\u200d"
_CLOSING = frozenset("、。，．：；！？）」』】》〉”’…")


def tidy(text: str) -> str:
    """A text as one line, without what could steer a terminal or turn the direction of what follows it."""
    return " ".join(_UNPRINTABLE.sub("", text).split())


def few(names: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def width(text: str) -> int:
    """How many columns of a terminal a text takes, at most: terminals differ in joined emoji."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    """0 for what is drawn over or steers its neighbours, 2 for wide ones (UAX 11), else 1.

    The emoji selector U+FE0F counts because it widens what it follows; many terminals draw the soft hyphen.
    """
    if unicodedata.category(character) in ("Mn", "Me", "Cf") and character not in "\ufe0f\u00ad":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """A text of at most so many columns, the last one an ellipsis where something is left out."""
    return text if width(text) <= columns else text[: fitting(text, columns - 1)].rstrip() + "…"


def wrap(text: str, columns: int, first: str = "", rest: str = "") -> str:
    """A text in lines of at most so many columns, broken at spaces; `first` and `rest`, alike in width, indent them.

    A longer word is broken where the line ends, but a link never is.
    """
    room = max(columns - len(rest), 2)
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if width(joined) <= room:
            lines[-1] = joined
        elif width(word) <= room or _WHOLE.fullmatch(word):
            lines[-1:] = [lines[-1], word] if lines[-1] else [word]
        elif width(lines[-1]) < room:
            lines[-1:] = _pieces(joined, room)
        else:
            lines += _pieces(word, room)
    return "\n".join(f"{rest if number else first}{line}".rstrip() for number, line in enumerate(lines))


def _pieces(text: str, columns: int) -> list[str]:
    pieces = []
    while text:
        end = fitting(text, columns)
        pieces.append(text[:end])
        text = text[end:].lstrip()
    return pieces


def fitting(text: str, columns: int) -> int:
    """How many of a text's first characters, at least one, fit into so many columns.

    What belongs to the character before it stays there, and no closing mark begins a line, where that can be had.
    """
    used = accumulate(map(_columns, text))
    end = next((number for number, columns_used in enumerate(used) if columns_used > columns), len(text))
    start = end
    while 0 < start < len(text) and (_clings(text[start]) or text[start - 1] == _JOINER):
        start -= 1
    return start or max(end, 1)


def _clings(character: str) -> bool:
    """Whether a line may not begin with it: marks, what steers its neighbours, skin tones, closing marks."""
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or character in _CLOSING
    )
