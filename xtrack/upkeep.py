"""What is done with the data as a whole: back up, restore, export, purge, vacuum."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from xtrack import jobs
from xtrack.context import Context
from xtrack.errors import BadData, NotFound, Refused, UsageError
from xtrack.privileges import as_root
from xtrack.scheduler import Plan
from xtrack.store import Store

# A file with less than this share of it free is not worth to be written anew.
_WORTH = 0.2


@dataclass(frozen=True)
class Restored:
    """What became of a restore: where what was there before is kept, and what was done with the timers."""

    kept: Path | None
    plan: Plan


def back_up(context: Context, target: Path) -> None:
    """Copy the database to a file, whole or not at all, also while runs go on. Raises Refused, Temporary."""
    as_owner = _owner(context, target)
    with _named(target), as_owner():
        if target.is_dir():
            raise UsageError(f"{target} is a folder", f"xtrack backup {target / 'xtrack.db'}")
        if not target.parent.is_dir():
            raise NotFound(f"there is no folder {target.parent}", f"mkdir -p {target.parent}")
    with _named(target):
        context.store.copy_to(target, as_owner)


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

    Ours are kept in a copy. Raises NotFound, Refused, BadData, Misconfigured before anything is changed.
    """
    context.backend.prepare()
    scratch = context.home.data / "restoring"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        copy = scratch / context.home.database.name
        with _named(source):
            _fetch(context, source, copy)
        Store.require_ours(copy, source)
        with Store(copy) as new:
            new.check()
            kept = _exchange(context, new)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Restored(kept, jobs.sync(context))


def _fetch(context: Context, source: Path, copy: Path) -> None:
    """Copy a file that root alone may be able to read, with what a plain copy of a running database has beside it."""
    for suffix in ("", "-wal"):
        part = source.with_name(f"{source.name}{suffix}")
        with _owner(context, source)():
            if suffix and not part.exists():
                continue
            if part.is_dir():
                raise BadData(f"{part} is a folder", f"ls -la {part}")
            reader = part.open("rb")
        with reader, copy.with_name(f"{copy.name}{suffix}").open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)


def _exchange(context: Context, new: Store) -> Path | None:
    """Put the new data in the place of ours; one that is damaged is set aside as it is. Gives where ours are kept."""
    database = context.home.database
    if not database.exists():
        new.copy_to(database, nullcontext)
        return None
    try:
        with Store(database) as old:
            kept = old.keep_copy("restore")
            old.take_from(new)
            return kept
    except BadData:
        aside = context.home.backups / "damaged"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700, parents=True)
        for path in database.parent.glob(f"{database.name}*"):
            path.rename(aside / path.name)
        new.copy_to(database, nullcontext)
        return aside / database.name


def purge(context: Context, before: datetime) -> int:
    """Blank the text of all posts made before a moment; gives how many. Their ids stay, and summaries do."""
    return context.store.purge_posts(before, context.clock())


def purge_post(context: Context, post_id: str) -> int:
    """Blank one post, and what else shows its text; gives how many lines of summaries. Raises NotFound."""
    return context.store.purge_post(post_id, context.clock())


def vacuum(context: Context) -> int:
    """Give back to the disk what is free in the file, if that is much; gives how many bytes."""
    before = context.store.room()
    if before.free < _WORTH * before.total:
        return 0
    context.store.vacuum()
    return before.total - context.store.room().total
