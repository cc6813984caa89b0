"""A job's life: install, update, pause, resume, delete, sync. The row first, then the machine."""

import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from os import environ

from xtrack import ledger, locks, moments, slots
from xtrack.config import remove_data
from xtrack.context import Context
from xtrack.errors import BadData, Misconfigured, UsageError, XTrackError
from xtrack.feeds import Agree, Cost, Watched, cost, first_posts, watch, watch_on
from xtrack.models import EXCLUDABLE, Account, Job, Method, Post, PostKind, Run
from xtrack.money import shown
from xtrack.scheduler import Plan
from xtrack.settings import Settings, load, unseen_secrets
from xtrack.sources import resolve


@dataclass(frozen=True)
class Changed:
    """Jobs as they are now, each with its next run, what a person should know, the first posts of a new source, and
    what they may cost together.
    """

    jobs: tuple[tuple[Job, datetime | None], ...]
    notes: tuple[str, ...] = ()
    preview: tuple[Post, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True)
class Wish:
    """What a command says of a job; None: as it is. `since` is from where on the first digest of a new job looks,
    `budget` in millionths of a dollar, below zero for none.
    """

    names: tuple[str, ...] | None = None
    source: str | None = None
    topics: tuple[str, ...] | None = None
    frequency: str | None = None
    at: str | None = None
    since: str | None = None
    excluded: tuple[PostKind, ...] | None = None
    excluded_at_source: bool | None = None
    budget: int | None = None
    emails: tuple[str, ...] | None = None
    mail_quiet: bool | None = None
    summarizer: Method | None = None
    focus: str | None = None
    language: str | None = None


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


def listed(text: str) -> list[str]:
    """The names in a file: one a line; what follows a # is a remark."""
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def install(
    context: Context, wish: Wish, agree: Agree, each: bool = False, paused: bool = False, look: bool = False
) -> Changed:
    """Make a new job, or with `each` one a name, and their timers; with `paused` these wait for resume.

    The anchors of several jobs are spread, so that they do not start at once. `look`: show the first posts also where
    they have to be bought. Raises when a job could not run, or has no timer to be had; nothing stays then but what was
    bought.
    """
    now = context.clock()
    frequency = slots.canonical(wish.frequency or "")
    at = slots.anchor(frequency, wish.at, now.astimezone(context.zone))
    names, words = handles(wish.names or ()), topics(wish.topics or ())
    if each and not names:
        raise UsageError("there is nobody to make a job for", "name them, or have them in a file, one a line")
    excluded, at_source = wish.excluded or (), bool(wish.excluded_at_source)
    if at_source and not excluded:
        raise UsageError("what is it to leave out at the source?", "--exclude replies,reposts --exclude-at-source")
    since = moments.parse(wish.since, now, context.zone) if wish.since else None
    kind, spec = resolve("x" if wish.source is None else wish.source)
    notes = context.backend.prepare()
    settings = load(context.home, environ)
    summarizer, emails = _summarizer(settings, wish.summarizer), _recipients(settings, wish.emails or ())
    watched = watch(context, kind, spec, names, excluded if at_source else (), since, agree, now)
    parts = _one_each(watched) if each else [watched]
    new = [
        (
            Job(
                id=0,
                source=spec,
                names=part.names,
                topics=words,
                frequency=frequency,
                at=slots.spread(frequency, at, index, len(parts)),
                paused=paused,
                created_at=now,
                schedule_since=now,
                excluded=excluded,
                excluded_at_source=at_source,
                budget=_budget(wish.budget),
                emails=emails,
                mail_quiet=bool(wish.mail_quiet),
                summarizer=summarizer,
                focus=wish.focus or "",
                language=wish.language or "",
            ),
            part.feeds,
        )
        for index, part in enumerate(parts)
    ]
    jobs = context.store.add_jobs(new, since)
    try:
        _reconcile(context)
    except XTrackError:
        context.store.delete_jobs(job.id for job in jobs)
        with suppress(XTrackError):
            _reconcile(context)
        raise
    notes = [*notes, *_secret_notes(context, jobs[0]), *_gap_notes(context, jobs)]
    notes += _cost_notes(context, jobs[0], [part.accounts for part in parts])
    return _changed(context, jobs, notes, watched, look)


def _one_each(watched: Watched) -> list[Watched]:
    """A part for each name; where names are authors all of them read the same."""
    if not watched.accounts:
        return [replace(watched, names=(name,)) for name in watched.names]
    return [
        Watched((account.username,), (feed,), accounts=(account,))
        for account, feed in zip(watched.accounts, watched.feeds, strict=True)
    ]


def _summarizer(settings: Settings, wished: Method | None) -> Method:
    """Who is to write digests. Raises Misconfigured when it is to be a model and none is set."""
    if wished == "llm" and not settings.llm.model:
        raise Misconfigured("there is no model to write digests", "set llm.model in the config")
    return wished or ("llm" if settings.llm.model else "extractive")


