"""A letter as the bytes that SMTP carries. Pure: the same letter is the same bytes.

RFC 5322 (messages), 2047 (words in headers), 2919 (List-Id), 3834 (Auto-Submitted).
"""

import re

from xtrack.channels import Letter
from xtrack.columns import cut, tidy

_SUBJECT = 150
_NAME = "XTrack"


def message(letter: Letter, sender: str) -> bytes:
    """The whole message, from an address; its lines end in CR LF and have at most 998 bytes."""
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.policy import SMTP

    domain = sender.rpartition("@")[2]
    root = f"<{letter.thread}@{domain}>"
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(_NAME, addr_spec=sender)
    mail["To"] = Address(addr_spec=letter.recipient)
    mail["Date"] = letter.at
    mail["Subject"] = cut(tidy(letter.subject), _SUBJECT)
    mail["Message-ID"] = f"<{letter.key}@{domain}>"
    # Nobody has ever got the root: clients thread what refers to the same message, be it there or not.
    mail["In-Reply-To"] = root
    mail["References"] = root
    mail["List-Id"] = f"{re.sub(r'[^A-Za-z0-9 ]', '', letter.thread_name)} <{letter.thread}.{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(letter.text, cte="quoted-printable")
    mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    mail.set_boundary(f"=_{letter.key}")
    return mail.as_bytes()
