"""A thousand jobs on a real systemd: how long each step takes, and how often systemctl is called for it."""

import json
import math
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import line
from tests.system.conftest import MakeMachine
from tests.system.machine import PATH, Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, minutes_ago, scope_of

pytestmark = pytest.mark.systemd

# In front of the real one on the PATH of typed commands: notes what it is asked, and asks it.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/srv/edge/asked
exec /usr/bin/systemctl "$@"
"""


@dataclass
class Home:
    """A scope with many jobs; knows how long each step took, and what systemctl was asked for it."""

    scope: Scope
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        edge = self.scope.machine.path("/srv/edge")
        edge.mkdir()
        (edge / "systemctl").write_text(SYSTEMCTL)
        (edge / "systemctl").chmod(0o755)
        self._asked = edge / "asked"

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 3)

    def typed(self, *words: str) -> str:
        """Type a command, which is timed; what it asks of systemctl is asked() then."""
        self._asked.write_text("")
        self._asked.chmod(0o666)
        with self.timed(words[0]):
            done = self.scope.machine.run(
                "xtrack", *words, user=self.scope.user, env={"PATH": f"/srv/edge:{PATH}"}, timeout=300
            )
        return done.stdout

    def asked(self) -> Counter[str]:
        """How often each of systemctl's commands was given, but for mere looks."""
        asked = (line.split() for line in self._asked.read_text().splitlines())
        verbs = [next(word for word in words if not word.startswith("-")) for words in asked]
        assert verbs.count("show") <= 3
        return Counter(verb for verb in verbs if verb != "show")

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.scope.data / "xtrack.db", timeout=30)) as db:
            return db.execute(statement).fetchall()

    def runs_at_rest(self) -> list[Any]:
        """All runs, once none is going on."""
        count = "SELECT count(*) FROM runs WHERE state = 'running'"
        units = ("list-units", "--state=activating", "--plain", "--no-legend", "xtrack-*.service")
        self.scope.machine.wait_for(
            lambda: self.rows(count) == [(0,)] and not self.scope.systemctl(*units), 600, "the end of all runs"
        )
        found = json.loads(self.scope.xtrack("list-runs", "--limit", "1000000", "--json"))
        return found[::-1]

    def live_timers(self) -> dict[str, datetime]:
        """The next elapse of each job's timer, as systemd tells it."""
        shown = json.loads(self.scope.systemctl("list-timers", "--output=json", "xtrack-job@*"))
        return {timer["unit"]: datetime.fromtimestamp(timer["next"] / 1e6, UTC) for timer in shown if timer["next"]}

    def next_runs(self) -> dict[str, datetime]:
        """The same, as list-jobs tells it."""
        return {job["timer"]: datetime.fromisoformat(job["next_run"]) for job in self.scope.json("list-jobs")}

    def left(self, *names: str) -> str:
        """The files of these names in any place where the program and systemd keep some."""
        either = [word for name in names for word in ("-o", "-name", name)][1:]
        places = ("/etc", "/var/lib", "/home", "/root")
        return self.scope.machine.run("find", *places, "(", *either, ")").stdout


def install(home: Home, number: int, *more: str) -> None:
    """One job a name, all on one file with a post of each."""
    names = [f"name{index:04}" for index in range(number)]
    machine = home.scope.machine
    machine.path("/srv/names.txt").write_text("\n".join(names))
    machine.path("/srv/posts.jsonl").write_text("".join(line(index, name) for index, name in enumerate(names)))
    said = home.typed("install-job", "--from", "/srv/names.txt", "--source", "/srv/posts.jsonl", *more)
    assert said.count(" installed: watches @name") == number


def assert_all_live(home: Home, number: int) -> None:
    """So many timers wait, for when list-jobs says; a slot may come between the two looks."""
    machine = home.scope.machine
    machine.wait_for(lambda: len(home.live_timers()) == number, 60, f"{number} timers")
    machine.wait_for(lambda: home.live_timers() == home.next_runs(), 60, "one word on when all are next")


def assert_each_job_ran_once(home: Home, number: int, fired_at: datetime) -> int:
    """And once more for each slot that has come since, which on a busy machine is one job's first; gives all runs."""
    runs = home.runs_at_rest()
    assert Counter((run["state"], run["exit_code"]) for run in runs) == {("done", 0): len(runs)}
    assert max(Counter((run["job"], run["slot"]) for run in runs).values()) == 1
    before = Counter(run["job"] for run in runs if datetime.fromisoformat(run["slot"]) <= fired_at)
    assert max(before.values()) == 1
    assert len({run["job"] for run in runs}) == number
    assert home.rows("SELECT job_id, count(*) FROM runs GROUP BY job_id HAVING sum(new_posts) <> 1") == []
    quiet = ["--quiet", "--output=cat", "--identifier=xtrack"]
    assert home.scope.machine.run("journalctl", *quiet, "--grep=locked|failed|a bug", check=False).stdout == ""
    assert home.scope.systemctl("list-units", "--state=failed", "--plain", "--no-legend", "xtrack-*") == ""
    return len(runs)


def age_stamps(home: Home, timers: list[str]) -> None:
    """To systemd these timers elapsed two hours ago for the last time."""
    stamps = f"/{home.scope.stamps.relative_to(home.scope.machine.disk)}"
    files = [f"{stamps}/stamp-{timer}" for timer in timers]
    home.scope.machine.run("touch", "--date=2 hours ago", *files, user=home.scope.user)


