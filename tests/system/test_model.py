"""Random commands, tampering, passing time and kills on a real systemd, against a model of what must be there then.

The model knows the table, which timers are right and which a command or an administrator has left otherwise, and every
run that was asked for. After each step all of it is compared: rows, files, links, stamps, the manager's memory.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import count
from pathlib import Path
from subprocess import Popen
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.system.conftest import MakeMachine
from tests.system.machine import Machine
from tests.system.test_life import POST, SCOPES, Scope, scope_of
from xtrack.config import locate
from xtrack.scheduler.units import Units
from xtrack.sources.sample import accounts

pytestmark = pytest.mark.systemd

# Half an hour off and without summer time: nothing local can pass for UTC, and wall-clock arithmetic is exact.
ZONE = ZoneInfo("Asia/Kolkata")
ALL_WELL = "All timers are as the jobs say.\n"
FOLDER = "/srv/model"
FILE = f"{FOLDER}/posts.jsonl"
HOMES = count(1)
KILLED = (-9, 128 + 9)  # as nsenter tells of it

# What the model holds to be a frequency's slots


MINUTES = {f"{n}min": n for n in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)}
HOURS = {"hourly": 1, **{f"every_{n}_hours": n for n in (2, 3, 4, 6, 8, 12)}, "daily": 24, "weekdays": 24, "weekly": 24}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTE = timedelta(minutes=1)


def period(frequency: str) -> timedelta:
    if frequency in MINUTES:
        return timedelta(minutes=MINUTES[frequency])
    return timedelta(hours=7 * 24 if frequency == "weekly" else HOURS[frequency])


def is_slot(frequency: str, at: str, wall: datetime) -> bool:
    hour, minute = int(at[-5:-3]), int(at[-2:])
    if frequency in MINUTES:
        return (wall.minute - minute) % MINUTES[frequency] == 0
    if wall.minute != minute or (wall.hour - hour) % HOURS[frequency]:
        return False
    if frequency == "weekly":
        return DAYS[wall.weekday()] == at[:3]
    return frequency != "weekdays" or wall.weekday() < 5


@cache
def _first_slot(frequency: str, at: str, wall: datetime, step: timedelta) -> datetime:
    while not is_slot(frequency, at, wall):
        wall += step
    return wall.astimezone(UTC)


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(ZONE).replace(second=0, microsecond=0)


@dataclass(frozen=True)
class Job:
    """A row. `since` None: the moment of the command."""

    source: str
    names: tuple[str, ...]
    topics: tuple[str, ...]
    frequency: str
    at: str
    paused: bool
    since: datetime | None = None

    def latest(self, until: datetime) -> datetime:
        return _first_slot(self.frequency, self.at, _minute(until), -MINUTE)

    def following(self, after: datetime) -> datetime:
        return _first_slot(self.frequency, self.at, _minute(after) + MINUTE, MINUTE)

    def between(self, after: datetime, before: datetime) -> Iterator[datetime]:
        while (after := self.following(after)) < before:
            yield after

    def next_may_be(self, moment: datetime, begin: datetime, end: datetime) -> bool:
        """Whether this can be the next slot, as of a moment between the two."""
        return moment in (*self.between(begin, end), self.following(end))

    @property
    def early(self) -> timedelta:
        """How much too early a timer's start may be."""
        return timedelta(seconds=5 if period(self.frequency) < timedelta(minutes=5) else 60)

    def is_retried(self, attempts: int) -> bool:
        """Whether a slot is tried again after so many failures, all within the last minutes."""
        longest = min(period(self.frequency) / 2, timedelta(hours=6))
        return period(self.frequency) >= timedelta(minutes=15) and timedelta(minutes=5) * 2 ** (attempts - 1) < longest


Jobs = dict[int, Job]


def anchor(frequency: str, at: str | None, now: datetime) -> str | None:
    """The anchor that a command gives a job, None when it is refused."""
    if at is None:
        return now.astimezone(ZONE).strftime("%a %H:%M" if frequency == "weekly" else "%H:%M")
    day, _, clock = at.rpartition(" ")
    if frequency in MINUTES or bool(day) != (frequency == "weekly") or clock == "25:00":
        return None
    return f"{day} {clock:0>5}".strip()


