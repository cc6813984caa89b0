"""Reading a file of posts that grows, is rotated, is replaced, is cut off or is broken."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtrack.errors import BadData, Temporary
from xtrack.sources import describe
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


def test_an_empty_file_is_one_without_posts_yet(path):
    path.touch()
    open_source(str(path)).check(())
    numbers, cursor = read(path)
    assert numbers == []
    assert read(path, cursor) == ([], cursor)
    path.write_bytes(make_line(1))
    assert read(path, cursor)[0] == [1]


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


def test_what_is_no_file_is_named_and_not_waited_for(path):
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    found = {path.parent: "a folder", pipe: "a pipe", Path("/dev/zero"): "a device"}
    for other, kind in found.items():
        for attempt in use(other):
            with pytest.raises(BadData, match=f"is {kind}, not a file"):
                attempt()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        for attempt in use(path):
            with pytest.raises(BadData, match="is a socket, not a file"):
                attempt()


def test_a_forbidden_file_is_refused(path):
    """In a process of another user where we are root, who may read everything."""
    path.touch(mode=0)
    path.parent.chmod(0o755)
    code = f"""
import os
from xtrack.errors import Refused
from xtrack.sources.jsonl import open_source
if os.geteuid() == 0:
    os.seteuid(65534)
source = open_source({str(path)!r})
for attempt in (lambda: source.check(()), lambda: list(source.read(None, None))):
    try:
        attempt()
    except Refused as error:
        print(error)
"""
    with opened_up(path.parent):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path} may not be read\n" * 2


@contextmanager
def opened_up(folder):
    """Let others pass through the folders of pytest's, which are ours alone."""
    folders = [parent for parent in folder.parents if parent.stat().st_uid == os.getuid() and parent != Path("/")]
    modes = {parent: parent.stat().st_mode for parent in folders}
    for parent, mode in modes.items():
        parent.chmod(mode | 0o001)
    yield
    for parent, mode in modes.items():
        parent.chmod(mode)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_half_a_line_is_still_being_written_until_it_has_an_end(path, end):
    path.write_bytes(make_line(1) + make_line(2)[:30] + end)
    if end:
        with pytest.raises(BadData, match=r"posts\.jsonl, line 2: not JSON"):
            read(path)
    else:
        numbers, cursor = read(path)
        assert numbers == [1]
        path.write_bytes(make_line(1) + make_line(2))
        assert read(path, cursor)[0] == [2]


def test_a_line_of_200_megabytes_is_refused_in_bounded_memory(path):
    with path.open("wb") as file:
        file.write(make_line(1) + b'{"id": "5", "text": "')
        for _ in range(200):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + make_line(2))
    code = f"""
import resource
from xtrack.errors import BadData
from xtrack.sources.jsonl import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for page in open_source({str(path)!r}).read(None, None):
        print(len(page.posts))
except BadData as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[:2] == ["1", f"{path}, line 2: longer than 64 MiB"]
    assert int(out[2]) < 150


def test_what_a_file_is_is_told_without_reading_it(path):
    assert describe("jsonl", str(path)) == "a file of X API posts (JSONL)"


# rotation


def append(path, *numbers):
    with path.open("ab") as file:
        file.writelines(map(make_line, numbers))


def rotate(path, how, keep=9):
    """What logrotate does: the numbered ones move up, and the file becomes number 1."""
    for number in range(keep, 0, -1):
        for end in ("", ".gz"):
            old = path.with_name(f"{path.name}.{number}{end}")
            if old.exists():
                old.rename(path.with_name(f"{path.name}.{number + 1}{end}"))
    rotated = path.with_name(f"{path.name}.1")
    if how == "rename":
        path.rename(rotated)
        path.touch()
    else:
        shutil.copy2(path, rotated)
        os.truncate(path, 0)
    return rotated


def compress(path):
    """What gzip does, which keeps the time."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    shutil.copystat(path, packed)
    path.unlink()
    return packed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("how", ["rename", "copytruncate"])
def test_what_came_before_a_rotation_is_read_first(path, how, packed):
    append(path, 1, 2)
    _, cursor = read(path)
    append(path, 3)
    rotated = rotate(path, how)
    if packed:
        compress(rotated)
    append(path, 4)
    assert read(path, cursor)[0] == [3, 4]


@pytest.mark.parametrize("how", ["rename", "copytruncate"])
def test_several_rotations_between_two_reads(path, how):
    append(path, 1)
    compress(rotate(path, how))  # before the first read: not asked for
    append(path, 2)
    numbers, cursor = read(path)
    assert numbers == [2]
    for number in (3, 4, 5):
        append(path, number)
        rotated = rotate(path, how)
    compress(rotated)
    append(path, 6)
    assert read(path, cursor)[0] == [3, 4, 5, 6]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", ["-2026112{}", "-202611250{}", "-179556480{}", "-20261125-0{}", "-20261125T120{}"])
def test_rotated_files_with_dates(path, suffix, packed):
    append(path, 1)
    _, cursor = read(path)
    for number in (2, 3, 4):
        append(path, number)
        rotated = path.rename(path.with_name(path.name + suffix.format(number)))
        if packed and number < 4:
            compress(rotated)
    append(path, 5)
    numbers, cursor = read(path, cursor)
    assert numbers == [2, 3, 4, 5]
    assert read(path, cursor) == ([], cursor)


