"""The xtrack command: each command parses, calls one use case, and prints what it gives."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from xtrack import __version__
from xtrack.config import locate, machine_zone
from xtrack.context import Context, utc_now
from xtrack.errors import NotFound, Refused, XTrackError
from xtrack.privileges import become_service_user

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_BUG = 70
_INTERRUPTED = 130

_EXAMPLES = """\b
Examples:
  xtrack install-job --source sample --every hourly
  xtrack install-job @oslo_ferries @kaya --source ~/posts.jsonl --every daily --at 07:30
  xtrack list-jobs
  xtrack run-job 1
  xtrack show-summary 1
"""


def _say(line: str) -> None:
    click.echo(line, err=True)


class _Command(click.Command):
    """A command that takes --system and is given the Context, unless its caller has brought one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        help_text = "Work on the jobs of the whole system (root's default)."
        self.params.append(click.Option(["--system"], is_flag=True, help=help_text))

    def invoke(self, ctx: click.Context) -> Any:
        system = ctx.params.pop("system")
        if system and os.getuid() != 0:
            raise Refused("jobs of the whole system are root's", f"sudo xtrack {ctx.info_name} …")
        ctx.obj = ctx.obj or _context(system)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read has enough, which is no failure; click would make it one.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _context(system: bool) -> Context:
    home = locate({**os.environ, "XTRACK_SCHEDULER": "systemd-system"} if system else os.environ)
    if home.is_system:
        become_service_user()
    return Context(home, machine_zone(), utc_now, _say)


class _Group(click.Group):
    """Lists its commands in the order in which one needs them."""

    command_class = _Command

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xtrack")
def cli() -> None:
    """Follow what X accounts say without living on X.

    A job says what to watch and how often. The system's own scheduler starts each one (systemd timers), and every run
    leaves a digest behind.
    """


