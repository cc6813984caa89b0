"""The database's schema, one migration a step; imported only when there is something to migrate."""

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database, Migrations

from xtrack.store import rows

migrations = Migrations("xtrack")
# Marks are letters too: of Hindi and Arabic words, and the vowels of Thai (https://www.sqlite.org/fts5.html, 4.3.1).
TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"


@migrations()
def m001_jobs_and_digests(db: Database) -> None:
    """Jobs, what they read, what they wrote."""
    for statement in (
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            source TEXT NOT NULL, names TEXT NOT NULL, topics TEXT NOT NULL,
            frequency TEXT NOT NULL, at TEXT NOT NULL,
            paused INTEGER NOT NULL, created_at TEXT NOT NULL, schedule_since TEXT NOT NULL,
            last_run TEXT,
            unsettled INTEGER NOT NULL)""",
        "CREATE INDEX jobs_unsettled ON jobs(id) WHERE unsettled = 1",
        """CREATE TABLE feeds (
            id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, spec TEXT NOT NULL, cursor TEXT,
            UNIQUE (kind, spec))""",
        """CREATE TABLE job_feeds (
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE,
            seen INTEGER,
            PRIMARY KEY (job_id, feed_id))""",
        "CREATE INDEX job_feeds_feed ON job_feeds(feed_id)",
        """CREATE TABLE posts (
            id TEXT PRIMARY KEY,
            author TEXT NOT NULL COLLATE NOCASE, author_name TEXT NOT NULL, created_at TEXT NOT NULL,
            kind TEXT NOT NULL, text TEXT NOT NULL, url TEXT NOT NULL, lang TEXT NOT NULL, original TEXT)""",
        """CREATE TABLE arrivals (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE,
            post_id TEXT NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
            UNIQUE (feed_id, post_id))""",
        "CREATE INDEX arrivals_feed ON arrivals(feed_id, id)",
        "CREATE INDEX arrivals_post ON arrivals(post_id)",
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            trigger TEXT NOT NULL, state TEXT NOT NULL, slot TEXT, closed INTEGER NOT NULL DEFAULT 0,
            started_at TEXT NOT NULL, finished_at TEXT, stage TEXT NOT NULL DEFAULT '',
            new_posts INTEGER NOT NULL DEFAULT 0, missed INTEGER NOT NULL DEFAULT 0,
            exit_code INTEGER, error TEXT NOT NULL DEFAULT '', next_try TEXT,
            invocation_id TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX runs_job ON runs(job_id, id)",
        "CREATE UNIQUE INDEX runs_running ON runs(job_id) WHERE state = 'running'",
        "CREATE UNIQUE INDEX runs_closed ON runs(job_id, slot) WHERE closed = 1",
        "CREATE INDEX runs_attempts ON runs(job_id, slot, id) WHERE slot IS NOT NULL",
        """CREATE TABLE summaries (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            created_at TEXT NOT NULL, post_count INTEGER NOT NULL,
            method TEXT NOT NULL, headline TEXT NOT NULL, lines TEXT NOT NULL, omitted INTEGER NOT NULL)""",
        "CREATE INDEX summaries_job ON summaries(job_id, id)",
        "CREATE INDEX summaries_run ON summaries(run_id)",
        """CREATE TABLE summary_posts (
            summary_id INTEGER NOT NULL REFERENCES summaries(id) ON DELETE CASCADE,
            post_id TEXT NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
            PRIMARY KEY (summary_id, post_id)) WITHOUT ROWID""",
        "CREATE INDEX summary_posts_post ON summary_posts(post_id)",
        "PRAGMA user_version = 1",
    ):
        db.execute(statement)


@migrations()
def m002_queued_runs(db: Database) -> None:
    """Runs that wait for the scheduler to start them, one a job."""
    for statement in (
        "CREATE UNIQUE INDEX runs_queued ON runs(job_id) WHERE state = 'queued'",
        "PRAGMA user_version = 2",
    ):
        db.execute(statement)


@migrations()
def m003_search(db: Database) -> None:
    """Full-text search; posts whose text was purged, and those that are never to be shown again; since when a job looks
    back; when a feed was last read.

    An index refers to posts by a number that VACUUM keeps, which it does only for an INTEGER PRIMARY KEY
    (https://www.sqlite.org/lang_vacuum.html); so the table is made anew, in the way of
    https://www.sqlite.org/lang_altertable.html#otheralter. Nothing refers to it by anything but its ids.
    """
    db.conn.create_function("words_of_post", 2, rows.words_of_post, deterministic=True)
    db.conn.create_function("words_of_lines", 1, rows.words_of_lines, deterministic=True)
    for statement in (
        """CREATE TABLE new_posts (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            author TEXT NOT NULL COLLATE NOCASE, author_name TEXT NOT NULL, created_at TEXT NOT NULL,
            kind TEXT NOT NULL, text TEXT NOT NULL, url TEXT NOT NULL, lang TEXT NOT NULL, original TEXT,
            words TEXT NOT NULL, purged_at TEXT)""",
        """INSERT INTO new_posts (id, author, author_name, created_at, kind, text, url, lang, original, words)
            SELECT id, author, author_name, created_at, kind, text, url, lang, original, words_of_post(text, original)
            FROM posts ORDER BY created_at, id""",
        "DROP TABLE posts",
        "ALTER TABLE new_posts RENAME TO posts",
        "CREATE INDEX posts_original ON posts(json_extract(original, '$.id')) WHERE original IS NOT NULL",
        "CREATE INDEX posts_purged ON posts(number) WHERE purged_at IS NOT NULL",
        "CREATE TABLE forgotten (post_id TEXT PRIMARY KEY) WITHOUT ROWID",
        "ALTER TABLE summaries ADD COLUMN words TEXT NOT NULL DEFAULT ''",
        "UPDATE summaries SET words = words_of_lines(lines)",
        "ALTER TABLE job_feeds ADD COLUMN since TEXT",
        "ALTER TABLE feeds ADD COLUMN read_at TEXT",
        "PRAGMA user_version = 3",
    ):
        db.execute(statement)
    for table, columns in (("posts", ["author", "author_name", "text", "words"]), ("summaries", ["headline", "words"])):
        db.table(table).enable_fts(columns, create_triggers=True, tokenize=TOKENIZER)


@migrations()
def m004_accounts(db: Database) -> None:
    """Accounts that are read one by one, what was bought, what whoever reads a feed has to know, what was learnt.

    `bought` holds each thing once a UTC day, for the day; `usage` is the bill, so it refers to nothing that can go.
    """
    for statement in (
        """CREATE TABLE accounts (
            id TEXT PRIMARY KEY, username TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL, state TEXT NOT NULL,
            checked_at TEXT NOT NULL, posts_a_day REAL NOT NULL)""",
        "CREATE INDEX accounts_username ON accounts(username)",
        "ALTER TABLE feeds ADD COLUMN account_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE feeds ADD COLUMN paused_at TEXT",
        "CREATE INDEX feeds_account ON feeds(account_id) WHERE account_id <> ''",
        "ALTER TABLE jobs ADD COLUMN excluded TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE jobs ADD COLUMN excluded_at_source INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN budget INTEGER",
        """CREATE TABLE notices (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE,
            at TEXT NOT NULL, text TEXT NOT NULL, is_gap INTEGER NOT NULL)""",
        "CREATE INDEX notices_feed ON notices(feed_id, id)",
        "ALTER TABLE job_feeds ADD COLUMN noticed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE summaries ADD COLUMN notices TEXT NOT NULL DEFAULT '[]'",
        """CREATE TABLE bought (
            day TEXT NOT NULL, resource TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (day, resource, id))
            WITHOUT ROWID""",
        """CREATE TABLE usage (
            month TEXT NOT NULL, job_id INTEGER NOT NULL, resource TEXT NOT NULL,
            count INTEGER NOT NULL, cost INTEGER NOT NULL, first_at TEXT NOT NULL,
            PRIMARY KEY (month, job_id, resource)) WITHOUT ROWID""",
        """CREATE TABLE reservations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL, cost INTEGER NOT NULL, until TEXT NOT NULL)""",
        "CREATE TABLE learnt (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "PRAGMA user_version = 4",
    ):
        db.execute(statement)


@migrations()
def m005_deliveries(db: Database) -> None:
    """Who writes digests and how; whom they are mailed to, and what has become of each mail."""
    for statement in (
        "ALTER TABLE jobs ADD COLUMN summarizer TEXT NOT NULL DEFAULT 'extractive'",
        "ALTER TABLE jobs ADD COLUMN focus TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN language TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN emails TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE jobs ADD COLUMN mail_quiet INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN ping_url TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE jobs ADD COLUMN alarmed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE summaries ADD COLUMN model TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE summaries ADD COLUMN input_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE summaries ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE summaries ADD COLUMN cost INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE deliveries (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            summary_id INTEGER REFERENCES summaries(id) ON DELETE CASCADE,
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            kind TEXT NOT NULL, recipient TEXT NOT NULL COLLATE NOCASE, key TEXT NOT NULL,
            state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_try TEXT,
            created_at TEXT NOT NULL, sent_at TEXT, error TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX deliveries_job ON deliveries(job_id, id)",
        "CREATE INDEX deliveries_summary ON deliveries(summary_id)",
        "CREATE INDEX deliveries_run ON deliveries(run_id)",
        "CREATE INDEX deliveries_pending ON deliveries(job_id, next_try) WHERE state = 'pending'",
        "CREATE INDEX deliveries_sending ON deliveries(job_id) WHERE state = 'sending'",
        "CREATE INDEX deliveries_wrong ON deliveries(job_id, id) WHERE state IN ('failed', 'unknown')",
        "PRAGMA user_version = 5",
    ):
        db.execute(statement)


def migrate(connection: sqlite3.Connection, before: Callable[[], None]) -> None:
    """Bring the database up to date, once `before` has returned. Safe for several processes at once.

    Migrations reads what is pending outside of any transaction and begins deferred ones, so the whole of apply() goes
    into one that holds the write lock from its start.
    """
    db = Database(connection, execute_plugins=False)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before()
        migrations.apply(db)
