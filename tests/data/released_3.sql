-- The database that release c7f28d2 (schema 3) makes of released_2.sql when it opens it. Then, by its Store, a run of job 3 that read
-- three posts and wrote a digest, of which the last post was purged by purge_post(); and, as install-job --since does, job_feeds.since.
-- Then sqlite3.Connection.iterdump() without the tables of the search index, which is made anew instead, with the user_version.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'xtrack','m001_jobs_and_digests','2026-11-24 20:10:27.933189+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'xtrack','m002_queued_runs','2026-11-25 02:20:21.408303+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'xtrack','m003_search','2026-11-25 07:31:26.115772+00:00');
CREATE TABLE arrivals (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE,
            post_id TEXT NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
            UNIQUE (feed_id, post_id));
INSERT INTO "arrivals" VALUES(1,1,'1700000000000000000');
INSERT INTO "arrivals" VALUES(2,1,'1700000000000000001');
INSERT INTO "arrivals" VALUES(3,1,'1700000000000000002');
INSERT INTO "arrivals" VALUES(4,1,'1700000000000000003');
INSERT INTO "arrivals" VALUES(5,1,'1700000000000000004');
INSERT INTO "arrivals" VALUES(6,3,'1700000000000000010');
INSERT INTO "arrivals" VALUES(7,3,'1700000000000000011');
INSERT INTO "arrivals" VALUES(8,3,'1700000000000000012');
CREATE TABLE feeds (
            id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, spec TEXT NOT NULL, cursor TEXT, read_at TEXT,
            UNIQUE (kind, spec));
INSERT INTO "feeds" VALUES(1,'jsonl','/srv/posts.jsonl','{"offset":1285,"lines":5,"hash":"17dcb64c03e2e4de"}',NULL);
INSERT INTO "feeds" VALUES(3,'jsonl','/srv/other.jsonl','{"offset":811,"lines":3,"hash":"0f5c2a9e7d1b4c36"}','2026-11-25T05:00:00.000000Z');
CREATE TABLE forgotten (post_id TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO "forgotten" VALUES('1700000000000000012');
CREATE TABLE job_feeds (
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            feed_id INTEGER NOT NULL REFERENCES feeds(id) ON DELETE CASCADE,
            seen INTEGER, since TEXT,
            PRIMARY KEY (job_id, feed_id));
INSERT INTO "job_feeds" VALUES(1,1,5,NULL);
INSERT INTO "job_feeds" VALUES(2,1,3,NULL);
INSERT INTO "job_feeds" VALUES(3,3,8,'2026-11-01T00:00:00.000000Z');
CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            source TEXT NOT NULL, names TEXT NOT NULL, topics TEXT NOT NULL,
            frequency TEXT NOT NULL, at TEXT NOT NULL,
            paused INTEGER NOT NULL, created_at TEXT NOT NULL, schedule_since TEXT NOT NULL,
            last_run TEXT,
            unsettled INTEGER NOT NULL);
INSERT INTO "jobs" VALUES(1,'/srv/posts.jsonl','[]','[]','hourly','00:17',0,'2026-11-24T20:10:27.746306Z','2026-11-24T18:09:33.057632Z','2026-11-24T20:10:36.806535Z',0);
INSERT INTO "jobs" VALUES(2,'/srv/posts.jsonl','[]','["ferry"]','daily','07:30',1,'2026-11-24T20:10:28.604950Z','2026-11-24T19:09:33.056632Z','2026-11-24T20:10:29.969549Z',0);
INSERT INTO "jobs" VALUES(3,'/srv/other.jsonl','["oslo"]','[]','hourly','00:47',0,'2026-11-24T20:10:29.045563Z','2026-11-24T19:09:33.056632Z','2026-11-25T05:00:01.000000Z',0);
CREATE TABLE "posts" (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            author TEXT NOT NULL COLLATE NOCASE, author_name TEXT NOT NULL, created_at TEXT NOT NULL,
            kind TEXT NOT NULL, text TEXT NOT NULL, url TEXT NOT NULL, lang TEXT NOT NULL, original TEXT,
            words TEXT NOT NULL, purged_at TEXT);
