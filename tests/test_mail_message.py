"""What a letter is as a message: always the same bytes, whole for mail programs, and nothing but what it says."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import JOB, NOON, post
from tests.peers.smtp.strict import sins
from xtrack.channels import Letter
from xtrack.channels._message import compose
from xtrack.columns import tidy
from xtrack.compose import html, show, text
from xtrack.models import Digest, Line, Summary

SENDER = "digests@example.org"
LETTER = Letter(
    recipient="anna.hollin@example.net",
    key="d7.a1b2c3",
    thread="job-3.a1b2c3",
    thread_name="XTrack: Färöer ferries",
    at=datetime(2027, 1, 15, 13, 0, tzinfo=timezone(timedelta(hours=1))),
    subject="2 of 5 new posts by @kaya on ferries — “late” again",
    text="Digest 7\n\n  - The ferry is late.\n    @kaya  https://x.com/kaya/status/1\n.\nFrom the harbour: Þórshavn\n",
    html='<!DOCTYPE html>\n<html lang="en">\n<body>\n<p>The <b>ferry</b> is late: Þórshavn</p>\n</body>\n</html>\n',
)
GOLDEN = """\
From: XTrack <digests@example.org>
To: anna.hollin@example.net
Subject: =?utf-8?b?MiBvZiA1IG5ldyBwb3N0cyBieSBAa2F5YSBvbiBmZXJyaWVzIA==?=
 =?utf-8?b?4oCUIOKAnGxhdGXigJ0gYWdhaW4=?=
Date: Fri, 15 Jan 2027 12:00:00 +0000
Message-ID: <d7.a1b2c3@example.org>
In-Reply-To: <job-3.a1b2c3@example.org>
References: <job-3.a1b2c3@example.org>
List-Id: =?utf-8?b?WFRyYWNrOiBGw6Ryw7ZlciBmZXJyaWVz?=
 <job-3.a1b2c3.example.org>
Auto-Submitted: auto-generated
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: multipart/alternative;
 boundary="=_BOUNDARY"

--=_BOUNDARY
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

Digest 7

  - The ferry is late.
    @kaya  https://x.com/kaya/status/1
.
From the harbour: =C3=9E=C3=B3rshavn

--=_BOUNDARY
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: quoted-printable
MIME-Version: 1.0

<!DOCTYPE html>
<html lang=3D"en">
<body>
<p>The <b>ferry</b> is late: =C3=9E=C3=B3rshavn</p>
</body>
</html>

--=_BOUNDARY--
"""
# RFC 5322, section 3.3.
EARLIEST = NOON.replace(tzinfo=None, year=1900)
FIELDS = [
    *("From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted"),
    *("X-Auto-Response-Suppress", "MIME-Version", "Content-Type"),
]


def read(data: bytes) -> tuple[EmailMessage, str, str]:
    """A message as mail programs read it, and its two texts."""
    message = message_from_bytes(data, policy=default)
    assert isinstance(message, EmailMessage)
    plain, rich = message.iter_parts()
    assert (plain.get_content_type(), rich.get_content_type()) == ("text/plain", "text/html")
    assert [part.defects for part in (message, plain, rich)] == [[], [], []]
    return message, *(part.get_content().replace("\r\n", "\n") for part in (plain, rich))


def fit(text: str) -> str:
    """What is left of a text that is mailed: each line, without characters that no mail may have."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "", text.replace("\r\n", "\n").replace("\r", "\n"))


def test_a_letter_is_always_the_same_bytes() -> None:
    data = compose(LETTER, SENDER)
    boundary = data.split(b'boundary="=_')[1][:32].decode()
    assert data.decode() == GOLDEN.replace("BOUNDARY", boundary).replace("\n", "\r\n")
    assert compose(LETTER, SENDER) == data
    assert boundary.encode() not in compose(replace(LETTER, key="d8.a1b2c3"), SENDER)


