"""How X writes down what people post: short links, entities with offsets, HTML entities, texts cut short.

Offsets count code points of the text as it is sent, HTML entities and all.
"""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]

_PIECES = re.compile(
    r"(?P<urls>https?://[^\s<>\"]*[^\s<>\".,;:!?)])"
    r"|(?<!\w)@(?P<mentions>[A-Za-z0-9_]{1,15})(?!\w)"
    r"|(?<!\w)#(?P<hashtags>\w*[^\W\d]\w*)"
    r"|(?<!\w)\$(?P<cashtags>[A-Z]{1,6})(?!\w)"
)
_ADDRESSEES = re.compile(r"(?:@[A-Za-z0-9_]{1,15}(?:\s+|$))*")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Piece:
    """Words that belong together, and the entities of one kind that stand for them."""

    words: str
    kind: str = ""
    entities: tuple[Json, ...] = ()


def addressees(words: str) -> str:
    """The names that a text begins with, with the spaces behind them."""
    found = _ADDRESSEES.match(words)
    return found[0] if found else ""


def pieces(words: str, shorten: Callable[[str], str]) -> list[Piece]:
    """What somebody typed, with links made short."""
    found, end = [], 0
    for match in _PIECES.finditer(words):
        found += [Piece(words[end : match.start()]), _piece(match, shorten)]
        end = match.end()
    return [piece for piece in (*found, Piece(words[end:])) if piece.words]


def _piece(match: re.Match[str], shorten: Callable[[str], str]) -> Piece:
    kind = match.lastgroup or ""
    if kind == "urls":
        return link(shorten(match[0]), match[0])
    return Piece(match[0], kind, ({"username" if kind == "mentions" else "tag": match[kind]},))


def link(short: str, target: str, **more: Any) -> Piece:
    """A link; `display_url` is the target without its scheme, cut after 30 characters, unless given."""
    display = re.sub(r"^https?://(www\.)?", "", target)
    shown = display if len(display) <= 30 else display[:29] + "…"
    return Piece(short, "urls", ({"url": short, "expanded_url": target, "display_url": shown, **more},))


def short_link(*of: object) -> str:
    """A t.co link, always the same for the same parts."""
    number = int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "big")
    name = "".join(_BASE62[number // 62**place % 62] for place in range(10))
    return f"https://t.co/{name}"


def length(parts: Sequence[Piece]) -> int:
    return sum(len(piece.words) for piece in parts)


def cut(parts: Sequence[Piece], limit: int, tail: Sequence[Piece]) -> list[Piece]:
    """The beginning of `parts`, `tail` behind it, where they are longer than `limit`. Only plain words are divided."""
    if length(parts) <= limit:
        return list(parts)
    kept: list[Piece] = []
    room = limit - length(tail)
    for piece in parts:
        if len(piece.words) > room:
            kept += [] if piece.kind else [replace(piece, words=piece.words[:room])]
            break
        kept.append(piece)
        room -= len(piece.words)
    return [*kept, *tail]


def written(parts: Sequence[Piece]) -> tuple[str, Json]:
    """The text as it is sent, and its entities by kind."""
    text = ""
    entities: Json = {}
    for piece in parts:
        start = len(text)
        text += html.escape(piece.words, quote=False)
        for entity in piece.entities:
            entities.setdefault(piece.kind, []).append({"start": start, "end": len(text), **entity})
    return text, entities
