"""What makes a digest of posts: one module a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from xtrack.models import Digest, Method, Post
from xtrack.settings import LLM


@dataclass(frozen=True)
class Brief:
    """What a job wants of its digests: posts on one of the topics (none: on everything), in a language ("": that of the
    posts), with a focus of its own in words.
    """

    topics: tuple[str, ...] = ()
    language: str = ""
    focus: str = ""


class Summarizer(Protocol):
    """Turns new posts into a digest."""

    def summarize(self, posts: Sequence[Post], brief: Brief) -> Digest:
        """A digest of `posts`, which are at least one; with topics, of those that are on one of them."""


def open_summarizer(method: Method, access: "ModelAccess") -> Summarizer:
    """What writes the digests of a job. Raises Misconfigured when it is to be a model and none is set."""
    if method == "llm":
        from xtrack.summarizers.llm import open_model

        return open_model(access)
    from xtrack.summarizers.extractive import Extractive

    return Extractive()


class ModelAccess(Protocol):
    """What a summarizer that costs something works with: what is set, leave to spend, what was learnt, who watches."""

    @property
    def llm(self) -> LLM: ...

    def reserve_sum(self, cost: int) -> None:
        """Have millionths of a dollar set aside for one call, before it is made. Raises Paused."""

    def settle_tokens(self, input_tokens: int, output_tokens: int) -> int:
        """Book what a call took in place of what was set aside; gives what that cost, in millionths of a dollar."""

    def release(self) -> None:
        """Give back what was set aside for a call that took nothing."""

    def recall(self, name: str) -> str:
        """What `remember` was last told under this name, in any run, "" else."""

    def remember(self, name: str, value: str) -> None:
        """Keep what was learnt about a server."""

    def clock(self) -> datetime:
        """What time it is."""

    def wait(self, seconds: float, why: str) -> None:
        """Wait, and tell whoever watches why."""

    def show(self, progress: str) -> None:
        """Show a terminal how far it is, in place of what it showed before; nothing elsewhere."""
