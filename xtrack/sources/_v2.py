"""Posts of the X API v2 in their final form, whichever words the API used and whichever shape they were kept in.

Version 2.167 of its specification renamed tweets to posts (note_tweet, referenced_tweets, includes.tweets,
edit_history_tweet_ids); both vocabularies occur, also in one answer. A flattened post, as twarc2 writes it, carries its
author, media, poll and referenced posts inside it instead of in `includes`. A bare post has little but id and text.
"""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from xtrack.errors import BadData
from xtrack.models import Original, Post, PostKind, Sighting
from xtrack.sources._characters import printable, unescaped

Json = dict[str, Any]

_HANDLE = re.compile(r"[A-Za-z0-9_]{1,15}")
_REPOST = re.compile(r"RT @([A-Za-z0-9_]{1,15}):\s*(.*)", re.DOTALL)
_SHORT_LINK = re.compile(r"[ \n]?(https?://t\.co/[A-Za-z0-9]+)")
POST_LINK = re.compile(r"https?://(?:\w+\.)?(?:twitter|x)\.com/(?:i/web|(\w+))/status/(\d+)", re.ASCII)
_MEDIA_LINKS = ("pic.twitter.com/", "pic.x.com/")
# What a media key begins with tells its type, also where the media are not included.
_MEDIA_TYPES = {"3": "photo", "7": "video", "13": "video", "16": "animated_gif"}
EPOCH_MS = 1288834974657
# Earlier ids hold no time: github.com/oduwsdl/tweetedat, script/TimestampEstimator.py.
_FIRST_SNOWFLAKE = 29700859247


@dataclass(frozen=True)
class Author:
    """Whose a post is: numeric id, handle without @ and name, each "" where it is not known."""

    id: str = ""
    username: str = ""
    name: str = ""


def posts(value: object, author: Author | None = None) -> tuple[Post, ...]:
    """The posts of one JSON value: a page of the API, one flattened post, or a bare one.

    `author` is whose timeline it is, for posts that do not tell it. Errors beside the data are ignored: they are about
    what a page includes. Raises BadData when the value has another shape, or when an id or a time in it cannot be one.
    """
    page = as_object(value)
    if page.get("data") is not None:
        data = page["data"] if isinstance(page["data"], list) else [page["data"]]
    elif "text" in page:
        data = [page]
    elif "errors" in page or "meta" in page:
        data = []
    else:
        raise BadData("neither a post nor a page of posts")
    known = {"author_id": author.id} if author else {}
    found = [known | as_object(item) for item in data]
    shown = _Page(found, as_object(page.get("includes")), author)
    return tuple(_post(post, shown) for post in found)


def sightings(value: object, now: datetime, author: Author | None = None) -> tuple[Sighting, ...]:
    """The names that a page of the API tells beside its posts, of each account the latest one.

    Users that it includes are called so `now`; mentions, and links to media of a timeline's `author`, have the names of
    the time of their post. What is not as it should be is left out.
    """
    page = as_object(value)
    data, includes = page.get("data"), as_object(page.get("includes"))
    own = objects(data if isinstance(data, list) else [data])
    included = [*objects(includes.get("tweets")), *objects(includes.get("posts"))]
    told = [one for post in [*own, *included] for one in _mentioned(post)]
    told += [one for post in own if author for one in _named_by_media(post, author)]
    told += [
        Sighting(str(user.get("id")), _handle(user.get("username")), now) for user in objects(includes.get("users"))
    ]
    told = [one for one in told if is_id(one.account_id) and one.username]
    return tuple({one.account_id: one for one in sorted(told, key=lambda one: one.at)}.values())


def _mentioned(post: Json) -> Iterator[Sighting]:
    if at := _sighted_at(post):
        for mention in _entities(post, "mentions"):
            yield Sighting(str(mention.get("id")), _handle(mention.get("username")), at)


def _named_by_media(post: Json, author: Author) -> Iterator[Sighting]:
    """X makes these links with the author's name in them; what somebody typed is displayed as a link to x.com."""
    at = _sighted_at(post)
    if at and post.get("author_id", author.id) == author.id:
        for url in filter(_is_media, _entities(post, "urls")):
            link = POST_LINK.match(str(url.get("expanded_url")))
            if link and link[2] == str(post.get("id")) and link[1] != "i":
                yield Sighting(author.id, _handle(link[1]), at)


