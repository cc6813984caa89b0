"""Posts of the X API v2 in their final form, whichever words the API used and whichever shape they were kept in.

Version 2.167 of its specification renamed tweets to posts (note_tweet, referenced_tweets, includes.tweets,
edit_history_tweet_ids); both vocabularies occur, also in one answer. A flattened post, as twarc2 writes it, carries its
author, media, poll and referenced posts inside it instead of in `includes`. A bare post has little but id and text.
"""

import re
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

from xtrack.errors import BadData
from xtrack.models import Original, Post, PostKind
from xtrack.sources._characters import printable, unescaped

Json = dict[str, Any]

_HANDLE = re.compile(r"[A-Za-z0-9_]{1,15}")
_REPOST = re.compile(r"RT @([A-Za-z0-9_]{1,15}): (.*)", re.DOTALL)
_SHORT_LINK = re.compile(r"[ \n]?(https?://t\.co/[A-Za-z0-9]+)")
POST_LINK = re.compile(r"https?://(?:\w+\.)?(?:twitter|x)\.com/(?:i/web|(\w+))/status/(\d+)", re.ASCII)
_MEDIA_LINKS = ("pic.twitter.com/", "pic.x.com/")
EPOCH_MS = 1288834974657
# Earlier ids hold no time: github.com/oduwsdl/tweetedat, script/TimestampEstimator.py.
_FIRST_SNOWFLAKE = 29700859247


def posts(value: object) -> tuple[Post, ...]:
    """The posts of one JSON value: a page of the API, one flattened post, or a bare one.

    Errors beside the data are ignored: they are about what a page includes. Raises BadData when the value has another
    shape, or when an id or a time in it cannot be one.
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
    includes = _Includes(as_object(page.get("includes")))
    return tuple(_post(as_object(item), includes) for item in data)


class _Includes:
    """What a page includes, by id."""

    def __init__(self, includes: Json) -> None:
        def by(key: str, name: str) -> dict[str, Json]:
            return {str(item.get(key)): item for item in objects(includes.get(name))}

        self.users = by("id", "users")
        self.posts = by("id", "tweets") | by("id", "posts")
        self.media = by("media_key", "media")
        self.polls = by("id", "polls")


def _post(post: Json, includes: _Includes) -> Post:
    if not isinstance(post.get("text"), str):
        raise BadData("neither a post nor a page of posts")
    references = {
        str(reference.get("type")): reference
        for reference in objects(post.get("referenced_posts") or post.get("referenced_tweets"))
    }
    post_id = _first_id(post)
    author, author_name = _author(post, includes)
    kind: PostKind
    original, text = None, ""
    if reference := references.get("retweeted"):
        kind, original = "repost", _original(reference, post, includes)
    elif reference := references.get("quoted"):
        kind, original = "quote", _original(reference, post, includes)
        text = _text(post, {original.id, _id(reference.get("id"))}) or _attached(post, includes)
    else:
        kind = "reply" if "replied_to" in references or post.get("in_reply_to_user_id") else "post"
        text = _words(post, includes)
    created_at = _created_at(post, post_id)
    lang = line(post.get("lang"))
    return Post(post_id, author, author_name, created_at, kind, text, url_of(author, post_id), lang, original)


def _original(reference: Json, post: Json, includes: _Includes) -> Original:
    """What `post` shows. Where the source does not include it, what `post` itself tells of it."""
    reference_id = _id(reference.get("id"))
    original = reference if "text" in reference else includes.posts.get(reference_id, {})
    author, author_name = _author(original, includes)
    text = _words(original, includes) if original else ""
    if reference.get("type") == "retweeted":
        shown = _text(post, {reference_id})
        told = _REPOST.match(shown)
        author, text = author or (told[1] if told else ""), text or (told[2] if told else shown)
    original_id = _first_id(original or reference)
    author = author or _linked_author(post, reference_id)
    return Original(original_id, author, author_name, text, url_of(author, original_id))


def _words(post: Json, includes: _Includes) -> str:
    return _text(post) or _attached(post, includes) or "[media]"


def _text(post: Json, shown: AbstractSet[str] = frozenset()) -> str:
    """The words of `post`, links expanded, without those that lead to its own media or to the posts `shown` beside it.

    Links are found by their text: the offsets of entities are wrong beside HTML entities and emoji.
    """
    hidden = shown | set(_ids(post))
    targets = {}
    for url in _urls(post):
        link = POST_LINK.match(str(url.get("expanded_url")))
        is_media = str(url.get("display_url")).startswith(_MEDIA_LINKS)
        target = str(url.get("unwound_url") or url.get("expanded_url") or url.get("url"))
        targets[str(url.get("url"))] = "" if is_media or (link and link[2] in hidden) else target

    def expand(link: re.Match[str]) -> str:
        target = targets.get(link[1], link[1])
        return target and link[0].replace(link[1], target)

    text = _note(post).get("text") or post.get("text")
    return printable(_SHORT_LINK.sub(expand, unescaped(text))).strip() if isinstance(text, str) else ""


def _attached(post: Json, includes: _Includes) -> str:
    """What stands for the words of a post that has none: "[photo]", "[poll: tea / coffee]"."""
    attachments = as_object(post.get("attachments"))
    poll_ids, media_keys = _list(attachments.get("poll_ids")), _list(attachments.get("media_keys"))
    polls = objects([attachments.get("poll"), *(includes.polls.get(str(poll_id)) for poll_id in poll_ids)])
    media = [*objects(attachments.get("media")), *objects([includes.media.get(str(key)) for key in media_keys])]
    options = [[line(option.get("label")) for option in objects(poll.get("options"))] for poll in polls]
    labels = [f"poll: {' / '.join(labels)}" for labels in options if labels]
    labels += [(line(item.get("type")) or "media").replace("_", " ") for item in media]
    labels = labels or ["media"] * bool(media_keys) or ["poll"] * bool(poll_ids)
    return " ".join(f"[{label}]" for label in dict.fromkeys(labels))


def _author(post: Json, includes: _Includes) -> tuple[str, str]:
    """Handle and name, each empty where the source does not tell it."""
    user = as_object(post.get("author")) or includes.users.get(str(post.get("author_id")), {})
    return _handle(user.get("username") or post.get("username")), line(user.get("name"))


def _linked_author(post: Json, shown_id: str) -> str:
    links = [POST_LINK.match(str(url.get("expanded_url"))) for url in _urls(post)]
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


def _urls(post: Json) -> list[Json]:
    return [url for part in (post, _note(post)) for url in objects(as_object(part.get("entities")).get("urls"))]


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
