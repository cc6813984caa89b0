"""Letters on their way: every security and login, and a server that fails at every step, in every way."""

import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOON
from tests.peers.smtp import Smtp, certificate
from tests.peers.web import closed_port
from xtrack.channels import Away, Deferred, Letter, Office, Rejected, Unknown
from xtrack.channels.mail import open_office
from xtrack.errors import Misconfigured, XTrackError
from xtrack.settings import Mail, Secret

PASSWORD = "sesame öffne Dich"
PLAIN = b64encode(f"\0mailer\0{PASSWORD}".encode()).decode()
LETTER = Letter("anna@example.net", "d1", "job-3", "Job 3", NOON, "5 new posts", "Hello.\n..dots\n", "<p>Hello.</p>\n")
SECOND = replace(LETTER, recipient="bo@example.net", key="d2")
# For servers that do not answer; the others have time.
QUICK = timedelta(seconds=0.3)


@dataclass
class Post:
    """A server, and the mail that is set to go there: with a name and a password, at first without TLS."""

    smtp: Smtp
    certificates: Path
    mail: Mail
    asked: list[str] = field(default_factory=list)

    def secured(self, security: str, **changes: Any) -> Mail:
        return replace(self.mail, security=security, port=self.smtp.ports[security], **changes)

    def quick(self) -> Mail:
        return replace(self.mail, timeout=QUICK)

    def send(self, *letters: Letter, mail: Mail | None = None) -> None:
        with open_office(mail or self.mail) as office:
            for letter in letters or [LETTER]:
                self.give(office, letter)

    def give(self, office: Office, letter: Letter) -> None:
        office.send(letter, lambda: self.asked.append(letter.key))

    def recipients(self) -> list[str]:
        """Of all that the server took."""
        return [mail["recipient"] for mail in self.smtp.do("mails")]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    try:
        certificate(folder / "good")
        certificate(folder / "expired", days=-1)
        certificate(folder / "other", name="DNS:other.example")
    except FileNotFoundError:
        pytest.skip("there is no openssl")
    return folder


@pytest.fixture(scope="module")
def process() -> Iterator[Smtp]:
    with Smtp() as smtp:
        yield smtp


@pytest.fixture
def post(process: Smtp, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "good" / "certificate.pem"))
    process.do("reset", certificate=str(certificates / "good" / "both.pem"), user="mailer", password=PASSWORD)
    mail = Mail("127.0.0.1", process.ports["none"], "none", "mailer", Secret(PASSWORD), "digests@example.org")
    yield Post(process, certificates, mail)
    assert process.do("heal") == 0
    assert process.do("bugs") == []


def told(error: XTrackError) -> str:
    """All that somebody sees of an error. A secret is nowhere, nor in what it was raised from."""
    seen: list[str] = []
    cause: BaseException | None = error
    while cause:
        seen.append(f"{cause!r} {getattr(cause, 'hint', '')}")
        cause = cause.__cause__ or cause.__context__
    for secret in (PASSWORD, b64encode(PASSWORD.encode()).decode(), PLAIN):
        assert secret not in " ".join(seen)
    assert str(error).isprintable()
    assert len(str(error)) < 400
    return f"{error} ({error.hint})" if error.hint else str(error)


# the way there


