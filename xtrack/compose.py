"""How a digest looks: what of it is shown, as a mail's HTML and as text. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from xtrack.columns import cut, few, tidy, wrap
from xtrack.models import Job, Line, Original, Post, Summary

Local = Callable[[datetime], str]

_LABELS = {
    "extractive": "sentences taken from the posts, not written by a model",
    "llm": "written by a model; each line links to posts that it rests on",
}
_VERBS = {"repost": "reposting", "quote": "quoting"}
_SUBJECT = 150
_PREHEADER = 140

_LINK = re.compile(r"https?://[^\s\"<>]+", re.IGNORECASE)


@dataclass(frozen=True)
class Cited:
    """Who says it, and how (`@kaya reposting @mira`); `url` is http or https, or "" where there is no such link."""

    by: str
    url: str


@dataclass(frozen=True)
class ShownLine:
    """A line, the post that it is from, and the posts that were merged with that one."""

    text: str
    cited: Cited
    merged: tuple[Cited, ...]


@dataclass(frozen=True)
class Group:
    """Lines under one heading, "" for none."""

    name: str
    lines: tuple[ShownLine, ...]


@dataclass(frozen=True)
class Shown:
    """All that is shown of a summary: each text is one printable line.

    `title` has its number and time, `label` says how it was made, `more` counts what no line stands for, `notices` are
    what else is to be known; `quiet` when nothing was new. `subject` and `preheader` are a mail's, the preheader being
    what clients show beside the subject.
    """

    title: str
    headline: str
    label: str
    groups: tuple[Group, ...]
    more: str
    notices: tuple[str, ...]
    quiet: bool
    subject: str
    preheader: str


def show(summary: Summary, posts: Sequence[Post], job: Job, local: Local) -> Shown:
    """What is shown of a summary of `job`. Of `posts`, which its lines cite, some may be gone."""
    digest = summary.digest
    by_id = {post.id: post for post in posts}
    groups = tuple(
        Group(tidy(name), tuple(_line(line, by_id) for line in lines))
        for name, lines in groupby(digest.lines, key=lambda line: line.group)
    )
    title = f"Digest {summary.id} of job {summary.job_id}, {local(summary.created_at)}"
    quiet = summary.post_count == 0
    headline = tidy(digest.headline)
    texts = [line.text for group in groups for line in group.lines]
    return Shown(
        title=title,
        headline=headline,
        label=_LABELS.get(digest.method, ""),
        groups=groups,
        more=f"and {_posts(digest.omitted, 'more')}" if digest.omitted else "",
        notices=tuple(tidy(notice) for notice in digest.notices),
        quiet=quiet,
        subject=cut(tidy(_subject(summary, job)), _SUBJECT),
        preheader=cut(title if quiet else " · ".join(texts) or headline, _PREHEADER),
    )


def html(shown: Shown) -> str:
    """A complete document, as it is mailed: up to 600 px wide, light and dark, without anything to load."""
    from xtrack.templates import render

    return render("mail/digest.html.j2", shown=shown)


def text(shown: Shown, columns: int) -> str:
    """Lines of at most `columns` columns, for a terminal or a mail; only a link may be longer."""
    from xtrack.templates import render

    return render("mail/digest.txt.j2", shown=shown, wrap=partial(wrap, columns=columns))


def _line(line: Line, by_id: dict[str, Post]) -> ShownLine:
    first, *others = line.post_ids or ("",)
    cited = _cited(by_id[first]) if first in by_id else Cited("a post that is gone", "")
    return ShownLine(tidy(line.text) or "[removed]", cited, tuple(_cited(by_id[i]) for i in others if i in by_id))


def _cited(post: Post) -> Cited:
    return Cited(byline(post), link(post.url))


def byline(post: Post) -> str:
    """Who says a post, and whether it is a repost, a quote, a reply or in a thread."""
    who = _author(post) or "unknown author"
    if post.kind not in _VERBS:
        return who if post.kind == "post" else f"{who} ({post.kind})"
    other = _author(post.original) if post.original else ""
    return f"{who} {_VERBS[post.kind]} {other}" if other else f"{who} ({post.kind})"


def _author(post: Post | Original) -> str:
    handle = tidy(post.author)
    return f"@{handle}" if handle else tidy(post.author_name)


def link(url: str) -> str:
    """A URL that may be linked to, or "": of the schemes only http and https, and nothing invisible in it."""
    return url if _LINK.fullmatch(url) and url.isprintable() else ""


def _subject(summary: Summary, job: Job) -> str:
    """What is new, for which names and topics: `5 of 12 new posts by @kaya on energy`."""
    names = few([f"@{name}" for name in job.names])
    by = f" by {names}" if names else ""
    on = f" on {few(job.topics)}" if job.topics else ""
    if summary.post_count == 0:
        what = summary.digest.headline + (f": {names}" if names else "")
        return f"{what}{on}" if by or on else f"{what} for job {job.id}"
    new = _posts(summary.post_count, "new")
    found = len({post_id for line in summary.digest.lines for post_id in line.post_ids}) + summary.digest.omitted
    if on and not found:
        return f"{new}{by}, none{on}"
    if on and found < summary.post_count:
        new = f"{found} of {new}"
    return f"{new}{by}{on}" if by or on else f"{new} for job {job.id}"


def _posts(count: int, which: str) -> str:
    return f"{count} {which} post" + "s" * (count != 1)
