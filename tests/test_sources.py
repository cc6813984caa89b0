"""Which kind of source takes an argument."""

import pytest

from xtrack.errors import Misconfigured
from xtrack.sources import open_source, resolve


def test_the_word_sample_is_the_sample():
    assert resolve("sample") == ("sample", "sample")


def test_a_path_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("posts.jsonl") == ("jsonl", str(tmp_path / "posts.jsonl"))
    assert resolve("./sample") == ("jsonl", str(tmp_path / "sample"))


@pytest.mark.parametrize("argument", ["https://town.example/posts.jsonl", "somewhere", ""])
def test_what_no_kind_takes_is_refused(argument):
    with pytest.raises(Misconfigured, match="no source is called"):
        resolve(argument)


def test_opening_never_raises(tmp_path):
    for argument in ("sample", str(tmp_path / "missing.jsonl")):
        open_source(*resolve(argument))
