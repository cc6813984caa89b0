"""What is asked of the X API, in its two vocabularies (see _v2): one is sent, until X does not take it any more.

What is asked for must sell nothing but posts: expansions such as author_id would sell users, attachments.media_keys the
media, whose types their keys tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from xtrack.models import Bought, Resource
from xtrack.sources._v2 import Json, as_object, objects
from xtrack.sources._x_answers import Rejected

# What one post of a timeline can bring: itself, one that it quotes and one that it replies to. Nothing of what is
# included is expanded further.
WORST: Mapping[Resource, int] = {"post": 3}
USER_FIELDS = "created_at,protected,public_metrics"
_OF_WORDS = {"post.fields", "tweet.fields", "expansions"}


@dataclass(frozen=True)
class Words:
    """A vocabulary: its name, and the parameters for a timeline."""

    name: str
    parameters: Mapping[str, str]

    @property
    def other(self) -> "Words":
        return LEGACY if self is NEW else NEW

    def are_refused(self, error: Rejected) -> bool:
        """Whether X rejects a request for its words."""
        if error.parameters:
            return bool(error.parameters & _OF_WORDS)
        return any(word in str(error) for word in self._all - self.other._all)

    @property
    def _all(self) -> set[str]:
        return {word for name, value in self.parameters.items() for word in (name, *value.split(","))}


NEW = Words(
    "new",
    {
        "post.fields": "attachments,created_at,entities,lang,note_post",
        "expansions": "referenced_posts,attachments.poll_ids",
    },
)
LEGACY = Words(
    "legacy",
    {
        "tweet.fields": "attachments,author_id,created_at,entities,in_reply_to_user_id,lang,note_tweet,"
        "referenced_tweets",
        "expansions": "referenced_tweets.id,attachments.poll_ids",
    },
)


def named(name: str) -> Words:
    """The vocabulary of a name; the new one for any other."""
    return LEGACY if name == LEGACY.name else NEW


def are_not_understood(page: Json) -> bool:
    """Whether X ignored what it was asked for: posts come without their times then."""
    data = objects(page.get("data"))
    return bool(data) and not any("created_at" in post for post in data)


def bought(body: Json, data: Resource) -> tuple[Bought, ...]:
    """What an answer holds that is sold, each once; `data` is what it was asked for."""
    includes = as_object(body.get("includes"))
    lists: list[tuple[Resource, object]] = [
        (data, body.get("data")),
        ("post", includes.get("tweets")),
        ("post", includes.get("posts")),
        ("user", includes.get("users")),
        ("media", includes.get("media")),
    ]
    found = [
        Bought(resource, str(item.get("media_key" if resource == "media" else "id")))
        for resource, items in lists
        for item in objects(items)
    ]
    return tuple(dict.fromkeys(found))
