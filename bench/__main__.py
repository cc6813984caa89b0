"""`make bench`: measure all in one run, print the table, and with --write put it into README.md."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import commands, table, thousand
from tests.system.machine import Machine, build_wheel, install, missing

README = Path(__file__).with_name("README.md")


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def measure(scratch: Path) -> dict[str, float]:
    os.umask(0o022)  # what is written into the machine is for its users too
    wheel = build_wheel(README.parents[1], scratch)
    say("single commands …")
    values = commands.measure(commands.make_environment(scratch / "environment", wheel), scratch)
    if not missing():
        install(scratch / "program", wheel)
        with Machine(scratch / "machine", scratch / "program") as machine:
            machine.boot()
            values |= thousand.measure(machine, say)
    return values


def where_and_when() -> str:
    systemd = "no systemd"
    if shutil.which("systemctl"):
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout
        systemd = " ".join(said.split()[:2])
    python = f"Python {platform.python_version()}, {os.cpu_count()} cores ({platform.machine()})"
    return f"{datetime.now(UTC):%Y-%m-%d}, {python}, {systemd}, load average before it {os.getloadavg()[0]:.1f}"


title = where_and_when()
with TemporaryDirectory(prefix="xtrack-bench-") as folder:
    printed = table.markdown(title, measure(Path(folder)), f"not measured: {missing() or 'runs were lost'}")
sys.stdout.write(f"{printed}\n")
if sys.argv[1:] == ["--write"]:
    README.write_text(table.replaced(README.read_text(), printed))
