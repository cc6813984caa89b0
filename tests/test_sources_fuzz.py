"""Hostile and random input for the parsers of files, and a file's cursor through everything that can happen to it.

More examples: pytest --hypothesis-profile=fuzz.
"""

import gzip
import json
import os
import re
import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from xtrack.errors import BadData, Temporary
from xtrack.models import Page, Post
from xtrack.sources import _v2, archive, jsonl

NOW = datetime(2024, 6, 10, 12, tzinfo=UTC)
EXAMPLES = max(1000, settings.default.max_examples)
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
FIRST_ID = 1_800_000_000_000_000_000

# The words of all three shapes, so that they meet; and what can be wrong with a value.
WORDS = re.findall(
    r"\w+",
    "data includes users tweets posts media polls id id_str text full_text created_at lang author username name "
    "entities extended_entities urls url expanded_url display_url unwound_url attachments media_keys poll_ids options "
    "label type note_tweet note_post referenced_tweets edit_history_tweet_ids in_reply_to_user_id edit_info edit "
    "initial initialTweetId editControlInitial editTweetIds user_mentions screen_name source_status_id_str tweet "
    "noteTweet core createdAt shortUrl expandedUrl account accountDisplayName errors meta",
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**30),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            *("1800000000000000001", "5", "0" * 19, "9" * 19, "9" * 40, "retweeted", "quoted", "replied_to", "photo"),
            *("RT @kaya: boats &amp; https://t.co/a1", "RT @", "at last https://t.co/a1", "https://t.co/a1", "\ud800"),
            *("https://x.com/kaya/status/17", f"https://x.com/i/status/{'7' * 30}", "pic.x.com/a1", "&#0;&#x202e;&lt"),
            *("Mon Jun 10 08:30:00 +0000 2024", "Mon Jun 99 08:30:00 +9999 0000", "2024-06-10T08:30:00.000Z"),
            *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\x1b[31m\u202e\u0085", "…" * 300, "@a @b "),
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.sampled_from(WORDS), values, max_size=4)


def require_final(post: Post) -> None:
    """What every room relies on."""
    original = [post.original] if post.original else []
    for shown in (post, *original):
        assert all(isinstance(text, str) for text in (shown.id, shown.author, shown.author_name, shown.text, shown.url))
        said = shown.author + shown.author_name + shown.text + shown.url
        said.encode()
        assert not any(char < " " and char != "\n" for char in said)
        assert not set("\x7f\x85\x9b\u202e\u2066") & set(said)
        assert not shown.author or shown.url.startswith(f"https://x.com/{shown.author}/") or shown is not post
    assert post.id == str(int(post.id))
    assert post.created_at.utcoffset() == NOW.utcoffset()
    json.dumps(post.lang).encode()


# API 2


@many
@given(values | objects)
def test_any_value_gives_posts_or_bad_data(value):
    try:
        found = _v2.posts(value)
    except BadData:
        return
    for post in found:
        require_final(post)


@many
@given(objects, objects)
def test_a_post_with_anything_in_it_gives_posts_or_bad_data(post, includes):
    base = {"id": str(FIRST_ID), "text": "Low tide at noon."}
    try:
        found = _v2.posts({"data": base | post, "includes": includes})
    except BadData:
        return
    for made in found:
        require_final(made)


# JSONL

lines = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: json.dumps(value).encode()),
    objects.map(lambda value: json.dumps({"id": str(FIRST_ID), "text": "x"} | value, ensure_ascii=True).encode()),
    st.sampled_from(
        [b"[" * 20_000, b'{"a":' * 20_000, b"9" * 5_000, b'{"id": ' + b"9" * 5_000, b"\xef\xbb\xbf{}", b"NaN"]
    ),
)


@many
@given(st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\n\n", b""])), max_size=2))
def test_any_lines_give_posts_or_bad_data(tmp_path, parts):
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b"".join(content + end for content, end in parts))
    source = jsonl.open_source(str(path))
    for use in (lambda: source.check(()), lambda: list(source.read(None, NOW))):
        try:
            pages = use()
        except BadData as error:
            assert str(error).startswith(f"{path}, line ")
            assert str(error).isprintable()
            continue
        for page in pages or ():
            for post in page.posts:
                require_final(post)


# archives

