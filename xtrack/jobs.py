"""A job's life: install, update, pause, resume, delete, sync. The row first, then the machine."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from xtrack import ledger, locks, slots
from xtrack.context import Context
from xtrack.errors import BadData, Misconfigured, NotFound, Temporary, XTrackError
from xtrack.models import Job, Run
from xtrack.scheduler import Plan
from xtrack.sources import open_source, resolve


@dataclass(frozen=True)
class Changed:
    """A job as it is now, its next run, and what a person should know."""

    job: Job
    next_run: datetime | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """A job with what became of it: `overdue` is a slot that should have been tried and was not, `problem` why."""

    job: Job
    last: Run | None
    next_run: datetime | None
    overdue: datetime | None
    problem: str
    timer: str


@dataclass(frozen=True)
class Wish:
    """What a command says of a job; None: as it is."""

    names: tuple[str, ...] | None = None
    source: str | None = None
    topics: tuple[str, ...] | None = None
    frequency: str | None = None
    at: str | None = None


def handles(words: Iterable[str]) -> tuple[str, ...]:
    """X handles without @, each once. Raises BadData with the rule (docs.x.com: 1 to 15 of A-Z a-z 0-9 _)."""
    names: dict[str, str] = {}
    for word in words:
        name = word.removeprefix("@")
        if not re.fullmatch(r"\w{1,15}", name, re.ASCII):
            raise BadData(f"{word!r} is no X handle", "a handle has 1 to 15 of the characters A-Z a-z 0-9 _")
        names.setdefault(name.lower(), name)
    return tuple(names.values())


def topics(words: Iterable[str]) -> tuple[str, ...]:
    """Topics as typed, tidied, each once. Raises BadData for one that says nothing or too much."""
    found: dict[str, str] = {}
    for word in words:
        topic = " ".join(word.split())
        if not topic or len(topic) > 200 or not topic.isprintable():
            raise BadData(f"{word!r} is no topic", "a topic is a word or a few, at most 200 characters")
        found.setdefault(topic.casefold(), topic)
    return tuple(found.values())


def install(context: Context, wish: Wish) -> Changed:
    """Make a new job and its timer. Raises when it could not run, or has no timer to be had; nothing stays then."""
    if wish.source is None:
        raise Misconfigured("X itself is no source yet: say what to read", "--source sample, or --source FILE.jsonl")
    now = context.clock()
    frequency = slots.canonical(wish.frequency or "")
    at = slots.anchor(frequency, wish.at, now.astimezone(context.zone))
    names, words = handles(wish.names or ()), topics(wish.topics or ())
    kind, spec = resolve(wish.source)
    warnings = context.backend.prepare()
    _try_source(context, kind, spec, names)
    job = Job(0, spec, names, words, frequency, at, paused=False, created_at=now, schedule_since=now)
    job = replace(job, id=context.store.add_job(job, [(kind, spec)]))
    try:
        _reconcile(context, [job.id])
    except XTrackError:
        context.store.delete_job(job.id)
        raise
    return Changed(job, ledger.next_run(job, now, context.zone), tuple(warnings))


def update(context: Context, job_id: int, wish: Wish) -> Changed:
    """Change what `wish` says. Only another schedule starts the slots anew and touches the timer."""
    job, now = context.job(job_id), context.clock()
    frequency = slots.canonical(wish.frequency) if wish.frequency else job.frequency
    at = job.at if wish.at is None else slots.anchor(frequency, wish.at, now.astimezone(context.zone))
    names = job.names if wish.names is None else handles(wish.names)
    feeds = None
    if wish.source is not None:
        kind, spec = resolve(wish.source)
        feeds = [(kind, spec)]
    else:
        (feed,) = context.store.feeds(job_id)
        kind, spec = feed.kind, feed.spec
    if wish.source is not None or wish.names is not None:
        _try_source(context, kind, spec, names)
    same_schedule = (frequency, at) == (job.frequency, job.at)
    job = replace(
        job,
        names=names,
        source=spec,
        topics=job.topics if wish.topics is None else topics(wish.topics),
        frequency=frequency,
        at=at,
        schedule_since=job.schedule_since if same_schedule else now,
    )
    context.store.update_job(job, feeds)
    _reconcile(context, [job_id])
    return Changed(job, ledger.next_run(job, now, context.zone))


def _try_source(context: Context, kind: str, spec: str, names: Sequence[str]) -> None:
    """Try a source as a run would see it; a spec that is an absolute path is a file."""
    if spec.startswith("/"):
        context.backend.see(Path(spec))
    try:
        open_source(kind, spec).check(tuple(names))
    except Temporary as error:
        raise NotFound(str(error), error.hint) from error


def pause(context: Context, job_id: int) -> Changed:
    """Remove a job's timer; all data stay."""
    job = context.job(job_id)
    if not job.paused:
        context.store.update_job(replace(job, paused=True))
    _reconcile(context, [job_id])
    return Changed(replace(job, paused=True), None)


