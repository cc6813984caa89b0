"""Mail by SMTP, encrypted unless to this machine, one recipient a message."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from xtrack.channels import Away, Deferred, Letter, Office, Rejected, Unknown
from xtrack.channels._message import message
from xtrack.columns import cut, tidy
from xtrack.errors import Misconfigured
from xtrack.settings import LOOPBACK, Mail

if TYPE_CHECKING:
    import smtplib

_PORTS = {"ssl": 465, "starttls": 587, "none": 25}
# RFC 5321, section 4.2.1: what begins with it is for good.
_FOR_GOOD = 5
_SAID = 200


@contextmanager
def open_office(mail: Mail) -> Iterator[Office]:
    """A server that we are logged in at. Raises Away when there is none, Misconfigured when it is not set up."""
    host, sender = _required(mail)
    with _connected(mail, host) as server:
        yield _Server(server, sender, mail)


def _required(mail: Mail) -> tuple[str, str]:
    missing = [key for key, value in (("mail.host", mail.host), ("mail.from", mail.sender)) if not value]
    if missing:
        raise Misconfigured(f"mails cannot be sent without {' and '.join(missing)}", "set them in the config")
    if mail.security == "none" and mail.host not in LOOPBACK:
        raise Misconfigured("mail.security is none, which is for this machine only", "set it to ssl or starttls")
    return str(mail.host), str(mail.sender)


@contextmanager
def _connected(mail: Mail, host: str) -> "Iterator[smtplib.SMTP]":
    import smtplib
    import ssl

    port, seconds = mail.port or _PORTS[mail.security], mail.timeout.total_seconds()
    server: smtplib.SMTP | None = None
    try:
        if mail.security == "ssl":
            context = ssl.create_default_context()
            server = smtplib.SMTP_SSL(host, port, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=seconds)
        if mail.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        server.ehlo_or_helo_if_needed()
        if mail.user and mail.password:
            server.login(mail.user, mail.password.reveal())
    except (OSError, smtplib.SMTPException) as error:
        if server:
            server.close()
        raise _away(error, f"{host}:{port}") from None
    try:
        yield server
    finally:
        with suppress(OSError, smtplib.SMTPException):
            server.quit()


def _away(error: Exception, where: str) -> Away:
    import smtplib
    import ssl

    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Away(
            f"{where} does not let us in: {_said(error.smtp_code, error.smtp_error)}", "mail.user, mail.password"
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Away(f"{where} does not offer what it should: {_plain(error)}", "mail.security, mail.user")
    if isinstance(error, smtplib.SMTPResponseException):
        return Away(f"{where} refuses: {_said(error.smtp_code, error.smtp_error)}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Away(f"{where} has a certificate that cannot be trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return Away(f"no secure connection to {where}: {error.reason or 'TLS failed'}", "mail.port, mail.security")
    if isinstance(error, TimeoutError):
        return Away(f"{where} was silent for too long")
    if isinstance(error, OSError) and error.strerror:
        return Away(f"no connection to {where}: {error.strerror}")
    return Away(f"{where} went away: {_plain(error)}")


class _Server:
    """An Office."""

    def __init__(self, server: "smtplib.SMTP", sender: str, mail: Mail) -> None:
        self._server, self._sender, self._mail = server, sender, mail

    def send(self, letter: Letter, before_data: Callable[[], None]) -> None:
        """As Office says."""
        import smtplib

        data = message(letter, self._sender)
        deadline = time.monotonic() + self._mail.timeout.total_seconds()
        try:
            self._step(*self._server.mail(self._sender), good=(250,))
            self._step(*self._server.rcpt(letter.recipient), good=(250, 251))
        except (OSError, smtplib.SMTPException) as error:
            raise _away(error, "the mail server") from None
        if time.monotonic() > deadline:
            raise Away("the mail server is too slow")
        before_data()
        try:
            code, said = self._server.data(data)
        except smtplib.SMTPDataError as error:
            self._step(error.smtp_code, error.smtp_error, good=())
        except (OSError, smtplib.SMTPException) as error:
            raise Unknown(f"the mail server was gone before it had confirmed: {_plain(error)}") from None
        else:
            self._step(code, said, good=(250,))

    def _step(self, code: int, said: bytes | str, good: tuple[int, ...]) -> None:
        """What an answer means. Raises Deferred, Rejected."""
        import smtplib

        if code in good:
            return
        with suppress(OSError, smtplib.SMTPException):
            self._server.rset()
        words = f"the mail server says: {_said(code, said)}"
        raise Rejected(words) if code // 100 == _FOR_GOOD else Deferred(words)


def _said(code: int, said: bytes | str) -> str:
    words = said if isinstance(said, str) else said.decode("utf-8", "replace")
    return cut(tidy(f"{code} {words}"), _SAID)


def _plain(error: Exception) -> str:
    return cut(tidy(str(error)), _SAID)
