"""One run of one job, top to bottom."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from xtrack import ledger, locks
from xtrack.context import Context
from xtrack.errors import GaveUp, NotFound, Stopped, Temporary, XTrackError
from xtrack.models import EXCLUDABLE, Delivery, Digest, Feed, Job, Notice, Post, Run, Start
from xtrack.reading import counted, read_on
from xtrack.settings import Settings, load
from xtrack.store.database import RunGone

UNIT_SECONDS = 15 * 60
_A_DAY = timedelta(days=1)


def run_job(context: Context, job_id: int, start: Start) -> int:
    """Do what a job has to do now; gives the exit code of what it came to, recorded and logged.

    A typed start makes a run. The others do the run that is queued and the one for a slot that is to be tried; without
    either, as after doubled, early and late starts, they end at once, with 0. Raises NotFound for a typed run of an
    unknown job, Temporary when its run is going on.
    """
    if start != "typed" and not _is_anything_to_do(context, job_id, start):
        return 0
    with _job_locked(context, job_id, start):
        close_died_run(context, job_id)
        codes = [_attempt(context, run) for run in _runs(context, job_id, start)]
        return max([*codes, _mail_rest(context, job_id)])


def _is_anything_to_do(context: Context, job_id: int, start: Start) -> bool:
    if _slot_to_try(context, job_id, start):
        return True
    try:
        return bool(_to_mail(context, job_id)) or any(
            run.job_id == job_id and run.state == "queued" for run in context.store.open_runs()
        )
    except NotFound:
        return False


def _runs(context: Context, job_id: int, start: Start) -> Iterator[Run]:
    """The runs to be done, each written as running; the second is looked for when the first has ended."""
    now, invocation_id = context.clock(), _invocation_id(start)
    by_hand = context.store.start_queued_run(job_id, now, invocation_id)
    if by_hand is None and start == "typed":
        by_hand = context.store.start_run(job_id, "manual", None, 0, now, invocation_id)
    if by_hand:
        context.say_of(by_hand, f"job {job_id}, by hand")
        yield by_hand
    slot = _slot_to_try(context, job_id, start) if start != "typed" else None
    if slot:
        missed = _missed(context, job_id, slot)
        run = context.store.start_run(job_id, "timer", slot, missed, context.clock(), invocation_id)
        before = f", {missed} missed before it" if missed else ""
        context.say_of(run, f"job {job_id}, slot {context.local(slot)}{before}")
        yield run


def _invocation_id(start: Start) -> str:
    """By what the journal knows a unit's lines; a shell may have one too, of the unit that it came from."""
    return "" if start == "typed" else os.environ.get("INVOCATION_ID", "")


def _attempt(context: Context, run: Run) -> int:
    """Work, and record how it failed if it did; gives the exit code. One whose job was deleted meanwhile just ends."""
    try:
        return _recorded(context, run)
    except RunGone:
        context.say_of(run, f"job {run.job_id} was deleted meanwhile")
        return 0


def _recorded(context: Context, run: Run) -> int:
    try:
        return _work(context, run)
    except RunGone:
        raise
    except XTrackError as error:
        return _fail(context, run, error)
    except Stopped as stop:
        # It may have been done already, and where it cannot be noted it has died.
        with suppress(XTrackError):
            at = context.store.run(run.id).stage or "its start"
            _fail(context, run, Temporary(f"{stop} while it was at: {at}"))
        raise
    except Exception as error:
        _fail(context, run, XTrackError(f"a bug: {type(error).__name__}: {error}"))
        raise


def _slot_to_try(context: Context, job_id: int, start: Start) -> datetime | None:
    """The slot that a start is for, None when there is nothing to do now. A timer may start a little too early."""
    try:
        job = context.job(job_id)
    except NotFound:
        return None
    now = context.clock()
    early = ledger.tolerance(job) if start == "timer" else timedelta(0)
    slot = ledger.due(job, now, context.zone, early)
    return slot if slot and ledger.is_to_be_tried(context.store.attempts(job_id, slot), now) else None


@contextmanager
def _job_locked(context: Context, job_id: int, start: Start) -> Iterator[None]:
    lock = locks.job(context.home.locks, job_id)
    if start != "typed":
        with locks.waited_for([lock], _extend_timeout):
            try:
                yield
            finally:
                _leave_no_lock(context, job_id)
        return
    context.job(job_id)
    with locks.held(lock) as ours:
        if not ours:
            raise Temporary(f"a run of job {job_id} is going on", f"xtrack list-runs {job_id}")
        yield