def _sighted_at(post: Json) -> datetime | None:
    try:
        return _created_at(post, _id(post.get("id")))
    except BadData:
        return None


class _Page:
    """What a page holds beside a post, by id."""

    def __init__(self, data: list[Json], includes: Json, author: Author | None) -> None:
        def by(key: str, name: str) -> dict[str, Json]:
            return {str(item.get(key)): item for item in objects(includes.get(name))}

        self.users = ({author.id: vars(author)} if author else {}) | by("id", "users")
        self.posts = by("id", "tweets") | by("id", "posts") | {str(post.get("id")): post for post in data}
        self.media = by("media_key", "media")
        self.polls = by("id", "polls")

    def referenced(self, reference: Json) -> Json:
        """The post that another refers to; {} where the source does not show it."""
        return reference if "text" in reference else self.posts.get(str(reference.get("id")), {})


def _post(post: Json, page: _Page) -> Post:
    if not isinstance(post.get("text"), str):
        raise BadData("neither a post nor a page of posts")
    references = {
        str(reference.get("type")): reference
        for reference in objects(post.get("referenced_posts") or post.get("referenced_tweets"))
    }
    post_id = _first_id(post)
    author = _author(post, page)
    kind: PostKind
    original, text = None, ""
    if reference := references.get("retweeted"):
        kind, original = "repost", _original(reference, post, page)
    elif reference := references.get("quoted"):
        kind, original = "quote", _original(reference, post, page)
        text = _words(post, page, {original.id, _id(reference.get("id"))})
    else:
        kind = _kind(post, references.get("replied_to"), page)
        text = _words(post, page) or "[media]"
    created_at = _created_at(post, post_id)
    url, lang = url_of(author.username, post_id), line(post.get("lang"))
    return Post(post_id, author.username, author.name, created_at, kind, text, url, lang, original)


def _kind(post: Json, replied_to: Json | None, page: _Page) -> PostKind:
    """Whether it is a reply, and whether to its own author, by the first of these that tells: the account replied to,
    the author of the post replied to, and that X puts "@name " in front of the text of a reply to another account.
    """
    account = post.get("in_reply_to_user_id")
    if not (account or replied_to):
        return "post"
    author = _author(post, page)
    other = _author({"author_id": account} if account else page.referenced(replied_to or {}), page)
    if author.id and other.id:
        is_own = author.id == other.id
    elif author.username and other.username:
        is_own = author.username.lower() == other.username.lower()
    else:
        is_own = author != Author() and not _addresses_others(post, author)
    return "thread" if is_own else "reply"


def _addresses_others(post: Json, author: Author) -> bool:
    """Whether the text, which for this is not the note's, begins with the name of another account than the author's."""
    names = [
        author.username,
        *(_handle(one.get("username")) for one in _entities(post, "mentions") if one.get("id") == author.id),
    ]
    own = {f"@{name.lower()}" for name in names}
    leading = takewhile(lambda word: word[0] == "@" and _handle(word[1:]), post["text"].split())
    return any(word.lower() not in own for word in leading)


def _original(reference: Json, post: Json, page: _Page) -> Original:
    """What `post` shows. Where the source does not include it, what `post` itself tells of it."""
    reference_id = _id(reference.get("id"))
    original = page.referenced(reference)
    author = _author(original, page)
    username = author.username
    text = (_words(original, page) or "[media]") if original else ""
    if reference.get("type") == "retweeted":
        shown = _text(post, {reference_id})
        told = _REPOST.match(shown)
        username, text = username or (told[1] if told else ""), text or (told[2] if told else shown) or "[media]"
    original_id = _first_id(original or reference)
    username = username or _linked_author(post, reference_id)
    return Original(original_id, username, author.name, text, url_of(username, original_id))


def _words(post: Json, page: _Page, shown: AbstractSet[str] = frozenset()) -> str:
    """The text of `post`, and in a line of its own what is attached to it."""
    return "\n".join(filter(None, (_text(post, shown), _attached(post, page))))


