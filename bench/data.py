"""Runs with few and many new posts, a first import, search in many summaries: time, and the most memory."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.homes import START, Home, Spent, texts
from bench.table import drift
from xtrack.models import Line
from xtrack.store.rows import lines_json, stamp, words_of_lines

TURNS = 30
MANY, IMPORTED, SUMMARIES = 10_000, 100_000, 100_000
# A word of the texts that most of the summaries have, as each has lines of eight posts.
COMMON = "news"


def measure(bin_: Path, scratch: Path, say: Callable[[str], None]) -> dict[str, float]:
    say("runs with few new posts and with many …")
    values = _runs(Home(bin_, scratch / "runs"))
    say(f"{IMPORTED} posts, here and in sqlite-utils …")
    values |= _import(Home(bin_, scratch / "import"), Home(bin_, scratch / "archive"))
    say(f"search in {SUMMARIES} summaries …")
    return values | _search(Home(bin_, scratch / "search"))


def _runs(home: Home) -> dict[str, float]:
    """Each kind in turns with `python -c pass`, on one job, after its first digest."""
    home.install()
    home.run()
    nothing, some, quiet = list[Spent](), list[Spent](), list[Spent]()
    for turn in range(TURNS):
        nothing.append(home.nothing())
        home.add(range(100 * turn, 100 * turn + 100))
        some.append(home.run())
        quiet.append(home.run())
    many = []
    for turn in range(1, 4):
        home.add(range(MANY * turn, MANY * turn + MANY))
        many.append(home.run())
    measure = _seconds(nothing)
    third = TURNS // 3
    return {
        "data_pass": 1000 * measure,
        "data_drift": drift([_seconds(nothing[begin : begin + third]) for begin in range(0, TURNS, third)]),
        "quiet": _seconds(quiet) / measure,
        "quiet_memory": _megabytes(quiet),
        "new_100": _seconds(some) / measure,
        "new_100_worst": max(one.seconds for one in some) / measure,
        "new_100_memory": _megabytes(some),
        "new_10000": _seconds(many),
        "new_10000_memory": _megabytes(many),
    }


def _import(home: Home, archived: Home) -> dict[str, float]:
    """First runs on the same posts as an archive and as lines, and what sqlite-utils makes of these: rows."""
    archived.install("--source", str(archived.archive(range(IMPORTED))))
    archive = archived.run()
    home.add(range(IMPORTED))
    home.install()
    ours = home.run()
    plain, indexed = home.folder / "plain.db", home.folder / "indexed.db"
    insert = ("posts", home.posts, "--nl", "--pk", "id")
    bare = home.spent("sqlite-utils", "insert", plain, *insert)
    columns = ("id", "created_at", "text", "lang", "author_id", "author")
    home.spent(
        "sqlite-utils", "create-table", indexed, "posts", *(w for c in columns for w in (c, "text")), "--pk", "id"
    )
    home.spent("sqlite-utils", "enable-fts", indexed, "posts", "text", "author", "--create-triggers")
    searched = home.spent("sqlite-utils", "insert", indexed, *insert)
    return {
        "archive": archive.seconds,
        "archive_rate": IMPORTED / archive.seconds,
        "archive_memory": archive.megabytes,
        "import_rate": IMPORTED / ours.seconds,
        "import_memory": ours.megabytes,
        "plain_rate": IMPORTED / bare.seconds,
        "plain_memory": bare.megabytes,
        "fts_rate": IMPORTED / searched.seconds,
        "fts_memory": searched.megabytes,
    }


def _search(home: Home) -> dict[str, float]:
    home.install()
    with home.sql() as db:
        at = stamp(START)
        start = "INSERT INTO runs (job_id, trigger, state, started_at) VALUES (1, 'timer', 'done', ?)"
        db.executemany(start, ([at] for _ in range(SUMMARIES)))
        finish = """INSERT INTO summaries
            (run_id, job_id, created_at, post_count, method, headline, lines, omitted, words)
            VALUES (?, 1, ?, 100, 'extractive', ?, ?, 76, ?)"""
        db.executemany(finish, ((number, at, *said) for number, said in enumerate(_said(), start=1)))
    common, rare, never = (
        [home.spent("xtrack", "search", *words) for _ in range(TURNS // 3)]
        for words in ([COMMON], [f"number{SUMMARIES // 2}"], ["odd", "even"])
    )
    return {
        "search_common": _seconds(common),
        "search_rare": _seconds(rare),
        "search_never": _seconds(never),
        "search_memory": _megabytes([*common, *rare, *never]),
    }


def _said() -> Iterator[tuple[str, str, str]]:
    """The headline of each summary, its lines, and the words to find it by."""
    for number in range(SUMMARIES):
        eight = (texts()[(8 * number + step) % len(texts())] for step in range(8))
        lines = lines_json(Line(text, ("1",)) for text in eight)
        yield f"number{number}, {'odd' if number % 2 else 'even'}", lines, words_of_lines(lines)


def _seconds(spent: Sequence[Spent]) -> float:
    return median(one.seconds for one in spent)


def _megabytes(spent: Sequence[Spent]) -> float:
    return max(one.megabytes for one in spent)
