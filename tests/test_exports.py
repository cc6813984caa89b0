"""Exports: whole, valid in each form, and harmless where a table is opened."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import Command, World, post, write_lines
from tests.test_store import FEED, added, digested, fetched
from xtrack import exports
from xtrack.models import FeedSpec, Original, Post

KINDS = ("posts", "runs", "summaries")
HOSTILE = [
    "line\nfeed, comma; semicolon\tand \"quotes\" ''",
    "\r\nreturn",
    "nul \x01 and \x7f",
    "日本 – 🚢 \u2028 \u202e",
    "=cmd|' /C calc'!A0\",\"x",
    "</script>\\u0000\\",
]
ORIGINAL = Original("7", "other", "Other", '=1+1\n"', "https://x.com/other/status/7")


def text_of(world: World, what: str, form: str, job: int | None = None) -> str:
    parts = list(exports.export(world.context, what, job, form))
    assert all(part.endswith("\n") or form == "json" for part in parts)
    return "".join(parts)


def table(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def filled(world: World) -> tuple[int, int]:
    """Two jobs with feeds of their own, a summary each, and a post that both have."""
    jobs = [added(world.store, FEED), added(world.store, FeedSpec("jsonl", "/srv/other.jsonl"))]
    posts = [post(n, text=text) for n, text in enumerate(HOSTILE)]
    fetched(world.store, jobs[0], [*posts, replace(post(50), kind="quote", original=ORIGINAL)])
    fetched(world.store, jobs[1], [post(90), posts[0]])
    for job in jobs:
        digested(world.store, job, world.store.feeds(job.id)[0].id, "1000")
    return jobs[0].id, jobs[1].id


def test_json_and_jsonl_say_the_same_and_everything(world: World) -> None:
    filled(world)
    for what, count in zip(KINDS, (8, 4, 2), strict=True):
        records = json.loads(text_of(world, what, "json"))
        assert len(records) == count
        lines = text_of(world, what, "jsonl")
        assert [json.loads(line) for line in lines.split("\n")[:-1]] == records
    texts = [record["text"] for record in json.loads(text_of(world, "posts", "json"))]
    assert texts[: len(HOSTILE)] == HOSTILE


def test_the_oldest_come_first(world: World) -> None:
    filled(world)
    assert [record["id"] for record in json.loads(text_of(world, "runs", "json"))] == [1, 2, 3, 4]
    assert [record["id"] for record in json.loads(text_of(world, "summaries", "json"))] == [1, 2]
    ids = [record["id"] for record in json.loads(text_of(world, "posts", "json"))]
    assert ids == ["1000", "1001", "1002", "1003", "1004", "1005", "1050", "1090"]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_an_export_of_one_job(world: World, form: str) -> None:
    first, second = filled(world)

    def ids(what: str, job: int) -> list[str]:
        text = text_of(world, what, form, job)
        if form == "csv":
            return [row["id"] for row in table(text)]
        found = json.loads(text) if form == "json" else [json.loads(line) for line in text.split("\n")[:-1]]
        return [str(record["id"]) for record in found]

    assert ids("posts", second) == ["1000", "1090"]
    assert "1090" not in ids("posts", first)
    assert ids("runs", first) == ["1", "3"]
    assert ids("summaries", second) == ["2"]


def test_a_table_has_all_fields_and_gives_texts_back(world: World) -> None:
    filled(world)
    for what in KINDS:
        records = json.loads(text_of(world, what, "json"))
        rows = table(text_of(world, what, "csv"))
        assert [list(row) for row in rows] == [list(record) for record in records]
        for row, record in zip(rows, records, strict=True):
            for key, value in record.items():
                if isinstance(value, (list, dict)):
                    assert json.loads(row[key]) == value
                else:
                    assert row[key].removeprefix("'") == ("" if value is None else str(value))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_no_text_of_a_table_is_a_formula(world: World, start: str) -> None:
    job = added(world.store)
    hostile: Post = replace(post(1, author=f"{start}x", text=f"{start}cmd|' /C calc'!A0"), author_name=f"{start}1")
    fetched(world.store, job, [hostile])
    (row,) = table(text_of(world, "posts", "csv"))
    assert row["text"] == f"'{hostile.text}"
    assert row["author"] == f"'{start}x"
    assert row["author_name"] == f"'{start}1"
    assert json.loads(text_of(world, "posts", "json"))[0]["text"] == hostile.text


def test_nothing_is_an_empty_list_or_a_head_alone(world: World) -> None:
    filled_world = world.store
    assert filled_world.summaries() == []
    for what in KINDS:
        assert json.loads(text_of(world, what, "json")) == []
        assert text_of(world, what, "jsonl") == ""
        assert text_of(world, what, "csv").count("\r\n") == 1
    empty = {what: text_of(world, what, "csv").strip().split(",") for what in KINDS}
    filled(world)
    for what in KINDS:
        assert list(json.loads(text_of(world, what, "json"))[0]) == empty[what]


def test_rows_are_read_as_they_are_written(world: World) -> None:
    """So that it does not matter how many there are: the file may even be changed meanwhile."""
    job = added(world.store)
    fetched(world.store, job, [post(n) for n in range(3000)])
    parts = exports.export(world.context, "posts", None, "jsonl")
    first = next(parts)
    world.sql("UPDATE posts SET text = 'new'")
    rest = list(parts)
    assert len(rest) == 2999
    assert "ferry" in first
    assert "ferry" in rest[-1]


def test_the_export_command(xtrack: Command) -> None:
    job = xtrack.installed("--source", str(write_lines(xtrack.folder / "posts.jsonl", range(3))))
    assert xtrack.good("export", "posts").json == []
    xtrack.good("run-job", str(job))
    assert [record["id"] for record in xtrack.good("export", "runs", "--job", "1").json] == [1]
    assert xtrack("export", "runs", "--job", "9").code == 66
    assert xtrack("export", "jobs").code == 2
    assert len(xtrack.good("export", "posts", "--format", "csv").out.splitlines()) == 4


def test_whoever_has_read_enough_is_no_failure(xtrack: Command) -> None:
    job = xtrack.installed("--source", str(write_lines(xtrack.folder / "posts.jsonl", range(3000))))
    xtrack.good("run-job", str(job))
    for form in ("json", "jsonl", "csv"):
        command = [sys.executable, "-m", "xtrack", "export", "posts", "--format", form]
        with subprocess.Popen(
            command, env=xtrack.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 0
