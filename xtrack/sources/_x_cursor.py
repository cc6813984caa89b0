"""How far a timeline was read, and what of it left the look-back before it could be. Pure.

Timelines come newest first: a walk goes down from the newest post, and only at its end everything below is read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from xtrack.sources._v2 import EPOCH_MS


@dataclass(frozen=True)
class Walk:
    """A walk that goes on: its newest post, the oldest one so far, and when it was begun."""

    newest: int
    until: int
    begun: datetime


@dataclass(frozen=True)
class Gap:
    """A time whose posts were not read, and will not be."""

    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Place:
    """Everything up to the post `since` and until `at` is read or given up, and what `walk` has come by.

    Without `at` nobody has watched yet: what was before the first walk is nobody's loss.
    """

    since: int = 0
    at: datetime | None = None
    walk: Walk | None = None

    def within(self, bound: datetime) -> tuple["Place", Gap | None]:
        """The same with all older than `bound` given up; the gap that this leaves."""
        if self.at is None:
            return self, None
        begin = max(self.at, _time_of(self.since))
        end = min(bound, _time_of(self.walk.until)) if self.walk else bound
        return replace(self, at=max(self.at, bound)), Gap(begin, end) if begin < end else None

    def since_id(self, bound: datetime) -> int:
        """The id that all that is still to be read is newer than.

        `since` itself stays: had it been moved by a clock that was wrong for once, what comes would be lost.
        """
        return max(self.since, _id_before(bound))

    def behind(self, ids: Sequence[int], begun: datetime) -> "Place":
        """The place behind a page with these posts, of the walk that goes on or one that was `begun`."""
        if not ids:
            return self
        walk = self.walk or Walk(0, max(ids), begun)
        return replace(self, walk=replace(walk, newest=max(walk.newest, *ids), until=min(walk.until, *ids)))

    def finished(self, begun: datetime) -> "Place":
        """The place at the end of that walk."""
        if self.walk is None:
            return Place(self.since, begun)
        return Place(max(self.since, self.walk.newest), self.walk.begun)

    @property
    def cursor(self) -> str:
        """It as text, which `parsed` reads."""
        told: dict[str, Any] = {"since": str(self.since), "at": self.at and self.at.isoformat()}
        if walk := self.walk:
            told["walk"] = {"newest": str(walk.newest), "until": str(walk.until), "begun": walk.begun.isoformat()}
        return json.dumps(told, separators=(",", ":"))


def parsed(cursor: str | None) -> Place:
    """The place that a cursor names, None: the one of a timeline that was never read."""
    if cursor is None:
        return Place()
    told = json.loads(cursor)
    at = datetime.fromisoformat(told["at"]) if told["at"] else None
    walk = None
    if going := told.get("walk"):
        walk = Walk(int(going["newest"]), int(going["until"]), datetime.fromisoformat(going["begun"]))
    return Place(int(told["since"]), at, walk)


def _time_of(post_id: int) -> datetime:
    """When a post was made: the upper bits of its id are a time in ms (a "snowflake")."""
    return datetime.fromtimestamp(((post_id >> 22) + EPOCH_MS) / 1000, UTC)


def _id_before(moment: datetime) -> int:
    """The largest id of the posts before a moment, at least 1."""
    return max(1, ((int(moment.timestamp() * 1000) - EPOCH_MS) << 22) - 1)
