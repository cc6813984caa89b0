"""A digest in a model's words: any OpenAI-compatible server writes it, and each line rests on posts that we know."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from xtrack.errors import Misconfigured, Temporary, XTrackError
from xtrack.models import Digest, Line, Post
from xtrack.summarizers import Brief, ModelAccess, Summarizer
from xtrack.summarizers import _llm_answer as answers
from xtrack.summarizers import _llm_prompt as prompt
from xtrack.summarizers._llm_answer import Draft, Flawed
from xtrack.summarizers._llm_calls import Calls, Said
from xtrack.summarizers._llm_client import Server
from xtrack.summarizers._llm_errors import Declined, TooLong, Unsupported, host

# In tokens: what an answer gets at first, and in how many a model must be able to think at all.
_MOST_ROOM = 4096
_LEAST_ROOM = 256
_LEAST_CONTEXT = 1_800
_MOST_POSTS = 400
# How many times posts that a model declines to write about are parted, to find those that are at fault.
_PARTINGS = 24
# As how many input tokens a server may count: less than the rules alone have is no count.
_LEAST_BELIEVED = 256
_T = TypeVar("_T")


class _Cut(Exception):
    """An answer whose end is missing."""


@dataclass(frozen=True)
class _Piece:
    """What the model wrote about some of the posts."""

    headline: str
    lines: tuple[Line, ...]


def open_model(access: ModelAccess) -> Summarizer:
    """The model that is set. Raises Misconfigured where none is."""
    if not access.llm.model:
        raise Misconfigured("no model is set", "set llm.model in the config, and llm.base_url and llm.key as it needs")
    return Model(access, access.llm.model)


class Model:
    """Has a model write digests, the posts split into as many parts as it takes."""

    def __init__(self, access: ModelAccess, model: str) -> None:
        self._access, self._model, self._server = access, model, Server(access.llm)

    def summarize(self, posts: Sequence[Post], brief: Brief) -> Digest:
        """A digest of at most 12 lines; one without lines says that nothing is on the topics.

        Raises Paused (the budgets have no money for a call), Refused (key, credit), Misconfigured (address, model,
        context), BadData, and Temporary for what may go better later: no line of the answer that can be used, too.
        """
        ordered = sorted(posts, key=lambda post: (post.created_at, post.id))
        work = _Work(Calls(self._access, self._server, self._model), self._model, brief)
        return work.digest(ordered)


class _Work:
    """The work on one digest."""

    def __init__(self, calls: Calls, model: str, brief: Brief) -> None:
        self._calls, self._model, self._brief = calls, model, brief
        self._partings, self._left_out, self._part = 0, 0, ""
        self._may_widen = True

    def digest(self, posts: Sequence[Post]) -> Digest:
        pieces = list(self._pieces(posts))
        if self._left_out == len(posts):
            raise Temporary(f"{self._model} at {host(self._calls.llm)} does not write about any of the posts")
        told = [piece for piece in pieces if piece.lines]
        whole = self._merged(told, prompt.most_lines(len(posts))) if told else _Piece("", ())
        return Digest(
            "llm",
            whole.headline or _headline(len(posts), self._brief.topics, is_empty=not told),
            _grouped(whole.lines),
            omitted=0,
            notices=tuple(self._notices()),
            model=self._model,
            input_tokens=self._calls.input_tokens,
            output_tokens=self._calls.output_tokens,
            cost=self._calls.cost,
        )

    def _notices(self) -> Iterator[str]:
        context, is_set = self._calls.way.context, self._calls.llm.context_tokens
        if context:
            yield f"{self._model} takes about {context} tokens at once, not the {is_set} of llm.context_tokens"
        if self._left_out:
            were = "1 post was" if self._left_out == 1 else f"{self._left_out} posts were"
            yield f"{were} left out, because {self._model} does not write about such a thing"

    # parts

    @property
    def _context(self) -> int:
        return min(self._calls.llm.context_tokens, self._calls.way.context or self._calls.llm.context_tokens)

    @property
    def _room(self) -> int:
        usual = max(_LEAST_ROOM, min(_MOST_ROOM, self._context // 4))
        return min(self._calls.way.room or usual, self._context // 2)

    def _pieces(self, posts: Sequence[Post]) -> Iterator[_Piece]:
        """What the model writes about all posts, in their order; parts are as large as it takes them by then."""
        begin = 0
        for part in self._parts(posts):
            if len(part) < len(posts):
                self._part = f", posts {begin + 1} to {begin + len(part)} of {len(posts)}"
            yield from self._written(part)
            begin += len(part)
        self._part = ""

    def _parts(self, posts: Sequence[Post]) -> Iterator[Sequence[Post]]:
        """The posts, split by their size as the model is told them."""
        while posts:
            count = self._fitting(posts)
            yield posts[:count]
            posts = posts[count:]

    def _fitting(self, posts: Sequence[Post]) -> int:
        """How many of the first posts, at least one, make a part."""
        size = left = self._size
        for count, post in enumerate(posts[:_MOST_POSTS]):
            left -= prompt.measure(prompt.entry(_MOST_POSTS, post, size)) + 1
            if left < 0 and count:
                return count
        return min(len(posts), _MOST_POSTS)

    @property
    def _size(self) -> int:
        """How many bytes of posts fit beside the rules and the answer."""
        rules = prompt.tokens(prompt.digest([], self._brief, _nonce()))
        return max(400, prompt.fitting_bytes(self._context - self._room - rules))

    def _written(self, posts: Sequence[Post], is_halved: bool = False) -> Iterator[_Piece]:
        """What the model writes about some posts, in several pieces where it does not about all of them at once."""
        try:
            draft = self._asked(posts)
        except TooLong as error:
            self._shrink(posts, error)
            for part in self._parts(posts):
                yield from self._written(part, is_halved)
        except Declined as error:
            for half in self._declined(posts, error):
                yield from self._written(half, is_halved)
        except _Cut:
            if self._widen(posts):
                yield from self._written(posts, is_halved)
            else:
                for half in self._halved(posts, is_halved):
                    yield from self._written(half, is_halved=True)
        else:
            lines = (Line(one.text, tuple(posts[n].id for n in one.posts), one.theme) for one in draft.items)
            yield _Piece(draft.headline, tuple(lines))

    def _declined(self, posts: Sequence[Post], error: Declined) -> Sequence[Sequence[Post]]:
        """The halves of posts among which are some that the model does not write about; one alone is left out."""
        if self._partings == _PARTINGS:
            raise error
        self._partings += 1
        self._left_out += len(posts) == 1
        return _halves(posts)

    def _halved(self, posts: Sequence[Post], is_halved: bool) -> Sequence[Sequence[Post]]:
        """The halves of posts about which the answer was cut. Raises Temporary where that has not helped."""
        if is_halved or len(posts) == 1:
            raise Temporary(f"the answers of {self._model} are cut off, however little it is asked")
        return _halves(posts)

    def _shrink(self, posts: Sequence[Post], error: TooLong) -> None:
        """Send less at once from now on. Raises Misconfigured where it is too little then."""
        asked = min(prompt.tokens(self._messages(posts)) + self._room, self._context)
        context = min(error.limit or asked, asked * 3 // 4)
        if context < _LEAST_CONTEXT:
            hint = "give the model more context (Ollama: num_ctx), or set llm.context_tokens to what it takes"
            raise Misconfigured(f"{error}", hint)
        self._calls.learn(replace(self._calls.way, context=context))

    def _widen(self, posts: Sequence[Post]) -> bool:
        """Give answers twice the room from now on, if the server and the context have so much beside these posts."""
        room = 2 * self._room
        has_room = room <= self._context // 2 and prompt.tokens(self._messages(posts)) + room <= self._context
        if has_room and self._may_widen:
            self._calls.learn(replace(self._calls.way, room=room))
            return True
        return False

    def _narrow(self, error: Unsupported) -> None:
        """Give answers half the room from now on, and never more. Raises the error where that is too little."""
        self._may_widen = False
        if self._room // 2 < _LEAST_ROOM:
            raise error
        self._calls.learn(replace(self._calls.way, room=self._room // 2))

    def _messages(self, posts: Sequence[Post]) -> prompt.Messages:
        size = self._size
        entries = [prompt.entry(number, post, size) for number, post in enumerate(posts)]
        return prompt.digest(entries, self._brief, _nonce())

    # calls

    def _asked(self, posts: Sequence[Post]) -> Draft:
        """A good answer about some posts, after a second question where the first answer is none."""
        messages = self._messages(posts)
        said = self._call(messages, prompt.DIGEST)
        try:
            return self._checked(said, len(posts))
        except Flawed as flaw:
            again, why = prompt.repair(messages, said.text, str(flaw)), str(flaw)
        try:
            return self._checked(self._call(again, prompt.DIGEST), len(posts))
        except (Flawed, _Cut, TooLong) as flaw:
            why = str(flaw) or why
        raise Temporary(f"{self._model} gave no answer that can be used, twice: {why}")

    def _checked(self, said: Said, posts: int) -> Draft:
        try:
            return answers.draft(said.text, posts, prompt.most_lines(posts))
        except Flawed:
            if said.is_cut:
                raise _Cut from None
            raise

    def _call(self, messages: prompt.Messages, schema: dict[str, Any]) -> Said:
        """One call. Raises TooLong also where the server took only a part of what it was sent, and did not say so."""
        try:
            said = self._calls.call(messages, schema, self._room, self._part)
        except Unsupported as error:
            if error.part != "room":
                raise
            self._narrow(error)
            return self._call(messages, schema)
        if _LEAST_BELIEVED <= said.input_tokens < prompt.least_tokens(messages):
            where, count = host(self._calls.llm), said.input_tokens
            message = f"{where} cuts what it is sent: {self._model} was told {count} tokens of it"
            raise TooLong(message, "set llm.context_tokens in the config to what the model takes", count)
        return said

    # the whole

    def _merged(self, pieces: Sequence[_Piece], most: int) -> _Piece:
        """One headline and at most `most` lines of all pieces, as the model chooses them by their numbers."""
        if len(pieces) == 1:
            return replace(pieces[0], lines=pieces[0].lines[:most])
        headlines, lines = [piece.headline for piece in pieces], [line for piece in pieces for line in piece.lines]
        messages = prompt.merge(headlines, [(line.group, line.text) for line in lines], most, _nonce())
        if len(pieces) > 2 and prompt.tokens(messages) + self._room > self._context:
            return self._merged([self._merged(half, most) for half in _halves(pieces)], most)
        try:
            said = self._call(messages, prompt.MERGER)
            best, groups = answers.merger(said.text, len(headlines), len(lines), most)
        except (Flawed, _Cut, XTrackError):
            # The pieces are written and paid for: a digest that is less well chosen is better than none.
            return _Piece(headlines[0], _spread([piece.lines for piece in pieces], most))
        return _Piece(headlines[best], tuple(_joined([lines[number] for number in group]) for group in groups))


def _halves(items: Sequence[_T]) -> list[Sequence[_T]]:
    """Two halves; of one item none."""
    middle = len(items) // 2
    return [items[:middle], items[middle:]] if middle else []


def _joined(lines: Sequence[Line]) -> Line:
    """The first line, which stands for the posts of all."""
    posts = dict.fromkeys(post_id for line in lines for post_id in line.post_ids)
    return replace(lines[0], post_ids=tuple(posts))


def _spread(drafts: Sequence[Sequence[Line]], most: int) -> tuple[Line, ...]:
    """The first lines of all drafts, as many of each as there is room for, in their order."""
    ranks = sorted((rank, number) for number, lines in enumerate(drafts) for rank in range(len(lines)))[:most]
    return tuple(drafts[number][rank] for number, rank in sorted((number, rank) for rank, number in ranks))


def _grouped(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with those on the same theme together, in the order of their first ones."""
    themes = list(dict.fromkeys(line.group.casefold() for line in lines))
    names = {line.group.casefold(): line.group for line in reversed(lines)}
    ordered = sorted(lines, key=lambda line: themes.index(line.group.casefold()))
    return tuple(replace(line, group=names[line.group.casefold()]) for line in ordered)


def _headline(posts: int, topics: Sequence[str], is_empty: bool) -> str:
    """What is said where the model says nothing."""
    new = "1 new post" if posts == 1 else f"{posts} new posts"
    if not is_empty:
        return new
    if not topics:
        return f"{new}, nothing worth a line"
    either = " or ".join(filter(None, (", ".join(topics[:-1]), topics[-1])))
    return f"{new}, {'not' if posts == 1 else 'none of them'} on {either}"


def _nonce() -> str:
    return os.urandom(8).hex()
