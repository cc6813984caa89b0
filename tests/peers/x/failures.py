"""What goes wrong when a test orders it: answers instead of the right one, and right ones that do not arrive.

The bodies are those that people published; of the caps on spending nothing is in the specification.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.peers.x.api import LEGACY_PROBLEMS, PROBLEMS, Answer, problem
from tests.peers.x.text import Json

HTML = b"<!DOCTYPE html><html><head><title>X / Error</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass
class Failure:
    """What is to go wrong with the next `times` requests (None: all) whose path matches, after `after` good ones."""

    kind: str
    times: int | None = 1
    path: str = "/2/.*"
    after: int = 0
    how: Json = field(default_factory=dict)

    def takes(self, path: str) -> bool:
        """Whether the request on `path` is one to fail, and count it."""
        if self.times == 0 or not re.fullmatch(self.path, path):
            return False
        if self.after:
            self.after -= 1
            return False
        self.times = self.times and self.times - 1
        return True


@dataclass(frozen=True)
class Reply:
    """What goes over the wire."""

    status: int
    body: bytes
    headers: dict[str, str]


def _spend_cap(failure: Failure) -> Answer:
    date = failure.how.get("reset_date", "2027-02-01")
    detail = (
        "Your enrolled account [1700000000000000001] has reached its billing cycle spend cap. API requests will be"
        f" blocked until the next cycle begins on {date}."
    )
    return problem(403, "SpendCapReached", detail, LEGACY_PROBLEMS + "credits", reset_date=date)


def _credits(_: Failure) -> Answer:
    detail = "Your enrolled account [1700000000000000001] does not have any credits to fulfill this request."
    return Answer(402, {"title": "CreditsDepleted", "detail": detail, "type": LEGACY_PROBLEMS + "credits"})


def _usage_cap(_: Failure) -> Answer:
    body = {
        "account_id": "1700000000000000001",
        "product_name": "standard-basic",
        "title": "UsageCapExceeded",
        "period": "Monthly",
        "scope": "Product",
        "detail": "Usage cap exceeded: Monthly product cap",
        "type": LEGACY_PROBLEMS + "usage-capped",
    }
    return Answer(429, body)


def _client_forbidden(_: Failure) -> Answer:
    detail = (
        "When authenticating requests to the Twitter API v2 endpoints, you must use keys and tokens from a Twitter"
        " developer App that is attached to a Project. You can create a project via the developer portal."
    )
    body = {
        "client_id": "31",
        "detail": detail,
        "registration_url": "https://developer.twitter.com/en/docs/projects/overview",
        "title": "Client Forbidden",
        "required_enrollment": "Appropriate Level of API Access",
        "reason": "client-not-enrolled",
        "type": LEGACY_PROBLEMS + "client-forbidden",
    }
    return Answer(403, body)


def _unsupported(_: Failure) -> Answer:
    detail = (
        "Authenticating with OAuth 2.0 Application-Only is forbidden for this endpoint.  Supported authentication types"
        " are [OAuth 1.0a User Context, OAuth 2.0 User Context]."
    )
    return problem(403, "Unsupported Authentication", detail, PROBLEMS + "unsupported-authentication")


def _no_user(_: Failure) -> Answer:
    detail = "Could not find user with id: [1]."
    more = {"resource_type": "user", "parameter": "id", "value": "1", "resource_id": "1"}
    return problem(404, "Not Found Error", detail, PROBLEMS + "resource-not-found", **more)


def _redirect(failure: Failure) -> Reply:
    """To a path that leads on for ever, or `to` another server."""
    return Reply(302, b"", {"location": failure.how.get("to", "/_redirect/1")})


def _json(body: str) -> Callable[[Failure], Reply]:
    return lambda failure: Reply(200, failure.how.get("body", body).encode(), {"content-type": "application/json"})


def _html(status: int) -> Callable[[Failure], Reply]:
    return lambda _: Reply(status, HTML, {"content-type": "text/html; charset=utf-8"})


def _problem(status: int, title: str) -> Callable[[Failure], Answer]:
    return lambda _: problem(status, title)


FAILURES: dict[str, Callable[[Failure], Answer | Reply]] = {
    "window": _problem(429, "Too Many Requests"),  # reset_in: seconds
    "usage_cap": _usage_cap,
    "credits": _credits,
    "spend_cap": _spend_cap,  # reset_date
    "client_forbidden": _client_forbidden,
    "unsupported_authentication": _unsupported,
    "unauthorized": _problem(401, "Unauthorized"),
    "no_user": _no_user,
    "500": _problem(500, "Internal Server Error"),
    "502": _problem(502, "Bad Gateway"),
    "503": _problem(503, "Service Unavailable"),
    "html": _html(200),
    "html_503": _html(503),
    "redirect": _redirect,  # to: another server's URL
    "invalid_json": _json('{"data":[{"id":"1"'),  # body: another text
    "other_shape": _json('{"data":{"posts":[1,null]},"meta":"none"}'),  # body: another text
    "empty": _json(""),
    # Nothing is answered, and nothing sold.
    "cut_header": lambda _: Reply(0, b"", {}),
    "silent": lambda _: Reply(0, b"", {}),
}
# These go wrong with a good answer on its way: it is sold, but may never arrive.
BROKEN = {"cut_body", "lying_length"}
SLOW = "slow"  # rate: bytes a second
KINDS = {*FAILURES, *BROKEN, SLOW}