def spread(frequency: str, at: str, index: int, number: int) -> str:
    later = timedelta(minutes=index * MINUTES.get(frequency, 60) // number)
    day = DAYS.index(at[:3]) if frequency == "weekly" else 0
    wall = datetime(2001, 1, 1 + day, int(at[-5:-3]), int(at[-2:]), tzinfo=ZONE) + later
    return anchor(frequency, None, wall) or ""


# What is typed


@dataclass(frozen=True)
class Install:
    every: str
    at: str | int | None  # a number: so many minutes from now
    names: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    how: str = "one"
    paused: bool = False
    source: str = "sample"


@dataclass(frozen=True)
class Update:
    """What is None is not said; no names and no topics are."""

    job: int
    every: str | None = None
    at: str | int | None = None
    names: tuple[str, ...] | None = None
    topics: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Change:
    verb: str  # pause, resume, delete
    jobs: tuple[int, ...]
    all: bool = False


@dataclass(frozen=True)
class Sync:
    pass


Wish = Install | Update | Change | Sync


@dataclass(frozen=True)
class Plan:
    """What a command has to come to: its exit code, the table after it, and whose rows it writes."""

    words: tuple[str, ...]
    code: int
    jobs: Jobs
    changed: frozenset[int] = frozenset()
    new: int = 0
    stdin: str = ""


def either(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One of them, each as often: st.one_of would count their parts."""
    return st.sampled_from(strategies).flatmap(lambda strategy: strategy)


HANDLES = tuple(accounts())[:4]
# A job: so many further on in the table; or one that was deleted, or never there.
GONE, NEVER = -1, 99
# What an administrator does to a timer.
HOW = ["age", "grow older", "grow older", "delete", "edit", "disable", "stop"]
NUMBERS = st.sampled_from([0, 1, 2, 3] * 4 + [GONE, NEVER])
EVERY = st.sampled_from([*HOURS, *MINUTES])
AT = st.sampled_from([None, None, None, -2, -2, -2, 90, "07:30", "7:05", "23:59", "Mon 08:00", "25:00"])
NAMES = st.lists(st.sampled_from(HANDLES), unique=True, max_size=3).map(tuple)
TOPICS = st.lists(st.sampled_from(["wind", "harbour", "night ferry"]), unique=True, max_size=2).map(tuple)
ONES = st.builds(Install, EVERY, AT, NAMES, TOPICS, st.just("one"), st.booleans(), st.sampled_from(["sample", FILE]))
MANY = st.builds(Install, EVERY, AT, NAMES, TOPICS, st.sampled_from(["each", "from"]), st.booleans())
INSTALLS = either(ONES, MANY)
UPDATES = st.builds(Update, NUMBERS, EVERY | st.none(), AT, NAMES | st.none(), TOPICS | st.none())


def changes(verb: str) -> st.SearchStrategy[Change]:
    one, some = st.tuples(NUMBERS), st.lists(NUMBERS, min_size=2, max_size=3).map(tuple)
    all_or_none = st.sampled_from([True, True, True, False]).map(lambda every: Change(verb, (), every))
    named = (numbers.map(partial(Change, verb)) for numbers in (one, one, one, some, some))
    return either(*named, all_or_none)


WISHES = either(INSTALLS, UPDATES, changes("pause"), changes("resume"), changes("delete"), st.just(Sync()))


# What is there

LOOK = """
prefix=$1
shift
while
    shown=$(TZ=UTC "$@" show --all -p Id -p ActiveState -p SubState -p Job -p NeedDaemonReload \\
        -p NextElapseUSecRealtime -p InactiveExitTimestampMonotonic "$prefix-*") || exit
    case $shown in
        *State=activating* | *State=deactivating* | *SubState=running* | *Job=[1-9]*) true ;;
        *) pgrep -x systemctl ;;
    esac
do
    sleep 0.05
