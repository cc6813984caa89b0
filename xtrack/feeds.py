"""What a job is to read: sources are tried, accounts looked up, before it is stored; and what that may cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from os import environ
from pathlib import Path

from xtrack import locks
from xtrack.access import JobAccess
from xtrack.context import Context
from xtrack.errors import NotFound, Temporary, UsageError
from xtrack.models import Account, AccountState, Feed, FeedSpec, Job, Post, PostKind
from xtrack.money import shown
from xtrack.settings import X, load
from xtrack.sources import AccountKind, account_kind, open_source, preview

# More names than these are a batch, which is looked up only after somebody said yes to its price.
_FEW = 10
_PREVIEW_POSTS = 3
_SMALLEST_PAGE = 5
_MONTH_DAYS = 365.25 / 12
# Whether a price is agreed to: what for, and whether somebody has to say yes. Raises to say no.
Agree = Callable[[str, bool], None]


@dataclass(frozen=True)
class Watched:
    """The names as their owners write them, the feed of each or the one of all, the first posts where they cost
    nothing, and the account of each name.
    """

    names: tuple[str, ...]
    feeds: tuple[FeedSpec, ...]
    first: tuple[Post, ...] = ()
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What a job may cost a month, in millionths of a dollar: from `low`, its posts alone, to `high`, where each of
    them brings another one with it.
    """

    low: int
    high: int
    posts_a_day: float


def watch(
    context: Context,
    kind: str,
    spec: str,
    names: Sequence[str],
    excluded: Sequence[PostKind],
    since: datetime | None,
    agree: Agree,
    now: datetime,
) -> Watched:
    """Try what a job is to read, as a run would see it. `excluded` are the kinds of posts that the source leaves out.

    Raises NotFound for names that nobody has, as Source.check does, and what `agree` raises.
    """
    accounts = account_kind(kind)
    if accounts is None:
        if excluded:
            raise _leaves_nothing_out()
        return Watched(tuple(names), (FeedSpec(kind, spec),), tuple(_try(context, kind, spec, names, since)))
    if not names:
        raise UsageError("whom is it to watch?", "name accounts, @NAME, or another --source")
    settings = load(context.home, environ)
    if since and since < now - settings.x.look_back:
        raise UsageError(
            f"X is read {settings.x.look_back.days} days back at most", f"x.look_back_days in {context.home.config}"
        )
    return _watching(kind, accounts, _look_up(context, accounts, names, agree), excluded, now)


def watch_on(context: Context, kind: str, job: Job, excluded: Sequence[PostKind], now: datetime) -> Watched:
    """What a job reads already, but for the kinds of posts that the source leaves out; nobody is looked up."""
    accounts = account_kind(kind)
    if accounts is None:
        raise _leaves_nothing_out()
    return _watching(kind, accounts, context.store.accounts(job.id), excluded, now)


def _watching(
    kind: str, accounts: AccountKind, found: Sequence[Account], excluded: Sequence[PostKind], now: datetime
) -> Watched:
    begin = accounts.start(now)
    feeds = tuple(FeedSpec(kind, accounts.spec_of(one.id, excluded), one.id, begin) for one in found)
    return Watched(tuple(one.username for one in found), feeds, accounts=tuple(found))


def _leaves_nothing_out() -> UsageError:
    return UsageError("this source leaves nothing out by itself", "--exclude alone leaves it out of digests")


def _try(context: Context, kind: str, spec: str, names: Sequence[str], since: datetime | None) -> Sequence[Post]:
    """Try a source as a run would see it; a spec that is an absolute path is a file. Gives its first posts."""
    if spec.startswith("/"):
        context.backend.see(Path(spec))
    try:
        source = open_source(kind, spec)
        source.check(tuple(names))
        return preview(source, names, context.clock(), since)
    except Temporary as error:
        raise NotFound(str(error), error.hint) from error


def _look_up(context: Context, kind: AccountKind, names: Sequence[str], agree: Agree) -> list[Account]:
    """The accounts that have these names: known ones for nothing, others for a price."""
    settings, now = load(context.home, environ), context.clock()
    store = context.store
    oldest = now - settings.x.recheck if settings.x.recheck else None

    def known() -> dict[str, Account]:
        return {
            name: account
            for name, account in store.accounts_named(names).items()
            if account.state == "ok" and (oldest is None or account.checked_at > oldest)
        }

    cached = known()
    unknown = [name for name in names if name.lower() not in cached]
    missing: dict[str, AccountState] = {}
    if unknown:
        few = f"{len(unknown)} name" + "s" * (len(unknown) != 1)
        price = shown(len(unknown) * settings.x.user_price)
        agree(f"Looking up {few} at X costs {price} at most.", len(unknown) > _FEW)
        access = JobAccess(context, settings, 0, 0)
        for found in kind.look_up(unknown, access):
            store.add_accounts(found.accounts, {}, access.bill(found.bought))
            missing.update(found.missing)
        cached = known()
    if lost := [name for name in names if name.lower() not in cached]:
        said = [_why(name, missing.get(name, "gone")) for name in lost]
        raise NotFound("; ".join(said), "check the spelling at https://x.com/NAME")
    return list({account.id: account for account in (cached[name.lower()] for name in names)}.values())


def _why(name: str, state: AccountState) -> str:
    return {"gone": f"there is no @{name} at X"}.get(state, f"@{name} cannot be read: it is {state}")


def cost(accounts: Sequence[Account], x: X) -> Cost:
    """What reading accounts may cost a month, if they go on as they did so far."""
    posts_a_day = sum(account.posts_a_day for account in accounts)
    low = round(posts_a_day * _MONTH_DAYS * x.post_price)
    return Cost(low, 2 * low, posts_a_day)


def first_posts(context: Context, job: Job) -> list[Post]:
    """The newest posts of a job's accounts. Those of one that was never read are bought, a small page, and stored: its
    first run reads on from there. Raises as Timeline.read does.
    """
    settings = load(context.home, environ)
    access = JobAccess(context, settings, job.id, settings.x.max_posts)
    found: list[Post] = []
    for feed in context.store.feeds(job.id):
        with locks.waited_for([locks.feed(context.home.locks, feed.id)], lambda _: None):
            _read_a_little(context, feed, access)
        found += context.store.newest_posts(feed.id, _PREVIEW_POSTS - len(found))
        if len(found) >= _PREVIEW_POSTS:
            break
    return found


def _read_a_little(context: Context, feed: Feed, access: JobAccess) -> None:
    now, accounts = context.store.feed(feed.id), account_kind(feed.kind)
    if now is None or accounts is None or context.store.last_arrival(feed.id):
        return
    access.take_at_most(_SMALLEST_PAGE)
    for page in accounts.open_timeline(feed.spec, access).read(now.cursor, context.clock()):
        context.store.add_page(None, feed.id, page, access.bill_page(page))
        if page.posts:
            return
