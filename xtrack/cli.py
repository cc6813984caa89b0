"""The xtrack command: each command parses, calls one use case, and prints what it gives."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from xtrack import __version__, options
from xtrack.command import Group, say
from xtrack.command import run as run_group
from xtrack.errors import BadData, NotFound, UsageError

if TYPE_CHECKING:
    from xtrack.context import Context

_T = TypeVar("_T")
_MANY = 50

_EXAMPLES = """\b
Examples:
  xtrack install-job --source sample --every hourly
  xtrack install-job @oslo_ferries @kaya --source ~/posts.jsonl --every daily --at 07:30
  xtrack list-jobs
  xtrack run-job 1
  xtrack show-summary 1
"""


@click.group(cls=Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xtrack")
def cli() -> None:
    """Follow what X accounts say without living on X.

    A job says what to watch and how often. The system's own scheduler starts each one (systemd timers), and every run
    leaves a digest behind.
    """


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_list(
    find: Callable[[], list[_T]],
    as_json: Callable[[_T], dict[str, Any]] | None,
    as_table: Callable[[list[_T]], str],
    when_empty: str,
) -> None:
    """Print what is found, in JSON if there is a function for it; a home without jobs has nothing to find."""
    try:
        found = find()
    except NotFound:
        found = []
    if as_json:
        _print_json([as_json(one) for one in found])
    elif found:
        click.echo(as_table(found))
    else:
        say(when_empty)


@cli.command(
    epilog="""\b
Examples:
  xtrack install-job --source sample --every 1min
  xtrack install-job @kaya @oslo_ferries --source /srv/posts.jsonl --every daily --at 07:30
  xtrack install-job --source ~/posts.jsonl --every hourly --topic energy --topic "public transport"
  xtrack install-job --each @kaya @oslo_ferries --source ~/posts.jsonl --every weekdays --at 08:00
  xtrack install-job --from names.txt --source ~/posts.jsonl --every weekly --at 'Mon 08:00'
"""
)
@click.argument("names", nargs=-1, metavar="[@NAME]...")
@options.schedule(required=True)
@click.option("--each", is_flag=True, help="One job a name, their starts spread over the period, at most an hour.")
@click.option(
    "--from",
    "listing",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="One job a name in this file, a name a line (-: stdin).",
)
@click.option("--paused", is_flag=True, help="Without timers for now; resume-job writes them.")
@click.pass_obj
def install_job(
    context: "Context",
    names: tuple[str, ...],
    every: str,
    at: str | None,
    source: str | None,
    topics: tuple[str, ...],
    each: bool,
    listing: TextIO | None,
    paused: bool,
) -> None:
    """Make a job and its timer. Several names make one job that watches all of them, or with --each one job a name."""
    from xtrack import jobs

    if listing:
        names += tuple(jobs.listed(_text(listing)))
    if len(names) > _MANY and (each or listing):
        say(f"Making {len(names)} jobs …")
    wish = jobs.Wish(names=names, source=source, topics=topics, frequency=every, at=at)
    changed = jobs.install(context, wish, each=each or listing is not None, paused=paused)
    _print_change(context, changed, "installed, paused" if paused else "installed")


def _text(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise BadData(f"{file.name} is no text in UTF-8: {error}", f"file {file.name}") from error


def _print_change(context: "Context", changed: Any, what: str) -> None:
    """One job with its next run on a line of its own; several, a line each."""
    from xtrack import views

    for job, next_run in changed.jobs:
        line = f"Job {job.id} {what}: watches {views.watched(job)}, {views.every(job)}."
        if len(changed.jobs) == 1 and next_run:
            line += f"\nNext run: {context.local(next_run)}"
        elif next_run:
            line += f" Next run: {context.local(next_run)}"
        click.echo(line)
    for note in changed.notes:
        say(f"Note: {note}")


@cli.command(
    epilog="""\b
Examples:
  xtrack update-job 1 --every every_6_hours --at 06:15
  xtrack update-job 1 @kaya @oslo_ferries
  xtrack update-job 1 --no-topics
