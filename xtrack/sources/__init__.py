"""Where posts come from: one module a kind, found by its name, so that adding one touches nothing else.

A module of this package whose name has no leading underscore is a kind. It has
    claim(argument) -> str | None   the canonical spec when `--source argument` is of this kind, else None
    describe(spec) -> str           what it is, in words, without reading it
    open_source(spec) -> Source     never raises; reading and checking do
A kind whose names are accounts that have a feed each, and that may cost something, has instead of the last one
    spec_of(account_id, excluded) -> str            the feed of an account, without the kinds of posts `excluded`
    start(now) -> str                               the cursor of one that is watched from now on
    open_timeline(spec, access) -> Timeline         never raises
    look_up(names, access) -> Iterator[Found]       accounts by their names, a batch at a time
    look_again(ids, access) -> Iterator[Found]      known ones by their ids
Kinds are asked in the alphabetical order of their names.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

from xtrack.errors import BadData, Misconfigured, XTrackError
from xtrack.models import Account, AccountState, Bought, Page, Post, PostKind, Resource
from xtrack.settings import X

_PREVIEW_POSTS = 10_000


class Access(Protocol):
    """What a source that is paid for works with: what is set, leave to buy, what was learnt before, and who watches.

    `patience` is for how many seconds it may wait in all for a network that is not up yet.
    """

    patience: float

    @property
    def x(self) -> X: ...

    def reserve(self, each: Mapping[Resource, int], least: int, most: int) -> int:
        """Have money set aside for one call that brings between `least` and `most` items, each of them at the most so
        many things that are sold; gives how many items may be asked for. Whoever takes the page settles it.

        Raises Paused when these would be fewer than `least`.
        """

    def release(self) -> None:
        """Give back what was set aside for a call that brought nothing."""

    def account(self, account_id: str) -> Account | None:
        """An account, where it is known."""

    def recall(self, name: str) -> str:
        """What `remember` was last told under this name, in any run, "" else."""

    def remember(self, name: str, value: str) -> None:
        """Keep what was learnt about a server, such as which words it takes."""

    def clock(self) -> datetime:
        """What time it is."""

    def wait(self, seconds: float, why: str) -> None:
        """Wait, and tell whoever watches why."""

    def show(self, progress: str) -> None:
        """Show a terminal how far it is, in place of what it showed before; nothing elsewhere."""


@dataclass(frozen=True)
class Found:
    """The accounts of a batch, the state of those that cannot be read, by the name or id asked for, and the bill."""

    accounts: tuple[Account, ...]
    missing: Mapping[str, AccountState]
    bought: tuple[Bought, ...]


class Timeline(Protocol):
    """One feed, readable from a cursor on."""

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """What came after `cursor` (None: everything). What is read next follows from each page's cursor.

        Raises Temporary (away), Refused (not readable), BadData (not what it should be), Paused.
        """


class Source(Timeline, Protocol):
    """A feed that can be tried, which costs nothing."""

    def check(self, names: tuple[str, ...]) -> None:
        """Try it as a run would, and whether the authors `names` can be among its posts.

        Raises as read does, and NotFound (no such author).
        """


class Kind(Protocol):
    """What a module of this package offers."""

    def claim(self, argument: str) -> str | None: ...

    def describe(self, spec: str) -> str: ...

    def open_source(self, spec: str) -> Source: ...


class AccountKind(Protocol):
    """What a module offers whose names are accounts."""

    def spec_of(self, account_id: str, excluded: Sequence[PostKind]) -> str: ...

    def start(self, now: datetime) -> str: ...

    def open_timeline(self, spec: str, access: Access) -> Timeline: ...

    def look_up(self, names: Sequence[str], access: Access) -> Iterator[Found]: ...

    def look_again(self, ids: Sequence[str], access: Access) -> Iterator[Found]: ...


def _kind(name: str) -> Kind:
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))


def resolve(argument: str) -> tuple[str, str]:
    """The kind and canonical spec for a `--source` argument. Raises Misconfigured when no kind takes it, BadData for an
    unprintable one.
    """
    if not argument.isprintable():
        raise BadData(f"a source's name holds characters that cannot be printed: {argument!r}", "rename it")
    import pkgutil

    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            spec = _kind(module.name).claim(argument)
            if spec is not None:
                return module.name, spec
    possible = "a JSONL file, an X archive (folder or zip), an RSS or Atom feed (file or URL), or the word sample"
    raise Misconfigured(f"no source is called {argument!r}", f"give --source {possible}")


def describe(kind: str, spec: str) -> str:
    """What the source of a feed is, in words, without reading it."""
    return _kind(kind).describe(spec)


def open_source(kind: str, spec: str) -> Source:
    """The source of a feed that `resolve` named, of a kind whose names are no accounts."""
    return _kind(kind).open_source(spec)


def account_kind(kind: str) -> AccountKind | None:
    """The kind, where its names are accounts with a feed each; None where they are authors in one feed."""
    module = _kind(kind)
    return cast(AccountKind, module) if hasattr(module, "look_up") else None


def preview(
    source: Source, names: Sequence[str], now: datetime, since: datetime | None = None, count: int = 3
) -> tuple[Post, ...]:
    """The first `count` posts since a moment that a job with these `names` (handles in any case; none: all) would take.

    Looks at no more of the source than it takes to find them, and at _PREVIEW_POSTS posts or a page more at most; what
    is wrong with it behind a post that was found does not matter. Raises as Source.check does.
    """
    wanted = {name.lower() for name in names}
    found: list[Post] = []
    seen = 0
    try:
        for page in source.read(None, now):
            found += [
                post
                for post in page.posts
                if (not wanted or post.author.lower() in wanted) and (since is None or post.created_at >= since)
            ]
            seen += len(page.posts)
            if len(found) >= count or seen >= _PREVIEW_POSTS:
                break
    except XTrackError:
        if not seen:
            raise
    return tuple(found[:count])
