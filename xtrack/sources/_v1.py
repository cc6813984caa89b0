"""Posts as an X archive keeps them, in their final form: API 1.1's objects, and long posts' texts apart from them.

A repost is only a text there, "RT @name: …", often cut off.
"""

import re
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import Any

from xtrack.errors import BadData
from xtrack.models import Original, Post
from xtrack.sources import _v2
from xtrack.sources._characters import unescaped

Json = dict[str, Any]

_NOTES_CHARS = 64 << 20
_REPOST = re.compile(r"RT @([A-Za-z0-9_]{1,15}):\s?(.*)", re.DOTALL)
_LAST_LINK = re.compile(r"https?://t\.co/[A-Za-z0-9]+\Z")
_ADDRESSEES = re.compile(r"\A(?:@\w+\s+)+", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# A long post's text is cut off near 280 characters, and was made within seconds of its note.
_LONG_CHARS = 250
_SECONDS = range(-5, 6)


class Notes:
    """The whole texts of posts that are cut off where the posts are, by the second in which they were made.

    No id connects the two: a note's own is not its post's.
    """

    def __init__(self) -> None:
        self._by_second: defaultdict[int, list[tuple[str, Json]]] = defaultdict(list)
        self._chars = 0

    def add(self, note: Json) -> None:
        """One item of note-tweet.js; what is none is left out."""
        core = _v2.as_object(note.get("core"))
        text = core.get("text")
        try:
            second = int(datetime.fromisoformat(str(note.get("createdAt"))).timestamp())
        except (ValueError, OverflowError):
            return
        if isinstance(text, str):
            self._chars += len(text)
            if self._chars > _NOTES_CHARS:
                raise BadData(f"holds more than {_NOTES_CHARS >> 20} million characters")
            links = [
                {
                    "url": url.get("shortUrl"),
                    "expanded_url": url.get("expandedUrl"),
                    "display_url": url.get("displayUrl"),
                }
                for url in _v2.objects(core.get("urls"))
            ]
            self._by_second[second].append((_words(text), {"text": text, "entities": {"urls": links}}))

    def find(self, text: str, made: datetime) -> Json | None:
        """The note of a post with this text, if it is cut off and has one."""
        if not self._by_second:
            return None
        shown = _LAST_LINK.sub("", text).rstrip()
        if len(shown) < _LONG_CHARS and not shown.endswith("…"):
            return None
        beginning, second = _words(shown.removesuffix("…")), int(made.timestamp())
        near = [note for moment in _SECONDS for note in self._by_second.get(second + moment, ())]
        return next((note for words, note in near if beginning and words.startswith(beginning)), None)


def post(item: Json, owner: Json, notes: Notes) -> Post:
    """One item of tweets.js as a post. Raises BadData when it is none."""
    tweet = _v2.as_object(item.get("tweet"))
    text = tweet.get("full_text", tweet.get("text"))
    told = _REPOST.match(text) if isinstance(text, str) else None
    entities = _v2.as_object(tweet.get("entities"))
    media = _v2.objects(_v2.as_object(tweet.get("extended_entities")).get("media") or entities.get("media"))
    links = _v2.objects(entities.get("urls"))
    flat = {
        "id": tweet.get("id_str", tweet.get("id")),
        "text": told[2] if told else text,
        "created_at": _iso(tweet.get("created_at")),
        "lang": tweet.get("lang"),
        "author": owner,
        "entities": {"urls": [*links, *media]},
        "attachments": {"media": media},
        "edit_history_tweet_ids": _edits(_v2.as_object(tweet.get("edit_info"))),
    }
    if told:
        shown = _only(flat)
        return replace(shown, kind="repost", text="", original=_original(told[1], shown, media, entities))
    flat["in_reply_to_user_id"] = tweet.get("in_reply_to_user_id_str")
    flat["referenced_tweets"] = [*_replied_to(tweet), *_quoted(str(text), links)]
    cut = _only(flat)
    note = notes.find(str(text), cut.created_at)
    return _only(flat | {"note_tweet": note}) if note else cut


def _only(flat: Json) -> Post:
    (post,) = _v2.posts(flat)
    return post


def _original(handle: str, repost: Post, media: list[Json], entities: Json) -> Original:
    """What a repost shows, as far as its text tells; its media know the original's id, a link to it leads there."""
    mentions = _v2.objects(entities.get("user_mentions"))
    name = next((_v2.line(user.get("name")) for user in mentions if user.get("screen_name") == handle), "")
    original_id = next((str(item["source_status_id_str"]) for item in media if "source_status_id_str" in item), "")
    if _v2.is_id(original_id):
        return Original(original_id, handle, name, repost.text, _v2.url_of(handle, original_id))
    return Original("", handle, name, repost.text, repost.url)


def _replied_to(tweet: Json) -> list[Json]:
    post_id = tweet.get("in_reply_to_status_id_str")
    return [{"type": "replied_to", "id": post_id}] if post_id else []


def _quoted(text: str, links: list[Json]) -> list[Json]:
    """The post that a text shows: it ends with a link to it."""
    for link in links:
        target = _v2.POST_LINK.match(str(link.get("expanded_url")))
        if target and _v2.is_id(target[2]) and text.rstrip().endswith(str(link.get("url"))):
            return [{"type": "quoted", "id": target[2]}]
    return []


def _edits(info: Json) -> list[Any]:
    """The ids of all versions."""
    edit = _v2.as_object(info.get("edit"))
    versions = _v2.as_object(info.get("initial") or edit.get("editControlInitial")).get("editTweetIds")
    initial = [edit["initialTweetId"]] if "initialTweetId" in edit else []
    return [*initial, *(versions if isinstance(versions, list) else [])]


def _iso(stamp: object) -> object:
    """A time as the API 1.1 has it, "Wed Oct 10 20:19:24 +0000 2018", in ISO 8601; any other value as it is."""
    parts = stamp.split() if isinstance(stamp, str) else []
    if len(parts) != 6 or parts[1] not in _MONTHS:
        return stamp
    _, month, day, time, zone, year = parts
    return f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{time}{zone}"


def _words(text: str) -> str:
    """What a post and its note have in common: the words, without those whom a reply addresses."""
    return " ".join(_ADDRESSEES.sub("", unescaped(text)).split())
