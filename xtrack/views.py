"""What is printed: jobs, runs, posts and what was found, as text for a person and as JSON for a script. Pure."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from xtrack.columns import cut, fitting, tidy, width
from xtrack.compose import Local, byline, link
from xtrack.feeds import Cost
from xtrack.models import EXCLUDABLE, Delivery, Hit, Job, Post, Run, Summary
from xtrack.money import shown
from xtrack.outcomes import Status
from xtrack.spending import RESOURCES, Spending, Spent

_EVERY = {
    "1min": "every minute",
    "hourly": "every hour",
    "daily": "every day",
    "weekdays": "every weekday",
    "weekly": "every week",
}
_SOURCES = {"sample": "the bundled sample", "x": "X"}
_WHOSE = 40
_AT_A_TIME = ("daily", "weekdays", "weekly")


def every(job: Job) -> str:
    """How often a job runs, in words."""
    if job.frequency.endswith("min"):
        return _EVERY.get(job.frequency) or f"every {job.frequency.removesuffix('min')} minutes"
    return _EVERY.get(job.frequency) or job.frequency.replace("_", " ")


def watched(job: Job) -> str:
    """What a job watches, in words."""
    source = _SOURCES.get(job.source, job.source)
    names = ", ".join(f"@{name}" for name in job.names)
    if names:
        source = f"{names} {'at' if job.source == 'x' else 'in'} {source}"
    return source + (f", on {' or '.join(job.topics)}" if job.topics else "")


def cost(cost: Cost) -> str:
    """What reading accounts may cost a month, in words."""
    low, high = shown(round(cost.low, -4)), shown(round(cost.high, -4))
    return f"{low} to {high} a month, by about {cost.posts_a_day:.3g} posts a day so far"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under their heads, each column as wide as its widest cell."""
    cells = [head, *rows]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell + " " * (columns - width(cell)) for cell, columns in zip(row, widths, strict=True)).rstrip()
        for row in cells
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
    lost = [account.said for account in status.lost]
    if status.unsent:
        lost.append(f"{len(status.unsent)} mail{'s' * (len(status.unsent) != 1)} not sent")
    return "; ".join([outcome(status.last, local) if status.last else "-", *lost])


def outcome(run: Run, local: Local) -> str:
    """What a run came to."""
    if run.state == "done":
        return f"{run.new_posts} new" + (", not all was read" if run.error else "")
    if run.state == "queued":
        return "queued"
    if run.state == "running":
        return f"running: {run.stage or 'starting'}"
    if run.state == "undelivered":
        return f"{run.new_posts} new, not mailed ({run.exit_code})"
    if run.exit_code is None:
        return f"died: {run.stage or 'starting'}"
    return f"{run.state} ({run.exit_code})" + (f", again {local(run.next_try)}" if run.next_try else "")


def job_text(status: Status, local: Local, what: str) -> str:
    """show-job; `what` says what the source is."""
    job = status.job
    facts = {
        "watches": watched(job),
        "source": what,
        "runs": every(job) + (f" at {job.at}" if job.frequency in _AT_A_TIME else ""),
        "without": _without(job),
        "budget": f"{shown(job.budget)} a month" if job.budget is not None else "",
        "writer": "" if job.summarizer == "extractive" else "a model",
        "language": job.language,
        "prompt": job.focus,
        "mails to": ", ".join(job.emails),
        "state": "paused" if job.paused else "active",
        "installed": local(job.created_at),
        "last run": local(job.last_run) if job.last_run else "never",
        "result": result(status, local),
        "error": status.last.error if status.last and status.last.error else "",
        "next run": local(status.next_run) if status.next_run else "none, it is paused" if job.paused else "-",
        "timer": status.timer,
    }
    return "\n".join([f"Job {job.id}", *(f"  {name + ':':<11}{fact}" for name, fact in facts.items() if fact)])


def spending_text(spending: Spending) -> str:
    """usage."""
    rows = [
        (
            _whose(spent),
            *(str(spent.counts[name]) for name in RESOURCES),
            *map(_sum, (spent.cost, spent.forecast, spent.budget)),
        )
        for spent in (*spending.jobs, spending.total)
    ]
    rows[-1] = ("all", *rows[-1][1:])
    head = ("JOB", "POSTS", "USERS", "MEDIA", "TOKENS IN", "OUT", "COST", "FORECAST", "BUDGET")
    x = spending.x
    prices = f"{shown(x.post_price)} a post, {shown(x.user_price)} a user, {shown(x.media_price)} a photo or video"
    return f"Bought in {spending.month} (UTC)\n{table(head, rows)}\nPrices at X of {x.priced_on}: {prices}"


def _whose(spent: Spent) -> str:
    if spent.job:
        return f"{spent.job_id}  {cut(watched(spent.job), _WHOSE)}"
    return f"{spent.job_id}  (deleted)" if spent.job_id else "-  (names looked up)"


def _sum(micros: int | None) -> str:
    """A sum to the cent."""
    return "-" if micros is None else shown(round(micros, -4))


def _without(job: Job) -> str:
    at_source = ", left out by X itself" if job.excluded_at_source else ""
    return " and ".join(EXCLUDABLE[kind] for kind in job.excluded) + at_source


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
    rows = [
        (str(s.id), str(s.job_id), local(s.created_at), str(s.post_count), tidy(s.digest.headline)) for s in summaries
    ]
    return table(("SUMMARY", "JOB", "WRITTEN", "POSTS", "HEADLINE"), rows)


def deliveries_table(deliveries: Sequence[Delivery], local: Local) -> str:
    """list-deliveries."""
    rows = [
        (
            str(delivery.id),
            str(delivery.job_id),
            f"digest {delivery.summary_id}" if delivery.summary_id else f"job is {delivery.kind}",
            delivery.recipient,
            local(delivery.created_at),
            _became(delivery, local),
            delivery.error,
        )
        for delivery in deliveries
    ]
    return table(("MAIL", "JOB", "WHAT", "TO", "WRITTEN", "STATE", "ERROR"), rows)