def _leave_no_lock(context: Context, job_id: int) -> None:
    """Waiting for the lock of a job that was deleted meanwhile has made its file anew."""
    try:
        context.job(job_id)
    except NotFound:
        locks.job(context.home.locks, job_id).unlink(missing_ok=True)


def _extend_timeout(_: float) -> None:
    """Waiting is no work: have the unit's timeout count from now on."""
    _extend_by(0)


def _extend_by(seconds: float) -> None:
    """Have the unit's timeout count from so many seconds later on (sd_notify(3), EXTEND_TIMEOUT_USEC)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        name = "\0" + address[1:] if address.startswith("@") else address
        notify.sendto(f"EXTEND_TIMEOUT_USEC={round((UNIT_SECONDS + seconds) * 1_000_000)}".encode(), name)


def close_died_run(context: Context, job_id: int) -> None:
    """We hold the job's lock: whoever says that he is running has died, which is a failed attempt like any other.

    What he was mailing may have been sent or not; one whose summary is stored has done all else.
    """
    lost, run = context.store.lose_track(job_id), context.store.running_run(job_id)
    if lost:
        context.say(f"job {job_id}: {lost} being mailed when a run died: nobody knows whether they were sent")
    if run is None:
        return
    if run.stage == "mailing":
        context.store.end_run(run, "undelivered", context.clock(), Temporary.exit_code, "died while it was mailing")
        return
    next_try = _next_try(context, run, run.started_at)
    error = f"died while it was at: {run.stage or 'its start'}"
    exit_code = Temporary.exit_code if next_try or run.slot is None else GaveUp.exit_code
    context.store.fail_run(run, "died", context.clock(), exit_code, error, next_try, _admin(context))
    context.say_of(run, error)


def _next_try(context: Context, run: Run, since: datetime, earliest: datetime | None = None) -> datetime | None:
    """When the slot of a run that failed is tried again, not before `earliest`; None: never, or the run has no slot."""
    if run.slot is None:
        return None
    before = context.store.attempts(run.job_id, run.slot)
    attempts = replace(before, count=before.count + 1, first=before.first or run.started_at)
    return ledger.retry_at(_job_of(context, run), attempts, since, earliest)


def _job_of(context: Context, run: Run) -> Job:
    """The run's job as it is now. Raises RunGone when it was deleted."""
    try:
        return context.job(run.job_id)
    except NotFound as error:
        raise RunGone(f"run {run.id} was taken away") from error


def _missed(context: Context, job_id: int, slot: datetime) -> int:
    """How many slots before this one had no attempt."""
    job = context.job(job_id)
    tried = context.store.slots_tried(job_id, max(job.closed_slot or job.schedule_since, job.schedule_since), slot)
    return max(0, ledger.missed(job, slot, context.clock(), context.zone) - tried)


def _work(context: Context, run: Run) -> int:
    """Fetch, summarise, mail; gives the exit code."""
    job, settings = _job_of(context, run), load(context.home, os.environ)
    context.store.set_stage(run, "waiting for one of the parallel places")
    places = locks.places(context.home.locks, settings.parallel_runs)
    with locks.waited_for(places, _extend_timeout):
        feeds = context.store.feeds(job.id)
        if any(feed.account_id for feed in feeds):
            context.store.look_back(run, run.started_at - max(ledger.period(job), _A_DAY))
        pause = read_on(context, run, feeds, settings, _extend_timeout)
        context.store.set_stage(run, "summarising")
        posts, seen = _new_posts(context, run, job, feeds)
        notices = context.store.notices(job.id)
        noticed = {notice.feed_id: notice.id for notice in notices}
        digest = _digest(context, run, job, posts, notices, pause, settings)
        # A run by hand closes the slot that has come, also meanwhile, and that nobody has done.
        slot = run.slot or ledger.due(_job_of(context, run), context.clock(), context.zone)
        summary_id = context.store.finish_run(
            run, digest, len(posts), seen, slot, context.clock(), noticed, pause, settings.admin_email
        )
    following = ledger.next_run(job, max(context.clock(), slot or run.started_at), context.zone)
    then = f"next run {context.local(following)}" if following else "paused"
    context.say_of(run, f"summary {summary_id}: {digest.headline}; {then}")
    return _mail(context, run, job, settings)


def _mail(context: Context, run: Run, job: Job, settings: Settings) -> int:
    """Mail what waits, unless the run has ended because nothing does; gives the exit code."""
    now = context.store.run(run.id)
    if now.state != "running":
        return 0
    wrong = None
    if deliveries := _to_mail(context, job.id):
        from xtrack.outbox import deliver

        wrong = deliver(context, job, deliveries, settings.mail, f"run {run.id}", _extend_by)
    told = "; ".join(filter(None, (now.error, str(wrong or ""))))
    context.store.end_run(
        run, "undelivered" if wrong else "done", context.clock(), wrong.exit_code if wrong else 0, told
    )
    return wrong.exit_code if wrong else 0


