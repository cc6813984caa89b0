"""What the runs wrote."""

from typing import TYPE_CHECKING

import click

from xtrack.cli import options
from xtrack.cli.group import cli, print_json, print_list

if TYPE_CHECKING:
    from xtrack.context import Context


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
    print_list(
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
        print_json({**views.summary_json(summary), "cited": [views.post_json(post) for post in posts]})
    else:
        click.echo(views.summary_text(summary, posts, context.local))
