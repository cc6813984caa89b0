"""What keeps the file in order: texts that are to go, room that nobody needs, copies, and exports."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from xtrack import locks
from xtrack.errors import BadData, NotFound, Temporary
from xtrack.models import Post, Run, Summary
from xtrack.store import copies, rows
from xtrack.store.database import BUSY_SECONDS, Database

_BATCH = 5000
_DIED = """UPDATE runs SET state = 'died', finished_at = :now, exit_code = :code,
    next_try = CASE WHEN slot IS NOT NULL THEN :now END, error = 'was going on when the backup was made'
    WHERE state = 'running'"""
# What was bought, and how another database takes it: where it says more, for it is the bill.
_PAID = {
    "SELECT month, job_id, resource, count, cost, first_at FROM usage": """INSERT INTO usage
        (month, job_id, resource, count, cost, first_at) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET count = max(count, excluded.count), cost = max(cost, excluded.cost),
        first_at = min(first_at, excluded.first_at)""",
    "SELECT day, resource, id FROM bought": """INSERT INTO bought (day, resource, id) VALUES (?, ?, ?)
        ON CONFLICT DO NOTHING""",
}
_Paid = list[tuple[str, list[Any]]]
_BLANK = "UPDATE posts SET text = '', original = NULL, words = '', purged_at = ?"


def _never_waiting(status: int, *_: int) -> None:
    """sqlite3's backup() tries again for ever where SQLite itself has waited long enough."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise Temporary("the database is locked by another process", "again in a while")


def _paid(db: sqlite3.Connection) -> _Paid:
    return [(take, db.execute(read).fetchall()) for read, take in _PAID.items()]


def _paid_as_far_as_known(database: Path) -> _Paid:
    """Of a database that may be damaged, or of a newer release."""
    try:
        with closing(sqlite3.connect(database)) as db:
            return _paid(db)
    except sqlite3.Error:
        return []


@dataclass(frozen=True)
class Room:
    """How many bytes the file has, and how many of them nothing is in."""

    total: int
    free: int


