"""The data as a whole: back up, restore, export, purge, vacuum."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xtrack.cli import options
from xtrack.cli.command import say
from xtrack.cli.group import cli
from xtrack.errors import UsageError

if TYPE_CHECKING:
    from xtrack.context import Context


def _absolute(_: click.Context, __: click.Parameter, path: Path) -> Path:
    """A path as a shell understands it, also where it did not see the ~."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"{path}: there is no such user", "xtrack backup --help") from None


_file = click.argument("file", type=click.Path(path_type=Path), callback=_absolute)


@cli.command(epilog="Example: xtrack backup ~/backup/xtrack.db")
@_file
@click.pass_obj
def backup(context: "Context", file: Path) -> None:
    """Copy the database to a file, also while runs go on. The settings are a file of their own."""
    from xtrack import upkeep

    upkeep.back_up(context, file)
    click.echo(f"The database is copied to {file}. To have it back: xtrack restore {file}")


@cli.command(epilog="Example: xtrack restore ~/backup/xtrack.db")
@_file
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(context: "Context", file: Path, yes: bool) -> None:
    """Put a backup in the place of all jobs, posts and summaries, and make the timers as its jobs say."""
    from xtrack import upkeep

    if not yes:
        click.confirm(f"Replace all jobs, posts and summaries by those of {file}?", abort=True)
    restored = upkeep.restore(context, file)
    click.echo("\n".join([*restored.plan.lines(), f"The database is that of {file} again."]))
    if restored.kept:
        say(f"What was there before is kept in {restored.kept}")


@cli.command(
    epilog="""\b
Examples:
  xtrack export posts > posts.json
  xtrack export summaries --job 1 --format csv > summaries.csv
  xtrack export runs --format jsonl | jq .error
"""
)
@click.argument("what", type=click.Choice(["posts", "runs", "summaries"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "jsonl", "csv"]),
    default="json",
    show_default=True,
    help="A list, an object a line, or a table.",
)
@options.of_job
@click.pass_obj
def export(context: "Context", what: str, form: str, job_id: int | None) -> None:
    """Print all posts, runs or summaries, the oldest first."""
    from xtrack import exports

    if job_id:
        context.job(job_id)
    for part in exports.export(context, what, job_id, form):
        click.echo(part, nl=False)


@cli.command(
    epilog="""\b
Examples:
  xtrack purge --older-than 90d
  xtrack purge --post 1860000000000000001
"""
)
@click.option("--older-than", "age", metavar="AGE", help="All posts made before this: 90d, 8w, or a day as 2026-11-01.")
@click.option("--post", "post_id", metavar="ID", help="One post, with what reposts, quotes and summaries show of it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(context: "Context", age: str | None, post_id: str | None, yes: bool) -> None:
    """Delete what posts say. Their ids stay, so that they do not come again. This cannot be undone."""
    from xtrack import moments, upkeep

    if bool(age) == bool(post_id):
        raise UsageError("which posts?", "--older-than AGE, or --post ID")
    before = moments.parse(age, context.clock(), context.zone) if age else None
    if not yes:
        which = f"of all posts before {context.local(before)}" if before else f"of post {post_id}"
        click.confirm(f"Delete the text {which}? This cannot be undone.", abort=True)
    if before:
        count = upkeep.purge(context, before)
        click.echo(f"{count} post{'s' * (count != 1)} blanked; summaries stay.")
    elif post_id:
        count = upkeep.purge_post(context, post_id)
        click.echo(f"Post {post_id} blanked, and {count} line{'s' * (count != 1)} of summaries.")
    say("The file may have traces of them until: xtrack vacuum. Backups keep what they have.")


@cli.command(epilog="Example: xtrack vacuum")
@click.pass_obj
def vacuum(context: "Context") -> None:
    """Write the database file anew, if a fifth of it or more is free, or posts were purged. Runs wait meanwhile."""
    from xtrack import upkeep

    freed = upkeep.vacuum(context)
    if freed is None:
        click.echo("There is little to gain: nothing was done.")
    else:
        click.echo(f"The file is written anew, {max(freed, 0) / 1e6:.1f} MB smaller.")
