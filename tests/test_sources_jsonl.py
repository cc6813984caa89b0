"""Reading a file of posts that grows, is replaced, is cut off or is broken."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtrack.errors import BadData, Refused, Temporary
from xtrack.sources.jsonl import claim, open_source

NOW = datetime(2024, 6, 10, 12, tzinfo=UTC)


def make_line(number, text="Nets out, 海は静か."):
    return json.dumps({"id": str(1800000000000000000 + number), "text": text}, ensure_ascii=False).encode() + b"\n"


def make_page(*numbers):
    return json.dumps({"data": [json.loads(make_line(number)) for number in numbers]}).encode() + b"\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "posts.jsonl"


def read(path, cursor=None):
    """The numbers of the posts that one read gives, and the cursor after it."""
    numbers = []
    for page in open_source(str(path)).read(cursor, NOW):
        numbers += [int(post.id) - 1800000000000000000 for post in page.posts]
        cursor = page.cursor
    return numbers, cursor


@pytest.mark.parametrize("argument", ["posts.jsonl", "./posts.jsonl"])
def test_claim_gives_the_absolute_path(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert claim(argument) == str(tmp_path / "posts.jsonl")
    assert claim("/srv/posts") == "/srv/posts"


def test_claim_knows_home_and_keeps_symlinks(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "current").symlink_to(tmp_path / "elsewhere")
    assert claim("~/current/posts.jsonl") == str(tmp_path / "current" / "posts.jsonl")


@pytest.mark.parametrize("argument", ["sample", "", "file:///tmp/posts.jsonl", "~nobody-has-this-name/posts.jsonl"])
def test_claim_leaves_the_rest(argument):
    assert claim(argument) is None


def test_lines_of_all_shapes_in_order(path):
    path.write_bytes(make_line(1) + b"\n  \n" + make_page(2, 3) + b'{"errors": []}\n' + make_line(4))
    assert read(path)[0] == [1, 2, 3, 4]


def test_pages_are_short_and_each_has_a_cursor_to_go_on_from(path):
    path.write_bytes(b"".join(map(make_line, range(450))))
    pages = list(open_source(str(path)).read(None, NOW))
    assert [len(page.posts) for page in pages] == [200, 200, 50]
    assert read(path, pages[0].cursor)[0] == list(range(200, 450))
    assert read(path, pages[2].cursor) == ([], pages[2].cursor)


def test_pages_end_after_a_mebibyte(path):
    path.write_bytes(b"".join(make_line(number, "x" * 300_000) for number in range(9)))
    assert [len(page.posts) for page in open_source(str(path)).read(None, NOW)] == [4, 4, 1]


def test_a_line_of_many_megabytes(path):
    path.write_bytes(make_line(1, "x" * 20_000_000) + make_line(2))
    open_source(str(path)).check(())
    assert read(path)[0] == [1, 2]


def test_an_empty_file_has_no_pages(path):
    path.touch()
    open_source(str(path)).check(())
    assert read(path) == ([], None)


def test_lines_without_posts_move_the_cursor(path):
    path.write_bytes(b'{"errors": []}\n' * 3)
    numbers, cursor = read(path)
    assert numbers == []
    assert json.loads(cursor)["lines"] == 3


def test_a_byte_order_mark_is_no_text(path):
    path.write_bytes(b"\xef\xbb\xbf" + make_line(1))
    open_source(str(path)).check(())
    assert read(path)[0] == [1]


def test_a_last_line_without_its_end_is_taken_once(path):
    path.write_bytes(make_line(1) + make_line(2).rstrip())
    numbers, cursor = read(path)
    assert numbers == [1, 2]
    path.write_bytes(make_line(1) + make_line(2) + make_line(3) + b"broken\n")
    with pytest.raises(BadData, match="line 4"):
        read(path, cursor)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_growth_in_any_pieces_gives_every_post_once(tmp_path_factory, bom, cuts):
    whole = bom + make_line(1) + b"\n" + make_page(2, 3) + make_line(4) + make_line(5)
    path = tmp_path_factory.mktemp("growing") / "posts.jsonl"
    numbers, cursor = [], None
    for size in [*sorted(cuts), len(whole)]:
        path.write_bytes(whole[:size])
        new, cursor = read(path, cursor)
        numbers += new
    assert numbers == [1, 2, 3, 4, 5]
    assert json.loads(cursor)["lines"] == 5


@settings(deadline=None)
@given(before=st.integers(1, 60), kept=st.integers(0, 60), after=st.integers(0, 60))
def test_a_file_that_is_not_the_one_read_is_read_from_its_start(tmp_path_factory, before, kept, after):
    path = tmp_path_factory.mktemp("replaced") / "posts.jsonl"
    path.write_bytes(b"".join(map(make_line, range(before))))
    _, cursor = read(path)
    now = [*range(min(kept, before)), *range(100, 100 + after)]
    path.write_bytes(b"".join(map(make_line, now)))
    assert read(path, cursor)[0] == (now[before:] if kept >= before else now)


@pytest.mark.parametrize("changed", [0, 39])
def test_a_file_of_the_same_length_is_known_by_both_ends(path, changed):
    lines = [make_line(number) for number in range(40)]
    path.write_bytes(b"".join(lines))
    _, cursor = read(path)
    lines[changed] = make_line(99 - changed)
    path.write_bytes(b"".join(lines))
    assert len(read(path, cursor)[0]) == 40


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{half\n", "not JSON"),
        (b'{"text": "\xff"}\n', "not UTF-8"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b'{"users": []}\n', "neither a post nor a page of posts"),
        (b'{"id": "x", "text": "y"}\n', "not the id of a post"),
    ],
)
def test_a_broken_line_is_named_after_the_pages_before_it(path, line, reason):
    path.write_bytes(make_line(1) + b"\n" + make_line(2) + line + make_line(3))
    pages = open_source(str(path)).read(None, NOW)
    first = next(pages)
    assert len(first.posts) == 2
    with pytest.raises(BadData, match=f"posts.jsonl, line 4: {reason}"):
        next(pages)
    with pytest.raises(BadData, match="line 4"):
        read(path, first.cursor)


@pytest.mark.parametrize("content", [b"name,text\n", b"\x00\x01\xff", b"5", b'{"name": "no post"}\n', b"\n\n[1, 2]\n"])
def test_check_refuses_another_kind_of_file(path, content):
    path.write_bytes(content)
    with pytest.raises(BadData, match="line"):
        open_source(str(path)).check(())


def test_check_takes_any_author(path):
    path.write_bytes(make_line(1) + b"not looked at")
    open_source(str(path)).check(("nobody",))


def use(path):
    yield lambda: open_source(str(path)).check(())
    yield lambda: read(path)


def test_a_missing_file_may_come_back(path):
    for attempt in use(path):
        with pytest.raises(Temporary, match="cannot be read: No such file"):
            attempt()


def test_a_folder_or_a_pipe_is_no_file(path):
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    for other in (path.parent, pipe):
        for attempt in use(other):
            with pytest.raises(BadData, match="is not a file"):
                attempt()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_refused(path):
    path.touch(mode=0)
    for attempt in use(path):
        with pytest.raises(Refused, match="may not be read"):
            attempt()


def test_an_error_while_reading_is_temporary():
    """Memory that is not mapped: the system lets it be opened, and fails to read it."""
    memory = Path("/proc/self/mem")
    if not memory.exists():
        pytest.skip("Linux only")
    for attempt in use(memory):
        with pytest.raises(Temporary, match="Input/output error"):
            attempt()
