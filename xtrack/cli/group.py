"""The group that all commands are in, and how they print what they found."""

import json
import shutil
from collections.abc import Callable
from typing import Any, TypeVar

import click

from xtrack import __version__
from xtrack.cli.command import Group, say
from xtrack.errors import NotFound

_T = TypeVar("_T")
_WIDEST = 100

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


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_list(
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
        print_json([as_json(one) for one in found])
    elif found:
        click.echo(as_table(found))
    else:
        say(when_empty)


def columns() -> int:
    """How wide what is printed may be."""
    return min(shutil.get_terminal_size().columns, _WIDEST)
