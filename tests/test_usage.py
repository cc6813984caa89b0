"""What is bought, for whom, and what may still be bought; accounts, their names and states."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import NOON, World, post
from tests.processes import all_at_once
from tests.test_store import HOUR, QUIET, added, started
from xtrack import upkeep
from xtrack.errors import Paused
from xtrack.models import Account, AccountState, Bill, Bought, FeedSpec, Job, Page, Resource, Sighting
from xtrack.spending import spending
from xtrack.store import Store
from xtrack.store.database import RunGone

DAY = timedelta(days=1)
DOLLAR = 1_000_000
TIMELINE = FeedSpec("x", "7", "7")
PRICES: dict[Resource, int] = {"post": 5000, "user": 10000, "media": 0}


@pytest.fixture
def store(world: World) -> Store:
    return world.store


def bill(*ids: str, job: int = 1, at: datetime = NOON, resource: Resource = "post", reservation: int = 0) -> Bill:
    return Bill(reservation, job, at, {Bought(resource, one): PRICES[resource] for one in ids})


def bought(store: Store, month: str = "2027-01") -> dict[tuple[int, str], tuple[int, int]]:
    """Count and cost by job and resource."""
    return {(row.job_id, row.resource): (row.count, row.cost) for row in store.usage([month])}


def account(username: str = "kaya", state: AccountState = "ok", at: datetime = NOON, number: str = "7") -> Account:
    return Account(number, username, username.title(), state, at, 4.0)


def watching(store: Store, **changes: object) -> Job:
    """A job that reads account 7."""
    return added(store, TIMELINE, names=("kaya",), **changes)


def told(store: Store, job: Job) -> list[str]:
    """What the job's next digest tells its readers, once."""
    notices = store.notices(job.id)
    store.finish_run(started(store, job), QUIET, 0, {}, None, NOON, {one.feed_id: one.id for one in notices})
    return [one.text for one in notices]


# Bought once a UTC day


def test_a_thing_is_bought_once_a_utc_day_whoever_fetches_it(store: Store) -> None:
    late = datetime(2027, 1, 24, 23, 59, tzinfo=UTC)
    store.settle(bill("1", "2", at=late))
    store.settle(bill("2", "3", at=late, job=2))
    store.settle(bill("7", at=late, resource="user"))
    assert bought(store) == {(1, "post"): (2, 10000), (1, "user"): (1, 10000), (2, "post"): (1, 5000)}
    store.settle(bill("2", "3", at=late + timedelta(minutes=2)))
    assert bought(store)[1, "post"] == (4, 20000)


def test_months_are_those_of_utc(store: Store) -> None:
    store.settle(bill("1", at=datetime(2026, 11, 30, 23, 59, tzinfo=UTC)))
    store.settle(bill("2", at=datetime(2026, 12, 1, tzinfo=UTC)))
    assert [row.month for row in store.usage(["2026-12", "2026-11"])] == ["2026-11", "2026-12"]


def test_what_was_bought_is_forgotten_but_for_the_bill(world: World) -> None:
    world.store.settle(bill("1"))
    world.store.settle(bill("2", at=NOON + 5 * DAY))
    assert world.sql("SELECT id FROM bought") == [{"id": "2"}]
    assert bought(world.store)[1, "post"] == (2, 10000)


def test_a_page_is_stored_with_its_bill_or_not_at_all(store: Store) -> None:
    job = watching(store)
    (feed,) = store.feeds(job.id)
    store.add_page(started(store, job), feed.id, Page((post(1),), "c"), bill("1", "2", job=job.id))
    assert bought(store) == {(job.id, "post"): (2, 10000)}


def test_a_page_that_came_too_late_was_bought_all_the_same(store: Store) -> None:
    job = watching(store)
    (feed,), run = store.feeds(job.id), started(store, job)
    store.delete_jobs([job.id])
    with pytest.raises(RunGone):
        store.add_page(run, feed.id, Page((post(1),), "c"), bill("1", job=job.id))
    assert bought(store) == {(job.id, "post"): (1, 5000)}


# Budgets


def reserve(
    store: Store,
    job: int = 0,
    each: int = 10000,
    least: int = 1,
    most: int = 100,
    budget: int | None = None,
    now: datetime = NOON,
) -> tuple[int, int]:
    return store.reserve(job, each, least, most, budget, now)


