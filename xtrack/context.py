"""What every use case is given: the home with its store and scheduler, the clock, the zone, and where to log."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property

from xtrack.config import Home
from xtrack.errors import Misconfigured, NotFound
from xtrack.ledger import horizon
from xtrack.models import Job
from xtrack.scheduler import Backend, backend
from xtrack.store import Store


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """`say` takes one line for whoever watches, on a terminal or in the journal."""

    home: Home
    zone: tzinfo
    clock: Callable[[], datetime]
    say: Callable[[str], None]

    @cached_property
    def store(self) -> Store:
        """The home's store, opened when first used. Raises as require_data does."""
        self.require_data()
        return Store(self.home.database)

    def require_data(self) -> None:
        """Raises NotFound where no job was ever installed, Misconfigured where data are gone that have timers."""
        if not self.home.data.is_dir():
            if self._has_timers():
                raise Misconfigured(f"the data are gone, and the timers are not: {self.home.data}", "restore a backup")
            raise NotFound(f"there are no jobs yet in {self.home.data}", "xtrack install-job --help")

    def _has_timers(self) -> bool:
        with suppress(Misconfigured):
            return bool(self.backend.reconcile([], [], dry_run=True))
        return False

    @cached_property
    def backend(self) -> Backend:
        return backend(self.home)

    def job(self, job_id: int) -> Job:
        """One job as it is now. Raises NotFound."""
        return self.store.job(job_id, horizon(self.clock()))

    def jobs(self) -> list[Job]:
        """All jobs as they are now."""
        return self.store.jobs(horizon(self.clock()))

    def local(self, moment: datetime) -> str:
        """A moment for a person: in the machine's zone, with its name."""
        return f"{moment.astimezone(self.zone):%a %Y-%m-%d %H:%M %Z}"