INSERT INTO "posts" VALUES(1,'1700000000000000000','kaya','Kaya','2027-01-15T12:00:00.000000Z','post','The ferry number 0 leaves the harbour late today.','https://x.com/kaya/status/1700000000000000000','en',NULL,'',NULL);
INSERT INTO "posts" VALUES(2,'1700000000000000001','kaya','Kaya','2027-01-15T12:00:01.000000Z','post','The ferry number 1 leaves the harbour late today.','https://x.com/kaya/status/1700000000000000001','en',NULL,'',NULL);
INSERT INTO "posts" VALUES(3,'1700000000000000002','kaya','Kaya','2027-01-15T12:00:02.000000Z','post','The ferry number 2 leaves the harbour late today.','https://x.com/kaya/status/1700000000000000002','en',NULL,'',NULL);
INSERT INTO "posts" VALUES(4,'1700000000000000003','kaya','Kaya','2027-01-15T12:00:03.000000Z','post','The ferry number 3 leaves the harbour late today.','https://x.com/kaya/status/1700000000000000003','en',NULL,'',NULL);
INSERT INTO "posts" VALUES(5,'1700000000000000004','kaya','Kaya','2027-01-15T12:00:04.000000Z','post','The ferry number 4 leaves the harbour late today.','https://x.com/kaya/status/1700000000000000004','en',NULL,'',NULL);
INSERT INTO "posts" VALUES(6,'1700000000000000010','pier9','Pier Nine','2026-11-25T05:00:10.000000Z','post','The slipway is closed 今日','https://x.com/pier9/status/1700000000000000010','en',NULL,'The slipway is closed  今  日 ',NULL);
INSERT INTO "posts" VALUES(7,'1700000000000000011','pier9','Pier Nine','2026-11-25T05:00:11.000000Z','quote','So it is:','https://x.com/pier9/status/1700000000000000011','en','{"id": "1700000000000000020", "author": "lock4", "author_name": "Lock Four", "text": "The lock opens at six.", "url": "https://x.com/lock4/status/1700000000000000020"}','lock4
Lock Four
The lock opens at six.',NULL);
INSERT INTO "posts" VALUES(8,'1700000000000000012','pier9','Pier Nine','2026-11-25T05:00:12.000000Z','post','','https://x.com/pier9/status/1700000000000000012','en',NULL,'','2026-11-25T05:01:00.000000Z');
CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            trigger TEXT NOT NULL, state TEXT NOT NULL, slot TEXT, closed INTEGER NOT NULL DEFAULT 0,
            started_at TEXT NOT NULL, finished_at TEXT, stage TEXT NOT NULL DEFAULT '',
            new_posts INTEGER NOT NULL DEFAULT 0, missed INTEGER NOT NULL DEFAULT 0,
            exit_code INTEGER, error TEXT NOT NULL DEFAULT '', next_try TEXT,
            invocation_id TEXT NOT NULL DEFAULT '');
INSERT INTO "runs" VALUES(1,2,'manual','done',NULL,0,'2026-11-24T20:10:29.869317Z','2026-11-24T20:10:29.969549Z','',3,0,0,'',NULL,'');
INSERT INTO "runs" VALUES(2,1,'manual','failed',NULL,0,'2026-11-24T20:10:31.474702Z','2026-11-24T20:10:31.548298Z','fetching /srv/posts.jsonl',0,0,65,'/srv/posts.jsonl, line 4: not JSON',NULL,'');
INSERT INTO "runs" VALUES(3,1,'manual','done',NULL,0,'2026-11-24T20:10:32.458604Z','2026-11-24T20:10:32.714523Z','',5,0,0,'',NULL,'');
INSERT INTO "runs" VALUES(4,1,'timer','done','2026-11-24T18:17:00.000000Z',1,'2026-11-24T19:10:36.569184Z','2026-11-24T19:10:36.807535Z','',0,0,0,'',NULL,'2ca4cb10dd6a4953ba8bd7e3fe50a777');
INSERT INTO "runs" VALUES(5,3,'timer','failed','2026-11-24T19:47:00.000000Z',0,'2026-11-24T20:10:37.564066Z','2026-11-24T20:10:37.583405Z','fetching /srv/other.jsonl',0,0,75,'/srv/other.jsonl cannot be read: No such file or directory','2026-11-24T20:15:37.583405Z','3b86552cbcf34a5d9efaa6609644d4a2');
INSERT INTO "runs" VALUES(6,2,'manual','queued',NULL,0,'2026-11-24T20:00:00.000000Z',NULL,'',0,0,NULL,'',NULL,'');
INSERT INTO "runs" VALUES(7,3,'manual','done',NULL,0,'2026-11-25T05:00:00.000000Z','2026-11-25T05:00:01.000000Z','',3,0,0,'',NULL,'');
CREATE TABLE summaries (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
            created_at TEXT NOT NULL, post_count INTEGER NOT NULL,
            method TEXT NOT NULL, headline TEXT NOT NULL, lines TEXT NOT NULL, omitted INTEGER NOT NULL, words TEXT NOT NULL DEFAULT '');