def test_reading_goes_on_in_the_rotated_file_until_the_new_one_has_lines(path):
    append(path, 1)
    _, cursor = read(path)
    rotated = rotate(path, "rename")
    assert read(path, cursor) == ([], cursor)
    append(rotated, 2)  # whoever writes still has it open
    numbers, cursor = read(path, cursor)
    assert numbers == [2]
    append(rotated, 3)
    append(path, 4)
    numbers, cursor = read(path, cursor)
    assert numbers == [3, 4]
    append(path, 5)
    assert read(path, cursor)[0] == [5]


def test_an_interrupted_read_of_rotated_files_goes_on(path):
    append(path, *range(10))
    _, cursor = read(path)
    append(path, *range(10, 500))
    rotate(path, "rename")
    append(path, *range(500, 800))
    rotate(path, "rename")
    append(path, *range(800, 900))
    found = []
    for _ in range(20):
        page = next(open_source(str(path)).read(cursor, NOW), None)
        if page is None:
            break
        found += [int(post.id) - 1800000000000000000 for post in page.posts]
        cursor = page.cursor
    assert found == list(range(10, 900))


def test_a_file_that_was_empty_at_the_first_read_and_then_rotated(path):
    path.touch()
    _, cursor = read(path)
    append(path, 1)
    compress(rotate(path, "copytruncate"))
    append(path, 2)
    assert read(path, cursor)[0] == [1, 2]


def test_a_rotated_file_that_is_gone_does_not_take_later_ones_with_it(path):
    append(path, 1)
    _, cursor = read(path)
    append(path, 2)
    rotate(path, "rename").unlink()
    append(path, 3)
    rotate(path, "rename")
    append(path, 4)
    assert read(path, cursor)[0] == [3, 4]


def test_old_rotated_files_are_left_alone_when_the_file_is_replaced(path):
    append(path, 1)
    os.utime(rotate(path, "rename"), (1_700_000_000, 1_700_000_000))
    append(path, 2)
    _, cursor = read(path)
    path.write_bytes(make_line(7))
    assert read(path, cursor)[0] == [7]


def test_a_replaced_file_of_the_same_beginning_and_end_is_read_again(path):
    lines = [make_line(number) for number in range(60)]
    path.write_bytes(b"".join(lines))
    _, cursor = read(path)
    lines[30] = make_line(99)
    other = path.with_name("other")
    other.write_bytes(b"".join(lines))
    other.rename(path)
    assert 99 in read(path, cursor)[0]


def test_a_line_cut_in_two_by_rotation_is_whole_again(path):
    append(path, 1)
    _, cursor = read(path)
    half = make_line(2)[:20]
    with path.open("ab", buffering=0) as file:
        file.write(half)
        rotate(path, "copytruncate")
        file.write(make_line(2)[20:] + make_line(3))
    assert read(path, cursor)[0] == [2, 3]


def test_a_cursor_of_the_first_release_goes_on(path):
    append(path, 1, 2)
    with path.open("rb") as file:
        content = file.read()
    cursor = json.dumps({"offset": len(content), "lines": 2, "hash": sha256(content * 2).hexdigest()[:16]})
    append(path, 3)
    assert read(path, cursor)[0] == [3]
    rotate(path, "rename")
    append(path, 4)
    assert read(path, cursor)[0] == [3, 4]


def test_unreadable_neighbours_are_no_rotated_files(path):
    append(path, 1)
    _, cursor = read(path)
    append(path, 2)
    rotate(path, "rename").rename(path.with_name(path.name + ".4"))
    append(path, 3)
    os.mkfifo(path.with_name(path.name + ".1"))
    path.with_name(path.name + ".2").mkdir()
    path.with_name(path.name + ".bak").write_bytes(make_line(8))
    path.with_name("other.jsonl.1").write_bytes(make_line(9))
    path.with_name(path.name + ".5.gz").write_bytes(b"no gzip")
    assert read(path, cursor)[0] == [2, 3]


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (lambda packed: packed[:-20], Temporary, "ends too early"),
        (lambda packed: packed[:40] + b"\xff" * 30 + packed[70:], BadData, "is not what gzip writes"),
        (lambda packed: packed[:-8] + b"\0" * 8, BadData, "is not what gzip writes"),
    ],
)
def test_a_broken_rotated_file_is_named(path, spoil, error, reason):
    """What it holds cannot be known, and is not passed over: it is changed since."""
    append(path, 1)
    _, cursor = read(path)
    append(path, *range(2, 400))
    packed = compress(rotate(path, "rename"))
    packed.write_bytes(spoil(packed.read_bytes()))
    append(path, 400)
    with pytest.raises(error, match=rf"posts\.jsonl\.1\.gz {reason}"):
        read(path, cursor)


def test_a_file_that_is_being_compressed_is_read_in_its_old_form(path):
    """In whichever order a folder lists the two forms."""
    append(path, 1)
    _, cursor = read(path)
    for number in (2, 3):
        append(path, number)
        rotated = path.rename(path.with_name(f"{path.name}-2026112{number}"))
        rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes())[:20])
    rotated.rename(path.with_name("aside")).rename(rotated)
    append(path, 4)
    assert read(path, cursor)[0] == [2, 3, 4]


def test_a_bomb_among_the_rotated_files_is_refused(path):
    append(path, 1)
    _, cursor = read(path)
    packed = path.with_name(path.name + ".1.gz")
    packed.write_bytes(gzip.compress(make_line(1) + (b'{"meta": {}' + b" " * 9_999 + b"}\n") * 2_000))
    path.write_bytes(make_line(3))
    with pytest.raises(BadData, match=r"posts\.jsonl\.1\.gz unpacks to more than 100 times its size"):
        read(path, cursor)
