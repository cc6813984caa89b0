"""X itself, by its API v2."""

from collections.abc import Iterator, Sequence

from xtrack.errors import Misconfigured
from xtrack.models import PostKind
from xtrack.sources import Access, Found, Timeline


def claim(argument: str) -> str | None:
    """The letter itself."""
    return argument if argument == "x" else None


def describe(spec: str) -> str:  # noqa: ARG001 - there is one X
    """What it is."""
    return "X, by its API"


def spec_of(account_id: str, excluded: Sequence[PostKind]) -> str:
    """The timeline of an account."""
    words = {"reply": "replies", "repost": "reposts"}
    return account_id + (f"?exclude={','.join(words[kind] for kind in excluded)}" if excluded else "")


def open_timeline(spec: str, access: Access) -> Timeline:
    raise NotImplementedError


def look_up(names: Sequence[str], access: Access) -> Iterator[Found]:
    """Accounts by their names."""
    raise Misconfigured("there is no token for X", "set x.token in the config")


def look_again(ids: Sequence[str], access: Access) -> Iterator[Found]:
    raise NotImplementedError
