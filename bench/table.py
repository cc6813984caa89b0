"""The table: its rows with their targets, numbers as a person reads them, and its place in README.md. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

BEGIN, END = "<!-- the table that make bench printed -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Row:
    """A line of the table; `limit` is the most that the number should be, `stretch` what would be better still."""

    name: str
    unit: str
    limit: float | None = None
    stretch: float | None = None


ROWS = {
    "pass": Row("`python -c pass`, the measure of the next three", "ms"),
    "drift": Row("how far its medians of the rounds lie apart", "%"),
    "help": Row("`xtrack --help`", "×", 5.5),
    "done": Row("`xtrack run-job 1` by its timer, the slot done", "×", 6),
    "list": Row("`xtrack list-jobs`, 1000 jobs", "×", 6, 3),
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
}


def drift(medians: Sequence[float]) -> float:
    """How far medians of the same thing lie apart, in percent of their own median."""
    return 100 * (max(medians) - min(medians)) / median(medians)


def number(value: float, unit: str) -> str:
    """Three digits that count, whole numbers whole."""
    decimals = 0 if not unit else sum(value < most for most in (1, 10, 100))
    return f"{value:.{decimals}f}" + (unit if unit in ("", "×") else f" {unit}")


def markdown(title: str, values: Mapping[str, float], absent: str) -> str:
    """The table; `absent` is said where there is no value."""
    lines = [title, "", "| | measured | target | met |", "|---|---|---|---|"]
    for key, row in ROWS.items():
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


def names(text: str) -> list[str]:
    """The first column of the table in a text."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    return [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]


def replaced(text: str, table: str) -> str:
    """A text with another table between the two marks. Raises ValueError where they are not."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"no {BEGIN} … {END}")
    return f"{before}{begin}\n{table}\n{end}{after}"
