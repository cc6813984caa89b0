"""What the server knows, takes and answers: chat completions, as strictly as the strictest of them all."""

import json
import re
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from tests.peers.llm.failures import BROKEN, FAILURES, KINDS, Failure, Reply, answer, error
from tests.peers.llm.minds import MINDS, BadPrompt, Json, asked

PATH = "/v1/chat/completions"
_FIELDS = {"model", "messages", "response_format", "max_tokens", "max_completion_tokens"}


@dataclass(frozen=True)
class Options:
    """The server: its key ("": it knows none, and wants none to be sent), its model, which formats it takes, how it
    calls the limit of an answer ("": in both ways), how long this may be, how many tokens it takes at once, whether it
    cuts what is longer `silently`, whether it tells how many there were, words that it does not write about, and the
    seconds that it takes to think.
    """

    key: str = "sk-invented"
    model: str = "larch-2"
    mind: str = "sensible"
    formats: tuple[str, ...] = ("json_schema", "json_object", "text")
    limit: str = ""
    most_output: int = 16_384
    context: int = 128_000
    silently: bool = False
    usage: bool = True
    taboo: str = ""
    seconds: float = 0


@dataclass
class Entry:
    """A line of the ledger; `whole`: the answer left in full, as far as is known."""

    path: str
    headers: dict[str, str]
    body: Any
    status: int = 0
    failure: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    whole: bool = True


@dataclass
class State:
    """All that a server knows."""

    options: Options = field(default_factory=Options)
    bugs: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    script: deque[Json] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Control:
    """What tests may do, by name."""

    def __init__(self, state: State) -> None:
        self._state = state

    def reset(self, **options: Any) -> None:
        """An empty ledger, no failures, and the server as it is by default, but for `options`."""
        for part in (self._state.failures, self._state.ledger, self._state.script):
            part.clear()
        self._state.options = Options()
        self.options(**options)

    def options(self, **changes: Any) -> Json:
        """Change the options; what they are then."""
        self._state.options = replace(self._state.options, **changes)
        if self._state.options.mind not in MINDS:
            raise ValueError(f"no mind {self._state.options.mind}")
        return asdict(self._state.options)

    def say(self, content: Any, times: int = 1, **more: Any) -> None:
        """Have the next answers say this, a text or JSON; `more`: finish_reason, refusal, usage."""
        said = content if isinstance(content, str | None) else json.dumps(content)
        self._state.script.extend([{"content": said, **more}] * times)

    def fail(self, kind: str, times: int | None = 1, after: int = 0, **how: Any) -> None:
        """Order a failure; earlier ones go first."""
        if kind not in KINDS:
            raise ValueError(f"no failure {kind}: {', '.join(sorted(KINDS))}")
        self._state.failures.append(Failure(kind, times, after, how))

    def ledger(self) -> list[Json]:
        """All requests, oldest first."""
        return [asdict(entry) for entry in self._state.ledger]

    def bugs(self) -> list[str]:
        """Tracebacks of the server's own errors, and what is wrong with requests."""
        return self._state.bugs


def answered(
    state: State, method: str, path: str, headers: dict[str, str], sent: bytes
) -> tuple[Entry, Failure | None, Reply]:
    """The entry in the ledger for a request, what is to go wrong with sending, and what is to be sent."""
    options = state.options
    try:
        body = json.loads(sent)
    except ValueError:
        body = None
    secret = headers.pop("authorization", "")
    # Asked as a proxy, it is told a whole URL (RFC 9112, section 3.2.2), and is that server.
    entry, target = Entry(path, headers, body), urlsplit(path).path
    state.ledger.append(entry)
    if options.key and options.key in json.dumps([path, headers, body]):
        state.bugs.append(f"the key is somewhere in the request: {path}, {sorted(headers)}")
    if not options.key and secret:
        state.bugs.append("an Authorization header for a server without keys")
    failure = next((one for one in state.failures if one.takes()), None)
    entry.failure = failure.kind if failure else ""
    if failure and failure.kind in FAILURES:
        reply = FAILURES[failure.kind](failure)
    elif (method, target) == ("GET", "/v1/models"):
        reply = _refused_key(options, secret) or answer({"object": "list", "data": [{"id": options.model}]})
    elif (method, target) != ("POST", PATH):
        reply = answer({"detail": "Not Found"}, 404)
    else:
        reply = _refused_key(options, secret) or _refused(options, headers, body) or _completion(state, entry)
    entry.status, entry.whole = reply.status, not failure or failure.kind not in BROKEN
    return entry, failure, reply


def _refused_key(options: Options, secret: str) -> Reply | None:
    if options.key and secret != f"Bearer {options.key}":
        return error(401, "Incorrect API key provided: ***.", "invalid_api_key")
    return None


def _refused(options: Options, headers: dict[str, str], body: Any) -> Reply | None:
    """The error for what is wrong with a request; None for a good one."""
    if headers.get("content-type") != "application/json" or not isinstance(body, dict):
        return error(400, "We could not parse the JSON body of your request.")
    if unknown := sorted(set(body) - _FIELDS):
        detail = [{"type": "extra_forbidden", "loc": ["body", unknown[0]], "msg": "Extra inputs are not permitted"}]
        return answer({"detail": detail}, 422)
    if body.get("model") != options.model:
        text = f"The model `{body.get('model')}` does not exist or you do not have access to it."
        return error(404, text, "model_not_found")
    return _refused_messages(body.get("messages")) or _refused_limit(options, body) or _refused_format(options, body)


