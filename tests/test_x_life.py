"""Random lives of accounts at X, seen by random runs: every post is stored once, in its final text, and paid for once.

Runs meet new posts, edits, deletions, renames and every failure that passes; the cap and the budget cut them short. The
fake of X tells in the end what it showed and what it sold.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from tests.conftest import World, agree, write_config
from tests.peers.x import X
from tests.peers.x_life import LASTING, PASSING, Life, Shown
from xtrack import jobs
from xtrack.config import Home
from xtrack.jobs import Wish
from xtrack.run import run_job

START = datetime(2026, 11, 26, 9, tzinfo=UTC)
RUNS = 20
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def x() -> Iterator[X]:
    with X() as x:
        yield x


def configured(home: Home, x: X, **settings: object) -> World:
    """A home that reads the fake."""
    told = {"token": x.token, "base_url": x.url, **settings}
    lines = [f"{key} = {value!r}" for key, value in told.items()]
    write_config(home.config, "\n".join(["[x]", *lines]))
    return World(home, now=START)


def stored(world: World) -> dict[str, dict[str, Any]]:
    """The posts that a feed brought, by id; a post that two brought would be there twice."""
    rows = world.sql(
        "SELECT posts.*, account_id FROM arrivals JOIN posts ON posts.id = post_id JOIN feeds ON feeds.id = feed_id"
    )
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def assert_is(row: dict[str, Any], post: Shown) -> None:
    """The post is stored as its timeline shows it. Whom it shows may be gone from X since it was read."""
    assert (row["account_id"], row["kind"], row["text"]) == (post.author_id, post.kind, post.words)


def gaps(world: World) -> list[tuple[str, datetime, datetime]]:
    """The times whose posts were too old once they could be read, as readers were told, by account."""
    rows = world.sql("SELECT text, account_id FROM notices JOIN feeds ON feeds.id = feed_id")
    found = [
        (row["account_id"], re.search(r"from (\S+ \S+) to (\S+ \S+) UTC were not read", row["text"])) for row in rows
    ]
    return [(account, *(datetime.fromisoformat(f"{at}Z") for at in told.groups())) for account, told in found if told]


def is_in(gaps: list[tuple[str, datetime, datetime]], post: Shown) -> bool:
    return any(of == post.author_id and begin <= post.at < end + MINUTE for of, begin, end in gaps)


def assert_paid(world: World, x: X) -> None:
    """What `usage` counts is what left X in whole answers, each thing once a UTC day."""
    once = x.do("sold")["once"]
    sold = {kind: sum(map(len, days.values())) for kind, days in once.items()}
    counted = {row["resource"]: row["n"] for row in world.sql("SELECT resource, sum(count) AS n FROM usage GROUP BY 1")}
    assert counted == {kind: count for kind, count in sold.items() if count}


@pytest.mark.parametrize("seed", range(200 // RUNS))
def test_every_post_of_a_random_life_is_stored_once_and_paid_once(x: X, home: Home, seed: int) -> None:
    random = Random(seed)
    vocabulary = random.choice(("new", "legacy", "mixed", "asked"))
    life = Life(x, seed, START, vocabulary=vocabulary, ragged=random.random() < 0.3)
    life.live(random.randint(0, 20))
    world = configured(home, x, max_posts=random.choice((5, 12, 1000)))
    world.now = life.now
    names = tuple(life.usernames().values())
    (job, _), *_ = jobs.install(world.context, Wish(names=names, frequency="hourly"), agree).jobs
    seen: dict[str, Shown] = {}
    for _ in range(RUNS):
        life.live(random.randint(1, 8), pause=timedelta(hours=random.choice((1, 1, 8))))
        world.now = life.now
        if random.random() < 0.4:
            life.order_failure(random.choice((PASSING, PASSING, LASTING)))
        code = run_job(world.context, job.id, "typed")
        assert code in (0, 75, 77), world.said
        if random.random() < 0.5:
            x.do("heal")
        if is_finished(world):
            seen.update(life.shown())
    x.do("heal")
    for _ in range(100):
        world.pass_(seconds=1)
        assert run_job(world.context, job.id, "typed") == 0, world.said
        if is_finished(world):
            break
    posts, shown = stored(world), life.shown()
    for post in shown.values():
        if post.first_id in posts:
            assert_is(posts[post.first_id], post)
    # Whatever was there when a run had read all is kept, also once it is deleted.
    assert posts.keys() >= seen.keys()
    missing = [post for post in shown.values() if post.first_id not in posts]
    assert all(is_in(gaps(world), post) for post in missing)
    assert_paid(world, x)
    # A month later names are looked up again.
    world.now = life.now + timedelta(days=31)
    x.do("clock", now=world.now.isoformat(), frozen=True)
    assert run_job(world.context, job.id, "typed") == 0, world.said
    called = {row["id"]: row["username"] for row in world.sql("SELECT id, username FROM accounts")}
    assert called == life.usernames()
    assert world.context.job(job.id).names == tuple(called.values())
    assert_paid(world, x)


def is_finished(world: World) -> bool:
    """Whether the newest run has read every timeline to its end."""
    rows = world.sql("SELECT read_at, (SELECT max(started_at) FROM runs) AS started FROM feeds")
    return all(row["read_at"] and row["read_at"] >= row["started"] for row in rows)
