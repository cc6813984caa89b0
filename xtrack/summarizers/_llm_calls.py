"""Calls of a model: each paid for, in the words that the server takes, and through what passes by itself."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from xtrack.deadline import clock
from xtrack.errors import Stopped, Temporary
from xtrack.settings import LLM
from xtrack.summarizers import ModelAccess
from xtrack.summarizers._llm_client import Server
from xtrack.summarizers._llm_errors import Busy, Declined, Lost, Part, Reply, Unsupported, host, problem
from xtrack.summarizers._llm_prompt import Messages, measure, tokens

_MILLION = 1_000_000
# In seconds: how long a digest waits in all, and where the server does not say for how long.
_PATIENCE = 60.0
_PAUSES = (2.0, 6.0, 18.0)
_FORMATS = ("json_schema", "json_object", "plain")
_LIMITS = ("max_completion_tokens", "max_tokens")
# What a server may count at most; a number beyond is none.
_MOST_TOKENS = 100_000_000


@dataclass(frozen=True)
class Way:
    """How a server is asked: the format of its answers, what the limit of their length is called, how many tokens it
    takes at once, and how many an answer gets (0: as is set).
    """

    format: str = _FORMATS[0]
    limit: str = _LIMITS[0]
    context: int = 0
    room: int = 0

    @classmethod
    def learnt(cls, text: str) -> "Way":
        """One as `text` tells it; the first of all where that is none."""
        words = text.split()
        if (
            len(words) != 4
            or words[0] not in _FORMATS
            or words[1] not in _LIMITS
            or not all(map(str.isdecimal, words[2:]))
        ):
            return cls()
        return cls(words[0], words[1], int(words[2]), int(words[3]))

    @property
    def text(self) -> str:
        return f"{self.format} {self.limit} {self.context} {self.room}"

    def without(self, part: Part) -> "Way | None":
        """The next one for a server that does not know a part of this; None after the last."""
        if part == "format" and self.format != _FORMATS[-1]:
            return replace(self, format=_FORMATS[_FORMATS.index(self.format) + 1])
        if part == "limit" and self.limit != _LIMITS[-1]:
            return replace(self, limit=_LIMITS[-1])
        return None

    def request(self, model: str, messages: Messages, schema: dict[str, Any], room: int) -> dict[str, Any]:
        """What is asked, without a temperature, which some models refuse."""
        request: dict[str, Any] = {"model": model, "messages": messages, self.limit: room}
        if self.format == "json_schema":
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.format == "json_object":
            request["response_format"] = {"type": "json_object"}
        return request


@dataclass(frozen=True)
class Said:
    """What a model said, whether its end is missing, and how many tokens it was told by its server's count (0: that is
    not known).
    """

    text: str
    is_cut: bool
    input_tokens: int


class Calls:
    """The calls of one digest, and what they took: tokens, and millionths of a dollar."""

    def __init__(self, access: ModelAccess, server: Server, model: str) -> None:
        self._access, self._server, self._model = access, server, model
        self.llm: LLM = access.llm
        # What was learnt of one size of context may be wrong for another one.
        self._name = f"llm {self.llm.base_url} {model} {self.llm.context_tokens}"
        self.way = Way.learnt(access.recall(self._name))
        self.input_tokens = self.output_tokens = self.cost = 0
        self._patience, self._pauses = _PATIENCE, iter(_PAUSES)

    def learn(self, way: Way) -> None:
        """Ask in this way from now on, in later runs too."""
        self.way = way
        self._access.remember(self._name, way.text)

    def call(self, messages: Messages, schema: dict[str, Any], room: int, what: str) -> Said:
        """Ask for an answer of at most `room` tokens, within the time that is set.

        Raises Paused (no money), TooLong, Declined, Unsupported, and what problem tells.
        """
        until = clock() + self.llm.timeout.total_seconds()
        while True:
            try:
                return self._once(messages, schema, room, until, what)
            except Unsupported as error:
                way = self.way.without(error.part)
                if way is None:
                    raise
                self.learn(way)
                continue
            except Busy as error:
                pause, why = self._pause(error, until), str(error)
                if pause is None:
                    raise
            self._access.wait(pause, why)

    def _pause(self, error: Busy, until: float) -> float | None:
        """For how many seconds to wait before it is tried again; None: no more."""
        pause = error.delay.total_seconds() if error.delay is not None else next(self._pauses, None)
        if pause is None or pause > self._patience or clock() + pause >= until:
            return None
        self._patience -= max(pause, 1.0)
        return max(pause, 1.0)

    def _once(self, messages: Messages, schema: dict[str, Any], room: int, until: float, what: str) -> Said:
        """One request, with the money for it set aside before and booked afterwards."""
        sent, begun, now = tokens(messages), clock(), self._access.clock()
        self._access.reserve_sum(self._price(sent, room))
        with ExitStack() as undo:
            undo.callback(self._access.release)
            try:
                reply = self._server.ask(
                    self.way.request(self._model, messages, schema, room),
                    until,
                    now,
                    lambda: self._access.show(f"waiting for {self._model}{what}: {clock() - begun:.0f} s"),
                )
                if error := problem(reply, self.llm, now):
                    raise error
            except (Lost, Stopped):
                undo.pop_all()
                self._book(sent, room)
                raise
            undo.pop_all()
        return self._read(reply, sent)

    def _price(self, sent: int, said: int) -> int:
        return -(-(sent * self.llm.input_price + said * self.llm.output_price) // _MILLION)

    def _book(self, sent: int, said: int) -> None:
        self.cost += self._access.settle_tokens(sent, said)
        self.input_tokens += sent
        self.output_tokens += said

    def _read(self, reply: Reply, sent: int) -> Said:
        """What an answer says, once it is booked."""
        body = reply.json()
        usage, choice = _object(body.get("usage")), _object(next(iter(_list(body.get("choices"))), None))
        message = _object(choice.get("message"))
        text = _text(message.get("content"))
        told = _count(usage.get("prompt_tokens"))
        self._book(told or sent, _count(usage.get("completion_tokens")) or -(-measure(text) // 3))
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            raise Declined(f"{self._model} at {host(self.llm)} does not write about these posts")
        if not message:
            raise Temporary(f"{host(self.llm)} answers in a shape that is not known")
        return Said(text, choice.get("finish_reason") == "length", told)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if type(value) is int and 0 < value <= _MOST_TOKENS else 0


def _text(content: object) -> str:
    """What a message says, also in parts."""
    if isinstance(content, list):
        return "".join(str(_object(part).get("text") or "") for part in content)
    return content if isinstance(content, str) else ""
