"""One tree of errors: each class carries its exit code and whether trying again can help.

Exit codes follow sysexits.h(3head) where it has one. An error is raised where it is known and printed in one place,
__main__, as one line and a hint of what to type next.
"""

from datetime import datetime
from signal import Signals
from typing import ClassVar


class XTrackError(Exception):
    """Anything that XTrack can explain. `hint` is a command to type or a place to look, or empty."""

    exit_code: ClassVar[int] = 70
    can_retry: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Stopped(BaseException):
    """A signal came that is to stop us (signal(7)). Nothing that handles errors may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {Signals(number).name}")
        self.exit_code = 128 + number


class UsageError(XTrackError):
    """The command line is wrong."""

    exit_code = 2


class BadData(XTrackError):
    """What was read is not what it should be; reading it again will not help (EX_DATAERR)."""

    exit_code = 65


class NotFound(XTrackError):
    """No such job, summary or file was named on the command line (EX_NOINPUT)."""

    exit_code = 66


class GaveUp(XTrackError):
    """This slot has been tried long enough; the next one will do (EX_UNAVAILABLE)."""

    exit_code = 69


class Temporary(XTrackError):
    """It failed now and may work later (EX_TEMPFAIL); not before `retry_at`, where that is known."""

    exit_code = 75
    can_retry = True

    def __init__(self, message: str, hint: str = "", retry_at: datetime | None = None) -> None:
        super().__init__(message, hint)
        self.retry_at = retry_at


class Paused(XTrackError):
    """Reading stops before its end because no more may be bought now; what is left is bought later."""

    exit_code = 77


class Refused(XTrackError):
    """Not allowed: a permission, a token, somebody else's file (EX_NOPERM)."""

    exit_code = 77


class Misconfigured(XTrackError):
    """The configuration or the machine has to be changed first (EX_CONFIG)."""

    exit_code = 78