done >/dev/null
xtrack list-jobs --json && printf '\\0%s' "$shown"
"""


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class Run:
    id: int
    job: int
    trigger: str
    state: str
    slot: datetime | None
    closed: bool
    started: datetime
    next_try: datetime | None
    missed: int
    code: int | None


@dataclass(frozen=True)
class Look:
    """The table and the machine, as they were between `begin` and `end`."""

    begin: datetime
    end: datetime
    jobs: Jobs
    last_id: int
    runs: dict[int, Run]
    listed: dict[int, dict[str, Any]]
    units: dict[str, dict[str, str]]
    files: dict[str, bytes]
    links: frozenset[str]
    stamps: frozenset[str]

    def active(self, unit: str) -> bool:
        return self.units.get(unit, {}).get("ActiveState", "inactive") not in ("inactive", "failed")

    def start(self, unit: str) -> int:
        """When the unit was last started, 0 if never since the manager knows it."""
        return int(self.units.get(unit, {}).get("InactiveExitTimestampMonotonic", 0))

    def next_elapse(self, timer: str) -> datetime | None:
        shown = self.units[timer]["NextElapseUSecRealtime"]
        return datetime.strptime(shown, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC) if shown else None


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Home:
    """One home in a scope: what is typed, and what is there."""

    scope: Scope
    inside: str
    units: Units = field(init=False)

    def __post_init__(self) -> None:
        scheduler = "systemd-user" if self.scope.user else "systemd-system"
        self.units = Units(locate({"XTRACK_HOME": self.inside, "XTRACK_SCHEDULER": scheduler, "HOME": "/"}))
        self.prefix = self.units.prefix
        self.machine = self.scope.machine
        self.data = self.machine.path(self.inside)
        self.env = {"XTRACK_HOME": self.inside}
        self.story = [f"In {self.inside}, whose units are {self.prefix}-*:"]

    def tell(self, what: str) -> None:
        self.story.append(what.rstrip())

    def type(self, *words: str, stdin: str = "") -> tuple[int, str]:
        done = self.machine.run("xtrack", *words, user=self.scope.user, env=self.env, check=False, input=stdin)
        self.tell(f"$ xtrack {' '.join(words)}  -> {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout

    def begin(self, *words: str) -> "Popen[str]":
        return self.machine.start("xtrack", *words, user=self.scope.user, env=self.env)

    def open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.data / "xtrack.db", timeout=30, isolation_level=None)
        database.row_factory = sqlite3.Row
        return database

    def look(self) -> Look:
        """Wait until nothing is going on, also of what a killed command has begun, and look."""
        begin = clock()
        ctl = ["systemctl", *(["--user"] if self.scope.user else [])]
        words = ["sh", "-c", LOOK, "look", self.prefix, *ctl]
        shown = self.machine.run(*words, user=self.scope.user, env=self.env).stdout
        listed, _, shown = shown.partition("\0")
        blocks = [dict(line.split("=", 1) for line in b.splitlines() if "=" in line) for b in shown.split("\n\n")]
        jobs, last_id, runs = self._table()
        return Look(
            begin,
            clock(),
            jobs,
            last_id,
            runs,
            {job["id"]: job for job in json.loads(listed)},
            {unit["Id"]: unit for unit in blocks if unit},
            self.files(),
            frozenset(path.name for path in self._ours("timers.target.wants/*") if path.is_symlink()),
            frozenset(path.name for path in self.scope.stamps.glob(f"stamp-{self.prefix}-*")),
        )

    def _ours(self, pattern: str) -> Iterator[Path]:
        return (
            path
            for path in self.scope.units.glob(pattern)
            if self.prefix in path.name or self.prefix in str(path.parent)
        )

    def files(self) -> dict[str, bytes]:
        """All files of the units' folder with our prefix, by their names there."""
        found = (path for pattern in ("*", "*.d/*") for path in self._ours(pattern))
        return {str(p.relative_to(self.scope.units)): p.read_bytes() for p in found if p.is_file()}

    def _table(self) -> tuple[Jobs, int, dict[int, Run]]:
        with closing(self.open()) as db:
            db.execute("BEGIN")
            jobs = {
                row["id"]: Job(
                    row["source"],
                    tuple(json.loads(row["names"])),
                    tuple(json.loads(row["topics"])),
                    row["frequency"],
                    row["at"],
                    bool(row["paused"]),
                    moment(row["schedule_since"]),
                )
                for row in db.execute("SELECT * FROM jobs")
            }
            runs = {
                row["id"]: Run(
                    row["id"],
                    row["job_id"],
                    row["trigger"],
                    row["state"],
                    moment(row["slot"]),
                    bool(row["closed"]),
                    datetime.fromisoformat(row["started_at"]),
                    moment(row["next_try"]),
                    row["missed"],
                    row["exit_code"],
                )
                for row in db.execute("SELECT * FROM runs")
            }
            (last_id,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
            db.execute("COMMIT")
        return jobs, last_id, runs


# The model


class Model(RuleBasedStateMachine):
    """What must be there.

    `untended`: active jobs whose timer somebody else has changed, and no command has made right since. `unsettled`:
    jobs whose row was written by a command that could not make their timer so. `unknown`: a command was killed, and
    none has come after it that makes the machine as the table says.
    """

    scope: Scope

    def __init__(self) -> None:
        super().__init__()
        self.home = Home(self.scope, f"{FOLDER}/{next(HOMES)}")
        self.jobs: Jobs = {}
        self.last_id = 0
        self.runs: dict[int, Run] = {}
        self.unsettled: set[int] = set()
        self.untended: set[int] = set()
        self.aged: set[int] = set()
        self.dead: set[int] = set()
        self.unknown = self.installed = self.edited = self.away = False
        self.shared: dict[str, bytes] = {}
        self.theirs: dict[str, bytes] = {}
        self.last: Look | None = None

    # what commands come to

    def plan(self, wish: Wish, now: datetime) -> Plan:
        if isinstance(wish, Install):
            return self._plan_install(wish, now)
        if isinstance(wish, Update):
            return self._plan_update(wish, now)
        if isinstance(wish, Change):
            return self._plan_change(wish)
        clash = any(self.is_taken(job) for job, row in self.jobs.items() if not row.paused)
        return Plan(("sync",), 78 if clash else 0, self.jobs, frozenset(self.jobs))

    def _plan_install(self, wish: Install, now: datetime) -> Plan:
        assert not isinstance(wish.at, int)
        typed = () if wish.how == "from" else tuple(f"@{name}" for name in wish.names)
        words = ("install-job", *typed, *_schedule_words(wish.every, wish.at, wish.topics), "--source", wish.source)
        words += {"one": (), "each": ("--each",), "from": ("--from", "-")}[wish.how]
        words += ("--paused",) if wish.paused else ()
        stdin = "".join(f"@{name}  # a remark\n" for name in wish.names) if wish.how == "from" else ""
        at = anchor(wish.every, wish.at, now)
        if at is None or (wish.how != "one" and not wish.names):
            return Plan(words, 2, self.jobs, stdin=stdin)
        if wish.source == FILE and self.away:
            return Plan(words, 66, self.jobs, stdin=stdin)
        watched = [wish.names] if wish.how == "one" else [(name,) for name in wish.names]
        new = {
            self.last_id + 1 + index: Job(
                wish.source, names, wish.topics, wish.every, spread(wish.every, at, index, len(watched)), wish.paused
            )
            for index, names in enumerate(watched)
        }
        plan = self._reconciled(words, {**self.jobs, **new}, new, stdin)
        return replace(plan, jobs=plan.jobs if plan.code == 0 else self.jobs, new=len(new))

    def _plan_update(self, wish: Update, now: datetime) -> Plan:
        assert not isinstance(wish.at, int)
        words = ("update-job", str(wish.job), *(f"@{name}" for name in wish.names or ()))
        words += _schedule_words(wish.every, wish.at, wish.topics or ())
        words += ("--no-names",) if wish.names == () else ()
        words += ("--no-topics",) if wish.topics == () else ()
        if len(words) == 2:
            return Plan(words, 2, self.jobs)
        job = self.jobs.get(wish.job)
        if job is None:
            return Plan(words, 66, self.jobs)
        every = wish.every or job.frequency
        if wish.at is not None:
            at = anchor(every, wish.at, now)
        elif every == "weekly" != job.frequency:
            at = f"{now.astimezone(ZONE):%a} {job.at}"
        else:
            at = job.at if every == "weekly" else job.at[-5:]
        if at is None:
            return Plan(words, 2, self.jobs)
        if wish.names is not None and job.source == FILE and self.away:
            return Plan(words, 66, self.jobs)
        same = (every, at) == (job.frequency, job.at)
        names = job.names if wish.names is None else wish.names
        topics = job.topics if wish.topics is None else wish.topics
        new = Job(job.source, names, topics, every, at, job.paused, job.since if same else None)
        return self._reconciled(words, {**self.jobs, wish.job: new}, [wish.job])

    def _plan_change(self, wish: Change) -> Plan:
        yes = ("--yes",) if wish.verb == "delete" else ()
        words = (f"{wish.verb}-job", *map(str, wish.jobs), *(("--all",) if wish.all else ()), *yes)
        if bool(wish.jobs) == wish.all:
            return Plan(words, 2, self.jobs)
        chosen = set(self.jobs) if wish.all else set(wish.jobs)
        if not chosen <= self.jobs.keys():
            return Plan(words, 66, self.jobs)
        jobs = dict(self.jobs)
        for job in chosen:
            row = jobs.pop(job)
            if wish.verb == "pause":
                jobs[job] = replace(row, paused=True)
            elif wish.verb == "resume":
                jobs[job] = replace(row, paused=False, since=None if row.paused else row.since)
        return self._reconciled(words, jobs, chosen)

    def _reconciled(self, words: tuple[str, ...], jobs: Jobs, changed: Iterable[int], stdin: str = "") -> Plan:
        written = self.unsettled | set(changed)
        clash = any(self.is_taken(job) for job in written if job in jobs and not jobs[job].paused)
        return Plan(words, 78 if clash else 0, jobs, frozenset(changed), stdin=stdin)

    def typed(self, wish: Wish, now: datetime) -> Wish:
        """With numbers of jobs that are there, and the time of day that so many minutes from now is."""
        if isinstance(wish, Change):
            return replace(wish, jobs=tuple(self.number(job) for job in wish.jobs))
        if isinstance(wish, Update):
            wish = replace(wish, job=self.number(wish.job))
        if isinstance(wish, Install | Update) and isinstance(wish.at, int):
            wall = now.astimezone(ZONE) + timedelta(minutes=wish.at)
            return replace(wish, at=wall.strftime("%a %H:%M" if wish.every == "weekly" else "%H:%M"))
        return wish

    def number(self, drawn: int) -> int:
        if drawn == NEVER:
            return NEVER
        gone = set(range(1, self.last_id + 1)) - self.jobs.keys()
        there = sorted(gone if drawn == GONE else self.jobs)
        return there[drawn % len(there)] if there else NEVER

    def timer(self, job: int) -> str:
        return self.home.units.timer(job)

    def is_taken(self, job: int) -> bool:
        return self.timer(job) in self.theirs

    def type(self, wish: Wish) -> str:
        """Type a command, and look whether all is as it must be then; gives what it printed."""
        begin = clock()
        wish = self.typed(wish, begin)
        plan = self.plan(wish, begin)
        code, out = self.home.type(*plan.words, stdin=plan.stdin)
        assert code == plan.code, f"exit code {code} instead of {plan.code}"
        self.came_to(wish, begin, plan)
        return out

    def came_to(self, wish: Wish, begin: datetime, plan: Plan) -> None:
        seen = self.home.look()
        self.jobs = adopted([plan, self.plan(wish, seen.begin)], seen, begin)
        self.last_id += plan.new
        self.unsettled = (self.unsettled | plan.changed) & self.jobs.keys()
        self.untended &= self.jobs.keys()
        self.untended |= self.unsettled if plan.code == 78 else set()
        reconciles = wish == Sync() or plan.changed or getattr(wish, "all", False)
        if plan.code == 0 and reconciles:
            self.installed |= bool(self.unsettled) or any(not job.paused for job in self.jobs.values())
            self.untended -= self.unsettled
            self.aged -= {job for job in self.unsettled if not self.jobs[job].paused}
            self.unsettled.clear()
            self.unknown = self.edited = False
        self.check(seen)

    # what is there, and what must be

    def check(self, seen: Look, by_hand: int | None = None, due: Iterable[int] = (), queue: bool = False) -> None:
        """All of it. `by_hand`: whose run was typed or queued (`queue`); `due`: the jobs that run-due has started."""
        assert seen.jobs == self.jobs
        assert seen.last_id == self.last_id
        assert {path: seen.files.get(path) for path in self.theirs} == self.theirs, "a file of somebody else's"
        self.check_listed(seen)
        self.check_runs(seen, by_hand, set(due))
        self.check_starts(seen, by_hand if queue else None, set(due))
        if not self.unknown:
            self.check_shared(seen)
            for job in range(1, self.last_id + 2):
                self.check_timer(seen, job)
        self.last = seen

    def check_listed(self, seen: Look) -> None:
        assert seen.listed.keys() == self.jobs.keys()
        for number, job in self.jobs.items():
            shown = seen.listed[number]
            facts = [shown[name] for name in ("source", "names", "topics", "frequency", "at", "state")]
            state = "paused" if job.paused else "active"
            assert facts == [job.source, list(job.names), list(job.topics), job.frequency, job.at, state]
            assert shown["timer"] == (None if job.paused else self.timer(number))
            next_run = moment(shown["next_run"])
            assert (next_run is None) == job.paused
            assert next_run is None or job.next_may_be(next_run, seen.begin, seen.end), f"job {number}: {next_run}"

    def check_shared(self, seen: Look) -> None:
        there = {name: text for name, text in seen.files.items() if name in self.home.units.shared_names()}
        if self.installed and not self.edited:
            self.shared = self.shared or there
            assert len(there) == 4
            assert there == self.shared
        elif not self.installed:
            assert there == {}

    def check_timer(self, seen: Look, number: int) -> None:
        timer, job = self.timer(number), self.jobs.get(number)
        if number in self.untended:
            return
        if job is None or job.paused:
            assert timer not in seen.files or timer in self.theirs, f"{timer} is still there"
            assert timer not in seen.links, f"{timer} is still enabled"
            assert f"stamp-{timer}" not in seen.stamps or number in self.aged, f"{timer} has still a stamp"
            assert not seen.active(timer), f"{timer} is still active"
            return
        assert timer in seen.files, f"no {timer}"
        assert timer in seen.links, f"{timer} is not enabled"
        assert f"stamp-{timer}" in seen.stamps, f"{timer} has no stamp"
        assert seen.active(timer), f"{timer} is not active"
        assert seen.units[timer]["NeedDaemonReload"] == "no", f"{timer} is not as on disk"
        elapse = seen.next_elapse(timer)
        # It may elapse a second late.
        late = timedelta(seconds=2)
        assert elapse, f"{timer} will never elapse"
        assert job.next_may_be(elapse, seen.begin - late, seen.end), f"{timer} elapses {elapse}"

    def has_come(self, number: int, seen: Look) -> bool:
        """Whether a slot has come, in real time, since the last look."""
        leeway = timedelta(seconds=2)
        since = self.last.begin if self.last else seen.begin
        rows = [look.jobs.get(number) for look in (self.last, seen) if look]
        return any(row.latest(seen.end + leeway) > since - leeway for row in rows if row)

    def has_swept(self, seen: Look) -> bool:
        return self.was_started(f"{self.home.prefix}-run-due.service", seen)

    def was_started(self, unit: str, seen: Look) -> bool:
        """Since the last look."""
        return seen.start(unit) not in (0, self.last.start(unit) if self.last else 0)

    def check_starts(self, seen: Look, queued: int | None, due: set[int]) -> None:
        """No unit is started that was not asked for, also where it would find that there is nothing to do."""
        for number in self.jobs:
            asked = number in due or number in self.untended or self.has_come(number, seen) or self.has_swept(seen)
            service, manual = self.home.units.service(number), self.home.units.manual(number)
            assert asked or not self.was_started(service, seen), f"{service} was started"
            assert number == queued or not self.was_started(manual, seen), f"{manual} was started"

    def check_runs(self, seen: Look, by_hand: int | None, due: set[int]) -> None:
        """Every run was asked for, and is of the right slot; what was asked for was done."""
        assert {run.job for run in seen.runs.values()} <= self.jobs.keys()
        kept = {number: run for number, run in self.runs.items() if run.job in self.jobs}
        assert kept.keys() <= seen.runs.keys()
        done = set()
        for number, run in sorted(seen.runs.items()):
            before = kept.get(number)
            if before == run:
                continue
            asked = run.job == by_hand or run.job in due or self.has_swept(seen)
            if before and before.state == "running":
                assert number in self.dead, f"{run} was at work"
                assert (run.state, run.code, run.closed) == ("died", 75, False)
                self.dead.discard(number)
            elif run.trigger == "manual":
                assert asked, f"nobody asked for {run}"
                self.check_manual(run, seen)
            else:
                asked = asked or run.job in self.untended or self.has_come(run.job, seen)
                assert asked, f"nobody asked for {run}"
                self.check_slot(run, list(kept.values()))
            kept[number] = run
            done.add((run.job, run.trigger if run.slot is None else "slot"))
        self.runs = kept

    def check_manual(self, run: Run, seen: Look) -> None:
        job = self.jobs[run.job]
        if run.state == "queued":
            assert not self.installed
            return
        fails = self.away and job.source == FILE
        assert (run.state, run.code) == (("failed", 75) if fails else ("done", 0)), run
        open_now = {self.open_slot(run.job, when) for when in (run.started, seen.end)}
        assert run.slot in ({None} if fails else open_now), f"{run} has closed a slot that was not open"
        assert run.closed == (run.slot is not None)

    def check_slot(self, run: Run, before: Sequence[Run]) -> None:
        job = self.jobs[run.job]
        mine = [other for other in before if other.job == run.job and other.slot]
        closed = max([job.since, *(other.slot for other in mine if other.closed)])
        assert run.slot == job.latest(run.started + job.early), f"{run} is not of the latest slot"
        assert run.slot > closed, f"{run} is of a slot that is done"
        tried = [other for other in mine if other.slot == run.slot]
        assert all(other.next_try and other.next_try <= run.started + MINUTE for other in tried[-1:]), (
            f"{run} too early"
        )
        others = {other.slot for other in mine if closed < other.slot < run.slot}
        assert run.missed == len(set(job.between(closed, run.slot)) - others), run
        if not (self.away and job.source == FILE):
            assert (run.state, run.code, run.closed) == ("done", 0, True), run
        elif job.is_retried(len(tried) + 1):
            assert (run.state, run.code, run.closed) == ("failed", 75, False), run
            wait = timedelta(minutes=5) * 2 ** len(tried)
            assert run.next_try and wait <= run.next_try - run.started < wait + 2 * MINUTE, run
        else:
            assert (run.state, run.code, run.closed, run.next_try) == ("failed", 69, True, None), run

    def open_slot(self, number: int, now: datetime) -> datetime | None:
        """The slot that a job owes."""
        job = self.jobs[number]
        slot = job.latest(now)
        closed = (run.slot for run in self.runs.values() if run.job == number and run.closed)
        return slot if not job.paused and slot > max([job.since, *closed]) else None

    def to_try(self, number: int, now: datetime) -> bool:
        slot = self.open_slot(number, now)
        tries = [run.next_try for run in self.runs.values() if slot and (run.job, run.slot) == (number, slot)]
        return bool(slot) and (not tries or (tries[-1] is not None and tries[-1] <= now + MINUTE))

    # commands

    @initialize(every=EVERY, source=st.sampled_from(["sample", FILE]))
    def first(self, every: str, source: str) -> None:
        self.type(Install(every, None, HANDLES[:3], how="each", source=source))

    @rule(wish=INSTALLS)
    def install(self, wish: Install) -> None:
        self.type(wish)

    @rule(wish=UPDATES)
    def update(self, wish: Update) -> None:
        self.type(wish)

    @rule(wish=changes("pause"))
    def pause(self, wish: Change) -> None:
        self.type(wish)

    @rule(wish=changes("resume"))
    def resume(self, wish: Change) -> None:
        self.type(wish)

    @rule(wish=changes("delete"))
    def delete(self, wish: Change) -> None:
        self.type(wish)

    @rule(twice=st.booleans(), dry=st.booleans())
    def sync(self, twice: bool, dry: bool) -> None:
        clean = self.installed and not (self.unknown or self.edited or self.untended or self.unsettled)
        plan = self.plan(Sync(), clock())
        before = self.home.files()
        planned = self.home.type("sync", "--dry-run") if dry else None
        assert self.home.files() == before
        out = self.type(Sync())
        assert planned in (None, (plan.code, out))
        if plan.code == 0:
            assert out == ALL_WELL or not clean, "there was nothing to do"
            assert not twice or self.home.type("sync") == (0, ALL_WELL)

    def uninstall(self) -> None:
        code, _ = self.home.type("uninstall", "--yes")
        assert code == 0
        self.installed = self.unknown = self.edited = False
        self.untended = {number for number, job in self.jobs.items() if not job.paused}
        self.aged -= self.untended
        seen = self.home.look()
        assert seen.files.keys() == self.theirs.keys()
        assert not seen.links
        assert {name for name in seen.stamps if not self.is_aged(name)} == set()
        assert not [unit for unit in seen.units if seen.active(unit)]
        self.check(seen)

    def is_aged(self, stamp: str) -> bool:
        return stamp in {f"stamp-{self.timer(job)}" for job in self.aged}

    @rule(number=NUMBERS, how=st.sampled_from(["typed", "queued", "due", "due"]))
    def run(self, number: int, how: str) -> None:
        if how == "typed":
            self.run_typed(self.number(number))
        elif not self.unknown and how == "queued":
            self.run_queued(self.number(number))
        elif not self.unknown:
            self.run_due()

    def run_typed(self, number: int) -> None:
        job = self.jobs.get(number)
        fails = self.away and job and job.source == FILE
        code, _ = self.home.type("run-job", str(number))
        assert code == (66 if job is None else 75 if fails else 0)
        before = self.manual_ended(number)
        self.check(self.home.look(), by_hand=number)
        assert job is None or self.manual_ended(number) == before + 1

    def manual_ended(self, number: int) -> int:
        runs = [run for run in self.runs.values() if (run.job, run.trigger) == (number, "manual")]
        return sum(run.state in ("done", "failed") for run in runs)

    def run_queued(self, number: int) -> None:
        known = number in self.jobs
        code, _ = self.home.type("run-job", str(number), "--queue")
        assert code == (66 if not known else 0 if self.installed else 78)
        before = self.manual_ended(number)
        self.check(self.home.look(), by_hand=number, queue=True)
        assert self.manual_ended(number) == before + (known and self.installed)

    def run_due(self) -> None:
        now = clock()
        queued = {run.job for run in self.runs.values() if run.state == "queued"}
        owing = {number for number in self.jobs if self.open_slot(number, now)}
        ready = {number for number in self.jobs if self.to_try(number, now)}
        code, _ = self.home.type("run-due")
        assert code == (0 if self.installed or not (queued or owing) else 78)
        seen = self.home.look()
        # What came since the last look may have been done by its timer.
        waiting = {number for number in owing if not self.has_come(number, seen)}
        runs = {number: self.count_runs(number) for number in ready | queued}
        self.check(seen, due=ready | queued)
        if self.installed:
            for number, before in runs.items():
                assert self.count_runs(number) > before, f"job {number} was due, and was not run"
            assert not waiting or seen.active(self.home.units.sweep), "nobody will look again"

    def count_runs(self, number: int) -> int:
        """How many runs have ended."""
        runs = [run for run in self.runs.values() if run.job == number]
        return sum(run.state in ("done", "failed") for run in runs)

    # kills

    def kill(self, begun: "Popen[str]", after_write: bool, milliseconds: int) -> int:
        """Kill a command so long after its start, or its first change of the table; gives its exit code."""
        if after_write:
            with closing(self.home.open()) as db:
                version = db.execute("PRAGMA data_version").fetchone()
                while begun.poll() is None and db.execute("PRAGMA data_version").fetchone() == version:
                    time.sleep(0.001)
        time.sleep(milliseconds / 1000)
        # nsenter's child, which in system scope outlives it: a change of user takes setpriv's --pdeathsig away.
        children = Path(f"/proc/{begun.pid}/task/{begun.pid}/children")
        if begun.poll() is None:
            for child in children.read_text().split():
                os.kill(int(child), 9)
        code = begun.wait(60)
        self.home.tell(f"… ended with {code}\n{begun.communicate()[0]}")
        return code

    @rule(wish=either(WISHES, WISHES, WISHES, NUMBERS), after_write=st.booleans(), milliseconds=st.integers(0, 150))
    def killed(self, wish: Wish | int, after_write: bool, milliseconds: int) -> None:
        if isinstance(wish, int):
            self.run_killed(self.number(wish), milliseconds)
        else:
            self.command_killed(wish, after_write, milliseconds)

    def command_killed(self, wish: Wish, after_write: bool, milliseconds: int) -> None:
        begin = clock()
        wish = self.typed(wish, begin)
        plan = self.plan(wish, begin)
        if plan.code or plan.stdin:
            return
        self.home.tell(f"$ xtrack {' '.join(plan.words)}")
        code = self.kill(self.home.begin(*plan.words), after_write, milliseconds)
        if code not in KILLED:
            assert code == plan.code, f"exit code {code} instead of {plan.code}"
            self.came_to(wish, begin, plan)
            return
        seen = self.home.look()
        before = self.jobs
        self.jobs = adopted([Plan((), 0, before), plan, self.plan(wish, seen.begin)], seen, begin)
        assert seen.last_id in (self.last_id, self.last_id + plan.new)
        self.last_id = seen.last_id
        self.unknown = True
        written = {number for number, job in self.jobs.items() if job != before.get(number)}
        self.unsettled = (self.unsettled | written) & self.jobs.keys()
        self.untended = (self.untended | written) & self.jobs.keys()
        self.installed |= set(self.home.units.shared_names()) <= seen.files.keys()
        self.check(seen)

    def run_killed(self, number: int, milliseconds: int) -> None:
        if number not in self.jobs:
            return
        self.home.tell(f"$ xtrack run-job {number}")
        self.kill(self.home.begin("run-job", str(number)), True, milliseconds)
        seen = self.home.look()
        for run in seen.runs.values():
            before = self.runs.get(run.id)
            if run.state == "running" and (before is None or before.state == "queued"):
                assert run.job == number
                self.dead.add(run.id)
                self.runs[run.id] = run
        self.check(seen, by_hand=number)

    # an administrator

    @rule(how=st.lists(st.sampled_from(HOW), min_size=2, max_size=3))
    def tamper(self, how: list[str]) -> None:
        """With timers that are right; of a paused job there can be an old stamp, as another release left it."""
        if not self.unknown:
            for what, number in zip(how, sorted(self.jobs.keys() - self.untended), strict=False):
                paused = self.jobs[number].paused
                self.home.tell(f"{'age' if paused else what} {self.timer(number)}")
                (self.aged if paused else self.untended).add(number)
                self.age(number) if paused else self.meddle(what, number)

    def meddle(self, what: str, number: int) -> None:
        timer, path = self.timer(number), self.scope.units / self.timer(number)
        if what == "delete":
            path.unlink()
        elif what == "edit":
            path.write_text(path.read_text().replace("OnCalendar=", "OnCalendar=*-*-1 03:33:00\n#"))
        elif what == "disable":
            self.scope.systemctl("disable", "--no-reload", timer)
        else:
            self.scope.systemctl("stop", timer)
        if what == "age":
            self.age(number)
        elif what == "grow older":
            self.age(number, timedelta(minutes=10))
            self.scope.systemctl("start", timer)
            # It may have started its unit, and is right.
            self.check(self.home.look())
            self.untended.discard(number)

    def age(self, number: int, by: timedelta = timedelta(days=3)) -> None:
        """Have a timer's last elapse be long ago."""
        stamp = self.scope.stamps / f"stamp-{self.timer(number)}"
        then = (clock() - by).timestamp()
        self.scope.stamps.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        os.chown(stamp, stamp.parent.stat().st_uid, stamp.parent.stat().st_gid)
        os.utime(stamp, (then, then))

    @rule(
        what=st.sampled_from(
            ["reload", "restart", "source", "uninstall", "edit", "timer", "service", "foreign", "removed"]
        ),
        index=st.integers(0, 3),
        strange=st.sampled_from(["", "", "007", "x", "99"]),
    )
    def something_rare(self, what: str, index: int, strange: str) -> None:
        does: dict[str, Callable[[], None]] = {
            "reload": partial(self.manager, restart=False),
            "restart": partial(self.manager, restart=True),
            "source": self.source_moves,
            "uninstall": self.uninstall,
            "edit": partial(self.edit_shared, index),
            "timer": partial(self.add_drop_in, f"{index or ''}.timer"),
            "service": partial(self.add_drop_in, f"{index or ''}.service"),
            "foreign": partial(self.add_foreign, index, strange),
            "removed": self.remove_foreign,
        }
        does[what]()

    def add_drop_in(self, unit: str) -> None:
        self.write_theirs(f"{self.home.prefix}-job@{unit}.d/own.conf", "[Unit]\nDocumentation=man:own(1)\n")
        self.manager(restart=False)

    def edit_shared(self, index: int) -> None:
        if self.installed and not self.unknown:
            path = self.scope.units / self.home.units.shared_names()[index]
            path.write_text(f"{path.read_text()}# edited\n")
            self.edited = True

    def add_foreign(self, index: int, strange: str) -> None:
        """Where a coming or a paused job's timer will be, or under a name that can be nobody's."""
        paused = [number for number, job in self.jobs.items() if job.paused and number not in self.unsettled]
        coming = [*paused, self.last_id + 1, self.last_id + 2]
        name = f"{self.home.prefix}-job@{strange or coming[index % len(coming)]}.timer"
        if not self.unknown and not (self.scope.units / name).exists():
            self.home.tell(f"write {name}")
            self.write_theirs(name, "[Timer]\nOnCalendar=daily\n")

    def remove_foreign(self) -> None:
        for name in [name for name in self.theirs if ".d/" not in name]:
            (self.scope.units / name).unlink()
            del self.theirs[name]

    def write_theirs(self, name: str, text: str) -> None:
        path = self.scope.units / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.theirs[name] = text.encode()

    def manager(self, restart: bool) -> None:
        if not restart:
            self.scope.systemctl("daemon-reload")
        elif self.scope.user:
            # First forget how often it was restarted.
            self.scope.machine.run("systemctl", "reset-failed", "user@1000.service")
            self.scope.machine.run("systemctl", "restart", "user@1000.service")
        else:
            self.scope.systemctl("daemon-reexec")
        self.check(self.home.look())

    # time, and the source

    @rule(numbers=st.lists(NUMBERS, max_size=3), retries=st.booleans(), source=st.booleans(), sweeps=st.integers(0, 2))
    def time_passes(self, numbers: list[int], retries: bool, source: bool, sweeps: int) -> None:
        """Slots come due, and next tries; the source may go or come back, and run-due look afterwards."""
        if source:
            self.source_moves()
        if retries:
            self.retries_come()
        for number in numbers:
            self.slot_comes_due(number)
        for _ in range(0 if self.unknown else sweeps):
            self.run_due()

    def slot_comes_due(self, number: int) -> None:
        """Move all that is known of a job back, which to the program is as if that time had gone by."""
        number = self.number(number)
        if number in self.jobs:
            span = period(self.jobs[number].frequency)
            week = self.jobs[number].frequency.startswith("week")
            self.shift(number, timedelta(days=7) if week else timedelta(hours=1 if span <= timedelta(hours=1) else 24))

    def shift(self, number: int, back: timedelta) -> None:
        with closing(self.home.open()) as db:
            db.create_function("earlier", 1, lambda text: text and _stored(datetime.fromisoformat(text) - back))
            db.execute("BEGIN IMMEDIATE")
            db.execute("UPDATE jobs SET schedule_since = earlier(schedule_since) WHERE id = ?", [number])
            # Those first that are farther back: a slot may be done once.
            rows = db.execute("SELECT id FROM runs WHERE job_id = ? ORDER BY slot", [number]).fetchall()
            for row in rows:
                db.execute(
                    """UPDATE runs SET slot = earlier(slot), started_at = earlier(started_at),
                    next_try = earlier(next_try) WHERE id = ?""",
                    [row["id"]],
                )
            db.execute("COMMIT")
        self.learn(number)

    def retries_come(self) -> None:
        """As if the minutes until the next try of every failed slot had gone by."""
        self.home.tell("the next tries come")
        with closing(self.home.open()) as db:
            db.execute("UPDATE runs SET next_try = ? WHERE next_try IS NOT NULL", [_stored(clock())])
        for number in self.jobs:
            self.learn(number)

    def learn(self, number: int) -> None:
        """Take over what we have just written. What came meanwhile is still to be explained."""
        jobs, _, runs = self.home._table()
        self.jobs[number] = replace(self.jobs[number], since=jobs[number].since)
        self.runs |= {run.id: run for run in runs.values() if run.job == number and run.id in self.runs}

    def source_moves(self) -> None:
        there, away = (self.scope.machine.path(path) for path in (FILE, f"{FILE}.away"))
        there, away = (away, there) if self.away else (there, away)
        there.rename(away)
        self.home.tell(f"move {there.name} to {away.name}")
        self.away = not self.away

    # the end

    def teardown(self) -> None:
        """Leave nothing behind, and see that uninstall did so by itself. A failure is told what came before it."""
        error = sys.exception()
        if isinstance(error, Exception):
            error.add_note("\n".join(self.home.story))
        if self.away:
            self.source_moves()
        code, said = self.home.type("uninstall", "--purge", "--yes")
        files, stamps = self.home.files(), list(self.scope.stamps.glob(f"stamp-{self.home.prefix}-*"))
        for path in (*stamps, *(self.scope.units / name for name in files)):
            path.unlink()
        for folder in self.scope.units.glob(f"{self.home.prefix}-*.d"):
            folder.rmdir()
        if not error:
            assert code == 0, said
            assert files.keys() == self.theirs.keys()
            assert all(self.is_aged(path.name) for path in stamps), stamps
            assert not self.home.data.exists()


def _schedule_words(every: str | None, at: str | None, topics: Sequence[str]) -> tuple[str, ...]:
    words = [("--every", every), ("--at", at), *(("--topic", topic) for topic in topics)]
    return tuple(word for option, value in words if value is not None for word in (option, value))


def _stored(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def adopted(plans: Sequence[Plan], seen: Look, begin: datetime) -> Jobs:
    """The table, if it is what one of these plans comes to: they differ by the minute of their doing."""
    for plan in plans:
        jobs = {
            number: replace(job, since=seen.jobs[number].since)
            if job.since is None and number in seen.jobs and begin <= seen.jobs[number].since <= seen.end
            else job
            for number, job in plan.jobs.items()
        }
        if jobs == seen.jobs:
            return jobs
    raise AssertionError(f"the table is\n{seen.jobs}\ninstead of\n{plans[-1].jobs}")


@pytest.fixture(scope="module")
def machine(make_machine: MakeMachine) -> Machine:
    made = make_machine(ZONE.key)
    made.user("ann")
    made.run("install", "-d", "-o", "ann", FOLDER)
    return made


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    found = scope_of(machine, request.param)
    found.write(FILE, POST)
    return found


def play(scope: Scope, how: settings) -> None:
    run_state_machine_as_test(type("ModelOfScope", (Model,), {"scope": scope}), settings=how)


# A step takes what its command takes, so no example is quick; not every random start is a way on (a job that is not
# there), so some are thrown away.
ANY = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])


@pytest.mark.parametrize("scope", [pytest.param("user", marks=pytest.mark.slow), "system"], indirect=True)
def test_random_commands_leave_the_machine_as_the_table_says(scope: Scope) -> None:
    """Always the same examples, so that a failure is of what was changed."""
    play(scope, settings(ANY, derandomize=True, max_examples=4, stateful_step_count=15))


@pytest.mark.exhaustive
def test_many_random_commands_leave_the_machine_as_the_table_says(scope: Scope) -> None:
    """Each time others, longer ones, and the shortest that fails is looked for."""
    phases = [Phase.explicit, Phase.generate, Phase.shrink]
    play(
        scope,
        settings(
            ANY,
            database=None,
            phases=phases,
            max_examples=40,
            stateful_step_count=30,
            print_blob=True,
        ),
    )
