"""A mail server: how we connect to it and log in there, and its failures and refusals in plain words.

What it says is shown on one line, cut, and without any secret that it was told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from xtrack.channels import Away
from xtrack.channels._login import Login, Reply
from xtrack.columns import cut, tidy
from xtrack.errors import XTrackError

if TYPE_CHECKING:
    from smtplib import SMTP

_Error = TypeVar("_Error", bound=XTrackError)
# Seconds for each of a host's addresses.
_CONNECT = 20.0
# Of what a server says: characters that are looked at, and columns that are shown.
_LONGEST, _COLUMNS = 2000, 200
_CHECK = "check mail.host, mail.port and mail.security in the config"


@dataclass(frozen=True)
class Server:
    """Where it is, how it is talked to (settings.Mail), and for how many seconds it may be silent."""

    host: str
    port: int
    security: str
    login: Login | None
    seconds: float

    def connect(self, smtp: "SMTP") -> None:
        """Connect one that is not, as securely as it has to be, and log in. Raises Away, OSError."""
        import socket
        from smtplib import SMTPConnectError

        smtp.sock = socket.create_connection((self.host, self.port), min(_CONNECT, self.seconds))
        smtp.sock.settimeout(self.seconds)
        smtp.local_hostname = _literal(smtp.sock.getsockname()[0])
        if self.security == "ssl":
            self._secure(smtp)
        code, said = smtp.getreply()
        if code != 220:
            raise SMTPConnectError(code, said)
        _hello(smtp)
        if self.security == "starttls":
            self._start_tls(smtp)
        if self.login:
            self._log_in(smtp, self.login)

    def _start_tls(self, smtp: "SMTP") -> None:
        """RFC 3207. What was offered before may come from somebody on the way, and counts no more."""
        from smtplib import SMTPResponseException

        if not smtp.has_extn("starttls"):
            raise Away(f"{self.host} offers no STARTTLS, and without TLS nothing is told it", _CHECK)
        code, said = smtp.docmd("STARTTLS")
        if code != 220:
            raise SMTPResponseException(code, said)
        self._secure(smtp)
        _hello(smtp)

    def _secure(self, smtp: "SMTP") -> None:
        """TLS from here on: what was read ahead is dropped."""
        import ssl

        assert smtp.sock  # it is connected
        context = ssl.create_default_context()
        # The handshake can be broken off only when the socket is where it is looked for.
        smtp.sock = secure = context.wrap_socket(smtp.sock, server_hostname=self.host, do_handshake_on_connect=False)
        smtp.file = None
        secure.do_handshake()

    def _log_in(self, smtp: "SMTP", login: Login) -> None:
        offered = smtp.esmtp_features.get("auth", "").strip()
        reply = login.log_in(smtp.docmd, offered)
        if reply is None:
            ways = cut(tidy(offered[:_LONGEST]), _COLUMNS) or "nothing"
            raise Away(f"{self.host} offers no way to log in that XTrack knows, but {ways}", _CHECK)
        if reply[0] // 100 == 4:
            raise Away(f"{self.host} lets nobody in now: {self.words(reply)}")
        if reply[0] != 235:
            what = f"{self.host} does not let {login.user} in with mail.password: {self.words(reply)}"
            raise Away(what, "check mail.user and mail.password in the config")

    def words(self, reply: Reply) -> str:
        said = reply[1][:_LONGEST].decode("utf-8", "replace")
        said = self.login.hidden(said) if self.login else said
        # smtplib gives -1 where there is no code.
        return cut(tidy(f"{reply[0]} {said}" if reply[0] > 0 else said), _COLUMNS)

    def late(self, kind: type[_Error]) -> _Error:
        """The error for a server that takes too long, in all."""
        return kind(f"{self.host} took more than {self.seconds:g} seconds", _CHECK)

    def explained(self, error: OSError, kind: type[_Error]) -> _Error:
        """What went wrong below us. smtplib wraps it: the system's own error decides."""
        import smtplib
        import socket
        import ssl

        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return kind(f"{self.host} has a certificate that cannot be trusted: {cause.verify_message}")
            if isinstance(cause, ssl.SSLError):
                return kind(f"no secure connection to {self.host}: {cause.reason or 'TLS failed'}", _CHECK)
            if isinstance(cause, socket.gaierror):
                return kind(f"no address was found for {self.host}", _CHECK)
            if isinstance(cause, TimeoutError):
                return kind(f"{self.host} was silent for too long", _CHECK)
            if isinstance(cause, smtplib.SMTPResponseException):
                said = cause.smtp_error
                words = self.words((cause.smtp_code, said if isinstance(said, bytes) else said.encode()))
                return kind(f"{self.host} does not talk to us: {words}", _CHECK)
            if cause.strerror:
                return kind(f"no connection to {self.host}, port {self.port}: {cause.strerror}", _CHECK)
        return kind(f"{self.host} broke off")


def _hello(smtp: "SMTP") -> None:
    """EHLO, or HELO where that is not known (RFC 5321, section 3.2)."""
    from smtplib import SMTPHeloError

    code, said = smtp.ehlo()
    if code // 100 == 5:
        code, said = smtp.helo()
    if code // 100 != 2:
        raise SMTPHeloError(code, said)


def _literal(ip: str) -> str:
    """An address in the place of a name (RFC 5321, section 4.1.3), which a machine at home does not have."""
    return f"[IPv6:{ip.partition('%')[0]}]" if ":" in ip else f"[{ip}]"


def _causes(error: BaseException | None) -> Iterator[OSError]:
    while error:
        if isinstance(error, OSError):
            yield error
        error = error.__cause__ or error.__context__
