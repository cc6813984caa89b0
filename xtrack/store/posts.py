"""Feeds, the posts that they brought, and which of them are new to a job."""

from xtrack.models import Feed, Job, Page, Post
from xtrack.store import rows
from xtrack.store.database import Database, source_changed

FIRST_DIGEST_POSTS = 500


class Posts(Database):
    """What the program asks of feeds and posts."""

    def feeds(self, job_id: int) -> list[Feed]:
        """What a job reads."""
        found = self.all(
            """SELECT feeds.* FROM job_feeds JOIN feeds ON feeds.id = feed_id WHERE job_id = ? ORDER BY feeds.id""",
            [job_id],
        )
        return [Feed(row["id"], row["kind"], row["spec"], row["cursor"]) for row in found]

    def feed(self, feed_id: int) -> Feed | None:
        """One feed as it is now; None when its last job was deleted."""
        found = self.all("SELECT * FROM feeds WHERE id = ?", [feed_id])
        return Feed(found[0]["id"], found[0]["kind"], found[0]["spec"], found[0]["cursor"]) if found else None

    def add_page(self, run_id: int, feed_id: int, page: Page) -> int:
        """Store a page with its cursor in one transaction; gives how many of its posts the feed did not have.

        A post that is there already, an edited one, takes the newer text, but none that knows less of its original.
        """
        with self.write_as(run_id) as db:
            if not db.execute("SELECT 1 FROM feeds WHERE id = ?", [feed_id]).fetchone():
                raise source_changed()
            db.executemany(
                """INSERT INTO posts (id, author, author_name, created_at, kind, text, url, lang, original) VALUES
                (:id, :author, :author_name, :created_at, :kind, :text, :url, :lang, :original)
                ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, text = excluded.text, original = excluded.original
                WHERE excluded.original IS NOT NULL OR posts.original IS NULL""",
                map(rows.post_values, page.posts),
            )
            added = db.executemany(
                "INSERT INTO arrivals (feed_id, post_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(feed_id, post.id) for post in page.posts],
            ).rowcount
            db.execute("UPDATE feeds SET cursor = ? WHERE id = ?", [page.cursor, feed_id])
        return max(added, 0)

    def last_arrival(self, feed_id: int) -> int:
        """The number of a feed's newest arrival, 0 when it has none."""
        return int(self.all("SELECT coalesce(max(id), 0) FROM arrivals WHERE feed_id = ?", [feed_id])[0][0])

    def new_posts(self, job: Job, feed_id: int, until: int) -> tuple[list[Post], int]:
        """A job's posts of a feed beyond its watermark up to arrival `until`, oldest first, and how many were left out.

        A job's first digest of a feed covers the newest FIRST_DIGEST_POSTS of them; the others are left out.
        """
        seen = self.all("SELECT seen FROM job_feeds WHERE job_id = ? AND feed_id = ?", [job.id, feed_id])
        since = seen[0]["seen"] if seen else None
        by_name = f"AND author IN ({', '.join('?' * len(job.names))})" if job.names else ""
        found = self.all(
            f"""SELECT posts.* FROM arrivals JOIN posts ON posts.id = post_id
            WHERE feed_id = ? AND arrivals.id > ? AND arrivals.id <= ? {by_name} ORDER BY created_at, posts.id""",  # noqa: S608 only question marks
            [feed_id, since or 0, until, *job.names],
        )
        left_out = max(0, len(found) - FIRST_DIGEST_POSTS) if since is None else 0
        return [rows.post(row) for row in found[left_out:]], left_out
