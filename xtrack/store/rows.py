"""Between rows and records: how jobs, runs, posts and summaries are spelled in the database.

Times are fixed-width UTC text, which sorts as it should; lists and nested records are JSON.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from xtrack.models import Account, Delivery, Digest, Feed, Hit, Job, Line, Original, Post, Run, Summary
from xtrack.words import spaced, unfound

Row = sqlite3.Row | Mapping[str, Any]


def stamp(instant: datetime) -> str:
    """An instant as stored. Not by strftime(3): its year has four digits only from the year 1000 on."""
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def moment(text: str | None) -> datetime | None:
    """An instant from its stored text, None from none."""
    return datetime.fromisoformat(text) if text else None


def known(text: str) -> datetime:
    """An instant that is always there."""
    return datetime.fromisoformat(text)


def job(row: Row) -> Job:
    return Job(
        id=row["id"],
        source=row["source"],
        names=tuple(json.loads(row["names"])),
        topics=tuple(json.loads(row["topics"])),
        frequency=row["frequency"],
        at=row["at"],
        paused=bool(row["paused"]),
        created_at=known(row["created_at"]),
        schedule_since=known(row["schedule_since"]),
        last_run=moment(row["last_run"]),
        closed_slot=moment(row["closed_slot"]),
        excluded=tuple(json.loads(row["excluded"])),
        excluded_at_source=bool(row["excluded_at_source"]),
        budget=row["budget"],
        summarizer=row["summarizer"],
        focus=row["focus"],
        language=row["language"],
        emails=tuple(json.loads(row["emails"])),
        mail_quiet=bool(row["mail_quiet"]),
    )


def job_values(job: Job) -> dict[str, Any]:
    return {
        **asdict(job),
        "names": json.dumps(job.names),
        "topics": json.dumps(job.topics),
        "excluded": json.dumps(job.excluded),
        "emails": json.dumps(job.emails),
        "created_at": stamp(job.created_at),
        "schedule_since": stamp(job.schedule_since),
    }


def run(row: Row) -> Run:
    return Run(
        id=row["id"],
        job_id=row["job_id"],
        trigger=row["trigger"],
        state=row["state"],
        slot=moment(row["slot"]),
        started_at=known(row["started_at"]),
        finished_at=moment(row["finished_at"]),
        stage=row["stage"],
        new_posts=row["new_posts"],
        missed=row["missed"],
        exit_code=row["exit_code"],
        error=row["error"],
        next_try=moment(row["next_try"]),
        invocation_id=row["invocation_id"],
    )


def post(row: Row) -> Post:
    return Post(
        id=row["id"],
        author=row["author"],
        author_name=row["author_name"],
        created_at=known(row["created_at"]),
        kind=row["kind"],
        text=row["text"],
        url=row["url"],
        lang=row["lang"],
        original=Original(**json.loads(row["original"])) if row["original"] else None,
    )


def feed(row: Row) -> Feed:
    return Feed(
        id=row["id"],
        kind=row["kind"],
        spec=row["spec"],
        cursor=row["cursor"],
        read_at=moment(row["read_at"]),
        account_id=row["account_id"],
        paused_at=moment(row["paused_at"]),
    )


def account(row: Row) -> Account:
    return Account(row["id"], row["username"], row["name"], row["state"], known(row["checked_at"]), row["posts_a_day"])


def post_values(post: Post) -> dict[str, Any]:
    original = json.dumps(vars(post.original), ensure_ascii=False) if post.original else None
    words = words_of_post(post.text, original)
    return {**vars(post), "created_at": stamp(post.created_at), "original": original, "words": words}


def words_of_post(text: str, original: str | None) -> str:
    """What a post is found by beside its text and its author, for the search index."""
    shown = json.loads(original) if original else {}
    shown_words = (spaced(shown[key]) for key in ("author", "author_name", "text") if key in shown)
    return "\n".join(filter(None, (unfound(text), *shown_words)))


def lines_json(lines: Iterable[Line]) -> str:
    return json.dumps([asdict(line) for line in lines], ensure_ascii=False)


def words_of_lines(lines: str) -> str:
    """What a summary is found by beside its headline."""
    return "\n".join(spaced(f"{line['group']} {line['text']}") for line in json.loads(lines))


def summary(row: Row) -> Summary:
    lines = tuple(Line(line["text"], tuple(line["post_ids"]), line["group"]) for line in json.loads(row["lines"]))
    return Summary(
        id=row["id"],
        job_id=row["job_id"],
        run_id=row["run_id"],
        created_at=known(row["created_at"]),
        post_count=row["post_count"],
        digest=Digest(
            method=row["method"],
            headline=row["headline"],
            lines=lines,
            omitted=row["omitted"],
            notices=tuple(json.loads(row["notices"])),
            model=row["model"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cost=row["cost"],
        ),
    )


def delivery(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        job_id=row["job_id"],
        summary_id=row["summary_id"],
        run_id=row["run_id"],
        kind=row["kind"],
        recipient=row["recipient"],
        key=row["key"],
        state=row["state"],
        tries=row["tries"],
        next_try=moment(row["next_try"]),
        created_at=known(row["created_at"]),
        sent_at=moment(row["sent_at"]),
        error=row["error"],
    )


def summary_hit(row: Row) -> Hit:
    found = summary(row)
    text = "\n".join([found.digest.headline, *(line.text for line in found.digest.lines)])
    return Hit("summary", str(found.id), found.job_id, "", found.created_at, text, "")


def post_hit(row: Row) -> Hit:
    found = post(row)
    text = "\n".join(filter(None, (found.text, found.original.text if found.original else "")))
    return Hit("post", found.id, None, found.author or found.author_name, found.created_at, text, found.url)
