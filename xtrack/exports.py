"""Posts, runs and summaries for other programs: JSON, JSONL or CSV, row by row, with the keys of --json."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from xtrack import views
from xtrack.context import Context
from xtrack.models import Digest, Post, Run, Summary

Record = dict[str, Any]

_EPOCH = datetime.fromtimestamp(0, UTC)
# Of each kind one, to know its fields also where there are none.
_SOME = {
    "posts": views.post_json(Post("", "", "", _EPOCH, "post", "", "")),
    "runs": views.run_json(Run(0, 0, "timer", "done", None, _EPOCH, None, "", 0, 0, None, "", None, "")),
    "summaries": views.summary_json(Summary(0, 0, 0, _EPOCH, 0, Digest("", "", (), 0))),
}
# What a spreadsheet takes a cell for a formula by, also in full width (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def export(context: Context, what: str, job_id: int | None, form: str) -> Iterator[str]:
    """All `posts`, `runs` or `summaries`, the oldest first, of one job or of all, as json, jsonl or csv.

    Gives the text in parts that end with a line.
    """
    store = context.store
    if what == "posts":
        found = map(views.post_json, store.every_post(job_id))
    elif what == "runs":
        found = map(views.run_json, store.every_run(job_id))
    else:
        found = map(views.summary_json, store.every_summary(job_id))
    if form == "csv":
        return _csv(_SOME[what], found)
    return _jsonl(found) if form == "jsonl" else _json(found)


def _json(found: Iterable[Record]) -> Iterator[str]:
    before = "[\n"
    for record in found:
        yield before + json.dumps(record, ensure_ascii=False, indent=2)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _jsonl(found: Iterable[Record]) -> Iterator[str]:
    return (f"{json.dumps(record, ensure_ascii=False)}\n" for record in found)


def _csv(head: Iterable[str], found: Iterable[Record]) -> Iterator[str]:
    """A head and rows (RFC 4180); lists and objects as JSON."""
    import csv
    import io

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    for row in chain([head], (map(_cell, record.values()) for record in found)):
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> Any:
    """What stands in a table: posts are hostile, so a text that a spreadsheet would calculate gets an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