def _text(post: Json, shown: AbstractSet[str] = frozenset()) -> str:
    """The words of `post`, links expanded, without those that lead to its own media or to the posts `shown` beside it.

    Links are found by their text: the offsets of entities are wrong beside HTML entities and emoji.
    """
    hidden = shown | set(_ids(post))
    targets = {}
    for url in _entities(post, "urls"):
        link = POST_LINK.match(str(url.get("expanded_url")))
        target = str(url.get("unwound_url") or url.get("expanded_url") or url.get("url"))
        targets[str(url.get("url"))] = "" if _is_media(url) or (link and link[2] in hidden) else target

    def expand(link: re.Match[str]) -> str:
        target = targets.get(link[1], link[1])
        return target and link[0].replace(link[1], target)

    text = _note(post).get("text") or post.get("text")
    return printable(_SHORT_LINK.sub(expand, unescaped(text))).strip() if isinstance(text, str) else ""


def _attached(post: Json, page: _Page) -> str:
    """What a post shows beside its text: "[photo]", "[poll: tea / coffee]"; "" for nothing."""
    attachments = as_object(post.get("attachments"))
    poll_ids, media_keys = _list(attachments.get("poll_ids")), _list(attachments.get("media_keys"))
    polls = objects([attachments.get("poll")]) or [page.polls.get(str(poll_id), {}) for poll_id in poll_ids]
    media = objects(attachments.get("media")) or [_media(str(key), page) for key in media_keys]
    options = [[line(option.get("label")) for option in objects(poll.get("options"))] for poll in polls]
    labels = [f"poll: {' / '.join(labels)}" if labels else "poll" for labels in options]
    labels += [(line(item.get("type")) or "media").replace("_", " ") for item in media]
    return " ".join(f"[{label}]" for label in dict.fromkeys(labels))


def _media(key: str, page: _Page) -> Json:
    return page.media.get(key) or {"type": _MEDIA_TYPES.get(key.partition("_")[0])}


def _is_media(url: Json) -> bool:
    return str(url.get("display_url")).startswith(_MEDIA_LINKS)


def _author(post: Json, page: _Page) -> Author:
    user = as_object(post.get("author")) or page.users.get(str(post.get("author_id")), {})
    username = _handle(user.get("username") or post.get("username"))
    return Author(str(user.get("id") or post.get("author_id") or ""), username, line(user.get("name")))


def _linked_author(post: Json, shown_id: str) -> str:
    links = [POST_LINK.match(str(url.get("expanded_url"))) for url in _entities(post, "urls")]
    return next((_handle(link[1]) for link in links if link and link[2] == shown_id and link[1] != "i"), "")


def _handle(value: object) -> str:
    return value if isinstance(value, str) and _HANDLE.fullmatch(value) else ""


def _created_at(post: Json, post_id: str) -> datetime:
    stamp = post.get("created_at")
    try:
        if stamp is not None:
            moment = datetime.fromisoformat(stamp)
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadData(f"post {post_id} has no time: {stamp!r:.60}") from None
    if int(post_id) < _FIRST_SNOWFLAKE:
        raise BadData(f"post {post_id} has no time, and its id holds none")
    return datetime.fromtimestamp(((int(post_id) >> 22) + EPOCH_MS) / 1000, UTC)


def url_of(author: str, post_id: str) -> str:
    """The page of a post on X."""
    return f"https://x.com/{author or 'i'}/status/{post_id}"


def _first_id(post: Json) -> str:
    return min(_ids(post), key=int)


def _ids(post: Json) -> list[str]:
    """The id of each version of `post`."""
    history = post.get("edit_history_post_ids") or post.get("edit_history_tweet_ids")
    return [_id(value) for value in (post.get("id"), *_list(history))]


def is_id(text: str) -> bool:
    """Whether it can be the id of a post."""
    return text.isascii() and text.isdigit() and len(text) < 20


def _id(value: object) -> str:
    text = str(value)
    if not is_id(text):
        raise BadData(f"not the id of a post: {text!r:.60}")
    return str(int(text))


def _entities(post: Json, kind: str) -> list[Json]:
    return [entity for part in (post, _note(post)) for entity in objects(as_object(part.get("entities")).get(kind))]


def _note(post: Json) -> Json:
    """The whole of a post of more than 280 characters, with entities of its own."""
    return as_object(post.get("note_post") or post.get("note_tweet"))


def line(value: object) -> str:
    """Text of a name or label, on one line and without what could harm a terminal; "" for what is no text."""
    return printable(unescaped(value)).replace("\n", " ").strip() if isinstance(value, str) else ""


def as_object(value: Any) -> Json:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Json]:
    """The JSON objects in a value that should be a list of them."""
    return [item for item in _list(value) if isinstance(item, dict)]
