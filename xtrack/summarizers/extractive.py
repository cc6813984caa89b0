"""A digest in the posts' own words: their most telling sentences, chosen without an LLM."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import chain

from xtrack.models import Digest, Line, Post
from xtrack.summarizers import Brief
from xtrack.summarizers._text import count_words, is_on, sentences, split_end, terms, without_attached, words

_MAX_LINES = 8
_MIN_LINES = 3
_POSTS_PER_LINE = 3
_AUTHOR_SHARE = 3
_NEARLY_ALL = 0.9
_SAME = 0.6
_NOVELTY = 3
_NEAREST = 12
_STRONGEST = 40
_RELATED = 0.1
_FEW = 4
_REFRAIN = 3
_NEGATIONS = frozenset(["no", "not", "never", "nor", "without", "t"])
_ADDRESS = frozenset(["you", "your"])
_PERSONAL = frozenset(["i", "me", "my"])
_QUESTION = re.compile(r"[?？؟][\"'”’»)]*$")


@dataclass(eq=False)
class _Story:
    """Posts that say the same; the first, which says the most of it, speaks for them.

    `nearness` is to the themes of the lines already chosen.
    """

    posts: list[Post]
    topic: str
    text: str
    terms: frozenset[str]
    vector: dict[str, float] = field(default_factory=dict)
    nearness: float = 0.0

    @property
    def lead(self) -> Post:
        return self.posts[0]


@dataclass(eq=False)
class _Candidate:
    """A sentence of a story's lead, its relevance, and the most that it is similar to one of so many lines chosen."""

    story: _Story
    text: str
    vector: dict[str, float]
    has_words: bool
    relevance: float
    similarity: float = 0.0
    compared: int = 0


class Extractive:
    """Ranks sentences by their TF-IDF weight among all posts and takes the best that say something new."""

    def summarize(self, posts: Sequence[Post], brief: Brief) -> Digest:
        """A digest of about one line for three posts, at most 8, more only where there are more topics than that."""
        on_topic = _by_topic(posts, brief.topics)
        count = sum(map(len, on_topic.values()))
        stories = _stories(on_topic)
        limit = min(_MAX_LINES, max(_MIN_LINES, math.ceil(count / _POSTS_PER_LINE)))
        chosen = _Choice(_candidates(stories), stories, limit).lines()
        _absorb(chosen, stories)
        order = list(on_topic)
        chosen.sort(key=lambda line: (order.index(line.story.topic), _when(line.story.lead)))
        lines = tuple(Line(line.text, _ids(line.story), line.story.topic) for line in chosen)
        omitted = count - sum(len(line.post_ids) for line in lines)
        return Digest("extractive", _headline(posts, brief.topics, count), lines, omitted)


def _when(post: Post) -> tuple[datetime, str]:
    return post.created_at, post.id


def _ids(story: _Story) -> tuple[str, ...]:
    return (story.lead.id, *(post.id for post in sorted(story.posts[1:], key=_when)))


def _words_of(post: Post) -> str:
    """What a line about a post may say: a repost's words are the original's, a quote's are its own."""
    return post.original.text if post.kind == "repost" and post.original else post.text


def _without_refrains(posts: Sequence[Post]) -> list[str]:
    """What each post says, without the sentence that its writer ends several with: `Photos by our readers.`

    Its media and polls are left out too: what a poll asks is what it is about, but no sentence.
    """
    texts = [without_attached(_words_of(post)) for post in posts]
    writers = [post.original.author if post.kind == "repost" and post.original else post.author for post in posts]
    ends = list(zip(writers, map(split_end, texts), strict=True))
    times = Counter((writer, end) for writer, (_, end) in set(ends))
    return [
        body if end and times[writer, end] >= _REFRAIN else text
        for text, (writer, (body, end)) in zip(texts, ends, strict=True)
    ]


def _context_of(post: Post) -> str:
    """What a quote quotes: it helps to tell what the post is about."""
    return post.original.text if post.kind == "quote" and post.original else ""


def _headline(posts: Sequence[Post], topics: Sequence[str], on_topic: int) -> str:
    new = "1 new post" if len(posts) == 1 else f"{len(posts)} new posts"
    if topics and on_topic:
        return f"{on_topic} of {new} on {', '.join(topics)}"
    if topics:
        either = " or ".join(filter(None, (", ".join(topics[:-1]), topics[-1])))
        return f"{new}, {'not' if len(posts) == 1 else 'none of them'} on {either}"
    authors = {post.author for post in posts}
    known = sorted(authors - {""})
    if not known:
        return new
    by = f"@{known[0]}" if len(known) == 1 else f"{len(known)} accounts"
    return f"{new} by {by}{' and others' if '' in authors else ''}"


def _by_topic(posts: Iterable[Post], topics: Sequence[str]) -> dict[str, list[Post]]:
    """The posts on each topic, in the topics' order, a post under the first that it matches."""
    if not topics:
        return {"": list(posts)}
    found: dict[str, list[Post]] = {topic: [] for topic in topics}
    for post in posts:
        text = f"{_words_of(post)}\n{_context_of(post)}"
        topic = next((topic for topic in topics if is_on(topic, text)), None)
        if topic is not None:
            found[topic].append(post)
    return found