def _recipients(settings: Settings, emails: Iterable[str]) -> tuple[str, ...]:
    """Addresses, each once. Raises Misconfigured when nothing can be mailed."""
    found = {email.lower(): email for email in emails}
    if found and not (settings.mail.host and settings.mail.sender):
        raise Misconfigured("nothing can be mailed yet", "set mail.host and mail.from in the config")
    return tuple(found.values())


def _budget(wished: int | None) -> int | None:
    return None if wished is None or wished < 0 else wished


def _cost_notes(context: Context, job: Job, by_job: Sequence[Sequence[Account]]) -> list[str]:
    """What is paid for and not seen, and budgets that are too small, of a job or of some alike, by their accounts."""
    if not by_job[0]:
        return []
    notes = []
    if job.excluded and not job.excluded_at_source:
        left_out = " and ".join(EXCLUDABLE[kind] for kind in job.excluded)
        notes.append(
            f"{left_out} are left out after they were bought; --exclude-at-source saves that, and loses threads"
        )
    settings = load(context.home, environ)
    highs = [cost(accounts, settings.x).high for accounts in by_job]
    for whose, budget, high in (("the job's", job.budget, max(highs)), ("the home's", settings.budget, sum(highs))):
        if budget is not None and budget < high:
            notes.append(f"{whose} budget of {shown(budget)} a month may be used up before its end")
    return notes


def _secret_notes(context: Context, job: Job) -> list[str]:
    """What a job's runs need and may not see; the table of a source's settings has the name of its kind."""
    unseen = unseen_secrets(context.home, environ, resolve(job.source)[0])
    return ["; ".join(unseen)] if unseen else []


def _changed(
    context: Context,
    jobs: Sequence[Job],
    notes: Sequence[str] = (),
    watched: Watched | None = None,
    look: bool = False,
) -> Changed:
    now, first, may_cost = context.clock(), list(watched.first) if watched else [], None
    if watched and watched.accounts:
        may_cost = cost(watched.accounts, load(context.home, environ).x)
        if look:
            first, notes = _bought_first(context, jobs[0], notes)
    with_next = tuple((job, ledger.next_run(job, now, context.zone)) for job in jobs)
    return Changed(with_next, tuple(notes), tuple(first), may_cost)


def _bought_first(context: Context, job: Job, notes: Sequence[str]) -> tuple[list[Post], Sequence[str]]:
    """The first posts of a job that is there, whether they can be had or not."""
    try:
        return first_posts(context, job), notes
    except XTrackError as error:
        return [], [*notes, f"its first posts cannot be shown: {error}"]


def _gap_notes(context: Context, jobs: Iterable[Job]) -> list[str]:
    """A note for each time of day that the clock will leap over when summer time begins."""
    times: dict[tuple[str, str], str] = {}
    for job in jobs:
        day = slots.gap(slots.calendar(job.frequency, job.at), context.clock(), context.zone)
        if day:
            note = f"on {day:%a %Y-%m-%d} the clock leaps over {job.at[-5:]}: there is no run at that time then"
            times.setdefault((job.frequency, job.at), note)
    return list(times.values())


def update(context: Context, job_id: int, wish: Wish, agree: Agree) -> Changed:
    """Change what `wish` says. Only another schedule starts the slots anew and touches the timer."""
    before, now = context.job(job_id), context.clock()
    names = None if wish.names is None else handles(wish.names)
    words = None if wish.topics is None else topics(wish.topics)
    settings = load(context.home, environ)
    watched = _watched_anew(context, before, names, wish, agree, now)

    def change(job: Job) -> Job:
        """What comes true of a job that another command may have changed since."""
        frequency, at = _schedule(job, wish, now.astimezone(context.zone))
        return replace(
            job,
            names=watched.names if watched else job.names,
            source=resolve(wish.source)[1] if wish.source is not None else job.source,
            topics=job.topics if words is None else words,
            frequency=frequency,
            at=at,
            schedule_since=job.schedule_since if (frequency, at) == (job.frequency, job.at) else now,
            excluded=job.excluded if wish.excluded is None else wish.excluded,
            excluded_at_source=_at_source(job, wish),
            budget=job.budget if wish.budget is None else _budget(wish.budget),
            emails=job.emails if wish.emails is None else _recipients(settings, wish.emails),
            mail_quiet=job.mail_quiet if wish.mail_quiet is None else wish.mail_quiet,
            summarizer=_summarizer(settings, wish.summarizer) if wish.summarizer else job.summarizer,
            focus=job.focus if wish.focus is None else wish.focus,
            language=job.language if wish.language is None else wish.language,
        )

    context.store.update_job(job_id, change, watched.feeds if watched else None)
    _reconcile(context)
    after = context.job(job_id)
    same_schedule = (after.frequency, after.at) == (before.frequency, before.at)
    notes = _secret_notes(context, after) + ([] if same_schedule else _gap_notes(context, [after]))
    if watched or wish.excluded is not None or wish.budget is not None:
        notes += _cost_notes(context, after, [context.store.accounts(job_id)])
    return _changed(context, [after], notes, watched)


