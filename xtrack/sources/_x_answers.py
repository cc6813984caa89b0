"""What the X API's answers mean: good ones, and its errors told apart by their JSON first, then by the status.

Sources: the published specification, version 2.167 (shapes of problems); docs.x.com, x-api/fundamentals (rate-limits,
post-cap, response-codes); bodies that people published for the caps, of which the specification says nothing.
"""

import json
import re
from datetime import UTC, datetime

from xtrack.errors import BadData, Misconfigured, Refused, Temporary, XTrackError
from xtrack.models import AccountState
from xtrack.sources._http import Answer, host
from xtrack.sources._v2 import Json, as_object, line, objects

CONSOLE = "https://console.x.com"
_SAID = 200


class Rejected(BadData):
    """X does not take a request (400); `parameters` are those that it names."""

    def __init__(self, message: str, parameters: frozenset[str]) -> None:
        super().__init__(message)
        self.parameters = parameters


class WindowClosed(Temporary):
    """Too many requests for now; `retry_at` is when there may be more."""


def read(answer: Answer) -> Json:
    """The JSON of a good answer: `data`, a list of objects, or `errors`, or `meta`; all of them may be left out.

    A problem that is all of an answer and tells the state of an account comes as one of its `errors`. Raises
    WindowClosed, Temporary (an outage, no JSON or another shape), Refused (caps, credits, token, plan), Rejected,
    BadData, Misconfigured (another server).
    """
    body = _json(answer.body)
    if account_state(body):
        return {"errors": [body]}
    if error := _problem(answer, body) or _flaw(answer, body):
        raise error
    return body


def account_state(problem: Json) -> AccountState | None:
    """What a problem says of the account that was asked for; None where it is about something else."""
    kind = _kind(problem)
    if problem.get("parameter") not in ("id", "ids", "usernames"):
        return None
    if kind == "not-authorized-for-resource":
        return "protected"
    if kind == "resource-not-found":
        return "suspended" if problem.get("title") == "Forbidden" else "gone"
    return None


def _json(body: bytes) -> Json:
    """The JSON object of a body, {} for anything else."""
    try:
        return as_object(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _kind(problem: Json) -> str:
    """The end of a problem's type, which is a URL of one of two hosts."""
    return str(problem.get("type")).rpartition("/")[2]


def _problem(answer: Answer, body: Json) -> XTrackError | None:
    return _cap(body) or _of_status(answer, body)


def _cap(body: Json) -> XTrackError | None:
    """What the account or the app at X may not do, whichever status tells it."""
    title, kind, said = line(body.get("title")), _kind(body), _said(body)
    if title == "UsageCapExceeded" or kind == "usage-capped":
        hint = f"raise it at {CONSOLE}, or wait for the next billing cycle"
        return Refused(f"the monthly cap of the app at X is reached ({said})", hint)
    if title == "SpendCapReached":
        date = re.search(r"\d{4}-\d\d-\d\d", f"{body.get('reset_date')} {said}", re.ASCII)
        until = f" until {date[0]}" if date else ""
        return Refused(f"the spend cap at X is reached: it sells nothing more{until}", f"raise it at {CONSOLE}")
    if title == "CreditsDepleted" or kind == "credits":
        return Refused("there are no credits left at X", f"buy some at {CONSOLE}")
    if kind in ("client-forbidden", "unsupported-authentication"):
        hint = f"it must be the bearer token of an app in a project with access to the API v2: {CONSOLE}"
        return Refused(f"X does not let this app in: {said}", hint)
    return None


def _of_status(answer: Answer, body: Json) -> XTrackError | None:
    """The error that a status means where the JSON alone does not tell it."""
    status, said = answer.status, _said(body)
    if 300 <= status < 400:
        why = "it is not followed, because the token would go along"
        return Misconfigured(f"{host(answer.url)} redirects to another address: {why}", "check x.base_url")
    if status == 401:
        return Refused("X does not know this token (HTTP 401)", f"set x.token to the bearer token of an app: {CONSOLE}")
    if status == 404:
        return Misconfigured(f"there is no X API at {host(answer.url)} (HTTP 404)", "check x.base_url")
    if status == 429:
        return _window(answer)
    if status >= 500:
        return Temporary(f"X cannot answer now (HTTP {status})")
    if status == 402 or (status == 403 and body):
        return Refused(f"X does not allow it (HTTP {status}): {said}", f"look at the app at {CONSOLE}")
    if status == 400 and body:
        return _rejected(body)
    if status >= 400 and body:
        return BadData(f"X does not take the request (HTTP {status}): {said}")
    return None


def _window(answer: Answer) -> WindowClosed:
    """x-rate-limit-reset is in seconds since 1970."""
    reset = answer.headers.get("x-rate-limit-reset", "").strip()
    if not re.fullmatch("[0-9]{1,11}", reset):
        return WindowClosed("X takes no more requests for now (HTTP 429)")
    until = datetime.fromtimestamp(int(reset), UTC)
    return WindowClosed(f"X takes no more requests until {until:%Y-%m-%d %H:%M} UTC", retry_at=until)


def _rejected(body: Json) -> Rejected:
    """A 400: which parameters, and what X says of the first."""
    errors = objects(body.get("errors"))
    named = [name for error in errors for name in as_object(error.get("parameters"))]
    about = f"{_short(named[0])}: " if named else ""
    said = _said(errors[0] if errors else body)
    return Rejected(f"X does not take the request: {about}{said}", frozenset(named))


def _flaw(answer: Answer, body: Json) -> XTrackError | None:
    """What is wrong with an answer that should be a good one."""
    if not body:
        return Temporary(f"{host(answer.url)} does not answer in JSON (HTTP {answer.status})")
    shapes = {"data": list, "errors": list, "includes": dict, "meta": dict}
    known = {name: body[name] for name in shapes if body.get(name) is not None}
    is_good = all(isinstance(value, shapes[name]) for name, value in known.items()) and known.keys() - {"includes"}
    lists = [*known.get("data", []), *known.get("errors", [])] if is_good else []
    if not is_good or not all(isinstance(item, dict) for item in lists):
        return Temporary("X answers in a shape that is not known")
    if not known.keys() & {"data", "meta"} and not any(map(account_state, known["errors"])):
        return Temporary(f"X answers with an error: {_said(known['errors'][0]) if known['errors'] else 'none'}")
    return None


def _said(problem: Json) -> str:
    """What X says in a problem."""
    said = (_short(problem.get(name)) for name in ("message", "detail", "title"))
    return next(filter(None, said), "without a reason")


def _short(words: object) -> str:
    """On one line, printable, and not too long."""
    clean = line(words)
    return clean if len(clean) <= _SAID else clean[: _SAID - 1] + "…"
