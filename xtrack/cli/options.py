"""The arguments and options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from xtrack.errors import BadData

_F = TypeVar("_F", bound=Callable[..., Any])

_LONGEST = 1000
NUMBER = click.IntRange(1, 2**63 - 1)


def as_json(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


def _dollars(text: str) -> int:
    """A sum in millionths."""
    from xtrack import money

    try:
        return money.parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no sum: {error}") from None


def _kinds(text: str) -> tuple[str, ...]:
    """Kinds of posts, with commas between them."""
    from xtrack.models import EXCLUDABLE

    words = [word.strip() for word in text.split(",")]
    if strange := [word for word in words if word not in EXCLUDABLE.values()]:
        raise click.BadParameter(f"{strange[0]!r} is none of {', '.join(EXCLUDABLE.values())}")
    return tuple(kind for kind, name in EXCLUDABLE.items() if name in words)


def address(text: str) -> str:
    from xtrack.settings import address

    try:
        return address(text)
    except ValueError:
        raise BadData(f"{text!r} is no e-mail address", "such as kaya@example.org") from None


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST:
        raise click.BadParameter(f"one line of at most {_LONGEST} characters")
    return text.strip()


yes = click.option("--yes", is_flag=True, help="Do not ask.")
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
            click.option(
                "--email", "emails", type=address, multiple=True, metavar="A", help="Mail it there; may be repeated."
            ),
            click.option("--mail-quiet/--no-mail-quiet", default=None, help="Mail also that nothing is new."),
            click.option(
                "--summarizer",
                type=click.Choice(["extractive", "llm"]),
                help="Sentences from the posts, or a model's words. Default: llm where llm.model is set.",
            ),
            click.option("--prompt", "focus", type=_line, metavar="TEXT", help="What a model is to look for."),
            click.option("--language", type=_line, metavar="L", help="In which language a model is to write."),
            click.option("--budget", type=_dollars, metavar="USD", help="The most that it may cost in a month."),
            click.option(
                "--exclude",
                type=_kinds,
                metavar="replies,reposts",
                help="Leave these out of digests; replies to oneself, threads, stay.",
            ),
            click.option(
                "--source",
                metavar="FILE|URL|sample",
                help="Where posts come from, instead of X: see docs/sources.md.",
            ),
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
