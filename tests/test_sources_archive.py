"""Reading an X archive: a folder or a zip, whole, interrupted, replaced, broken or hostile."""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xtrack.errors import BadData, NotFound, Temporary
from xtrack.sources import describe
from xtrack.sources.archive import claim, open_source

NOW = datetime(2024, 6, 10, 12, tzinfo=UTC)
ACCOUNT = {
    "account": {
        "accountId": "71",
        "username": "anna_hollin",
        "accountDisplayName": "Anna Hollin",
        "email": "anna@town.example",
    }
}
LONG = "Low tide at noon, and the whole harbour is out to look for what the storm has left behind: "


def make_item(number=1, text="Low tide at noon.", **fields):
    post_id = str(1800000000000000000 + number)
    tweet = {
        "edit_info": {"initial": {"editTweetIds": [post_id], "editsRemaining": "5"}},
        "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
        "id_str": post_id,
        "id": post_id,
        "created_at": "Mon Jun 10 08:30:00 +0000 2024",
        "full_text": text,
        "lang": "en",
    }
    return {"tweet": tweet | fields}


def make_js(items, variable="tweets.part0"):
    return f"window.YTD.{variable} = " + json.dumps(items, indent=2, ensure_ascii=False)


def make_note(text, made="2024-06-10T08:30:00.000Z", *urls):
    return {"noteTweet": {"noteTweetId": "5", "createdAt": made, "core": {"text": text, "urls": list(urls)}}}


def link(short, target, **fields):
    return {"url": f"https://t.co/{short}", "expanded_url": target, "display_url": "town.example", **fields}


def photo(short, kind="photo", **fields):
    target = "https://twitter.com/anna_hollin/status/1800000000000000001/photo/1"
    return link(short, target, display_url=f"pic.twitter.com/{short}", type=kind, **fields)


@pytest.fixture(params=["folder", "zip", "zip with a folder"])
def archive(request, tmp_path):
    """Makes an archive of texts by file name; gives its path."""

    def make(account=ACCOUNT, **files):
        texts = {name.replace("_", "-") + ".js": text for name, text in files.items()}
        if account:
            texts["account.js"] = make_js([account], "account.part0")
        if request.param == "folder":
            data = tmp_path / "archive" / "data"
            data.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                (data / name).write_text(text)
            return data.parent
        top = "twitter-2024-06-10-0123abc/" if request.param == "zip with a folder" else ""
        with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(f"{top}Your archive.html", "<html>")
            packed.writestr(f"{top}data/tweets_media/1-a.jpg", b"\xff\xd8")
            for name, text in texts.items():
                packed.writestr(f"{top}data/{name}", text)
        return tmp_path / "archive.zip"

    return make


def pages(path, cursor=None):
    return list(open_source(str(path)).read(cursor, NOW))


def posts(path, cursor=None):
    return [post for page in pages(path, cursor) for post in page.posts]


def texts(path):
    return [post.text for post in posts(path)]


def number_of(post):
    return int(post.id) - 1800000000000000000


@pytest.fixture
def only(tmp_path):
    """The one post that an archive of one item gives."""

    def read(item, *notes):
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        (data / "account.js").write_text(make_js([ACCOUNT], "account.part0"))
        (data / "tweets.js").write_text(make_js([item]))
        (data / "note-tweet.js").write_text(make_js(notes, "note_tweet.part0"))
        (post,) = posts(tmp_path)
        return post

    return read


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


# what it is


def test_claim_takes_folders_and_zips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").mkdir()
    assert claim("./sample") == str(tmp_path / "sample")
    assert claim("twitter-2024.ZIP") == str(tmp_path / "twitter-2024.ZIP")
    assert claim("/srv/x.zip") == "/srv/x.zip"
    for other in ("sample", "posts.jsonl", "./missing", "https://town.example/x.zip", "~nobody-has-this-name/x.zip"):
        assert claim(other) is None


