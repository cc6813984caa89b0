"""What is wrong here and what to type."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from xtrack import jobs, ledger, outcomes
from xtrack.columns import few
from xtrack.config import config_mode
from xtrack.context import Context
from xtrack.errors import NotFound, XTrackError
from xtrack.models import Job
from xtrack.scheduler import Check
from xtrack.settings import load, unseen_secrets

# The clock of a machine without a battery says something before this until it is set.
_RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
_ENOUGH_BYTES = 200 * 1024 * 1024
_QUEUED_LONG = timedelta(minutes=10)


def examine(context: Context) -> list[Check]:
    """All checks, in the order in which they should be mended."""
    return list(_checks(context))


def _checks(context: Context) -> Iterator[Check]:
    permissions = _permissions(context)
    # With others' hands in it nobody reads it.
    if permissions.ok:
        yield _config(context)
    yield permissions
    yield _secrets(context)
    yield _clock(context)
    try:
        all_jobs = context.jobs()
        context.store.check()
    except NotFound as error:
        yield from context.backend.checks([])
        yield Check("database", True, str(error))
        return
    except XTrackError as error:
        yield from context.backend.checks([])
        yield Check("database", False, str(error), error.hint)
        return
    found = context.backend.checks(all_jobs)
    yield from found
    yield Check("database", True, f"sound and writable: {context.home.database}")
    yield _disk(context)
    yield _ledger(context)
    yield _mails(context)
    if found[0].ok:
        yield _drift(context)
        yield from _slots(context, all_jobs)


def _config(context: Context) -> Check:
    try:
        load(context.home, os.environ)
    except XTrackError as error:
        return Check("config", False, str(error), error.hint)
    return Check("config", True, f"{context.home.config}")


def _permissions(context: Context) -> Check:
    """The config is for its owner's eyes, in system scope also for those of the service user's group."""
    mode, right = config_mode(context.home), context.home.config_mode
    if mode & ~right & 0o077:
        detail = f"others can read or write {context.home.config} (mode {mode:04o})"
        return Check("permissions", False, detail, f"chmod {right:o} {context.home.config}")
    return Check("permissions", True, "the settings are their owner's alone")


def _secrets(context: Context) -> Check:
    """A timer sees nothing of a shell's environment; whether run-due's caller has the same one is not known here."""
    if found := unseen_secrets(context.home, os.environ):
        what, mend = found
        return Check("secrets", True, what) if context.home.scheduler == "none" else Check("secrets", False, what, mend)
    return Check("secrets", True, "none that only this shell knows")


def _clock(context: Context) -> Check:
    now = context.clock()
    if now < _RELEASED:
        return Check("clock", False, f"not set: it says {context.local(now)}", "timedatectl set-ntp true")
    return Check("clock", True, context.local(now))


def _disk(context: Context) -> Check:
    disk = os.statvfs(context.home.data)
    free = disk.f_bavail * disk.f_frsize
    detail = f"{free // 2**20} MiB free in {context.home.data}"
    # A filesystem without a fixed number of inodes says 0 of 0.
    if free < _ENOUGH_BYTES or (disk.f_files and disk.f_favail < 1000):
        return Check("disk", False, f"nearly full: {detail}", f"df -h {context.home.data}")
    return Check("disk", True, detail)


def _ledger(context: Context) -> Check:
    """Moments far ahead were written while the clock was wrong; the ledger does not go by them."""
    now = context.clock()
    wrong = context.store.jobs_ahead(ledger.horizon(now))
    if wrong:
        detail = f"the clock was wrong once: {few([f'job {job_id}' for job_id in wrong])} did slots that are to come"
        return Check("ledger", False, f"{detail}; they are not counted", "timedatectl")
    return Check("ledger", True, "no slot is done before its time")


def _mails(context: Context) -> Check:
    """Mails of late that were not sent, or perhaps not."""
    found = context.store.wrong_deliveries(context.clock() - outcomes.LATELY)
    wrong = [mail for mails in found.values() for mail in mails]
    if wrong:
        told = few([f"{mail.id} to {mail.recipient} ({mail.state})" for mail in wrong])
        return Check("mails", False, f"not sent: {told}", "xtrack list-deliveries; xtrack send-summary sends one again")
    return Check("mails", True, "none that failed")


def _drift(context: Context) -> Check:
    try:
        plan = jobs.sync(context, dry_run=True)
    except XTrackError as error:
        return Check("timers", False, str(error), error.hint)
    if plan:
        return Check("timers", False, f"not as the jobs say: {few(plan.lines())}", "xtrack sync")
    return Check("timers", True, "as the jobs say")


def _slots(context: Context, all_jobs: Sequence[Job]) -> Iterator[Check]:
    late = [
        (status.job.id, f"{context.local(status.overdue)} was not done", status.problem)
        for status in outcomes.statuses(context, all_jobs)
        if status.overdue
    ]
    late += [
        (run.job_id, f"run {run.id} is queued since {context.local(run.started_at)}", "")
        for run in context.store.open_runs()
        if run.state == "queued" and context.clock() - run.started_at > _QUEUED_LONG
    ]
    if not late:
        yield Check("slots", True, "none overdue")
    for job_id, what, problem in late:
        why = f" ({problem})" if problem else ""
        look = "xtrack run-due" if context.home.scheduler == "none" else f"xtrack logs {job_id}"
        yield Check("slots", False, f"job {job_id}: {what}{why}", look)
