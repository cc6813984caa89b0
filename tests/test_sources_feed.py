"""RSS and Atom as people write them, and documents that are meant to do harm."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.peers.web import Web, answer, closed_port, dripping, redirect, zipped
from xtrack.errors import BadData, Misconfigured, NotFound, Refused, Temporary
from xtrack.models import Post
from xtrack.sources import _html, resolve
from xtrack.sources._http import Limits
from xtrack.sources.feed import Feed, claim, describe, open_source

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)


def rss(*items: str, channel: str = "<title>Harbour news</title><link>https://town.example/</link>") -> bytes:
    namespaces = (
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:atom="http://www.w3.org/2005/Atom"'
    )
    whole = "".join(f"<item>{item}</item>" for item in items)
    return f'<?xml version="1.0"?><rss version="2.0" {namespaces}><channel>{channel}{whole}</channel></rss>'.encode()


def item(number: int) -> str:
    return (
        f"<title>Ferry {number} is late</title><link>https://town.example/{number}</link><guid>{number}</guid>"
        f"<pubDate>Fri, 15 Jan 2027 08:{number:02}:00 +0100</pubDate>"
    )


def atom(*entries: str, head: str = "<title>Harbour</title>") -> bytes:
    whole = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{head}{whole}</feed>'.encode()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.xml"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def read(spec: str, cursor: str | None = None, now: datetime = NOW) -> tuple[list[Post], str | None]:
    """The posts that one read gives, and the cursor after it."""
    posts: list[Post] = []
    for page in open_source(spec).read(cursor, now):
        posts += page.posts
        cursor = page.cursor
    return posts, cursor


def posts_of(path: Path, document: bytes) -> list[Post]:
    path.write_bytes(document)
    open_source(str(path)).check(())
    return read(str(path))[0]


def only(path: Path, document: bytes) -> Post:
    (post,) = posts_of(path, document)
    return post


# what is one


def test_claim_takes_web_addresses_in_one_form() -> None:
    assert claim("HTTPS://Town.Example:8443/Feed.xml?Page=2#top") == "https://town.example:8443/Feed.xml?Page=2"
    assert claim("http://town.example") == "http://town.example/"
    assert resolve("https://town.example/feed") == ("feed", "https://town.example/feed")


@pytest.mark.parametrize("url", ["https://kaya:s3cret@town.example/feed", "http://kaya@town.example/"])
def test_claim_refuses_a_password(url: str) -> None:
    with pytest.raises(BadData, match="would end up in logs") as caught:
        claim(url)
    assert "s3cret" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "url", ["http://", "https:///feed", "http://[::1/", "http:feed", "http://a:99999/", "http://a:0/"]
)
def test_claim_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(BadData, match="not a web address"):
        claim(url)


@pytest.mark.parametrize("name", ["a.xml", "a.RSS", "a.atom"])
def test_claim_takes_files_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert claim(name) == str(tmp_path / name)


@pytest.mark.parametrize("content", [b"<rss/>", b"\n \t<feed/>", b"\xef\xbb\xbf<rss/>", "<rss/>".encode("utf-16")])
def test_claim_takes_files_that_begin_as_xml(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "feed").write_bytes(content)
    assert claim(str(tmp_path / "feed")) == str(tmp_path / "feed")


def test_claim_leaves_the_rest(tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text('{"text": "<rss>"}')
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("posts.jsonl", "empty", "pipe", "missing", "", "a\0b"):
        assert claim(str(tmp_path / name)) is None
    for argument in ("sample", "", "ftp://town.example/feed.xml", "~nobody-has-this-name/feed.xml"):
        assert claim(argument) is None


def test_it_says_what_it_is() -> None:
    assert describe("https://town.example/") == "an RSS or Atom feed"
    assert describe("/srv/feed.xml") == "a file with an RSS or Atom feed"


# entries


def test_an_rss_item(path: Path) -> None:
    document = rss(
        "<title>Ferry &amp;amp; weather</title><link>https://town.example/1</link><guid isPermaLink='false'>1</guid>"
        "<description>&lt;p&gt;All boats &lt;b&gt;stay&lt;/b&gt; in.&lt;/p&gt;&lt;p&gt;Wind 9&amp;nbsp;Bft&lt;/p&gt;"
        "</description>"
        "<pubDate>Fri, 15 Jan 2027 10:30:00 +0100</pubDate><dc:creator>@kaya</dc:creator>",
        channel="<title>Harbour news</title><language>en-GB</language>",
    )
    post = only(path, document)
    assert post.id.startswith("feed-")
    assert len(post.id) == 29
    assert (post.author, post.author_name, post.kind, post.lang) == ("kaya", "", "post", "en")
    assert post.created_at == datetime(2027, 1, 15, 9, 30, tzinfo=UTC)
    assert post.text == "Ferry & weather\nAll boats stay in.\nWind 9 Bft"
    assert post.url == "https://town.example/1"


def test_an_atom_entry(path: Path) -> None:
    document = atom(
        '<title type="html">Nets &amp;lt;out&amp;gt;</title><id>tag:town.example,2027:1</id>'
        '<link rel="self" href="https://town.example/self"/><link href="https://town.example/1"/>'
        "<updated>2027-01-15T09:30:00.5Z</updated><author><name>Mira</name></author><summary>Short.</summary>"
        '<content type="xhtml" xml:lang="de"><div xmlns="http://www.w3.org/1999/xhtml"><p>Das Meer</p>'
        "<p>ist <b>still</b>.</p></div></content>"
    )
    post = only(path, document)
    assert (post.author, post.author_name, post.lang) == ("", "Mira", "de")
    assert post.created_at == datetime(2027, 1, 15, 9, 30, tzinfo=UTC)
    assert post.text == "Nets <out>\nDas Meer\nist still."
    assert post.url == "https://town.example/1"


def test_rss_1_with_its_dates(path: Path) -> None:
    document = b"""<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
        xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Harbour</title></channel>
        <item rdf:about="https://town.example/1"><title>Nets out</title><link>https://town.example/1</link>
        <dc:date>2027-01-15T09:30:00Z</dc:date></item></rdf:RDF>"""
    post = only(path, document)
    assert (post.text, post.author_name, post.created_at.minute) == ("Nets out", "Harbour", 30)


def test_netscapes_document_type_is_never_fetched(path: Path, web: Web) -> None:
    kind = f'<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "{web.url("/rss-0.91.dtd")}">'.encode()
    assert only(path, kind + rss(item(1)).partition(b"?>")[2]).text == "Ferry 1 is late"
    assert web.asked == []


@pytest.mark.parametrize(
    ("title", "text", "whole"),
    [
        ("Nets out today.", "Nets out  today. Sea calm.", "Nets out today. Sea calm."),
        ("Nets out to…", "Nets out today.", "Nets out today."),
        ("Nets out to...", "Nets out today.", "Nets out today."),
        ("RT by @kaya: Nets out today.", "Nets out today.", "Nets out today."),
        ("Nets out today.", "Nets out", "Nets out today."),
        ("Nets", "", "Nets"),
        ("", "Out", "Out"),
        ("", "", "[media]"),
        ("Out", "Nets out", "Out\nNets out"),
    ],
)
def test_title_and_text_are_not_said_twice(path: Path, title: str, text: str, whole: str) -> None:
    document = rss(f"<title>{title}</title><description>{text}</description><guid>1</guid>")
    assert only(path, document).text == whole


@pytest.mark.parametrize(
    ("told", "author", "name"),
    [
        ("<dc:creator>@kaya_7</dc:creator>", "kaya_7", ""),
        ("<dc:creator>Kaya Sund (@kaya)</dc:creator>", "kaya", "Kaya Sund"),
        ("<author>Kaya (@kaya)</author>", "kaya", "Kaya"),
        ("<dc:creator>kaya</dc:creator>", "", "kaya"),
        ("<dc:creator>@kaya@town.example</dc:creator>", "", "@kaya@town.example"),
        ("<author>kaya@town.example (Kaya)</author>", "", "Kaya"),
        ("<author>kaya@town.example (@kaya)</author>", "kaya", ""),
        ("<author>kaya@town.example</author>", "", "kaya@town.example"),
        ("<author>Kaya (@kaya@town.example)</author>", "", "Kaya"),
        ("<atom:author><atom:name>@kaya</atom:name><atom:email>k@town.example</atom:email></atom:author>", "kaya", ""),
        ("<dc:creator>@name_of_16_chars</dc:creator>", "", "@name_of_16_chars"),
        ("<dc:creator>Kaya\u202e\n  Sund</dc:creator>", "", "Kaya Sund"),
        ("", "", "Harbour news"),
    ],
)
def test_a_handle_only_where_it_is_clearly_one(path: Path, told: str, author: str, name: str) -> None:
    post = only(path, rss(f"<title>Nets out</title>{told}"))
    assert (post.author, post.author_name) == (author, name)


def test_the_oldest_first_and_each_once(path: Path) -> None:
    undated = [f"<title>undated {number}</title>" for number in (1, 2)]
    posts = posts_of(path, rss(item(3), *undated, item(1), item(2), item(2)))
    assert [post.text[-9:] for post in posts] == ["1 is late", "2 is late", "3 is late", "undated 2", "undated 1"]
    assert [post.created_at == NOW for post in posts] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    "date", ["", "soon", "Mon, 01 Jan 0001 00:00:00 GMT", "2099-01-01T00:00:00Z", "2027-13-45", "99999"]
)
def test_a_date_that_cannot_be_is_now(path: Path, date: str) -> None:
    assert only(path, rss(f"<title>Nets out</title><pubDate>{date}</pubDate>")).created_at == NOW


def test_a_post_without_an_id_keeps_the_one_that_it_is_given(path: Path) -> None:
    linked, bare = "<title>a</title><link>https://town.example/1</link>", "<title>a</title><description>b</description>"
    first = posts_of(path, rss(linked, bare))
    again = posts_of(path, rss(item(1), bare, linked.replace("<title>a", "<title>changed")))
    assert len({post.id for post in first}) == 2
    assert {post.id for post in first} < {post.id for post in again}


def test_two_feeds_with_the_same_ids_have_different_posts(tmp_path: Path) -> None:
    one, other = tmp_path / "one.xml", tmp_path / "other.xml"
    assert only(one, rss(item(1))).id != only(other, rss(item(1))).id


def test_ids_do_not_depend_on_where_redirects_lead(web: Web) -> None:
    """A relative guid, which without isPermaLink="false" counts as an address."""
    document = rss("<title>a</title><guid>17</guid>", "<title>b</title><link>18</link>")
    ids, urls = set(), set()
    for place in ("/one/feed.xml", "/two/feed.xml"):
        web.routes["/feed.xml"], web.routes[place] = redirect(place), answer(document)
        posts, _ = read(web.url())
        ids |= {post.id for post in posts}
        urls |= {post.url for post in posts}
    assert len(ids) == 2
    assert urls == {web.url(f"/{place}/{number}") for place in ("one", "two") for number in (17, 18)}


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("posts/1", "/a/posts/1"),
        ("/posts/1?a=b&amp;c=d", "/posts/1?a=b&c=d"),
        ("a b/1", "/a/a%20b/1"),
        ("../1", "/1"),
        ("javascript:alert(1)", "/home"),
        ("data:text/html,x", "/home"),
        ("file:///etc/passwd", "/home"),
        ("http://[", "/home"),
        ("https://town.example/\u202etxt", "/home"),
        ("https://town.example/" + "x" * 2000, "/home"),
        ("", "/home"),
    ],
)
def test_links_are_absolute_and_of_the_web(web: Web, link: str, url: str) -> None:
    web.routes["/a/feed.xml"] = answer(rss(f"<title>x</title><link>{link}</link>", channel="<link>/home</link>"))
    (post,), _ = read(web.url("/a/feed.xml"))
    assert post.url == web.url(url)


def test_xml_base_counts_and_without_links_the_feed_is_cited(web: Web, path: Path) -> None:
    head = '<title>x</title><link href="home"/>'
    document = atom('<title>a</title><id>1</id><link href="1"/>', head=head).replace(
        b"<feed ", b"<feed xml:base='posts/' "
    )
    web.routes["/feed.xml"] = answer(document)
    (post,), _ = read(web.url())
    assert post.url == web.url("/posts/1")
    web.routes["/feed.xml"] = answer(rss("<title>x</title>", channel="<title>y</title>"))
    (post,), _ = read(web.url())
    assert post.url == web.url()
    assert only(path, rss("<title>x</title>", channel="<title>y</title>")).url == ""


def test_a_long_text_is_cut(path: Path) -> None:
    text = only(path, rss(f"<title>Nets</title><description>{'out ' * 20_000}</description>")).text
    assert len(text) == 20_000
    assert text.startswith("Nets\nout out")
    assert text.endswith("…")


def test_what_steers_a_terminal_is_no_text(path: Path) -> None:
    hostile = "Nets&#x9b;31m \u202eout\u2066&lt;b&gt;&amp;#27;[2J&amp;#x1b;]0;x&amp;#7;&amp;#xd800;&lt;/b&gt;"
    post = only(path, rss(f"<title>{hostile}</title><description>{hostile}</description>"))
    assert not set(post.text) & set("\x1b\x9b\x07\u202e\u2066\ud800")
    assert "Nets" in post.text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("&#55357;&#56832; &#xD83D;&#xde00;", "😀 😀"),
        ("a&#xd800;b &#56832;c", "ab c"),
        ("&#65533; &#55295; &#55555555;", "\ufffd \ud7ff \ufffd"),
        (f"&#{'9' * 5000}; &#x{'f' * 5000}; &#128512;", "\ufffd \ufffd 😀"),
    ],
)
@pytest.mark.parametrize("amp", ["&", "&amp;"])
def test_references_to_what_is_no_character(path: Path, written: str, text: str, amp: str) -> None:
    """The parsers fail for some of these."""
    written = f"&lt;b&gt;x&lt;/b&gt; {written.replace('&', amp)}"
    assert only(path, rss(f"<guid>1</guid><description>{written}</description>")).text == f"x {text}"


# HTML


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<h1>Head</h1><p>one\n two</p><ul><li>a</li><li>b</li></ul>", "Head\none two\na\nb"),
        ("in<b>side</b> <i>words</i>", "inside words"),
        ("a<script>if (a < b) alert('<p>')</script>b<STYLE>p {}</STYLE >c", "abc"),
        ("a<!-- <p>not -- seen</p> -->b", "ab"),
        ('<a title="x > y" href=\'z > "\'>link</a>', "link"),
        ("1 < 2, 3 > 2, <3 and a<b", "1 < 2, 3 > 2, <3 and a<b"),
        ("AT&amp;T &lt;b&gt; &eacute;&#233;&#xe9; &unknown; &", "AT&T <b> ééé &unknown; &"),
        (f"&#{'9' * 5000};&#x{'f' * 5000};", "\ufffd\ufffd"),
        ("<![CDATA[x]]>a<?php x ?>b<!DOCTYPE html>c", "abc"),
        ("a<script>never closed <b>x</b>", "a"),
        ("a<!-- never closed <b>x</b>", "a"),
        ("a<script/>b<svg><title>t</title><path/></svg>c", "abc"),
        ("<table><tr><td>a</td></tr><tr><td>b</td></tr></table>", "a\nb"),
    ],
)
def test_the_words_of_html(markup: str, words: str) -> None:
    assert _html.words(markup) == words


@pytest.mark.parametrize(
    "piece", ["<", "<a ", '<a "', "<!--", "<![", "<script>", "&#", "<a", "<p>", "</", "<a '\"", "a", "\n "]
)
def test_html_takes_time_by_its_length_only(piece: str) -> None:
    """The standard library's parser takes minutes for some of these."""
    start = time.process_time()
    _html.words(piece * (300_000 // len(piece)))
    _html.words("<" + piece.strip("<") * (300_000 // len(piece)))
    _html.feeds("<link " + piece * (300_000 // len(piece)))
    assert time.process_time() - start < 5


# encodings


RUSSIAN = "<title>Паром опоздал</title><guid>1</guid>"
LATIN = "<title>Fähre verspätet – „Öl“</title><guid>1</guid>"


def declaring(encoding: str, entry: str, codec: str) -> bytes:
    return rss(entry).decode().replace("?>", f' encoding="{encoding}"?>', 1).encode(codec)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (declaring("ISO-8859-1", LATIN, "cp1252"), "", "Fähre"),
        (declaring("windows-1251", RUSSIAN, "cp1251"), "application/rss+xml", "Паром"),
        (declaring("koi8-r", RUSSIAN, "koi8-r"), "text/xml", "Паром"),
        (declaring("utf-8", RUSSIAN, "koi8-r"), "text/xml; charset=KOI8-R", "Паром"),
        (rss(RUSSIAN), "text/xml; charset=us-ascii", "Паром"),
        (rss(RUSSIAN), "text/html", "Паром"),
        (declaring("no-such-thing", LATIN, "utf-8"), 'x/y; charset="nor-this"', "Fähre"),
        (declaring("utf-8", LATIN, "cp1252"), "text/xml; charset=utf-8", "Fähre"),
        (declaring("utf-16", RUSSIAN, "utf-16"), "text/xml; charset=iso-8859-1", "Паром"),
        (declaring("utf-16", RUSSIAN, "utf-16-le"), "", "Паром"),
        (declaring("utf-16", RUSSIAN, "utf-16-be"), "", "Паром"),
        (declaring("utf-32", RUSSIAN, "utf-32"), "", "Паром"),
        (declaring("iso-8859-1", LATIN, "utf-8-sig"), "text/xml; charset=iso-8859-1", "Fähre"),
        (declaring("gb2312", "<title>镕渡轮晚点</title>", "gb18030"), "", "镕渡轮"),
        (declaring("shift_jis", "<title>①フェリー</title>", "cp932"), "", "①フェリー"),
        (declaring("unicode_escape", LATIN, "utf-8"), "text/xml; charset=punycode", "Fähre"),
    ],
)
def test_the_encoding_is_found(web: Web, body: bytes, kind: str, text: str) -> None:
    web.routes["/feed.xml"] = answer(body, content_type=kind)
    (post,), _ = read(web.url())
    assert post.text.startswith(text)
    assert "\ufffd" not in post.text


def test_the_larger_set_of_latin_1(path: Path) -> None:
    assert only(path, declaring("ISO-8859-1", LATIN, "cp1252")).text == "Fähre verspätet – „Öl“"


# reading again


def test_the_server_is_told_what_is_known(web: Web) -> None:
    modified = "Fri, 15 Jan 2027 09:00:00 GMT"
    web.routes["/feed.xml"] = zipped(rss(item(1)), etag='W/"a"', last_modified=modified)
    posts, cursor = read(web.url())
    assert len(posts) == 1
    web.routes["/feed.xml"] = answer(status="304 Not Modified")
    assert list(open_source(web.url()).read(cursor, NOW)) == []
    asked = web.asked[1].headers
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('W/"a"', modified)
    assert "if-none-match" not in web.asked[0].headers


def test_a_server_that_forgets_its_tags(web: Web) -> None:
    web.routes["/feed.xml"] = answer(rss(item(1)))
    _, cursor = read(web.url())
    assert list(open_source(web.url()).read(cursor, NOW)) == []
    assert "if-none-match" not in web.asked[1].headers
    web.routes["/feed.xml"] = answer(rss(item(1)), etag='"new"')
    posts, newer = read(web.url(), cursor)
    assert posts == []
    assert json.loads(newer or "") == {**json.loads(cursor or ""), "etag": '"new"'}
    web.routes["/feed.xml"] = answer(rss(item(2), item(1)), etag='"newer"')
    posts, _ = read(web.url(), newer)
    assert [post.text for post in posts] == ["Ferry 1 is late", "Ferry 2 is late"]


@pytest.mark.parametrize("tag", ["a" * 600, "caf\xe9", '"a\x0b"'])
def test_a_tag_that_cannot_be_sent_back_is_not_kept(web: Web, tag: str) -> None:
    web.routes["/feed.xml"] = answer(rss(item(1)), etag=tag)
    _, cursor = read(web.url())
    assert set(json.loads(cursor or "")) == {"hash"}
    assert read(web.url(), cursor)[0] == []


def test_unchanged_that_was_not_asked_is_an_error(web: Web) -> None:
    web.routes["/feed.xml"] = answer(status="304 Not Modified")
    with pytest.raises(Temporary, match="HTTP 304"):
        read(web.url())


def test_a_file_is_read_when_it_has_changed(path: Path) -> None:
    path.write_bytes(rss(item(1)))
    posts, cursor = read(str(path))
    assert len(posts) == 1
    os.utime(path, (0, 0))
    assert list(open_source(str(path)).read(cursor, NOW)) == []
    path.write_bytes(rss(item(2), item(1)))
    assert len(read(str(path), cursor)[0]) == 2


def test_names_can_match_only_where_there_are_handles(path: Path) -> None:
    path.write_bytes(rss(item(1)))
    with pytest.raises(NotFound, match="no entry of this feed has an author's @name") as caught:
        open_source(str(path)).check(("kaya",))
    assert caught.value.hint == "leave the names out"
    path.write_bytes(rss(item(1) + "<dc:creator>@Leo</dc:creator>"))
    open_source(str(path)).check(("kaya",))
    path.write_bytes(rss())
    open_source(str(path)).check(("kaya",))


# what is no feed


def refusal(path: Path, document: bytes) -> str:
    """What is said of it, by check and by read alike."""
    path.write_bytes(document)
    said = set()
    for attempt in (lambda: open_source(str(path)).check(()), lambda: read(str(path))):
        with pytest.raises(BadData) as caught:
            attempt()
        said.add(str(caught.value).removeprefix(f"{path} "))
    (one,) = said
    return one


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b'<?xml version="1.0"?><svg/>', "is neither RSS nor Atom"),
        (b"<svg>\n\n</svgg>", "is neither RSS nor Atom (line 3: mismatched tag)"),
        (b"\n\nname,text\n", "is neither RSS nor Atom (line 3: syntax error)"),
        (b"\x00\x01\x02", "is neither RSS nor Atom (line 1: not well-formed (invalid token))"),
        (b'{"items": []}', "is neither RSS nor Atom (line 1: not well-formed (invalid token))"),
    ],
)
def test_another_kind_of_document(path: Path, document: bytes, says: str) -> None:
    assert refusal(path, document) == says


def test_a_web_page_and_the_feed_that_it_names(web: Web) -> None:
    page = (
        '<!DOCTYPE html>\n<html><link rel="alternate" type="text/html" href="/no"><link href="javascript:x" '
        'type="application/rss+xml"><LINK rel="alternate" TYPE="application/atom+xml" HREF="/f?a=1&amp;b=2"></html>'
    )
    web.routes["/feed.xml"] = answer(page.encode())
    with pytest.raises(BadData, match="is a web page, not a feed") as caught:
        open_source(web.url()).check(())
    assert caught.value.hint == f"its feed: --source {web.url('/f?a=1&b=2')}"
    web.routes["/feed.xml"] = answer(b"<?xml version='1.0'?>\n<html xmlns='http://www.w3.org/1999/xhtml'></html>")
    with pytest.raises(BadData, match="is a web page, not a feed") as caught:
        open_source(web.url()).check(())
    assert caught.value.hint == "look on the page for the address of its feed"


@pytest.mark.parametrize("nothing", [b"", b" \n\n"])
def test_nothing_may_become_something(web: Web, path: Path, nothing: bytes) -> None:
    web.routes["/feed.xml"] = answer(nothing)
    path.write_bytes(nothing)
    for spec in (web.url(), str(path)):
        with pytest.raises(Temporary, match="is empty"):
            read(spec)


def test_small_flaws_are_no_hindrance(path: Path) -> None:
    document = rss("<title>Nets & lines&nbsp;out</title><guid>1</guid>", item(2)).replace(b"</channel>", b"")
    assert {post.text for post in posts_of(path, document)} == {
        "Nets & lines\xa0out".replace("\xa0", " "),
        "Ferry 2 is late",
    }


@pytest.mark.parametrize("whole", [rss(item(1)), atom("<id>1</id><title>a</title>", "<id>2</id><title>b</title>")])
def test_half_a_document_is_not_taken(path: Path, whole: bytes) -> None:
    """Wherever it is cut: in a tag, between two, in a text, with a flaw before."""
    for document in (whole, whole.replace(b"<title>", b"<title>a & b ")):
        begins = document.index(b"<rss" if b"<rss" in document else b"<feed")
        for end in range(document.index(b">", begins) + 1, len(document) - 7):
            path.write_bytes(document[:end])
            with pytest.raises(Temporary, match=r"is cut off in line 1"):
                read(str(path))


def test_a_length_that_is_too_short_loses_no_entry(web: Web) -> None:
    web.routes["/feed.xml"] = answer(rss(item(1), item(2)), content_length="500")
    with pytest.raises(Temporary, match="is cut off in line 1"):
        read(web.url())


# what is meant to do harm

BOMB = (
    '<!DOCTYPE rss [<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)) + "]>"
)
BLOWUP = f'<!DOCTYPE rss [<!ENTITY a "{"x" * 50_000}">]>'
EXTERNAL = '<!DOCTYPE rss [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
PARAMETER = '<!DOCTYPE rss [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;]>'


@pytest.mark.parametrize(
    "prolog",
    [
        BOMB,
        BLOWUP,
        EXTERNAL,
        PARAMETER,
        EXTERNAL.lower().replace("doctype", "DOCTYPE").replace("!entity", "!ENTITY").replace("system", "SYSTEM"),
        # feedparser would look no further than the "<b".
        "<!-- <b -->" + BOMB,
        "<?x <b ?>" + BOMB,
        '<!DOCTYPE rss SYSTEM "<b" [<!ENTITY a "b">]>',
        '<\xe9><!-- </\xe9> --><![CDATA[\n<!DOCTYPE x>\n<!ENTITY a "b">]]>',
        # No XML, but still read by those that are not strict.
        "words" + BLOWUP,
        BLOWUP.lower(),
        "<!DOCTYPE rss>" + BLOWUP,
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_entities_are_refused_before_they_expand(path: Path, prolog: str, codec: str) -> None:
    text = f"{prolog}<rss version='2.0'><channel><title>{'&a;' * 50_000}{'&a11;' * 10}</title></channel></rss>"
    start = time.process_time()
    assert refusal(path, text.encode(codec)) == "declares XML entities, which no feed needs and some attacks do"
    assert time.process_time() - start < 2


def test_entities_that_another_encoding_hides(path: Path) -> None:
    document = ("+ADw-" + BOMB[1:]).encode() + rss(item(1)).partition(b"?>")[2]
    path.write_bytes(b'<?xml version="1.0" encoding="utf-7"?>' + document)
    with pytest.raises((BadData, Temporary)):
        read(str(path))


def test_an_entity_in_a_text_is_a_text(path: Path) -> None:
    text = """To write &amp;lt; do <!DOCTYPE a [<!ENTITY b 'c'>]>"""
    document = rss(f"<title>x</title><guid>1</guid><description><![CDATA[{text}]]></description>")
    assert only(path, document).text.startswith("x\nTo write")


def test_external_things_are_not_fetched(web: Web, path: Path) -> None:
    """Stylesheets, schemas, document types and links of a feed are its readers' business."""
    address = web.url("/x")
    document = (
        f'<?xml version="1.0"?><?xml-stylesheet href="{address}"?><!DOCTYPE rss SYSTEM "{address}"><rss version="2.0" '
        f'xmlns:xi="http://www.w3.org/2001/XInclude"><channel><title>x</title><xi:include href="{address}"/>'
        f'<item><title>y</title><enclosure url="{address}"/><description>&lt;img src="{address}"&gt;z</description>'
        "</item></channel></rss>"
    )
    assert only(path, document.encode()).text == "y\nz"
    assert web.asked == []


def test_a_document_that_is_a_path_or_an_address_is_not_opened(web: Web, path: Path) -> None:
    for document in (web.url().encode(), b"/etc/hostname", b"file:///etc/hostname"):
        assert refusal(path, document).startswith("is neither RSS nor Atom")
    assert web.asked == []


def attributes(count: int) -> str:
    return "<a " + " ".join(f"a{number}='x'" for number in range(count)) + "/>"


LARGE = {
    "one element": rss(f"<title>{'x' * 20_000_000}</title>"),
    "depth": rss("<b>" * 50_000 + "</b>" * 50_000),
    "attributes": rss(*[attributes(100)] * 500),
    "html": rss(f"<description>{'&lt;a ' * 200_000}</description>"),
    "items": rss(*["<title>x</title>"] * 10_000),
    "flawed": rss("<b>&nbsp;" * 30_000),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_documents_are_read_in_bounded_time(path: Path, name: str) -> None:
    path.write_bytes(LARGE[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert len(read(str(path))[0]) <= 1
    assert time.process_time() - start < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


def test_what_would_take_too_long_is_refused(path: Path) -> None:
    assert refusal(path, rss("<b/>" * 1_000_001)) == "has more than 1,000,000 tags"
    assert refusal(path, rss(attributes(200_000))) == "has an element with more than 100 attributes"
    assert refusal(path, rss("x" * (20 << 20))) == "is larger than 20,971,520 bytes"


# files and servers that are away


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "folder.xml").mkdir()
    for name, error, says in (
        ("missing.xml", Temporary, "cannot be read: No such file"),
        ("pipe.xml", BadData, "pipe.xml is a pipe, not a file"),
        ("folder.xml", BadData, "folder.xml is a folder, not a file"),
    ):
        source = open_source(claim(str(tmp_path / name)) or "")
        for attempt in (lambda source=source: source.check(()), lambda source=source: list(source.read(None, NOW))):
            with pytest.raises(error, match=says):
                attempt()


@pytest.mark.parametrize(
    ("status", "error"),
    [("404 Not Found", Temporary), ("403 Forbidden", Refused), ("410 Gone", BadData), ("500 Oops", Temporary)],
)
def test_statuses_are_told(web: Web, status: str, error: type[Exception]) -> None:
    web.routes["/feed.xml"] = answer(rss(item(1)), status)
    with pytest.raises(error, match=rf"127[.]0[.]0[.]1 .*HTTP {status[:3]}"):
        read(web.url())


def test_a_slow_server_is_left(web: Web) -> None:
    web.routes["/feed.xml"] = dripping(answer(rss(item(1))), 0.05)
    with pytest.raises(Temporary, match=r"took more than 0\.5 seconds"):
        Feed(web.url(), Limits(total=0.5)).check(())


def test_without_feedparser_it_says_what_to_install(path: Path) -> None:
    """In a Python that has no packages but ours."""
    path.write_bytes(rss(item(1)))
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from xtrack.errors import Misconfigured
from xtrack.sources import open_source, resolve
try:
    open_source(*resolve({str(path)!r})).check(())
except Misconfigured as error:
    print(error, error.hint, sep="|")
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    says, hint = done.stdout.strip().split("|")
    assert says == "reading feeds needs the Python package feedparser"
    assert hint == "pip install 'xtrack-cli[feeds]', or with pipx: pipx inject xtrack-cli feedparser"
    assert Misconfigured.exit_code == 78


# from end to end


def test_a_job_on_a_feed(xtrack: Command, web: Web) -> None:
    web.routes["/feed.xml"] = answer(rss(item(2) + "<dc:creator>@mira</dc:creator>", item(1)), etag='"1"')
    job = str(xtrack.installed("--source", web.url()))
    assert "2 new" in xtrack.good("run-job", job).err + xtrack.good("list-runs", job).out
    shown = xtrack.good("show-summary", "1").out
    assert "Ferry 1 is late" in shown
    assert "@mira" in shown
    assert "https://town.example/2" in shown
    web.routes["/feed.xml"] = answer(status="304 Not Modified")
    assert "Nothing new" in xtrack.good("run-job", job).err
    assert web.asked[-1].headers["if-none-match"] == '"1"'
    web.routes["/feed.xml"] = answer(rss(item(3), item(2), item(1)))
    assert "1 post fetched" in xtrack.good("run-job", job).err


def test_a_job_on_what_is_none(xtrack: Command, web: Web) -> None:
    web.routes["/feed.xml"] = answer(b"<html></html>")
    for source, code, says in (
        (web.url(), 65, "is a web page, not a feed"),
        (web.url("/missing"), 66, "does not have it"),
        ("https://kaya:s3cret@town.example/", 65, "would end up in logs"),
    ):
        outcome = xtrack("install-job", "--every", "hourly", "--source", source)
        assert (outcome.code, outcome.out) == (code, "")
        assert says in outcome.err
        assert "Traceback" not in outcome.err
    with closed_port() as url:
        assert xtrack("install-job", "--every", "hourly", "--source", url).code == 66
    assert xtrack.job_count() == 0
