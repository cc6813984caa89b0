"""`make bench`: measure all parts or some, print the table of each, and with --write put it into README.md."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import commands, data, digests, growth, plot, table, thousand, writers, x
from tests.system.machine import Machine, build_wheel, install, missing

README = Path(__file__).with_name("README.md")
PLOT = README.with_name("growth.svg")


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class Bench:
    """A method a part of the table, which gives its values; files, also large ones, in `scratch`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.plot = ""

    @cached_property
    def wheel(self) -> Path:
        return build_wheel(README.parents[1], self.scratch)

    @cached_property
    def bin(self) -> Path:
        return commands.make_environment(self.scratch / "environment", self.wheel)

    def commands(self) -> dict[str, float]:
        say("single commands …")
        return commands.measure(self.bin, self.scratch)

    def data(self) -> dict[str, float]:
        return data.measure(self.bin, self.scratch, say)

    def growth(self) -> dict[str, float]:
        values, costs = growth.measure(self.bin, self.scratch, say)
        self.plot = plot.svg(growth.TITLE, "posts in the database", "seconds", growth.series(costs))
        return values

    def writers(self) -> dict[str, float]:
        return writers.measure(self.bin, self.scratch, say)

    def digests(self) -> dict[str, float]:
        return digests.measure(say)

    def x(self) -> dict[str, float]:
        say(f"environments with {', '.join(x.PEERS)} …")
        bins = {
            name: commands.make_environment(self.scratch / f"with-{name}", f"{name}=={version(name)}", *more)
            for name, more in x.PEERS.items()
        }
        return x.measure(self.bin, bins, self.scratch, say)

    def thousand(self) -> dict[str, float]:
        if missing():
            return {}
        install(self.scratch / "program", self.wheel)
        with Machine(self.scratch / "machine", self.scratch / "program") as machine:
            machine.boot()
            return thousand.measure(machine, say)


def where_and_when(scratch: Path) -> str:
    systemd = "no systemd"
    if shutil.which("systemctl"):
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout
        systemd = " ".join(said.split()[:2])
    disk = subprocess.run(
        ["stat", "-f", "-c", "%T", scratch], capture_output=True, text=True, check=True
    ).stdout.strip()
    python = f"Python {platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}), {disk}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {python}, {systemd}, load average before it {os.getloadavg()[0]:.1f}"


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=…", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(table.PARTS)}; none: all of them")
    parser.add_argument("--write", action="store_true", help="put the tables of these parts into bench/README.md")
    asked = parser.parse_args(words)
    if unknown := set(asked.parts) - set(table.PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    os.umask(0o022)  # what is written into the machine is for its users too
    with TemporaryDirectory(prefix="xtrack-bench-") as folder:
        bench = Bench(Path(folder))
        for part in asked.parts or table.PARTS:
            title = where_and_when(bench.scratch)
            printed = table.markdown(
                part, title, getattr(bench, part)(), f"not measured: {missing() or 'runs were lost'}"
            )
            sys.stdout.write(f"{printed}\n\n")
            if asked.write:
                README.write_text(table.replaced(README.read_text(), part, printed))
        if asked.write and bench.plot:
            PLOT.write_text(bench.plot)


if __name__ == "__main__":
    main(sys.argv[1:])
