"""No scheduler of the system: the rows are kept, and whoever calls `xtrack run-due` (cron, ECS) is the scheduler."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from xtrack.config import Home, make_data_folder
from xtrack.errors import Misconfigured
from xtrack.models import Job
from xtrack.scheduler import Check, Plan


class NoScheduler:
    """The Backend of a home that is driven from outside."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def prepare(self) -> list[str]:
        make_data_folder(self._home)
        return ["XTRACK_SCHEDULER is none: have `xtrack run-due` called, say every 5 minutes; nothing runs without it"]

    def see(self, path: Path) -> None:
        """Whoever calls run-due sees what its caller sees."""

    def reconcile(self, jobs: Iterable[Job], active: Collection[int], dry_run: bool = False) -> Plan:
        return Plan()

    def remove(self) -> Plan:
        return Plan()

    def start(self, job_ids: Sequence[int], again: bool) -> None:
        """Whoever calls run-due comes again."""

    def play(self, job_id: int) -> None:
        """The next run-due starts it."""

    def checks(self, jobs: Sequence[Job]) -> list[Check]:
        return [Check("scheduler", True, "none: whoever calls `xtrack run-due` is the scheduler")]

    def results(self, job_ids: Sequence[int]) -> dict[int, str]:
        return {}

    def timer(self, job_id: int) -> str:
        return ""

    def print_log(self, job_id: int, invocation_id: str, lines: int, follow: bool) -> None:
        raise Misconfigured("without a scheduler the log is where run-due's caller keeps it", "xtrack list-runs")
