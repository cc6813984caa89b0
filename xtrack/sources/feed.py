"""RSS and Atom, by http(s) or from a file. feedparser reads the documents; what could make that costly or unsafe is
refused before.

A feed holds its newest entries only, so every read is of the whole document; the store knows the posts that it has.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from xtrack.errors import BadData, Misconfigured, NotFound, Temporary, XTrackError
from xtrack.models import Page, Post
from xtrack.sources import _file, _html, _http, _xml
from xtrack.sources._characters import mended, printable

_ENDINGS = (".xml", ".rss", ".atom")
_ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"
# feedparser needs up to 20 microseconds for each.
_TAGS = 1_000_000
# Characters of a post, of the HTML that it is made from, of a link, of a name; bytes of a header that is kept.
_TEXT, _MARKUP, _LINK, _NAME, _HEADER = 20_000, 1_000_000, 2_000, 200, 500
# Some programs write year 1 for no date, which few time zones can show.
_FIRST_YEAR = 1900

_WEB_PAGE = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+html|<html)\b", re.IGNORECASE)
_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
# A name beside an address: "kaya@town.example (Kaya)", "Kaya (kaya@town.example)". (feedparser's own `author_detail`
# knows top-level domains of up to four letters, and makes the handle "ple" of "@kaya@town.example".)
_MAIL = re.compile(r"\S+@\S+ \((.+)\)|(.+) \(\S+@\S+\)")
# "@kaya", "Kaya (@kaya)".
_HANDLE = re.compile(r"(?:([^(]*)\()?@([A-Za-z0-9_]{1,15})\)?")
# What bridges from X put before the words in a title.
_BRIDGE = re.compile(r"(?:RT by @\w+|R to @\w+|Pinned): ")


def claim(argument: str) -> str | None:
    """A web address in its canonical form, or the absolute path of a file that has a feed's name or begins with "<".

    Raises BadData for what cannot be an address, and for one that holds a password.
    """
    if re.match("https?:", argument, re.IGNORECASE):
        return _canonical(argument)
    path = _file.absolute(argument)
    return path if path and (path.lower().endswith(_ENDINGS) or _begins_as_xml(Path(path))) else None


def describe(spec: str) -> str:
    """What it is, in words."""
    return "an RSS or Atom feed" if _is_web(spec) else "a file with an RSS or Atom feed"


def open_source(spec: str) -> "Feed":
    """The feed at a web address, or in the file with an absolute path."""
    return Feed(spec)


@dataclass(frozen=True)
class _Document:
    """A feed as fetched; `base` is what its links are relative to."""

    data: bytes
    headers: Mapping[str, str]
    base: str

    @property
    def cursor(self) -> str:
        """A hash of it, and by what the server knows it: opaque tags (RFC 9110, sections 8.8.2 and 8.8.3)."""
        tags = {"etag": self.headers.get("etag", ""), "modified": self.headers.get("last-modified", "")}
        kept = {
            name: tag for name, tag in tags.items() if tag.isascii() and tag.isprintable() and 0 < len(tag) < _HEADER
        }
        return json.dumps({"hash": hashlib.sha256(self.data).hexdigest()[:16], **kept}, separators=(",", ":"))


class Feed:
    """A feed. Its cursor is JSON: what the document was that was read last."""

    def __init__(self, spec: str, limits: _http.Limits = _http.LIMITS) -> None:
        self.spec = spec
        self.limits = limits

    def check(self, names: tuple[str, ...]) -> None:
        """Read it as a run does. Names cannot match where no entry tells its author's."""
        document = self._fetch({})
        posts = self._posts(document, datetime.max.replace(tzinfo=UTC)) if document else ()
        if names and posts and not any(post.author for post in posts):
            raise NotFound("no entry of this feed has an author's @name, so none would match", "leave the names out")

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """All entries if the document has changed since `cursor`. One without a date is of `now`; none is later."""
        before = json.loads(cursor) if cursor else {}
        document = self._fetch(before)
        if document and document.cursor != cursor:
            same = json.loads(document.cursor)["hash"] == before.get("hash")
            yield Page(() if same else self._posts(document, now), document.cursor)

    def _fetch(self, before: dict[str, str]) -> _Document | None:
        """The document, None when the server says that it is the one of `before`."""
        if not _is_web(self.spec):
            return _Document(self._file_bytes(), {}, "")
        tags = {"If-None-Match": before.get("etag", ""), "If-Modified-Since": before.get("modified", "")}
        headers = {"Accept": _ACCEPT} | {name: tag for name, tag in tags.items() if tag}
        answer = _http.get(self.spec, headers, self.limits)
        if answer.status == 304 and before:
            return None
        if error := _http.problem(answer):
            raise error
        return _Document(answer.body, answer.headers, answer.url)

    def _file_bytes(self) -> bytes:
        with _file.opened(Path(self.spec)) as file:
            data = file.read(self.limits.size + 1)
        if len(data) > self.limits.size:
            raise BadData(f"{self.spec} is larger than {self.limits.size:,} bytes")
        return data

    def _posts(self, document: _Document, now: datetime) -> tuple[Post, ...]:
        """The entries, each once, the oldest first; of those with one date the one furthest down."""
        if not document.data.strip():
            raise Temporary(f"{self.spec} is empty")
        text = _xml.decoded(document.data, document.headers.get("content-type", ""))
        if _WEB_PAGE.match(text):
            raise BadData(f"{self.spec} is a web page, not a feed", _feed_hint(text, document.base))
        parsed = _parsed(text, self.spec)
        reader = _Entries(self.spec, document.base, parsed["feed"], now)
        posts = {post.id: post for post in map(reader.post, reversed(parsed["entries"]))}
        return tuple(sorted(posts.values(), key=lambda post: post.created_at))