def _terms(text: str) -> frozenset[str]:
    """What a text is compared by; never empty, so that equal texts without terms are equal too."""
    return frozenset(terms(text)) or frozenset(words(text)) or frozenset([text])


def _covers(most: Set[str], some: Set[str]) -> bool:
    """Whether `most` says nearly all of `some`: all its numbers, and the same negations."""
    if most == some:
        return True
    if len(some) < _FEW or len(most & some) < _NEARLY_ALL * len(some) or most & _NEGATIONS != some & _NEGATIONS:
        return False
    return all(term in most for term in some if term[0].isdigit())


def _stories(on_topic: dict[str, list[Post]]) -> list[_Story]:
    """The posts merged with their near-duplicates, the longest first.

    One that is nearly contained in another lacks few of its terms there: of its rarest ones, twice as many and one
    more, most are in the other, and only those with so many are compared (prefix filtering: Bayardo, Ma, Srikant,
    Scaling up all pairs similarity search, 2007).
    """
    posts = [(post, topic) for topic, posts in on_topic.items() for post in posts]
    texts = _without_refrains([post for post, _ in posts])
    found = [(_terms(text), post, topic, text) for (post, topic), text in zip(posts, texts, strict=True)]
    found.sort(key=lambda item: (-len(item[0]), item[1].kind == "repost", _when(item[1])))
    frequency = Counter(term for said, *_ in found for term in said)
    stories: list[_Story] = []
    having: defaultdict[tuple[str, str], list[_Story]] = defaultdict(list)
    for said, post, topic, text in found:
        few = len(said) - math.ceil(_NEARLY_ALL * len(said))
        rarest = sorted(sorted(said), key=frequency.__getitem__)[: 2 * few + 1]
        near = Counter(chain.from_iterable(having[topic, term] for term in rarest))
        close = (story for story, shared in near.items() if shared >= len(rarest) - few)
        same = next((s for s in close if len(said) * 2 >= len(s.terms) and _covers(s.terms, said)), None)
        if same:
            same.posts.append(post)
            continue
        stories.append(_Story([post], topic, text, said))
        for term in said:
            having[topic, term].append(stories[-1])
    return stories


def _candidates(stories: list[_Story]) -> list[_Candidate]:
    """The sentences of the stories, the most relevant of them having 1.

    A term weighs its idf times its weight in the centroid of all stories (Radev, Jing, Stys, Tam, Centroid-based
    summarization of multiple documents, 2004). A quarter of the length normalisation is by the mean length, so that
    short sentences do not win by being short (Singhal, Buckley, Mitra, Pivoted document length normalization, 1996).
    """
    said = [story.terms.union(terms(_context_of(story.lead))) for story in stories]
    frequency = Counter(chain.from_iterable(said))

    @cache
    def idf(term: str) -> float:
        return math.log(1 + len(stories) / (frequency[term] or 1))

    for story, all_terms in zip(stories, said, strict=True):
        strongest = sorted(sorted(all_terms), key=frequency.__getitem__)[:_STRONGEST]
        story.vector = _unit({term: idf(term) ** 2 for term in strongest})
    candidates = []
    for story in stories:
        for position, text in enumerate(sentences(story.text, story.lead.kind == "reply")):
            vector = {term: idf(term) for term in _terms(text)}
            word_count = count_words(text)
            merit = _merit(story, text, position, word_count)
            candidates.append(_Candidate(story, text, vector, word_count > 0, merit))
    norms = [math.sqrt(math.fsum(weight**2 for weight in one.vector.values())) for one in candidates]
    mean = math.fsum(norms) / max(1, len(norms))
    for one, norm in zip(candidates, norms, strict=True):
        centrality = math.fsum(frequency[term] * weight**2 for term, weight in one.vector.items())
        one.relevance *= centrality / (3 * norm + mean)
        one.vector = {term: weight / norm for term, weight in one.vector.items()}
    best = max((one.relevance for one in candidates), default=0.0) or 1.0
    for one in candidates:
        one.relevance /= best
    return candidates


def _merit(story: _Story, text: str, position: int, word_count: int) -> float:
    """What speaks for a sentence beside its terms; the factors were found by reading digests."""
    merit = 1 + 0.2 * math.log2(len(story.posts))
    if position == 0:
        merit *= 1.15
    if story.topic and is_on(story.topic, text):
        merit *= 3
    if text.endswith("…"):
        merit *= 0.8
    if 2 * sum(map(str.isupper, text.split())) > word_count:
        merit *= 0.6
    if word_count < _FEW:
        merit *= 0.3
    if story.lead.kind in ("reply", "quote"):
        merit *= 0.7
    said = words(text)
    if "!" in text or not _PERSONAL.isdisjoint(said):
        merit *= 0.8
    if _QUESTION.search(text) and (story.lead.kind == "reply" or not _ADDRESS.isdisjoint(said)):
        merit *= 0.5
    return merit