class Upkeep(Database):
    """What the program does with the file as a whole."""

    # purge

    def purge_post(self, post_id: str, now: datetime) -> int:
        """Blank a post, the reposts of it, and what quotes and summaries show of it, and have none of it come back.

        Its id stays. Gives how many lines of summaries went. Raises NotFound.
        """
        showing = "FROM posts WHERE original IS NOT NULL AND json_extract(original, '$.id') = ?"
        with self.write() as db:
            shown = db.execute(f"SELECT id, kind, text, original {showing}", [post_id]).fetchall()
            known = db.execute("SELECT id FROM posts WHERE id = ?", [post_id]).fetchall()
            if not shown and not known:
                raise NotFound(f"no post {post_id}", "its id is the number at the end of its link; xtrack search WORDS")
            db.execute("INSERT INTO forgotten (post_id) VALUES (?) ON CONFLICT DO NOTHING", [post_id])
            for post in shown:
                self._forget_original(db, post)
            gone = [row["id"] for row in (*known, *(post for post in shown if post["kind"] == "repost"))]
            db.executemany(f"{_BLANK} WHERE id = ?", [(rows.stamp(now), one) for one in gone])
            return sum(self._forget_lines(db, one) for one in gone)

    def _forget_original(self, db: sqlite3.Connection, post: sqlite3.Row) -> None:
        """What a quote shows; who and where stays."""
        original = json.dumps({**json.loads(post["original"]), "text": ""}, ensure_ascii=False)
        words = rows.words_of_post(post["text"], original)
        db.execute("UPDATE posts SET original = ?, words = ? WHERE id = ?", [original, words, post["id"]])

    def _forget_lines(self, db: sqlite3.Connection, post_id: str) -> int:
        """The lines of summaries whose words are a post's: the first that they cite."""
        citing = """SELECT id, lines FROM summary_posts JOIN summaries ON summaries.id = summary_id
            WHERE post_id = ?"""
        count = 0
        for row in db.execute(citing, [post_id]).fetchall():
            lines = json.loads(row["lines"])
            of_it = [line for line in lines if line["post_ids"][:1] == [post_id] and line["text"]]
            for line in of_it:
                line["text"] = ""
            text = json.dumps(lines, ensure_ascii=False)
            sql = "UPDATE summaries SET lines = ?, words = ? WHERE id = ?"
            db.execute(sql, [text, rows.words_of_lines(text), row["id"]])
            count += len(of_it)
        return count

    def purge_posts(self, before: datetime, now: datetime) -> int:
        """Blank all posts made before a moment, some thousand at a time so that runs come in between; gives how many.

        Summaries stay as they were written.
        """
        last = self.all("SELECT coalesce(max(number), 0) FROM posts")[0][0]
        sql = f"{_BLANK} WHERE number > ? AND number <= ? AND created_at < ? AND purged_at IS NULL"
        count = 0
        for number in range(0, last, _BATCH):
            with self.write() as db:
                count += db.execute(sql, [rows.stamp(now), number, number + _BATCH, rows.stamp(before)]).rowcount
        return count

    def has_purged(self) -> bool:
        """Whether any post was purged."""
        return bool(self.all("SELECT 1 FROM posts WHERE purged_at IS NOT NULL LIMIT 1"))

    # room

    def room(self) -> Room:
        pages, free, size = (self.all(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count", "page_size"))
        return Room(pages * size, free * size)

    def vacuum(self) -> None:
        """Write the file anew without what is free in it, and what was purged in the search index; nobody can write
        meanwhile.
        """
        with self.explained() as db:
            db.execute("INSERT INTO posts_fts (posts_fts) VALUES ('optimize')")
            db.execute("INSERT INTO summaries_fts (summaries_fts) VALUES ('optimize')")
            db.execute("VACUUM")
            # Who reads for long keeps the log; nobody can write while that is waited for.
            db.execute("PRAGMA busy_timeout = 1000")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")

    # copies

    def copy_to(self, target: Path, as_owner: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """As copies.write. Raises Temporary when the disk is full, Refused when the target may not be written."""
        with self.explained(target) as db:
            copies.write(db, target, as_owner)

    def keep_copy(self, occasion: str) -> Path:
        """As copies.keep."""
        with self.explained() as db:
            return copies.keep(db, self.path.parent / "backups", occasion)

    @staticmethod
    def require_ours(path: Path, shown: Path) -> None:
        """Raises BadData when a file, which the user knows as `shown`, is not ours. Opening it would make it so."""
        with closing(sqlite3.connect(path)) as db:
            try:
                found = db.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('jobs', 'feeds', 'posts')")
                ours = found.fetchone()[0] == 3 and db.execute("PRAGMA user_version").fetchone()[0] > 0
            except sqlite3.DatabaseError as error:
                raise BadData(f"{shown} is no database, or a damaged one: {error}", f"file {shown}") from error
        if not ours:
            raise BadData(f"{shown} is no database of xtrack's", f"file {shown}")

    def take_from(self, copy: "Upkeep", now: datetime) -> None:
        """Have all that is in another database, and of this one what was paid, in one transaction; the other one is not
        used again.

        A run that is going on has no row in it, or one that has died; numbers go on behind those of both.
        """
        # Nobody writes in between what would be lost.
        with locks.queued_for(self._turn), self.explained() as db:
            copy._settle_anew(now, db.execute("SELECT name, seq FROM sqlite_sequence").fetchall(), _paid(db))
            copy._db.backup(db, progress=_never_waiting)

    def replace(self, database: Path, folder: Path, now: datetime) -> Path:
        """Put this one in the place of a database that cannot be read; gives where that one is set aside."""
        self._settle_anew(now, [], _paid_as_far_as_known(database))
        with self.explained(database):
            aside = copies.set_aside(database, folder)
            copies.write(self._db, database)
        return aside

    def _settle_anew(self, now: datetime, numbers: Iterable[sqlite3.Row], paid: _Paid) -> None:
        """Before it takes another database's place: no run goes on in it, no timer is as its jobs say, and what was
        bought is not bought again.
        """
        with self.write() as db:
            db.execute("UPDATE jobs SET unsettled = 1")
            db.execute(_DIED, {"now": rows.stamp(now), "code": Temporary.exit_code})
            for name, seq in numbers:
                db.execute("DELETE FROM sqlite_sequence WHERE name = ? AND seq < ?", [name, seq])
                sql = "INSERT INTO sqlite_sequence SELECT ?1, ?2 WHERE ?1 NOT IN (SELECT name FROM sqlite_sequence)"
                db.execute(sql, [name, seq])
            for take, bought in paid:
                db.executemany(take, bought)

    # exports: row by row, however many there are

    def every_post(self, job_id: int | None) -> Iterator[Post]:
        """All posts in the order in which they arrived, or those of the feeds that a job reads."""
        sql = """SELECT * FROM posts WHERE :job IS NULL OR EXISTS (SELECT 1 FROM job_feeds
            JOIN arrivals ON arrivals.feed_id = job_feeds.feed_id WHERE job_id = :job AND post_id = posts.id)
            ORDER BY number"""
        return map(rows.post, self._each(sql, job_id))

    def every_run(self, job_id: int | None) -> Iterator[Run]:
        """All runs, the oldest first, of one job or of all."""
        sql = "SELECT * FROM runs WHERE :job IS NULL OR job_id = :job ORDER BY id"
        return map(rows.run, self._each(sql, job_id))

    def every_summary(self, job_id: int | None) -> Iterator[Summary]:
        """All summaries, the oldest first, of one job or of all."""
        sql = "SELECT * FROM summaries WHERE :job IS NULL OR job_id = :job ORDER BY id"
        return map(rows.summary, self._each(sql, job_id))

    def _each(self, sql: str, job_id: int | None) -> Iterator[dict[str, Any]]:
        from sqlite_utils import Database as SqliteUtils

        with self.explained() as db:
            yield from SqliteUtils(db, execute_plugins=False).query(sql, {"job": job_id})
