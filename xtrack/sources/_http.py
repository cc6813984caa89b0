"""HTTP for sources: GETs whose cost is bounded in time, size and redirects, whatever the server does.

No secret may be in a URL's host, which is all that errors name of a URL.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from xtrack import __version__
from xtrack.deadline import Late, clock, in_time
from xtrack.errors import BadData, Refused, Temporary, XTrackError

if TYPE_CHECKING:
    import requests

# Small, so that a slow server is noticed between two pieces.
_PIECE_BYTES = 1024
_REDIRECTS = (301, 302, 303, 307, 308)
# One layer of what was asked for: layers multiply, a thousandfold each.
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
_COMMON = {"User-Agent": f"xtrack/{__version__}", "Accept-Encoding": "gzip, deflate"}
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"


class Unreachable(Temporary):
    """No connection was made: no address was found, or nothing answers there. Nothing was asked."""


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, of silence, and for everything; bytes after unpacking; redirects followed."""

    connect: float = 10
    read: float = 30
    total: float = 60
    size: int = 20 << 20
    redirects: int = 5


LIMITS = Limits()


@dataclass(frozen=True)
class Answer:
    """What came back; `url` is where redirects led, `headers` have lower-case names, `body` is unpacked."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(url: str, headers: Mapping[str, str], limits: Limits = LIMITS) -> Answer:
    """GET `url`, also through the proxy that the environment names (HTTPS_PROXY, NO_PROXY and so on).

    The headers go along with redirects, `authorization` only to the same origin. Any status may come back. Raises
    Temporary when no whole answer comes, BadData for a URL that cannot be asked and for an answer that is too big.
    """
    return _in_time(lambda until: _follow(url, headers, limits, until), url, limits)


class Kept:
    """GETs one after the other on a connection that is kept in between, for one server.

    What is sent with them may be secret: redirects are answers, not followed, and no error holds anything that was
    sent, neither itself nor as its cause, which libraries' own errors may do.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._session: requests.Session | None = None

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """As the module's `get`; raises what that does."""
        import requests

        # Its pool hands out no connection that a late thread still has, nor one whose answer was not read to its end.
        session = self._session = self._session or requests.Session()
        sent = {**_COMMON, "Connection": "keep-alive", **headers}

        def ask(until: float) -> Answer | XTrackError:
            try:
                return _ask(session, url, sent, self._limits, until)[0]
            except _failures() as error:
                return _explained(error, url, self._limits)

        return _in_time(ask, url, self._limits)


def _in_time(ask: Callable[[float], Answer | Exception], url: str, limits: Limits) -> Answer:
    """What `ask` gives or raises, which is told until when on `clock` it has time; an error that it gives is raised."""
    until = clock() + limits.total
    try:
        found = in_time(lambda: ask(until), until)
    except Late:
        raise _late(url, limits) from None
    if isinstance(found, Exception):
        raise found
    return found


def problem(answer: Answer) -> XTrackError | None:
    """The error that a status means, None for one that is good. Statuses: RFC 9110, section 15; RFC 6585."""
    where, status = host(answer.url), answer.status
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return Refused(f"{where} does not allow it (HTTP {status})")
    if status == 410:
        return BadData(f"{where} has it no more, for good (HTTP 410)")
    if status == 404:
        return Temporary(f"{where} does not have it (HTTP 404)")
    when = retry_after(answer.headers.get("retry-after", ""))
    if isinstance(when, timedelta):
        return Temporary(f"{where} asks to come back in {_minutes(when)} (HTTP {status})")
    if when:
        return Temporary(f"{where} asks to come back at {when:%Y-%m-%d %H:%M} UTC (HTTP {status})")
    return Temporary(f"{where} cannot answer now (HTTP {status})")


def retry_after(value: str) -> timedelta | datetime | None:
    """What a Retry-After header asks for: a delay of a year at most, or a moment. None: nothing, or nonsense.

    RFC 9110, section 10.2.3; of the three forms of a date the one that may be sent (5.6.7).
    """
    value = value.strip()
    if re.fullmatch("[0-9]+", value):
        return timedelta(seconds=min(int(value[:9]), 365 * 86400))
    try:
        return datetime.strptime(value, _HTTP_DATE).replace(tzinfo=UTC)
    except ValueError:
        return None


def host(url: str) -> str:
    """The host of a URL, for messages."""
    return urlsplit(url).hostname or "the server"


def _minutes(delay: timedelta) -> str:
    seconds = delay // timedelta(seconds=1)
    return f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"


def _late(url: str, limits: Limits) -> Temporary:
    return Temporary(f"{host(url)} took more than {limits.total:g} seconds to answer")


