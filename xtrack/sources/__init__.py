"""Where posts come from: one module a kind, found by its name, so that adding one touches nothing else.

A module of this package whose name has no leading underscore is a kind. It has
    claim(argument) -> str | None   the canonical spec when `--source argument` is of this kind, else None
    describe(spec) -> str           what it is, in words, without reading it
    open_source(spec) -> Source     never raises; reading and checking do
Kinds are asked in the alphabetical order of their names.
"""

import importlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, cast

from xtrack.errors import BadData, Misconfigured, XTrackError
from xtrack.models import Page, Post

_PREVIEW_POSTS = 10_000


class Source(Protocol):
    """One feed, readable from a cursor on."""

    def check(self, names: tuple[str, ...]) -> None:
        """Try it as a run would, and whether the authors `names` can be among its posts.

        Raises Temporary (away), Refused (not readable), BadData (not what it should be), NotFound (no such author).
        """

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """What came after `cursor` (None: everything), oldest page first. Raises as check does."""


class Kind(Protocol):
    """What a module of this package offers."""

    def claim(self, argument: str) -> str | None: ...

    def describe(self, spec: str) -> str: ...

    def open_source(self, spec: str) -> Source: ...


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
    """The source of a feed that `resolve` named."""
    return _kind(kind).open_source(spec)


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
