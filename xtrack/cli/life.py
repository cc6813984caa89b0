"""A job's life: install, update, pause, resume, delete."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from xtrack.cli import options
from xtrack.cli.command import say
from xtrack.cli.group import cli, columns
from xtrack.errors import BadData, NotFound, Refused, UsageError

if TYPE_CHECKING:
    from xtrack.context import Context

_MANY = 50


@cli.command(
    epilog="""\b
Examples:
  xtrack install-job --source sample --every 1min
  xtrack install-job @kaya @oslo_ferries --every daily --at 07:30 --budget 5
  xtrack install-job @kaya --every hourly --exclude replies,reposts --preview
  xtrack install-job @kaya --every daily --email kaya@example.org
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
    metavar="FILE",
    help="One job a name in this file, a name a line (-: stdin).",
)
@click.option(
    "--since",
    metavar="MOMENT",
    help="The first digest covers the posts since then: 30d, 2026-11-01. Default: the newest 500.",
)
@click.option("--exclude-at-source", "at_source", is_flag=True, help="Have X leave these out, unpaid; threads go too.")
@click.option("--preview", "look", is_flag=True, help="Show the first posts, also where they have to be bought.")
@click.option("--paused", is_flag=True, help="Without timers for now; resume-job writes them.")
@options.yes
@click.pass_obj
def install_job(
    context: "Context",
    names: tuple[str, ...],
    every: str,
    at: str | None,
    source: str | None,
    topics: tuple[str, ...],
    exclude: Any,
    emails: tuple[str, ...],
    mail_quiet: bool | None,
    summarizer: Any,
    focus: str | None,
    language: str | None,
    budget: int | None,
    each: bool,
    listing: str | None,
    since: str | None,
    at_source: bool,
    look: bool,
    paused: bool,
    yes: bool,
) -> None:
    """Make a job and its timer. Several names make one job that watches all of them, or with --each one job a name.

    Without --source the names are accounts at X. They are looked up, which costs a little, and no post is bought before
    the first run.
    """
    from xtrack import jobs

    if listing:
        names += tuple(jobs.listed(_text(listing)))
    if len(names) > _MANY and (each or listing):
        say(f"Making {len(names)} jobs …")
    wish = jobs.Wish(
        names=names,
        source=source,
        topics=topics,
        frequency=every,
        at=at,
        since=since,
        excluded=exclude,
        excluded_at_source=at_source,
        budget=budget,
        emails=emails,
        mail_quiet=mail_quiet,
        summarizer=summarizer,
        focus=focus,
        language=language,
    )
    changed = jobs.install(context, wish, _agree(yes), each or listing is not None, paused, look)
    _print_change(context, changed, "installed, paused" if paused else "installed")


def _agree(yes: bool) -> Callable[[str, bool], None]:
    """Tell a price before it is paid, and ask where that is much."""

    def agree(price: str, is_much: bool) -> None:
        say(price)
        if is_much and not yes:
            click.confirm("Go on?", abort=True, err=True)

    return agree


def _text(path: str) -> str:
    """What is in a file, which root may read where the service user may not; of "-" what stdin gives."""
    from xtrack.privileges import as_root

    try:
        with as_root(), click.open_file(path, encoding="utf-8") as file:
            return str(file.read())
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", "xtrack install-job --help") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", f"ls -la {path}") from error
    except ValueError as error:
        raise BadData(f"{path} is no text in UTF-8: {error}", f"file {path}") from error


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
    if changed.cost:
        click.echo(f"Cost: {views.cost(changed.cost)}")
    if changed.preview:
        click.echo(f"The first posts of its source:\n{views.preview_text(changed.preview, context.local, columns())}")
    for note in changed.notes:
        say(f"Note: {note}")


@cli.command(
    epilog="""\b
Examples:
  xtrack update-job 1 --every every_6_hours --at 06:15
  xtrack update-job 1 @kaya @oslo_ferries
  xtrack update-job 1 --no-topics
  xtrack update-job 1 --exclude replies --budget 2.50
"""
)
@options.job
@click.argument("names", nargs=-1, metavar="[@NAME]...")
@options.schedule(required=False)
@click.option("--no-names", is_flag=True, help="Watch everybody in the source.")
@click.option("--no-topics", is_flag=True, help="Take posts on everything.")
@click.option("--no-exclude", is_flag=True, help="Leave nothing out.")
@click.option("--exclude-at-source/--no-exclude-at-source", "at_source", default=None, help="Have X leave these out.")
@click.option("--no-budget", is_flag=True, help="Let it cost what it costs.")
@click.option("--no-emails", is_flag=True, help="Mail it to nobody.")
@options.yes
@click.pass_obj
def update_job(
    context: "Context",
    job_id: int,
    names: tuple[str, ...],
    every: str | None,
    at: str | None,
    source: str | None,
    topics: tuple[str, ...],
    exclude: Any,
    emails: tuple[str, ...],
    mail_quiet: bool | None,
    summarizer: Any,
    focus: str | None,
    language: str | None,
    budget: int | None,
    no_names: bool,
    no_topics: bool,
    no_exclude: bool,
    at_source: bool | None,
    no_budget: bool,
    no_emails: bool,
    yes: bool,
) -> None:
    """Change a job. What is not named stays; names and topics replace those that were there."""
    from xtrack import jobs

    both = ((names, no_names), (topics, no_topics), (exclude, no_exclude), (budget, no_budget), (emails, no_emails))
    if any(some and none for some, none in both):
        raise UsageError("those that are named, or none?", "xtrack update-job --help")
    flags = (no_names, no_topics, no_exclude, no_budget, no_emails)
    words = (names, every, at, source, topics, exclude, emails, summarizer)
    told = (budget, at_source, mail_quiet, focus, language)
    if not any((*flags, *words)) and all(one is None for one in told):
        raise UsageError("what is to be changed?", "xtrack update-job --help")
    wish = jobs.Wish(
        names=() if no_names else names or None,
        source=source,
        topics=() if no_topics else topics or None,
        frequency=every,
        at=at,
        excluded=() if no_exclude else exclude,
        excluded_at_source=False if no_exclude else at_source,
        budget=-1 if no_budget else budget,
        emails=() if no_emails else emails or None,
        mail_quiet=mail_quiet,
        summarizer=summarizer,
        focus=focus,
        language=language,
    )
    _print_change(context, jobs.update(context, job_id, wish, _agree(yes)), "updated")


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
@options.yes
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
