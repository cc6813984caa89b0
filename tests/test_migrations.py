"""Databases of releases before this one: brought up to date whole or not at all, and copied first."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.processes import after, duration, kill_when, on_small_disk
from tests.released import VERSIONS, everything, released_database, rows
from tests.test_store import FAR, at_once
from xtrack.store import Store, schema
from xtrack.store.database import SCHEMA_VERSION
from xtrack.store.rows import words_of_post
from xtrack.words import query

# The longest way and the shortest, for what takes time.
ENDS = (VERSIONS[0], VERSIONS[-1])
ORIGINAL = {"id": "7", "author": "oslo", "author_name": "Østfold", "text": "Flom på kaia", "url": "https://x.com/oslo"}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def path(tmp_path: Path, version: int) -> Path:
    """A release's database with texts that are hard to find."""
    database = released_database(tmp_path / "xtrack.db", version)
    add_posts(database, [("1", "", json.dumps(ORIGINAL)), ("2", "東京湾の高潮", None), ("3", "น้ำท่วม", None)])
    return database


def add_posts(database: Path, posts: list[tuple[str, str, str | None]]) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        sql = """INSERT INTO posts (id, text, original, author, author_name, created_at, kind, url, lang)
            VALUES (?, ?, ?, 'mira', 'Mira', '2026-11-01T00:00:00.000000Z', 'post', 'https://x.com/m', '')"""
        if db.execute("PRAGMA user_version").fetchone()[0] >= 3:
            # What a release with a search index writes beside them.
            db.create_function("words_of_post", 2, words_of_post)
            sql = sql.replace("lang)", "lang, words)").replace("'')", "'', words_of_post(?2, ?3))")
        db.executemany(sql, posts)
        db.executemany("INSERT INTO arrivals (feed_id, post_id) VALUES (1, ?)", [[post[0]] for post in posts])


def many(database: Path) -> None:
    add_posts(database, [(str(n), f"Wave {n} over pier {n % 97} 高潮", None) for n in range(100, 3100)])


def found(database: Path, *words: str) -> list[str]:
    with Store(database) as store:
        return [hit.id for hit in store.found(query(words), None, 50)]


