"""What the answers of an OpenAI-compatible server mean that are no good ones: told apart by their body, then by status.

Sources: platform.openai.com/docs/guides/error-codes; bodies that vLLM, llama.cpp, Ollama, Mistral, DeepSeek, Groq and
OpenRouter send, as people have reported them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from xtrack.columns import tidy
from xtrack.errors import BadData, Misconfigured, Refused, Temporary, XTrackError
from xtrack.settings import LLM

_SAID = 200
_HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
# `room` is for how many tokens an answer may have, `limit` how that is called.
Part = Literal["format", "limit", "room"]

_NO_CREDIT = r"insufficient[ _](?:quota|balance|credit|fund)|billing_hard_limit|(?:credit balance|balance) is too low"
_TOO_LONG = (
    r"context[ _](?:length|size|window)|exceed_context|maximum (?:context|number of tokens)|too many (?:input )?tokens"
    r"|(?:prompt|input) is too long|reduce the length|request too large"
)
_DECLINED = r"content[_ ](?:filter|policy|management policy)|responsibleaipolicy|safety system"
_FORMAT = r"response_format|json_schema|json_object|guided|grammar|structured output"
_LIMIT = r"max_(?:completion_)?tokens"
_MUCH = r"too large|too high|at most|must be (?:less|lower)|less than or equal|exceed|maximum"
_NO_MODEL = (
    r"model_not_found|model .{0,80}(?:not found|does not exist|not exist|not available)|unknown model|no such model"
)


class TooLong(Temporary):
    """The server takes less at once; `limit` is how many tokens, where it says so, 0 else."""

    def __init__(self, message: str, hint: str, limit: int) -> None:
        super().__init__(message, hint)
        self.limit = limit


class Declined(BadData):
    """The model, or a filter before or behind it, does not write about this."""


class Unsupported(BadData):
    """The server does not know a part of the request."""

    def __init__(self, message: str, part: Part) -> None:
        super().__init__(message)
        self.part = part


class Busy(Temporary):
    """The server does not answer now, but may soon; `delay` is after what time, where it says so."""

    def __init__(self, message: str, delay: timedelta | None, now: datetime) -> None:
        super().__init__(message, retry_at=now + delay if delay else None)
        self.delay = delay


class Unreachable(Busy):
    """No connection was made: nothing was asked, and nothing taken."""


class Lost(Temporary):
    """What was asked has gone out, and no whole answer came: it may have been paid for."""


@dataclass(frozen=True)
class Reply:
    """What came back; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object of the body, {} for anything else."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def host(llm: LLM) -> str:
    """The server, for messages."""
    return urlsplit(llm.base_url).hostname or "the server"


def problem(reply: Reply, llm: LLM, now: datetime) -> XTrackError | None:
    """The error that a reply is, None for an answer. It never has the key in it, even where the server says it."""
    body = reply.json()
    error = _error(body, reply.status)
    if 200 <= reply.status < 300 and error is None:
        away = Lost if reply.body.lstrip().startswith(b"{") else Temporary
        return None if body else away(f"{host(llm)} does not answer in JSON (HTTP {reply.status})")
    status, told = error or (reply.status, [])
    text = " ".join(told)
    said = _said(text, llm)
    return _told(text.lower(), said, status, llm) or _of_status(reply, status, said, llm, now)


def _error(body: Mapping[str, Any], status: int) -> tuple[int, list[str]] | None:
    """The status and the words of an error that is all of a body, or of its first choice (OpenRouter)."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    found = first.get("error") or (body.get("error") if not choices else None)
    if status >= 300:
        found = found or body.get("detail") or body.get("message") or body.get("error") or body
    if not found:
        return None
    code = found.get("code") if isinstance(found, dict) else None
    return code if status < 300 and type(code) is int and code >= 400 else max(status, 300), list(_words(found))


def _words(value: object) -> Iterator[str]:
    """All texts in a value, and the names with them: `message` first, for it is what people read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value, key=lambda key: (key not in ("message", "msg"), key == "input")):
            yield from _words(value[key])
    elif isinstance(value, list):
        for one in value[:5]:
            yield from _words(one)


