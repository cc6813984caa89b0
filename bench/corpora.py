"""Corpora of invented posts with known themes, the same for the same seed: what a digest of them tells can be counted.

The texts, in corpora.json, are of several phrasings a kind of event, most of which share nothing but the place. The
posts are what people do with news: report, copy, cut, repost, quote, answer, and talk about something else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

from xtrack.models import Original, Post, PostKind

LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "English": ("en",),
    "German": ("de",),
    "Japanese": ("ja",),
    "Thai": ("th",),
    "Arabic": ("ar",),
    "English with some Arabic": ("en", "en", "en", "en", "ar"),
    "all mixed": ("en", "de", "ja", "th", "ar"),
}
START = datetime(2031, 5, 1, 6, 0, tzinfo=UTC)
_CHATTER = 0.3
_REPORTERS = [f"reporter{number}" for number in range(25)]
_SIGNERS = frozenset(_REPORTERS[::3])
_CHATTERERS = [f"chatterer{number}" for number in range(10)]
# How often somebody who has a theme does what with it, once it is out.
_FORMS: dict[PostKind | Literal["plain", "long", "copy", "cut"], int] = {
    **{"plain": 8, "long": 3, "copy": 2, "cut": 1},
    **{"repost": 2, "quote": 2, "reply": 2},
}


@dataclass(frozen=True)
class Corpus:
    """Posts in the order of time; the theme of each that has one, by its id; and the sentences that tell a theme."""

    posts: tuple[Post, ...]
    theme_of: Mapping[str, str]
    sentences: Mapping[str, frozenset[str]]

    def told(self, line: str) -> str:
        """The theme that a line tells, "" for none.

        A sentence of it stands there, or else half of one; what could be of two themes tells a reader neither.
        """
        line = _plain(line)
        whole = {theme for theme, sentences in self.sentences.items() if any(said in line for said in sentences)}
        if not whole:
            whole = {
                theme for theme, sentences in self.sentences.items() if any(_half(said, line) for said in sentences)
            }
        return whole.pop() if len(whole) == 1 else ""


def corpus(languages: Sequence[str], seed: int, posts: int = 120, themes: int = 12) -> Corpus:
    """`posts` posts, three of ten of them chatter, the others on `themes` themes, the k-th having 1/k of the first.

    A theme is in one of `languages`, in turn, at most 64 in each; chatter in any of them.
    """
    maker = _Maker(Random(f"{seed} {posts} {themes} {' '.join(languages)}"))  # noqa: S311 - repeatable, not secret
    shares = [1 / rank for rank in range(1, themes + 1)]
    on_themes = round(posts * (1 - _CHATTER))
    for rank, share in enumerate(shares):
        maker.add_theme(f"theme {rank + 1}", languages[rank % len(languages)], round(on_themes * share / sum(shares)))
    for _ in range(posts - len(maker.drafts)):
        maker.add_chatter(maker.random.choice(languages))
    return Corpus(*maker.posts(), maker.sentences)


@dataclass(frozen=True)
class _Event:
    """What is to be said about it, in one language."""

    theme: str
    language: str
    place: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Draft:
    """A post without its number; `earlier` is the one that it reposts, quotes or answers."""

    author: str
    language: str
    theme: str
    kind: PostKind
    text: str
    earlier: "_Draft | None" = None


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.drafts: list[_Draft] = []
        self.sentences: dict[str, frozenset[str]] = {}
        self.used: list[tuple[str, str, str]] = []

    def add_theme(self, name: str, language: str, size: int) -> None:
        """What is posted on one event, at least one post: a report first, then others, and what others make of them."""
        event = self._event(name, language)
        self.sentences[name] = frozenset(map(_plain, event.sentences))
        reports = [self._report(event, 1)]
        reactions = list[_Draft]()
        while len(reports) + len(reactions) < size:
            [form] = self.random.choices(list(_FORMS), list(_FORMS.values()))
            earlier = self.random.choice(reports)
            if form in ("repost", "quote", "reply"):
                reactions.append(self._reaction(earlier, form))
            elif form == "copy":
                reports.append(replace(earlier, author=self._reader(), text=self._framed(earlier.text, event)))
            elif form == "cut" and not earlier.text.endswith("…"):
                reports.append(
                    replace(earlier, author=self._reader(), text=earlier.text[: len(earlier.text) * 7 // 10] + "…")
                )
            else:
                reports.append(self._report(event, 1 if form == "plain" else self.random.choice([2, 3])))
        self.drafts += reports + reactions

    def add_chatter(self, language: str) -> None:
        """A post that is about nothing that others post about."""
        text, answers = self.random.choice(_texts()[language]["chatter"]), self.random.random() < 0.2
        text = f"@{self._reporter()} {text}" if answers else text
        self.drafts.append(_Draft(self._chatterer(), language, "", "reply" if answers else "post", text))

    def posts(self) -> tuple[tuple[Post, ...], dict[str, str]]:
        """All of them at random times, each after what it shows, and the themes."""
        times: dict[_Draft, float] = {}
        for draft in self.drafts:
            times[draft] = self.random.uniform(times[draft.earlier] if draft.earlier else 0, 1)
        numbers = {draft: number for number, draft in enumerate(sorted(self.drafts, key=times.__getitem__))}
        themes = {_id(number): draft.theme for draft, number in numbers.items() if draft.theme}
        return tuple(_post(draft, numbers) for draft in numbers), themes

    def _event(self, theme: str, language: str) -> _Event:
        """A kind of event at a place; another kind than before while there is one, then at another place."""
        texts = _texts()[language]
        events = [(language, kind, place) for kind in texts["kinds"] for place in texts["places"]]
        kinds = {(spoken, kind) for spoken, kind, _ in self.used}
        fresh = [event for event in events if event[:2] not in kinds]
        self.used.append(self.random.choice(fresh or [event for event in events if event not in self.used]))
        _, kind, place = self.used[-1]
        who, small, n = (
            self.random.choice(texts["people"]),
            self.random.randrange(2, 10),
            self.random.randrange(20, 400),
        )
        sentences = (text.format(place=place, who=who, small=small, n=n) for text in texts["kinds"][kind])
        return _Event(theme, language, place, tuple(sentences))

    def _report(self, event: _Event, count: int) -> _Draft:
        author, texts = self._reporter(), _texts()[event.language]
        parts = self.random.sample(event.sentences, count)
        if author in _SIGNERS:
            parts.append(texts["signatures"][len(author) % len(texts["signatures"])])
        joiner = self.random.choice([texts["joiner"], texts["joiner"], "\n\n", "\n• "])
        parts = [part if part[-1] in ".!?。？”" or "\n" in joiner else f"{part}\n" for part in parts[:-1]] + parts[-1:]
        return _Draft(author, event.language, event.theme, "post", self._framed(joiner.join(parts), event))

    def _framed(self, text: str, event: _Event) -> str:
        """A text with what people put before and after it."""
        if self.random.random() < 0.2:
            text = f"{self.random.choice(_texts()[event.language]['leads'])} {text}"
        if self.random.random() < 0.3:
            text = f"{text} https://news.example/{self.random.randrange(16**6):06x}"
        if self.random.random() < 0.2:
            text = f"{text} #{''.join(event.place.split())}"
        return text

    def _reaction(self, earlier: _Draft, form: PostKind) -> _Draft:
        remark = "" if form == "repost" else self.random.choice(_texts()[earlier.language]["remarks"])
        text = f"@{earlier.author} {remark}" if form == "reply" else remark
        return _Draft(self._reader(), earlier.language, earlier.theme, form, text, earlier)

    def _reporter(self) -> str:
        return self.random.choice(_REPORTERS)

    def _chatterer(self) -> str:
        return self.random.choice(_CHATTERERS)

    def _reader(self) -> str:
        return self.random.choice(_REPORTERS + _CHATTERERS)


def _post(draft: _Draft, numbers: Mapping[_Draft, int]) -> Post:
    number, original = numbers[draft], None
    if draft.earlier and draft.kind != "reply":
        shown, author = numbers[draft.earlier], draft.earlier.author
        original = Original(_id(shown), author, author.title(), draft.earlier.text, _url(shown))
    return Post(
        id=_id(number),
        author=draft.author,
        author_name=draft.author.title(),
        created_at=START + timedelta(minutes=number),
        kind=draft.kind,
        text=draft.text,
        url=_url(number),
        lang=draft.language,
        original=original,
    )


def _id(number: int) -> str:
    return str(10**9 + number)


def _url(number: int) -> str:
    return f"https://x.com/i/status/{_id(number)}"


def _half(said: str, line: str) -> bool:
    """Whether the first half of a sentence stands in a line, or the line is more than half of it."""
    return said[: len(said) // 2] in line or (line in said and 2 * len(line) > len(said))


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix("…").rstrip(" .!?。")


@cache
def _texts() -> dict[str, Any]:
    texts: dict[str, Any] = json.loads(Path(__file__).with_name("corpora.json").read_text("utf-8"))
    return texts
