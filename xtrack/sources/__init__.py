"""Where posts come from: one module a kind, found by its name, so that adding one touches nothing else.

A module of this package whose name has no leading underscore is a kind. It has
    claim(argument) -> str | None   the canonical spec when `--source argument` is of this kind, else None
    open_source(spec) -> Source     never raises; reading and checking do
"""

import importlib
import pkgutil
from collections.abc import Iterator
from datetime import datetime
from typing import Protocol, cast

from xtrack.errors import BadData, Misconfigured
from xtrack.models import Page


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

    def open_source(self, spec: str) -> Source: ...


def _kind(name: str) -> Kind:
    return cast(Kind, importlib.import_module(f"{__name__}.{name}"))


def resolve(argument: str) -> tuple[str, str]:
    """The kind and canonical spec for a `--source` argument. Raises Misconfigured when no kind takes it, BadData for an
    unprintable one.
    """
    if not argument.isprintable():
        raise BadData(f"a source's name holds characters that cannot be printed: {argument!r}", "rename it")
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            spec = _kind(module.name).claim(argument)
            if spec is not None:
                return module.name, spec
    raise Misconfigured(f"no source is called {argument!r}", "give --source a JSONL file, or the word sample")


def open_source(kind: str, spec: str) -> Source:
    """The source of a feed that `resolve` named."""
    return _kind(kind).open_source(spec)
