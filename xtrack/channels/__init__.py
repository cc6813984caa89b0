"""How digests reach people: one module a kind."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from xtrack.errors import Refused, Temporary


class Away(Temporary):
    """The server cannot be reached, or does not let us in: nothing can be sent to anybody now."""


class Deferred(Temporary):
    """Not this one to this recipient, for now; nothing was sent."""


class Rejected(Refused):
    """Not this one to this recipient, ever; nothing was sent."""


class Unknown(Temporary):
    """All was given to the server, which then was gone: it may have been sent or not."""


@dataclass(frozen=True)
class Letter:
    """What one recipient is sent: hostile texts are welcome, each of them is made fit for its place.

    `key` is of one delivery and never used for another: sent twice, it is the same message. `thread` is of all that is
    sent for one job to one home, `thread_name` what that is called.
    """

    recipient: str
    key: str
    thread: str
    thread_name: str
    at: datetime
    subject: str
    text: str
    html: str


class Office(Protocol):
    """A server that we are logged in at."""

    def send(self, letter: Letter, before_data: Callable[[], None]) -> None:
        """Send one letter; `before_data` is called at the last moment at which it certainly was not sent.

        Raises Away, Deferred, Rejected, Unknown.
        """
