"""What is done with the data as a whole: back up, restore, export, purge, vacuum."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xtrack import jobs, locks
from xtrack.context import Context
from xtrack.errors import BadData, Misconfigured, NotFound, Refused, Temporary, UsageError
from xtrack.privileges import as_root
from xtrack.scheduler import Plan
from xtrack.store import Store

# A file with less than this share of it free is not worth being written anew.
_WORTH = 0.2


@dataclass(frozen=True)
class Restored:
    """What became of a restore: where what was there before is kept, and what was done with the timers."""

    kept: Path | None
    plan: Plan


def back_up(context: Context, target: Path) -> None:
    """Copy the database to a file, whole or not at all, also while runs go on.

    Raises UsageError, NotFound, Refused, Temporary.
    """
    as_owner = _owner(context, target)
    with _named(target), as_owner():
        if target.is_dir():
            raise UsageError(f"{target} is a folder", f"xtrack backup {target / 'xtrack.db'}")
        if not target.parent.is_dir():
            raise NotFound(f"there is no folder {target.parent}", f"mkdir -p {target.parent}")
        # A device, or a link that leads elsewhere, would be replaced by a file.
        if target.is_symlink() or (target.exists() and not target.is_file()):
            raise Refused(f"{target} is no plain file", f"ls -la {target}")
        if _is_database(context, target):
            raise UsageError(f"{target} is the database itself", "another file")
    context.store.copy_to(target, as_owner)


def _is_database(context: Context, path: Path) -> bool:
    """Whether a path is the database, or what SQLite has beside it."""
    database = context.home.database
    return path.name.startswith(database.name) and path.parent.resolve() == database.parent.resolve()


def _owner(context: Context, path: Path) -> Callable[[], AbstractContextManager[None]]:
    """Who opens a file that was named on the command line: root, but nothing below the data folder."""
    return nullcontext if context.home.data in path.parents else as_root


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system refuses of a file that was named on the command line, as our errors."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"there is no {path}", f"ls -la {path.parent}") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", f"ls -la {path.parent}") from error


def restore(context: Context, source: Path) -> Restored:
    """Have the jobs, posts and summaries of a backup instead of ours, and the timers that belong to them.

    Ours are kept in a copy. Raises NotFound, UsageError, Refused, BadData, Misconfigured, Temporary before anything is
    changed.
    """
    with _named(source), _owner(context, source)():
        _require_backup(context, source)
    context.backend.prepare()
    with locks.held(context.home.locks / "restore") as ours:
        if not ours:
            raise Temporary("another restore is going on", "again in a while")
        kept = _restore(context, source)
    return Restored(kept, jobs.sync(context))


def _require_backup(context: Context, source: Path) -> None:
    if _is_database(context, source):
        raise UsageError(f"{source} is the database itself", f"ls {context.home.backups}")
    source.stat()
    if not source.is_file():
        raise BadData(f"{source} is no file", f"ls -la {source}")


def _restore(context: Context, source: Path) -> Path | None:
    """Gives where ours are kept."""
    scratch = context.home.backups / "restoring"
    with _written(scratch):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, parents=True)
    try:
        copy = scratch / context.home.database.name
        _fetch(context, source, copy)
        Store.require_ours(copy, source)
        with Store(copy, source) as new:
            new.check()
            return _exchange(context, new)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """What the system says of our own files."""
    try:
        yield
    except PermissionError as error:
        raise Refused(f"{path}: {error.strerror}", f"ls -la {path.parent}") from error
    except OSError as error:
        raise Temporary(f"{path}: {error.strerror}", f"df -h {path.parent}") from error


def _fetch(context: Context, source: Path, copy: Path) -> None:
    """Copy a file that root alone may be able to read, with what a plain copy of a running database has beside it."""
    for suffix in ("", "-wal", "-journal"):
        part = source.with_name(f"{source.name}{suffix}")
        with _named(part), _owner(context, source)():
            if suffix and not part.exists():
                continue
            reader = part.open("rb")
        with reader, _written(copy), copy.with_name(f"{copy.name}{suffix}").open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)


def _exchange(context: Context, new: Store) -> Path | None:
    """Put the new data in the place of ours; where those cannot be read, they are set aside as they are."""
    database, now = context.home.database, context.clock()
    is_there = database.exists()
    try:
        with Store(database) as old:
            kept = old.keep_copy("restore") if is_there else None
            old.take_from(new, now)
            return kept
    except (BadData, Misconfigured):
        return new.replace(database, context.home.backups, now)


def purge(context: Context, before: datetime) -> int:
    """Blank the text of all posts made before a moment; gives how many. Their ids stay, and summaries do."""
    return context.store.purge_posts(before, context.clock())


def purge_post(context: Context, post_id: str) -> int:
    """Blank one post, and what else shows its text; gives how many lines of summaries. Raises NotFound."""
    return context.store.purge_post(post_id, context.clock())


def vacuum(context: Context) -> int | None:
    """Write the file anew if much of it is free, or posts were purged, of which it then has no trace.

    Gives by how many bytes it is smaller; None: there was nothing to gain.
    """
    before = context.store.room()
    if before.free < _WORTH * before.total and not context.store.has_purged():
        return None
    context.store.vacuum()
    return before.total - context.store.room().total
