"""What strangers send: documents near feeds, HTML, headers. Whatever comes, there are posts or an error of ours."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers.web import Web
from xtrack.errors import XTrackError
from xtrack.models import Post
from xtrack.sources import _html, _xml
from xtrack.sources._characters import printable
from xtrack.sources._http import Limits, get, retry_after
from xtrack.sources.feed import claim, open_source

# More where the profile asks for more.
EXAMPLES = max(1000, settings.default.max_examples if settings.default else 0)
NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)

RSS = b"""<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"
xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>Harbour</title><link>/home</link>
<item><title>Ferry &amp;amp; late</title><link>1</link><guid>1</guid><pubDate>Fri, 15 Jan 2027 08:00:00 +0100</pubDate>
<dc:creator>@kaya</dc:creator><description>&lt;p&gt;Late&lt;/p&gt;</description></item>
<item><content:encoded><![CDATA[<b>Nets</b> out]]></content:encoded></item></channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://town.example/" xml:lang="de"><title>Häfen</title>
<entry><id>a:1</id><title type="html">Fähre &lt;b></title><link href="1"/><updated>2027-01-15T08:00:00Z</updated>
<author><name>Kaya</name><email>k@town.example</email></author><content type="xhtml"><div>x</div></content></entry>
<entry><content type="base64">&#233;</content></entry></feed>"""
SEEDS = (RSS, ATOM.encode(), ATOM.encode("utf-16"), RSS.replace(b"utf-8", b"windows-1251"))
# What means something to one of the parsers.
PIECES = st.sampled_from(
    [
        *(
            b"<",
            b">",
            b"&",
            b";",
            b"&#",
            b"&#x",
            b"]]>",
            b"<![CDATA[",
            b"<!--",
            b"-->",
            b"<?",
            b"?>",
            b"</",
            b"/>",
            b'"',
            b"=",
        ),
        *(b"<!DOCTYPE rss [", b"<!ENTITY a 'b'>", b"]>", b"&a;", b"&nbsp;", b"&#xd800;", b"&#" + b"9" * 4400 + b";"),
        *(
            b"<item>",
            b"</item>",
            b"<entry>",
            b"</channel>",
            b"<title>",
            b"<pubDate>",
            b"<guid>",
            b"<link>",
            b"<author>",
        ),
        *(
            b"\x00",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\x1b[2J",
            "\u202e".encode(),
            b" xml:base='http://['",
            b" type='html'",
        ),
        *(
            b" mode='base64'",
            b" xml:lang='x'",
            b" encoding='utf-7'",
            b"xmlns:a='b'",
            b"<a:b>",
            b"0",
            b"9999",
            b"-",
            b"T",
            b":",
        ),
    ]
)


@st.composite
def near_feeds(draw: st.DrawFn) -> bytes:
    """A feed in which some places were cut out, doubled or written over."""
    document = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(document)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 10, 100]))
        piece = draw(st.one_of(PIECES, st.binary(max_size=4), st.just(document[start : start + 40] * 2)))
        document = document[:start] + piece + document[end:]
    return document


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "feed.xml"


def is_sound(post: Post) -> bool:
    """Whether it can be stored, printed and linked to."""
    texts = (post.text, post.author, post.author_name, post.url, post.lang)
    "".join(texts).encode()
    return (
        all(text == printable(text) for text in texts)
        and 0 < len(post.text) <= 20_000
        and len(post.id) == 29
        and (not post.url or post.url.startswith(("http://", "https://")))
        and datetime(1900, 1, 1, tzinfo=UTC) <= post.created_at <= NOW
    )


@settings(max_examples=EXAMPLES)
@given(document=near_feeds())
def test_a_document_gives_sound_posts_or_an_error_of_ours(path: Path, document: bytes) -> None:
    path.write_bytes(document)
    source = open_source(str(path))
    try:
        pages = list(source.read(None, NOW))
    except XTrackError as error:
        assert str(error).isprintable()
        return
    assert all(is_sound(post) for page in pages for post in page.posts)
    assert [page.cursor for page in source.read(pages[0].cursor, NOW)] == []


@settings(max_examples=EXAMPLES)
@given(data=st.one_of(near_feeds(), st.binary(max_size=60)), kind=st.text(max_size=30), charset=st.text(max_size=12))
def test_any_bytes_are_text_of_some_kind(data: bytes, kind: str, charset: str) -> None:
    for content_type in (kind, f"text/xml; charset={charset}"):
        _xml.decoded(data, content_type).encode("utf-8", "strict")


MARKUP = st.lists(
    st.one_of(
        st.sampled_from(
            ["<", ">", "<p>", "</p>", "<script>", "</script>", "<!--", "-->", "<br/>", '"', "'", "<a href=", "&"]
        ),
        st.sampled_from(
            ["&lt;", "&#0;", "&#x1b;", "&#99999999999;", "<![CDATA[", "]]>", "<svg>", "</style", "\n", "\u2028"]
        ),
        st.text(max_size=5),
    ),
    max_size=30,
).map("".join)


@settings(max_examples=EXAMPLES)
@given(markup=MARKUP)
def test_html_gives_words_in_lines(markup: str) -> None:
    words = _html.words(markup)
    assert all(line == " ".join(line.split()) != "" for line in words.splitlines())
    _html.feeds(markup)


@settings(max_examples=EXAMPLES)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<&"), max_size=60))
def test_html_without_markup_keeps_all_words(text: str) -> None:
    assert _html.words(text).split() == text.split()


@settings(max_examples=EXAMPLES)
@given(
    value=st.one_of(
        st.text(max_size=40), st.integers().map(str), st.datetimes().map(lambda d: format_datetime(d, False))
    )
)
def test_when_to_come_back_is_never_an_error(value: str) -> None:
    retry_after(value)


@settings(max_examples=EXAMPLES)
@given(moment=st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)))  # noqa: DTZ001 - as hypothesis wants
def test_a_moment_to_come_back_is_that_moment(moment: datetime) -> None:
    assert retry_after(format_datetime(moment, usegmt=True)) == moment.replace(microsecond=0)


@settings(max_examples=EXAMPLES)
@given(
    address=st.one_of(
        st.text(max_size=30), st.text(max_size=30).map("http://".__add__), st.text(max_size=9).map("https:".__add__)
    )
)
def test_an_address_is_claimed_left_or_refused(address: str) -> None:
    try:
        spec = claim(address)
    except XTrackError as error:
        assert "@" not in str(error)
        return
    assert spec is None or claim(spec) == spec


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Content-Length", "Transfer-Encoding", "Content-Encoding", "Location", "ETag", "Set-Cookie", "Connection"]
        ),
        st.sampled_from(
            ["chunked", "gzip", ": ", ":", "\r\n", "\r\n ", "-1", "99", "0", "/feed.xml", "http://[", "close", ","]
        ),
        st.text(st.characters(max_codepoint=255), max_size=5),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=EXAMPLES // 4)
@given(
    status=st.sampled_from(["200 OK", "200", "301 M", "304 N", "100 C", "99 X", "1000 X", "abc", "\xff", "503 S"]),
    headers=HEADERS,
    body=st.one_of(st.just(RSS), st.binary(max_size=20)),
)
def test_an_answer_is_taken_or_an_error_of_ours(web: Web, status: str, headers: str, body: bytes) -> None:
    whole = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode("latin-1") + body
    web.routes["/feed.xml"] = whole
    web.asked.clear()
    try:
        get(web.url(), {}, Limits(connect=5, read=5, total=10))
    except XTrackError as error:
        assert str(error).isprintable()
    assert len(web.asked) <= 6
