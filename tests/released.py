"""The databases that releases left behind, with what had been done in them."""

import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
VERSIONS = (1, 2, 3)

_STAMPS = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_KNOWN = {
    "jobs": "id, source, names, topics, frequency, at, paused, created_at, schedule_since, last_run, unsettled",
    "feeds": "id, kind, spec, cursor",
    "job_feeds": "job_id, feed_id, seen",
    "posts": "id, author, author_name, created_at, kind, text, url, lang, original",
    "arrivals": "id, feed_id, post_id",
    "runs": "*",
    "summaries": "id, job_id, run_id, created_at, post_count, method, headline, lines, omitted",
    "summary_posts": "summary_id, post_id",
}
_DONE = {"runs": "id <= 5", "summaries": "id <= 3", "summary_posts": "summary_id <= 3", "posts": "author = 'kaya'"}


def rows(database: Path, statement: str, *values: object) -> list[Any]:
    """Look at a database, or change it, without the program, which would migrate it."""
    with closing(sqlite3.connect(database, timeout=30)) as db, db:
        return db.execute(statement, values).fetchall()


def stored(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def released_database(path: Path, version: int = 1, later: timedelta = timedelta(0)) -> Path:
    """Make the file that a release left, `later` than it was."""

    def moved(text: re.Match[str]) -> str:
        return stored(datetime.fromisoformat(text[0]) + later)

    dump = (DATA / f"released_{version}.sql").read_text().splitlines()
    ours = [_STAMPS.sub(moved, row) if re.match(r'INSERT INTO "(jobs|runs|summaries)"', row) else row for row in dump]
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript("\n".join(ours))
    return path


def everything(database: Path) -> dict[str, list[Any]]:
    """All that was stored in what the first release knew."""
    return {table: rows(database, f"SELECT {columns} FROM {table} ORDER BY 1, 2") for table, columns in _KNOWN.items()}


def history(database: Path) -> dict[str, list[Any]]:
    """What had been done when the release was replaced: its five runs and three summaries, and the posts."""
    return {
        table: rows(database, f"SELECT {_KNOWN[table]} FROM {table} WHERE {which}") for table, which in _DONE.items()
    }
