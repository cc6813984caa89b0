"""How a command starts and how it ends: which home it works on, as whom, and how its errors are printed."""

import os
import sys
from typing import Any

import click

from xtrack.config import locate, machine_zone
from xtrack.context import Context, utc_now
from xtrack.errors import Refused, XTrackError
from xtrack.privileges import become_service_user

_BUG = 70
_INTERRUPTED = 130


def say(line: str) -> None:
    """Tell whoever watches; what is asked for goes to stdout instead."""
    click.echo(line, err=True)


class Command(click.Command):
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
    os.umask(0o077)
    if home.is_system:
        become_service_user()
    return Context(home, machine_zone(), utc_now, say)


class Group(click.Group):
    """Lists its commands in the order in which one needs them."""

    command_class = Command

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


def run(group: click.Group) -> None:
    """The one place where errors are printed: a line, a hint, the exit code."""
    try:
        group.main(standalone_mode=False)
    except XTrackError as error:
        say(f"xtrack: {error}")
        if error.hint:
            say(f"  {error.hint}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("xtrack: stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("XTRACK_DEBUG"):
            raise
        say(f"xtrack: a bug: {type(error).__name__}: {error}")
        say("  XTRACK_DEBUG=1 shows where; please report it")
        sys.exit(_BUG)