def _said(text: str, llm: LLM) -> str:
    """What a server says, on one line and not too long, without the key."""
    text = text.replace(llm.key.reveal(), "***") if llm.key else text
    clean = tidy(text)
    return (clean if len(clean) <= _SAID else clean[: _SAID - 1] + "…") or "without a reason"


def _told(text: str, said: str, status: int, llm: LLM) -> XTrackError | None:
    """The error that the words of a body tell, whatever the status."""
    where = host(llm)
    if re.search(_NO_CREDIT, text) or status == 402:
        return Refused(f"{where} has no credit left for this key: {said}", f"buy some from whoever runs {where}")
    if re.search(_LIMIT, text) and status in (400, 422):
        part: Part = "room" if re.search(_MUCH, text) and "unsupported" not in text else "limit"
        return (
            _too_long(text, said, llm) if "context" in text else Unsupported(f"{where} does not take it: {said}", part)
        )
    if re.search(_TOO_LONG, text) or status == 413:
        return _too_long(text, said, llm)
    if re.search(_DECLINED, text):
        return Declined(f"{where} does not let {llm.model} write about these posts: {said}")
    if re.search(_FORMAT, text) and status not in (401, 403, 429):
        return Unsupported(f"{where} does not take it: {said}", "format")
    if re.search(_NO_MODEL, text):
        return Misconfigured(f"{where} does not have the model {llm.model}: {said}", "check llm.model in the config")
    return None


def _too_long(text: str, said: str, llm: LLM) -> TooLong:
    limit = re.search(r"(?:length is|n_ctx\W{1,4}|>|limit(?: of)?:?|window of|size (?:of|is)) ?(\d{3,8})", text)
    message = f"{host(llm)} takes less at once than it was sent: {said}"
    return TooLong(
        message, "set llm.context_tokens in the config to what the model takes", int(limit[1]) if limit else 0
    )


def _of_status(reply: Reply, status: int, said: str, llm: LLM, now: datetime) -> XTrackError:
    where, told = host(llm), f"(HTTP {status})"
    if 300 <= status < 400 and reply.status == status:
        why = "it is not followed, because posts and key would go along"
        return Misconfigured(f"{where} redirects to another address: {why}", "check llm.base_url in the config")
    if status == 401:
        what = "does not know this key" if llm.key else "wants a key"
        return Refused(f"{where} {what} {told}", "set llm.key in the config to a key of this server")
    if status == 403:
        return Refused(f"{where} does not allow it {told}: {said}", "check llm.key and llm.model in the config")
    if status in (404, 405):
        hint = "check llm.base_url in the config: it often ends with /v1"
        return Misconfigured(f"{where} has no chat completions at this address {told}", hint)
    if status == 429 or status == 503:
        what = "takes no more requests for now" if status == 429 else "cannot answer now"
        return Busy(f"{where} {what} {told}", delay(reply.headers, now), now)
    if status >= 500 or status in (408, 409, 425) or status < 400:
        return Busy(f"{where} cannot answer now {told}", None, now)
    return BadData(f"{where} does not take the request {told}: {said}")


def delay(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """After what time a server wants to be asked again: by Retry-After (RFC 9110, 10.2.3), else by what OpenAI and
    others say of their limits: `x-ratelimit-reset-tokens: 6m0s`, or seconds or milliseconds since 1970.
    """
    asked = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]*)?", asked):
        return timedelta(seconds=float(asked))
    try:
        return max(timedelta(0), datetime.strptime(asked, _HTTP_DATE).replace(tzinfo=UTC) - now)
    except ValueError:
        resets = [_reset(value.strip(), now) for name, value in headers.items() if name.startswith("x-ratelimit-reset")]
        return max((reset for reset in resets if reset is not None), default=None)


def _reset(value: str, now: datetime) -> timedelta | None:
    if re.fullmatch(r"[0-9]{1,13}(?:\.[0-9]{1,9})?", value):
        seconds = float(value) / (1000 if float(value) > 1e11 else 1)
        return timedelta(seconds=max(0, seconds - now.timestamp() if seconds > 1e9 else seconds))
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    if not re.fullmatch(r"(?:[0-9]{1,6}(?:\.[0-9]{1,9})?(?:ms|h|m|s))+", value):
        return None
    return timedelta(seconds=sum(float(n) * units[unit] for n, unit in re.findall(r"([0-9.]+)(ms|h|m|s)", value)))