def resume(context: Context, job_id: int) -> Changed:
    """Write a paused job's timer again; only slots from now on count."""
    job, now = context.job(job_id), context.clock()
    if job.paused:
        job = replace(job, paused=False, schedule_since=now)
        context.store.update_job(job)
    _reconcile(context, [job_id])
    return Changed(job, ledger.next_run(job, now, context.zone))


def delete(context: Context, job_id: int) -> None:
    """Delete a job with its runs and summaries, its timer and its lock."""
    context.store.delete_job(job_id)
    _reconcile(context, [])
    locks.job(context.home.locks, job_id).unlink(missing_ok=True)


def _reconcile(context: Context, job_ids: Iterable[int]) -> None:
    """Make the machine as the rows of these jobs say, and finish what an earlier command left undone."""
    wanted = context.store.unsettled_jobs() | set(job_ids)
    jobs = [context.job(job_id) for job_id in sorted(wanted)]
    context.backend.reconcile(jobs, context.store.active_jobs())
    context.store.settle_jobs(wanted)


def sync(context: Context, dry_run: bool = False) -> Plan:
    """Make the machine as the rows of all jobs say; gives the plan. Arms the sweep when anything waits."""
    jobs = context.jobs()
    plan = context.backend.reconcile(jobs, context.store.active_jobs(), dry_run)
    if not dry_run:
        context.store.settle_jobs(job.id for job in jobs)
        if any(ledger.due(job, context.clock(), context.zone) for job in jobs) or context.store.is_any_running():
            context.backend.arm()
    return plan


def statuses(context: Context, jobs: Sequence[Job]) -> list[Status]:
    """What became of these jobs."""
    now = context.clock()
    last = {job_id: _as_it_is(context, run) for job_id, run in context.store.last_runs().items()}
    overdue = {job.id: slot for job in jobs if (slot := _overdue(context, job, now))}
    results = context.backend.results(list(overdue)) if overdue else {}
    return [
        Status(
            job=job,
            last=last.get(job.id),
            next_run=ledger.next_run(job, now, context.zone),
            overdue=overdue.get(job.id),
            problem=results.get(job.id, ""),
            timer="" if job.paused else context.backend.timer(job.id),
        )
        for job in jobs
    ]


def _as_it_is(context: Context, run: Run) -> Run:
    """A run that says it is running, though nobody holds its job's lock, has died; the next one will close it."""
    if run.state == "running" and not locks.is_held(locks.job(context.home.locks, run.job_id)):
        return replace(run, state="died")
    return run


def _overdue(context: Context, job: Job, now: datetime) -> datetime | None:
    """The slot that a timer would have tried by now, and nobody has tried, nor a newer one."""
    newest = ledger.due(job, now, context.zone)
    due = ledger.due(job, now - 2 * ledger.tolerance(job), context.zone)
    if newest is None or due is None or context.store.running_run(job.id):
        return None
    if any(context.store.attempts(job.id, slot).count for slot in (newest, due)):
        return None
    return due
