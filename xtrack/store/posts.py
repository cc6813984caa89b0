"""Feeds, the posts that they brought, and which of them are new to a job."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from xtrack.errors import XTrackError
from xtrack.models import Bill, Feed, Job, Page, Post, Run
from xtrack.store import rows
from xtrack.store.accounts import Accounts
from xtrack.store.database import source_changed

FIRST_DIGEST_POSTS = 500

# One statement for all posts of a page: before each one FTS5 writes what the last has added, as a tree of its own.
_POST = """INSERT INTO posts (id, author, author_name, created_at, kind, text, url, lang, original, words)
    SELECT json_extract(value, '$.id'), json_extract(value, '$.author'), json_extract(value, '$.author_name'),
    json_extract(value, '$.created_at'), json_extract(value, '$.kind'), json_extract(value, '$.text'),
    json_extract(value, '$.url'), json_extract(value, '$.lang'), json_extract(value, '$.original'),
    json_extract(value, '$.words') FROM json_each(?) WHERE true
    ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, text = excluded.text, original = excluded.original,
    words = excluded.words
    WHERE posts.purged_at IS NULL AND (excluded.original IS NOT NULL OR posts.original IS NULL)
    AND (excluded.text <> posts.text OR excluded.kind <> posts.kind OR excluded.original IS NOT posts.original)"""


def _without_forgotten(db: sqlite3.Connection, posts: Sequence[Post]) -> list[Post]:
    """Posts without those that were purged one by one, the reposts of these, and what quotes show of them."""
    shown = [post.original.id for post in posts if post.original]
    found = db.execute(
        "SELECT post_id FROM forgotten WHERE post_id IN (SELECT value FROM json_each(?))",
        [json.dumps([*(post.id for post in posts), *shown])],
    )
    gone = {row["post_id"] for row in found}
    kept = []
    for post in posts:
        original = post.original if post.original and post.original.id in gone else None
        if post.id not in gone and not (original and post.kind == "repost"):
            kept.append(replace(post, original=replace(original, text="")) if original else post)
    return kept


class Posts(Accounts):
    """What the program asks of feeds and posts."""

    def feeds(self, job_id: int) -> list[Feed]:
        """What a job reads."""
        sql = "SELECT feeds.* FROM job_feeds JOIN feeds ON feeds.id = feed_id WHERE job_id = ? ORDER BY feeds.id"
        return [rows.feed(row) for row in self.all(sql, [job_id])]

    def feed(self, feed_id: int) -> Feed | None:
        """One feed as it is now; None when its last job was deleted."""
        found = self.all("SELECT * FROM feeds WHERE id = ?", [feed_id])
        return rows.feed(found[0]) if found else None

    def add_page(self, run: Run | None, feed_id: int, page: Page, bill: Bill | None = None) -> int:
        """Store a page with its cursor and what it cost in one transaction; gives how many of its posts the feed did
        not have. `run` is None where a person looks at the first posts.

        A post that is there already, an edited one, takes the newer text, but none that knows less of its original; one
        that was purged stays as it is. Where it cannot be stored, it was bought all the same.
        """
        try:
            return self._add_page(run, feed_id, page, bill)
        except XTrackError:
            if bill:
                self.settle(bill)
            raise

    def _add_page(self, run: Run | None, feed_id: int, page: Page, bill: Bill | None) -> int:
        with self.write_as(run) if run else self.write() as db:
            if not db.execute("SELECT 1 FROM feeds WHERE id = ?", [feed_id]).fetchone():
                raise source_changed()
            posts = _without_forgotten(db, page.posts)
            db.execute(_POST, [json.dumps([*map(rows.post_values, posts)], ensure_ascii=False)])
            added = db.executemany(
                "INSERT INTO arrivals (feed_id, post_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(feed_id, post.id) for post in posts],
            ).rowcount
            db.execute("UPDATE feeds SET cursor = ? WHERE id = ?", [page.cursor, feed_id])
            if bill:
                self._settle(db, bill)
                self._note(db, feed_id, page, bill.at)
        return max(added, 0)

    def newest_posts(self, feed_id: int, count: int) -> list[Post]:
        """The newest posts of a feed, newest first."""
        sql = """SELECT posts.* FROM arrivals JOIN posts ON posts.id = post_id WHERE feed_id = ? AND purged_at IS NULL
            ORDER BY created_at DESC, posts.id DESC LIMIT ?"""
        return [rows.post(row) for row in self.all(sql, [feed_id, count])]

    def note_read(self, run: Run, feed_id: int, begun: datetime) -> None:
        """Note that a feed was read to its end, by a run that began with it at `begun`."""
        with self.write_as(run) as db:
            db.execute("UPDATE feeds SET read_at = ? WHERE id = ?", [rows.stamp(begun), feed_id])

    def note_paused(self, run: Run, feed_id: int, begun: datetime) -> None:
        """Note that reading a feed, begun at `begun`, came to a pause or an error."""
        with self.write_as(run) as db:
            db.execute("UPDATE feeds SET paused_at = ? WHERE id = ?", [rows.stamp(begun), feed_id])

    def last_arrival(self, feed_id: int) -> int:
        """The number of a feed's newest arrival, 0 when it has none."""
        return int(self.all("SELECT coalesce(max(id), 0) FROM arrivals WHERE feed_id = ?", [feed_id])[0][0])

    def look_back(self, run: Run, since: datetime) -> None:
        """Have the digests of a run's job cover the posts since a moment of those accounts that none was made of yet,
        unless another one was told.
        """
        with self.write_as(run) as db:
            db.execute(
                """UPDATE job_feeds SET since = ? WHERE job_id = ? AND seen IS NULL AND since IS NULL
                AND feed_id IN (SELECT id FROM feeds WHERE account_id <> '')""",
                [rows.stamp(since), run.job_id],
            )

    def new_posts(self, job: Job, feed_id: int, until: int) -> tuple[list[Post], int]:
        """A job's posts of a feed beyond its watermark up to arrival `until`, oldest first, and how many were left out.

        Left out is what was posted before the job looks back to: by its first digest, or else that covers the newest
        FIRST_DIGEST_POSTS; and by all digests of an account, whose first walk may go on for several. There names filter
        nothing.
        """
        sql = """SELECT seen, since, account_id FROM job_feeds JOIN feeds ON feeds.id = feed_id
            WHERE job_id = ? AND feed_id = ?"""
        told = self.all(sql, [job.id, feed_id])
        seen, since, of_account = told[0] if told else (None, None, "")
        is_first = seen is None
        names = () if of_account else job.names
        by_name = f"AND author IN ({', '.join('?' * len(names))})" if names else ""
        new = f"""FROM arrivals JOIN posts ON posts.id = post_id
            WHERE feed_id = ? AND arrivals.id > ? AND arrivals.id <= ? AND purged_at IS NULL {by_name}"""
        values = [feed_id, seen or 0, until, *names]
        found = self.all(
            f"SELECT posts.* {new} AND created_at >= ? ORDER BY created_at DESC, posts.id DESC LIMIT ?",
            [
                *values,
                since if since and (is_first or of_account) else "",
                FIRST_DIGEST_POSTS if is_first and not since else -1,
            ],
        )
        total = self.all(f"SELECT count(*) {new}", values)[0][0] if is_first or of_account else len(found)
        return [rows.post(row) for row in reversed(found)], total - len(found)
