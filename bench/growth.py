"""What the database's size does to the cost of commands: the same ones where there are no posts, and up to 5 million.

The posts are put there by SQL, half of them of the feed of the job that is run, the others of nine other jobs' feeds;
each hundred of them has a run and a summary that cites some. The homes take turns.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from bench.homes import FIRST_ID, START, Home, Spent, texts
from xtrack.models import Line
from xtrack.store.rows import lines_json, words_of_lines, words_of_post

SIZES = (0, 1_000, 10_000, 100_000, 1_000_000, 5_000_000)
TURNS = 30
JOBS = 10
# A word that all posts have, in their links, and the numbers of those that come new.
COMMON = "news"
FIRST_NEW = 100_000_000
TITLE = "What commands take with ever more posts in the database"


@dataclass(frozen=True)
class Costs:
    """Seconds of each command, a value a turn, with so many posts in the database."""

    posts: int
    values: Mapping[str, list[float]] = field(default_factory=lambda: {"run": [], "list": [], "common": [], "rare": []})
    megabytes: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)


def measure(bin_: Path, scratch: Path, say: Callable[[str], None]) -> tuple[dict[str, float], list[Costs]]:
    """The values of the table, and what its plot shows."""
    homes, build = dict[int, Home](), 0.0
    for size in SIZES:
        say(f"a database of {size} posts …")
        homes[size] = Home(bin_, scratch / f"growth-{size}")
        build = make(homes[size], size)
    costs = [Costs(size) for size in SIZES]
    for turn in range(TURNS):
        say(f"turn {turn + 1} of {TURNS} …")
        for one in costs:
            _take_turn(homes[one.posts], one, turn)
    most = homes[SIZES[-1]]
    for turn in range(TURNS, TURNS + 5):
        for one in (costs[0], costs[-1]):
            one.cold.append(_cold_run(homes[one.posts], turn).seconds)
    none, full = costs[0], costs[-1]
    return {
        "growth_build": build,
        "growth_size": most.database.stat().st_size / 1e6,
        "growth_none": 1000 * median(none.values["run"]),
        **{f"growth_{name}": median(full.values[name]) / median(none.values[name]) for name in full.values},
        "growth_worst": max(full.values["run"]) / max(none.values["run"]),
        "growth_memory": max(full.megabytes) / max(none.megabytes),
        "growth_cold": median(full.cold) / median(none.cold),
    }, costs


def series(costs: Sequence[Costs]) -> dict[str, list[tuple[float, float]]]:
    """The lines of the plot."""
    return {
        "run-job, 100 new posts": [(one.posts, median(one.values["run"])) for one in costs],
        f"… the slowest of {TURNS}": [(one.posts, max(one.values["run"])) for one in costs],
        "search --limit 5, a word that all posts have": [(one.posts, median(one.values["common"])) for one in costs],
        "list-jobs": [(one.posts, median(one.values["list"])) for one in costs],
    }


def _take_turn(home: Home, costs: Costs, turn: int) -> None:
    run = _run(home, turn)
    costs.values["run"].append(run.seconds)
    costs.megabytes.append(run.megabytes)
    costs.values["list"].append(home.spent("xtrack", "list-jobs").seconds)
    costs.values["common"].append(home.spent("xtrack", "search", COMMON, "--limit", "5").seconds)
    costs.values["rare"].append(home.spent("xtrack", "search", f"{FIRST_NEW + 100 * turn:07x}").seconds)


def _run(home: Home, turn: int) -> Spent:
    """The job's run with 100 new posts."""
    home.add(range(FIRST_NEW + 100 * turn, FIRST_NEW + 100 * turn + 100))
    return home.run()


def _cold_run(home: Home, turn: int) -> Spent:
    """The same with nothing of the database in memory."""
    for path in (home.database, home.database.with_name("xtrack.db-wal")):
        forget(path)
    return _run(home, turn)


