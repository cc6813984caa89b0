"""A letter as the bytes that a mail server is given. Pure.

The header is built here: each value is made fit for its place, and email's own folding breaks long message ids.
"""

import hashlib
import re
from datetime import UTC, datetime

from xtrack.channels import Letter
from xtrack.columns import cut, tidy

_SUBJECT, _NAME = 150, 60
# Characters without a width are many in few columns.
_LONGEST = 300
# RFC 2045, sections 6.7 and 6.8.
_LINE = 76
# What no text may have in a mail (RFC 5322, section 4.1), nor an HTML document (its standard, 13.2.3.5).
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_LINE_END = re.compile("\r\n?")
# A dot-atom of RFC 5322, section 3.2.3, without the characters that are rare.
_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.ASCII)
_LONGEST_ID = 64
_LONGEST_LIST_ID = 255
_WORDS = re.compile("[A-Za-z0-9]+(?: [A-Za-z0-9]+)*", re.ASCII)


def compose(letter: Letter, sender: str) -> bytes:
    """The message, of ASCII lines of 76 characters at most where that can be had, ended by CR LF.

    The same letter is the same bytes. `sender` and the letter's recipient are addresses as settings.address takes them.
    """
    domain = sender.rpartition("@")[2]
    thread = _token(letter.thread)
    root = f"<{thread}@{domain}>"
    fields = {
        "From": f"XTrack <{sender}>",
        "To": letter.recipient,
        "Subject": _subject(letter),
        "Date": _date(letter.at),
        "Message-ID": f"<{_token(letter.key)}@{domain}>",
        # No message has this id: it is what clients find all of a thread by (RFC 5322, section 3.6.4).
        "In-Reply-To": root,
        "References": root,
        "List-Id": _list_id(letter.thread_name, f"{thread}.{domain}"),
        # RFC 3834, section 5, and what Exchange asks for: nobody is to be told that the reader is on holiday.
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return head.encode("ascii") + _body(letter)


def _body(letter: Letter) -> bytes:
    """Both texts, the one that clients prefer last (RFC 2046, section 5.1.4), with the fields that tell of them."""
    from email.message import EmailMessage
    from email.policy import SMTP

    message = EmailMessage(SMTP.clone(max_line_length=_LINE))
    text, html = _fit(letter.text), _fit(letter.html)
    message.set_content(text, cte=_encoding(text))
    message.add_alternative(html, subtype="html", cte=_encoding(html))
    # Neither encoding has an underscore behind an equals sign, so that this is in no text (RFC 2045, section 6.7).
    message.set_boundary(f"=_{_digest(letter.key)}")
    return message.as_bytes()


def _fit(text: str) -> str:
    return _UNFIT.sub("", _LINE_END.sub("\n", text))


def _encoding(text: str) -> str:
    """The one that makes less of a text: three bytes of one that is no ASCII, or four of three."""
    size = len(text.encode())
    others = size - sum(map(str.isascii, text))
    return "base64" if others > size / 6 else "quoted-printable"


def _token(key: str) -> str:
    """A key as it may stand in an id: itself where it can."""
    return key if _ID.fullmatch(key) and len(key) <= _LONGEST_ID else _digest(key)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _subject(letter: Letter) -> str:
    text = _line(letter.subject, _SUBJECT) or _line(letter.thread_name, _SUBJECT) or "XTrack"
    return _encoded("Subject", text)


def _list_id(name: str, list_id: str) -> str:
    """RFC 2919, section 3: a phrase and an id. No field where the id would be longer than that allows."""
    name = _line(name, _NAME)
    phrase = f"{name} " if _WORDS.fullmatch(name) else f"{_encoded('List-Id', name, is_phrase=True)}\r\n "
    return f"{phrase if name else ''}<{list_id}>" if len(list_id) <= _LONGEST_LIST_ID else ""


def _line(text: str, columns: int) -> str:
    return cut(tidy(text[:_LONGEST]), columns)


def _encoded(field: str, text: str, is_phrase: bool = False) -> str:
    """A text as the value of a field, folded; as encoded words (RFC 2047) where it is no ASCII or looks like some."""
    from email.header import Header

    charset = "us-ascii" if text.isascii() and "=?" not in text and not is_phrase else "utf-8"
    return Header(text, charset, maxlinelen=_LINE, header_name=field).encode(linesep="\r\n")


def _date(at: datetime) -> str:
    from email.utils import format_datetime

    return format_datetime(at.astimezone(UTC))
