"""HTML as it comes in feeds, and what is needed of it: its words, and the feeds that a web page names.

Everything here takes time that is linear in the length: the standard library's parser takes 44 s for 64 KiB of "<a "
(measured, Python 3.11.7).
"""

import re
from collections.abc import Iterator

from xtrack.sources._characters import unescaped

# A tag without its "<"; where its quotes do not close, up to the first ">".
_TAG = re.compile(r"""([/!?]?)([a-zA-Z\[][^\s/>]*+)(?:(?:[^>"']++|"[^"]*+"|'[^']*+')*+>|[^>]*+>)""")
_UNSEEN = frozenset(("script", "style", "template", "noscript", "iframe", "svg", "title"))
_LINES = re.compile(
    "address|article|aside|blockquote|body|br|center|d[dlt]|div|figcaption|figure|footer|form|h[1-6r]|header|li|main|nav|"
    "[ou]l|p|pre|section|table|tr",
    re.IGNORECASE,
)

_FEED_LINK = re.compile(r"""link\b[^>]*?\btype\s*=\s*["']?application/(?:rss|atom)\+xml\b""", re.IGNORECASE)
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)


def words(markup: str) -> str:
    """The words, one line a paragraph. A "<" inside a tag ends it: nothing that is HTML has one there."""
    lines = unescaped("".join(_seen(markup))).splitlines()
    return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)


def feeds(page: str) -> list[str]:
    """The addresses of the feeds that a web page names, as it writes them (rssboard.org/rss-autodiscovery)."""
    links = (piece.partition(">")[0] for piece in page.split("<"))
    found = (_HREF.search(link) for link in links if _FEED_LINK.match(link))
    return [unescaped(href[1] or href[2] or href[3] or "").strip() for href in found if href]


def _seen(markup: str) -> Iterator[str]:
    """What is seen of each piece between two "<", and a line end where a block begins or ends."""
    first, *pieces = markup.split("<")
    yield _spaced(first)
    until = ""  # what ends the part that is not seen, in which we are
    for piece in pieces:
        if until.startswith("/") and piece[: len(until)].lower() == until:
            until = ""
        if not until and piece.startswith("!--"):
            until, piece = "-->", piece.removeprefix("!--")
        if until == "-->" and until in piece:
            until = ""
            yield _spaced(piece.partition("-->")[2])
        elif not until:
            tag = _TAG.match(piece)
            if tag and not tag[1] and tag[2].lower() in _UNSEEN and not tag[0].endswith("/>"):
                until = "/" + tag[2].lower()
            else:
                yield _shown(piece, tag)


def _shown(piece: str, tag: re.Match[str] | None) -> str:
    if tag is None:
        return "<" + _spaced(piece)
    line_end = "\n" if _LINES.fullmatch(tag[2]) else ""
    return line_end + _spaced(piece[tag.end() :])


def _spaced(text: str) -> str:
    """A line end in HTML is a space."""
    return text.replace("\n", " ").replace("\r", " ")