def schema_of(database: Path) -> list[tuple[str, str, str]]:
    made = rows(database, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name")
    return [(kind, name, " ".join(sql.replace('"', "").split())) for kind, name, sql in made]


def assert_sound(database: Path) -> None:
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert rows(database, "PRAGMA foreign_key_check") == []


def test_all_rows_of_a_release_stay(path: Path, version: int) -> None:
    before = everything(path)
    assert min(map(len, before.values())) > 0
    assert rows(path, "PRAGMA user_version") == [(version,)]
    with Store(path) as store:
        assert [job.id for job in store.jobs(FAR)] == [1, 2, 3]
        assert store.posts(2)[0].text == "The ferry number 0 leaves the harbour late today."
    assert everything(path) == before
    assert rows(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert_sound(path)


def test_what_a_release_stored_is_found(path: Path) -> None:
    assert found(path, "FERRY") == ["2", "1", *(f"170000000000000000{n}" for n in range(4, -1, -1))]
    assert found(path, "flom", "kaia") == found(path, "ØSTFOLD") == found(path, "@oslo") == ["1"]
    assert found(path, "高潮") == ["2"]
    assert found(path, "ท่วม") == ["3"]
    assert found(path, "@mira") == ["3", "2", "1"]


def test_what_the_third_release_knew_stays(tmp_path: Path) -> None:
    """Where a job looks back to, when a feed was read, what was purged and never comes again, and the search index."""
    path = released_database(tmp_path / "xtrack.db", 3)
    asked = (
        "SELECT * FROM forgotten",
        "SELECT job_id, feed_id, seen, since FROM job_feeds",
        "SELECT id, read_at FROM feeds",
        "SELECT number, id, words, purged_at FROM posts",
        "SELECT id, words FROM summaries",
    )
    before = [rows(path, sql) for sql in asked]
    assert all(any(row[-1] for row in known) for known in before)
    assert found(path, "今日") == ["4", "1700000000000000010"]
    assert found(path, "lock", "six") == found(path, "@lock4") == ["1700000000000000011"]
    assert found(path, "sorry") == []
    assert [rows(path, sql) for sql in asked] == before


def test_numbers_go_on_where_a_release_stopped(path: Path) -> None:
    last = dict(rows(path, "SELECT name, seq FROM sqlite_sequence"))
    with Store(path):
        pass
    assert dict(rows(path, "SELECT name, seq FROM sqlite_sequence")) == last


def test_a_migrated_file_has_the_schema_of_a_new_one(path: Path, tmp_path: Path) -> None:
    for database in (path, tmp_path / "new.db"):
        with Store(database):
            pass
    assert schema_of(path) == schema_of(tmp_path / "new.db")


def test_processes_may_migrate_a_released_file_at_once_and_lose_nothing(path: Path, version: int) -> None:
    many(path)
    before = everything(path)
    assert at_once(path) == [1, 2, 3, 4, 5, 6, 7]
    after = everything(path)
    assert {table: found for table, found in after.items() if table not in ("jobs", "feeds", "job_feeds")} == {
        table: found for table, found in before.items() if table not in ("jobs", "feeds", "job_feeds")
    }
    assert after["jobs"][:3] == before["jobs"]
    assert [copy.name for copy in (path.parent / "backups").iterdir()] == [f"schema-{version}-1.db"]
    assert_sound(path)


@pytest.mark.parametrize("version", ENDS, indirect=True)
def test_a_migration_that_is_killed_was_none(path: Path, version: int, tmp_path: Path) -> None:
    """Killed at any moment, also during the copy before it, the file is old or new; the next open completes it."""
    many(path)
    before, old_schema = everything(path), schema_of(path)

    def opened(database: Path) -> None:
        with Store(database):
            pass

    trial = tmp_path / "trial"
    trial.mkdir()
    database = Path(shutil.copy(path, trial / "xtrack.db"))
    whole = duration(lambda: opened(database))
    backups = trial / "backups"
    moments = [
        lambda: any(backups.glob(".*")),
        lambda: (backups / f"schema-{version}-1.db").exists(),
        *(after(whole * part / 8) for part in range(1, 8)),
    ]
    seen = set()
    for moment in moments:
        shutil.rmtree(trial)
        trial.mkdir()
        shutil.copy(path, database)
        kill_when(moment, lambda: opened(database))
        left = rows(database, "PRAGMA user_version")[0][0]
        seen.add(left)
        assert everything(database) == before
        assert_sound(database)
        if left == version:
            assert schema_of(database) == old_schema
        opened(database)
        assert rows(database, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
        assert everything(database) == before
        assert len(found(database, "高潮")) == 50
        assert list(trial.rglob(".*")) == []
        copies = list(backups.iterdir())
        assert copies
        for copy in copies:
            assert (everything(copy), rows(copy, "PRAGMA user_version")) == (before, [(version,)])
    assert version in seen


# the copy before


def test_the_copy_before_a_migration_is_the_release_s_own_file(path: Path, version: int) -> None:
    before, old_schema = everything(path), schema_of(path)
    with Store(path):
        pass
    copy = path.parent / "backups" / f"schema-{version}-1.db"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [beside.name for beside in copy.parent.iterdir()] == [copy.name]
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(version,)]
        assert db.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    assert everything(copy) == before
    assert schema_of(copy) == old_schema


def test_the_last_three_copies_are_kept(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    for number in range(5):
        path = released_database(tmp_path / f"{number}.db", 1)
        rows(path, f"UPDATE jobs SET topics = '[\"{number}\"]'")
        if number == 1:
            (backups / "schema-1-mine.db").touch()
        with Store(path):
            pass
    kept = {copy.name: rows(copy, "SELECT topics FROM jobs")[0][0] for copy in backups.glob("schema-1-[0-9].db")}
    assert kept == {f"schema-1-{number}.db": f'["{number - 1}"]' for number in (3, 4, 5)}
    assert (backups / "schema-1-mine.db").exists()


def test_a_new_file_is_not_copied_first(tmp_path: Path) -> None:
    with Store(tmp_path / "xtrack.db"):
        pass
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("version", ENDS, indirect=True)
@pytest.mark.parametrize("kilobytes", [1100, 2000])
def test_a_full_disk_leaves_the_old_file_and_the_next_try_works(path: Path, tmp_path: Path, kilobytes: int) -> None:
    """First during the copy, then during the migration itself."""
    many(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA journal_mode = WAL")
    code = f"""
import shutil
from tests.released import everything, rows
from xtrack.errors import Temporary
from xtrack.store import Store
path = FOLDER / "xtrack.db"
shutil.copy({str(path)!r}, path)
before = everything(path)
for _ in range(2):
    try:
        Store(path)
    except Temporary as error:
        assert error.exit_code == 75
        print(error)
    else:
        print("done")
    assert [found.name for found in (FOLDER / "backups").iterdir()] == []
    assert everything(path) == before
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
grow()
Store(path).__exit__()
assert everything(path) == before
print(rows(path, "PRAGMA user_version")[0][0], [found.name for found in (FOLDER / "backups").iterdir()])
"""
    said = on_small_disk(tmp_path / "disk", kilobytes, code).splitlines()
    assert "database or disk is full" in said[0]
    assert said[0] == said[1]
    assert said[2].startswith(f"{SCHEMA_VERSION} ['schema-")


# a newer file


COMMANDS = [
    ("list-jobs",),
    ("run-job", "1"),
    ("run-due",),
    ("sync",),
    ("list-summaries",),
    ("export", "posts"),
    ("vacuum",),
    ("purge", "--older-than", "9d", "--yes"),
    ("backup", "copy.db"),
    ("pause-job", "1"),
    ("install-job", "--source", "sample", "--every", "hourly"),
]


def test_a_newer_file_is_refused_by_every_command_and_left_alone(xtrack: Command) -> None:
    xtrack.installed()
    database = xtrack.home / "xtrack.db"
    rows(database, "PRAGMA user_version = 99")
    before = database.read_bytes()
    for words in COMMANDS:
        outcome = xtrack(*words)
        assert (outcome.code, outcome.out) == (78, ""), words
        assert outcome.err == f"xtrack: the database is of a newer xtrack than this one: {database}\n  upgrade xtrack\n"
    outcome = xtrack("run-job", "1", XTRACK_TRIGGER="timer")
    assert (outcome.code, outcome.err.count("\n")) == (78, 2)
    assert database.read_bytes() == before
    assert not (xtrack.folder / "copy.db").exists()


def test_every_migration_is_of_a_version(tmp_path: Path) -> None:
    """The last one sets the number that the run path compares."""
    assert len(list(schema.migrations.pending(schema.Database(memory=True)))) == SCHEMA_VERSION
