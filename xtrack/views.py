"""What is printed: jobs, runs and digests as text for a person and as JSON for a script. Pure."""

import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from xtrack.jobs import Status
from xtrack.models import Job, Post, Run, Summary

Local = Callable[[datetime], str]

_EVERY = {
    "1min": "every minute",
    "hourly": "every hour",
    "daily": "every day",
    "weekdays": "every weekday",
    "weekly": "every week",
}
_AT_A_TIME = ("daily", "weekdays", "weekly")
_LABELS = {"extractive": "sentences taken from the posts, not written by a model", "none": ""}


def every(job: Job) -> str:
    """How often a job runs, in words."""
    if job.frequency.endswith("min"):
        return _EVERY.get(job.frequency) or f"every {job.frequency.removesuffix('min')} minutes"
    return _EVERY.get(job.frequency) or job.frequency.replace("_", " ")


def watched(job: Job) -> str:
    """What a job watches, in words."""
    source = "the bundled sample" if job.source == "sample" else job.source
    names = ", ".join(f"@{name}" for name in job.names)
    return (f"{names} in {source}" if names else source) + (f", on {' or '.join(job.topics)}" if job.topics else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their heads, each column as wide as its widest cell."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def jobs_table(statuses: Sequence[Status], local: Local) -> str:
    """list-jobs."""
    rows = [
        (
            str(status.job.id),
            "paused" if status.job.paused else "active",
            every(status.job).removeprefix("every "),
            local(status.last.started_at) if status.last else "-",
            result(status, local),
            local(status.next_run) if status.next_run else "-",
            watched(status.job),
        )
        for status in statuses
    ]
    return table(("JOB", "STATE", "EVERY", "LAST RUN", "RESULT", "NEXT RUN", "WATCHES"), rows)


def result(status: Status, local: Local) -> str:
    """What a job's last run came to, or that a slot is overdue."""
    if status.overdue:
        return f"overdue since {local(status.overdue)}" + (f" ({status.problem})" if status.problem else "")
    if status.last is None:
        return "-"
    return outcome(status.last, local)


def outcome(run: Run, local: Local) -> str:
    """What a run came to."""
    if run.state == "done":
        return f"{run.new_posts} new"
    if run.state == "queued":
        return "queued"
    if run.state == "running":
        return f"running: {run.stage or 'starting'}"
    if run.exit_code is None:
        return f"died: {run.stage or 'starting'}"
    return f"{run.state} ({run.exit_code})" + (f", again {local(run.next_try)}" if run.next_try else "")


def job_text(status: Status, local: Local) -> str:
    """show-job."""
    job = status.job
    facts = {
        "watches": watched(job),
        "runs": every(job) + (f" at {job.at}" if job.frequency in _AT_A_TIME else ""),
        "state": "paused" if job.paused else "active",
        "installed": local(job.created_at),
        "last run": local(job.last_run) if job.last_run else "never",
        "result": result(status, local),
        "error": status.last.error if status.last and status.last.error else "",
        "next run": local(status.next_run) if status.next_run else "none, it is paused" if job.paused else "-",
        "timer": status.timer,
    }
    return "\n".join([f"Job {job.id}", *(f"  {name + ':':<11}{fact}" for name, fact in facts.items() if fact)])


def runs_table(runs: Sequence[Run], local: Local) -> str:
    """list-runs."""
    rows = [
        (
            str(run.id),
            str(run.job_id),
            run.trigger,
            local(run.slot) if run.slot else "-",
            str(run.missed),
            local(run.started_at),
            outcome(run, local),
            run.error,
        )
        for run in runs
    ]
    return table(("RUN", "JOB", "BY", "SLOT", "MISSED", "STARTED", "RESULT", "ERROR"), rows)


def summaries_table(summaries: Sequence[Summary], local: Local) -> str:
    """list-summaries."""
    rows = [(str(s.id), str(s.job_id), local(s.created_at), str(s.post_count), s.digest.headline) for s in summaries]
    return table(("SUMMARY", "JOB", "WRITTEN", "POSTS", "HEADLINE"), rows)


def summary_text(summary: Summary, posts: Sequence[Post], local: Local) -> str:
    """show-summary: a digest that fits a terminal, each line with its author and link."""
    width = min(shutil.get_terminal_size().columns, 100)
    by_id = {post.id: post for post in posts}
    digest = summary.digest
    label = _LABELS.get(digest.method, "")
    parts = [f"{digest.headline}" + (f" ({label})" if label else "")]
    for group, lines in groupby(digest.lines, key=lambda line: line.group):
        parts.append(f"\n{group.upper()}" if group else "")
        for line in lines:
            parts += textwrap.wrap(line.text, width, initial_indent="  - ", subsequent_indent="    ")
            parts.append(f"    {_cited(line.post_ids, by_id)}")
    if digest.omitted:
        parts.append(f"\n  and {digest.omitted} more post" + "s" * (digest.omitted != 1))
    return "\n".join([f"Digest {summary.id} of job {summary.job_id}, {local(summary.created_at)}", *parts])


def _cited(post_ids: Sequence[str], by_id: dict[str, Post]) -> str:
    """The author and link of the post that a line is from, and how many others say the same."""
    post = by_id[post_ids[0]]
    who = f"@{post.author}" if post.author else "unknown author"
    if post.kind == "repost" and post.original:
        who += f" reposting @{post.original.author}" if post.original.author else " (repost)"
    others = f" (+{len(post_ids) - 1} alike)" if len(post_ids) > 1 else ""
    return f"{who}  {post.url}{others}"


# JSON: stable keys, UTC times, ids of posts as strings


def utc(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def job_json(status: Status) -> dict[str, Any]:
    job, last = status.job, status.last
    return {
        "id": job.id,
        "state": "paused" if job.paused else "active",
        "source": job.source,
        "names": list(job.names),
        "topics": list(job.topics),
        "frequency": job.frequency,
        "at": job.at,
        "created_at": utc(job.created_at),
        "last_run": utc(job.last_run),
        "last_result": run_json(last) if last else None,
        "next_run": utc(status.next_run),
        "overdue_since": utc(status.overdue),
        "problem": status.problem or None,
        "timer": status.timer or None,
    }


def run_json(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "job": run.job_id,
        "trigger": run.trigger,
        "state": run.state,
        "slot": utc(run.slot),
        "missed": run.missed,
        "started_at": utc(run.started_at),
        "finished_at": utc(run.finished_at),
        "stage": run.stage or None,
        "new_posts": run.new_posts,
        "exit_code": run.exit_code,
        "error": run.error or None,
        "next_try": utc(run.next_try),
    }


def summary_json(summary: Summary) -> dict[str, Any]:
    digest = summary.digest
    return {
        "id": summary.id,
        "job": summary.job_id,
        "run": summary.run_id,
        "created_at": utc(summary.created_at),
        "method": digest.method,
        "headline": digest.headline,
        "posts": summary.post_count,
        "omitted": digest.omitted,
        "lines": [{"text": line.text, "group": line.group, "posts": list(line.post_ids)} for line in digest.lines],
    }


def post_json(post: Post) -> dict[str, Any]:
    original = post.original
    return {
        "id": post.id,
        "author": post.author,
        "author_name": post.author_name,
        "created_at": utc(post.created_at),
        "kind": post.kind,
        "text": post.text,
        "url": post.url,
        "original": {"id": original.id, "author": original.author, "text": original.text, "url": original.url}
        if original
        else None,
    }