def _follow(url: str, headers: Mapping[str, str], limits: Limits, until: float) -> Answer:
    """The answer at the end of the redirects."""
    import requests

    start = url
    with requests.Session() as session:
        for _ in range(limits.redirects + 1):
            try:
                answer, target = _ask(session, url, {**_COMMON, "Connection": "close", **headers}, limits, until)
            except _failures() as error:
                raise _explained(error, url, limits) from error
            if target is None:
                return answer
            following = _joined(url, target)
            if _origin(following) != _origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            url = following
    raise Temporary(f"{host(start)} redirects more than {limits.redirects} times")


def _ask(
    session: "requests.Session", url: str, headers: Mapping[str, str], limits: Limits, until: float
) -> tuple[Answer, str | None]:
    """One request; gives the answer and where it redirects to.

    Past session.send, which reads the whole body of a redirect, however long it is, even where it follows none.
    """
    import requests

    # Without an `auth` of ours, requests would put one from ~/.netrc over the header.
    request = session.prepare_request(requests.Request("GET", url, headers=headers, auth=lambda asked: asked))
    of_environment = session.merge_environment_settings(url, {}, True, None, None)
    with session.get_adapter(url).send(
        request,
        stream=True,
        timeout=(limits.connect, limits.read),
        verify=of_environment["verify"] or True,
        proxies=of_environment["proxies"],
    ) as response:
        names = {name.lower(): value for name, value in response.headers.items()}
        target = names.get("location") if response.status_code in _REDIRECTS else None
        body = b"" if target is not None else _body(response, url, limits, until)
        return Answer(url, response.status_code, names, body), target


def _body(response: "requests.Response", url: str, limits: Limits, until: float) -> bytes:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise BadData(f"{host(url)} packs its answer in a way that it was not asked for: {encoding!r:.60}")
    # urllib3 before 2.0 takes a short answer for a whole one unless told.
    response.raw.enforce_content_length = True
    body = bytearray()
    for piece in response.iter_content(_PIECE_BYTES):
        body += piece
        if len(body) > limits.size:
            raise BadData(f"{host(url)} sends more than {limits.size:,} bytes")
        if clock() >= until:
            raise _late(url, limits)
    return bytes(body)


def _joined(url: str, target: str) -> str:
    try:
        # http.client reads headers as Latin-1; what is no ASCII in them is UTF-8 in practice.
        following = urljoin(url, target.encode("latin-1").decode("utf-8", "replace"))
        if urlsplit(following).scheme in ("http", "https") and urlsplit(following).hostname:
            return following
    except ValueError:
        pass
    raise BadData(f"{host(url)} redirects to what is no web address")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _failures() -> tuple[type[Exception], ...]:
    """What goes wrong with a request, as libraries and the system tell it."""
    import requests
    import urllib3

    return requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError


def _explained(error: Exception, url: str, limits: Limits) -> XTrackError:
    """What went wrong below us, in plain words. Libraries wrap it several times: the system's own error decides."""
    import socket
    import ssl

    import requests
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    where = host(url)
    if isinstance(error, requests.exceptions.ProxyError):
        where = f"the proxy on the way to {where}"
    went_out = not any(isinstance(cause, (ConnectTimeoutError, NewConnectionError)) for cause in _causes(error))
    away = Temporary if went_out else Unreachable
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Temporary(f"{where} has a certificate that cannot be trusted: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError):
            return Temporary(f"no secure connection to {where}: {cause.reason or 'TLS failed'}")
        if isinstance(cause, socket.gaierror):
            return Unreachable(f"no address was found for {where}")
        if isinstance(cause, TimeoutError):
            return away(f"{where} was silent for too long, {_patience(error, limits):g} seconds")
        if isinstance(cause, OSError) and cause.strerror:
            return away(f"no connection to {where}: {cause.strerror}")
    if isinstance(error, requests.exceptions.SSLError):  # urllib3 before 2.0 compares the host's name by itself
        return Temporary(f"{where} has a certificate that cannot be trusted")
    if isinstance(error, ValueError):
        return BadData(f"{where} cannot be asked: the address is not a valid one")
    # Of a proxy, as http.client words it.
    refused = re.search(r"\bTunnel connection failed: (\d{3})\b", str(error), re.ASCII)
    what = f"does not let it through (HTTP {refused[1]})" if refused else "sent an answer that is broken or cut off"
    return Temporary(f"{where} {what}")


def _patience(error: Exception, limits: Limits) -> float:
    import requests

    return limits.connect if isinstance(error, requests.exceptions.ConnectTimeout) else limits.read


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
