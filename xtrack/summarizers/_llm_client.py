"""One request to an OpenAI-compatible server by the openai package, with an end on the wall clock.

The key is in the header of the request and nowhere else: the package's errors carry requests, so that none of them gets
out of here, neither itself nor as a cause.
"""

import importlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from xtrack import __version__
from xtrack.deadline import clock
from xtrack.errors import Temporary, XTrackError
from xtrack.settings import LLM
from xtrack.summarizers._llm_errors import Lost, Reply, Unreachable, host

if TYPE_CHECKING:
    from openai import OpenAI

_CONNECT_SECONDS = 10
_MOST_BYTES = 4 << 20
_PIECE_BYTES = 8192
_TICK_SECONDS = 1.0
# What the package wants of its callers that have none.
_NO_KEY = "none"
# The package's headers without those that tell of the machine, and those that the environment adds for OpenAI's own
# server, a key among them. By the last one it knows itself what was asked of it.
_HEADERS = {
    *("host", "content-type", "content-length", "accept", "connection"),
    "x-stainless-raw-response",
}
# What went wrong before anything was sent, as the package's HTTP library calls it.
_UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "LocalProtocolError")


class Server:
    """A server, asked one request after the other."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._client: OpenAI | None = None

    def ask(self, request: dict[str, Any], until: float, now: datetime, tick: Callable[[], object]) -> Reply:
        """What the server answers to a chat completion, with any status, until a time on `clock`; `tick` is called
        every second meanwhile.

        What waits for the server is a thread: the package's timeouts are for each step, and looking up a name has none.
        It is left behind when the time is over. Raises Unreachable, Lost, Temporary.
        """
        outcome: list[Reply | BaseException] = []

        def work() -> None:
            try:
                outcome.append(self._asked(request, until, now))
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
                outcome.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            left = until - clock()
            if left <= 0:
                raise Lost(self._late())
            tick()
            thread.join(min(_TICK_SECONDS, left))
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _asked(self, request: dict[str, Any], until: float, now: datetime) -> Reply | XTrackError:
        """A reply, or the error that explains why there is none, which is not raised, so that nothing hangs on it."""
        import openai

        self._client = self._client or _client(self._llm)
        try:
            create = self._client.chat.completions.with_streaming_response.create
            with create(**request, timeout=_timeout(until)) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                body = bytearray()
                for piece in response.http_response.iter_raw(_PIECE_BYTES):
                    body += piece
                    if len(body) > _MOST_BYTES:
                        return Lost(f"{host(self._llm)} sends more than {_MOST_BYTES:,} bytes")
                    if clock() >= until:
                        return Lost(self._late())
                return Reply(response.status_code, headers, bytes(body))
        except openai.APIStatusError as error:
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            return Reply(error.response.status_code, headers, error.response.content)
        except (openai.APIError, _transport().HTTPError) as error:
            return self._explained(error, now)

    def _late(self) -> str:
        return f"{self._llm.model} at {host(self._llm)} took more than {self._llm.timeout.total_seconds():g} seconds"

    def _explained(self, error: Exception, now: datetime) -> XTrackError:
        """What went wrong below, in plain words: the system's own error decides."""
        import socket
        import ssl

        where, causes = host(self._llm), list(_causes(error))
        names = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
        if "ProxyError" in names:
            where = f"the proxy on the way to {where}"
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Temporary(f"{where} has a certificate that cannot be trusted: {cause.verify_message}")
            if isinstance(cause, ssl.SSLError):
                return Unreachable(f"no secure connection to {where}: {cause.reason or 'TLS failed'}", None, now)
            if isinstance(cause, socket.gaierror):
                return Unreachable(f"no address was found for {where}", None, now)
        told = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
        if names & set(_UNSENT):
            return Unreachable(f"no connection to {where}{f': {told}' if told else ''}", None, now)
        if "TimeoutException" in names:
            return Lost(self._late())
        return Lost(f"{where} sent an answer that is broken or cut off")


def _client(llm: LLM) -> "OpenAI":
    import openai

    key = llm.key.reveal() if llm.key else ""

    def only_ours(request: Any) -> None:
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        # Packed answers could grow without bounds.
        request.headers["accept-encoding"] = "identity"
        request.headers["user-agent"] = f"xtrack/{__version__}"
        if key:
            request.headers["authorization"] = f"Bearer {key}"

    http = openai.DefaultHttpxClient(follow_redirects=False, event_hooks={"request": [only_ours]})
    return openai.OpenAI(api_key=key or _NO_KEY, base_url=llm.base_url, max_retries=0, http_client=http)


def _timeout(until: float) -> Any:
    """A model may be silent until it has its whole answer."""
    import openai

    left = max(0.1, until - clock())
    return openai.Timeout(left, connect=min(left, _CONNECT_SECONDS))


def _transport() -> Any:
    """The HTTP library below the package: httpx, and httpx2 since its version 3."""
    import openai

    homes = {base.__module__.partition(".")[0] for base in openai.DefaultHttpxClient.__mro__}
    return importlib.import_module("httpx2" if "httpx2" in homes else "httpx")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
