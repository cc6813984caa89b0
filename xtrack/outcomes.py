"""What became of jobs: their last runs, what is overdue, which accounts are lost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from xtrack import ledger, locks
from xtrack.context import Context
from xtrack.errors import NotFound
from xtrack.models import Account, Delivery, Job, Run
from xtrack.sources import describe

# For so long a mail that failed is shown.
LATELY = timedelta(days=7)
_CALLER = timedelta(minutes=15)


@dataclass(frozen=True)
class Status:
    """A job with what became of it: `overdue` is a slot that should have been tried and was not, `problem` why, `lost`
    are the accounts that cannot be read, `unsent` the mails of late that failed, or of which nobody knows.
    """

    job: Job
    last: Run | None
    next_run: datetime | None
    overdue: datetime | None
    problem: str
    timer: str
    lost: tuple[Account, ...] = ()
    unsent: tuple[Delivery, ...] = ()


def invocation(context: Context, job_id: int, run_id: int | None) -> str:
    """By what the scheduler's log knows a run of a job, "" for all of them. Raises NotFound when it knows none."""
    context.job(job_id)
    if run_id is None:
        return ""
    run = context.store.run(run_id)
    if run.job_id != job_id:
        raise NotFound(f"run {run_id} is job {run.job_id}'s", f"xtrack logs {run.job_id} --run {run_id}")
    if not run.invocation_id:
        why = (
            "waits to be started" if run.state == "queued" else "was not started by a unit: its terminal had its lines"
        )
        raise NotFound(f"run {run_id} has no log: it {why}", f"xtrack list-runs {job_id}")
    return run.invocation_id


def source_of(context: Context, job_id: int) -> str:
    """What a job's source is, in words."""
    return " and ".join(dict.fromkeys(describe(feed.kind, feed.spec) for feed in context.store.feeds(job_id)))


def statuses(context: Context, jobs: Sequence[Job]) -> list[Status]:
    """What became of these jobs."""
    now = context.clock()
    last = {job_id: _as_it_is(context, run) for job_id, run in context.store.last_runs().items()}
    running = {run.job_id for run in context.store.open_runs() if _as_it_is(context, run).state == "running"}
    overdue = {
        job.id: slot
        for job in jobs
        if job.id not in running and (slot := _overdue(context, job, now, last.get(job.id)))
    }
    results = context.backend.results(list(overdue)) if overdue else {}
    lost, unsent = context.store.lost_accounts(), context.store.wrong_deliveries(now - LATELY)
    return [
        Status(
            job=job,
            last=last.get(job.id),
            next_run=ledger.next_run(job, now, context.zone),
            overdue=overdue.get(job.id),
            problem=results.get(job.id, ""),
            timer="" if job.paused else context.backend.timer(job.id),
            lost=tuple(lost.get(job.id, ())),
            unsent=tuple(unsent.get(job.id, ())),
        )
        for job in jobs
    ]


def runs(context: Context, job_id: int | None, limit: int) -> list[Run]:
    """The newest runs, of one job or of all, newest first."""
    return [_as_it_is(context, run) for run in context.store.runs(job_id, limit)]


def _as_it_is(context: Context, run: Run) -> Run:
    """A run that says it is running, though nobody holds its job's lock, has died; the next one will close it."""
    if run.state == "running" and not locks.is_held(locks.job(context.home.locks, run.job_id)):
        return replace(run, state="died")
    return run


def _overdue(context: Context, job: Job, now: datetime, last: Run | None) -> datetime | None:
    """The slot that a timer would have tried by now, and nobody has tried, nor a newer one."""
    newest = ledger.due(job, now, context.zone)
    if newest is None:
        return None
    # Whoever calls run-due comes every few minutes, a timer on time.
    patience = _CALLER if context.home.scheduler == "none" else 2 * ledger.tolerance(job)
    due = ledger.due(job, now - patience, context.zone)
    # A run that died is an attempt too, also while nobody has closed it.
    died = last is not None and last.slot in (newest, due)
    tried = due and (died or any(context.store.attempts(job.id, slot).count for slot in (newest, due)))
    return None if tried else due
