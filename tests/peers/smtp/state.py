"""What the server knows: its options, the failures ordered, and what it was told and given."""

import ssl
from dataclasses import dataclass, field

# What goes wrong at a verb.
KINDS = {
    "reply",  # text: the reply, in the place of the right one
    "hang_up",
    "silent",
    "slow",  # rate: bytes a second of the right reply
    "garbage",  # what is no reply
    "endless",  # a line without an end
    "more",  # text: what follows the right reply at once
}
# The greeting, the commands, what comes between two halves of a login, and the end of the data. At TEXT it fails
# when it has asked for the data, which it then does not read.
COMMANDS = {"EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}
VERBS = {"CONNECT", "CHALLENGE", "TEXT", "END"} | COMMANDS
MECHANISMS = {"PLAIN", "LOGIN", "CRAM-MD5"}


@dataclass
class Failure:
    """What is to go wrong the next `times` (None: always) at a verb, after `after` good ones.

    `keeps`: the server took the message nevertheless, of which the client hears nothing.
    """

    kind: str
    verb: str
    times: int | None = 1
    after: int = 0
    text: str = ""
    rate: float = 20
    keeps: bool = False

    @property
    def comes_along(self) -> bool:
        """Whether it does no more than come with the right reply."""
        return self.kind in ("slow", "more")

    def takes(self, verb: str) -> bool:
        """Whether this is a time to fail, and count it."""
        if self.times == 0 or verb != self.verb:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times = self.times and self.times - 1
        return True


@dataclass(frozen=True)
class Options:
    """With a user, nothing is taken from anybody else. `mechanisms` are the ways to log in that are offered."""

    user: str = ""
    password: str = ""
    mechanisms: tuple[str, ...] = tuple(sorted(MECHANISMS))
    offers_starttls: bool = True


@dataclass(frozen=True)
class Mail:
    """A message that the server took, as it came but for dots, and in what way."""

    sender: str
    recipient: str
    data: str
    is_secure: bool
    user: str
    mechanism: str


@dataclass
class State:
    """All that the server knows. `connections` are the verbs of each one."""

    options: Options = field(default_factory=Options)
    failures: list[Failure] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    connections: list[list[str]] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)
    context: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def failure(self, verb: str) -> Failure | None:
        return next((one for one in self.failures if one.takes(verb)), None)