def forget(path: Path) -> None:
    """Have the kernel drop a file's pages, which must be on the disk for it (posix_fadvise(2), POSIX_FADV_DONTNEED)."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make(home: Home, size: int) -> float:
    """A home with `size` posts; gives the seconds that SQL took."""
    names = [f"@author{number}" for number in range(JOBS - 1)]
    home.install()
    home.run()
    for name in names:
        other = home.folder / f"{name[1:]}.jsonl"
        other.touch()
        home.install(name, "--source", str(other))
    begun = time.perf_counter()
    with closing(sqlite3.connect(home.database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA cache_size = -500000")
        fill(db, size)
        db.execute("PRAGMA journal_mode = WAL")
    return time.perf_counter() - begun


def fill(db: sqlite3.Connection, size: int) -> None:
    """Put posts, runs and summaries into a database with JOBS jobs, each with one feed, all of the jobs' numbers."""
    values = {
        "size": size,
        "first_id": FIRST_ID,
        "start": int(START.timestamp()),
        "texts": len(texts()),
        "summaries": size // 100,
        "last": int((datetime.now(UTC) - timedelta(days=3)).timestamp()),
        "others": JOBS - 1,
    }
    db.execute("CREATE TEMP TABLE said (number INTEGER PRIMARY KEY, text, words, lines, words_of_lines)")
    db.executemany("INSERT INTO said VALUES (?, ?, ?, ?, ?)", _said())
    kept = db.execute("SELECT name, sql FROM sqlite_schema WHERE name IN ('posts_ai', 'summaries_ai')").fetchall()
    for name, _ in kept:
        db.execute(f"DROP TRIGGER {name}")
    for statement in _FILL:
        db.execute(statement, values)
    for _, trigger in kept:
        db.execute(trigger)


def _said() -> Iterator[tuple[int, str, str, str, str]]:
    """Texts of posts and the lines of summaries, each with the words to find it by."""
    for number, text in enumerate(texts()):
        eight = (texts()[(number + step) % len(texts())] for step in range(8))
        lines = lines_json(Line(line, (str(FIRST_ID + number),)) for line in eight)
        yield number, text, words_of_post(text, None), lines, words_of_lines(lines)


# Every second post, and every second summary, is of job and feed 1, the others are of the others in turn.
_FILL = (
    """WITH RECURSIVE numbers (i) AS (SELECT 1 WHERE :size > 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < :size)
    INSERT INTO posts (number, id, author, author_name, created_at, kind, text, url, lang, words)
    SELECT i, :first_id + i, 'author' || i % 50, 'Author' || i % 50,
    strftime('%Y-%m-%dT%H:%M:%S.000000Z', :start + i, 'unixepoch'), 'post',
    text || printf(' https://news.example/%07x', i), 'https://x.com/author' || i % 50 || '/status/' || (:first_id + i),
    'en', words FROM numbers JOIN said ON number = i % :texts""",
    """INSERT INTO arrivals (feed_id, post_id)
    SELECT CASE WHEN number % 2 THEN 1 ELSE 2 + number / 2 % :others END, id FROM posts ORDER BY number""",
    """CREATE TEMP TABLE slots AS
    WITH RECURSIVE numbers (i) AS
    (SELECT 1 WHERE :summaries > 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < :summaries)
    SELECT i, CASE WHEN i % 2 THEN 1 ELSE 2 + i / 2 % :others END AS job_id,
    strftime('%Y-%m-%dT%H:%M:%S.000000Z', :last - 3600 * (:summaries - i), 'unixepoch') AS at FROM numbers""",
    """INSERT INTO runs (job_id, trigger, state, slot, closed, started_at, finished_at, new_posts, exit_code)
    SELECT job_id, 'timer', 'done', at, 1, at, at, 100, 0 FROM slots ORDER BY i""",
    """INSERT INTO summaries (job_id, run_id, created_at, post_count, method, headline, lines, omitted, words)
    SELECT job_id, (SELECT max(id) FROM runs) - :summaries + i, at, 100, 'extractive',
    '100 new posts by 50 accounts', lines, 76, words_of_lines FROM slots JOIN said ON number = i % :texts ORDER BY i""",
    """INSERT INTO summary_posts
    SELECT (SELECT max(id) FROM summaries) - :summaries + i, :first_id + 100 * i - 4 * number
    FROM slots JOIN said ON number < 24""",
    "UPDATE job_feeds SET seen = (SELECT coalesce(max(id), 0) FROM arrivals WHERE feed_id = job_feeds.feed_id)",
    "INSERT INTO posts_fts (posts_fts) VALUES ('rebuild')",
    "INSERT INTO summaries_fts (summaries_fts) VALUES ('rebuild')",
)
