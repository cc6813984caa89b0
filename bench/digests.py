"""Digests compared: how many themes a line of Extractive tells, beside sumy's LexRank and TextRank, and in what time.

`python -m bench.digests` prints the table. The themes are those of bench/corpora.py, of seeds that the ranker was not
tuned on, and the stories of the bundled sample. sumy gets our sentences and our terms, as it can split few of the
languages, and each sentence once, or else its best line would stand there as often as it was posted.
"""

import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, median

from bench.corpora import LANGUAGES, Corpus, corpus
from xtrack.models import Post
from xtrack.sources import sample
from xtrack.summarizers import Brief
from xtrack.summarizers._text import sentences, terms
from xtrack.summarizers.extractive import Extractive

HELD_OUT = range(100, 110)
MANY = 1000
_UNTIL = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Score:
    """Of the digests of some corpora: themes told per line, the share of posts on them, and seconds a digest."""

    themes: float
    posts: float
    seconds: float


Method = Callable[[Sequence[Post], int], list[str]]


def extractive(posts: Sequence[Post], _count: int = 0) -> list[str]:
    return [line.text for line in Extractive().summarize(posts, Brief()).lines]


def newest(posts: Sequence[Post], count: int) -> list[str]:
    """What anybody can do: the last posts of all."""
    return [_words_of(post) for post in posts[-count:]]


def lex_rank(posts: Sequence[Post], count: int) -> list[str]:
    from sumy.summarizers.lex_rank import LexRankSummarizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return [str(sentence) for sentence in LexRankSummarizer()(_document(posts), count)]


def text_rank(posts: Sequence[Post], count: int) -> list[str]:
    from sumy.summarizers.text_rank import TextRankSummarizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return [str(sentence) for sentence in TextRankSummarizer()(_document(posts), count)]


METHODS: dict[str, Method] = {
    "XTrack": extractive,
    "LexRank": lex_rank,
    "TextRank": text_rank,
    "newest": newest,
}


def scores(corpora: Sequence[Corpus]) -> dict[str, Score]:
    """What each method makes of the same corpora with as many lines as Extractive has."""
    return {name: _score(method, corpora) for name, method in METHODS.items()}


def generated(languages: Sequence[str]) -> list[Corpus]:
    return [corpus(languages, seed) for seed in HELD_OUT]


def from_sample(until: datetime) -> Corpus:
    """Three hours of the bundled sample: a story's text, its slots filled in any way, is a theme."""
    town = json.loads(Path(sample.__file__).with_name("sample.json").read_text("utf-8"))
    again = re.compile("(?:" + "|".join(map(re.escape, town["again"].values())) + ")$")
    stories = [[_pattern(story[key]) for key in ("text", "then") if key in story] for story in town["posts"]]
    posts = tuple(sample.posts(until - timedelta(hours=3), until))
    themes = dict[str, str]()
    said = defaultdict[str, set[str]](set)
    for post in posts:
        text = again.sub("", post.original.text if post.original else post.text)
        themes[post.id] = next(str(i) for i, story in enumerate(stories) if any(one.fullmatch(text) for one in story))
        said[themes[post.id]] |= set(re.split(r"(?<=\w\w[.!?])\s+|(?<=。)(?=.)", text))
    return Corpus(posts, themes, {theme: frozenset(sentences) for theme, sentences in said.items()})


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """For the table of `make bench`: themes a line, the mean of the generated corpora; milliseconds of MANY posts."""
    say("digests beside LexRank and TextRank …")
    found = [scores(generated(languages)) for languages in LANGUAGES.values()]
    many = scores([corpus(LANGUAGES["all mixed"], HELD_OUT[0], MANY)])
    themes = {f"digest_{name.lower()}_themes": fmean(one[name].themes for one in found) for name in METHODS}
    return themes | {f"digest_{name.lower()}_ms": 1000 * score.seconds for name, score in many.items()}


def markdown() -> str:
    """The table of all corpora; a loss of ours is bold in the other's column."""
    rows = [f"| | {' | '.join(METHODS)} |", "|---" * (len(METHODS) + 1) + "|"]
    corpora = {
        f"{name}, {len(HELD_OUT)} corpora of 120 posts": generated(languages) for name, languages in LANGUAGES.items()
    }
    corpora[f"the bundled sample, {len(HELD_OUT)} times 3 hours"] = [
        from_sample(_UNTIL + timedelta(hours=7 * round_)) for round_ in range(len(HELD_OUT))
    ]
    corpora[f"all mixed, {MANY} posts"] = [corpus(LANGUAGES["all mixed"], HELD_OUT[0], MANY)]
    for name, some in corpora.items():
        found = scores(some)
        rows.append(_row(f"{name}: themes a line", [score.themes for score in found.values()], "{:.2f}"))
        rows.append(_row("… share of the posts told of", [score.posts for score in found.values()], "{:.0%}"))
        rows.append(_row("… milliseconds", [1000 * score.seconds for score in found.values()], "{:.0f}", least=True))
    return "\n".join(rows)


def _row(name: str, values: list[float], form: str, *, least: bool = False) -> str:
    cells = []
    for value in values:
        worse = value < values[0] if least else value > values[0]
        cells.append(f"**{form.format(value)}**" if worse else form.format(value))
    return f"| {name} | {' | '.join(cells)} |"


def _score(method: Method, corpora: Sequence[Corpus]) -> Score:
    themes, posts, seconds = [], [], []
    for one in corpora:
        count = len(extractive(one.posts))
        started = time.process_time()
        lines = method(one.posts, count)
        seconds.append(time.process_time() - started)
        told = {one.told(line) for line in lines} - {""}
        themes.append(len(told) / count)
        posts.append(sum(theme in told for theme in one.theme_of.values()) / len(one.theme_of))
    return Score(fmean(themes), fmean(posts), median(seconds))


class _Tokenizer:
    """What sumy asks of one."""

    def to_words(self, sentence: str) -> tuple[str, ...]:
        return tuple(terms(sentence))


def _document(posts: Sequence[Post]) -> object:
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence  # type: ignore[import-not-found,import-untyped,unused-ignore]

    distinct = dict.fromkeys(
        sentence for post in posts for sentence in sentences(_words_of(post), post.kind == "reply")
    )
    return ObjectDocumentModel([Paragraph(Sentence(sentence, _Tokenizer()) for sentence in distinct)])


def _words_of(post: Post) -> str:
    return post.original.text if post.kind == "repost" and post.original else post.text


def _pattern(template: str) -> re.Pattern[str]:
    """What a text of the sample looks like with its slots filled."""
    return re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(template)))


if __name__ == "__main__":
    sys.stdout.write(f"{markdown()}\n")
