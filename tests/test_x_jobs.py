"""Jobs at X from installation to digest: what is asked, what is bought, what is said, at the strict fake."""

import os
import pty
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import click
import pytest

from tests.conftest import Command, World, agree, write_config
from tests.peers.x import X
from tests.processes import all_at_once
from xtrack import compose, jobs, ledger, outcomes, views
from xtrack.errors import NotFound, Paused, UsageError
from xtrack.models import PostKind, Run, Start, Summary
from xtrack.run import run_job
from xtrack.spending import spending

START = datetime(2026, 11, 26, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TIMELINES, USERS = r"/2/users/\d+/tweets", "/2/users(/by)?"
FILTERED: tuple[PostKind, ...] = ("reply", "repost")


@dataclass
class There:
    """A home and X, both at the same time, which stands still until it is set; accounts 11, 12 and 13."""

    x: X
    world: World
    prices: list[tuple[str, bool]] = field(default_factory=list)

    def configure(self, budget: float | None = None, **settings: object) -> None:
        told = {"token": self.x.token, "base_url": self.x.url, **settings}
        lines = [f"budget = {budget}"] * (budget is not None) + ["[x]", *(f"{key} = {told[key]!r}" for key in told)]
        write_config(self.world.home.config, "\n".join(lines))

    def pass_(self, **time: float) -> None:
        self.world.pass_(**time)
        self.x.do("clock", now=self.world.now.isoformat(), frozen=True)

    def post(self, author: str, *ages: timedelta, **more: Any) -> list[str]:
        """Posts of these ages, each of which takes a time of its own; their ids."""
        number = len(self.x.do("posts"))
        told = [
            {"do": "post", "author": author, "words": f"The ferry number {number + at} is {age} late.", **more}
            | {"at": (self.world.now - age).isoformat()}
            for at, age in enumerate(ages or [timedelta(seconds=1)])
        ]
        return self.x.do_all(told)

    def agree(self, price: str, is_much: bool) -> None:
        """Somebody who pays any price."""
        self.prices.append((price, is_much))

    def install(self, *names: str, look: bool = False, each: bool = False, **wish: Any) -> int:
        wished = jobs.Wish(names=names or ("kaya",), **{"frequency": "daily", "at": "11:00", **wish})
        return jobs.install(self.world.context, wished, self.agree, each, look=look).jobs[0][0].id

    def run(self, job_id: int, start: Start = "typed", code: int = 0) -> Run:
        """A run that ends with this exit code."""
        assert run_job(self.world.context, job_id, start) == code, self.world.said
        return self.world.store.runs(job_id, 1)[0]

    def digest(self, job_id: int) -> Summary:
        return self.world.store.summaries(job_id, 1)[0]

    def news(self, job_id: int) -> int:
        """Of how many posts a job's newest digest was made."""
        return self.digest(job_id).post_count

    def told(self, job_id: int) -> tuple[str, tuple[str, ...]]:
        """Headline and notices of a job's newest digest."""
        digest = self.digest(job_id).digest
        return digest.headline, digest.notices

    def subject(self, job_id: int) -> str:
        job = self.world.context.job(job_id)
        return compose.show(self.digest(job_id), [], job, self.world.context.local).subject

    def calls(self, path: str = "/2/.*", of: str = "") -> list[dict[str, str]]:
        """The parameters of the requests so far, oldest first."""
        entries = [entry for entry in self.x.do("ledger") if re.fullmatch(path, entry["path"])]
        return [dict(entry["params"]) for entry in entries if of in entry["path"]]

    def raw(self, kind: str = "post") -> Counter[str]:
        """How often each thing was sold, whichever day it was."""
        return Counter(one for ids in self.x.do("sold")["raw"][kind].values() for one in ids)

    def assert_paid(self) -> None:
        """What `usage` counts is what X has sold, and nothing is set aside any more."""
        once = {kind: sum(map(len, days.values())) for kind, days in self.x.do("sold")["once"].items()}
        sql = "SELECT resource, sum(count) AS n FROM usage GROUP BY 1"
        counted = {row["resource"]: row["n"] for row in self.world.sql(sql)}
        assert counted == {kind: count for kind, count in once.items() if count}
        assert self.world.sql("SELECT * FROM reservations") == []

    def stored(self) -> set[str]:
        return {row["id"] for row in self.world.sql("SELECT id FROM posts")}


@pytest.fixture(scope="module")
def x() -> Iterator[X]:
    with X() as x:
        yield x


@pytest.fixture
def there(x: X, world: World) -> There:
    x.do("reset")
    found = There(x, world)
    world.now = START
    found.pass_()
    for number, name in (("11", "Kaya"), ("12", "mira"), ("13", "quiet_one")):
        x.do("account", account_id=number, username=name)
    found.configure()
    return found


# Names


def test_names_are_looked_up_in_batches_and_known_from_then_on(there: There) -> None:
    names = [f"ferry_{number}" for number in range(230)]
    there.x.do_all([{"do": "account", "account_id": str(1000 + at), "username": name} for at, name in enumerate(names)])
    job = there.install(*names)
    assert [len(call["usernames"].split(",")) for call in there.calls()] == [100, 100, 30]
    assert there.prices == [("Looking up 230 names at X costs $2.30 at most.", True)]
    assert there.world.context.job(job).names == tuple(names)
    again = there.install("FERRY_7", "Ferry_229", "ferry_7")
    assert there.world.context.job(again).names == ("ferry_7", "ferry_229")
    assert len(there.calls()) == 3
    assert len(there.prices) == 1
    there.assert_paid()


def test_one_more_name_costs_one_name(there: There) -> None:
    there.install("kaya", "mira")
    there.install("Mira", "quiet_one")
    assert there.prices[-1] == ("Looking up 1 name at X costs $0.01 at most.", False)
    assert there.calls()[-1]["usernames"] == "quiet_one"


@pytest.mark.parametrize("protected_is_error", [False, True])
def test_names_that_cannot_be_read_are_refused_each_with_the_reason(there: There, protected_is_error: bool) -> None:
    there.x.do("options", protected_is_error=protected_is_error)
    there.x.do("change", account="12", state="suspended")
    there.x.do("change", account="13", state="protected")
    with pytest.raises(NotFound) as caught:
        there.install("kaya", "Mira", "quiet_one", "nobody_here")
    assert str(caught.value) == (
        "@Mira cannot be read: it is suspended; @quiet_one cannot be read: it is protected;"
        " there is no @nobody_here at X"
    )
    assert there.world.context.jobs() == []
    assert there.prices == [("Looking up 4 names at X costs $0.04 at most.", False)]
    there.install("kaya")
    assert len(there.prices) == 1
    there.assert_paid()


def test_without_a_yes_nothing_is_bought(there: There) -> None:
    def no(_: str, __: bool) -> None:
        raise click.Abort

    with pytest.raises(click.Abort):
        jobs.install(there.world.context, jobs.Wish(names=("kaya",), frequency="daily"), no)
    assert there.calls() == []
    assert there.world.context.jobs() == []


def test_a_look_up_that_the_budget_does_not_allow(there: There) -> None:
    there.configure(budget=0.01)
    with pytest.raises(Paused, match=r"^the budget of \$0.01 for November has \$0.01 left, and the next call may cost"):
        there.install("kaya", "mira")
    assert there.calls() == []


def test_old_names_are_looked_up_again_in_a_run_and_a_new_one_told_once(there: There) -> None:
    there.configure(names_days=2)
    job, other = there.install("kaya", "mira"), there.install("kaya")
    there.x.do("change", account="11", username="Kaya_B")
    there.pass_(days=1)
    there.run(job)
    assert there.told(job) == ("Nothing new", ())
    there.pass_(days=2)
    there.run(job)
    assert there.calls("/2/users")[0]["ids"].split(",") == ["11", "12"]
    assert there.told(job) == ("Nothing new", ("@Kaya is called @Kaya_B now",))
    assert [there.world.context.job(one).names for one in (job, other)] == [("Kaya_B", "mira"), ("Kaya_B",)]
    assert there.subject(job) == "Nothing new: @Kaya_B, @mira"
    there.run(job)
    there.run(other)
    assert len(there.calls("/2/users")) == 1
    assert there.told(job)[1] == ()
    assert there.told(other)[1] == ("@Kaya is called @Kaya_B now",)
    there.assert_paid()


def test_names_that_cost_more_than_is_left_keep_nobody_from_reading(there: There) -> None:
    there.configure(names_days=2, price_user=1)
    job = there.install(budget=500_000)
    there.pass_(days=3)
    (post,) = there.post("11")
    assert there.run(job).error == ""
    assert there.stored() == {post}
    assert there.calls("/2/users") == []
    assert any("run 1: names are not looked up again: job 1's budget" in line for line in there.world.said)


# What is bought at the installation


def test_an_installation_buys_no_posts(there: There) -> None:
    there.post("11", HOUR)
    there.install()
    assert there.calls(TIMELINES) == []


@pytest.mark.parametrize(("hours", "news"), [(1, 12), (20, 4)])
def test_what_a_preview_bought_is_not_bought_again(there: There, hours: int, news: int) -> None:
    """Also on the next UTC day, on which X would count it once more."""
    ids = there.post("11", *(number * HOUR for number in range(1, 13)))
    wish = jobs.Wish(names=("kaya", "mira"), frequency="daily", at="11:00")
    changed = jobs.install(there.world.context, wish, agree, look=True)
    assert [post.id for post in changed.preview] == ids[:3]
    assert [(call["max_results"], len(there.raw())) for call in there.calls(TIMELINES)] == [("5", 5)]
    there.pass_(hours=hours)
    there.run(1)
    there.run(1)
    assert there.stored() == set(ids)
    assert there.raw() == Counter(ids)
    assert [summary.post_count for summary in there.world.store.summaries(1)] == [0, news]
    there.assert_paid()


def test_a_preview_of_what_is_known_costs_nothing(there: There) -> None:
    there.post("11", HOUR)
    there.run(there.install())
    asked = len(there.calls())
    changed = jobs.install(there.world.context, jobs.Wish(names=("kaya",), frequency="daily"), agree, look=True)
    assert len(changed.preview) == 1
    assert len(there.calls()) == asked


def test_a_preview_that_cannot_be_had_stops_no_installation(there: There) -> None:
    there.x.do("fail", kind="spend_cap", path=TIMELINES)
    changed = jobs.install(there.world.context, jobs.Wish(names=("kaya",), frequency="daily"), agree, look=True)
    assert changed.preview == ()
    assert any(note.startswith("its first posts cannot be shown: the spend cap") for note in changed.notes)
    assert len(there.world.context.jobs()) == 1


# What is left out


def conversation(there: There) -> dict[str, str]:
    """A post of each kind, by kind."""
    (foreign,) = there.post("12", 3 * HOUR)
    (own,) = there.post("11", 2 * HOUR)
    return {
        "post": own,
        "thread": there.post("11", HOUR, replied_to=own)[0],
        "reply": there.post("11", HOUR, replied_to=foreign)[0],
        "repost": there.post("11", HOUR, retweeted=foreign)[0],
    }


def test_a_job_leaves_out_replies_and_reposts_and_keeps_threads(there: There) -> None:
    by_kind = conversation(there)
    job, other = there.install(excluded=FILTERED), there.install()
    there.run(job)
    assert there.news(job) == 2
    assert {"run 1: 1 reply left out", "run 1: 1 repost left out"} <= set(there.world.said)
    assert there.stored() >= set(by_kind.values())
    assert "exclude" not in there.calls(TIMELINES)[0]
    sold = there.raw()
    there.run(other)
    assert there.news(other) == 4
    assert there.raw() == sold


def test_what_x_leaves_out_is_a_feed_of_the_job_s_own(there: There) -> None:
    by_kind = conversation(there)
    plain = there.install()
    there.run(plain)
    before = there.world.store.feeds(plain)
    strict = there.install(excluded=FILTERED, excluded_at_source=True)
    there.run(strict)
    assert there.calls(TIMELINES)[-1]["exclude"] == "replies,retweets"
    assert there.news(strict) == 1
    assert there.world.store.feeds(plain) == before
    there.pass_(hours=1)
    fresh = there.post("11", HOUR / 2)
    for job in (plain, strict):
        there.run(job)
        assert there.news(job) == 1
    assert there.stored() >= {*by_kind.values(), *fresh}
    there.assert_paid()


def test_a_job_goes_over_to_another_filter_and_back(there: There) -> None:
    """Its digests go on where they were: neither told twice nor lost."""
    conversation(there)
    job, other = there.install(excluded=FILTERED), there.install()
    there.run(job)
    for at_source in (True, False, True):
        there.pass_(hours=1)
        there.post("11", HOUR / 2)
        there.run(other)
        jobs.update(there.world.context, job, jobs.Wish(excluded_at_source=at_source), there.agree)
        there.pass_(minutes=10)
        there.post("11", HOUR / 20)
        there.run(job)
        assert ("exclude" in there.calls(TIMELINES)[-1]) == at_source
        assert there.news(job) == 2
        there.run(other)
    jobs.update(there.world.context, job, jobs.Wish(excluded=(), excluded_at_source=False), there.agree)
    assert there.world.store.feeds(job) == there.world.store.feeds(other)
    assert len(there.calls(USERS)) == 1


# The first digest


def test_the_first_digest_covers_a_day_and_the_rest_is_stored(there: There) -> None:
    ids = there.post("11", HOUR, 23 * HOUR, 25 * HOUR, 6 * DAY, 8 * DAY)
    job = there.install(frequency="hourly", at="00:30")
    there.run(job)
    assert there.news(job) == 2
    assert "run 1: 2 posts that came before are stored, not summarised" in there.world.said
    assert there.stored() == set(ids[:4])
    other = there.install(frequency="hourly", at="00:30")
    there.run(other)
    assert there.news(other) == 2


def test_a_weekly_job_s_first_digest_covers_a_week(there: There) -> None:
    there.post("11", HOUR, 6 * DAY)
    job = there.install(frequency="weekly", at="Mon 08:00")
    there.run(job)
    assert there.news(job) == 2


def test_the_first_digest_looks_back_as_far_as_one_wants(there: There) -> None:
    there.post("11", HOUR, 25 * HOUR, 6 * DAY)
    # Time passes between what is typed and where it is looked at.
    there.world.on_the_way = lambda: there.world.pass_(milliseconds=1)
    job = there.install(since="7d")
    there.run(job)
    assert there.news(job) == 3
    with pytest.raises(UsageError, match="X is read 7 days back at most") as caught:
        there.install(since="8d")
    assert "x.look_back_days" in caught.value.hint


def test_what_a_first_walk_reads_later_is_no_longer_news(there: There) -> None:
    """The cap cuts it, and another account is not come to: the first digest has a few parts then."""
    there.configure(max_posts=5)
    job = there.install("kaya", "mira")
    there.post("11", *(number * HOUR for number in range(1, 9)), *(number * 25 * HOUR for number in range(1, 5)))
    there.post("12", HOUR, 25 * HOUR)
    counts = []
    for _ in range(5):
        there.run(job)
        counts.append(there.news(job))
        there.pass_(minutes=1)
    assert sum(counts) == 9
    assert there.run(job).error == ""
    assert len(there.stored()) == 14


def test_what_was_posted_while_first_runs_failed_is_news(there: There) -> None:
    job = there.install()
    there.x.do("fail", kind="credits", times=None)
    there.run(job, code=77)
    there.pass_(days=3)
    there.post("11", HOUR, 50 * HOUR)
    there.x.do("heal")
    there.run(job)
    assert there.news(job) == 2


# Budgets


def test_a_job_s_budget_is_minded_before_each_call(there: There) -> None:
    """A page of five may cost 5 * (1 + 2) posts, $0.075."""
    there.post("11", *(number * HOUR for number in range(1, 25)))
    job = there.install(budget=150_000)
    run = there.run(job)
    assert [call["max_results"] for call in there.calls(TIMELINES)] == ["10", "6"]
    why = "job 1's budget of $0.15 for November has $0.07 left, and the next call may cost $0.075"
    assert run.error == f"{why}; not read to the end: @Kaya"
    assert there.told(job)[1] == (run.error,)
    assert f"run 1: {run.error} (xtrack usage)" in there.world.said
    (status,) = outcomes.statuses(there.world.context, there.world.context.jobs())
    assert views.result(status, there.world.context.local) == "16 new, not all was read"
    there.assert_paid()
    there.run(job)
    assert there.told(job) == ("Nothing more was read", (run.error,))
    assert there.subject(job) == "Nothing more was read: @Kaya"
    assert len(there.calls(TIMELINES)) == 2
    there.world.now = datetime(2026, 12, 1, tzinfo=UTC)
    there.pass_()
    assert there.run(job).error == ""
    assert there.news(job) == 8
    assert there.told(job)[1] == ()
    there.assert_paid()


def test_what_grew_too_old_while_the_budget_was_used_up_is_named_to_each_reader_once(there: There) -> None:
    job, other = there.install(budget=0), there.install(budget=0)
    there.pass_(days=1)
    there.post("11", HOUR)
    for one in (job, other):
        there.run(one)
        assert there.told(one)[0] == "Nothing more was read"
        jobs.update(there.world.context, one, jobs.Wish(budget=-1), there.agree)
    there.pass_(days=9)
    gap = "posts of @Kaya from 2026-11-26 09:00 to 2026-11-29 09:00 UTC were not read: they are older than the 7 days"
    for one in (job, other):
        there.run(one)
        headline, (notice,) = there.told(one)
        assert notice.startswith(gap)
        assert headline == "Nothing more was read"
        there.run(one)
        assert there.told(one) == ("Nothing new", ())


def test_the_home_s_budget_is_for_all_jobs_together(there: There) -> None:
    there.configure(budget=0.15)
    there.post("11", *(number * HOUR for number in range(1, 21)))
    there.post("12", *(number * HOUR for number in range(1, 21)))
    first, second = there.install("kaya"), there.install("mira")
    assert there.run(first).error.startswith("the budget of $0.15 for November has $0.06")
    asked = len(there.calls())
    assert there.run(second).error.endswith("not read to the end: @mira")
    assert len(there.calls()) == asked
    assert spending(there.world.context, None).total.cost == 2 * 10_000 + 14 * 5_000
    there.assert_paid()


def test_a_call_that_fails_gives_back_what_was_set_aside(there: There) -> None:
    there.post("11", HOUR)
    job = there.install(budget=75_000)
    there.x.do("fail", kind="unauthorized", path=TIMELINES)
    there.run(job, code=77)
    there.assert_paid()
    there.run(job)
    assert there.news(job) == 1


# The cap


def test_accounts_take_turns_under_the_cap_and_walks_are_finished_first(there: There) -> None:
    there.configure(max_posts=5)
    job = there.install("kaya", "mira", "quiet_one", since="7d")
    ids = {author: there.post(author, *(number * HOUR for number in range(1, 8))) for author in ("11", "12", "13")}
    run = there.run(job)
    assert run.error == (
        "5 posts were read, the most of one run; the next one reads on from there; not read to the end:"
        " @Kaya, @mira, @quiet_one"
    )
    assert there.news(job) == 5
    assert there.told(job)[1] == (run.error,)
    there.pass_(hours=1)
    there.post("11", HOUR / 2)
    there.run(job)
    there.pass_(hours=1)
    there.run(job)
    assert {author: len(there.stored() & set(found)) for author, found in ids.items()} == {"11": 5, "12": 5, "13": 5}
    while there.run(job).error:
        there.pass_(hours=1)
    asked = [call.get("until_id") for call in there.calls(TIMELINES, of="/11/")]
    assert asked[:3] == [None, ids["11"][4], None]
    assert len(there.stored()) == 22
    assert max(there.raw().values()) == 1
    assert sum(summary.post_count for summary in there.world.store.summaries(job)) == 22
    there.assert_paid()


# Accounts that are lost


LOST = {
    "suspended": "@mira is suspended at X",
    "gone": "@mira is gone from X",
    "protected": "@mira is protected, and cannot be read",
}


@pytest.mark.parametrize("state", LOST)
def test_an_account_that_is_lost_is_told_each_time_and_the_others_go_on(there: There, state: str) -> None:
    job = there.install("kaya", "mira")
    there.x.do("change", account="12", state=state)
    there.post("11", HOUR)
    there.run(job)
    assert there.news(job) == 1
    assert there.told(job)[1] == (LOST[state],)
    assert f"run 1: {LOST[state]}" in there.world.said
    there.run(job)
    assert there.told(job) == ("Nothing new from 1 of 2 accounts", (LOST[state],))
    assert there.subject(job) == "Nothing new from 1 of 2 accounts: @Kaya, @mira"
    statuses = outcomes.statuses(there.world.context, there.world.context.jobs())
    assert f"0 new; {LOST[state]}" in views.jobs_table(statuses, there.world.context.local)
    assert views.job_json(statuses[0])["lost_accounts"] == [{"id": "12", "name": "mira", "state": state}]
    there.x.do("change", account="11", state=state)
    there.run(job)
    assert there.told(job)[0] == "Nothing could be read"
    assert there.subject(job) == "Nothing could be read: @Kaya, @mira"
    for account in ("11", "12"):
        there.x.do("change", account=account, state="ok")
    there.run(job)
    assert there.told(job) == ("Nothing new", ("@Kaya can be read again", "@mira can be read again"))
    there.run(job)
    assert there.told(job) == ("Nothing new", ())
    there.assert_paid()


def test_a_lost_account_and_a_pause_in_one_digest(there: There) -> None:
    there.configure(max_posts=5)
    job = there.install("kaya", "mira", "quiet_one")
    there.x.do("change", account="11", state="suspended")
    there.post("12", *(number * HOUR for number in range(1, 6)))
    run = there.run(job)
    assert there.told(job) == ("5 new posts by @mira", ("@Kaya is suspended at X", run.error))
    assert run.error.endswith("not read to the end: @quiet_one")


def test_a_job_with_a_lost_account_can_still_be_changed(there: There) -> None:
    job = there.install("kaya", "mira", excluded=FILTERED)
    there.x.do("change", account="12", state="gone")
    there.run(job)
    jobs.update(there.world.context, job, jobs.Wish(excluded_at_source=True), there.agree)
    assert {feed.spec for feed in there.world.store.feeds(job)} == {f"{n}?exclude=replies,reposts" for n in (11, 12)}


# Several at once


def test_two_jobs_on_one_account_buy_each_post_once(there: There) -> None:
    ids = there.post("11", *(number * HOUR for number in range(1, 9)))
    first, second = there.install(), there.install()
    there.run(first)
    there.pass_(days=1)
    there.run(second)
    there.run(first)
    assert there.raw() == Counter(ids)
    assert there.news(second) == 0
    there.assert_paid()


def test_processes_that_run_at_once_buy_each_post_once(there: There) -> None:
    names = ("kaya", "mira")
    for author in ("11", "12"):
        there.post(author, *(number * HOUR / 10 for number in range(1, 131)))
    numbers = [there.install(*names) for _ in range(4)]
    there.world.context.close()

    def work(job_id: int) -> None:
        own = World(there.world.home, START)
        assert run_job(own.context, job_id, "typed") == 0
        own.context.close()

    all_at_once([partial(work, number) for number in numbers])
    after = There(there.x, World(there.world.home, START))
    assert [after.news(number) for number in numbers] == [260] * 4
    assert Counter(after.raw().values()) == {1: 260}
    after.assert_paid()
    after.world.context.close()


# Errors


def due(there: There) -> int:
    """A daily job whose slot has come."""
    job = there.install(at="11:00")
    there.pass_(hours=1)
    return job


REFUSALS = {
    "spend_cap": ("the spend cap at X is reached: it sells nothing more until 2027-02-01", "raise it at"),
    "credits": ("there are no credits left at X", "buy some at"),
    "usage_cap": ("the monthly cap of the app at X is reached", "or wait for the next billing cycle"),
    "unauthorized": ("X does not know this token (HTTP 401)", "set x.token"),
    "client_forbidden": ("X does not let this app in", "it must be the bearer token of an app"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_ends_the_slot_and_says_what_to_do(there: There, kind: str) -> None:
    error, hint = REFUSALS[kind]
    job = due(there)
    there.x.do("fail", kind=kind, times=None)
    run = there.run(job, "timer", code=77)
    assert run.error.startswith(error)
    assert run.next_try is None
    assert there.world.said[-1].startswith(f"run 1: failed: {run.error} (")
    assert hint in there.world.said[-1]
    asked = len(there.calls())
    there.run(job, "timer")
    assert len(there.calls()) == asked
    there.x.do("heal")
    there.post("11")
    there.pass_(days=1)
    assert there.run(job, "timer").new_posts == 1


def test_a_window_that_opens_soon_is_waited_for(there: There) -> None:
    job = due(there)
    there.x.do("fail", kind="window", reset_in=100)
    there.run(job, "timer")
    assert there.world.now == START + HOUR + timedelta(seconds=100)
    assert "run 1: X takes no more requests until 2026-11-26 10:01 UTC: waiting" in there.world.said


def test_a_window_that_opens_late_is_when_it_is_tried_again(there: There) -> None:
    job = due(there)
    there.x.do("fail", kind="window", reset_in=800)
    run = there.run(job, "timer", code=75)
    opens = START + HOUR + timedelta(seconds=800)
    assert run.next_try == opens
    assert there.world.said[-1].endswith("; tried again Thu 2026-11-26 11:13 CET")
    attempts = there.world.store.attempts(job, START + HOUR)
    assert not ledger.is_to_be_tried(attempts, opens - timedelta(minutes=2))
    assert ledger.is_to_be_tried(attempts, opens)
    there.pass_(seconds=700)
    there.run(job, "timer")
    assert len(there.calls(TIMELINES)) == 1
    there.pass_(seconds=100)
    there.run(job, "timer")
    assert len(there.calls(TIMELINES)) == 2
    assert there.told(job)[0] == "Nothing new"


def test_an_outage_is_tried_again_after_five_minutes(there: There) -> None:
    job = due(there)
    there.x.do("fail", kind="html_503", times=None)
    begun = there.world.now
    run = there.run(job, "timer", code=75)
    assert run.error == "X cannot answer now (HTTP 503)"
    assert begun < there.world.now <= begun + timedelta(seconds=10)
    assert run.next_try == there.world.now + timedelta(minutes=5)
    assert there.world.said.count("run 1: X cannot answer now (HTTP 503): waiting") == 1
    there.x.do("heal")
    (post,) = there.post("11")
    there.pass_(minutes=5)
    assert there.run(job, "timer").new_posts == 1
    assert there.stored() == {post}


def test_what_came_before_a_failure_is_in_the_next_digest(there: There) -> None:
    job = there.install("kaya", "mira")
    ids = [*there.post("11", HOUR), *there.post("12", HOUR)]
    there.x.do("fail", kind="credits", path=TIMELINES, after=1)
    there.run(job, code=77)
    assert there.stored() == {ids[0]}
    there.x.do("heal")
    there.run(job)
    assert there.news(job) == 2
    there.assert_paid()


def test_an_account_that_cannot_be_understood_keeps_no_other_from_being_read(there: There) -> None:
    job = there.install("kaya", "mira", "quiet_one")
    ids = [*there.post("12", HOUR), *there.post("13", HOUR)]
    there.x.do("fail", kind="other_shape", path="/2/users/11/.*", times=None)
    for _ in range(2):
        there.run(job, code=75)
    assert there.stored() == set(ids)


# What it costs, in words


def test_a_job_s_cost_and_budgets_that_may_not_last(there: There) -> None:
    for account in ("11", "12"):
        there.post(account, *(number * HOUR for number in range(10)))
    there.configure(budget=20)
    wish = jobs.Wish(names=("kaya", "mira"), frequency="daily", budget=2_000_000, excluded=FILTERED)
    changed = jobs.install(there.world.context, wish, agree)
    assert changed.cost
    assert changed.cost.high == 2 * changed.cost.low > 2_000_000
    notes = "\n".join(changed.notes)
    assert "replies and reposts are left out after they were bought; --exclude-at-source saves that" in notes
    assert "the job's budget of $2.00 a month may be used up before its end" in notes
    assert ("the home's budget" in notes) == (changed.cost.high > 20_000_000)
    each = jobs.Wish(names=("kaya", "mira"), frequency="daily", budget=changed.cost.high - 1)
    assert "the job's" not in "\n".join(jobs.install(there.world.context, each, agree, each=True).notes)


def test_the_bill_by_job_also_of_one_that_is_gone(there: There) -> None:
    there.post("11", HOUR, 2 * HOUR, media=[{"type": "photo"}])
    there.post("12", HOUR)
    there.configure(budget=5)
    first, second = there.install("kaya", budget=2_000_000), there.install("mira")
    there.run(first)
    there.run(second)
    jobs.delete(there.world.context, [second])
    found = spending(there.world.context, None)
    told = views.spending_json(found)
    sums = [(one["job"], one["posts"], one["users"], one["media"], one["cost"]) for one in told["jobs"]]
    assert sums == [(0, 0, 2, 0, 0.02), (first, 2, 0, 0, 0.01), (second, 1, 0, 0, 0.005)]
    assert told["total"]["cost"] == 0.035
    assert (told["total"]["budget"], told["jobs"][1]["budget"]) == (5.0, 2.0)
    lines = views.spending_text(found).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *("Bought in 2026-11 (UTC)", "JOB", "-", "1", "2", "all"),
        "Prices at X of 2026-08-01: $0.005 a post, $0.01 a user, $0.005 a photo or video",
    ]
    assert "(deleted)" in lines[4]
    assert "$2.00" in lines[3]
    there.pass_(days=10)
    assert spending(there.world.context, None).total.cost == 0
    assert spending(there.world.context, "2026-11").total.cost == 35_000
    there.assert_paid()


# The commands themselves


@pytest.fixture
def real(x: X, xtrack: Command) -> Command:
    """The command in a home that reads X, where the time is the machine's; a dozen accounts have a post each."""
    x.do("reset")
    for number in range(12):
        x.do("account", account_id=str(20 + number), username=f"boat_{number}")
        x.do("post", author=str(20 + number), words=f"Boat {number} leaves the harbour late today.")
    xtrack.configure(f'[x]\ntoken = "{x.token}"\nbase_url = "{x.url}"\n')
    return xtrack


def names(count: int) -> Sequence[str]:
    return [f"@boat_{number}" for number in range(count)]


def test_many_names_are_looked_up_after_a_yes_only(x: X, real: Command) -> None:
    no = real("install-job", *names(11), "--every", "daily")
    assert no.code == 130
    assert "Looking up 11 names at X costs $0.11 at most." in no.err
    assert "nothing was done, for want of a yes" in no.err
    assert x.do("ledger") == []
    assert real.job_count() == 0
    yes = real.good("install-job", *names(11), "--every", "daily", "--yes", "--budget", "0.01")
    assert re.search(r"^Cost: \$[\d.]+ to \$[\d.]+ a month, by about \S+ posts a day so far$", yes.out, re.MULTILINE)
    assert "Note: the job's budget of $0.01 a month may be used up before its end" in yes.err
    assert len(x.do("ledger")) == 1
    update = real("update-job", "1", "@boat_1", "@nobody_here")
    assert (update.code, update.err.splitlines()[1]) == (66, "xtrack: there is no @nobody_here at X")


def test_a_token_that_only_the_shell_knows_is_told_when_a_job_at_x_is_made_or_changed(x: X, real: Command) -> None:
    told = (
        "Note: only the environment knows XTRACK_X_TOKEN: a run sees it where xtrack run-due is called with it; "
        f"elsewhere put x.token into {real.home}/config.toml"
    )
    assert told not in real.good("install-job", *names(1), "--every", "daily", XTRACK_X_TOKEN=x.token).err
    real.configure(f'[x]\nbase_url = "{x.url}"\n')
    for words in (("install-job", *names(2), "--every", "daily"), ("update-job", "1", "--at", "07:30")):
        assert told in real.good(*words, XTRACK_X_TOKEN=x.token).err.splitlines()
    job = str(real.installed())
    assert told not in real.good("update-job", job, "--topic", "ferry", XTRACK_X_TOKEN=x.token).err


def test_without_a_terminal_each_step_is_a_line_with_the_run_s_number(x: X, real: Command) -> None:
    real.good("install-job", *names(2), "--every", "daily")
    x.do("fail", kind="window", reset_in=1, path=TIMELINES)
    lines = real.good("run-job", "1").err.splitlines()
    assert all(line.startswith("run 1: ") for line in lines)
    assert [re.sub(r"\d\d\d\d-.*|\$.*", "…", line) for line in lines[:-1]] == [
        "run 1: job 1, by hand",
        "run 1: X takes no more requests until …",
        "run 1: @boat_0: 1 post fetched for …",
        "run 1: @boat_1: 1 post fetched for …",
    ]
    assert lines[-1].startswith("run 1: summary 1: 2 new posts by 2 accounts; next run ")
    run = real("run-job", "1", XTRACK_X_TOKEN="another")
    assert run.code == 77
    assert "run 2: failed: X does not know this token (HTTP 401) (set x.token" in run.err


def test_a_terminal_shows_how_far_it_is(real: Command) -> None:
    real.good("install-job", *names(1), "--every", "daily")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "xtrack", "run-job", "1"]
    environ = {**real.environ, "TERM": "xterm"}
    with subprocess.Popen(command, env=environ, cwd=real.folder, stdin=follower, stderr=follower) as process:
        os.close(follower)
        shown = b"".join(iter(partial(_read, leader), b"")).decode()
    os.close(leader)
    assert process.returncode == 0
    assert re.search(r"\r\x1b\[K@boat_0: page 1, 0 posts, \d+ s\r\x1b\[K@boat_0: page 1, 1 post, \d+ s\r\x1b\[K", shown)
    assert shown.splitlines()[-1].startswith("\x1b[Krun 1: summary 1: 1 new post by @boat_0")


def _read(leader: int) -> bytes:
    """What a terminal shows; at the end of whoever writes, Linux says that it cannot be read."""
    try:
        return os.read(leader, 4096)
    except OSError:
        return b""


def test_the_bill_as_it_is_typed(real: Command) -> None:
    real.good("install-job", *names(1), "--every", "daily", "--preview")
    assert [one["users"] for one in real.good("usage", "--json").json["jobs"]] == [1, 0]
    assert "-  (names looked up)" in real.good("usage").out
    assert real("usage", "--month", "0001-01").complaint(2) == "xtrack: '0001-01' is no month"
