"""A thousand jobs on a real systemd, in a machine of the tests, in system scope: seconds, memory, and the herd."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from tests.system.machine import Machine

JOBS = 1000
HERD_SECONDS = 900
XTRACK = b"/opt/xtrack/bin/xtrack\0"


def measure(machine: Machine, say: Callable[[str], None]) -> dict[str, float]:
    bench, values = _Thousand(machine), dict[str, float]()
    say("one more job, a thousand jobs …")
    bench.timed("install-job", "@other", *bench.wish)
    values["one_at_0"] = bench.one_more()
    bench.timed("delete-job", "--all", "--yes")
    before = _memory(machine.pid)
    values["install"] = bench.timed("install-job", "--from", "/srv/names.txt", *bench.wish)
    values["rest"], values["rest_processes"] = _memory(machine.pid) - before, len(bench.processes())
    values["one_at_1000"] = bench.one_more()
    values["one_ratio"] = values["one_at_1000"] / values["one_at_0"]
    values["pause"] = bench.timed("pause-job", "--all")
    values["resume"] = bench.timed("resume-job", "--all")
    values["run_cpu"] = bench.cpu_of_a_run()
    for name, places in (("herd", 8), ("herd_one_place", 1), ("herd_no_places", 1000)):
        say(f"all due at once, parallel_runs = {places} …")
        values |= bench.herd(name, places)
        if values[f"{name}_lost"]:
            return values
        values["herd_ratio"] = values["herd"] / (JOBS * values["run_cpu"] / (os.cpu_count() or 1))
    values["delete"] = bench.timed("delete-job", "--all", "--yes")
    return values


class _Thousand:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        names = [f"name{number}" for number in range(JOBS)]
        machine.path("/srv/names.txt").write_text("\n".join(names))
        machine.path("/srv/posts.jsonl").write_text(_posts(names))
        # Between one and two hours ago: no timer fires of itself meanwhile.
        at = datetime.now(ZoneInfo(machine.zone)) - timedelta(hours=2)
        self.wish = ("--source", "/srv/posts.jsonl", "--every", "daily", "--at", f"{at:%H:%M}")

    def timed(self, *words: str) -> float:
        """Seconds of a command, without those that it takes to enter the machine."""
        shell = 'TIMEFORMAT=%R; time xtrack "$@"'
        done = self.machine.run("bash", "-c", shell, "bash", *words, timeout=HERD_SECONDS)
        return float(done.stderr.splitlines()[-1])

    def one_more(self) -> float:
        seconds = []
        for _ in range(5):
            seconds.append(self.timed("install-job", "@other", *self.wish))
            [[newest]] = self.sql("SELECT max(id) FROM jobs")
            self.timed("delete-job", str(newest), "--yes")
        return median(seconds)

    def sql(self, statement: str, *values: object) -> list[tuple[int, ...]]:
        with closing(sqlite3.connect(self.machine.path("/var/lib/xtrack/xtrack.db"), timeout=60)) as db, db:
            db.execute("PRAGMA foreign_keys = ON")
            return db.execute(statement, values).fetchall()

    def make_due(self) -> None:
        """As if all jobs had been installed two days ago and never run."""
        since = datetime.now(UTC) - timedelta(days=2)
        self.sql("DELETE FROM runs")
        self.sql("UPDATE job_feeds SET seen = NULL")
        self.sql("UPDATE jobs SET schedule_since = ?", since.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def cpu_of_a_run(self) -> float:
        """The mean of twenty, one after the other, with systemd's work for each; one before them fetches for all."""
        self.make_due()
        first, *jobs = (job for [job] in self.sql("SELECT id FROM jobs LIMIT 21"))
        self.machine.run("systemctl", "start", f"xtrack-job@{first}.service")
        before = self._cpu_seconds()
        for job in jobs:
            self.machine.run("systemctl", "start", f"xtrack-job@{job}.service")
        return (self._cpu_seconds() - before) / len(jobs)

    def _cpu_seconds(self) -> float:
        """Of all processes that are or were in the machine, without those that enter it from outside."""
        usage = self.machine.run("cat", "/sys/fs/cgroup/cpu.stat").stdout.split()
        return int(usage[usage.index("usage_usec") + 1]) / 1e6

    def herd(self, name: str, places: int) -> dict[str, float]:
        """Have all jobs run at once, and look four times a second: seconds, and the most that was seen; or the lost."""
        self.make_due()
        self.machine.path("/etc/xtrack/config.toml").write_text(f"parallel_runs = {places}\n")
        begin, done, most, memory = time.monotonic(), 0, 0, 0.0
        self.machine.run("systemctl", "start", "--no-block", "xtrack-run-due.service")
        while done < JOBS and time.monotonic() - begin < HERD_SECONDS:
            running = self.processes()
            most, memory = max(most, len(running)), max(memory, sum(map(_memory, running)))
            [[done]] = self.sql("SELECT count(DISTINCT job_id) FROM runs WHERE state = 'done'")
            time.sleep(0.25)
        seconds = time.monotonic() - begin
        [[failed]] = self.sql("SELECT count(*) FROM runs WHERE state IN ('failed', 'died')")
        lost = JOBS - done + failed
        if lost:  # what a part of them took says nothing
            return {f"{name}_lost": lost}
        return {name: seconds, f"{name}_lost": 0, f"{name}_processes": most, f"{name}_memory": memory}

    def processes(self) -> list[int]:
        """Of ours in the machine, as the host numbers them."""
        found = []
        ours = Path(f"/proc/{self.machine.pid}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if XTRACK in (process / "cmdline").read_bytes() and (process / "ns/pid").readlink() == ours:
                    found.append(int(process.name))
        return found


def _memory(process: int) -> float:
    """Megabytes that are its own: not the pages of files, which all processes share."""
    with suppress(OSError):
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text().split()
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0


def _posts(names: list[str]) -> str:
    """Three posts of each, as lines of JSON."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = []
    for number, name in enumerate(names * 3, start=1860000000000000000):
        text = f"Ferry {number % 97} leaves the harbour {number % 7} minutes late today, says {name}."
        post = {"id": str(number), "created_at": now, "text": text, "author": {"username": name, "name": name}}
        lines.append(json.dumps(post) + "\n")
    return "".join(lines)
