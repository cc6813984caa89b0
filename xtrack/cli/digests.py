"""What the runs wrote."""

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from xtrack.cli import options
from xtrack.cli.group import cli, columns, print_json, print_list
from xtrack.errors import UsageError

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


@cli.command(
    epilog="""\b
Examples:
  xtrack show-summary 1
  xtrack show-summary 1 --html > digest.html
"""
)
@click.argument("summary_id", metavar="SUMMARY", type=options.NUMBER)
@click.option("--html", "as_html", is_flag=True, help="Print it as a page of HTML, the way it is mailed.")
@options.as_json
@click.pass_obj
def show_summary(context: "Context", summary_id: int, as_html: bool, as_json: bool) -> None:
    """One digest, each line with its author and link."""
    from xtrack import compose, views

    if as_html and as_json:
        raise UsageError("HTML or JSON?", "xtrack show-summary --help")
    summary, posts = context.store.summary(summary_id), context.store.posts(summary_id)
    if as_json:
        print_json({**views.summary_json(summary), "cited": [views.post_json(post) for post in posts]})
        return
    shown = compose.show(summary, posts, context.job(summary.job_id), context.local)
    click.echo(compose.html(shown) if as_html else compose.text(shown, columns()), nl=False)


@cli.command(
    epilog="""\b
Examples:
  xtrack search ferry
  xtrack search "night ferry" wind
  xtrack search "harbo*" --job 1 --json
"""
)
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@options.of_job
@options.limit
@options.as_json
@click.pass_obj
def search(context: "Context", words: tuple[str, ...], job_id: int | None, limit: int, as_json: bool) -> None:
    """Find summaries and posts that have all these words, the newest first. Several in quotes are a phrase."""
    from xtrack import views
    from xtrack.words import query

    if job_id:
        context.job(job_id)
    asked = query(words)
    bold = partial(click.style, bold=True) if sys.stdout.isatty() else str
    print_list(
        lambda: context.store.found(asked, job_id, limit),
        views.hit_json if as_json else None,
        lambda found: views.search_text(found, words, context.local, columns(), bold),
        "Nothing has all these words.",
    )


@cli.command(
    epilog="""\b
Examples:
  xtrack list-deliveries 1
  xtrack list-deliveries --json
"""
)
@options.any_job
@options.limit
@options.as_json
@click.pass_obj
def list_deliveries(context: "Context", job_id: int | None, limit: int, as_json: bool) -> None:
    """The newest mails, of one job or of all, and what has become of them."""
    from xtrack import views

    if job_id:
        context.job(job_id)
    print_list(
        lambda: context.store.deliveries(job_id, limit),
        views.delivery_json if as_json else None,
        lambda found: views.deliveries_table(found, context.local),
        "No mails yet. To get some: xtrack update-job JOB --email YOU",
    )


@cli.command(
    epilog="""\b
Examples:
  xtrack send-summary 12
  xtrack send-summary 12 --to kaya@example.org
"""
)
@click.argument("summary_id", metavar="SUMMARY", type=options.NUMBER)
@click.option("--to", "recipients", type=options.address, multiple=True, metavar="A", help="Whom to; may be repeated.")
@click.pass_obj
def send_summary(context: "Context", summary_id: int, recipients: tuple[str, ...]) -> None:
    """Mail a digest now, again if need be: to those that its job mails to, or to others."""
    from xtrack.outbox import send_summary as send

    sys.exit(send(context, summary_id, recipients))


@cli.command(epilog="Example: xtrack test-mail kaya@example.org")
@click.argument("recipient", metavar="ADDRESS", type=options.address)
@click.pass_obj
def test_mail(context: "Context", recipient: str) -> None:
    """Send a mail that says that mail works."""
    from xtrack.outbox import test_mail as send

    send(context, recipient)
    click.echo(f"Mailed to {recipient}.")
