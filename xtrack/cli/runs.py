"""Running jobs, and what became of them."""

import sys
from typing import TYPE_CHECKING

import click

from xtrack.cli import options
from xtrack.cli.group import cli, print_json, print_list
from xtrack.errors import NotFound

if TYPE_CHECKING:
    from xtrack.context import Context


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
    from xtrack import outcomes, views

    print_list(
        lambda: outcomes.statuses(context, context.jobs()),
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
    from xtrack import outcomes, views

    (status,) = outcomes.statuses(context, [context.job(job_id)])
    if as_json:
        print_json(views.job_json(status))
    else:
        click.echo(views.job_text(status, context.local, outcomes.source_of(context, job_id)))


@cli.command(
    epilog="""\b
Examples:
  xtrack usage
  xtrack usage --month 2026-10 --json
"""
)
@click.option("--month", metavar="YYYY-MM", help="A UTC month. Default: this one.")
@options.as_json
@click.pass_obj
def usage(context: "Context", month: str | None, as_json: bool) -> None:
    """What was bought this month, by job and in all, what it may come to, and the budgets."""
    from xtrack import views
    from xtrack.spending import spending

    found = spending(context, month)
    if as_json:
        print_json(views.spending_json(found))
    else:
        click.echo(views.spending_text(found))


@cli.command(epilog="Example: xtrack list-runs 1 --limit 5")
@options.any_job
@options.limit
@options.as_json
@click.pass_obj
def list_runs(context: "Context", job_id: int | None, limit: int, as_json: bool) -> None:
    """The newest runs, of one job or of all."""
    from xtrack import outcomes, views

    if job_id:
        context.job(job_id)
    print_list(
        lambda: outcomes.runs(context, job_id, limit),
        views.run_json if as_json else None,
        lambda found: views.runs_table(found, context.local),
        "No runs yet. To make one: xtrack run-job JOB",
    )
