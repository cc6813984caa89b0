"""The system's scheduler as desired state: what a home's timers should be, the pure difference, and who applies it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from xtrack.config import Home
from xtrack.errors import Misconfigured
from xtrack.models import Job


@dataclass(frozen=True)
class Actual:
    """What is on disk and loaded: texts by file name, names that somebody else has, timers enabled and waiting.

    Files that are `stale` are not yet in force as they are on disk.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """What turns the actual state into the desired one. Every file is named once."""

    shared: Mapping[str, str] = field(default_factory=dict)
    new: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lines())

    def lines(self) -> list[str]:
        """The plan for a person, a line a step."""
        steps: dict[str, Iterable[str]] = {
            "write": self.shared,
            "add": self.new,
            "change": self.changed,
            "start": self.idle,
            "remove": (*self.paused, *self.gone),
        }
        return [f"{verb} {name}" for verb, names in steps.items() for name in names]


def diff(
    shared: Mapping[str, str], timers: Mapping[str, str], actual: Actual, paused: Collection[str] = frozenset()
) -> Plan:
    """The plan from what is to what should be; `paused` are the timers of jobs that are there and want none.

    Raises Misconfigured when a name that we want is somebody else's.
    """
    unwanted = [name for name in actual.files if name not in shared and name not in timers]
    for name in (*shared, *timers):
        if name in actual.foreign:
            raise Misconfigured(f"{name} is there already and not of this home", "move it away, then: xtrack sync")
    return Plan(
        shared={name: text for name, text in shared.items() if actual.files.get(name) != text or name in actual.stale},
        new={name: text for name, text in timers.items() if name not in actual.files},
        changed={n: text for n, text in timers.items() if actual.files.get(n, text) != text or n in actual.stale},
        idle=tuple(
            name
            for name, text in timers.items()
            if actual.files.get(name) == text and name not in actual.live | actual.stale
        ),
        paused=tuple(name for name in unwanted if name in paused),
        gone=tuple(name for name in unwanted if name not in paused),
    )


@dataclass(frozen=True)
class Check:
    """One line of doctor's: what was looked at, whether it is well, and what to type if not."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


class Backend(Protocol):
    """One system's scheduler, for one home."""

    def prepare(self) -> list[str]:
        """Make the home's folders, and sure that runs can be started and will find them; gives warnings for a person.

        Raises Misconfigured when the scheduler is not there, Refused when a run could not work as it would start it.
        """

    def see(self, path: Path) -> None:
        """Raises Refused when a run started by it could not see this file."""

    def reconcile(self, jobs: Iterable[Job], active: Collection[int], dry_run: bool = False) -> Plan:
        """Make the timers of `jobs` as their rows say, and remove those of no `active` job.

        Gives the plan that was applied (dry_run: would be). Raises Misconfigured on a clash of names.
        """

    def remove(self) -> Plan:
        """Take away every unit of this home. Gives what was removed."""

    def start(self, job_ids: Sequence[int], again: bool) -> None:
        """Start these jobs' own units without waiting for them; with `again`, have run-due started in five minutes."""

    def play(self, job_id: int) -> None:
        """Start a job whose run is queued, and make sure that run-due will look whether it was started."""

    def checks(self, jobs: Sequence[Job]) -> list[Check]:
        """Doctor's questions to the scheduler; the first is whether it is there."""

    def results(self, job_ids: Sequence[int]) -> dict[int, str]:
        """What became of each job's last start, in the scheduler's own words, where it was no success."""

    def timer(self, job_id: int) -> str:
        """What the scheduler calls a job's timer, "" where it has none."""

    def print_log(self, job_id: int, invocation_id: str, lines: int, follow: bool) -> None:
        """Print the last lines that a job's runs have logged, or that one invocation has (invocation_id not "")."""


def backend(home: Home) -> Backend:
    """The backend that a home's scheduler names."""
    if home.scheduler.startswith("systemd"):
        from xtrack.scheduler.systemd import Systemd

        return Systemd(home)
    if home.scheduler == "none":
        from xtrack.scheduler.none import NoScheduler

        return NoScheduler(home)
    raise Misconfigured(
        "launchd is not supported yet", "XTRACK_SCHEDULER=none, with a line in crontab that calls xtrack run-due"
    )