def _is_web(spec: str) -> bool:
    return spec.startswith(("http://", "https://"))


def _canonical(url: str) -> str:
    """Scheme and host in lower case, no fragment."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        raise BadData("not a web address: it has no host, or no port that can be") from None
    if parts.username is not None:
        raise BadData("a web address with a name or password in it would end up in logs", "leave out what is before @")
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path or "/", fragment="").geturl()


def _begins_as_xml(path: Path) -> bool:
    try:
        with _file.opened(path) as file:
            return file.read(1024).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")
    except (XTrackError, ValueError):  # a path with a NUL byte is no path
        return False


def _feed_hint(page: str, base: str) -> str:
    addresses = [address for address in (_web_address(link, base) for link in _html.feeds(page)) if address]
    return f"its feed: --source {addresses[0]}" if addresses else "look on the page for the address of its feed"


def _parsed(text: str, spec: str) -> Any:
    """What feedparser makes of a document: a mapping with the `feed` and its `entries`.

    Raises BadData for what is no feed or may do harm, Temporary for a part of one, Misconfigured without feedparser.
    """
    try:
        import feedparser
    except ImportError:
        hint = "pip install 'xtrack-cli[feeds]', or with pipx: pipx inject xtrack-cli feedparser"
        raise Misconfigured("reading feeds needs the Python package feedparser", hint) from None

    if text.count("<") > _TAGS:
        raise BadData(f"{spec} has more than {_TAGS:,} tags")
    document = mended(text).encode("utf-8", "replace")
    flaw = _xml.flaw(document, spec)
    try:
        # A stream: a string would be opened if it looked like a file or an address. Links stay relative: where
        # redirects lead must not change ids.
        parsed = feedparser.parse(
            io.BytesIO(document),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as error:  # whatever a hostile document makes it raise
        raise BadData(f"{spec} cannot be read as a feed ({type(error).__name__})") from error
    if not parsed["entries"] and not parsed.get("version"):
        raise BadData(f"{spec} is neither RSS nor Atom" + (f" ({flaw})" if flaw else ""))
    return parsed


@dataclass(frozen=True)
class _Entries:
    """Makes posts of a feed's entries, which are feedparser's mappings; nothing in them can be relied on."""

    spec: str
    base: str
    feed: Any
    now: datetime

    def post(self, entry: Any) -> Post:
        content = _content(entry)
        title, text = _text(entry.get("title_detail")), _text(content)
        author, name = _author(entry)
        key = entry.get("id") or entry.get("link") or f"{title}\n{text}"
        return Post(
            id="feed-" + hashlib.sha256(f"{self.spec}\n{key}".encode("utf-8", "replace")).hexdigest()[:24],
            author=author,
            author_name=name if name or author else _line(_text(self.feed.get("title_detail"))),
            created_at=min(_moment(entry) or self.now, self.now),
            kind="post",
            text=_together(title, text) or "[media]",
            url=self._url(entry),
            lang=_language(content.get("language") or self.feed.get("language")),
        )

    def _url(self, entry: Any) -> str:
        """The entry's link, else the feed's, else the address of the feed itself."""
        links = (_web_address(link, self.base) for link in (entry.get("link"), self.feed.get("link"), self.base))
        return next((link for link in links if link), "")


def _author(entry: Any) -> tuple[str, str]:
    """Handle and name, each empty where the entry does not tell it."""
    name = _line(entry.get("author"))
    if beside := _MAIL.fullmatch(name):
        name = beside[1] or beside[2]
    handle = _HANDLE.fullmatch(name)
    return (handle[2], (handle[1] or "").strip()) if handle else ("", name)


def _content(entry: Any) -> Any:
    """The longest text of an entry."""
    parts = [part for part in entry.get("content") or () if _is_text(part)]
    return max([*parts, entry.get("summary_detail") or {}], key=lambda part: len(part.get("value") or ""))


def _is_text(part: Any) -> bool:
    kind = part.get("type") or "text/html"
    return kind.startswith("text/") or kind == "application/xhtml+xml"


def _text(part: Any) -> str:
    """A text that may be HTML, as lines."""
    value, kind = (part or {}).get("value") or "", (part or {}).get("type") or ""
    text = _html.words(value[:_MARKUP]) if "html" in kind else value
    lines = (" ".join(line.split()) for line in printable(text).splitlines())
    return "\n".join(line for line in lines if line)


def _line(text: object) -> str:
    return " ".join(printable(str(text or "")).split())[:_NAME]


def _together(title: str, text: str) -> str:
    """Title and text; one alone where it begins with the other, as for posts that have no title of their own."""
    start, flat = " ".join(_BRIDGE.sub("", title, count=1).split()), " ".join(text.split())
    if flat.startswith(start.rstrip(".… ")):
        whole = text
    else:
        whole = title if start.startswith(flat.rstrip(".… ")) else f"{title}\n{text}"
    return whole if len(whole) <= _TEXT else whole[: _TEXT - 1] + "…"


def _moment(entry: Any) -> datetime | None:
    """When it was published, else updated. feedparser gives UTC, and now and then what no calendar has."""
    # dict's own get: feedparser's gives one for the other, with a warning.
    for parts in (dict.get(entry, "published_parsed"), dict.get(entry, "updated_parsed")):
        try:
            if parts and parts[0] >= _FIRST_YEAR:
                year, month, day, hour, minute, second = parts[:6]
                return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _language(tag: object) -> str:
    """The language of a tag such as en-GB (RFC 5646)."""
    found = re.match("[A-Za-z]{2,3}(?![A-Za-z0-9])", str(tag or ""))
    return found[0].lower() if found else ""


def _web_address(link: object, base: str) -> str:
    """An absolute address on the web, "" for anything else."""
    try:
        address = urljoin(base, str(link).strip()).replace(" ", "%20") if link else ""
    except ValueError:
        return ""
    is_one = len(address) <= _LINK and address == printable(address) and _WEB_ADDRESS.fullmatch(address)
    return address if is_one else ""
