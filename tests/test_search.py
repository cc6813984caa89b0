"""Search: words in any script find what has them, and nothing that is typed makes it fail."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from tests.conftest import NOON, post
from tests.test_store import FAR, added, fetched, started
from xtrack.errors import BadData
from xtrack.models import Digest, FeedSpec, Line, Original, Page
from xtrack.store import Store
from xtrack.store.schema import TOKENIZER
from xtrack.words import query, spaced, unfound

TEXTS = {
    "danish": "Højvande ved Ærø, crème brûlée i havnen",
    "german": "Straße gesperrt: Größe XL",
    "greek": "Ο ΣΊΣΥΦΟΣ ξαναρχίζει",
    "turkish": "İstanbul'da vapur seferleri",
    "cyrillic": "Паром задержан на ёлке",
    "chinese": "今天東京灣漲潮，渡輪停航",
    "japanese": "フェリーが遅れています。きょうは運休",
    "korean": "오늘 여객선이 늦게 출발합니다",
    "thai": "เรือข้ามฟากล่าช้าเพราะน้ำท่วม",
    "khmer": "ទូកយឺតណាស់",
    "hindi": "नौका आज देर से चलेगी",
    "arabic": "العَبَّارَة مُتَأَخِّرَة اليوم",
    "hebrew": "הַמַּעְבֹּרֶת מאחרת",
    "mixed": "Ferry2Go「高潮」#tide_table @oslo x-ray a.b:c 50% NEAR OR NOT 🚢🌊",
    "decomposed": "cafe\u0301 au lait",
    "quotes": "she said \"never again\" and 'left' (quietly) ^ * { }",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "xtrack.db") as store:
        fetched(store, added(store), [post(n, "mira", text) for n, text in enumerate(TEXTS.values())])
        yield store


def found(store: Store, *words: str) -> set[str]:
    """Of which scripts the posts are that have these words."""
    names = list(TEXTS)
    return {names[int(hit.id) - 1000] for hit in store.found(query(words), None, 100) if hit.kind == "post"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("danish", ("HØJVANDE",)),
        ("danish", ("creme", "brulee")),
        ("danish", ("crème brûlée",)),
        ("german", ("STRAßE",)),
        ("greek", ("σίσυφος",)),
        ("greek", ("σισυφοσ",)),
        ("turkish", ("istanbul",)),
        ("turkish", ("istanbul'da",)),
        ("cyrillic", ("ПАРОМ",)),
        ("cyrillic", ("елке",)),
        ("cyrillic", ("ёлке",)),
        ("chinese", ("東京灣",)),
        ("chinese", ("渡",)),
        ("chinese", ("漲潮，渡輪",)),
        ("japanese", ("フェリー",)),
        ("japanese", ("運休", "遅れ")),
        ("korean", ("여객선",)),
        ("korean", ("객선",)),
        ("thai", ("น้ำท่วม",)),
        ("thai", ("ข้ามฟาก",)),
        ("khmer", ("យឺត",)),
        ("hindi", ("नौका",)),
        ("hindi", ("चले*",)),
        ("arabic", ("العبارة",)),
        ("arabic", ("مُتَأَخِّرَة",)),
        ("hebrew", ("המעברת",)),
        ("hebrew", ("הַמַּעְבֹּרֶת",)),
        ("mixed", ("ferry2go",)),
        ("mixed", ("Ferry2Go「高潮」",)),
        ("mixed", ("tide",)),
        ("mixed", ("#tide_table",)),
        ("mixed", ("a.b:c",)),
        ("mixed", ("near", "OR", "NOT")),
        ("mixed", ("x-ray", "🚢")),
        ("decomposed", ("café",)),
        ("decomposed", ("CAFE",)),
        ("quotes", ('"never again"',)),
        ("quotes", ("never again",)),
        ("quotes", ("(quietly)",)),
    ],
)
def test_words_find_the_post_that_has_them(store: Store, name: str, words: tuple[str, ...]) -> None:
    assert found(store, *words) == {name}


@pytest.mark.parametrize(
    "words",
    [
        ("again never",),
        ("ferry", "straße"),
        ("erry2go",),
        ("tide*x",),
        ("潮漲",),
        ("text:ferry2go",),
        ("ferry2go OR x",),
    ],
)
def test_words_that_a_post_does_not_have_find_nothing(store: Store, words: tuple[str, ...]) -> None:
    assert found(store, *words) == set()


def test_a_star_finds_what_begins_so(store: Store) -> None:
    assert found(store, "ferr*") == {"mixed"}
    assert found(store, "ferr") == set()
    assert found(store, "f*rry") == set()
    assert found(store, "東*") == {"chinese"}
    assert found(store, "never aga*") == {"quotes"}


@pytest.mark.parametrize("word", ["", " ", "*", "**", '"', "🚢", "()", "-", "^", ":", "\0", "\udcff", "\u0301", "…"])
def test_what_holds_no_word_is_refused(word: str) -> None:
    with pytest.raises(BadData, match="no word to search for") as error:
        query([word])
    assert error.value.exit_code == 65
    assert query([word, "ferry"]) == query(["ferry"])


def test_authors_and_originals_are_found(store: Store) -> None:
    original = Original("7", "oslo_ferries", "Østfold 渡輪", "High tide in 釜山", "https://x.com/oslo_ferries/status/7")
    fetched(store, store.jobs(FAR)[0], [replace(post(50, "kaya", "x"), kind="repost", text="", original=original)])
    for words in (("oslo_ferries",), ("high", "tide"), ("山",), ("østfold",), ("輪",), ("@kaya",)):
        assert "1050" in {hit.id for hit in store.found(query(words), None, 10)}, words
    (hit,) = store.found(query(["high tide"]), None, 10)
    assert (hit.text, hit.author, hit.url) == ("High tide in 釜山", "kaya", post(50).url)


def test_an_edited_post_is_found_by_what_it_says_now(store: Store) -> None:
    job = store.jobs(FAR)[0]
    fetched(store, job, [post(60, text="Walrus 海象")])
    fetched(store, job, [post(60, text="Narwhal 角鯨")])
    assert store.found(query(["walrus"]), None, 9) == store.found(query(["象"]), None, 9) == []
    assert [hit.id for hit in store.found(query(["narwhal", "鯨"]), None, 9)] == ["1060"]


def summarised(store: Store, job_id: int, *lines: str, headline: str = "1 new post") -> int:
    digest = Digest("extractive", headline, tuple(Line(text, (), "公共交通") for text in lines), 0)
    job = store.job(job_id, FAR)
    return store.finish_run(started(store, job), digest, 1, {}, None, NOON + timedelta(hours=1))


def test_the_newest_come_first_and_summaries_before_posts(store: Store) -> None:
    ids = [str(summarised(store, 1, f"Walrus {n}")) for n in range(3)]
    fetched(store, store.jobs(FAR)[0], [post(n, text="walrus") for n in (72, 70, 71)])
    hits = store.found(query(["walrus"]), None, 50)
    assert [(hit.kind, hit.id) for hit in hits] == [
        *(("summary", one) for one in reversed(ids)),
        *(("post", one) for one in ("1071", "1070", "1072")),
    ]
    assert [hit.id for hit in store.found(query(["walrus"]), None, 1)] == [ids[-1], "1071"]
    assert hits[0].text == "1 new post\nWalrus 2"


def test_a_summary_is_found_by_headline_lines_and_groups(store: Store) -> None:
    number = str(summarised(store, 1, "Walrus crème", "釜山港", headline="3 new posts on zeppelins"))
    for words in (("zeppelins",), ("walrus", "CREME"), ("山港",), ("交通",)):
        assert [hit.id for hit in store.found(query(words), None, 9) if hit.kind == "summary"] == [number], words


def test_a_job_finds_its_own_summaries_and_the_posts_of_its_feeds(store: Store) -> None:
    other = added(store, FeedSpec("jsonl", "/srv/other.jsonl"))
    fetched(store, other, [post(80, text="walrus")])
    fetched(store, store.jobs(FAR)[0], [post(81, text="walrus"), post(82, text="walrus")])
    (feed,) = store.feeds(other.id)
    run = started(store, other)
    store.add_page(run, feed.id, Page((post(82, text="walrus"),), "c"))
    store.fail_run(run, "failed", NOON, 70, "", None)
    mine, its = str(summarised(store, 1, "walrus")), str(summarised(store, other.id, "walrus"))
    assert [hit.id for hit in store.found(query(["walrus"]), 1, 9)] == [mine, "1082", "1081"]
    assert [hit.id for hit in store.found(query(["walrus"]), other.id, 9)] == [its, "1082", "1080"]
    store.delete_jobs([other.id])
    assert [hit.id for hit in store.found(query(["walrus"]), None, 9)] == [mine, "1082", "1081"]


def test_very_long_queries(store: Store) -> None:
    assert found(store, *["ferry2go"] * 3000) == {"mixed"}
    assert found(store, "x" * 200_000) == set()
    assert found(store, "x " * 50_000) == set()
    assert found(store, *(f"w{n}" for n in range(3000))) == set()


def indexed(text: str) -> sqlite3.Connection:
    """A search index as the schema makes it, with one post."""
    db = Database(memory=True)
    db.table("posts").insert({"number": 1, "text": text, "words": unfound(text)}, pk="number")
    db.table("posts").enable_fts(["text", "words"], tokenize=TOKENIZER)
    return db.conn


# As sources give it: no halves of characters, nothing that steers a terminal.
SAID = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=60)
SCRIPTS = st.text(st.sampled_from("".join(TEXTS.values()) + '*"^:-() \n'), max_size=60)


@settings(max_examples=300)
@given(SAID | SCRIPTS)
@example("Ǽ")
def test_any_word_of_any_text_finds_it(text: str) -> None:
    db = indexed(text)
    for word in text.split():
        try:
            asked = query([word])
        except BadData:
            continue
        found = db.execute("SELECT 1 FROM posts_fts WHERE posts_fts MATCH ?", [asked]).fetchall()
        assert found or not _is_known(word), (text, word)
    db.close()


def _is_known(word: str) -> bool:
    """Whether SQLite, whose Unicode is an older one, sees any letter there."""
    with sqlite3.connect(":memory:") as db:
        db.execute(f'CREATE VIRTUAL TABLE said USING fts5 (text, tokenize = "{TOKENIZER}")')
        db.execute("CREATE VIRTUAL TABLE known USING fts5vocab (said, row)")
        db.execute("INSERT INTO said VALUES (?)", [spaced(word)])
        return bool(db.execute("SELECT count(*) FROM known").fetchone()[0])


ANYTHING = st.text() | st.text(st.sampled_from('"*^:-+(){}, NEAROT\0\udcffaé東🚢'), max_size=30)


@settings(max_examples=300)
@given(st.lists(ANYTHING, max_size=5))
def test_anything_may_be_searched_for(words: list[str]) -> None:
    db = indexed("a é 東 NEAR ferry")
    try:
        db.execute("SELECT 1 FROM posts_fts WHERE posts_fts MATCH ?", [query(words)]).fetchall()
    except BadData as error:
        assert error.exit_code == 65
    db.close()
