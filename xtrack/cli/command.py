"""How typed commands start and end: on which home, as whom, and with which exit code."""

import os
import sys
from typing import Any

import click

from xtrack.errors import Refused


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
        from xtrack.context import here

        system = ctx.params.pop("system")
        if system and os.getuid() != 0:
            raise Refused("jobs of the whole system are root's", f"sudo xtrack {ctx.info_name} …")
        ctx.obj = ctx.obj or here(system)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Whoever read has enough, which is no failure; click would make it one.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Group(click.Group):
    """Lists its commands in the order in which one needs them."""

    command_class = Command

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


def run(group: click.Group) -> int:
    """Do what is typed; gives the exit code. Raises XTrackError, and KeyboardInterrupt where a question got no yes."""
    try:
        group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return 0
