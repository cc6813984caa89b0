"""Posts of an invented town, made from the clock: with them a first run has something to say and needs no key.

Nobody in it is real, and its links lead to a name that cannot exist (RFC 2606).
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from xtrack.errors import NotFound
from xtrack.models import Original, Page, Post, PostKind
from xtrack.sources._v2 import EPOCH_MS

_FIRST_READ = timedelta(hours=3)
_LONGEST_READ = timedelta(hours=24)
_PAGE_POSTS = 200
_EPOCH = datetime.fromtimestamp(EPOCH_MS // 1000, UTC)
# What the post of a minute is, and how many minutes earlier the story was that it comes back to: one number a role,
# so that no story gets two replies. Where there was none, it is a story itself.
_ROLES = ("story",) * 10 + ("reply",) * 5 + ("quote",) * 2 + ("repost",) * 2 + ("reminder",)
_MINUTES_AGO = {"story": 0, "quote": 3, "reply": 7, "repost": 11, "reminder": 16}


def claim(argument: str) -> str | None:
    """The word itself."""
    return argument if argument == "sample" else None


def describe(spec: str) -> str:  # noqa: ARG001 - there is one sample
    """What it is."""
    return "the bundled sample, an invented town"


def open_source(spec: str) -> "Sample":  # noqa: ARG001 - there is one sample
    """The sample."""
    return Sample()


class Sample:
    """The sample's posts; its cursor is the time of the last one."""

    def check(self, names: tuple[str, ...]) -> None:
        """Whether all `names` have an account here."""
        known = {handle.lower() for handle in accounts()}
        if strangers := [name for name in names if name.lower() not in known]:
            raise NotFound(f"the sample has no {', '.join(strangers)}; it has {', '.join(accounts())}")

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """The posts after `cursor`, of a day at most; at first those of three hours."""
        after = max(datetime.fromisoformat(cursor), now - _LONGEST_READ) if cursor else now - _FIRST_READ
        new = tuple(posts(after, now))
        for start in range(0, len(new), _PAGE_POSTS):
            page = new[start : start + _PAGE_POSTS]
            yield Page(page, page[-1].created_at.isoformat())


def accounts() -> dict[str, str]:
    """The name of each handle."""
    return dict(_town()["accounts"])


def posts(after: datetime, until: datetime) -> Iterator[Post]:
    """The posts later than `after` and not later than `until`, oldest first: one a minute, the same at each call."""
    after = max(after, _EPOCH)
    for minute in range(int(after.timestamp()) // 60, int(until.timestamp()) // 60 + 1):
        post = _post(minute)
        if after < post.created_at <= until:
            yield post


def _post(minute: int) -> Post:
    role = _role(minute)
    earlier = minute - _MINUTES_AGO[role]
    if role == "story" or _role(earlier) != "story" or (role == "reply" and "then" not in _story(earlier)):
        story = _story(minute)
        return _made(minute, "post", story["by"], _filled(story["text"], minute), story.get("lang", "en"))
    shown = _post(earlier)
    if role == "reminder":
        return _made(minute, "post", shown.author, shown.text + _town()["again"][shown.lang], shown.lang)
    if role == "reply":
        return _made(minute, "reply", shown.author, _filled(_story(earlier)["then"], earlier), shown.lang)
    remarks = [remark for remark in _town()["remarks"] if remark["by"] != shown.author]
    remark = remarks[_pick(minute, "remark", len(remarks))]
    original = Original(shown.id, shown.author, shown.author_name, shown.text, shown.url)
    if role == "quote":
        return _made(minute, "quote", remark["by"], _filled(remark["text"], minute), "en", original)
    return _made(minute, "repost", remark["by"], "", shown.lang, original)


def _made(minute: int, kind: PostKind, author: str, text: str, lang: str, original: Original | None = None) -> Post:
    second = 60 * minute + _pick(minute, "second", 60)
    post_id = str((1000 * second - EPOCH_MS) << 22)
    return Post(
        id=post_id,
        author=author,
        author_name=accounts()[author],
        created_at=datetime.fromtimestamp(second, UTC),
        kind=kind,
        text=text,
        url=f"https://sample.example/{author}/{post_id}",
        lang=lang,
        original=original,
    )


def _role(minute: int) -> str:
    return _ROLES[_pick(minute, "role", len(_ROLES))]


def _story(minute: int) -> dict[str, str]:
    """The story of a minute. Within one round of all of them none comes twice."""
    stories: list[dict[str, str]] = _town()["posts"]
    return stories[_order(minute // len(stories))[minute % len(stories)]]


@functools.lru_cache(maxsize=8)
def _order(round_: int) -> list[int]:
    return sorted(range(len(_town()["posts"])), key=lambda number: _pick(round_, f"story {number}", 1 << 32))


def _filled(text: str, minute: int) -> str:
    """`text` with its {slots} filled; those of the same name and minute alike, also in another text."""
    return re.sub(r"\{(\w+)\}", lambda slot: _filling(slot[1], minute), text)


def _filling(name: str, minute: int) -> str:
    slot = _town()["slots"][name]
    if isinstance(slot, list):
        return str(slot[_pick(minute, name, len(slot))])
    if "minutes" in slot:
        hour, minutes = divmod(minute + slot["minutes"][_pick(minute, name, len(slot["minutes"]))], 60)
        return f"{hour % 24:02}:{minutes // 5 * 5:02}"
    numbers = range(slot["from"], slot["to"] + 1, slot.get("step", 1))
    return str(numbers[_pick(minute, name, len(numbers))])


def _pick(number: int, purpose: str, count: int) -> int:
    """One of `count`, by a hash: alike on every machine and in every version of Python, which `random` is not."""
    return int.from_bytes(hashlib.sha256(f"{number} {purpose}".encode()).digest()[:8]) % count


@functools.cache
def _town() -> dict[str, Any]:
    town: dict[str, Any] = json.loads(Path(__file__).with_name("sample.json").read_text("utf-8"))
    return town