"""
)
@options.job
@click.argument("names", nargs=-1, metavar="[@NAME]...")
@options.schedule(required=False)
@click.option("--no-names", is_flag=True, help="Watch everybody in the source.")
@click.option("--no-topics", is_flag=True, help="Take posts on everything.")
@click.pass_obj
def update_job(
    context: "Context",
    job_id: int,
    names: tuple[str, ...],
    every: str | None,
    at: str | None,
    source: str | None,
    topics: tuple[str, ...],
    no_names: bool,
    no_topics: bool,
) -> None:
    """Change a job. What is not named stays; names and topics replace those that were there."""
    from xtrack import jobs

    if (names and no_names) or (topics and no_topics):
        raise UsageError("those that are named, or none?", "xtrack update-job --help")
    if not any((names, every, at, source, topics, no_names, no_topics)):
        raise UsageError("what is to be changed?", "xtrack update-job --help")
    wish = jobs.Wish(
        names=() if no_names else names or None,
        source=source,
        topics=() if no_topics else topics or None,
        frequency=every,
        at=at,
    )
    _print_change(context, jobs.update(context, job_id, wish), "updated")


def _chosen(context: "Context", job_ids: Iterable[int], every_job: bool) -> list[int]:
    """The jobs that a command is for: those named, each once, or all."""
    named = list(dict.fromkeys(job_ids))
    if bool(named) == every_job:
        raise UsageError("which jobs?", "their numbers, or --all; xtrack list-jobs shows them")
    chosen = [job.id for job in context.jobs()] if every_job else named
    if not chosen:
        say("There are no jobs.")
    return chosen


@cli.command(
    epilog="""\b
Examples:
  xtrack pause-job 1 4 7
  xtrack pause-job --all
"""
)
@options.jobs_named
@options.all_jobs
@click.pass_obj
def pause_job(context: "Context", job_ids: tuple[int, ...], every_job: bool) -> None:
    """Remove the timers of jobs and keep all their data."""
    from xtrack import jobs

    for job, _ in jobs.pause(context, _chosen(context, job_ids, every_job)).jobs:
        click.echo(f"Job {job.id} paused. To go on: xtrack resume-job {job.id}")


@cli.command(
    epilog="""\b
Examples:
  xtrack resume-job 1 4 7
  xtrack resume-job --all
"""
)
@options.jobs_named
@options.all_jobs
@click.pass_obj
def resume_job(context: "Context", job_ids: tuple[int, ...], every_job: bool) -> None:
    """Write the timers of paused jobs again. Only slots from now on count."""
    from xtrack import jobs

    _print_change(context, jobs.resume(context, _chosen(context, job_ids, every_job)), "resumed")


@cli.command(
    epilog="""\b
Examples:
  xtrack delete-job 1
  xtrack delete-job 4 7 --yes
  xtrack delete-job --all
"""
)
@options.jobs_named
@options.all_jobs
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_job(context: "Context", job_ids: tuple[int, ...], every_job: bool, yes: bool) -> None:
    """Delete jobs with their runs and summaries. This cannot be undone."""
    from xtrack import jobs

    chosen = _chosen(context, job_ids, every_job)
    found = [context.job(job_id) for job_id in chosen]
    if found and not yes:
        whom = f"job {found[0].id} with its" if len(found) == 1 else f"{len(found)} jobs with their"
        click.confirm(f"Delete {whom} runs and summaries? This cannot be undone.", abort=True)
    jobs.delete(context, chosen)
    for job_id in chosen:
        click.echo(f"Job {job_id} deleted with its runs and summaries; its number is not used again.")


@cli.command(
    epilog="""\b
Examples:
  xtrack run-job 1
  xtrack run-job 1 --queue && xtrack logs 1 --follow
