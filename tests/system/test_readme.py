"""README.md is true: its screen is what the program prints, and every shell block runs."""

import json
import re
from pathlib import Path

import pytest

from tests.system.machine import Machine

README = (Path(__file__).parents[2] / "README.md").read_text()

# The commands as they are, but at the README's moment instead of now.
AT_THAT_MOMENT = """
import json, os, sys
from datetime import UTC, datetime
from xtrack.cli import cli
from xtrack.config import locate, machine_zone
from xtrack.context import Context

moment = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
for command in json.loads(sys.argv[1]):
    print("$", command, flush=True)
    context = Context(locate(os.environ), machine_zone(), lambda: moment, lambda line: print(line, flush=True))
    try:
        cli.main(__import__("shlex").split(command)[1:], obj=context, standalone_mode=False)
    except SystemExit as end:
        assert not end.code
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.systemd
def test_the_screen_is_what_the_program_prints(machine: Machine) -> None:
    machine.user("ann")
    [screen] = blocks("console")
    commands = [line.removeprefix("$ ") for line in screen.splitlines() if line.startswith("$ ")]
    done = machine.run("/opt/xtrack/bin/python", "-c", AT_THAT_MOMENT, json.dumps(commands), user="ann")
    assert [line.rstrip() for line in done.stdout.splitlines()] == screen.splitlines()


@pytest.mark.systemd
def test_every_shell_block_runs(machine: Machine) -> None:
    machine.user("ann")
    ours = [block for block in blocks("sh") if not block.startswith(("make ", "pipx "))]
    assert len(ours) == len(blocks("sh")) - 2
    assert len(ours) >= 8
    for block in ours:
        user = None if "sudo " in block else "ann"
        done = machine.run("bash", "-eu", "-c", block.replace("sudo ", ""), user=user, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert "Mill Museum" in machine.run("cat", "posts.jsonl", user="ann").stdout
