"""Summaries: what runs wrote."""

from xtrack.errors import NotFound
from xtrack.models import Post, Summary
from xtrack.store import rows
from xtrack.store.database import Database


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