INSERT INTO "summaries" VALUES(1,2,1,'2026-11-24T20:10:29.969549Z',3,'extractive','3 of 3 new posts on ferry','[{"text": "The ferry number 0 leaves the harbour late today.", "post_ids": ["1700000000000000000"], "group": "ferry"}]',2,'ferry The ferry number 0 leaves the harbour late today.');
INSERT INTO "summaries" VALUES(2,1,3,'2026-11-24T20:10:32.714523Z',5,'extractive','5 new posts by @kaya','[{"text": "The ferry number 0 leaves the harbour late today.", "post_ids": ["1700000000000000000"], "group": ""}, {"text": "The ferry number 1 leaves the harbour late today.", "post_ids": ["1700000000000000001"], "group": ""}, {"text": "The ferry number 2 leaves the harbour late today.", "post_ids": ["1700000000000000002"], "group": ""}]',2,' The ferry number 0 leaves the harbour late today.
 The ferry number 1 leaves the harbour late today.
 The ferry number 2 leaves the harbour late today.');
INSERT INTO "summaries" VALUES(3,1,4,'2026-11-24T19:10:36.807535Z',0,'none','Nothing new','[]',0,'');
INSERT INTO "summaries" VALUES(4,3,7,'2026-11-25T05:00:01.000000Z',3,'extractive','3 new posts by @pier9','[{"text": "The slipway is closed 今日", "post_ids": ["1700000000000000010"], "group": ""}, {"text": "", "post_ids": ["1700000000000000012"], "group": ""}]',1,' The slipway is closed  今  日 
 ');
CREATE TABLE summary_posts (
            summary_id INTEGER NOT NULL REFERENCES summaries(id) ON DELETE CASCADE,
            post_id TEXT NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
            PRIMARY KEY (summary_id, post_id)) WITHOUT ROWID;
INSERT INTO "summary_posts" VALUES(1,'1700000000000000000');
INSERT INTO "summary_posts" VALUES(2,'1700000000000000000');
INSERT INTO "summary_posts" VALUES(2,'1700000000000000001');
INSERT INTO "summary_posts" VALUES(2,'1700000000000000002');
INSERT INTO "summary_posts" VALUES(4,'1700000000000000010');
INSERT INTO "summary_posts" VALUES(4,'1700000000000000012');
CREATE VIRTUAL TABLE "posts_fts" USING FTS5 (
    "author", "author_name", "text", "words",
    tokenize='unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''',
    content="posts"
);
INSERT INTO posts_fts (posts_fts) VALUES ('rebuild');
CREATE VIRTUAL TABLE "summaries_fts" USING FTS5 (
    "headline", "words",
    tokenize='unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''',
    content="summaries"
);
INSERT INTO summaries_fts (summaries_fts) VALUES ('rebuild');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX jobs_unsettled ON jobs(id) WHERE unsettled = 1;
CREATE INDEX job_feeds_feed ON job_feeds(feed_id);
CREATE INDEX arrivals_feed ON arrivals(feed_id, id);
CREATE INDEX arrivals_post ON arrivals(post_id);
CREATE INDEX runs_job ON runs(job_id, id);
CREATE UNIQUE INDEX runs_running ON runs(job_id) WHERE state = 'running';
CREATE UNIQUE INDEX runs_closed ON runs(job_id, slot) WHERE closed = 1;
CREATE INDEX runs_attempts ON runs(job_id, slot, id) WHERE slot IS NOT NULL;
CREATE INDEX summaries_job ON summaries(job_id, id);
CREATE INDEX summaries_run ON summaries(run_id);
CREATE INDEX summary_posts_post ON summary_posts(post_id);
CREATE UNIQUE INDEX runs_queued ON runs(job_id) WHERE state = 'queued';
CREATE INDEX posts_original ON posts(json_extract(original, '$.id')) WHERE original IS NOT NULL;
CREATE INDEX posts_purged ON posts(number) WHERE purged_at IS NOT NULL;
CREATE TRIGGER "posts_ai" AFTER INSERT ON "posts" BEGIN
  INSERT INTO "posts_fts" (rowid, "author", "author_name", "text", "words") VALUES (new.rowid, new."author", new."author_name", new."text", new."words");
END;
CREATE TRIGGER "posts_ad" AFTER DELETE ON "posts" BEGIN
  INSERT INTO "posts_fts" ("posts_fts", rowid, "author", "author_name", "text", "words") VALUES('delete', old.rowid, old."author", old."author_name", old."text", old."words");
END;
CREATE TRIGGER "posts_au" AFTER UPDATE ON "posts" BEGIN
  INSERT INTO "posts_fts" ("posts_fts", rowid, "author", "author_name", "text", "words") VALUES('delete', old.rowid, old."author", old."author_name", old."text", old."words");
  INSERT INTO "posts_fts" (rowid, "author", "author_name", "text", "words") VALUES (new.rowid, new."author", new."author_name", new."text", new."words");
END;
CREATE TRIGGER "summaries_ai" AFTER INSERT ON "summaries" BEGIN
  INSERT INTO "summaries_fts" (rowid, "headline", "words") VALUES (new.rowid, new."headline", new."words");
END;
CREATE TRIGGER "summaries_ad" AFTER DELETE ON "summaries" BEGIN
  INSERT INTO "summaries_fts" ("summaries_fts", rowid, "headline", "words") VALUES('delete', old.rowid, old."headline", old."words");
END;
CREATE TRIGGER "summaries_au" AFTER UPDATE ON "summaries" BEGIN
  INSERT INTO "summaries_fts" ("summaries_fts", rowid, "headline", "words") VALUES('delete', old.rowid, old."headline", old."words");
  INSERT INTO "summaries_fts" (rowid, "headline", "words") VALUES (new.rowid, new."headline", new."words");
END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',3);
INSERT INTO "sqlite_sequence" VALUES('feeds',3);
INSERT INTO "sqlite_sequence" VALUES('runs',7);
INSERT INTO "sqlite_sequence" VALUES('arrivals',8);
INSERT INTO "sqlite_sequence" VALUES('summaries',4);
COMMIT;
PRAGMA user_version = 3;
