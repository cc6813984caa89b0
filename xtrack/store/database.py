"""The SQLite file: opened, brought up to date, written in short transactions; what SQLite says, as our errors."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from xtrack import locks
from xtrack.errors import BadData, Misconfigured, NotFound, Refused, Temporary, XTrackError
from xtrack.models import Run
from xtrack.store import copies

SCHEMA_VERSION = 5
BUSY_SECONDS = 30.0


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say of a file into an error with the right exit code.

    https://www.sqlite.org/rescode.html
    """
    try:
        yield
    except PermissionError as error:
        raise Refused(f"{path}: {error.strerror}", f"ls -la {path.parent}") from error
    except OSError as error:
        raise Temporary(f"{path}: {error.strerror}", f"df -h {path.parent}") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Temporary(f"the database is locked by another process: {path}", f"fuser {path}") from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise Temporary(f"the database cannot be written ({error}): {path}", f"df -h {path.parent}") from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise Misconfigured(f"the database cannot be opened ({error}): {path}", f"ls -la {path.parent}") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise BadData(f"the database is damaged ({error}): {path}", "xtrack restore FILE, of a backup") from error
        raise


class RunGone(XTrackError):
    """The run's own row is gone, because its job was deleted meanwhile: nothing more is to be done."""

    exit_code = 0


def source_changed() -> Temporary:
    """What a run ends with when its job was given another source meanwhile: its next try reads that one."""
    return Temporary("the job was given another source meanwhile")


def no_job(job_id: int) -> NotFound:
    """There is no job of that number."""
    return NotFound(f"no job {job_id}", "xtrack list-jobs")


class Database:
    """An open database. Its methods raise Temporary when it is locked or full, BadData when it is damaged."""

    def __init__(self, path: Path, shown: Path | None = None) -> None:
        """Open it, creating or migrating it first where needed. `shown` is how errors name it, unless by its path.

        Raises Misconfigured when it is newer than we are.
        """
        self.path, self._shown = path, shown or path
        self._turn = path.parent / "locks" / "write"
        with self._explained(), ExitStack() as undo:
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            undo.callback(self._db.close)
            self._db.row_factory = sqlite3.Row
            if self._version() < SCHEMA_VERSION or self._journal() != "wal":
                self._prepare()
            self._db.execute("PRAGMA foreign_keys = ON")
            undo.pop_all()

    def _explained(self) -> AbstractContextManager[None]:
        return _explained(self._shown)

    def _version(self) -> int:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise Misconfigured(f"the database is of a newer xtrack than this one: {self._shown}", "upgrade xtrack")
        return version

    def _journal(self) -> str:
        return str(self._db.execute("PRAGMA journal_mode").fetchone()[0])

    def _prepare(self) -> None:
        """Make or migrate it, and have it in WAL mode, which one that came back from elsewhere may not be in."""
        # The switch to WAL does not wait for others as transactions do, so one process at a time comes here.
        with locks.waited_for([self.path.parent / "locks" / "schema"], lambda _: None):
            if self._journal() != "wal":
                self._db.execute("PRAGMA journal_mode = WAL")
            if self._version() < SCHEMA_VERSION:
                self._migrate()

    def _migrate(self) -> None:
        from xtrack.store.schema import migrate

        def back_up() -> None:
            for path in self._back_up_first():
                undo.callback(path.unlink)

        # Where it fails, the database is what it was, and a full disk has to be tried again with no less room.
        with ExitStack() as undo:
            migrate(self._db, back_up)
            undo.pop_all()

    def _back_up_first(self) -> Iterator[Path]:
        """Before a migration. It holds the write lock, so that the copy, which another connection reads, has it all."""
        version = self._version()
        if 0 < version < SCHEMA_VERSION:
            with closing(sqlite3.connect(self.path)) as source:
                yield copies.keep(source, self.path.parent / "backups", f"schema-{version}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def explained(self, path: Path | None = None) -> Iterator[sqlite3.Connection]:
        """The connection, for what is no transaction; what SQLite says is of this file, or of `path`."""
        with _explained(path) if path else self._explained():
            yield self._db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        # SQLite has those that wait look again now and then, the longer they wait the less often: of many some never
        # get it. flock(2) has them queue; whoever else holds the file keeps all of them waiting for the same time.
        begun = time.monotonic()
        with self._explained(), locks.queued_for(self._turn), self._db as db:
            self._begin(time.monotonic() - begun)
            yield db

    def _begin(self, waited: float) -> None:
        """Begin a transaction, after so many seconds in the queue."""
        if waited < 1:
            self._db.execute("BEGIN IMMEDIATE")
            return
        self._db.execute(f"PRAGMA busy_timeout = {1000 * max(1.0, BUSY_SECONDS - waited):.0f}")
        try:
            self._db.execute("BEGIN IMMEDIATE")
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")

    @contextmanager
    def write_as(self, run: Run) -> Iterator[sqlite3.Connection]:
        """One transaction of a run, which first finds the run's own row. Raises RunGone when that is not there.

        Its number alone could be another's, once a backup is restored; the job's lock is held by the run.
        """
        with self.write() as db:
            sql = "SELECT 1 FROM runs WHERE id = ? AND job_id = ? AND state = 'running'"
            if not db.execute(sql, [run.id, run.job_id]).fetchone():
                raise RunGone(f"run {run.id} was taken away")
            yield db

    def all(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        with self._explained():
            return self._db.execute(sql, values).fetchall()

    def check(self) -> None:
        """Raises BadData when SQLite finds the file damaged, Temporary or Misconfigured when it cannot be written."""
        with self.write():
            pass
        found = self.all("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise BadData(f"the database is damaged ({found}): {self._shown}", "xtrack restore FILE, of a backup")