def _refused_messages(messages: Any) -> Reply | None:
    roles = [message.get("role") for message in messages] if isinstance(messages, list) else []
    if roles not in (["system", "user"], ["system", "user", "assistant", "user"]):
        return error(400, f"Roles must alternate after a system message: {roles}")
    if any(set(one) != {"role", "content"} or not isinstance(one["content"], str) for one in messages):
        return error(400, "Invalid type for 'messages[0].content'.")
    return error(400, "A message is empty.") if not all(one["content"] for one in messages) else None


def _refused_limit(options: Options, body: Json) -> Reply | None:
    named = [name for name in ("max_tokens", "max_completion_tokens") if name in body]
    if len(named) != 1 or type(body[named[0]]) is not int or body[named[0]] < 1:
        return error(400, f"Invalid limits: {named}")
    if options.limit and named[0] != options.limit:
        text = f"Unsupported parameter: '{named[0]}' is not supported with this model. Use '{options.limit}' instead."
        return error(400, text, "unsupported_parameter", param=named[0])
    if body[named[0]] > options.most_output:
        text = f"{named[0]} is too large: {body[named[0]]}. This model supports at most {options.most_output} tokens."
        return error(400, text, "invalid_value", param=named[0])
    return None


def _refused_format(options: Options, body: Json) -> Reply | None:
    wanted = body.get("response_format", {"type": "text"})
    if wanted.get("type") not in options.formats:
        return error(400, "This response_format type is unavailable now", param="response_format")
    if wanted["type"] == "json_object" and "json" not in str(body["messages"]).lower():
        return error(400, "'messages' must contain the word 'json' in some form, to use 'response_format'.")
    if wanted["type"] == "json_schema" and (flaw := _flaw(wanted.get("json_schema", {}))):
        return error(400, f"Invalid schema for response_format: {flaw}", param="response_format")
    return None


def _flaw(told: Json) -> str:
    """What is wrong with a schema in strict mode: all objects closed, and all that is in them required."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(told.get("name"))) or told.get("strict") is not True:
        return "name, strict"
    schemas: list[Any] = [told.get("schema")]
    for schema in schemas:
        if schema.get("type") == "object":
            if schema.get("additionalProperties") is not False or schema["required"] != list(schema["properties"]):
                return json.dumps(schema)
            schemas += schema["properties"].values()
        elif schema.get("type") == "array":
            schemas.append(schema["items"])
        elif schema.get("type") not in ("string", "integer"):
            return json.dumps(schema)
    return ""


def _tokens(text: str) -> int:
    """As English has them."""
    return -(-len(text.encode()) // 4)


def _completion(state: State, entry: Entry) -> Reply:
    options, messages = state.options, entry.body["messages"]
    room = entry.body.get("max_tokens") or entry.body["max_completion_tokens"]
    entry.input_tokens = sum(_tokens(message["content"]) for message in messages)
    is_whole = entry.input_tokens + (0 if options.silently else room) <= options.context
    if not is_whole and not options.silently:
        text = (
            f"This model's maximum context length is {options.context} tokens. However, you requested"
            f" {entry.input_tokens + room} tokens. Please reduce the length of the messages."
        )
        return error(400, text, "context_length_exceeded")
    if not is_whole:
        messages = _left_of(messages, options.context)
        entry.input_tokens = options.context
    time.sleep(options.seconds)
    if options.taboo and options.taboo in messages[1]["content"]:
        return _said(options, entry, {"content": None, "refusal": "I cannot help with that."}, room)
    said = state.script.popleft() if state.script else {"content": _thought(state, messages, is_whole)}
    return _said(options, entry, said, room)


def _left_of(messages: list[Json], context: int) -> list[Json]:
    """The rules, and the end of the data, as a server keeps them that has no room for more."""
    room = max(0, context - _tokens(messages[0]["content"])) * 4
    lines = messages[1]["content"].split("\n")
    while len("\n".join(lines).encode()) > room and len(lines) > 2:
        lines.pop(1)
    return [messages[0], {**messages[1], "content": "\n".join(lines)}]


def _thought(state: State, messages: list[Json], is_whole: bool) -> str:
    try:
        thought = MINDS[state.options.mind](asked(messages, is_whole))
    except (BadPrompt, ValueError) as bad:
        state.bugs.append(f"a prompt that is none: {bad}")
        thought = ""
    return thought if isinstance(thought, str) else json.dumps(thought, ensure_ascii=False)


def _said(options: Options, entry: Entry, said: Json, room: int) -> Reply:
    """An answer of at most so many tokens."""
    content, reason = said["content"], said.get("finish_reason", "stop")
    if content and _tokens(content) > room:
        content, reason = content.encode()[: room * 4].decode(errors="ignore"), "length"
    entry.output_tokens = _tokens(content or "")
    message = {"role": "assistant", "content": content, "refusal": said.get("refusal")}
    body: Json = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1800000000,
        "model": options.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
    }
    if options.usage:
        told = {"prompt_tokens": entry.input_tokens, "completion_tokens": entry.output_tokens}
        body["usage"] = said.get("usage", {**told, "total_tokens": sum(told.values())})
    return answer(body)
