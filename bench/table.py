"""The table: its rows with their targets, numbers as a person reads them, and its place in README.md. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """A line of the table; `limit` is the most that the number should be, `stretch` what would be better still."""

    name: str
    unit: str
    limit: float | None = None
    stretch: float | None = None


# The parts of the bench, each measured and written by itself.
PARTS: Mapping[str, Mapping[str, Row]] = {
    "commands": {
        "pass": Row("`python -c pass`, the measure of the next three", "ms"),
        "drift": Row("how far its medians of the rounds lie apart", "%"),
        "help": Row("`xtrack --help`", "×", 5.5),
        "done": Row("`xtrack run-job 1` by its timer, the slot done", "×", 6),
        "list": Row("`xtrack list-jobs`, 1000 jobs", "×", 6, 3),
    },
    "data": {
        "data_pass": Row("`python -c pass`, the measure of the multiples below", "ms"),
        "data_drift": Row("how far its medians lie apart", "%"),
        "quiet": Row("`xtrack run-job 1` by its timer, nothing new in its file", "×", 6),
        "quiet_memory": Row("… its memory", "MB"),
        "new_100": Row("the same, 100 new posts, an extractive digest", "×", 6),
        "new_100_worst": Row("… the slowest of 30", "×"),
        "new_100_memory": Row("… its memory with 100 new posts", "MB"),
        "new_10000": Row("the same, 10 000 new posts", "s"),
        "new_10000_memory": Row("… its memory with 10 000 new posts", "MB"),
        "archive": Row("the first run on an X archive of 100 000 posts", "s"),
        "archive_rate": Row("… posts a second", "posts/s"),
        "archive_memory": Row("… memory", "MB"),
        "import_rate": Row("the first run on the same posts as lines of JSON", "posts/s"),
        "import_memory": Row("… its memory with these", "MB"),
        "plain_rate": Row("the same lines, `sqlite-utils insert --nl --pk id`: no more than a table", "posts/s"),
        "plain_memory": Row("… memory of it", "MB"),
        "fts_rate": Row("the same, with full-text search of two columns kept by triggers", "posts/s"),
        "fts_memory": Row("… memory of it with full-text search", "MB"),
        "search_common": Row("`xtrack search` in 100 000 summaries, a word that most have", "s"),
        "search_rare": Row("… a word that one has", "s"),
        "search_never": Row("… two words, of which each has one", "s"),
        "search_memory": Row("… memory, the most of the three", "MB"),
    },
    "growth": {
        "growth_build": Row("5 million posts and 50 000 summaries put into a database by SQL", "s"),
        "growth_size": Row("… its size", "MB"),
        "growth_none": Row("`xtrack run-job 1`, 100 new posts, in an empty database", "ms"),
        "growth_run": Row("… in that of 5 million, as a multiple of it", "×", 1.3),
        "growth_worst": Row("… the slowest of 30, as a multiple of the slowest of 30", "×"),
        "growth_cold": Row("… with nothing of the files in memory, as a multiple of the same", "×"),
        "growth_memory": Row("… memory, as a multiple", "×", 1.3),
        "growth_list": Row("`xtrack list-jobs`, as a multiple", "×", 1.3),
        "growth_common": Row("`xtrack search --limit 5`, a word that all posts have, as a multiple", "×", 1.3),
        "growth_rare": Row("`xtrack search`, a word that one post has, as a multiple", "×", 1.3),
    },
    "writers": {
        "writers": Row("200 processes that each write what a run writes, let go at once, until all are done", "s"),
        "writers_failed": Row("… processes that failed", "", 0),
        "writers_runs": Row("200 `xtrack run-job` at once, none waits for a place, until all are done", "s"),
        "writers_runs_failed": Row("… runs that failed", "", 0),
    },
    "digests": {
        "digest_xtrack_themes": Row("themes that a digest tells, XTrack's", "a line"),
        "digest_lexrank_themes": Row("… LexRank's", "a line"),
        "digest_textrank_themes": Row("… TextRank's", "a line"),
        "digest_newest_themes": Row("… of the newest posts, as many", "a line"),
        "digest_xtrack_ms": Row("CPU time for 1000 posts, XTrack", "ms"),
        "digest_lexrank_ms": Row("… by LexRank", "ms"),
        "digest_textrank_ms": Row("… by TextRank", "ms"),
    },
    "x": {
        "x_pass": Row("`python -c pass`, the measure of these multiples", "ms"),
        "x_drift": Row("how far its medians are apart", "%"),
        "x_requests": Row("`python -c 'import requests'`", "×"),
        "x_xtrack_quiet": Row("`xtrack run-job 1` by its timer, nothing new at X", "×", 15, 11),
        "x_xtrack_quiet_memory": Row("… its memory, nothing new at X", "MB"),
        "x_of_tweepy": Row("… as a multiple of tweepy's", "×", 0.5),
        "x_of_twarc": Row("… as a multiple of twarc2's", "×"),
        "x_of_rss2email": Row("… as a multiple of rss2email's", "×", 0.5),
        "x_of_urlwatch": Row("… as a multiple of urlwatch's", "×", 0.35),
        "x_tweepy_quiet": Row("tweepy, nothing new", "×"),
        "x_twarc_quiet": Row("twarc2, nothing new", "×"),
        "x_rss2email_quiet": Row("rss2email, nothing new", "×"),
        "x_urlwatch_quiet": Row("urlwatch, nothing new", "×"),
        "x_xtrack_new": Row("`xtrack run-job 1` by its timer, 100 new posts at X, an extractive digest", "×"),
        "x_xtrack_new_memory": Row("… its memory, 100 new posts at X", "MB"),
        "x_tweepy_new": Row("tweepy, 100 new posts, kept as lines", "×"),
        "x_twarc_new": Row("twarc2, 100 new posts, kept as lines", "×"),
        "x_rss2email_new": Row("rss2email, 100 new posts, no mail sent", "×"),
        "x_urlwatch_new": Row("urlwatch, 100 new posts, one page that has changed", "×"),
    },
    "thousand": {
        "one_at_0": Row("one more job, where 1 is", "s"),
        "one_at_1000": Row("one more job, where 1000 are", "s"),
        "one_ratio": Row("… as a multiple of the one before", "×", 1.5),
        "install": Row("1000 jobs installed, `install-job --from`", "s"),
        "pause": Row("1000 jobs paused, `pause-job --all`", "s"),
        "resume": Row("1000 jobs resumed, `resume-job --all`", "s"),
        "delete": Row("1000 jobs deleted, `delete-job --all --yes`", "s"),
        "rest": Row("memory of 1000 jobs at rest: what systemd grew by", "MB"),
        "rest_processes": Row("processes of ours at rest", "", 0),
        "run_cpu": Row("CPU time of one run, alone, in its unit", "s"),
        "herd": Row("1000 jobs due at once, `run-due`, until all are done", "s"),
        "herd_lost": Row("… runs lost or failed", "", 0),
        "herd_ratio": Row("… as a multiple of 1000 × the CPU time of one run / cores", "×", 1.3),
        "herd_processes": Row("… most processes of ours at once", ""),
        "herd_memory": Row("… most memory of theirs at once", "MB", 800),
        "herd_one_place": Row("… the same with `parallel_runs = 1`", "s"),
        "herd_one_place_memory": Row("… most memory with `parallel_runs = 1`", "MB"),
        "herd_no_places": Row("… the same with `parallel_runs = 1000`", "s"),
        "herd_no_places_memory": Row("… most memory with `parallel_runs = 1000`", "MB"),
    },
}


def drift(medians: Sequence[float]) -> float:
    """How far medians of the same thing lie apart, in percent of their own median."""
    return 100 * (max(medians) - min(medians)) / median(medians)


def number(value: float, unit: str) -> str:
    """Three digits that count, whole numbers whole."""
    decimals = 0 if not unit else sum(value < most for most in (1, 10, 100))
    return f"{value:.{decimals}f}" + (unit if unit in ("", "×") else f" {unit}")


def markdown(part: str, title: str, values: Mapping[str, float], absent: str) -> str:
    """The table of a part; `absent` is said where there is no value."""
    lines = [title, "", "| | measured | target | met |", "|---|---|---|---|"]
    for key, row in PARTS[part].items():
        value = number(values[key], row.unit) if key in values else absent
        lines.append(f"| {row.name} | {value} | {_target(row)} | {_met(row, values.get(key))} |")
    return "\n".join(lines)


def _target(row: Row) -> str:
    if row.limit is None:
        return ""
    most = f"≤ {row.limit:g} {row.unit}".rstrip().replace(" ×", "×") if row.limit else "0"
    return most + (f", better {row.stretch:g}{row.unit}" if row.stretch else "")


def _met(row: Row, value: float | None) -> str:
    if row.limit is None or value is None:
        return ""
    better = row.stretch is not None and value <= row.stretch
    return "**no**" if value > row.limit else "yes, the better one" if better else "yes"


def names(text: str, part: str) -> list[str]:
    """The first column of a part's table in a text."""
    _, table, _ = split(text, part)
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]


def replaced(text: str, part: str, table: str) -> str:
    """A text with another table between the two marks of a part. Raises ValueError where they are not."""
    before, _, after = split(text, part)
    return f"{before}\n{table}\n{after}"


def split(text: str, part: str) -> tuple[str, str, str]:
    """A text up to the first mark of a part and with it, what is between the two, and the rest."""
    begin, end = f"<!-- {part}: what make bench printed -->", f"<!-- {part}: the end -->"
    before, begun, rest = text.partition(begin)
    table, ended, after = rest.partition(end)
    if not (begun and ended):
        raise ValueError(f"no {begin} … {end}")
    return before + begun, table, ended + after