def test_what_a_mail_program_reads() -> None:
    message, plain, rich = read(compose(LETTER, SENDER))
    assert message.keys() == FIELDS
    assert message["Subject"] == LETTER.subject
    assert message["Date"].datetime == LETTER.at
    assert [(one.display_name, one.addr_spec) for one in message["From"].addresses] == [("XTrack", SENDER)]
    assert [one.addr_spec for one in message["To"].addresses] == [LETTER.recipient]
    assert message["Message-ID"] == "<d7.a1b2c3@example.org>"
    assert message["List-Id"] == "XTrack: Färöer ferries <job-3.a1b2c3.example.org>"
    assert plain == LETTER.text
    assert rich == LETTER.html


def test_the_letters_of_a_job_are_one_thread_and_of_others_another() -> None:
    first, second, other = (
        read(compose(replace(LETTER, key=key, thread=thread), SENDER))[0]
        for key, thread in (("d1", "job-3"), ("d2", "job-3"), ("d3", "job-4"))
    )
    assert first["References"] == second["References"] == second["In-Reply-To"] != other["References"]
    assert len({first["Message-ID"], second["Message-ID"], first["References"]}) == 3


@pytest.mark.parametrize("key", ["", "7 8", "a>b", "a@b", "a..b", "ä", "x" * 300, "a\r\nBcc: b", "\ud800"])
def test_keys_that_are_no_ids_become_some(key: str) -> None:
    data = compose(replace(LETTER, key=key, thread=key), SENDER)
    message = read(data)[0]
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.org>", message["Message-ID"])
    assert message["References"] == message["Message-ID"]
    assert data != compose(replace(LETTER, key=f"{key}.", thread=key), SENDER)


@pytest.mark.parametrize(
    ("subject", "read_as"),
    [
        ("5 new posts", "5 new posts"),
        ("  two\twords \r\n here ", "two words here"),
        ("ends\r\nBcc: mallory@example.com\r\n\r\nbody", "ends Bcc: mallory@example.com body"),
        ("a\x0b\x0c\x85\u2028\u2029b", "a b"),
        ("bell\x07 \x1b[31mred \u202eturned\u2066 \x00 \ud800half", "bell [31mred turned half"),
        ("=?utf-8?q?a_spoofed_one?=", "=?utf-8?q?a_spoofed_one?="),
        ("日本のフェリー" * 30, ("日本のフェリー" * 30)[:74] + "…"),
        ("x" * 400, "x" * 149 + "…"),
        ("e" + "\u0301" * 5000, "e" + "\u0301" * 299),
        ("", "XTrack: Färöer ferries"),
        (" \u202e ", "XTrack: Färöer ferries"),
    ],
)
def test_subjects(subject: str, read_as: str) -> None:
    data = compose(replace(LETTER, subject=subject), SENDER)
    message = read(data)[0]
    assert message["Subject"] == read_as
    assert message.keys() == FIELDS
    assert sins(data.decode(), SENDER, [LETTER.recipient]) == []


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Job 3", "Job 3 <job-3.a1b2c3.example.org>"),
        ("", "<job-3.a1b2c3.example.org>"),
        ('a "b" <c.example.com>', '"a \\"b\\" <c.example.com>" <job-3.a1b2c3.example.org>'),
        ("x" * 200, "x" * 59 + "… <job-3.a1b2c3.example.org>"),
    ],
)
def test_names_of_lists(name: str, field: str) -> None:
    data = compose(replace(LETTER, thread_name=name), SENDER)
    raw = re.search(rb"List-Id: (.*(?:\r\n .*)*)\r\n", data)
    assert raw
    # RFC 2919, section 3: the id is what stands in angle brackets, of which there are no others.
    assert re.fullmatch(rb"[A-Za-z0-9 ]*(=\?[!-;=@-~?]*\?=\s*)*<job-3\.a1b2c3\.example\.org>", raw[1])
    assert str(read(data)[0]["List-Id"]).replace('"', "").replace("\\", "") == field.replace('"', "").replace("\\", "")


