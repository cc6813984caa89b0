"""What the server knows, and what it says to a request: rate windows, the ledger, failures in their order."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from tests.peers.x.api import Answer, Endpoint, Options, answer, endpoint_of, problem
from tests.peers.x.failures import BROKEN, FAILURES, Failure, Reply
from tests.peers.x.world import World

WINDOW = 15 * 60


@dataclass
class Window:
    """The requests of 15 minutes on one endpoint."""

    ends: int
    used: int = 0


@dataclass
class Entry:
    """A line of the ledger. `sold` are pairs of kind and id; `whole`: the answer left in full, as far as is known."""

    at: str
    path: str
    params: list[tuple[str, str]]
    user_agent: str
    status: int = 0
    failure: str = ""
    sold: tuple[tuple[str, str], ...] = ()
    whole: bool = True


class State:
    """All that a server knows. One lock: requests are answered one by one, only sending goes on at the same time."""

    def __init__(self, options: Options) -> None:
        self.lock = threading.Lock()
        self.options = options
        self.bugs: list[str] = []
        self.reset()

    def reset(self) -> None:
        """A new world and an empty ledger; options and bugs stay."""
        self.world = World()
        self.failures: list[Failure] = []
        self.windows: dict[str, Window] = {}
        self.ledger: list[Entry] = []

    def epoch(self) -> int:
        return int(self.world.clock.now().timestamp())

    def window(self, endpoint: Endpoint) -> tuple[Window, int]:
        """The window of an endpoint, and its limit."""
        window = self.windows.get(endpoint.path)
        if not window or window.ends <= self.epoch():
            window = self.windows[endpoint.path] = Window(self.epoch() + WINDOW)
        return window, self.options.limits.get(endpoint.path, endpoint.limit)

    def sold(self, kind: str, whole: bool = True) -> dict[str, list[str]]:
        """What was sold on each UTC day, in the order of the answers and as often as it was sent."""
        days: dict[str, list[str]] = {}
        for entry in self.ledger:
            ids = [one for sold, one in entry.sold if sold == kind]
            if ids and entry.whole == whole:
                days.setdefault(entry.at[:10], []).extend(ids)
        return days

    def bought_posts(self) -> Counter[str]:
        return Counter({day: len(set(ids)) for day, ids in self.sold("post").items()})


def answered(
    state: State, method: str, target: str, token: str | None, agent: str
) -> tuple[Entry, Failure | None, Reply]:
    """The entry in the ledger for a request, what is to go wrong with sending, and what is to be sent."""
    parts = urlsplit(target)
    params = parse_qsl(parts.query, keep_blank_values=True)
    entry = Entry(state.world.clock.now().isoformat(), parts.path, params, agent)
    if state.options.token in target + agent:
        state.bugs.append(f"the token is in a request to {parts.path[:8]}")
        entry = replace(entry, path="(the token)", params=[], user_agent="")
    state.ledger.append(entry)
    failure = next((one for one in state.failures if one.takes(parts.path)), None)
    entry.failure = failure.kind if failure else ""
    found = endpoint_of(parts.path)
    instead = FAILURES[failure.kind](failure) if failure and failure.kind in FAILURES else None
    if isinstance(instead, Reply):
        reply = instead
    else:
        said = instead or _answer(state, found, method, parts.query, token, agent)
        entry.sold = said.sold
        reply = _reply(said, _headers(state, found, said, failure))
    entry.status = reply.status
    entry.whole = not failure or failure.kind not in BROKEN
    return entry, failure, reply


def _answer(
    state: State, found: tuple[Endpoint, dict[str, str]] | None, method: str, query: str, token: str | None, agent: str
) -> Answer:
    if not found:
        return Answer(404, None)
    if method != "GET":
        return problem(405, "Method Not Allowed")
    if token != f"Bearer {state.options.token}":
        return problem(401, "Unauthorized")
    if not agent:
        return problem(403, "Forbidden", "A User-Agent is required.")
    endpoint, told = found
    window, limit = state.window(endpoint)
    window.used += 1
    if window.used > limit:
        return problem(429, "Too Many Requests")
    return answer(state.world, state.options, endpoint, told, query, state.bought_posts)


def _headers(
    state: State, found: tuple[Endpoint, dict[str, str]] | None, said: Answer, failure: Failure | None
) -> dict[str, str]:
    """The headers of the window: in every answer but those that never came to be counted: 401, 404 of a path, 5xx."""
    if not found or said.status == 401 or said.status >= 500:
        return {}
    window, limit = state.window(found[0])
    left, ends = max(0, limit - window.used), window.ends
    if failure and failure.kind == "window":
        left, ends = 0, state.epoch() + int(failure.how.get("reset_in", WINDOW))
    return {"x-rate-limit-limit": str(limit), "x-rate-limit-remaining": str(left), "x-rate-limit-reset": str(ends)}


def _reply(said: Answer, headers: dict[str, str]) -> Reply:
    if said.body is None:
        return Reply(said.status, b"", headers)
    kind = "application/json" if said.status == 200 else "application/problem+json"
    body = json.dumps(said.body, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(said.status, body, {"content-type": f"{kind}; charset=utf-8", "api-version": "2.167", **headers})
