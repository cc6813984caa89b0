"""The arguments and options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

NUMBER = click.IntRange(1, 2**63 - 1)


def as_json(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


job = click.argument("job_id", metavar="JOB", type=NUMBER)
jobs_named = click.argument("job_ids", metavar="[JOB]...", type=NUMBER, nargs=-1)
all_jobs = click.option("--all", "every_job", is_flag=True, help="All jobs.")
any_job = click.argument("job_id", metavar="[JOB]", type=NUMBER, required=False)
of_job = click.option("--job", "job_id", type=NUMBER, metavar="JOB", help="Only of this job.")
limit = click.option("--limit", type=NUMBER, default=50, show_default=True, help="At most so many.")


def schedule(required: bool) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        for option in (
            click.option("--topic", "topics", multiple=True, metavar="T", help="Only posts on this; may be repeated."),
            click.option("--source", metavar="FILE|URL|sample", help="Where posts come from: see docs/sources.md."),
            click.option(
                "--at",
                metavar="[DAY ]HH:MM",
                help="The time of day; hourly takes its minute, weekly also a day: 'Mon 08:00'. Default: now.",
            ),
            click.option(
                "--every",
                required=required,
                metavar="F",
                help="hourly, daily, weekdays, weekly, or a period that divides an hour or a day: 15min, 2h, 6h.",
            ),
        ):
            function = option(function)
        return function

    return add
