"""The machine below the jobs: logs, timers, what is wrong."""

import sys
from typing import TYPE_CHECKING

import click

from xtrack.cli import options
from xtrack.cli.command import say
from xtrack.cli.group import cli, print_json

if TYPE_CHECKING:
    from xtrack.context import Context


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
    from xtrack import outcomes

    context.backend.print_log(job_id, outcomes.invocation(context, job_id, run_id), lines, follow)


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
        print_json([{"name": c.name, "ok": c.ok, "detail": c.detail, "hint": c.hint or None} for c in checks])
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
            if check.hint and not check.ok:
                click.echo(f"      {check.hint}")
    sys.exit(0 if all(check.ok for check in checks) else 78)
