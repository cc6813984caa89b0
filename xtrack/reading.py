"""Reading on in the feeds of a job, one walk of each at a time, within what may be bought."""

from collections.abc import Callable, Sequence
from functools import partial

from xtrack import locks
from xtrack.access import JobAccess
from xtrack.context import Context
from xtrack.errors import Paused, XTrackError
from xtrack.models import Feed, Run
from xtrack.settings import Settings
from xtrack.sources import Timeline, account_kind, open_source
from xtrack.store.database import source_changed

# How long the network may take to be up after the machine woke.
_NETWORK_SECONDS = 3 * 60


def read_on(
    context: Context, run: Run, feeds: Sequence[Feed], settings: Settings, extend: Callable[[float], None]
) -> str:
    """Read on in each feed; gives why that came to a pause and what was not read, "" if it did not.

    What was not looked at for longest comes first, so that a pause or an error hits another one the next time. `extend`
    is told of each wait. Raises as Timeline.read does.
    """
    patience = _NETWORK_SECONDS if run.trigger == "timer" else 0
    say = partial(context.say_of, run)
    access = JobAccess(context, settings, run.job_id, settings.x.max_posts, patience, extend, say)
    left = sorted(feeds, key=_looked_at)
    try:
        _look_again(context, run, access)
        while left:
            context.store.set_stage(run, f"fetching {access.called(left[0])}")
            _read(context, run, left[0], access, extend)
            left.pop(0)
    except Paused as pause:
        from xtrack.columns import few

        told = f"{pause}; not read to the end: {few([access.called(feed) for feed in left])}"
        context.say_of(run, told + (f" ({pause.hint})" if pause.hint else ""))
        return told
    return ""


def _looked_at(feed: Feed) -> tuple[float, int]:
    """When a feed was last read or come to."""
    return max((moment.timestamp() for moment in (feed.read_at, feed.paused_at) if moment), default=0), feed.id


def _look_again(context: Context, run: Run, access: JobAccess) -> None:
    """Look up the accounts whose names were not looked up for long: they may have other ones.

    Where there is no money for that there may still be some for posts.
    """
    if access.x.recheck is None:
        return
    before = context.clock() - access.x.recheck
    try:
        for kind, ids in context.store.accounts_checked_before(run.job_id, before).items():
            accounts = account_kind(kind)
            for found in accounts.look_again(ids, access) if accounts else ():
                context.store.add_accounts(found.accounts, found.missing, access.bill(found.bought))
    except Paused as pause:
        context.say_of(run, f"names are not looked up again: {pause}")


def _read(context: Context, run: Run, feed: Feed, access: JobAccess, extend: Callable[[float], None]) -> None:
    """Read on from the feed's cursor, one walk at a time; each page is stored with the cursor behind it."""
    added, name = 0, access.called(feed)
    with locks.waited_for([locks.feed(context.home.locks, feed.id)], extend):
        now, begun = context.store.feed(feed.id), context.clock()
        if now is None:
            raise source_changed()
        if now.read_at and run.started_at < now.read_at <= begun:
            context.say_of(run, f"{name}: another run has just read it")
            return
        try:
            for page in _opened(now, access).read(now.cursor, begun):
                added += context.store.add_page(run, now.id, page, access.bill_page(page) if now.account_id else None)
            context.store.note_read(run, now.id, begun)
        except XTrackError:
            context.store.note_paused(run, now.id, begun)
            raise
        finally:
            context.say_of(run, f"{name}: {counted(added)} fetched{access.spent()}")
            if (account := context.store.account(now.account_id)) and account.state != "ok":
                context.say_of(run, account.said)


def _opened(feed: Feed, access: JobAccess) -> Timeline:
    accounts = account_kind(feed.kind)
    return accounts.open_timeline(feed.spec, access) if accounts else open_source(feed.kind, feed.spec)


def counted(posts: int) -> str:
    """So many posts, in words."""
    return f"{posts} post" + "s" * (posts != 1)
