"""Work that waits for a server, until a moment on a clock that goes on while the machine sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class Late(Exception):
    """The time is over; what was to be done may still be going on, in a thread that nobody waits for."""


def clock() -> float:
    """Seconds that also count while the machine sleeps, where the system can tell (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def in_time(work: Callable[[], _T], until: float) -> _T:
    """What `work` gives or raises, if it does until then on `clock`. Raises Late.

    Sockets have timeouts for each step only, and looking up a name has none at all: what waits for the server is a
    thread, which is left behind when the time is over.
    """
    import threading

    outcome: list[_T | Exception] = []

    def finish() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=finish, daemon=True)
    thread.start()
    while thread.is_alive():
        if clock() >= until:
            raise Late
        thread.join(min(1, max(0, until - clock())))
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
