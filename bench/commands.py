"""Whole processes of the command, timed by pyperf in turns with `python -c pass` of the same environment."""

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import pyperf  # type: ignore[import-untyped]  # it has no types

from bench.table import drift
from xtrack.config import machine_zone
from xtrack.ledger import due
from xtrack.models import Digest
from xtrack.store import Store
from xtrack.store.rows import stamp

JOBS = 1000
ROUNDS = 3


def make_environment(folder: Path, *packages: Path | str) -> Path:
    """An environment as `pipx install` makes it of wheels and requirements; gives its bin.

    Not the one of the tests, whose interpreter looks for an editable package whenever it starts, which takes as long as
    the rest of it: all multiples would be half of what they are.
    """
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *map(str, packages)], check=True, capture_output=True)
    return folder / "bin"


def measure(bin_: Path, scratch: Path) -> dict[str, float]:
    """Medians of all values of all rounds, but for the first as multiples of it."""
    # The user's systemd is named, as list-jobs names timers; with no slot overdue, nobody asks it anything.
    home = {"XTRACK_HOME": str(scratch / "home"), "XTRACK_SCHEDULER": "systemd-user", "XTRACK_TRIGGER": "timer"}
    environ = {"HOME": str(scratch), "PATH": os.defpath, **home}
    _make_home(bin_ / "xtrack", {**environ, "XTRACK_SCHEDULER": "none"}, scratch)
    commands = {
        "pass": [str(bin_ / "python"), "-c", "pass"],
        "help": [str(bin_ / "xtrack"), "--help"],
        "done": [str(bin_ / "xtrack"), "run-job", "1"],
        "list": [str(bin_ / "xtrack"), "list-jobs"],
    }
    values: dict[str, list[tuple[float, ...]]] = {name: [] for name in commands}
    for turn in range(ROUNDS):
        for name, command in commands.items():
            values[name].append(_timed(command, environ, list(home), scratch / f"{name}-{turn}.json"))
    values["pass"].append(_timed(commands["pass"], environ, list(home), scratch / "pass.json"))
    with Store(scratch / "home/xtrack.db") as store:
        if len(store.runs(limit=2 * JOBS)) != JOBS:
            raise RuntimeError("a slot has come meanwhile: once more")
    medians = {name: median(value for turn in turns for value in turn) for name, turns in values.items()}
    multiples = {name: value / medians["pass"] for name, value in medians.items()}
    return {**multiples, "pass": 1000 * medians["pass"], "drift": drift([median(turn) for turn in values["pass"]])}


def _timed(command: list[str], environ: Mapping[str, str], inherited: list[str], file: Path) -> tuple[float, ...]:
    """Seconds of one process, a value each time that pyperf has looked."""
    options = ["--processes=4", "--values=3", "--warmups=1", f"--inherit-environ={','.join(inherited)}"]
    words = [sys.executable, "-m", "pyperf", "command", "--quiet", *options, f"--output={file}", "--", *command]
    subprocess.run(words, env=environ, check=True, stdout=subprocess.DEVNULL)
    return tuple(pyperf.Benchmark.load(str(file)).get_values())


def _make_home(xtrack: Path, environ: Mapping[str, str], scratch: Path) -> None:
    """1000 daily jobs, their latest slots some hours ago and done."""
    names = "".join(f"name{number}\n" for number in range(JOBS))
    at = f"{datetime.now(machine_zone()) - timedelta(hours=3):%H:%M}"
    (scratch / "posts.jsonl").write_text("")
    words = ["install-job", "--from", "-", "--source", str(scratch / "posts.jsonl"), "--every", "daily", "--at", at]
    subprocess.run([xtrack, *words], env=environ, input=names, text=True, check=True, capture_output=True)
    now = datetime.now(UTC)
    with Store(scratch / "home/xtrack.db") as store:
        with store.write() as database:
            database.execute("UPDATE jobs SET schedule_since = ?", [stamp(now - timedelta(days=2))])
        for job in store.jobs(now):
            slot = due(job, now, machine_zone())
            run = store.start_run(job.id, "timer", slot, 0, now, "")
            store.finish_run(run, Digest("none", "Nothing new", (), 0), 0, {}, slot, now)