def a_day_passes(home: Home, timers: list[str]) -> None:
    """Slots have come since the last ones that were done."""
    age_stamps(home, timers)
    for table, column in (("runs", "slot"), ("jobs", "schedule_since")):
        home.scope.sql(f"UPDATE {table} SET {column} = strftime('%Y-%m-%dT%H:%M:%f000Z', {column}, '-1 day')")


def fire(home: Home) -> datetime:
    """Have all timers elapse at once, as after hours without power: the last of their slots is due."""
    machine, user = home.scope.machine, home.scope.user
    timers = list(home.live_timers())
    manager = ["systemctl", *(["--user"] if user else [])]
    machine.run(*manager, "stop", *timers, user=user)
    an_hour_passes(home.scope)
    fired_at = datetime.now(UTC)
    age_stamps(home, timers)
    machine.run(*manager, "start", *timers, user=user, timeout=600)
    return fired_at


def live(home: Home, number: int, record: Callable[[str, object], None]) -> None:
    """The life of so many jobs, from their installation to their end."""
    machine = home.scope.machine
    install(home, number, "--every", "hourly")
    assert home.asked() == {"daemon-reload": 1, "enable": 1, "start": 1}
    assert_all_live(home, number)
    in_a_minute = Counter(job["at"] for job in home.scope.json("list-jobs"))
    assert max(in_a_minute.values()) <= math.ceil(number / 60)

    with home.timed("fire"):
        fired_at = fire(home)
        home.runs_at_rest()
    assert_each_job_ran_once(home, number, fired_at)

    with home.timed("reboot"):
        machine.power_off()
        machine.boot()
        machine.wait_for(lambda: len(home.live_timers()) == number, 60, "all timers after the boot")
    assert_all_live(home, number)
    assert_each_job_ran_once(home, number, fired_at)

    timers = list(home.live_timers())
    home.typed("pause-job", "--all")
    assert home.asked() == {"disable": 1, "stop": 1, "reset-failed": 1}
    assert home.live_timers() == {}
    assert home.left("xtrack-job@*.timer") == ""
    ran = assert_each_job_ran_once(home, number, fired_at)
    a_day_passes(home, timers)
    resumed_at = datetime.now(UTC)
    home.typed("resume-job", "--all")
    # And once for all, where a timer is still loaded as it was.
    assert home.asked() - Counter({"daemon-reload": 1}) == {"enable": 1, "start": 1}
    assert_all_live(home, number)
    assert all(datetime.fromisoformat(run["slot"]) > resumed_at for run in home.runs_at_rest()[ran:])

    home.typed("uninstall", "--yes")
    assert home.asked() == {"disable": 1, "stop": 1, "daemon-reload": 1, "reset-failed": 1}
    assert home.left("*xtrack-*") == ""
    home.typed("sync")
    # And the sweep is armed when the slot of a job has come meanwhile.
    assert home.asked() - Counter({"restart": 1}) == {"daemon-reload": 1, "enable": 1, "start": 1}
    assert_all_live(home, number)

    home.typed("delete-job", "--all", "--yes")
    assert home.asked() == {"disable": 1, "stop": 1, "daemon-reload": 1, "reset-failed": 1}
    home.scope.machine.wait_for(lambda: _no_job_unit(home), 60, "the end of what was going on")
    assert home.left("*xtrack-job@[0-9]*", "job-*") == ""
    for table in ("jobs", "feeds", "posts", "arrivals", "runs", "summaries", "summary_posts"):
        assert home.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    for step, seconds in home.seconds.items():
        record(f"{step}, {number} jobs, seconds", seconds)


def _no_job_unit(home: Home) -> bool:
    return home.scope.systemctl("list-units", "--all", "--plain", "--no-legend", "xtrack-job@*") == ""


def test_sixty_jobs_live_and_die_together(machine: Machine, record_property: Callable[[str, object], None]) -> None:
    live(Home(scope_of(machine, "user")), 60, record_property)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "number"), [("system", 60), ("system", 1000), ("user", 1000)])
def test_a_thousand_jobs_live_and_die_together(
    machine: Machine, name: str, number: int, record_property: Callable[[str, object], None]
) -> None:
    live(Home(scope_of(machine, name)), number, record_property)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SCOPES)
def test_one_more_job_costs_at_most_half_as_much_again_among_a_thousand(
    make_machine: MakeMachine, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Two machines side by side, one with one job and one with a thousand, each given a job in turn."""
    homes = {number: Home(scope_of(make_machine(), name)) for number in (1, 1000)}
    for number, home in homes.items():
        # None of them is started meanwhile.
        install(home, number, "--every", "daily", "--at", minutes_ago(home.scope, -180))
    costs: dict[int, list[float]] = {number: [] for number in homes}
    for _ in range(9):
        for number, home in homes.items():
            home.typed("install-job", "--source", "sample", "--every", "daily", "--at", minutes_ago(home.scope, -60))
            costs[number].append(home.seconds["install-job"])
    alone, among = (statistics.median(costs[number]) for number in homes)
    record_property("one more job, alone and among a thousand, seconds", (alone, among))
    assert among <= 1.5 * alone, costs
