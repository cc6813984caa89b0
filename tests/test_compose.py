"""How a digest looks: what is shown of it, as HTML and as text, and that nothing in a post gets out of its place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import JOB
from tests.test_columns import HOSTILE, WORDS
from xtrack import compose
from xtrack.columns import tidy, width
from xtrack.models import Digest, Job, Line, Original, Post, Summary

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
POST = Post("7", "kaya", "Kaya", NOON, "post", "The mill wheel turns again.", "https://x.com/kaya/status/7")
ORIGINAL = Original("6", "mira", "Mira", "Hello.", "https://x.com/mira/status/6")
JOB_ONE = replace(JOB, id=1)
RIGHT_TO_LEFT = "\u202e"


def local(moment: datetime) -> str:
    return f"{moment:%H:%M}"


def posts(*ids: str) -> list[Post]:
    return [replace(POST, id=name, url=f"https://x.com/kaya/status/{name}") for name in ids]


def summary(*lines: Line, omitted: int = 0, headline: str = "12 new posts", count: int = 12) -> Summary:
    return Summary(5, 1, 3, NOON, count, Digest("extractive", headline, lines, omitted))


def quiet() -> Summary:
    return Summary(6, 1, 4, NOON, 0, Digest("none", "Nothing new", (), 0))


def shown(made: Summary, *cited: Post, job: Job = JOB_ONE) -> compose.Shown:
    return compose.show(made, cited, job, local)


def text(made: Summary, *cited: Post, columns: int = 78) -> str:
    return compose.text(shown(made, *cited), columns)


# HTML, as a client reads it


@dataclass
class Style:
    color: str = ""
    background: str = ""
    hidden: bool = False


@dataclass
class Piece:
    """Words with the colours that they are seen in."""

    text: str
    style: Style


VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass(eq=False)
class Reader(HTMLParser):
    """Reads a document in one of the two modes; fails when a tag is closed that is not the last one opened."""

    turned_over: dict[str, dict[str, str]] = field(default_factory=dict)
    open: list[tuple[str, Style]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.append((tag, told))
        if tag in VOID:
            return
        style = replace(self.open[-1][1]) if self.open else Style()
        rules = dict(re.findall(r"([\w-]+)\s*:\s*([^;]+)", told.get("style", "")))
        for name in told.get("class", "").split():
            rules |= self.turned_over.get(name, {})
        style.color = rules.get("color", style.color)
        style.background = rules.get("background-color", style.background)
        style.hidden |= rules.get("display") == "none" or tag in ("head", "title", "style")
        self.open.append((tag, style))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.open.pop()
        assert opened == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.pieces.append(Piece(" ".join(data.split()), self.open[-1][1]))

    @property
    def seen(self) -> list[str]:
        return [piece.text for piece in self.pieces if not piece.style.hidden]

    def all(self, name: str) -> list[dict[str, str]]:
        return [told for tag, told in self.tags if tag == name]


def read(document: str, dark: bool = False) -> Reader:
    assert document.startswith("<!DOCTYPE html>\n<html lang=")
    _, _, rules = document.partition("@media (prefers-color-scheme: dark) {")
    found = re.findall(r"\.(\w+) \{ ([\w-]+): (#\w{6}) !important; \}", rules)
    reader = Reader({name: {key: colour} for name, key, colour in found} if dark else {})
    reader.feed(document)
    reader.close()
    assert reader.open == []
    return reader


def html(made: Summary, *cited: Post, job: Job = JOB_ONE) -> Reader:
    return read(compose.html(shown(made, *cited, job=job)))


def links(reader: Reader) -> list[str]:
    return [told["href"] for told in reader.all("a")]


# what is shown


MERGED = (
    Line("The mill wheel turns again.", ("7", "8", "9"), "mills"),
    Line("The ferry is late.", ("10",), "ferries"),
)
CITED = (
    POST,
    replace(POST, id="8", author="tomo", kind="repost", original=ORIGINAL, url="https://x.com/tomo/status/8"),
    replace(POST, id="9", author="", author_name="The harbour", url="https://harbour.example/9"),
    replace(POST, id="10", author="", author_name="", kind="reply", url="https://x.com/i/status/10"),
)


def test_the_text_of_a_digest() -> None:
    assert text(summary(*MERGED, omitted=1), *CITED, columns=50) == (
        "Digest 5 of job 1, 12:00\n"
        "12 new posts (sentences taken from the posts, not\n"
        "written by a model)\n"
        "\n"
        "MILLS\n"
        "  - The mill wheel turns again.\n"
        "    @kaya  https://x.com/kaya/status/7\n"
        "    also: @tomo reposting @mira\n"
        "    https://x.com/tomo/status/8\n"
        "    also: The harbour  https://harbour.example/9\n"
        "\n"
        "FERRIES\n"
        "  - The ferry is late.\n"
        "    unknown author (reply)\n"
        "    https://x.com/i/status/10\n"
        "\n"
        "  and 1 more post\n"
    )


def test_the_html_of_a_digest() -> None:
    reader = html(summary(*MERGED, omitted=1), *CITED)
    assert reader.seen == [
        *("12 new posts", "sentences taken from the posts, not written by a model"),
        *("mills", "The mill wheel turns again.", "@kaya", "· also:", "@tomo reposting @mira", ",", "The harbour"),
        *("ferries", "The ferry is late.", "unknown author (reply)"),
        *("and 1 more post", "Digest 5 of job 1, 12:00"),
    ]
    assert links(reader) == [post.url for post in CITED]


def test_a_digest_without_groups_has_no_heading() -> None:
    made = summary(Line("One.", ("7",)))
    assert text(made, POST).splitlines()[2:] == ["", "  - One.", "    @kaya  https://x.com/kaya/status/7"]
    assert html(made, POST).all("h2") == []


def test_a_quiet_digest_is_its_time_and_number() -> None:
    assert text(quiet()) == "Digest 6 of job 1, 12:00\nNothing new\n"
    assert html(quiet()).seen == ["Nothing new", "Digest 6 of job 1, 12:00"]
    assert shown(quiet()).quiet
    assert not shown(summary()).quiet


def test_a_line_whose_text_was_removed_keeps_its_link() -> None:
    made = summary(Line("", ("7",)))
    assert "  - [removed]\n    @kaya  https://x.com/kaya/status/7\n" in text(made, replace(POST, text=""))
    reader = html(made, replace(POST, text=""))
    assert "[removed]" in reader.seen
    assert links(reader) == [POST.url]


def test_posts_that_are_gone_are_left_out_and_the_one_that_is_quoted_is_said_to_be() -> None:
    made = summary(Line("One.", ("7", "8", "9")), Line("Two.", ()))
    assert text(made, *posts("9")).splitlines()[3:] == [
        "  - One.",
        "    a post that is gone",
        "    also: @kaya  https://x.com/kaya/status/9",
        "  - Two.",
        "    a post that is gone",
    ]
    assert links(html(made, *posts("9"))) == ["https://x.com/kaya/status/9"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "@kaya"),
        ({"kind": "reply"}, "@kaya (reply)"),
        ({"kind": "thread"}, "@kaya (thread)"),
        ({"kind": "repost", "original": ORIGINAL}, "@kaya reposting @mira"),
        ({"kind": "quote", "original": ORIGINAL}, "@kaya quoting @mira"),
        ({"kind": "quote", "original": replace(ORIGINAL, author="")}, "@kaya quoting Mira"),
        ({"kind": "repost", "original": replace(ORIGINAL, author="", author_name="")}, "@kaya (repost)"),
        ({"kind": "repost"}, "@kaya (repost)"),
        ({"author": ""}, "Kaya"),
        ({"author": "", "author_name": ""}, "unknown author"),
        ({"author": "", "author_name": f"\x1b[2J {RIGHT_TO_LEFT}Ka\nya\x9b"}, "[2J Ka ya"),
    ],
)
def test_who_says_it_and_how(changes: dict[str, object], said: str) -> None:
    assert compose.byline(replace(POST, **changes)) == said  # type: ignore[arg-type]  # of several types


def test_two_hundred_alike_are_one_line_with_all_their_links() -> None:
    cited = posts(*(str(number) for number in range(200)))
    made = summary(Line("All the same.", tuple(post.id for post in cited)))
    urls = [post.url for post in cited]
    assert links(html(made, *cited)) == urls
    assert re.findall(r"https://\S+", text(made, *cited)) == urls
    assert text(made, *cited).count("All the same.") == 1


# the mail's subject and preheader


@pytest.mark.parametrize(
    ("names", "topics", "said"),
    [
        ((), (), "12 new posts for job 1"),
        (("kaya",), (), "12 new posts by @kaya"),
        (("kaya",), ("mills", "ferries"), "3 of 12 new posts by @kaya on mills, ferries"),
        (("a", "b", "c", "d", "e"), (), "12 new posts by @a, @b, @c and 2 more"),
    ],
)
def test_a_subject_says_what_is_new(names: tuple[str, ...], topics: tuple[str, ...], said: str) -> None:
    made = summary(Line("One.", ("7", "8")), Line("Two.", ("7",)), omitted=1)
    assert shown(made, POST, job=replace(JOB_ONE, names=names, topics=topics)).subject == said


def test_a_subject_says_that_nothing_is_new_or_on_the_topics() -> None:
    job = replace(JOB_ONE, topics=("mills",))
    assert shown(quiet(), job=job).subject == "Nothing new on mills"
    assert shown(quiet()).subject == "Nothing new for job 1"
    assert shown(summary(count=1), job=job).subject == "1 new post, none on mills"
    assert shown(summary(Line("One.", ("7",)), count=1), POST, job=job).subject == "1 new post on mills"


@given(st.lists(st.text(min_size=1), max_size=5))
@example(["mills\r\nBcc: somebody@example.org", "a\x0b\x0c\x1c\x85\u2028\u2029b", "\ud800" + RIGHT_TO_LEFT])
@example(["long " * 100])
def test_any_subject_can_be_a_header(topics: list[str]) -> None:
    subject = shown(summary(), job=replace(JOB_ONE, topics=tuple(topics))).subject
    mail = EmailMessage(SMTP)
    mail["Subject"] = subject
    assert subject.split(" ") == subject.split()
    assert width(subject) <= 150
    assert mail.as_bytes().count(b"\r\n") == len(re.findall(rb"\r\n[ \t]", mail.as_bytes())) + 2


def test_a_preheader_begins_with_the_lines_and_is_hidden() -> None:
    made = summary(Line("One.", ("7",)), Line("Two.", ("7",)))
    assert shown(made, POST).preheader == "One. · Two."
    assert shown(summary()).preheader == "12 new posts"
    assert shown(quiet()).preheader == "Digest 6 of job 1, 12:00"
    reader = html(made, POST)
    assert "One. · Two." in [piece.text for piece in reader.pieces]
    assert "One. · Two." not in reader.seen
    assert width(shown(summary(Line("word " * 100, ("7",))), POST).preheader) <= 140


# hostile posts


@pytest.mark.parametrize("said", HOSTILE)
def test_markup_in_a_post_stays_text(said: str) -> None:
    line = Line(said, ("7", "8"), said)
    cited = [replace(post, author="", author_name=said) for post in posts("7", "8")]
    reader = html(summary(line, headline=said), *cited, job=replace(JOB_ONE, topics=(said,)))
    plain = html(summary(replace(MERGED[0], post_ids=("7", "8"))), *posts("7", "8"))
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(told) for _, told in reader.tags] == [sorted(told) for _, told in plain.tags]
    assert reader.seen.count(said) == 5


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//example.org/",
        "https://",
        "https://example.org/ onclick=alert(1)",
        'https://example.org/"onclick="alert(1)',
        "https://example.org/\nBcc:",
        "https://example.org/\x1b[2J",
        f"https://example.org/{RIGHT_TO_LEFT}gpj.exe",
        "",
    ],
)
def test_what_is_no_plain_link_is_none(url: str) -> None:
    made, cited = summary(Line("One.", ("7",))), replace(POST, url=url)
    assert links(html(made, cited)) == []
    assert text(made, cited).splitlines()[-1] == "    @kaya"


def test_links_of_the_web_are_kept_as_they_are() -> None:
    for url in ("http://example.org/a?b=1&c=2#d", "HTTPS://EXAMPLE.ORG/'", "https://例え.example/水車"):
        assert links(html(summary(Line("One.", ("7",))), replace(POST, url=url))) == [url]


def test_nothing_in_a_post_steers_the_terminal_or_turns_the_text() -> None:
    said = f"\x1b]0;owned\x07\x1b[2J\x9b2J{RIGHT_TO_LEFT}evil\u2066 a\r\nb\x08\x00\x7f\u2029c \ud83d"
    made = summary(Line(said, ("7",), said), headline=said)
    tidied = "]0;owned[2J2Jevil a b c"
    for rendered in (text(made, POST), compose.html(shown(made, POST))):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", rendered)
        assert rendered.count(tidied) >= 2


# the document


def test_a_document_needs_nothing_from_elsewhere() -> None:
    document = compose.html(shown(summary(*MERGED), *CITED))
    reader = read(document)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "img", "link", "iframe", "form", "object", "svg"})
    attributes = {name for _, told in reader.tags for name in told}
    assert attributes.isdisjoint({"src", "srcset", "background", "action"})
    assert not {name for name in attributes if name.startswith("on")}
    assert "url(" not in document
    assert "@import" not in document


def test_a_document_is_made_for_mail_clients() -> None:
    reader = html(summary(*MERGED), *CITED)
    assert reader.all("html")[0]["lang"] == "en"
    assert {"name": "color-scheme", "content": "light dark"} in reader.all("meta")
    assert {told["role"] for told in reader.all("table")} == {"presentation"}
    assert "max-width:600px" in reader.all("table")[1]["style"]
    assert reader.pieces[0].text == shown(summary(*MERGED), *CITED).subject
    assert all("style" in told for tag in ("a", "p", "td", "h1", "h2") for told in reader.all(tag))


def test_each_line_finds_its_own_direction() -> None:
    made = summary(Line("تدور العجلة من جديد.", ("7",)), Line("It turns.", ("7",)))
    assert [told.get("dir") for told in html(made, POST).all("td")].count("auto") == 2
    assert len(html(made, POST).all("bdi")) == 2


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_all_that_is_read_stands_out(dark: bool) -> None:
    unlinked = replace(POST, id="11", url="")
    made = summary(*MERGED, Line("Three.", ("11",)), omitted=1)
    reader = read(compose.html(shown(made, *CITED, unlinked)), dark=dark)
    pieces = [piece for piece in reader.pieces if not piece.style.hidden]
    assert pieces
    for piece in pieces:
        paper, ink = luminance(piece.style.background), luminance(piece.style.color)
        assert (paper < 0.1) is dark
        # AA for text of any size: https://www.w3.org/TR/WCAG21/#contrast-minimum
        assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) >= 4.5, piece


@st.composite
def digests(draw: st.DrawFn) -> tuple[Summary, list[Post]]:
    """Any lines on some of ten posts, of which some are gone."""
    ids = st.sampled_from([str(number) for number in range(10)])
    lines = draw(st.lists(st.builds(Line, WORDS, st.lists(ids, unique=True).map(tuple), WORDS), max_size=4))
    kinds = st.sampled_from(["post", "reply", "repost", "quote"])
    original = st.none() | st.builds(Original, ids, WORDS, WORDS, WORDS, WORDS)
    there = st.builds(Post, ids, WORDS, WORDS, st.just(NOON), kinds, WORDS, WORDS, st.just("en"), original)
    cited = draw(st.lists(there, unique_by=lambda post: post.id, max_size=10))
    return summary(*lines, omitted=draw(st.integers(0, 2)), headline=draw(WORDS)), cited


def lines_of(made: compose.Shown) -> Iterator[compose.ShownLine]:
    for group in made.groups:
        yield from group.lines


@given(digests(), st.integers(20, 100))
def test_every_line_is_in_both_with_its_links(digest: tuple[Summary, list[Post]], columns: int) -> None:
    made = shown(digest[0], *digest[1])
    reader, plain = read(compose.html(made)), compose.text(made, columns)
    expected = [tidy(line.text) or "[removed]" for line in digest[0].digest.lines]
    assert [line.text for line in lines_of(made)] == expected
    seen, squeezed = iter(reader.seen), "".join(plain.split())
    for line in lines_of(made):
        assert line.text in seen
        assert "".join(line.text.split()) in squeezed
    cited = [post for line in lines_of(made) for post in (line.cited, *line.merged)]
    assert links(reader) == [post.url for post in cited if post.url]
    assert all(post.url in plain for post in cited)