def _at_source(job: Job, wish: Wish) -> bool:
    return job.excluded_at_source if wish.excluded_at_source is None else wish.excluded_at_source


def _watched_anew(
    context: Context, before: Job, names: tuple[str, ...] | None, wish: Wish, agree: Agree, now: datetime
) -> Watched | None:
    """What a job reads once a wish has come true; None: what it read before."""
    kind, spec = resolve(wish.source) if wish.source is not None else resolve(before.source)
    excluded, at_source = before.excluded if wish.excluded is None else wish.excluded, _at_source(before, wish)
    if at_source and not excluded:
        raise UsageError("what is it to leave out at the source?", "--exclude replies,reposts --exclude-at-source")
    asked_differently = (excluded if at_source else ()) != (before.excluded if before.excluded_at_source else ())
    if wish.source is None and names is None:
        return watch_on(context, kind, before, excluded if at_source else (), now) if asked_differently else None
    names = before.names if names is None else names
    return watch(context, kind, spec, names, excluded if at_source else (), None, agree, now)


def _schedule(job: Job, wish: Wish, local_now: datetime) -> tuple[str, str]:
    """The frequency and anchor of a job once a wish has come true."""
    frequency = slots.canonical(wish.frequency) if wish.frequency else job.frequency
    if wish.at is not None:
        return frequency, slots.anchor(frequency, wish.at, local_now)
    return frequency, job.at if frequency == job.frequency else slots.kept(frequency, job.at, local_now)


def pause(context: Context, job_ids: Sequence[int]) -> Changed:
    """Remove the timers of jobs; all data stay. Raises NotFound when one is not there, and changes nothing then."""
    context.store.pause_jobs(job_ids)
    _reconcile(context)
    return _changed(context, [context.job(job_id) for job_id in job_ids])


def resume(context: Context, job_ids: Sequence[int]) -> Changed:
    """Write the timers of paused jobs again; only slots from now on count. Raises NotFound as pause does."""
    context.store.resume_jobs(job_ids, context.clock())
    _reconcile(context)
    return _changed(context, [context.job(job_id) for job_id in job_ids])


def delete(context: Context, job_ids: Sequence[int]) -> None:
    """Delete jobs with their runs and summaries, their timers and locks. Raises NotFound as pause does."""
    feeds = context.store.delete_jobs(job_ids)
    _reconcile(context)
    folder = context.home.locks
    for lock in (*(locks.job(folder, job_id) for job_id in job_ids), *(locks.feed(folder, feed) for feed in feeds)):
        lock.unlink(missing_ok=True)


def play(context: Context, job_id: int) -> Run:
    """Have the scheduler run a job now, paused or not; gives the run that is queued for it."""
    run = context.store.queue_run(job_id, context.clock())
    context.backend.play(job_id)
    return run


def _reconcile(context: Context) -> None:
    """Make the machine as the rows say that were changed, also by an earlier command that left it undone."""
    with _timers_locked(context):
        changed = context.store.unsettled_jobs(ledger.horizon(context.clock()))
        context.backend.reconcile(changed, context.store.active_jobs())
        context.store.settle_jobs(changed)


def _timers_locked(context: Context) -> AbstractContextManager[None]:
    """One command at a time reads the rows and makes the timers so: another's new one would look like a leftover."""
    return locks.waited_for([locks.timers(context.home.locks)], lambda _: None)


def sync(context: Context, dry_run: bool = False) -> Plan:
    """Make the machine as the rows of all jobs say; gives the plan. Has run-due started soon when anything waits."""
    if dry_run:
        return context.backend.reconcile(context.jobs(), context.store.active_jobs(), dry_run)
    context.require_data()
    context.backend.prepare()
    with _timers_locked(context):
        jobs = context.jobs()
        plan = context.backend.reconcile(jobs, context.store.active_jobs())
        context.store.settle_jobs(jobs)
    store, now = context.store, context.clock()
    waits = any(ledger.due(job, now, context.zone) for job in jobs)
    context.backend.start([], again=waits or bool(store.open_runs() or store.waiting_deliveries()))
    return plan


def uninstall(context: Context, purge: bool) -> Plan:
    """Take away every unit of this home, and with `purge` all its data; gives what was removed.

    Runs that are going on are let finish, or with `purge` find their job gone and end.
    """
    if not context.home.data.is_dir():
        return context.backend.remove()
    with _timers_locked(context):
        plan = context.backend.remove()
        if purge:
            context.store.delete_jobs(job.id for job in context.jobs())
            remove_data(context.home)
    return plan