GOOD = {
    "tweets": [{"tweet": {"id_str": str(FIRST_ID), "full_text": "x" * 300}}],
    "note-tweet": [{"noteTweet": {"createdAt": "2024-06-10T03:00:17Z", "core": {"text": "x" * 400}}}],
    "account": [{"account": {"username": "kaya", "accountDisplayName": "Kaya"}}],
}
BEGINNING = "window.YTD.tweets.part0 = "
texts = st.one_of(
    objects.map(lambda tweet: BEGINNING + json.dumps([{"tweet": GOOD["tweets"][0]["tweet"] | tweet}])),
    st.lists(values, max_size=2).map(lambda items: BEGINNING + json.dumps(items)),
    st.text(max_size=40),
    st.text(alphabet='[]{}",: \\u5ntrue-', max_size=30).map(lambda text: BEGINNING + "[" + text),
)


def read_archive(path: Path) -> None:
    source = archive.open_source(str(path))
    for use in (lambda: source.check(()), lambda: list(source.read(None, NOW))):
        try:
            pages = use()
        except BadData as error:
            assert str(error).startswith(str(path))
            assert str(error).isprintable()
            continue
        for page in pages or ():
            for post in page.posts:
                require_final(post)


@many
@given(name=st.sampled_from([*GOOD, "tweets"]), text=texts, cut=st.none() | st.integers(0, 300))
def test_any_file_of_an_archive_gives_posts_or_bad_data(tmp_path, name, text, cut):
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    for other, items in GOOD.items():
        (data / f"{other}.js").write_text(BEGINNING + json.dumps(items))
    (data / f"{name}.js").write_bytes(text.encode(errors="surrogatepass")[:cut])
    read_archive(tmp_path)


