"""What every use case is given: the home with its store and scheduler, the clock, the zone, and where to log."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING

from xtrack.config import Home, locate, machine_zone
from xtrack.errors import Misconfigured, NotFound
from xtrack.ledger import horizon
from xtrack.models import Job, Run
from xtrack.privileges import become_service_user
from xtrack.store import Store
from xtrack.streams import printable, tell

if TYPE_CHECKING:
    from xtrack.scheduler import Backend


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def _say(line: str) -> None:
    tell(printable(line))


def here(system: bool = False) -> "Context":
    """The context of this process: the home that its environment names, or the system's.

    In system scope root is the service user from now on (privileges.py).
    """
    os.umask(0o077)
    home = locate({**os.environ, "XTRACK_SCHEDULER": "systemd-system"} if system else os.environ)
    if home.is_system:
        become_service_user()
    return Context(home, machine_zone(), utc_now, _say)


@dataclass(frozen=True)
class Context:
    """`say` takes one line for whoever watches, on a terminal or in the journal; `sleep` seconds."""

    home: Home
    zone: tzinfo
    clock: Callable[[], datetime]
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    @cached_property
    def store(self) -> Store:
        """The home's store, opened when first used. Raises as require_data does."""
        self.require_data()
        return Store(self.home.database)

    def close(self) -> None:
        """Close the store, if it was opened: the last one to do so has SQLite put its log into the file."""
        if "store" in self.__dict__:
            self.store.close()

    def require_data(self) -> None:
        """Raises NotFound where no job was ever installed, Misconfigured where data are gone that have timers."""
        # os.path says no where pathlib raises: below a closed folder, or a file.
        if not os.path.isdir(self.home.data):  # noqa: PTH112 - see above
            if self._has_timers():
                raise Misconfigured(f"the data are gone, and the timers are not: {self.home.data}", "restore a backup")
            raise NotFound(f"there are no jobs yet in {self.home.data}", "xtrack install-job --help")

    def _has_timers(self) -> bool:
        with suppress(Misconfigured):
            return bool(self.backend.reconcile([], [], dry_run=True))
        return False

    @cached_property
    def backend(self) -> "Backend":
        from xtrack.scheduler import backend

        return backend(self.home)

    def job(self, job_id: int) -> Job:
        """One job as it is now. Raises NotFound."""
        return self.store.job(job_id, horizon(self.clock()))

    def jobs(self) -> list[Job]:
        """All jobs as they are now."""
        return self.store.jobs(horizon(self.clock()))

    def say_of(self, run: Run, what: object) -> None:
        """Say something of a run."""
        self.say(f"run {run.id}: {what}")

    def local(self, moment: datetime) -> str:
        """A moment for a person: in the machine's zone, with its name."""
        return f"{moment.astimezone(self.zone):%a %Y-%m-%d %H:%M %Z}"