@pytest.mark.parametrize("security", ["none", "starttls", "ssl"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_every_security_and_login(post: Post, security: str, mechanism: str) -> None:
    post.smtp.do("reset", user="mailer", password=PASSWORD, mechanisms=[mechanism])
    post.send(LETTER, SECOND, mail=post.secured(security))
    assert post.recipients() == ["anna@example.net", "bo@example.net"]
    mail = post.smtp.do("mails")[0]
    assert (mail["sender"], mail["user"], mail["mechanism"]) == ("digests@example.org", "mailer", mechanism)
    assert mail["is_secure"] == (security != "none")
    assert "Hello.\r\n..dots\r\n" in mail["data"]
    before = {"none": [], "starttls": ["EHLO", "STARTTLS"], "ssl": []}[security]
    letters = ["MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"]
    assert post.smtp.do("connections") == [[*before, "EHLO", "AUTH", *letters, "QUIT"]]
    assert post.asked == ["d1", "d2"]


def test_nobody_logs_in_without_a_name(post: Post) -> None:
    post.smtp.do("reset")
    post.send(mail=replace(post.mail, user=None, password=None))
    assert post.smtp.do("connections") == [["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]]


def test_a_server_that_only_knows_the_oldest_protocol(post: Post) -> None:
    post.smtp.do("reset")
    post.smtp.do("fail", kind="reply", verb="EHLO", text="502 5.5.1 what?")
    post.send(mail=replace(post.mail, user=None, password=None))
    assert post.smtp.do("connections") == [["EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT"]]


@pytest.mark.parametrize("security", ["ssl", "starttls"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [("expired", "certificate has expired"), ("other", "IP address mismatch"), ("none", "self-signed")],
)
def test_a_certificate_is_checked(
    post: Post, security: str, kind: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "none":
        monkeypatch.setenv("SSL_CERT_FILE", str(post.certificates / "other" / "certificate.pem"))
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(post.certificates / kind / "certificate.pem"))
        post.smtp.do("reset", certificate=str(post.certificates / kind / "both.pem"), user="mailer")
    with pytest.raises(Away, match=rf"127.0.0.1 has a certificate that cannot be trusted: .*{says}") as raised:
        post.send(mail=post.secured(security))
    told(raised.value)
    assert not any("AUTH" in verbs or "MAIL" in verbs for verbs in post.smtp.do("connections"))


def test_starttls_that_somebody_took_away(post: Post) -> None:
    post.smtp.do("reset", user="mailer", password=PASSWORD, offers_starttls=False)
    with pytest.raises(Away, match=r"127.0.0.1 offers no STARTTLS") as raised:
        post.send(mail=post.secured("starttls"))
    assert "mail.security" in told(raised.value)
    assert post.smtp.do("connections") == [["EHLO"]]


def test_starttls_that_is_refused(post: Post) -> None:
    post.smtp.do("fail", kind="reply", verb="STARTTLS", text="454 4.7.0 no TLS now")
    with pytest.raises(Away, match=r"127.0.0.1 does not talk to us: 454 4.7.0 no TLS now"):
        post.send(mail=post.secured("starttls"))
    assert post.smtp.do("connections") == [["EHLO", "STARTTLS"]]


def test_what_is_said_before_tls_counts_no_more(post: Post) -> None:
    """Somebody on the way adds to the last answer that can be read: that must not answer what is asked later."""
    post.smtp.do("fail", kind="more", verb="STARTTLS", text="250-evil.example\r\n250 AUTH X-EVIL")
    post.send(mail=post.secured("starttls"))
    assert [mail["is_secure"] for mail in post.smtp.do("mails")] == [True]


@pytest.mark.parametrize(
    ("security", "port", "says"),
    [
        ("ssl", "none", "no secure connection to 127.0.0.1: "),
        ("ssl", "starttls", "no secure connection to 127.0.0.1: "),
        ("none", "ssl", "127.0.0.1 (took more than|was silent for too long|broke off)"),
        ("starttls", "ssl", "127.0.0.1 (took more than|was silent for too long|broke off)"),
    ],
)
def test_a_port_with_another_security(post: Post, security: str, port: str, says: str) -> None:
    with pytest.raises(Away, match=says) as raised:
        post.send(mail=replace(post.mail, security=security, port=post.smtp.ports[port], timeout=QUICK))
    assert "check mail.host, mail.port and mail.security" in told(raised.value)


def test_nobody_is_there(post: Post) -> None:
    with (
        closed_port() as url,
        pytest.raises(Away, match=r"no connection to 127.0.0.1, port [0-9]+: Connection refused"),
    ):
        post.send(mail=replace(post.mail, port=int(url.split(":")[2].split("/")[0])))
    with pytest.raises(Away, match=r"no address was found for mail\.invalid"):
        post.send(mail=replace(post.mail, host="mail.invalid", security="ssl"))


# logging in


def test_a_wrong_password_is_tried_once(post: Post) -> None:
    with pytest.raises(Away, match=r"127.0.0.1 does not let mailer in with mail.password: 535 5.7.8") as raised:
        post.send(mail=replace(post.mail, password=Secret("gues5")))
    assert "gues5" not in told(raised.value)
    assert post.smtp.do("connections") == [["EHLO", "AUTH"]]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_wrong_password_in_every_way(post: Post, mechanism: str) -> None:
    post.smtp.do("reset", user="mailer", password="another", mechanisms=[mechanism])
    with pytest.raises(Away, match=r"127.0.0.1 does not let mailer in with mail.password: 535 5.7.8") as raised:
        post.send()
    told(raised.value)


@pytest.mark.parametrize("echo", [PASSWORD, f"AUTH PLAIN {PLAIN}"])
def test_a_server_that_repeats_the_password(post: Post, echo: str) -> None:
    post.smtp.do("fail", kind="reply", verb="AUTH", text=f"535 5.7.8 not with {echo}, no")
    with pytest.raises(Away) as raised:
        post.send()
    assert "***, no" in told(raised.value)


def test_a_server_that_repeats_the_password_later(post: Post) -> None:
    with open_office(post.mail) as office:
        post.smtp.do("fail", kind="reply", verb="RCPT", text=f"550 you said {PASSWORD}")
        with pytest.raises(Rejected) as raised:
            post.give(office, LETTER)
    assert told(raised.value) == "127.0.0.1 does not take mail to anna@example.net: 550 you said ***"


def test_what_a_server_offers_and_does_not_have(post: Post) -> None:
    post.smtp.do("fail", kind="reply", verb="AUTH", text="504 5.5.4 no such way")
    post.send()
    assert post.smtp.do("mails")[0]["mechanism"] == "LOGIN"


@pytest.mark.parametrize(
    ("verb", "mechanism", "text", "says"),
    [
        ("AUTH", "PLAIN", "454 4.7.0 come back later", "127.0.0.1 lets nobody in now: 454 4.7.0 come back later"),
        ("AUTH", "PLAIN", "334 ", "does not let mailer in with mail.password: 334"),
        ("CHALLENGE", "LOGIN", "535 no", "does not let mailer in with mail.password: 535 no"),
        ("CHALLENGE", "CRAM-MD5", "334 ?", "does not let mailer in with mail.password: 334 ?"),
        ("AUTH", "CRAM-MD5", "504 no such way", "does not let mailer in with mail.password: 504 no such way"),
    ],
)
def test_logins_that_fail(post: Post, verb: str, mechanism: str, text: str, says: str) -> None:
    post.smtp.do("reset", user="mailer", password=PASSWORD, mechanisms=[mechanism])
    post.smtp.do("fail", kind="reply", verb=verb, text=text)
    with pytest.raises(Away) as raised:
        post.send()
    assert says in told(raised.value)


def test_no_known_way_to_log_in(post: Post) -> None:
    ehlo = "250-mail.peer.example\r\n250 AUTH XOAUTH2 GSSAPI"
    post.smtp.do("fail", kind="reply", verb="EHLO", text=ehlo)
    with pytest.raises(Away, match=r"127.0.0.1 offers no way to log in that XTrack knows, but XOAUTH2 GSSAPI"):
        post.send()
    post.smtp.do("reset")
    with pytest.raises(Away, match=r"127.0.0.1 offers no way to log in that XTrack knows, but nothing"):
        post.send()


def test_a_server_that_wants_a_login(post: Post) -> None:
    with pytest.raises(Away, match=r"does not take mail from digests@example.org: 530 5.7.0 Authentication required"):
        post.send(mail=replace(post.mail, user=None, password=None))


def test_a_host_by_its_name(post: Post) -> None:
    post.send(mail=replace(post.secured("ssl"), host="localhost"))
    assert post.recipients() == ["anna@example.net"]


@pytest.mark.parametrize(
    ("changes", "what", "hint"),
    [
        ({"host": None}, "there is no mail server", "set mail.host in the config"),
        ({"sender": None}, "mail has no sender", "set mail.from in the config"),
        ({"user": None}, "mail.password is set, but mail.user is not", "set mail.user in the config"),
        ({"password": None}, "mail.user is set, but mail.password is not", "set mail.password in the config"),
        ({"host": "mail.example.org"}, "mail.security is none, but mail.host is not this machine", "ssl or starttls"),
        ({"host": "127.0.0.1.example.org"}, "mail.security is none, but mail.host is not", "ssl or starttls"),
    ],
)
def test_what_is_not_set(post: Post, changes: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(Misconfigured, match=what) as raised:
        post.send(mail=replace(post.mail, **changes))
    assert hint in told(raised.value)
    assert post.smtp.do("connections") == []


# failures at each verb

UNTIL_LETTERS = [("none", "CONNECT"), ("none", "EHLO"), ("starttls", "STARTTLS"), ("none", "AUTH")]


@pytest.mark.parametrize(
    ("verb", "text", "error", "says"),
    [
        ("CONNECT", "554 no service here", Away, "127.0.0.1 does not talk to us: 554 no service here"),
        ("CONNECT", "421 too busy", Away, "127.0.0.1 does not talk to us: 421 too busy"),
        ("EHLO", "421 too busy", Away, "127.0.0.1 does not talk to us: 421 too busy"),
        ("MAIL", "451 4.3.0 not now", Away, "does not take mail from digests@example.org now: 451 4.3.0 not now"),
        ("MAIL", "550 5.1.8 not yours", Away, "does not take mail from digests@example.org: 550 5.1.8 not yours"),
        ("MAIL", "421 closing", Away, "does not take mail from digests@example.org now: 421 closing"),
        ("RCPT", "450 4.2.1 grey", Deferred, "does not take mail to anna@example.net now: 450 4.2.1 grey"),
        ("RCPT", "550-5.1.1 no\r\n550 one", Rejected, "does not take mail to anna@example.net: 550 5.1.1 no one"),
        ("RCPT", "421 closing", Deferred, "does not take mail to anna@example.net now: 421 closing"),
        ("DATA", "451 later", Deferred, "does not take the letter to anna@example.net now: 451 later"),
        ("DATA", "554 no", Rejected, "does not take the letter to anna@example.net: 554 no"),
        ("DATA", "250 what?", Deferred, "127.0.0.1 answers what is no SMTP: 250 what?"),
        ("DATA", "421 closing", Deferred, "does not take the letter to anna@example.net now: 421 closing"),
        ("END", "451 4.3.0 disk full", Deferred, "does not take the letter to anna@example.net now: 451 4.3.0 disk"),
        ("END", "554 5.7.1 spam", Rejected, "does not take the letter to anna@example.net: 554 5.7.1 spam"),
        ("END", "421 closing", Deferred, "does not take the letter to anna@example.net now: 421 closing"),
        ("RCPT", "550 \x1b[2J\u202e" + "x" * 600, Rejected, r": 550 \[2Jx+…$"),
    ],
)
def test_refusals(post: Post, verb: str, text: str, error: type[XTrackError], says: str) -> None:
    post.smtp.do("fail", kind="reply", verb=verb, text=text)
    with pytest.raises(error, match=says) as raised:
        post.send()
    assert type(raised.value) is error
    told(raised.value)
    assert post.recipients() == []
    assert post.asked == (["d1"] if verb in ("DATA", "END") else [])


@pytest.mark.parametrize("kind", ["hang_up", "garbage", "endless", "silent"])
@pytest.mark.parametrize(("security", "verb"), UNTIL_LETTERS)
def test_failures_before_there_are_letters(post: Post, kind: str, security: str, verb: str) -> None:
    post.smtp.do("fail", kind=kind, verb=verb)
    if (verb, kind) in (("EHLO", "garbage"), ("EHLO", "endless")):
        post.smtp.do("fail", kind=kind, verb="HELO")
    with pytest.raises(Away) as raised:
        post.send(mail=post.secured(security, timeout=QUICK if kind == "silent" else post.mail.timeout))
    told(raised.value)
    assert (post.recipients(), post.asked) == ([], [])
    post.smtp.do("heal")


@pytest.mark.parametrize("kind", ["hang_up", "garbage", "endless", "silent"])
@pytest.mark.parametrize(("verb", "error"), [("MAIL", Away), ("RCPT", Deferred), ("DATA", Deferred), ("END", Unknown)])
def test_failures_of_a_letter(post: Post, kind: str, verb: str, error: type[XTrackError]) -> None:
    """Nothing was sent where that is said, and nobody is asked whether to go on when it is too late."""
    with open_office(post.quick() if kind == "silent" else post.mail) as office:
        post.smtp.do("fail", kind=kind, verb=verb, keeps=verb == "END")
        with pytest.raises(error) as raised:
            post.give(office, LETTER)
        assert type(raised.value) is error
        assert "127.0.0.1" in told(raised.value)
        assert post.asked == (["d1"] if verb in ("DATA", "END") else [])
        post.give(office, SECOND)
    assert post.recipients() == (["anna@example.net"] if verb == "END" else []) + ["bo@example.net"]
    assert len(post.smtp.do("connections")) == 2
    if error is Unknown:
        assert "after all of the letter to anna@example.net was given to it: it may have been sent" in str(raised.value)


@pytest.mark.parametrize(("verb", "error"), [("CONNECT", Away), ("EHLO", Away), ("MAIL", Away), ("END", Unknown)])
def test_slow_bytes(post: Post, verb: str, error: type[XTrackError]) -> None:
    """Each comes in time, and all of them do not."""
    post.smtp.do("fail", kind="slow", verb=verb, rate=10)
    began = time.monotonic()
    with pytest.raises(error, match=r"127.0.0.1 took more than 0.3 seconds"):
        post.send(mail=post.quick())
    assert time.monotonic() - began < 1.5


def test_slow_bytes_in_time(post: Post) -> None:
    post.smtp.do("fail", kind="slow", verb="END", rate=100)
    post.send()
    assert post.recipients() == ["anna@example.net"]


def test_a_letter_that_the_server_did_not_get_to_its_end(post: Post) -> None:
    """It was begun, and is certainly not sent."""
    post.smtp.do("fail", kind="hang_up", verb="TEXT")
    with pytest.raises(Deferred, match=r"127.0.0.1"):
        post.send(replace(LETTER, text="The ferry is late. " * 500_000))
    assert post.asked == ["d1"]


# one letter after the other


def test_a_refused_letter_leaves_the_others_alone(post: Post) -> None:
    post.smtp.do("fail", kind="reply", verb="RCPT", text="550 nobody")
    post.smtp.do("fail", kind="reply", verb="END", text="451 later")
    with open_office(post.mail) as office:
        for letter, error in ((LETTER, Rejected), (LETTER, Deferred)):
            with pytest.raises(error):
                post.give(office, letter)
        post.give(office, SECOND)
    assert post.recipients() == ["bo@example.net"]
    verbs = ["EHLO", "AUTH", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA", "QUIT"]
    assert post.smtp.do("connections") == [verbs]


@pytest.mark.parametrize(
    ("kind", "verb", "how"),
    [
        ("hang_up", "RSET", {}),
        ("hang_up", "MAIL", {"after": 1}),
        ("reply", "RSET", {"text": "421 enough"}),
        ("reply", "RSET", {"text": "500 what?"}),
        ("reply", "MAIL", {"after": 1, "text": "421 4.7.0 too many on one connection"}),
        ("reply", "MAIL", {"after": 1, "text": "451 4.7.0 too many on one connection"}),
    ],
)
def test_a_server_that_has_enough_of_a_connection(post: Post, kind: str, verb: str, how: dict[str, Any]) -> None:
    post.smtp.do("fail", kind=kind, verb=verb, **how)
    post.send(LETTER, SECOND)
    assert post.recipients() == ["anna@example.net", "bo@example.net"]
    assert len(post.smtp.do("connections")) == 2
    assert post.asked == ["d1", "d2"]


@pytest.mark.parametrize(("verb", "text"), [("CONNECT", "421 going down"), ("AUTH", "454 going down")])
def test_a_server_that_went_away_meanwhile(post: Post, verb: str, text: str) -> None:
    with open_office(post.mail) as office:
        post.give(office, LETTER)
        post.smtp.do("fail", kind="hang_up", verb="RSET")
        post.smtp.do("fail", kind="reply", verb=verb, text=text)
        with pytest.raises(Away, match=text):
            post.give(office, SECOND)
        assert post.asked == ["d1"]
        post.give(office, SECOND)
    assert post.recipients() == ["anna@example.net", "bo@example.net"]
    last = ["AUTH"] if verb == "AUTH" else []
    assert [verbs[-1:] for verbs in post.smtp.do("connections")] == [["RSET"], last, ["QUIT"]]


def test_the_last_moment(post: Post) -> None:
    """Who is asked may be slow, or say no; it is the one who sends, not a thread."""
    asked_in: list[int] = []

    def refuse() -> None:
        asked_in.append(threading.get_ident())
        raise Misconfigured("no")

    # Enough for a letter on a busy machine.
    with open_office(replace(post.mail, timeout=timedelta(seconds=2))) as office:
        with pytest.raises(Misconfigured):
            office.send(LETTER, refuse)
        with pytest.raises(Deferred, match="took more than"):
            office.send(LETTER, lambda: time.sleep(2.2))
        post.give(office, SECOND)
    assert asked_in == [threading.get_ident()]
    assert post.recipients() == ["bo@example.net"]


@pytest.mark.parametrize(
    "recipient", ["", "anna", "a@b\r\nRCPT TO:<m@example.com>", "a@b> SIZE=1", "ä@b.example", "@", "a b@c"]
)
def test_what_is_no_address(post: Post, recipient: str) -> None:
    with pytest.raises(Rejected, match="this is no address") as raised:
        post.send(replace(LETTER, recipient=recipient))
    told(raised.value)
    assert post.smtp.do("connections") == [["EHLO", "AUTH"]]


@pytest.mark.parametrize("kind", ["silent", "hang_up", "garbage"])
def test_a_farewell_that_fails_changes_nothing(post: Post, kind: str) -> None:
    post.smtp.do("fail", kind=kind, verb="QUIT")
    post.send(mail=post.quick())
    assert post.recipients() == ["anna@example.net"]


def test_what_waits_ends_with_the_connection(post: Post) -> None:
    """Else a thread could still be reading when the program ends."""
    before = threading.enumerate()
    post.smtp.do("fail", kind="silent", verb="MAIL")
    with pytest.raises(Away), open_office(post.quick()) as office:
        post.give(office, LETTER)
    ours = [thread for thread in threading.enumerate() if thread not in before]
    for thread in ours:
        thread.join(5)
    assert not any(thread.is_alive() for thread in ours)


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    code = "import sys, xtrack.channels.mail; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"smtplib", "email", "ssl", "socket", "hmac", "logging"} & set(names)