def _json_option(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


_NUMBER = click.IntRange(1, 2**63 - 1)
_job = click.argument("job_id", metavar="JOB", type=_NUMBER)
_any_job = click.argument("job_id", metavar="[JOB]", type=_NUMBER, required=False)
_limit = click.option("--limit", type=_NUMBER, default=50, show_default=True, help="At most so many.")


def _schedule_options(required: bool) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        for option in (
            click.option("--topic", "topics", multiple=True, metavar="T", help="Only posts on this; may be repeated."),
            click.option("--source", metavar="FILE|sample", help="Where posts come from: a JSONL file, or the sample."),
            click.option("--at", metavar="HH:MM", help="The time of day; an hourly job takes its minute."),
            click.option(
                "--every",
                required=required,
                metavar="F",
                help="hourly, every_6_hours, every_12_hours, daily, or minutes: 1min … 30min.",
            ),
        ):
            function = option(function)
        return function

    return add


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
        _say(when_empty)


@cli.command(
    epilog="""\b
Examples:
  xtrack install-job --source sample --every 1min
  xtrack install-job @kaya @oslo_ferries --source /srv/posts.jsonl --every daily --at 07:30
  xtrack install-job --source ~/posts.jsonl --every hourly --topic energy --topic "public transport"
"""
)
@click.argument("names", nargs=-1, metavar="[@NAME]...")
@_schedule_options(required=True)
@click.pass_obj
def install_job(
    context: Context, names: tuple[str, ...], every: str, at: str | None, source: str | None, topics: tuple[str, ...]
) -> None:
    """Make a job and its timer. Several names make one job that watches all of them."""
    from xtrack import jobs, views

    wish = jobs.Wish(names=names, source=source, topics=topics, frequency=every, at=at)
    changed = jobs.install(context, wish)
    click.echo(f"Job {changed.job.id} installed: watches {views.watched(changed.job)}, {views.every(changed.job)}.")
    _print_change(context, changed)


def _print_change(context: Context, changed: Any) -> None:
    if changed.next_run:
        click.echo(f"Next run: {context.local(changed.next_run)}")
    for warning in changed.warnings:
        _say(f"Note: {warning}")


@cli.command(
    epilog="""\b
Examples:
  xtrack update-job 1 --every every_6_hours --at 06:15
  xtrack update-job 1 @kaya @oslo_ferries
  xtrack update-job 1 --no-topics
"""
)
@_job
@click.argument("names", nargs=-1, metavar="[@NAME]...")
@_schedule_options(required=False)
@click.option("--no-names", is_flag=True, help="Watch everybody in the source.")
@click.option("--no-topics", is_flag=True, help="Take posts on everything.")
@click.pass_obj
def update_job(
    context: Context,
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
    from xtrack import jobs, views

    wish = jobs.Wish(
        names=() if no_names else names or None,
        source=source,
        topics=() if no_topics else topics or None,
        frequency=every,
        at=at,
    )
    changed = jobs.update(context, job_id, wish)
    click.echo(f"Job {job_id} updated: watches {views.watched(changed.job)}, {views.every(changed.job)}.")
    _print_change(context, changed)


@cli.command(epilog="Example: xtrack pause-job 1")
@_job
@click.pass_obj
def pause_job(context: Context, job_id: int) -> None:
    """Remove a job's timer and keep all its data."""
    from xtrack import jobs

    jobs.pause(context, job_id)
    click.echo(f"Job {job_id} paused. To go on: xtrack resume-job {job_id}")


@cli.command(epilog="Example: xtrack resume-job 1")
@_job
@click.pass_obj
def resume_job(context: Context, job_id: int) -> None:
    """Write a paused job's timer again. Only slots from now on count."""
    from xtrack import jobs

    changed = jobs.resume(context, job_id)
    click.echo(f"Job {job_id} resumed.")
    _print_change(context, changed)


@cli.command(epilog="Example: xtrack delete-job 1 --yes")
@_job
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_job(context: Context, job_id: int, yes: bool) -> None:
    """Delete a job with its runs and summaries. This cannot be undone."""
    from xtrack import jobs

    context.job(job_id)
    if not yes:
        click.confirm(f"Delete job {job_id} with its runs and summaries? This cannot be undone.", abort=True)
    jobs.delete(context, job_id)
    click.echo(f"Job {job_id} deleted with its runs and summaries; its number is not used again.")


@cli.command(epilog="Example: xtrack run-job 1")
@_job
@click.pass_obj
def run_job(context: Context, job_id: int) -> None:
    """Run a job now. By hand, this leaves its schedule alone."""
    from xtrack.run import run_job as do_job

    sys.exit(do_job(context, job_id, by_timer=os.environ.get("XTRACK_TRIGGER") == "timer"))


@cli.command(epilog="Example, in crontab: */5 * * * * XTRACK_SCHEDULER=none xtrack run-due")
@click.pass_obj
def run_due(context: Context) -> None:
    """Run the jobs that are due.

    With a scheduler of the system these are the failed ones that are to be tried again, without one all.
    """
    from xtrack.run import run_due as do_due

    try:
        sys.exit(do_due(context))
    except NotFound:
        return


@cli.command(epilog="Example: xtrack list-jobs --json")
@_json_option
@click.pass_obj
def list_jobs(context: Context, as_json: bool) -> None:
    """All jobs: state, last run and its result, next run."""
    from xtrack import jobs, views

    _print_list(
        lambda: jobs.statuses(context, context.jobs()),
        views.job_json if as_json else None,
        lambda found: views.jobs_table(found, context.local),
        "No jobs yet. To try one: xtrack install-job --source sample --every hourly",
    )


@cli.command(epilog="Example: xtrack show-job 1")
@_job
@_json_option
@click.pass_obj
def show_job(context: Context, job_id: int, as_json: bool) -> None:
    """All that is known of one job."""
    from xtrack import jobs, views

    (status,) = jobs.statuses(context, [context.job(job_id)])
    if as_json:
        _print_json(views.job_json(status))
    else:
        click.echo(views.job_text(status, context.local))


@cli.command(epilog="Example: xtrack list-runs 1 --limit 5")
@_any_job
@_limit
@_json_option
@click.pass_obj
def list_runs(context: Context, job_id: int | None, limit: int, as_json: bool) -> None:
    """The newest runs, of one job or of all."""
    from xtrack import views

    if job_id:
        context.job(job_id)
    _print_list(
        lambda: context.store.runs(job_id, limit),
        views.run_json if as_json else None,
        lambda found: views.runs_table(found, context.local),
        "No runs yet. To make one: xtrack run-job JOB",
    )


@cli.command(epilog="Example: xtrack list-summaries 1")
@_any_job
@_limit
@_json_option
@click.pass_obj
def list_summaries(context: Context, job_id: int | None, limit: int, as_json: bool) -> None:
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
@click.argument("summary_id", metavar="SUMMARY", type=_NUMBER)
@_json_option
@click.pass_obj
def show_summary(context: Context, summary_id: int, as_json: bool) -> None:
    """One digest, each line with its author and link."""
    from xtrack import views

    summary = context.store.summary(summary_id)
    posts = context.store.posts(summary_id)
    if as_json:
        _print_json({**views.summary_json(summary), "cited": [views.post_json(post) for post in posts]})
    else:
        click.echo(views.summary_text(summary, posts, context.local))


@cli.command(epilog="Example: xtrack logs 1 --lines 20")
@_job
@click.option("--lines", type=_NUMBER, default=100, show_default=True, help="The last so many lines.")
@click.pass_obj
def logs(context: Context, job_id: int, lines: int) -> None:
    """What a job's runs have logged."""
    context.job(job_id)
    context.backend.print_log(job_id, lines)


@cli.command(epilog="Example: xtrack sync --dry-run")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.pass_obj
def sync(context: Context, dry_run: bool) -> None:
    """Make the timers on this machine as the jobs say."""
    from xtrack import jobs

    plan = jobs.sync(context, dry_run)
    click.echo("\n".join(plan.lines()) or "All timers are as the jobs say.")


@cli.command(epilog="Example: xtrack uninstall --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def uninstall(context: Context, yes: bool) -> None:
    """Remove all timers of this home, keep the data."""
    if not yes:
        click.confirm(
            "Remove every timer of this home? The data stay; `xtrack sync` brings the timers back.", abort=True
        )
    plan = context.backend.remove()
    click.echo("\n".join(plan.lines()) or "There was nothing to remove.")
    _say(f"The data stay in {context.home.data}")


@cli.command(epilog="Example: xtrack doctor")
@_json_option
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
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


def main() -> None:
    """The one place where errors are printed: a line, a hint, the exit code."""
    try:
        cli.main(standalone_mode=False)
    except XTrackError as error:
        _say(f"xtrack: {error}")
        if error.hint:
            _say(f"  {error.hint}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _say("xtrack: stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("XTRACK_DEBUG"):
            raise
        _say(f"xtrack: a bug: {type(error).__name__}: {error}")
        _say("  XTRACK_DEBUG=1 shows where; please report it")
        sys.exit(_BUG)