def test_long_addresses_stay_whole() -> None:
    sender, recipient = f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}", f"{'e' * 64}@{'f' * 60}.{'g' * 60}.{'h' * 60}"
    data = compose(replace(LETTER, recipient=recipient, thread="t" * 64), sender)
    message = read(data)[0]
    assert message["To"].addresses[0].addr_spec == recipient
    assert f"<{'t' * 64}@{sender.partition('@')[2]}>".encode() in data
    # It would be longer than a list's id may be.
    assert message.keys() == [name for name in FIELDS if name != "List-Id"]
    assert sins(data.decode(), sender, [recipient]) == []


@pytest.mark.parametrize(
    ("words", "encoding"), [("The ferry is late. ", b"quoted-printable"), ("フェリーは遅れています。", b"base64")]
)
def test_long_lines_are_folded(words: str, encoding: bytes) -> None:
    data = compose(replace(LETTER, text=words * 400, html=words * 400), SENDER)
    assert data.count(b"Content-Transfer-Encoding: " + encoding) == 2
    assert max(map(len, data.partition(b"\r\n\r\n")[2].split(b"\r\n"))) == 76
    assert read(data)[1:] == (words * 400 + "\n", words * 400 + "\n")


def test_a_digest_goes_through_unchanged() -> None:
    hostile = (
        "</p><script>alert(1)</script> \u202eturned\u202c \u200b=E2=80 --=_x \r\n.\r\nBcc: mallory@example.com " * 300
    )
    posts = [post(number, text=hostile) for number in range(3)]
    digest = Digest("extractive", "3 new posts", (Line(hostile, (posts[0].id, posts[1].id), "Fähren"),), 1, ("a note",))
    summary = Summary(7, 3, 1, NOON, 3, digest)
    shown = show(summary, posts, JOB, str)
    letter = replace(LETTER, subject=shown.subject, text=text(shown, 72), html=html(shown))
    data = compose(letter, SENDER)
    assert read(data)[1:] == (letter.text, letter.html)
    assert sins(data.decode(), SENDER, [LETTER.recipient]) == []


PIECES = [
    *(
        "\r",
        "\n",
        "\r\n",
        "\n.\n",
        ".",
        "\0",
        "\x1b",
        "\x85",
        "\u2028",
        "\u202e",
        "\ud83d",
        "=?utf-8?q?",
        "?=",
        "From ",
    ),
    *(
        "\r\nBcc: m@example.com",
        "\r\n\r\n",
        "--=_",
        "=",
        "=\n",
        " ",
        "\t",
        ":",
        "<",
        ">",
        '"',
        "\\",
        "(",
        ",",
        "é",
        "🛳️",
    ),
    *("From ", "🛳️", "é" * 60, "漢" * 60, "word ", "x" * 1200),
]
hostile_texts = st.text() | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(
    st.builds(
        Letter,
        recipient=st.just("anna@example.net"),
        key=hostile_texts,
        thread=hostile_texts,
        thread_name=hostile_texts,
        at=st.datetimes(min_value=EARLIEST, timezones=st.just(UTC)),
        subject=hostile_texts,
        text=hostile_texts,
        html=hostile_texts,
    )
)
@example(replace(LETTER, recipient="anna@example.net", text="\n", html=""))
@settings(max_examples=100)
def test_hostile_letters(letter: Letter) -> None:
    data = compose(letter, SENDER)
    assert sins(data.decode("ascii"), SENDER, [letter.recipient]) == []
    assert all(len(line) <= 76 for line in data.partition(b"\r\n\r\n")[2].split(b"\r\n"))
    message, plain, rich = read(data)
    assert message.keys() == FIELDS
    assert tidy(letter.subject)[:50].rstrip() in message["Subject"] or len(letter.subject) > 50
    assert message["Date"].datetime == letter.at.replace(microsecond=0)
    assert all("\n" not in value and "\r" not in value for value in message.values())
    assert plain.rstrip("\n") == fit(letter.text).rstrip("\n")
    assert rich.rstrip("\n") == fit(letter.html).rstrip("\n")
