"""What makes a digest of posts: one module a kind."""

from collections.abc import Sequence
from typing import Protocol

from xtrack.models import Digest, Post


class Summarizer(Protocol):
    """Turns new posts into a digest."""

    def summarize(self, posts: Sequence[Post], topics: Sequence[str]) -> Digest:
        """A digest of `posts`, which are at least one; with `topics`, of those that are on one of them."""
