"""Summaries, the posts that they cite, and the search in both."""

from xtrack.errors import NotFound
from xtrack.models import Hit, Post, Summary
from xtrack.store import rows
from xtrack.store.database import Database

# The index gives its rows newest first by itself, so both end as soon as there are enough.
_SUMMARIES = """SELECT summaries.* FROM summaries_fts JOIN summaries ON summaries.id = summaries_fts.rowid
    WHERE summaries_fts MATCH :query AND (:job IS NULL OR job_id = :job)
    ORDER BY summaries_fts.rowid DESC LIMIT :limit"""
_POSTS = """SELECT posts.* FROM posts_fts JOIN posts ON posts.number = posts_fts.rowid
    WHERE posts_fts MATCH :query AND (:job IS NULL OR EXISTS (SELECT 1 FROM job_feeds
    JOIN arrivals ON arrivals.feed_id = job_feeds.feed_id WHERE job_id = :job AND post_id = posts.id))
    ORDER BY posts_fts.rowid DESC LIMIT :limit"""


class Summaries(Database):
    """What the program asks of summaries."""

    def summary(self, summary_id: int) -> Summary:
        """One summary. Raises NotFound."""
        found = self.all("SELECT * FROM summaries WHERE id = ?", [summary_id])
        if not found:
            raise NotFound(f"no summary {summary_id}", "xtrack list-summaries")
        return rows.summary(found[0])

    def summaries(self, job_id: int | None = None, limit: int = 50) -> list[Summary]:
        """The newest summaries, of one job or of all, newest first."""
        if job_id is None:
            return [rows.summary(row) for row in self.all("SELECT * FROM summaries ORDER BY id DESC LIMIT ?", [limit])]
        sql = "SELECT * FROM summaries WHERE job_id = ? ORDER BY id DESC LIMIT ?"
        return [rows.summary(row) for row in self.all(sql, [job_id, limit])]

    def posts(self, summary_id: int) -> list[Post]:
        """The posts that a summary's lines stand for."""
        sql = "SELECT posts.* FROM summary_posts JOIN posts ON posts.id = post_id WHERE summary_id = ?"
        return [rows.post(row) for row in self.all(sql, [summary_id])]

    def found(self, query: str, job_id: int | None, limit: int) -> list[Hit]:
        """The newest summaries and then the posts that arrived last, at most `limit` of each, that match an FTS5 query.

        With a job: its summaries, and the posts of the feeds that it reads.
        """
        values = {"query": query, "job": job_id, "limit": limit}
        return [rows.summary_hit(row) for row in self.all(_SUMMARIES, values)] + [
            rows.post_hit(row) for row in self.all(_POSTS, values)
        ]