"""
)
@options.job
@click.option("--queue", is_flag=True, help="Have the scheduler run it, in a unit of its own, and do not wait.")
@click.pass_obj
def run_job(context: "Context", job_id: int, queue: bool) -> None:
    """Run a job now, paused or not. By hand, this leaves its schedule alone."""
    if queue:
        from xtrack import jobs

        run_id = jobs.play(context, job_id).id
        click.echo(f"Run {run_id} of job {job_id} is queued. What becomes of it: xtrack list-runs {job_id}")
        return
    from xtrack.run import run_job as do_job

    sys.exit(do_job(context, job_id, "typed"))


@cli.command(epilog="\b\nExample, in crontab:\n  */5 * * * * XTRACK_SCHEDULER=none /path/to/xtrack run-due")
@click.pass_obj
def run_due(context: "Context") -> None:
    """Run the jobs that are due.

    With a scheduler of the system these are the failed ones that are to be tried again, without one all.
    """
    from xtrack.due import run_due as do_due

    try:
        sys.exit(do_due(context))
    except NotFound:
        return


@cli.command(epilog="Example: xtrack list-jobs --json")
@options.as_json
@click.pass_obj
def list_jobs(context: "Context", as_json: bool) -> None:
    """All jobs: state, last run and its result, next run."""
    from xtrack import jobs, views

    _print_list(
        lambda: jobs.statuses(context, context.jobs()),
        views.job_json if as_json else None,
        lambda found: views.jobs_table(found, context.local),
        "No jobs yet. To try one: xtrack install-job --source sample --every hourly",
    )


@cli.command(epilog="Example: xtrack show-job 1")
@options.job
@options.as_json
@click.pass_obj
def show_job(context: "Context", job_id: int, as_json: bool) -> None:
    """All that is known of one job."""
    from xtrack import jobs, views

    (status,) = jobs.statuses(context, [context.job(job_id)])
    if as_json:
        _print_json(views.job_json(status))
    else:
        click.echo(views.job_text(status, context.local))


@cli.command(epilog="Example: xtrack list-runs 1 --limit 5")
@options.any_job
@options.limit
@options.as_json
@click.pass_obj
def list_runs(context: "Context", job_id: int | None, limit: int, as_json: bool) -> None:
    """The newest runs, of one job or of all."""
    from xtrack import jobs, views

    if job_id:
        context.job(job_id)
    _print_list(
        lambda: jobs.runs(context, job_id, limit),
        views.run_json if as_json else None,
        lambda found: views.runs_table(found, context.local),
        "No runs yet. To make one: xtrack run-job JOB",
    )


@cli.command(epilog="Example: xtrack list-summaries 1")
@options.any_job
@options.limit
@options.as_json
@click.pass_obj
def list_summaries(context: "Context", job_id: int | None, limit: int, as_json: bool) -> None:
    """The newest summaries, of one job or of all."""
    from xtrack import views

    if job_id:
        context.job(job_id)
    _print_list(
        lambda: context.store.summaries(job_id, limit),
        views.summary_json if as_json else None,
        lambda found: views.summaries_table(found, context.local),
        "No summaries yet. To make one: xtrack run-job JOB",
    )


@cli.command(epilog="Example: xtrack show-summary 1")
@click.argument("summary_id", metavar="SUMMARY", type=options.NUMBER)
@options.as_json
@click.pass_obj
def show_summary(context: "Context", summary_id: int, as_json: bool) -> None:
    """One digest, each line with its author and link."""
    from xtrack import views

    summary = context.store.summary(summary_id)
    posts = context.store.posts(summary_id)
    if as_json:
        _print_json({**views.summary_json(summary), "cited": [views.post_json(post) for post in posts]})
    else:
        click.echo(views.summary_text(summary, posts, context.local))


@cli.command(
    epilog="""\b
Examples:
  xtrack logs 1 --lines 20
  xtrack logs 1 --run 17
  xtrack logs 1 --follow
"""
)
@options.job
@click.option(
    "--run", "run_id", type=options.NUMBER, metavar="RUN", help="Only what was logged when this run was done."
)
@click.option("--lines", type=options.NUMBER, default=100, show_default=True, help="The last so many lines.")
@click.option("--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.pass_obj
def logs(context: "Context", job_id: int, run_id: int | None, lines: int, follow: bool) -> None:
    """What a job's runs have logged."""
    from xtrack import jobs

    context.backend.print_log(job_id, jobs.invocation(context, job_id, run_id), lines, follow)


@cli.command(epilog="Example: xtrack sync --dry-run")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.pass_obj
def sync(context: "Context", dry_run: bool) -> None:
    """Make the timers on this machine as the jobs say."""
    from xtrack import jobs

    plan = jobs.sync(context, dry_run)
    click.echo("\n".join(plan.lines()) or "All timers are as the jobs say.")


@cli.command(
    epilog="""\b
Examples:
  xtrack uninstall
  xtrack uninstall --purge --yes
"""
)
@click.option("--purge", is_flag=True, help="Delete the data too: all jobs, posts and summaries.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def uninstall(context: "Context", purge: bool, yes: bool) -> None:
    """Remove all timers of this home, keep the data."""
    from xtrack import jobs
    from xtrack.config import holds_settings

    if not yes:
        what = "all its jobs, posts and summaries? This cannot be undone."
        kept = "nothing else? The data stay; `xtrack sync` brings the timers back."
        click.confirm(f"Remove every timer of this home and {what if purge else kept}", abort=True)
    plan = jobs.uninstall(context, purge)
    click.echo("\n".join(plan.lines()) or "There were no timers to remove.")
    if not purge:
        say(f"The data stay in {context.home.data}")
    elif holds_settings(context.home):
        say(f"The settings stay: {context.home.config}")


@cli.command(epilog="Example: xtrack doctor")
@options.as_json
@click.pass_obj
def doctor(context: "Context", as_json: bool) -> None:
    """What is wrong here and what to type. Exits with 0 only if all is well."""
    from xtrack.doctor import examine

    checks = examine(context)
    if as_json:
        _print_json([{"name": c.name, "ok": c.ok, "detail": c.detail, "hint": c.hint or None} for c in checks])
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
            if check.hint and not check.ok:
                click.echo(f"      {check.hint}")
    sys.exit(0 if all(check.ok for check in checks) else 78)


def run() -> int:
    """Do what is typed; gives the exit code."""
    return run_group(cli)