def test_what_it_is_is_told_without_reading_it():
    assert describe("archive", "/srv/x.zip") == "an X archive (zip)"
    assert describe("archive", "/srv/x") == "an X archive (folder)"


# what is in it


def test_a_post(archive):
    path = archive(tweets=make_js([make_item()]))
    open_source(str(path)).check(())
    (post,) = posts(path)
    assert (post.kind, post.author, post.author_name, post.lang) == ("post", "anna_hollin", "Anna Hollin", "en")
    assert post.created_at == datetime(2024, 6, 10, 8, 30, tzinfo=UTC)
    assert post.text == "Low tide at noon."
    assert post.url == "https://x.com/anna_hollin/status/1800000000000000001"


def test_all_files_of_posts_in_their_order(archive):
    files = ["tweets", "tweets_part1", "tweets_part2", "tweets_part10", "community_tweet", "community_tweet_part1"]
    path = archive(**{name: make_js([make_item(number)]) for number, name in enumerate(files)}, like=make_js([{}]))
    assert [number_of(post) for post in posts(path)] == [0, 1, 2, 3, 4, 5]


def test_an_older_archive(archive):
    item = make_item(text=None) | {}
    del item["tweet"]["full_text"], item["tweet"]["edit_info"]
    item["tweet"]["text"] = "Hello."
    assert texts(archive(tweet=make_js([item], "tweet.part0"))) == ["Hello."]


def test_an_archive_that_does_not_tell_whose_it_is(archive):
    path = archive(account=None, tweets=make_js([make_item()]))
    assert posts(path)[0].author == ""
    with pytest.raises(NotFound, match="of somebody that it does not name"):
        open_source(str(path)).check(("anna_hollin",))


def test_an_archive_without_posts(archive):
    path = archive(tweets="window.YTD.tweets.part0 = [ ]\n")
    open_source(str(path)).check(())
    assert posts(path) == []


def test_links_are_expanded_and_media_named(only):
    entities = {"urls": [link("a1", "https://town.example/plan?a=1&b=2")], "media": [photo("m1")]}
    extended = {"media": [photo("m1", "video")]}
    item = make_item(text="The plan: https://t.co/a1 &lt;3 https://t.co/m1", entities=entities)
    assert only(item).text == "The plan: https://town.example/plan?a=1&b=2 <3\n[photo]"
    item = make_item(text="https://t.co/m1", entities=entities, extended_entities=extended)
    assert only(item).text == "[video]"


@pytest.mark.parametrize(
    ("text", "fields", "kind"),
    [
        ("Hello", {"in_reply_to_user_id_str": "17"}, "reply"),
        ("@BoSkarn hello", {"in_reply_to_user_id_str": "71", "in_reply_to_status_id_str": "17"}, "thread"),
        ("@BoSkarn hello", {"in_reply_to_status_id_str": "17"}, "reply"),
        ("Hello", {"in_reply_to_status_id_str": "17"}, "thread"),
        ("@BoSkarn hello", {"in_reply_to_user_id_str": None, "in_reply_to_status_id_str": None}, "post"),
    ],
)
def test_replies_and_threads(only, text, fields, kind):
    assert only(make_item(text=text, **fields)).kind == kind


def test_a_quote_is_told_by_the_link_that_ends_it(only):
    entities = {"urls": [link("q1", "https://twitter.com/BoSkarn/status/17")]}
    post = only(make_item(text="At last! https://t.co/q1", entities=entities))
    assert (post.kind, post.text) == ("quote", "At last!")
    assert (post.original.id, post.original.author, post.original.text) == ("17", "BoSkarn", "")
    post = only(make_item(text="See https://t.co/q1, at last", entities=entities))
    assert (post.kind, post.text) == ("post", "See https://twitter.com/BoSkarn/status/17, at last")
    entities = {"urls": [link("q1", f"https://twitter.com/BoSkarn/status/{'9' * 40}")]}
    assert only(make_item(text="At last! https://t.co/q1", entities=entities)).kind == "post"


