"""The timelines and accounts of X, at the strict fake: pages, walks, gaps, words, errors and what is bought."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import NOON
from tests.peers.x import X
from xtrack.errors import Paused, XTrackError
from xtrack.models import Bought, Page, Resource
from xtrack.settings import Secret
from xtrack.settings import X as Settings
from xtrack.sources import x
from xtrack.sources._http import Limits
from xtrack.sources._x_client import Client

QUICK = Limits(connect=0.5, read=0.5, total=0.8)
PRICES: dict[Resource, int] = {"post": 5000, "user": 10000, "media": 1000}
FIVE = 5 * (3 * PRICES["post"] + 4 * PRICES["media"])
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@dataclass
class Purse:
    """An Access in memory that minds the protocol: one call at a time, each settled or released, none dearer than was
    set aside for it. `money` is what may be spent, None without end; `waits` are not waited, but noted.
    """

    x: Settings
    now: datetime = NOON
    patience: float = 0
    money: int | None = None
    pages: int = 9999
    names: dict[str, str] = field(default_factory=lambda: {"71": "anna"})
    learnt: dict[str, str] = field(default_factory=dict)
    waits: list[tuple[float, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    bills: list[tuple[Bought, ...]] = field(default_factory=list)
    reserved: int | None = None

    __hash__ = object.__hash__

    def reserve(self, each: Mapping[Resource, int], least: int, most: int) -> int:
        assert self.reserved is None, "a call before the last one was settled"
        self.pages -= 1
        cost = sum(count * PRICES[resource] for resource, count in each.items())
        granted = most if self.money is None else min(most, self.money // cost)
        if granted < least or self.pages < 0:
            raise Paused("no more for now")
        self.reserved = granted * cost
        return granted

    def release(self) -> None:
        assert self.reserved is not None, "nothing was set aside"
        self.reserved = None

    def settle(self, bought: tuple[Bought, ...]) -> None:
        assert self.reserved is not None, "nothing was set aside"
        cost = sum(PRICES[one.resource] for one in bought)
        assert cost <= self.reserved, "dearer than what was set aside"
        self.money = self.money and self.money - cost
        self.reserved = None
        self.bills.append(bought)

    def username(self, account_id: str) -> str:
        return self.names.get(account_id, "")

    def recall(self, name: str) -> str:
        return self.learnt.get(name, "")

    def remember(self, name: str, value: str) -> None:
        self.learnt[name] = value

    def clock(self) -> datetime:
        return self.now

    def wait(self, seconds: float, why: str) -> None:
        self.waits.append((seconds, why))
        time.sleep(min(seconds, 0.02))

    def show(self, progress: str) -> None:
        self.shown.append(progress)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def process() -> Iterator[X]:
    with X() as peer:
        yield peer


@pytest.fixture
def peer(process: X) -> Iterator[X]:
    """A new world with Anna and Bo, in which it is noon and time stands still."""
    process.do("reset")
    at(process, NOON)
    process.do("account", account_id="71", username="anna", name="Anna Hollin")
    process.do("account", account_id="72", username="BoSkarn", name="Bo Skarn")
    yield process
    assert process.do("bugs") == []


@pytest.fixture
def purse(peer: X) -> Purse:
    return Purse(Settings(Secret(peer.token), peer.url))


def at(peer: X, now: datetime) -> None:
    peer.do("clock", now=now.isoformat(), frozen=True)


def anna(peer: X, count: int, last: datetime = NOON, step: timedelta = MINUTE, **more: Any) -> list[str]:
    """Posts of Anna, oldest first, one each `step`, up to `last`."""
    times = [last - step * number for number in reversed(range(count))]
    posts = [{"do": "post", "author": "anna", "words": f"number {one}", "at": f"{one}", **more} for one in times]
    return peer.do_all(posts)


def read(purse: Purse, cursor: str | None = None, spec: str = "71", client: Client | None = None) -> list[Page]:
    """Read as a run does: each page is settled before the next one. Errors come as they are, nothing left set aside."""
    return list(reading(purse, cursor, spec, client))


def reading(purse: Purse, cursor: str | None, spec: str = "71", client: Client | None = None) -> Iterator[Page]:
    timeline = x.XTimeline(spec, purse, client) if client else x.open_timeline(spec, purse)
    for page in timeline.read(cursor, purse.now):
        purse.settle(page.bought)
        yield page
    assert purse.reserved is None


def interrupted(purse: Purse, cursor: str | None) -> list[Page]:
    """What was stored when reading came to a pause after a page of five posts."""
    stored = []
    purse.money, purse.pages = FIVE, 1
    with pytest.raises(Paused):
        for page in reading(purse, cursor):
            stored.append(page)
    purse.money, purse.pages = None, 9999
    assert purse.reserved is None
    return stored


def ids(pages: Sequence[Page]) -> list[str]:
    return [post.id for page in pages for post in page.posts]


def failing(purse: Purse, cursor: str | None = None) -> XTrackError:
    """The error that reading ends with; nothing is left set aside."""
    with pytest.raises(XTrackError) as caught:
        read(purse, cursor)
    assert purse.reserved is None
    return caught.value


def asked(peer: X) -> list[dict[str, str]]:
    """The parameters of all requests so far."""
    return [dict(entry["params"]) for entry in peer.do("ledger")]


def bought_of(purse: Purse) -> dict[str, list[str]]:
    once: dict[str, set[str]] = {"post": set(), "user": set(), "media": set()}
    for one in (item for bill in purse.bills for item in bill):
        once[one.resource].add(one.id)
    return {kind: sorted(found) for kind, found in once.items()}


def sold(peer: X) -> dict[str, list[str]]:
    """What the server sold, of all days."""
    return {
        kind: sorted({one for day in days.values() for one in day}) for kind, days in peer.do("sold")["once"].items()
    }


# What a source is called


def test_names_of_feeds() -> None:
    assert (x.claim("x"), x.claim("X"), x.claim("x.jsonl")) == ("x", None, None)
    assert x.spec_of("71", ()) == "71"
    assert x.spec_of("71", ("repost", "reply")) == "71?exclude=replies,reposts"
    assert x.spec_of("71", ("repost",)) == "71?exclude=reposts"


# Timelines


def test_a_first_read_takes_all_of_the_look_back_page_by_page(peer: X, purse: Purse) -> None:
    anna(peer, 3, NOON - 7 * DAY - MINUTE)
    posts = anna(peer, 205, step=30 * MINUTE)
    pages = read(purse)
    assert [len(page.posts) for page in pages] == [100, 100, 5]
    assert ids(pages) == posts[::-1]
    assert {post.author for page in pages for post in page.posts} == {"anna"}
    assert {page.state for page in pages} == {"ok"}
    assert not any(page.notices for page in pages)
    assert json.loads(str(pages[-1].cursor)) == {"since": posts[-1], "at": NOON.isoformat()}
    assert json.loads(str(pages[0].cursor)) == {
        "since": "0",
        "at": None,
        "walk": {"newest": posts[-1], "until": posts[105], "begun": NOON.isoformat()},
    }
    assert len({told["since_id"] for told in asked(peer)}) == 1
    assert {told["max_results"] for told in asked(peer)} == {"100"}
    assert bought_of(purse) == sold(peer)


def test_what_came_since(peer: X, purse: Purse) -> None:
    posts = anna(peer, 3)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + timedelta(hours=1)
    at(peer, purse.now)
    (empty,) = read(purse, cursor)
    assert (empty.posts, empty.state, empty.notices, empty.bought) == ((), "ok", (), ())
    assert json.loads(str(empty.cursor)) == {"since": posts[-1], "at": purse.now.isoformat()}
    new = anna(peer, 2, purse.now)
    assert ids(read(purse, empty.cursor)) == new[::-1]
    assert [told["since_id"] for told in asked(peer)[1:]] == [posts[-1]] * 2


def test_an_account_that_never_posted(peer: X, purse: Purse) -> None:
    (page,) = read(purse)
    assert (page.posts, page.state) == ((), "ok")
    assert json.loads(str(page.cursor)) == {"since": "0", "at": NOON.isoformat()}
    assert purse.shown[-1] == "@anna: page 1, 0 posts, 0 s"


def test_everything_that_a_post_can_bring_is_bought_and_nothing_else(peer: X, purse: Purse) -> None:
    """The purse minds that no page is dearer than what was set aside: three posts and four media each."""
    other = [peer.do("post", author="BoSkarn", words=f"High tide {number}.") for number in range(10)]
    for quoted, replied in zip(other[::2], other[1::2], strict=True):
        media = [{"type": "photo"}] * 4
        peer.do("post", author="anna", words="Look, @BoSkarn", quoted=quoted, replied_to=replied, media=media)
    purse.money = FIVE
    (page,) = read(purse)
    assert Counter(one.resource for one in page.bought) == {"post": 15, "media": 20}
    assert purse.money == 0
    assert bought_of(purse) == sold(peer)
    assert asked(peer)[0]["max_results"] == "5"


@pytest.mark.parametrize("is_ragged", [False, True])
def test_each_page_is_followed_by_the_next_also_an_empty_one(peer: X, purse: Purse, is_ragged: bool) -> None:
    peer.do("options", ragged=is_ragged)
    posts = anna(peer, 17)
    peer.do_all([{"do": "delete", "post_id": post_id} for post_id in (*posts[-6:], *posts[1:8])])
    purse.money = FIVE
    pages = []
    for page in reading(purse, None):
        purse.money = FIVE
        pages.append(page)
    assert ids(pages) == [posts[number] for number in (10, 9, 8, 0)]


def test_an_edit_is_read_again_under_its_first_id(peer: X, purse: Purse) -> None:
    (first,) = anna(peer, 1)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + 10 * MINUTE
    at(peer, purse.now)
    changed = peer.do("edit", post_id=first, words="Low tide.")
    (page,) = read(purse, cursor)
    assert [(post.id, post.text) for post in page.posts] == [(first, "Low tide.")]
    assert page.bought == (Bought("post", changed),)
    assert json.loads(str(page.cursor))["since"] == changed


def test_what_x_leaves_out(peer: X, purse: Purse) -> None:
    other = peer.do("post", author="BoSkarn", words="High tide.")
    (first,) = anna(peer, 1)
    peer.do("post", author="anna", words="@BoSkarn yes", replied_to=other)
    peer.do("post", author="anna", retweeted=other)
    assert ids(read(purse, spec=x.spec_of("71", ("reply", "repost")))) == [first]
    assert asked(peer)[0]["exclude"] == "replies,retweets"


def test_names_that_were_seen(peer: X, purse: Purse) -> None:
    peer.do("change", account="72", username="bo_at_sea")
    anna(peer, 1)
    peer.do("post", author="anna", words="Ask @bo_at_sea.")
    (page,) = read(purse)
    assert [(one.account_id, one.username) for one in page.sightings] == [("72", "bo_at_sea")]


# Walks that are interrupted


def test_a_walk_interrupted_after_each_page_loses_and_repeats_nothing(peer: X, purse: Purse) -> None:
    """New posts, and an edit of one that was read, come meanwhile."""
    posts = anna(peer, 23, step=10 * MINUTE)
    newer: list[str] = []
    purse.money = FIVE
    cursor, seen, pauses = None, [], 0
    while True:
        purse.pages = 1
        try:
            for page in reading(purse, cursor):
                cursor = page.cursor
                seen += ids([page])
                assert not page.notices
            break
        except Paused:
            pauses += 1
            purse.now += MINUTE
            at(peer, purse.now)
            newer += anna(peer, 1, purse.now) if pauses < 4 else []
        assert purse.reserved is None
        purse.money = FIVE
    assert pauses == 5
    assert Counter(seen) == Counter(posts + newer)
    assert seen[:23] == posts[::-1]
    assert json.loads(str(cursor)) == {"since": newer[-1], "at": purse.now.isoformat()}


def test_a_resumed_walk_and_a_newer_one_in_one_read(peer: X, purse: Purse) -> None:
    posts = anna(peer, 15)
    stored = interrupted(purse, None)
    purse.now = NOON + 5 * MINUTE
    at(peer, purse.now)
    newer = anna(peer, 2, purse.now)
    pages = read(purse, stored[-1].cursor)
    assert [ids([page]) for page in pages] == [posts[9::-1], newer[::-1]]
    assert json.loads(str(pages[0].cursor)) == {"since": posts[-1], "at": NOON.isoformat()}
    assert [told.get("until_id") for told in asked(peer)] == [None, posts[10], None]
    assert asked(peer)[2]["since_id"] == posts[-1]


@pytest.mark.parametrize("kind", ["cut_body", "lying_length", "unauthorized", "html"])
def test_a_failure_in_the_middle_of_a_walk(peer: X, purse: Purse, kind: str) -> None:
    posts = anna(peer, 250, step=30 * MINUTE)
    stored = []
    peer.do("fail", kind=kind, times=3, after=1)
    with pytest.raises(XTrackError):
        for page in reading(purse, None):
            stored.append(page)
    assert purse.reserved is None
    peer.do("heal")
    assert ids([*stored, *read(purse, stored[-1].cursor)]) == posts[::-1]


# What left the look-back


def test_what_left_the_look_back_before_it_was_read_is_told_once(peer: X, purse: Purse) -> None:
    anna(peer, 1)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + 9 * DAY
    at(peer, purse.now)
    anna(peer, 1, NOON + DAY)
    kept = anna(peer, 15, purse.now)
    stored = interrupted(purse, cursor)
    pages = [*stored, *read(purse, stored[-1].cursor)]
    assert ids(pages) == kept[::-1]
    told = "posts of @anna from 2027-01-15 12:00 to 2027-01-17 12:00 UTC were not read: they are older than the 7 days"
    assert [page.notices for page in pages] == [(f"{told} that are read back",), (), ()]


def test_the_rest_of_a_walk_that_left_the_look_back(peer: X, purse: Purse) -> None:
    """Some hours of it, or all of it: then the next walk tells of both gaps."""
    purse.x = replace(purse.x, look_back=2 * DAY)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + DAY
    at(peer, purse.now)
    posts = anna(peer, 24, purse.now, step=timedelta(hours=1))
    stored = interrupted(purse, cursor)
    assert ids(stored) == posts[:-6:-1]
    purse.now = NOON + timedelta(days=2, hours=2, minutes=30)
    at(peer, purse.now)
    pages = read(purse, stored[-1].cursor)
    assert ids(pages) == posts[18:1:-1]
    told = "posts of @anna from 2027-01-15 12:00 to 2027-01-15 14:30 UTC were not read: they are older than the 2 days"
    assert [page.notices for page in pages] == [(f"{told} that are read back",), ()]
    purse.now = NOON + 5 * DAY
    at(peer, purse.now)
    (page,) = read(purse, stored[-1].cursor)
    assert page.posts == ()
    assert [re.findall(r"from (.*) UTC", notice)[0] for notice in page.notices] == [
        "2027-01-15 12:00 to 2027-01-16 08:00",
        "2027-01-16 12:00 to 2027-01-18 12:00",
    ]
    assert read(purse, page.cursor)[0].notices == ()


def test_what_was_before_the_first_read_is_no_gap(peer: X, purse: Purse) -> None:
    posts = anna(peer, 150, step=timedelta(hours=1))
    stored = interrupted(purse, None)
    purse.now = NOON + timedelta(hours=2)
    at(peer, purse.now)
    pages = read(purse, stored[-1].cursor)
    assert ids([*stored, *pages]) == posts[::-1]
    assert [page.notices for page in pages] == [()] * len(pages)


def test_a_quiet_account_has_no_gap(peer: X, purse: Purse) -> None:
    """Its last post is older than the look-back, but all until an hour ago was read."""
    anna(peer, 1)
    cursor = read(purse)[-1].cursor
    for days in (6, 12, 18):
        purse.now = NOON + days * DAY
        at(peer, purse.now)
        (page,) = read(purse, cursor)
        assert page.notices == ()
        cursor = page.cursor


def test_a_clock_that_was_wrong_for_once_loses_nothing(peer: X, purse: Purse) -> None:
    anna(peer, 1)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + 90 * DAY
    cursor = read(purse, cursor)[-1].cursor
    purse.now = NOON + timedelta(hours=1)
    at(peer, purse.now)
    new = anna(peer, 3, purse.now)
    assert ids(read(purse, cursor)) == new[::-1]


# Accounts that cannot be read


@pytest.mark.parametrize("state", ["gone", "suspended", "protected"])
def test_the_state_of_an_account(peer: X, purse: Purse, state: str) -> None:
    anna(peer, 1)
    cursor = read(purse)[-1].cursor
    peer.do("change", account="71", state=state)
    assert read(purse, cursor) == [Page((), cursor, state=state)]  # type: ignore[arg-type] # one of a list above
    assert read(purse) == [Page((), None, state=state)]  # type: ignore[arg-type] # as above
    peer.do("change", account="71", state="ok")
    assert read(purse, cursor)[0].state == "ok"


def test_a_problem_that_is_all_of_an_answer(peer: X, purse: Purse) -> None:
    peer.do("fail", kind="no_user")
    assert read(purse) == [Page((), None, state="gone")]


def test_errors_beside_posts_are_about_what_these_include(peer: X, purse: Purse) -> None:
    quoted = peer.do("post", author="BoSkarn", words="High tide.")
    peer.do("post", author="anna", words="Look:", quoted=quoted)
    peer.do("delete", post_id=quoted)
    (page,) = read(purse)
    assert (len(page.posts), page.state) == (1, "ok")
