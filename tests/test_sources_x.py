"""The timelines and accounts of X, at the strict fake: pages, walks, gaps, words, errors and what is bought."""

import json
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

import pytest

from tests.conftest import NOON
from tests.peers.web import Web, answer
from tests.peers.x import X
from xtrack.errors import BadData, Misconfigured, Paused, Refused, Temporary, XTrackError
from xtrack.models import Account, Bought, Page, Resource
from xtrack.settings import Secret
from xtrack.settings import X as Settings
from xtrack.sources import Found, x
from xtrack.sources._http import Kept, Limits, Unreachable
from xtrack.sources._x_client import Client

QUICK = Limits(connect=0.5, read=0.5, total=0.8)
PRICES: dict[Resource, int] = {"post": 5000, "user": 10000, "media": 1000}
FIVE = 5 * 3 * PRICES["post"]
ANNA = Account("71", "anna", "Anna Hollin", "ok", NOON, 4.0)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@dataclass(eq=False)
class Purse:
    """An Access in memory that minds the protocol: one call at a time, each settled or released, none dearer than was
    set aside for it. `money` is what may be spent, None without end; `waits` are not waited, but noted.
    """

    x: Settings
    now: datetime = NOON
    patience: float = 0
    money: int | None = None
    pages: int = 9999
    learnt: dict[str, str] = field(default_factory=dict)
    waits: list[tuple[float, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    bills: list[tuple[Bought, ...]] = field(default_factory=list)
    reserved: int | None = None

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

    def account(self, account_id: str) -> Account | None:
        return ANNA if account_id == ANNA.id else None

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
    shown = [(1, 0), (1, 100), (2, 100), (2, 200), (3, 200), (3, 205)]
    assert purse.shown == [f"@anna: page {page}, {count} posts, 0 s" for page, count in shown]
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
    """The purse minds that no page is dearer than what was set aside: three posts each. Media are named unbought."""
    other = [peer.do("post", author="BoSkarn", words=f"High tide {number}.") for number in range(10)]
    for quoted, replied in zip(other[::2], other[1::2], strict=True):
        media = [{"type": "photo"}] * 4
        peer.do("post", author="anna", words="Look, @BoSkarn", quoted=quoted, replied_to=replied, media=media)
    purse.money = FIVE
    (page,) = read(purse)
    assert Counter(one.resource for one in page.bought) == {"post": 15}
    assert {post.text.splitlines()[-1] for post in page.posts} == {"[photo]"}
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
    """New posts come meanwhile, and an edit of one that was read, which comes again."""
    posts, newer = anna(peer, 23, step=10 * MINUTE), list[str]()
    cursor, seen = None, list[str]()
    for pause in range(5):
        (page,) = interrupted(purse, cursor)
        cursor, seen = page.cursor, seen + ids([page])
        purse.now += MINUTE
        at(peer, purse.now)
        if pause == 2:
            peer.do("edit", post_id=posts[-1], words="Edited.")
        newer += anna(peer, 1, purse.now, step=MINUTE) if pause < 2 else []
    assert seen == posts[::-1]
    pages = read(purse, cursor)
    assert seen + ids(pages) == [*posts[::-1], posts[-1], *newer[::-1]]
    assert not any(page.notices for page in pages)


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


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_what_left_the_look_back_before_it_was_read_is_told_once(peer: X, purse: Purse, is_interrupted: bool) -> None:
    anna(peer, 1)
    cursor = read(purse)[-1].cursor
    purse.now = NOON + 9 * DAY
    at(peer, purse.now)
    anna(peer, 1, NOON + DAY)
    kept = anna(peer, 110, purse.now)
    stored = interrupted(purse, cursor) if is_interrupted else []
    pages = [*stored, *read(purse, stored[-1].cursor if stored else cursor)]
    assert ids(pages) == kept[::-1]
    told = "posts of @anna from 2027-01-15 12:00 to 2027-01-17 12:00 UTC were not read: they are older than the 7 days"
    assert [page.notices for page in pages] == [(f"{told} that are read back",), *[()] * (len(pages) - 1)]
    assert len(pages) == (4 if is_interrupted else 2)


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


def test_what_could_not_be_read_since_the_installation_is_a_gap(peer: X, purse: Purse) -> None:
    anna(peer, 1, NOON - MINUTE)
    anna(peer, 1, NOON + DAY - MINUTE)
    purse.now = NOON + 8 * DAY
    at(peer, purse.now)
    (page,) = read(purse, x.start(NOON))
    assert page.posts == ()
    assert [re.findall(r"from (.*) UTC", notice)[0] for notice in page.notices] == [
        "2027-01-15 12:00 to 2027-01-16 12:00"
    ]
    purse.now = NOON + DAY
    at(peer, purse.now)
    (page,) = read(purse, x.start(NOON))
    assert (len(page.posts), page.notices) == (2, ())


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
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        error = {"parameter": "id", "type": "https://api.x.com/2/problems/resource-not-found", "value": "5"}
        data = [{"id": "5", "text": "x", "created_at": "2027-01-15T11:00:00.000Z"}]
        web.routes = Anything(problem(200, data=data, errors=[error]))
        assert [(len(page.posts), page.state) for page in read(purse)] == [(1, "ok")]


# Words


@pytest.mark.parametrize("vocabulary", ["new", "legacy", "mixed", "asked"])
@pytest.mark.parametrize("learnt", ["", "legacy"])
@pytest.mark.parametrize("is_silent", [False, True])
def test_both_vocabularies(peer: X, purse: Purse, vocabulary: str, learnt: str, is_silent: bool) -> None:
    """Long posts, reposts and threads come whole in whichever words; what only was sent in others is bought too."""
    peer.do("options", vocabulary=vocabulary, silent=is_silent)
    purse.learnt = {"x.words": learnt} if learnt else {}
    note = "The ferry is late again, and nobody knows why. " * 9
    original = peer.do("post", author="BoSkarn", words=note)
    (first,) = anna(peer, 1)
    peer.do_all(
        [
            {"do": "post", "author": "anna", "words": note},
            {"do": "post", "author": "anna", "words": "More.", "replied_to": first},
            {"do": "post", "author": "anna", "retweeted": original},
        ]
    )
    pages = read(purse)
    repost, thread, long, _ = pages[-1].posts
    assert (long.text, thread.kind, repost.kind) == (note.strip(), "thread", "repost")
    assert repost.original
    assert repost.original.text == note.strip()
    assert bought_of(purse) == sold(peer)
    is_other = vocabulary == ("new" if learnt else "legacy")
    assert [len(page.posts) for page in pages] == ([0, 4] if is_other and is_silent else [4])
    assert purse.learnt.get("x.words", "") == ({"": "legacy", "legacy": "new"}[learnt] if is_other else learnt)
    before = len(asked(peer))
    assert read(purse, pages[-1].cursor)[0].posts == ()
    assert len(asked(peer)) == before + 1


def test_words_that_are_refused_both_times(purse: Purse) -> None:
    """As when a field is taken away in both vocabularies."""
    told = {"parameters": {"tweet.fields": ["lang"]}, "message": "The `tweet.fields` value [lang] is not one of [id]"}
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(problem(400, errors=[told], title="Invalid Request"))
        error = failing(purse)
        assert len(web.asked) == 2
    assert isinstance(error, BadData)
    assert str(error) == (
        "X does not take the request: tweet.fields: The `tweet.fields` value [lang] is not one of [id]"
    )
    assert purse.learnt == {}


def test_times_that_are_missing_in_both_words_are_bought_twice_and_an_error(purse: Purse) -> None:
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(answer(json.dumps({"data": [{"id": "5", "text": "Low tide."}]}).encode()))
        error = failing(purse)
        assert len(web.asked) == 2
    assert (type(error), "no times" in str(error)) == (BadData, True)
    assert purse.bills == [(Bought("post", "5"),)] * 2


class Anything(dict[str, Any]):
    """Routes that answer every path in turn, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._left = list(answers)

    def get(self, path: str, default: Any = None) -> Any:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def problem(status: int, **body: Any) -> bytes:
    return answer(json.dumps(body).encode(), f"{status} Something")


# Errors


@pytest.mark.parametrize(
    ("kind", "how", "error", "says", "hint"),
    [
        (
            "usage_cap",
            {},
            Refused,
            "the monthly cap of the app at X is reached (Usage cap exceeded: Monthly",
            "raise it",
        ),
        ("credits", {}, Refused, "there are no credits left at X", "buy some at https://console.x.com"),
        ("spend_cap", {"reset_date": "2027-02-10"}, Refused, "sells nothing more until 2027-02-10", "raise it"),
        ("client_forbidden", {}, Refused, "X does not let this app in: When authenticating requests", "project"),
        ("unsupported_authentication", {}, Refused, "does not let this app in: Authenticating with OAuth", "bearer"),
        ("unauthorized", {}, Refused, "X does not know this token (HTTP 401)", "x.token"),
        ("redirect", {}, Misconfigured, "127.0.0.1 redirects to another address: it is not followed", "x.base_url"),
        ("500", {}, Temporary, "X cannot answer now (HTTP 500)", ""),
        ("502", {}, Temporary, "X cannot answer now (HTTP 502)", ""),
        ("503", {}, Temporary, "X cannot answer now (HTTP 503)", ""),
        ("html", {}, Temporary, "127.0.0.1 does not answer in JSON (HTTP 200)", ""),
        ("html_503", {}, Temporary, "X cannot answer now (HTTP 503)", ""),
        ("invalid_json", {}, Temporary, "127.0.0.1 does not answer in JSON (HTTP 200)", ""),
        ("invalid_json", {"body": "[" * 200_000}, Temporary, "does not answer in JSON", ""),
        ("empty", {}, Temporary, "127.0.0.1 does not answer in JSON (HTTP 200)", ""),
        ("other_shape", {}, Temporary, "X answers in a shape that is not known", ""),
        ("other_shape", {"body": '{"data":[1]}'}, Temporary, "X answers in a shape that is not known", ""),
        ("other_shape", {"body": '{"includes":{}}'}, Temporary, "X answers in a shape that is not known", ""),
        ("other_shape", {"body": '{"errors":[]}'}, Temporary, "X answers with an error: none", ""),
        ("other_shape", {"body": '{"errors":[{"message":"no\\u001b\\nway"}]}'}, Temporary, "an error: no way", ""),
        ("cut_header", {}, Temporary, "127.0.0.1 sent an answer that is broken or cut off", ""),
        ("cut_body", {}, Temporary, "127.0.0.1 sent an answer that is broken or cut off", ""),
        ("lying_length", {}, Temporary, "127.0.0.1 sent an answer that is broken or cut off", ""),
    ],
)
def test_errors_are_told_apart(
    peer: X, purse: Purse, kind: str, how: dict[str, str], error: type[XTrackError], says: str, hint: str
) -> None:
    """What may pass is tried three times; the rest once."""
    anna(peer, 1)
    peer.do("fail", kind=kind, times=None, **how)
    found = failing(purse)
    assert type(found) is error
    assert says in str(found)
    assert hint in found.hint
    assert str(found).isprintable()
    assert len(asked(peer)) == (3 if error is Temporary else 1)
    assert [seconds for seconds, _ in purse.waits] == ([1, 3] if error is Temporary else [])
    assert purse.bills == []


@pytest.mark.parametrize("kind", ["503", "html", "cut_body", "other_shape"])
def test_what_passes_is_over_with_the_next_try(peer: X, purse: Purse, kind: str) -> None:
    posts = anna(peer, 2)
    peer.do("fail", kind=kind, times=2)
    assert ids(read(purse)) == posts[::-1]


@pytest.mark.parametrize(
    ("whole", "error", "says"),
    [
        (problem(500, title="CreditsDepleted", type="about:blank"), Refused, "no credits left"),
        (problem(200, title="UsageCapExceeded", detail="x" * 999), Refused, "(" + "x" * 199 + "…)"),
        (problem(403, title="Forbidden", detail="Not\u202e for you.", type="about:blank"), Refused, ": Not for you."),
        (answer(b"<html>blocked</html>", "403 Forbidden"), Temporary, "does not answer in JSON (HTTP 403)"),
        (answer(b"", "404 Not Found"), Misconfigured, "there is no X API at 127.0.0.1 (HTTP 404)"),
        (answer(b"<html>nginx</html>", "404 Not Found"), Misconfigured, "there is no X API at 127.0.0.1"),
        (problem(405, title="Method Not Allowed"), BadData, "X does not take the request (HTTP 405): Method Not"),
        (problem(429, title="Too Many Requests"), Temporary, "X takes no more requests for now (HTTP 429)"),
        (
            problem(
                400, errors=[{"parameters": {"since\u202e_id": ["1"]}, "message": "too\nold"}], title="Invalid Request"
            ),
            BadData,
            "X does not take the request: since_id: too old",
        ),
        (problem(400, title="Invalid Request"), BadData, "X does not take the request: Invalid Request"),
        (problem(200, data=[{"id": "5", "text": 7, "created_at": "x"}]), Temporary, "posts that cannot be read"),
        (problem(200, data=[{"id": "٣", "text": "x", "created_at": "x"}]), Temporary, "posts that cannot be read"),
    ],
)
def test_other_errors(purse: Purse, whole: bytes, error: type[XTrackError], says: str) -> None:
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(whole)
        found = failing(purse)
    assert says in str(found)
    assert isinstance(found, error)
    assert str(found).isprintable()


def test_a_window_that_opens_soon_is_waited_for(peer: X, purse: Purse) -> None:
    posts = anna(peer, 1)
    peer.do("fail", kind="window", reset_in=170)
    assert ids(read(purse)) == posts
    assert purse.waits == [(170, "X takes no more requests until 2027-01-15 12:02 UTC")]


@pytest.mark.parametrize(
    ("reset_in", "times", "waits"), [(181, 1, []), (900, 1, []), (60, None, [60]), (-9, None, [1])]
)
def test_a_window_that_stays_closed(peer: X, purse: Purse, reset_in: int, times: int | None, waits: list[int]) -> None:
    peer.do("fail", kind="window", reset_in=reset_in, times=times)
    error = failing(purse)
    assert isinstance(error, Temporary)
    assert error.retry_at == NOON + timedelta(seconds=reset_in)
    assert str(error) == f"X takes no more requests until {error.retry_at:%Y-%m-%d %H:%M} UTC"
    assert [seconds for seconds, _ in purse.waits] == waits


@pytest.mark.parametrize("reset", ["", "soon", "-5", "9" * 30, "٣"])
def test_a_window_whose_end_is_not_told(purse: Purse, reset: str) -> None:
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        told = {"x_rate_limit_reset": reset.encode().decode("latin-1")}
        web.routes = Anything(answer(b'{"title":"Too Many Requests"}', "429 Too Many", **told))
        error = failing(purse)
    assert isinstance(error, Temporary)
    assert (error.retry_at, purse.waits) == (None, [])


def page_of(*post_ids: int, token: str = "") -> bytes:
    data = [{"id": str(one), "text": "x", "created_at": "2027-01-15T11:00:00.000Z"} for one in post_ids]
    return problem(200, data=data, meta={"next_token": token} if token else {})


@pytest.mark.parametrize(
    ("pages", "calls"),
    [
        ([page_of(token="a"), page_of(token="a"), page_of(token="a")], 2),
        ([page_of(token="a"), page_of(token="b"), page_of(token="a")], 3),
        ([page_of(1 << 60, token="a"), page_of(1 << 60, token="b")], 2),
    ],
)
def test_pages_that_lead_nowhere(purse: Purse, pages: list[bytes], calls: int) -> None:
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(*pages)
        error = failing(purse)
        assert len(web.asked) == calls
    assert (type(error), str(error)) == (Temporary, "X gives pages of @anna that lead nowhere")


def test_pages_without_end(purse: Purse) -> None:
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(*(page_of(token=f"t{number}") for number in range(700)))
        assert "lead nowhere" in str(failing(purse))
        assert len(web.asked) == 640


# The way there


@dataclass
class Relay:
    """A port that passes connections on to another one, from `listen` on, and counts them."""

    port_behind: int
    connections: int = 0

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def listen(self) -> None:
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._socket.accept()
                self.connections += 1
                there = socket.create_connection(("127.0.0.1", self.port_behind))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


def test_one_connection_serves_all_calls_of_a_run(peer: X, purse: Purse) -> None:
    """Also after an answer that is an error, and of another account; not after one that broke off."""
    anna(peer, 250)
    with Relay(peer.port) as relay:
        relay.listen()
        purse.x = replace(purse.x, base_url=relay.url)
        read(purse)
        read(purse, spec="72")
        list(found_by(purse, ["anna"]))
        peer.do("fail", kind="503")
        read(purse, spec="72")
        assert (len(asked(peer)), relay.connections) == (7, 1)
        peer.do("fail", kind="cut_body")
        read(purse)
        assert relay.connections == 2


@pytest.mark.parametrize(
    ("kind", "how", "says"),
    [
        ("slow", {"rate": 100}, r"took more than 0.8 seconds to answer"),
        ("silent", {}, r"was silent for too long, 0.5 seconds"),
    ],
)
def test_a_server_that_is_too_slow(peer: X, purse: Purse, kind: str, how: dict[str, int], says: str) -> None:
    """It has had its time: it is not asked again. The next call goes well on a connection of its own."""
    posts = anna(peer, 40)
    client = Client(QUICK)
    peer.do("fail", kind=kind, **how)
    with pytest.raises(Temporary, match=says):
        read(purse, client=client)
    assert (purse.reserved, purse.waits, len(asked(peer))) == (None, [], 1)
    assert ids(read(purse, client=client)) == posts[::-1]


def test_a_network_that_comes_up_in_time(peer: X, purse: Purse) -> None:
    posts = anna(peer, 1)
    purse.patience = 10
    with Relay(peer.port) as relay:
        purse.x = replace(purse.x, base_url=relay.url)
        threading.Timer(0.2, relay.listen).start()
        assert ids(read(purse)) == posts
    assert len(purse.waits) > 1
    assert set(purse.waits) == {(5, "no connection to 127.0.0.1: Connection refused")}


def test_patience_is_one_for_all_of_a_run(peer: X, purse: Purse) -> None:
    """Three minutes in all, not for each account."""
    purse.patience = 0.3
    with Relay(peer.port) as relay:
        purse.x = replace(purse.x, base_url=relay.url)
        start = time.monotonic()
        assert isinstance(failing(purse), Unreachable)
        assert time.monotonic() - start >= 0.3
        waits = len(purse.waits)
        assert waits > 2
        assert isinstance(failing(purse), Unreachable)
        assert len(purse.waits) == waits


def test_without_patience_an_unreachable_server_is_one_at_once(purse: Purse) -> None:
    purse.x = replace(purse.x, base_url="http://x-api.invalid")
    error = failing(purse)
    assert (type(error), str(error)) == (Unreachable, "no address was found for x-api.invalid")
    assert purse.waits == []


def test_a_server_that_takes_no_connection_is_unreachable_too(purse: Purse) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as first, socket.socket() as more:
        for one in (first, more):  # one for accept(2), which nobody calls, and one in the queue for it
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        purse.x = replace(purse.x, base_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(Unreachable, match=r"127.0.0.1 was silent for too long, 0.5 seconds"):
            read(purse, client=Client(QUICK))


# The token


def chain_of(error: BaseException | None) -> Iterator[str]:
    while error:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("token", ["s3cr\u2019et", "s3cr\net", "s3cr'\" et", " s3cret", "s3cret\x00", "s3cret"])
def test_no_error_holds_the_token(peer: X, token: str) -> None:
    purse = Purse(Settings(Secret(token), peer.url))
    found = [failing(purse)]
    for kind in ("cut_header", "redirect", "invalid_json", "unauthorized"):
        peer.do("fail", kind=kind, times=3)
        found.append(failing(purse))
        peer.do("heal")
    purse.x = replace(purse.x, base_url="http://x-api.invalid")
    found.append(failing(purse))
    with pytest.raises(XTrackError) as caught:
        Kept(QUICK).get("http://a..b/", {"Authorization": f"Bearer {token}"})
    told = "\n".join(line for error in (*found, caught.value) for line in chain_of(error))
    assert "3cr" not in told + repr(purse) + repr(x.open_timeline("71", purse))
    assert "3cr" not in "\n".join(purse.shown + [why for _, why in purse.waits])


def test_no_token(purse: Purse) -> None:
    purse.x = replace(purse.x, token=None)
    error = failing(purse)
    assert (type(error), str(error)) == (Misconfigured, "there is no token for X")
    assert "x.token" in error.hint


def test_a_redirect_does_not_get_the_token(peer: X, purse: Purse) -> None:
    with Web() as other:
        peer.do("fail", kind="redirect", to=other.url("/there"))
        assert isinstance(failing(purse), Misconfigured)
        assert other.asked == []


# Accounts


def found_by(purse: Purse, keys: Sequence[str], again: bool = False) -> Iterator[Found]:
    for found in (x.look_again if again else x.look_up)(keys, purse):
        purse.settle(found.bought)
        yield found


@pytest.mark.parametrize("vocabulary", ["new", "legacy"])
def test_names_are_looked_up_in_batches(peer: X, purse: Purse, vocabulary: str) -> None:
    peer.do("options", vocabulary=vocabulary)
    purse.now = NOON + 10 * DAY
    names = [f"nobody_{number}" for number in range(99)]
    first, second = found_by(purse, ["ANNA", *names, "boskarn", "anna"])
    assert [account.username for account in first.accounts] == ["anna"]
    assert first.missing == dict.fromkeys(names, "gone")
    (bo,) = second.accounts
    assert (bo.id, bo.username, bo.name, bo.state, bo.checked_at) == ("72", "BoSkarn", "Bo Skarn", "ok", purse.now)
    assert bo.posts_a_day == pytest.approx(72 % 89 * 3 / 10)
    assert (second.bought, second.missing) == ((Bought("user", "72"),), {})
    assert [len(told["usernames"].split(",")) for told in asked(peer)] == [100, 1]
    assert bought_of(purse) == sold(peer)


@pytest.mark.parametrize("is_error", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_the_states_of_accounts(peer: X, purse: Purse, is_error: bool, again: bool) -> None:
    peer.do("options", protected_is_error=is_error)
    for number, state in enumerate(("protected", "suspended", "gone"), 73):
        peer.do("account", account_id=str(number), username=f"{state}_one", state=state)
    keys = ["73", "74", "75", "71"] if again else ["Protected_One", "suspended_one", "gone_one", "anna"]
    (found,) = found_by(purse, keys, again)
    assert found.missing == dict(zip(keys[:3], ("protected", "suspended", "gone"), strict=True))
    states = {account.id: account.state for account in found.accounts}
    assert states == {"71": "ok"} | ({} if is_error else {"73": "protected"})


def test_errors_of_look_ups(peer: X, purse: Purse) -> None:
    peer.do("fail", kind="credits")
    with pytest.raises(Refused, match="no credits"):
        list(found_by(purse, ["anna"]))
    assert purse.reserved is None
    purse.money = 9999
    with pytest.raises(Paused):
        list(found_by(purse, ["anna"]))
    purse.money = 10000
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        web.routes = Anything(problem(200, data=[{"id": "71", "username": ""}]))
        with pytest.raises(Temporary, match="no name or number"):
            list(found_by(purse, ["anna"]))
    assert purse.bills == [(Bought("user", "71"),)]


def test_an_account_of_today_and_one_that_tells_nothing(peer: X, purse: Purse) -> None:
    purse.now = NOON + timedelta(hours=1)
    (found,) = found_by(purse, ["anna"])
    assert found.accounts[0].posts_a_day == 71 % 89 * 3
    with Web() as web:
        purse.x = replace(purse.x, base_url=web.url(""))
        told: list[Any] = [{}, {"created_at": "today", "public_metrics": 7}, {"public_metrics": {"post_count": []}}]
        for more in told:
            web.routes = Anything(problem(200, data=[{"id": "71", "username": "anna", **more}]))
            (found,) = found_by(purse, ["anna"])
            assert found.accounts[0].posts_a_day == 0