def test_without_a_budget_nothing_is_set_aside(world: World) -> None:
    assert reserve(world.store) == (0, 100)
    assert reserve(world.store, each=0, budget=0) == (0, 100)
    assert world.sql("SELECT * FROM reservations") == []


def test_a_call_may_cost_what_is_left(store: Store) -> None:
    assert reserve(store, budget=DOLLAR)[1] == 100
    assert reserve(store, budget=DOLLAR + 50000)[1] == 5
    with pytest.raises(Paused, match=r"^the budget of \$1.05 for January has \$0.00 left, and the next call may cost"):
        reserve(store, budget=DOLLAR + 50000)


def test_what_was_spent_this_month_counts(store: Store) -> None:
    store.settle(bill("1", "2", "3"))
    store.settle(bill(*"456789", at=NOON - 30 * DAY))
    assert reserve(store, budget=25000)[1] == 1
    with pytest.raises(Paused):
        reserve(store, budget=24999 + 10000, now=NOON)
    assert reserve(store, budget=24999 + 10000, now=NOON + 30 * DAY)[1] == 3


def test_a_bill_takes_the_place_of_what_was_set_aside(store: Store) -> None:
    reservation, _ = reserve(store, budget=DOLLAR, least=100)
    with pytest.raises(Paused):
        reserve(store, budget=DOLLAR)
    store.settle(bill("1", reservation=reservation))
    assert reserve(store, budget=DOLLAR, each=5000, most=1000)[1] == 199


def test_a_call_that_brought_nothing_gives_it_back(store: Store) -> None:
    reservation, _ = reserve(store, budget=DOLLAR, least=100)
    store.release(reservation)
    assert reserve(store, budget=DOLLAR)[1] == 100


@pytest.mark.parametrize("later", [timedelta(minutes=71), -timedelta(days=400)])
def test_what_a_process_that_died_set_aside_comes_back(store: Store, later: timedelta) -> None:
    """Also where the clock was wrong when it did."""
    reserve(store, budget=DOLLAR, least=100)
    assert reserve(store, budget=DOLLAR, now=NOON + later)[1] == 100


def test_a_job_has_a_budget_of_its_own_below_the_homes(store: Store) -> None:
    job, other = watching(store, budget=50000), watching(store)
    assert reserve(store, job.id, budget=DOLLAR)[1] == 5
    with pytest.raises(Paused, match=rf"^job {job.id}'s budget of \$0.05 for January"):
        reserve(store, job.id, budget=DOLLAR)
    assert reserve(store, other.id, budget=DOLLAR)[1] == 95
    store.settle(bill("1", "2", job=job.id))
    assert reserve(store, job.id, budget=None, each=5000, now=NOON + 2 * HOUR)[1] == 8


def test_many_processes_never_set_aside_more_than_there_is(store: Store) -> None:
    def work(_: int) -> None:
        with Store(store.path) as other:
            for _ in range(3):
                try:
                    reserve(other, budget=1_050_000, least=5, most=7)
                except Paused:
                    continue

    all_at_once([partial(work, number) for number in range(8)])
    with Store(store.path) as other:
        (sums,) = other.all("SELECT sum(cost), count(*) FROM reservations")
    assert tuple(sums) == (1_050_000, 15)


# Accounts


def test_a_name_is_known_in_any_case_and_by_who_has_it_last(store: Store) -> None:
    store.add_accounts([account("Kaya"), account("kaya", at=NOON + HOUR, number="8")], {}, bill(job=0))
    assert store.accounts_named(["KAYA", "nobody"])["kaya"].id == "8"


def test_another_name_is_told_to_whoever_reads_the_account_and_stays(store: Store) -> None:
    store.add_accounts([account()], {}, bill(job=0))
    job, other = watching(store), added(store, TIMELINE, names=("mira", "Kaya"))
    (feed,) = store.feeds(job.id)
    page = Page((), "c", sightings=(Sighting("7", "kaya_b", NOON + HOUR), Sighting("9", "stranger", NOON + HOUR)))
    store.add_page(None, feed.id, page, bill(job=job.id))
    assert [store.job(one.id, NOON).names for one in (job, other)] == [("kaya_b",), ("mira", "kaya_b")]
    assert told(store, job) == ["@kaya is called @kaya_b now"]
    assert told(store, job) == []
    assert told(store, other) == ["@kaya is called @kaya_b now"]
    assert told(store, watching(store)) == []