def test_a_repost_is_told_by_its_text(only):
    mentions = {"user_mentions": [{"screen_name": "BoSkarn", "name": "Bo & the\nGulls"}]}
    post = only(make_item(text="RT @BoSkarn: Twelve boats &amp;\ntwel…", entities=mentions))
    assert (post.kind, post.text, post.author) == ("repost", "", "anna_hollin")
    assert (post.original.author, post.original.author_name) == ("BoSkarn", "Bo & the Gulls")
    assert (post.original.text, post.original.id, post.original.url) == ("Twelve boats &\ntwel…", "", post.url)


def test_the_media_of_a_repost_tell_its_original(only):
    entities = {"media": [photo("m1", source_status_id_str="17")]}
    original = only(make_item(text="RT @BoSkarn: https://t.co/m1", entities=entities)).original
    assert (original.id, original.text, original.url) == ("17", "[photo]", "https://x.com/BoSkarn/status/17")
    entities = {"media": [photo("m1", source_status_id_str="../17")]}
    assert only(make_item(text="RT @BoSkarn: https://t.co/m1", entities=entities)).original.id == ""


def test_an_edited_post_has_its_first_id(only):
    later = {
        "edit": {"initialTweetId": "1700", "editControlInitial": {"editTweetIds": ["1700", "1800000000000000001"]}}
    }
    assert only(make_item(edit_info=later)).id == "1700"
    assert only(make_item(edit_info={"initial": {"editTweetIds": ["1600", "1800000000000000001"]}})).id == "1600"


@pytest.mark.parametrize("made", ["2024-06-10T08:30:00.000Z", "2024-06-10T08:29:58.200Z"])
def test_a_long_post_has_the_text_of_its_note(only, made):
    whole = LONG * 4 + "https://t.co/n1 &amp; more."
    url = {"shortUrl": "https://t.co/n1", "expandedUrl": "https://town.example/storm", "displayUrl": "town.example"}
    cut = make_item(text=f"@BoSkarn {whole[:270]}… https://t.co/self")
    post = only(cut, make_note("Another one. " * 30), make_note(whole, made, url))
    assert post.text == LONG * 4 + "https://town.example/storm & more."
    assert only(cut, make_note(whole, "2024-06-10T08:40:00Z")).text.endswith("https://t.co/self")


def test_a_short_post_of_a_thread_is_not_taken_for_its_long_one(only):
    assert only(make_item(text="Low tide at noon,"), make_note(LONG * 4)).text == "Low tide at noon,"


def test_what_is_no_note_is_left_out(only):
    for note in ({}, {"noteTweet": 5}, make_note(None), make_note(LONG * 4, "yesterday"), make_note("", None)):
        assert only(make_item(text=LONG * 2 + LONG[:70] + "…"), note).text.endswith("…")


# how far it was read


def test_an_interrupted_import_goes_on(archive):
    path = archive(
        tweets=make_js([make_item(number, "海 🦀 " * (number % 5)) for number in range(450)]),
        tweets_part1=make_js([make_item(number) for number in range(450, 900)]),
    )
    cursor, numbers, sizes = None, [], []
    for _ in range(6):
        page = next(open_source(str(path)).read(cursor, NOW))
        numbers += map(number_of, page.posts)
        sizes.append(len(page.posts))
        cursor = page.cursor
    assert numbers == list(range(900))
    assert sizes == [200, 200, 50, 200, 200, 50]
    assert pages(path, cursor) == []


def test_a_newer_archive_at_the_same_place_is_read_from_its_start(archive):
    cursor = pages(archive(tweets=make_js([make_item(1)])))[-1].cursor
    path = archive(tweets=make_js([make_item(2), make_item(1)]))
    assert [number_of(post) for post in posts(path, cursor)] == [2, 1]


