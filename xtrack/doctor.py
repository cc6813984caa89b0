"""What is wrong here and what to type."""

import os
from collections.abc import Iterator

from xtrack import jobs
from xtrack.config import settings
from xtrack.context import Context
from xtrack.errors import NotFound, XTrackError
from xtrack.scheduler import Check


def examine(context: Context) -> list[Check]:
    """All checks, in the order in which they should be mended."""
    return list(_checks(context))


def _checks(context: Context) -> Iterator[Check]:
    yield _config(context)
    try:
        all_jobs = context.jobs()
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
    yield _database(context)
    if found[0].ok:
        yield _drift(context)
        yield from _slots(context)


def _config(context: Context) -> Check:
    try:
        settings(context.home, os.environ)
    except XTrackError as error:
        return Check("config", False, str(error), error.hint)
    return Check("config", True, f"{context.home.config}")


def _database(context: Context) -> Check:
    try:
        context.store.check()
    except XTrackError as error:
        return Check("database", False, str(error), error.hint)
    return Check("database", True, f"sound: {context.home.database}")


def _drift(context: Context) -> Check:
    try:
        plan = jobs.sync(context, dry_run=True)
    except XTrackError as error:
        return Check("timers", False, str(error), error.hint)
    if plan:
        return Check("timers", False, "not as the jobs say: " + ", ".join(plan.lines()), "xtrack sync")
    return Check("timers", True, "as the jobs say")


def _slots(context: Context) -> Iterator[Check]:
    late = [(s.job.id, s.overdue, s.problem) for s in jobs.statuses(context, context.jobs()) if s.overdue]
    if not late:
        yield Check("slots", True, "none overdue")
    for job_id, slot, problem in late:
        why = f" ({problem})" if problem else ""
        yield Check("slots", False, f"job {job_id}: {context.local(slot)} was not done{why}", f"xtrack logs {job_id}")
