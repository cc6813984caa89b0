"""One call of the X API: with the token, through what passes by itself, or ended by the error that it is.

The token is in the header of the request and nowhere else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from xtrack.deadline import clock
from xtrack.errors import Misconfigured, Temporary
from xtrack.sources import Access, _http
from xtrack.sources._http import Limits, Unreachable
from xtrack.sources._v2 import Json
from xtrack.sources._x_answers import WindowClosed, read

_NEAR = timedelta(minutes=3)
_PAUSES = (1.0, 3.0)
_LOOK_AGAIN = 5.0


@dataclass
class _Call:
    """What a call may still wait for: pauses in seconds, soon after its beginning; a window, once."""

    begun: float = field(default_factory=clock)
    pauses: Iterator[float] = field(default_factory=lambda: iter(_PAUSES))
    has_waited: bool = False


class Client:
    """Calls on one connection, with one patience for a network that is not up."""

    def __init__(self, limits: Limits = _http.LIMITS) -> None:
        self._http, self._soon = _http.Kept(limits), limits.total / 2
        self._lost_at: float | None = None

    def get(self, access: Access, path: str, parameters: Mapping[str, str]) -> Json:
        """The JSON of a good answer, as _x_answers.read gives it.

        Waits for a window that opens soon, for a network that comes up, and a few seconds for what else passes. Raises
        Misconfigured (no token), Unreachable, what _http.get raises, and what _x_answers.read raises.
        """
        call = _Call()
        while True:
            try:
                return read(self._ask(access, path, parameters))
            except Temporary as error:
                pause, why = self._pause(access, call, error), str(error)
                if pause is None:
                    raise
            access.wait(pause, why)

    def _pause(self, access: Access, call: _Call, error: Temporary) -> float | None:
        """For how many seconds to wait before it is tried again; None: no more."""
        now = clock()
        if isinstance(error, Unreachable):
            self._lost_at = now if self._lost_at is None else self._lost_at
            left = self._lost_at + access.patience - now
            return min(_LOOK_AGAIN, left) if left > 0 else None
        if isinstance(error, WindowClosed):
            closed = error.retry_at - access.clock() if error.retry_at else timedelta.max
            if call.has_waited or closed > _NEAR:
                return None
            call.has_waited = True
            return max(1.0, closed.total_seconds())
        pause = next(call.pauses, None)
        return pause if pause and now + pause < call.begun + self._soon else None

    def _ask(self, access: Access, path: str, parameters: Mapping[str, str]) -> _http.Answer:
        if access.x.token is None:
            raise Misconfigured("there is no token for X", "set x.token in the config to the bearer token of an app")
        token = access.x.token.reveal()
        url = f"{access.x.base_url.rstrip('/')}{path}?{urlencode(parameters, safe=',')}"
        return self._http.get(url, {"Authorization": f"Bearer {token}", "Accept": "application/json"})


_CLIENTS: WeakKeyDictionary[Access, Client] = WeakKeyDictionary()


def client_of(access: Access) -> Client:
    """The one client for all that an access reads."""
    return _CLIENTS.setdefault(access, Client())