def _mail_rest(context: Context, job_id: int) -> int:
    """Mail what is due without a run of its own; gives the exit code."""
    deliveries = _to_mail(context, job_id)
    if not deliveries:
        return 0
    from xtrack.outbox import deliver

    job, settings = context.job(job_id), load(context.home, os.environ)
    wrong = deliver(context, job, deliveries, settings.mail, f"job {job_id}", _extend_by)
    return wrong.exit_code if wrong else 0


def _to_mail(context: Context, job_id: int) -> list[Delivery]:
    """What is to be mailed for a job now."""
    now, waiting = context.clock(), context.store.pending_deliveries(job_id)
    return [delivery for delivery in waiting if delivery.next_try is None or ledger.has_come(delivery.next_try, now)]


def _new_posts(context: Context, run: Run, job: Job, feeds: Sequence[Feed]) -> tuple[list[Post], dict[int, int]]:
    """The job's posts beyond its watermarks, each once, and the new watermarks."""
    posts: dict[str, Post] = {}
    seen: dict[int, int] = {}
    for feed in feeds:
        seen[feed.id] = context.store.last_arrival(feed.id)
        found, left_out = context.store.new_posts(job, feed.id, seen[feed.id])
        posts.update((post.id, post) for post in found if post.kind not in job.excluded)
        if left_out:
            context.say_of(run, f"{counted(left_out)} that came before are stored, not summarised")
        for kind in job.excluded:
            if unwanted := sum(post.kind == kind for post in found):
                context.say_of(run, f"{unwanted} {kind if unwanted == 1 else EXCLUDABLE[kind]} left out")
    return list(posts.values()), seen


def _digest(
    context: Context,
    run: Run,
    job: Job,
    posts: Sequence[Post],
    notices: Sequence[Notice],
    pause: str,
    settings: Settings,
) -> Digest:
    """What is new, and what else is to be known: what is told once, who is lost, why not all was read."""
    accounts = context.store.accounts(job.id)
    lost = [account for account in accounts if account.state != "ok"]
    if posts:
        digest = _summarised(context, run, job, posts, settings)
    else:
        is_cut = bool(pause) or any(notice.is_gap for notice in notices)
        digest = Digest(method="none", headline=_quiet(len(accounts), len(lost), is_cut), lines=(), omitted=0)
    told = [*(notice.text for notice in notices), *(account.said for account in lost), *filter(None, [pause])]
    return replace(digest, notices=tuple(dict.fromkeys([*digest.notices, *told])))


def _summarised(context: Context, run: Run, job: Job, posts: Sequence[Post], settings: Settings) -> Digest:
    from xtrack.access import JobAccess
    from xtrack.summarizers import Brief, open_summarizer

    access = JobAccess(context, settings, job.id, 0, extend=_extend_by, say=partial(context.say_of, run))
    summarizer = open_summarizer(job.summarizer, access)
    return summarizer.summarize(posts, Brief(job.topics, job.language, job.focus))


def _quiet(accounts: int, lost: int, is_cut: bool) -> str:
    """What is said without posts: "nothing new" only of what was read."""
    if lost and lost == accounts:
        return "Nothing could be read"
    if is_cut:
        return "Nothing more was read"
    return f"Nothing new from {accounts - lost} of {accounts} accounts" if lost else "Nothing new"


def _fail(context: Context, run: Run, error: XTrackError) -> int:
    """Record and log a failed run; gives its exit code."""
    now = context.clock()
    next_try = _next_try(context, run, now, getattr(error, "retry_at", None)) if error.can_retry else None
    gave_up = error.can_retry and run.slot is not None and next_try is None
    exit_code = GaveUp.exit_code if gave_up else error.exit_code
    context.store.fail_run(run, "failed", now, exit_code, str(error), next_try, _admin(context))
    then = f"; tried again {context.local(next_try)}" if next_try else "; given up, the next slot does it" * gave_up
    hint = f" ({error.hint})" if error.hint else ""
    context.say_of(run, f"failed: {error}{hint}{then}")
    return exit_code


def _admin(context: Context) -> str | None:
    """Who is told where nobody else is; nobody while the config is wrong."""
    with suppress(XTrackError):
        return load(context.home, os.environ).admin_email
    return None