def test_a_name_of_an_older_post_is_no_news(store: Store) -> None:
    store.add_accounts([account("kaya_b")], {}, bill(job=0))
    (feed,) = store.feeds(watching(store).id)
    store.add_page(None, feed.id, Page((), "c", sightings=(Sighting("7", "kaya", NOON - HOUR),)), bill())
    assert store.accounts_named(["kaya_b"])["kaya_b"].id == "7"


def test_an_account_is_lost_and_found(store: Store) -> None:
    store.add_accounts([account()], {}, bill(job=0))
    job = watching(store)
    (feed,) = store.feeds(job.id)
    for _ in range(2):
        store.add_page(None, feed.id, Page((), None, state="suspended"), bill())
    assert [one.said for one in store.lost_accounts()[job.id]] == ["@kaya is suspended at X"]
    assert told(store, job) == ["@kaya is suspended at X"]
    store.add_page(None, feed.id, Page((), "c", state="ok"), bill())
    assert store.lost_accounts() == {}
    assert told(store, job) == ["@kaya can be read again"]


def test_names_are_due_after_a_while(store: Store) -> None:
    store.add_accounts([account(), account("mira", number="8")], {}, bill(job=0))
    job = watching(store)
    assert store.accounts_checked_before(job.id, NOON) == {}
    assert store.accounts_checked_before(job.id, NOON + HOUR) == {"x": ["7"]}
    store.add_accounts([], {"7": "gone"}, bill(job=job.id, at=NOON + HOUR))
    assert store.accounts_checked_before(job.id, NOON + HOUR) == {}
    assert [one.state for one in store.lost_accounts()[job.id]] == ["gone"]


# What a month comes to


def test_the_month_by_job_and_what_it_comes_to(world: World) -> None:
    """Half-way through a month after a whole one: as much again is to come."""
    world.now = datetime(2026, 11, 16, tzinfo=UTC)
    world.store.add_accounts([account()], {}, bill("7", job=0, resource="user", at=datetime(2026, 10, 1, tzinfo=UTC)))
    job = watching(world.store, budget=2 * DOLLAR)
    for day in range(46):
        world.store.settle(
            bill(str(day), str(day + 100), job=job.id, at=datetime(2026, 10, 1, 1, tzinfo=UTC) + day * DAY)
        )
    found = spending(world.context, None)
    assert [(spent.job_id, spent.counts["post"], spent.cost, spent.budget) for spent in found.jobs] == [
        (job.id, 30, 150000, 2 * DOLLAR)
    ]
    assert found.total.cost == 150000
    assert found.total.budget is None
    assert found.jobs[0].forecast == pytest.approx(300000, rel=0.02)
    before = spending(world.context, "2026-10")
    assert [(spent.job_id, spent.cost, spent.forecast) for spent in before.jobs] == [
        (0, 10000, None),
        (1, 310000, None),
    ]


def test_a_first_read_of_a_week_is_not_taken_for_a_days(world: World) -> None:
    world.now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    job = watching(world.store)
    world.store.settle(bill(*map(str, range(70)), job=job.id, at=world.now))
    forecast = spending(world.context, None).jobs[0].forecast
    assert forecast == pytest.approx(70 * 5000 + 10 * 14.5 * 5000, rel=0.01)


def test_the_bill_outlives_the_job(world: World) -> None:
    job = watching(world.store)
    world.store.settle(bill("1", job=job.id))
    world.store.delete_jobs([job.id])
    (spent,) = spending(world.context, None).jobs
    assert (spent.job, spent.cost) == (None, 5000)


def test_a_reservation_is_not_anothers(store: Store) -> None:
    first, _ = reserve(store, budget=DOLLAR, least=50, most=50)
    second, _ = reserve(store, budget=DOLLAR, least=50, most=50)
    assert first != second
    store.settle(replace(bill(), reservation=first))
    assert reserve(store, budget=DOLLAR)[1] == 50


def test_a_restore_forgets_nothing_that_was_bought(world: World, tmp_path: Path) -> None:
    """Nor does it buy anything of that day again, or spend what the budget has no more."""
    world.store.settle(bill("1"))
    upkeep.back_up(world.context, tmp_path / "copy.db")
    world.store.settle(bill("2", "3"))
    world.store.settle(bill("7", resource="user"))
    upkeep.restore(world.context, tmp_path / "copy.db")
    assert bought(world.store) == {(1, "post"): (3, 15000), (1, "user"): (1, 10000)}
    world.store.settle(bill("1", "2", "3", "4"))
    assert bought(world.store)[1, "post"] == (4, 20000)
