"""How a mail server is told who we are (RFC 4954), in one of three ways, and is kept from telling it on."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

from xtrack.settings import Secret

Reply = tuple[int, bytes]
# Gives a server a command and its argument, and gives its reply.
Ask = Callable[[str, str], Reply]
_GO_ON = 334
# A server may offer what it does not have, or what this account may not use.
_OTHER_WAY = (504, 534)


@dataclass(frozen=True)
class Login:
    """A name and its password. Both are UTF-8 on the wire (RFC 4616, section 2)."""

    user: str
    password: Secret

    def log_in(self, ask: Ask, offered: str) -> Reply | None:
        """The server's last reply, 235 when we are in; None: of what it offers, as EHLO tells it, we know nothing.

        What is easiest for servers comes first: that we are not overheard is ensured before. One refusal is enough,
        since some lock an account after a few.
        """
        ways = {"PLAIN": self._plain, "LOGIN": self._login, "CRAM-MD5": self._cram_md5}
        reply = None
        for name, way in ways.items():
            if name in offered.upper().split():
                reply = way(ask)
                if reply[0] not in _OTHER_WAY:
                    break
        return reply

    def hidden(self, said: str) -> str:
        """What a server says, without what it was told in secret."""
        secrets = (self._plain_text, _base64(self.password.reveal()), self.password.reveal())
        return re.sub("|".join(map(re.escape, secrets)), "***", said)

    @property
    def _plain_text(self) -> str:
        return _base64(f"\0{self.user}\0{self.password.reveal()}")

    def _plain(self, ask: Ask) -> Reply:
        """RFC 4616."""
        return ask("AUTH", f"PLAIN {self._plain_text}")

    def _login(self, ask: Ask) -> Reply:
        """https://datatracker.ietf.org/doc/html/draft-murchison-sasl-login-00"""
        code, said = ask("AUTH", "LOGIN")
        for text in (self.user, self.password.reveal()):
            if code == _GO_ON:
                code, said = ask(_base64(text), "")
        return code, said

    def _cram_md5(self, ask: Ask) -> Reply:
        """RFC 2195. A challenge that cannot be read is given as the last reply."""
        import hmac

        code, said = ask("AUTH", "CRAM-MD5")
        if code != _GO_ON:
            return code, said
        try:
            challenge = b64decode(said, validate=True)
        except ValueError:
            return code, said
        digest = hmac.new(self.password.reveal().encode(), challenge, "md5").hexdigest()
        return ask(_base64(f"{self.user} {digest}"), "")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
