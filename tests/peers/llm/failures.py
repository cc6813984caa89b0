"""What goes wrong when a test orders it: the bodies are those that servers send, as people have published them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.peers.llm.minds import Json

HTML = b"<!DOCTYPE html><html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>"


@dataclass
class Failure:
    """What is to go wrong with the next `times` requests (None: all), after `after` good ones."""

    kind: str
    times: int | None = 1
    after: int = 0
    how: Json = field(default_factory=dict)

    def takes(self) -> bool:
        """Whether the next request is one to fail, and count it."""
        if self.times == 0:
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


def error(
    status: int, message: str, code: str | None = None, kind: str = "invalid_request_error", **more: Any
) -> Reply:
    """An error as OpenAI tells it."""
    return answer({"error": {"message": message, "type": kind, "param": None, "code": code, **more}}, status)


def answer(body: Any, status: int = 200, **headers: str) -> Reply:
    sent = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Reply(status, json.dumps(body, ensure_ascii=False).encode(), sent)


def _rate_limit(failure: Failure) -> Reply:
    said = error(429, "Rate limit reached for requests per min (RPM)", "rate_limit_exceeded", "requests")
    return Reply(429, said.body, {**said.headers, **failure.how.get("headers", {})})


def _quota(_: Failure) -> Reply:
    text = "You exceeded your current quota, please check your plan and billing details."
    return error(429, text, "insufficient_quota", "insufficient_quota")


def _filter(_: Failure) -> Reply:
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    return error(400, text, "content_filter")


def _body(kind: str, text: str) -> Callable[[Failure], Reply]:
    return lambda failure: Reply(200, failure.how.get("body", text).encode(), {"content-type": kind})


def _context(failure: Failure) -> Reply:
    text = "This model's maximum context length is 4097 tokens. However, your messages resulted in 6000 tokens."
    return error(failure.how.get("status", 400), failure.how.get("text", text), failure.how.get("code"))


def _said(failure: Failure) -> Reply:
    return answer(failure.how["body"], failure.how.get("status", 400))


# Instead of an answer. Those of `FREE` are of before anything is computed.
FAILURES: dict[str, Callable[[Failure], Reply]] = {
    "rate_limit": _rate_limit,  # headers
    "quota": _quota,
    "unauthorized": lambda _: error(401, "Incorrect API key provided: sk-i***nted.", "invalid_api_key"),
    "forbidden": lambda _: error(403, "Country, region, or territory not supported", "unsupported_country"),
    "no_model": lambda _: error(404, "The model `x` does not exist or you do not have access.", "model_not_found"),
    "filter": _filter,
    "context": _context,  # status, text, code
    "said": _said,  # status, body
    "500": lambda _: error(500, "The server had an error while processing your request.", None, "server_error"),
    "503": lambda _: error(503, "The engine is currently overloaded.", None, "server_error"),
    "html": lambda _: Reply(200, HTML, {"content-type": "text/html"}),
    "html_502": lambda _: Reply(502, HTML, {"content-type": "text/html"}),
    "not_found": lambda _: Reply(404, b"404 page not found", {"content-type": "text/plain"}),
    "redirect": lambda _: Reply(307, b"", {"location": "/v1/elsewhere"}),
    "invalid_json": _body("application/json", '{"id":"1","choices":[{"message":{"content":"{'),  # body
    "other_shape": _body("application/json", '{"choices":"none"}'),  # body
    "empty": _body("application/json", ""),
    "cut_header": lambda _: Reply(0, b"", {}),
    "silent": lambda _: Reply(0, b"", {}),
}
# These go wrong with a good answer on its way.
BROKEN = {"cut_body", "lying_length"}
SLOW = "slow"  # rate: bytes a second
KINDS = {*FAILURES, *BROKEN, SLOW}