def _became(delivery: Delivery, local: Local) -> str:
    if delivery.state == "pending" and delivery.tries and delivery.next_try:
        return f"pending, again {local(delivery.next_try)}"
    return f"sent {local(delivery.sent_at)}" if delivery.sent_at else delivery.state


def preview_text(posts: Iterable[Post], local: Local, columns: int) -> str:
    """Posts, a line each that fits: who, when, and how it begins."""
    lines = (f"  {byline(post)}  {local(post.created_at)}  {tidy(_said(post))}" for post in posts)
    return "\n".join(cut(line, columns) for line in lines)


def _said(post: Post) -> str:
    """The words that a post shows: a plain repost has none of its own."""
    return post.text or (post.original.text if post.original else "")


def search_text(
    hits: Iterable[Hit], words: Sequence[str], local: Local, columns: int, mark: Callable[[str], str] = str
) -> str:
    """What search found: what it is, the place in its text where the first of `words` stands, its link.

    `mark` is given each word that was found, as for a terminal in bold.
    """
    parts = []
    for hit in hits:
        whose = f" of job {hit.job_id}" if hit.job_id else f" by {tidy(hit.author) or 'unknown author'}"
        parts.append(cut(f"{hit.kind} {hit.id}{whose}, {local(hit.created_at)}", columns))
        parts.append(f"  {_excerpt(tidy(hit.text), words, columns - 2, mark)}")
        parts += [f"  {url}"] if (url := link(hit.url)) else []
    return "\n".join(parts)


def _excerpt(text: str, words: Sequence[str], columns: int, mark: Callable[[str], str]) -> str:
    """As much of a text as fits, from a third of a line or more before the first word that was found."""
    pattern = _finding(words, text)
    found = pattern.search(_folded(text))
    if found and width(text) > columns and width(text[: found.start()]) > columns // 3:
        room = max(columns // 3, columns - len("… ") - width(text[found.start() :]))
        start = found.start() - fitting(text[: found.start()][::-1], room)
        text = f"… {text[text.find(' ', start, found.start()) + 1 or start :]}"
    text = cut(text, columns)
    end, parts = 0, []
    for found in pattern.finditer(_folded(text)):
        parts += [text[end : found.start()], mark(text[found.start() : found.end()])]
        end = found.end()
    return "".join([*parts, text[end:]])


def _finding(words: Sequence[str], text: str) -> re.Pattern[str]:
    """What finds words or phrases in a folded text: whole ones if there are any, else also inside of others."""
    phrases = (r"\W+".join(map(re.escape, re.findall(r"\w+", _folded(word)))) for word in words)
    either = "|".join(filter(None, phrases)) or "(?!)"
    whole = re.compile(rf"\b(?:{either})\b")
    return whole if whole.search(_folded(text)) else re.compile(either)


def _folded(text: str) -> str:
    """A text of the same length without capitals and accents, as the search index sees it."""
    return text.lower() if text.isascii() else "".join(map(_fold, text))


def _fold(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    return (parts if all(map(unicodedata.combining, parts[1:])) else character).casefold()[0]


# JSON: stable keys, UTC times, ids of posts as strings


def utc(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def dollars(micros: int | None) -> float | None:
    """A sum in dollars."""
    return None if micros is None else micros / 1_000_000


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
        "exclude": list(job.excluded),
        "exclude_at_source": job.excluded_at_source,
        "budget": dollars(job.budget),
        "summarizer": job.summarizer,
        "prompt": job.focus,
        "language": job.language,
        "emails": list(job.emails),
        "mail_quiet": job.mail_quiet,
        "mails_not_sent": [one.id for one in status.unsent],
        "lost_accounts": [{"id": one.id, "name": one.username, "state": one.state} for one in status.lost],
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


def spending_json(spending: Spending) -> dict[str, Any]:
    return {
        "month": spending.month,
        "jobs": [{"job": spent.job_id, **_spent_json(spent)} for spent in spending.jobs],
        "total": _spent_json(spending.total),
        "prices": {
            "post": dollars(spending.x.post_price),
            "user": dollars(spending.x.user_price),
            "media": dollars(spending.x.media_price),
            "looked_up": str(spending.x.priced_on),
        },
    }


def _spent_json(spent: Spent) -> dict[str, Any]:
    return {
        **{f"{name}s" if name != "media" else name: spent.counts[name] for name in RESOURCES},
        "cost": dollars(spent.cost),
        "forecast": dollars(spent.forecast),
        "budget": dollars(spent.budget),
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
        "notices": list(digest.notices),
        "model": digest.model or None,
        "input_tokens": digest.input_tokens,
        "output_tokens": digest.output_tokens,
        "cost": dollars(digest.cost),
        "lines": [{"text": line.text, "group": line.group, "posts": list(line.post_ids)} for line in digest.lines],
    }


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "job": delivery.job_id,
        "summary": delivery.summary_id,
        "run": delivery.run_id,
        "kind": delivery.kind,
        "recipient": delivery.recipient,
        "state": delivery.state,
        "tries": delivery.tries,
        "created_at": utc(delivery.created_at),
        "sent_at": utc(delivery.sent_at),
        "next_try": utc(delivery.next_try),
        "error": delivery.error or None,
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


def hit_json(hit: Hit) -> dict[str, Any]:
    return {
        "kind": hit.kind,
        "id": hit.id,
        "job": hit.job_id,
        "author": hit.author,
        "created_at": utc(hit.created_at),
        "text": hit.text,
        "url": hit.url,
    }
