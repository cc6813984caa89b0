"""One connection: aiosmtpd's answers, and those that do not come as they should."""

import asyncio
import hmac
import re
import traceback
from functools import partial
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session, TLSSetupException

from tests.peers.smtp.state import COMMANDS, MECHANISMS, Failure, Mail, State
from tests.peers.smtp.strict import sins

_SIZE = 1 << 20
# RFC 5321, sections 4.1.1.1 and 4.1.3.
_NAME = re.compile(r"\[[0-9.]+\]|\[IPv6:[0-9a-f:.]+\]|[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE | re.ASCII)
_CHALLENGE = b"<1896.697170952@mail.peer.example>"


class Handler:
    """What happens to what aiosmtpd has understood."""

    def __init__(self, state: State, security: str) -> None:
        self._state, self._security = state, security

    def authenticate(self, _s: SMTP, session: Session, _e: Envelope, mechanism: str, data: Any) -> AuthResult:
        options = self._state.options
        good = data == LoginPassword(options.user.encode(), options.password.encode())
        return AuthResult(success=good, handled=False, auth_data=(options.user, mechanism))

    async def auth_CRAM__MD5(self, server: "Conversation", args: list[str]) -> AuthResult:  # noqa: N802, aiosmtpd's
        """RFC 2195."""
        options = self._state.options
        told = await server.challenge_auth(_CHALLENGE)
        digest = hmac.new(options.password.encode(), _CHALLENGE, "md5").hexdigest()
        good = told == f"{options.user} {digest}".encode()
        return AuthResult(success=good, handled=False, auth_data=(options.user, "CRAM-MD5"))

    async def handle_EHLO(  # noqa: N802, aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        if not _NAME.fullmatch(hostname):
            self._state.bugs.append(f"EHLO with what is no name: {hostname}")
        session.host_name = hostname
        has_users = bool(self._state.options.user)
        return [one for one in responses if has_users or not one.startswith("250-AUTH")]

    async def handle_DATA(self, server: "Conversation", session: Session, envelope: Envelope) -> bytes:  # noqa: N802, aiosmtpd
        assert isinstance(envelope.content, bytes)
        data = envelope.content.decode("latin-1")
        self._state.bugs += sins(data, envelope.mail_from or "", envelope.rcpt_tos)
        is_secure = self._security == "ssl" or session.ssl is not None
        user, mechanism = session.auth_data or ("", "")
        mail = Mail(envelope.mail_from or "", envelope.rcpt_tos[0], data, is_secure, user, mechanism)
        failure = self._state.failure("END")
        if not failure or failure.keeps or failure.comes_along:
            self._state.mails.append(mail)
        return await server.instead(failure) or b"250 2.0.0 kept"


class Conversation(SMTP):
    """A client is talked to as the security of its port wants it."""

    def __init__(self, state: State, security: str) -> None:
        self._state, self._security, self._verbs = state, security, list[str]()
        self._is_greeted = False
        self._beside: Failure | None = None
        state.connections.append(self._verbs)
        for verb in COMMANDS:
            setattr(self, f"smtp_{verb}", partial(self._serve, verb, getattr(super(), f"smtp_{verb}")))
        options, handler = state.options, Handler(state, security)
        offers_tls = security == "starttls" and options.offers_starttls
        super().__init__(
            handler,
            data_size_limit=_SIZE,
            hostname="mail.peer.example",
            ident="peer",
            tls_context=state.context if offers_tls else None,
            require_starttls=offers_tls,
            auth_required=bool(options.user),
            auth_require_tls=security == "starttls",
            auth_exclude_mechanism=MECHANISMS - set(options.mechanisms),
            authenticator=handler.authenticate,
            loop=asyncio.get_running_loop(),
        )

    async def _serve(self, verb: str, does: Any, argument: str | None) -> None:
        """A command, in a way that was ordered or in aiosmtpd's."""
        self._verbs.append(verb)
        assert self.session
        if verb == "AUTH" and self._security == "starttls" and not self.session.ssl:
            self._state.bugs.append("a login that everybody can read")
        if instead := await self.instead(self._state.failure(verb)):
            await self.push(instead)
        else:
            await does(argument)
        self._beside = None

    async def challenge_auth(self, challenge: Any, *options: Any, **more: Any) -> Any:
        if instead := await self.instead(self._state.failure("CHALLENGE")):
            await self.push(instead)
            return MISSING
        return await super().challenge_auth(challenge, *options, **more)

    async def instead(self, failure: Failure | None) -> bytes | None:
        """What is said in the place of an answer, if anything is. Where nothing is ever said, this does not return."""
        self._beside = failure if failure and failure.comes_along else self._beside
        if not failure or failure.comes_along:
            return None
        if failure.kind == "hang_up":
            await self._hang_up()
        elif failure.kind == "silent":
            await asyncio.Event().wait()
        wrong = {"garbage": b"\xff\xfe what is this?", "endless": b"250-" + b"x" * 100_000}
        return wrong.get(failure.kind, failure.text.encode())

    async def push(self, status: Any) -> None:
        if not self._is_greeted:
            self._is_greeted = True
            status = await self.instead(self._state.failure("CONNECT")) or status
        text = status.encode() if isinstance(status, str) else status
        if self._beside and self._beside.kind == "more":
            text += b"\r\n" + self._beside.text.encode()
        if self._beside and self._beside.kind == "slow":
            await self._drip(text + b"\r\n", self._beside.rate)
        else:
            await super().push(text)
        if text.startswith(b"421"):
            await self._hang_up()
        if text.startswith(b"354"):
            await self.instead(self._state.failure("TEXT"))

    async def _drip(self, text: bytes, rate: float) -> None:
        """`rate` bytes a second."""
        for number in text:
            self._writer.write(bytes([number]))
            await asyncio.sleep(1 / rate)

    async def _hang_up(self) -> None:
        """Close the connection, by which aiosmtpd ends who waits here."""
        assert self.transport
        self.transport.close()
        await asyncio.Event().wait()

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, TLSSetupException):
            return "454 4.7.0 no TLS"
        self._state.bugs.append("".join(traceback.format_exception(error)))
        return "451 4.3.0 a bug of the server"
