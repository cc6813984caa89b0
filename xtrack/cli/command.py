"""How typed commands start and end: on which home, as whom, and with which exit code."""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from xtrack.errors import Misconfigured, Refused, Temporary, UsageError
from xtrack.streams import abandon, tell

# As Ctrl-C, which says no as well.
_NO_ANSWER = 130


def say(line: str) -> None:
    """Tell whoever watches; what is asked for goes to stdout instead."""
    tell(line)


class Command(click.Command):
    """A command that takes --system and is given the Context, unless its caller has brought one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        help_text = "Work on the jobs of the whole system (root's default)."
        self.params.append(click.Option(["--system"], is_flag=True, help=help_text))

    def invoke(self, ctx: click.Context) -> Any:
        from xtrack.context import here

        system = ctx.params.pop("system")
        if system and os.getuid() != 0:
            raise Refused("jobs of the whole system are root's", f"sudo xtrack {ctx.info_name} …")
        ctx.obj = ctx.obj or ctx.with_resource(closing(here(system)))
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read has enough, which is no failure; click would make it one.
            abandon(sys.stdout)


class Group(click.Group):
    """Lists its commands in the order in which one needs them."""

    command_class = Command

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


def run(group: click.Group) -> int:
    """Do what is typed; gives the exit code. Raises XTrackError."""
    try:
        group.main(prog_name="xtrack", standalone_mode=False)
    except SystemExit as end:
        return int(end.code or 0)
    except click.Abort:
        tell("xtrack: nothing was done, for want of a yes")
        tell("  --yes does it without asking")
        return _NO_ANSWER
    except click.exceptions.NoArgsIsHelpError as error:
        tell(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"{context.command_path if context else 'xtrack'} --help"
        raise UsageError(error.format_message(), hint) from None
    except OSError as error:
        if _is_nowhere():
            raise Misconfigured("the folder that you are in was deleted", "cd") from error
        if not _is_stuck():
            raise
        abandon(sys.stdout)
        raise Temporary(f"the output cannot be written: {error.strerror}") from error
    return 0


def _is_stuck() -> bool:
    """Whether something is left in stdout's buffer that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _is_nowhere() -> bool:
    """Whether there is no folder that a relative path starts from."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