def zip_bytes() -> bytes:
    """A small archive."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            item = json.dumps([{"tweet": {"id_str": str(FIRST_ID), "full_text": "Low tide at noon."}}])
            packed.writestr("data/tweets.js", f"window.YTD.tweets.part0 = {item}")
        file.seek(0)
        return file.read()


ZIP = zip_bytes()


@many
@given(
    st.lists(st.tuples(st.integers(0, len(ZIP) - 1), st.integers(0, 255)), max_size=6),
    st.none() | st.integers(0, len(ZIP)),
)
@example([(ZIP.index(b"PK\x05\x06") + 18, 1)], None)  # the directory begins elsewhere, the file before the zip
def test_any_bytes_of_a_zip_give_posts_or_bad_data(tmp_path, changes, cut):
    content = bytearray(ZIP)
    for place, byte in changes:
        content[place] = byte
    path = tmp_path / "archive.zip"
    path.write_bytes(content[:cut])
    read_archive(path)


@many
@given(st.binary(max_size=200))
def test_any_bytes_of_a_rotated_file_give_posts_or_an_error(tmp_path, content):
    path = tmp_path / "posts.jsonl"
    path.touch()
    (cursor,) = [page.cursor for page in jsonl.open_source(str(path)).read(None, NOW)]
    (tmp_path / "posts.jsonl.1.gz").write_bytes(content)
    try:
        list(jsonl.open_source(str(path)).read(cursor, NOW))
    except (BadData, Temporary) as error:
        assert str(error).startswith(f"{path}.1.gz")


# a file's cursor


def make_line(number: int) -> bytes:
    """A post of its own length, so that beginnings end anywhere."""
    return json.dumps({"id": str(FIRST_ID + number), "text": "x" * (number * 37 % 300 + 1)}).encode() + b"\n"


class FileThroughTime(RuleBasedStateMachine):
    """A writer, logrotate and people on one side; on the other a reader, who knows only his cursor.

    After a read that was not interrupted he has seen every whole line that is in the file or in one rotated from it.
    """

    @initialize(lines=st.integers(0, 3), dated=st.booleans())
    def begin(self, lines: int, dated: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="xtrack-"))
        self.path = self.folder / "posts.jsonl"
        self.dated = dated
        self.cursor: str | None = None
        self.number = self.rotations = 0
        self.seen: set[int] = set()
        # The numbers of the lines in each file that is there, and what is missing of a line that is being written.
        self.whole: dict[Path, list[int]] = {self.path: []}
        self.rest = b""
        # A line lies in two files; while it was not read, neither may go.
        self.torn = False
        self.path.touch()
        self.append(lines)
        self.read()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def made(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    def write(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)

    @rule(count=st.sampled_from([1, 1, 2, 5, 230]))
    def append(self, count: int) -> None:
        self.finish_line()
        numbers = self.made(count)
        self.write(b"".join(map(make_line, numbers)))
        self.whole[self.path] += numbers

    @rule(share=st.floats(0.01, 0.99))
    def begin_line(self, share: float) -> None:
        self.finish_line()
        (number,) = self.made(1)
        line = make_line(number)
        cut = max(1, int(share * len(line)))
        self.write(line[:cut])
        self.rest = line[cut:]

    @rule()
    def finish_line(self) -> None:
        if self.rest:
            self.write(self.rest)
            self.whole[self.path].append(self.number - 1)
            self.rest = b""

    @rule(how=st.sampled_from(["rename", "copytruncate"]))
    def rotate(self, how: str) -> None:
        if how == "rename" and self.rest:
            self.finish_line()  # by whoever still has it open
        self.torn = self.torn or bool(self.rest)
        self.rotations += 1
        if self.dated:
            rotated = self.folder / f"posts.jsonl-202611{self.rotations:02}"
        else:
            self.renumber()
            rotated = self.folder / "posts.jsonl.1"
        if how == "rename":
            self.path.rename(rotated)
            self.path.touch()
        else:
            shutil.copy2(self.path, rotated)
            os.truncate(self.path, 0)
        self.whole[rotated] = self.whole[self.path]
        self.whole[self.path] = []

    def renumber(self) -> None:
        for old in sorted(self.whole.keys() - {self.path}, key=lambda path: -int(path.name.split(".")[2])):
            _, _, number, *end = old.name.split(".")
            new = old.rename(old.with_name(".".join(["posts", "jsonl", str(int(number) + 1), *end])))
            self.whole[new] = self.whole.pop(old)

    def rotated(self) -> list[Path]:
        return sorted(self.whole.keys() - {self.path})

    @rule(which=st.integers(0, 20))
    def compress(self, which: int) -> None:
        plain = [path for path in self.rotated() if path.suffix != ".gz"]
        if plain:
            old = plain[which % len(plain)]
            packed = old.with_name(old.name + ".gz")
            packed.write_bytes(gzip.compress(old.read_bytes(), 1))
            shutil.copystat(old, packed)
            old.unlink()
            self.whole[packed] = self.whole.pop(old)

    @rule(which=st.integers(0, 20))
    def forget(self, which: int) -> None:
        rotated = self.rotated()
        if rotated and not self.torn:
            old = rotated[which % len(rotated)]
            old.unlink()
            del self.whole[old]

    @rule(share=st.floats(0, 1))
    def cut_off(self, share: float) -> None:
        """In place, behind some line."""
        if not self.torn:
            self.finish_line()
            kept = self.whole[self.path][: int(share * len(self.whole[self.path]))]
            os.truncate(self.path, sum(len(make_line(number)) for number in kept))
            self.whole[self.path] = kept

    @rule(share=st.floats(0, 1), count=st.integers(0, 3), in_the_middle=st.booleans())
    def replace(self, share: float, count: int, in_the_middle: bool) -> None:
        """By another file, which may begin and end alike."""
        if not self.torn:
            self.finish_line()
            old = self.whole[self.path]
            place = int(share * len(old))
            numbers = old[:place] + self.made(count) + (old[place + count :] if in_the_middle else [])
            other = self.folder / "other"
            other.write_bytes(b"".join(map(make_line, numbers)))
            other.rename(self.path)
            self.whole[self.path] = numbers

    @rule()
    def read(self) -> None:
        for page in jsonl.open_source(str(self.path)).read(self.cursor, NOW):
            self.take(page)
        missed = set().union(*self.whole.values()) - self.seen
        assert not missed
        self.torn = self.torn and bool(self.rest)

    @rule()
    def be_interrupted(self) -> None:
        for page in jsonl.open_source(str(self.path)).read(self.cursor, NOW):
            self.take(page)
            break

    def take(self, page: Page) -> None:
        self.seen.update(int(post.id) - FIRST_ID for post in page.posts)
        self.cursor = page.cursor


TestFileThroughTime = FileThroughTime.TestCase
TestFileThroughTime.settings = settings(many, stateful_step_count=12)