def test_many_posts_take_little_memory(archive):
    letters = random.Random(1)
    some = [json.dumps(make_item(text="".join(letters.choices("海は静か", k=3_000)))) for _ in range(20)]
    items = (some[number % 20].replace("1800000000000000001", str(18 * 10**17 + number)) for number in range(1_200))
    path = archive(tweets=f"window.YTD.tweets.part0 = [{','.join(items)}]")
    code = f"""
import resource
from xtrack.sources.archive import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(len(page.posts) for page in open_source({str(path)!r}).read(None, None)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out[0] == "1200"
    assert int(out[1]) < 30


def test_a_post_that_is_longer_than_what_is_read_at_once(archive):
    path = archive(tweets=make_js([make_item(1), make_item(2, "x" * 3_000_000), make_item(3)]))
    assert [len(text) for text in texts(path)] == [17, 3_000_000, 17]


def test_check_knows_whose_archive_it_is(archive):
    source = open_source(str(archive(tweets=make_js([make_item()]))))
    source.check(("ANNA_hollin",))
    with pytest.raises(NotFound, match="is the archive of @anna_hollin, without posts of BoSkarn, eva"):
        source.check(("BoSkarn", "anna_hollin", "eva"))


# what is wrong with it


def use(path):
    yield lambda: open_source(str(path)).check(())
    yield lambda: pages(path)


def test_an_archive_that_is_away_may_come_back(tmp_path):
    for attempt in use(tmp_path / "missing.zip"):
        with pytest.raises(Temporary, match="cannot be read: No such file"):
            attempt()


def test_what_is_no_archive_says_what_was_looked_for(archive, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in (other, zipped(tmp_path / "other.zip", **{"tweets.js": ""}), archive(like=make_js([]))):
        for attempt in use(path):
            with pytest.raises(BadData, match=r"is no X archive: there is no data/tweets\.js in it"):
                attempt()


def test_what_is_no_zip_is_no_archive(tmp_path):
    for number, content in enumerate((b"", b"PK\x03\x04", b"window.YTD", bytes(100_000))):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        for attempt in use(path):
            with pytest.raises(BadData, match="is no whole zip"):
                attempt()


def test_a_pipe_is_not_waited_for(archive, tmp_path):
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    for attempt in use(pipe):
        with pytest.raises(BadData, match="is a pipe, not a file"):
            attempt()
    path = archive(tweets=make_js([make_item()]))
    if path.is_dir():
        (path / "data" / "tweets.js").unlink()
        os.mkfifo(path / "data" / "tweets.js")
        for attempt in use(path):
            with pytest.raises(BadData, match=r"tweets\.js is a pipe, not a file"):
                attempt()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin as X writes it"),
        ("alert(1)", "does not begin as X writes it"),
        ("[]", "does not begin as X writes it"),
        ("window.YTD.tweets.part0 = [", "the array has no end"),
        ("window.YTD.tweets.part0 = [5]", "not an object before byte 28"),
        ("window.YTD.tweets.part0 = [{]", "not JSON, or cut off, at byte 27"),
        ("window.YTD.tweets.part0 = [" + "[" * 200_000, "not JSON, or cut off, at byte 27"),
        ("window.YTD.tweets.part0 = [{}]", "neither a post nor a page of posts"),
        (make_js([make_item(id_str="x")]), "not the id of a post: 'x'"),
        (make_js([make_item(created_at="Mon Foo 10 08:30:00 +0000 2024")]), "has no time"),
        (make_js([make_item(created_at="Mon Jun 31 08:30:00 +0000 2024")]), "has no time"),
    ],
)
def test_a_broken_file_is_named(archive, text, reason):
    path = archive(tweets=text)
    with pytest.raises(BadData, match=rf"{path}, data/tweets\.js: .*{reason}"):
        pages(path)


def test_what_comes_before_something_broken_is_kept(archive):
    whole = make_js([make_item(number) for number in range(250)])
    path = archive(tweets=whole[:-10])
    source = open_source(str(path)).read(None, NOW)
    first, last = next(source), next(source)
    assert [len(first.posts), len(last.posts)] == [200, 49]
    with pytest.raises(BadData, match="cut off"):
        next(source)
    with pytest.raises(BadData, match="cut off"):
        pages(path, last.cursor)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tweets.js").write_bytes(make_js([make_item(text="x\udcff")]).encode(errors="surrogateescape"))
    with pytest.raises(BadData, match=r"data/tweets\.js: not UTF-8"):
        pages(tmp_path)


@pytest.mark.parametrize("name", ["../data/tweets.js", "/etc/tweets.js", "data/../../x", "..\\x", "C:\\x", "a/../b"])
def test_a_zip_with_names_that_lead_out_of_it_is_refused(tmp_path, name):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item()]), name: "x"})
    for attempt in use(path):
        with pytest.raises(BadData, match="holds a name that leads out of it"):
            attempt()


def test_a_zip_with_two_archives_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", **{"a/data/tweets.js": make_js([]), "b/data/tweets.js": make_js([])})
    with pytest.raises(BadData, match="more than one archive"):
        pages(path)


def test_a_zip_bomb_is_refused(tmp_path):
    bomb = "window.YTD.tweets.part0 = [" + " " * 40_000_000 + "]"
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": bomb})
    for attempt in use(path):
        with pytest.raises(BadData, match="would unpack to 38 MiB"):
            attempt()


def test_a_zip_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item(number) for number in range(900)])})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        size = packed.getinfo("data/tweets.js").file_size
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (size // 2).to_bytes(4, "little")))
    with pytest.raises(BadData, match="data/tweets"):
        pages(path)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item()])})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    for attempt in use(path):
        with pytest.raises(BadData, match="is encrypted"):
            attempt()


def test_a_zip_packed_in_another_way_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("data/tweets.js", make_js([make_item()]))
    with pytest.raises(BadData, match="packed in an unknown way"):
        pages(tmp_path / "x.zip")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_zip_is_named(tmp_path, part):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item(number) for number in range(900)])})
    os.truncate(path, int(path.stat().st_size * part))
    for attempt in use(path):
        with pytest.raises(BadData, match="is no whole zip"):
            attempt()


def test_a_zip_whose_directory_is_damaged_is_named(tmp_path):
    """It says that it begins elsewhere, which puts its file before the zip; found by fuzzing."""
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item()])})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x05\x06") + 18] += 1
    path.write_bytes(content)
    for attempt in use(path):
        with pytest.raises(BadData, match="is no whole zip"):
            attempt()


def test_a_zip_that_is_damaged_within_keeps_what_came_before(tmp_path):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item(n) for n in range(5_000)])})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    source = open_source(str(path)).read(None, NOW)
    assert len(next(source).posts) == 200
    with pytest.raises(BadData, match=r"x\.zip"):
        list(source)


def test_a_symlink_in_a_zip_is_no_way_out(tmp_path):
    (tmp_path / "secret.js").write_text(make_js([make_item()]))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        member = zipfile.ZipInfo("data/tweets.js")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(member, "../secret.js")
    with pytest.raises(BadData, match="does not begin as X writes it"):
        pages(tmp_path / "x.zip")


def test_a_symlink_in_a_folder_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "tweets.js").write_text(make_js([make_item()]))
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "data").symlink_to(tmp_path / "disk")
    assert texts(tmp_path / "archive") == ["Low tide at noon."]
    shutil.rmtree(tmp_path / "disk")
    with pytest.raises(BadData, match="there is no data/tweets"):
        pages(tmp_path / "archive")


def test_nothing_is_unpacked_to_disk(tmp_path):
    path = zipped(tmp_path / "x.zip", **{"data/tweets.js": make_js([make_item()])})
    before = set(Path(tmp_path).iterdir())
    pages(path)
    assert set(Path(tmp_path).iterdir()) == before
