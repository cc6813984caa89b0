"""Letters by SMTP (RFC 5321), one after the other, to a server that we are logged in at."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from xtrack.channels import Away, Deferred, Letter, Office, Rejected, Unknown
from xtrack.channels._login import Login, Reply
from xtrack.channels._message import compose
from xtrack.channels._server import Server
from xtrack.deadline import Late, clock, in_time
from xtrack.errors import Misconfigured, XTrackError
from xtrack.settings import Mail, address

if TYPE_CHECKING:
    from smtplib import SMTP

_T = TypeVar("_T")
_Kind = type[Away] | type[Deferred] | type[Rejected] | type[Unknown]
# RFC 8314, section 7.3, and RFC 5321, section 4.5.4.2.
_PORTS = {"ssl": 465, "starttls": 587, "none": 25}
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1", re.IGNORECASE | re.ASCII)
# Seconds for the farewell.
_FAREWELL = 5.0


@contextmanager
def open_office(mail: Mail) -> Iterator[Office]:
    """Connect and log in. `mail.timeout` is for that, and again for each letter.

    Raises Misconfigured, with the key, for what is not set or not allowed; Away.
    """
    server, sender = _checked(mail)
    office = _Office(server, sender)
    try:
        office.connect()
        yield office
        office.leave()
    finally:
        office.drop()


def _checked(mail: Mail) -> tuple[Server, str]:
    """The server and the sender's address."""
    if mail.host is None:
        raise Misconfigured("there is no mail server", "set mail.host in the config to the name of an SMTP server")
    if mail.sender is None:
        raise Misconfigured("mail has no sender", "set mail.from in the config to the address that it is to come from")
    if mail.security == "none" and not _LOOPBACK.fullmatch(mail.host):
        what = f"mail.security is none, but mail.host is not this machine: {mail.host:.60}"
        raise Misconfigured(what, "set mail.security in the config to ssl or starttls")
    port = mail.port or _PORTS[mail.security]
    return Server(mail.host, port, mail.security, _login(mail), mail.timeout.total_seconds()), mail.sender


def _login(mail: Mail) -> Login | None:
    if mail.user and mail.password:
        return Login(mail.user, mail.password)
    if not mail.user and not mail.password:
        return None
    there, missing = ("user", "password") if mail.user else ("password", "user")
    hint = f"set mail.{missing} in the config; where neither is set, nobody logs in"
    raise Misconfigured(f"mail.{there} is set, but mail.{missing} is not", hint)


class _Office:
    """One connection, or a new one when the server has had enough of it."""

    def __init__(self, server: Server, sender: str) -> None:
        self._server, self._sender = server, sender
        self._smtp: SMTP | None = None
        self._has_sent = False

    def connect(self) -> None:
        self._connect(self._deadline())

    def leave(self) -> None:
        """Say goodbye, whatever comes of it."""
        if smtp := self._smtp:
            with suppress(Away):
                self._in_time(Away, lambda: smtp.docmd("QUIT"), min(self._deadline(), clock() + _FAREWELL))

    def drop(self) -> None:
        """Break off; a thread that still waits for the server then ends, too."""
        import socket

        if self._smtp and (connection := self._smtp.sock):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._smtp = None

    def send(self, letter: Letter, before_data: Callable[[], None]) -> None:
        try:
            recipient = address(letter.recipient)
        except (ValueError, TypeError):
            raise Rejected(f"this is no address: {letter.recipient!r:.80}") from None
        message = compose(letter, self._sender)
        until = self._deadline()
        self._begin(until)
        self._ask("RCPT", f"TO:<{recipient}>", f"mail to {recipient}", until, Deferred, Rejected)
        before_data()
        self._ask("DATA", "", f"the letter to {recipient}", until, Deferred, Rejected)
        self._give(message, f"the letter to {recipient}", until)

    def _deadline(self) -> float:
        return clock() + self._server.seconds

    def _connect(self, until: float) -> None:
        from smtplib import SMTP

        self.drop()
        # Without a name, the machine's own would be looked up.
        self._smtp = smtp = SMTP(local_hostname="localhost")
        self._in_time(Away, lambda: self._server.connect(smtp), until)
        self._has_sent = False

    def _begin(self, until: float) -> None:
        """Name the sender, on a new connection where there is none, or where the old one is not good any more."""
        if self._smtp and self._has_sent:
            with suppress(Away):
                self._ask("RSET", "", "another letter", until, Away, Away)
                self._name_sender(until)
                return
        if not self._smtp or self._has_sent:
            self._connect(until)
        self._has_sent = True
        self._name_sender(until)

    def _name_sender(self, until: float) -> None:
        """What goes wrong here goes wrong with every letter."""
        self._ask("MAIL", f"FROM:<{self._sender}>", f"mail from {self._sender}", until, Away, Away)

    def _ask(self, verb: str, argument: str, what: str, until: float, later: _Kind, never: _Kind) -> None:
        """Give a command, so that the server takes `what`."""
        smtp = self._smtp
        assert smtp  # it is connected
        code, said = self._in_time(later, lambda: smtp.docmd(verb, argument), until)
        if code // 100 != (3 if verb == "DATA" else 2):
            self._refuse((code, said), what, later, never, broken=later)

    def _give(self, message: bytes, what: str, until: float) -> None:
        """Give the message itself.

        What the server did not get to its last byte it does not take. Once it did, its answer alone can tell.
        """
        smtp = self._smtp
        assert smtp  # it is connected
        # RFC 5321, section 4.5.2.
        stuffed = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"

        def give() -> Reply:
            try:
                smtp.send(stuffed)
            except OSError as error:
                raise self._server.explained(error, Deferred) from None
            return smtp.getreply()

        try:
            code, said = self._in_time(Unknown, give, until)
            if code // 100 != 2:
                self._refuse((code, said), what, Deferred, Rejected, broken=Unknown)
        except Unknown as error:
            raise Unknown(f"{error}, after all of {what} was given to it: it may have been sent or not") from None

    def _refuse(self, reply: Reply, what: str, later: _Kind, never: _Kind, broken: _Kind) -> None:
        """Raise the error for a reply that is not the good one: not now (4yz), not ever (5yz), or none of SMTP's."""
        words = self._server.words(reply)
        if reply[0] // 100 not in (4, 5):
            self.drop()
            raise broken(f"{self._server.host} answers what is no SMTP: {words}")
        if reply[0] // 100 == 4:
            raise later(f"{self._server.host} does not take {what} now: {words}")
        raise never(f"{self._server.host} does not take {what}: {words}")

    def _in_time(self, kind: _Kind, work: Callable[[], _T], until: float) -> _T:
        """What comes of talking to the server. When nothing does, raises `kind`, and the connection is gone."""
        try:
            return in_time(work, until)
        except Late:
            self.drop()
            raise self._server.late(kind) from None
        except OSError as error:
            self.drop()
            raise self._server.explained(error, kind) from None
        except XTrackError:
            self.drop()
            raise
