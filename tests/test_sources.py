"""Which kind of source takes an argument, what it is called, and a first look at its posts."""

import json
from datetime import UTC, datetime

import pytest

from tests.conftest import line, write_lines
from xtrack.errors import BadData, Misconfigured, Temporary
from xtrack.sources import describe, open_source, preview, resolve

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)


def test_the_word_sample_is_the_sample():
    assert resolve("sample") == ("sample", "sample")
    assert describe("sample", "sample") == "the bundled sample, an invented town"


def test_a_path_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("posts.jsonl") == ("jsonl", str(tmp_path / "posts.jsonl"))
    assert resolve("./sample") == ("jsonl", str(tmp_path / "sample"))


def test_a_folder_or_zip_is_an_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").mkdir()
    assert resolve("sample") == ("sample", "sample")
    assert resolve("./sample") == ("archive", str(tmp_path / "sample"))
    assert resolve("x.zip") == ("archive", str(tmp_path / "x.zip"))


@pytest.mark.parametrize("argument", ["ftp://town.example/posts.jsonl", "somewhere", ""])
def test_what_no_kind_takes_is_refused(argument):
    with pytest.raises(Misconfigured, match="no source is called") as caught:
        resolve(argument)
    assert "X archive" in caught.value.hint


def test_a_name_that_cannot_be_printed_is_refused():
    with pytest.raises(BadData, match="cannot be printed"):
        resolve("./posts\x1b[31m.jsonl")


def test_opening_and_describing_never_raise(tmp_path):
    for argument in ("sample", str(tmp_path / "missing.jsonl"), str(tmp_path / "missing.zip"), str(tmp_path)):
        kind, spec = resolve(argument)
        open_source(kind, spec)
        assert describe(kind, spec).startswith(("a file", "an X archive", "the bundled"))


# a first look


def look(path, *names, **options):
    return [post.text for post in preview(open_source("jsonl", str(path)), names, NOW, **options)]


def test_the_first_posts_of_all(tmp_path):
    path = write_lines(tmp_path / "posts.jsonl", range(9))
    assert [text.split()[3] for text in look(path)] == ["0", "1", "2"]
    assert len(look(path, count=5)) == 5
    assert len(look(path, count=50)) == 9


def test_the_first_posts_of_some_whatever_their_case(tmp_path):
    path = write_lines(tmp_path / "posts.jsonl", range(300))
    write_lines(path, range(300, 302), author="Bo")
    assert [text.split()[3] for text in look(path, "bO", "nobody")] == ["300", "301"]
    assert look(path, "nobody") == []


def test_what_is_broken_behind_the_first_posts_does_not_matter(tmp_path):
    path = write_lines(tmp_path / "posts.jsonl", range(2))
    with path.open("a") as file:
        file.write("broken\n")
    assert len(look(path)) == 2
    path.write_text("broken\n" + line(1))
    with pytest.raises(BadData, match="line 1"):
        look(path)
    path.unlink()
    with pytest.raises(Temporary):
        look(path)


@pytest.mark.parametrize(("lines", "found"), [(20, 1), (200, 0)])
def test_ten_thousand_posts_and_a_page_are_enough(tmp_path, lines, found):
    page = json.loads(line(1))
    page["data"] *= 100
    path = tmp_path / "posts.jsonl"
    path.write_text((json.dumps(page) + "\n") * lines)
    write_lines(path, [1], author="bo")
    assert len(look(path, "bo")) == found