class _Choice:
    """Lines chosen one after the other: the most relevant for what it adds.

    Maximal marginal relevance (Carbonell, Goldstein, 1998), without what a chosen line says already.
    """

    def __init__(self, candidates: list[_Candidate], stories: list[_Story], limit: int) -> None:
        self.candidates = sorted(candidates, key=lambda one: (one.has_words, one.relevance), reverse=True)
        self.chosen: list[_Candidate] = []
        self.limit = limit
        authors = len({one.story.lead.author for one in candidates})
        self.share = max(2, limit // min(authors or 1, _AUTHOR_SHARE))
        telling = {one.story for one in candidates if one.has_words}
        posts = Counter(post.lang for story in telling for post in story.posts)
        self.languages = {lang for lang in posts if 2 * limit * posts[lang] >= posts.total()}
        self.having: defaultdict[str, list[_Story]] = defaultdict(list)
        for story in stories:
            for term in story.vector:
                self.having[term].append(story)

    def lines(self) -> list[_Candidate]:
        """At most `limit` of the candidates, but one of each topic."""
        while best := self._next():
            self.chosen.append(best)
            for story, nearness in _near(_theme(best.story, self.having), self.having).items():
                story.nearness = max(story.nearness, nearness)
        return self.chosen

    def _next(self) -> _Candidate | None:
        """The next line: first of the topics without one, then whatever says something new.

        The last lines are kept for languages without one whose posts are worth at least half a line.
        """
        topics = {one.story.topic for one in self.chosen}
        first = [one for one in self.candidates if one.story.topic not in topics]
        if first or len(self.chosen) >= self.limit:
            return self._best(first, math.inf)
        told = {one.story for one in self.chosen}
        lines = Counter(one.story.lead.author for one in self.chosen if one.story.lead.author)
        open_ = [
            one
            for one in self.candidates
            if one.story not in told
            and lines[one.story.lead.author] < self.share
            and (one.has_words or not any(line.has_words for line in self.chosen))
        ]
        untold = self.languages - {one.story.lead.lang for one in self.chosen}
        kept = [one for one in open_ if one.story.lead.lang in untold]
        last = len(self.chosen) + len(untold) >= self.limit
        return (self._best(kept, _SAME) if last else None) or self._best(open_, _SAME)

    def _best(self, candidates: list[_Candidate], same: float) -> _Candidate | None:
        """Of candidates, the most relevant first, the most relevant for what it adds, if one is less than the `same`.

        As nothing is worth more than its relevance, most need not be compared (Minoux, 1978).
        """
        best, most = None, (False, -math.inf)
        for one in candidates:
            if (one.has_words, one.relevance) <= most:
                break
            if (one.has_words, one.relevance - _NOVELTY * one.story.nearness) <= most:
                continue
            for line in self.chosen[one.compared :]:
                one.similarity = max(one.similarity, _similarity(one.vector, line.vector))
            one.compared = len(self.chosen)
            worth = (one.has_words, one.relevance - _NOVELTY * max(one.similarity, one.story.nearness))
            if one.similarity < same and worth > most:
                best, most = one, worth
        return best


def _theme(story: _Story, having: Mapping[str, list[_Story]]) -> dict[str, float]:
    """The terms of a story and of those most similar to it: what else is said of its theme, maybe in other words.

    As pseudo-relevance feedback widens a query (Rocchio, 1971).
    """
    near = _near(story.vector, having)
    theme: defaultdict[str, float] = defaultdict(float)
    for other in sorted(near, key=near.__getitem__, reverse=True)[:_NEAREST]:
        if near[other] > _RELATED:
            for term, weight in other.vector.items():
                theme[term] += near[other] * weight
    return _unit(theme)


def _near(vector: Mapping[str, float], having: Mapping[str, list[_Story]]) -> dict[_Story, float]:
    """The cosine of a vector with each story that has one of its terms."""
    found: defaultdict[_Story, float] = defaultdict(float)
    for term, weight in vector.items():
        for story in having[term]:
            found[story] += weight * story.vector[term]
    return found


def _unit(vector: Mapping[str, float]) -> dict[str, float]:
    norm = math.sqrt(math.fsum(weight**2 for weight in vector.values()))
    return {term: weight / norm for term, weight in vector.items()}


def _similarity(one: dict[str, float], other: dict[str, float]) -> float:
    """The cosine of two sentences; 1 when one of them says nearly all that the other says."""
    shared = one.keys() & other.keys()
    contained = len(shared) >= _NEARLY_ALL * min(len(one), len(other))
    if contained and (_covers(one.keys(), other.keys()) or _covers(other.keys(), one.keys())):
        return 1.0
    return math.fsum(one[term] * other[term] for term in shared)


def _absorb(chosen: list[_Candidate], stories: list[_Story]) -> None:
    """Adds to the chosen the posts of the other stories that say no more than one of them does."""
    told = {line.story for line in chosen}
    for story in stories:
        line = next((line for line in chosen if _covers(line.vector.keys(), story.terms)), None)
        if line and story not in told:
            line.story.posts.extend(story.posts)
