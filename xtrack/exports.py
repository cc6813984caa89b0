"""Posts, runs and summaries for other programs: JSON, JSONL or CSV, row by row, with the keys of --json."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from xtrack import views
from xtrack.context import Context

Record = dict[str, Any]


def records(context: Context, what: str, job_id: int | None) -> Iterator[Record]:
    """All `posts`, `runs` or `summaries`, the oldest first, of one job or of all."""
    store = context.store
    if what == "posts":
        yield from map(views.post_json, store.every_post(job_id))
    elif what == "runs":
        yield from map(views.run_json, store.every_run(job_id))
    else:
        yield from map(views.summary_json, store.every_summary(job_id))


def written(found: Iterable[Record], form: str) -> Iterator[str]:
    """The text of a file in the form json, jsonl or csv, in parts that end with a line."""
    if form == "csv":
        yield from _csv(iter(found))
    elif form == "jsonl":
        yield from (f"{json.dumps(record, ensure_ascii=False)}\n" for record in found)
    else:
        before = "[\n"
        for record in found:
            yield before + json.dumps(record, ensure_ascii=False, indent=2)
            before = ",\n"
        yield "[]\n" if before == "[\n" else "\n]\n"


def _csv(found: Iterator[Record]) -> Iterator[str]:
    """A head and rows (RFC 4180); lists and objects as JSON. Without records there is no head to be known."""
    import csv
    import io

    first = next(found, None)
    if first is None:
        return
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, first.keys())
    writer.writeheader()
    for record in chain([first], found):
        writer.writerow({key: _cell(value) for key, value in record.items()})
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
