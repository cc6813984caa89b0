"""The two vocabularies of the X API v2: what each accepts in a request, and how an answer is put into it.

Inside, all is in the words of version 2.167 of the specification ("new"); "legacy" are those up to 2.159. The lists of
the new words are the published ones; the legacy ones are what the API named in its own 400 answers.
"""

from collections.abc import Mapping
from typing import Any, Literal

# What the server speaks. asked: it takes both, and answers in the one that was asked in, as X did in August 2026.
# mixed: it takes both, and answers in some words of each.
Vocabulary = Literal["new", "legacy", "mixed", "asked"]
VOCABULARIES: tuple[Vocabulary, ...] = ("new", "legacy", "mixed", "asked")


def _list(words: str) -> list[str]:
    return words.split()


TO_LEGACY = {
    "posts": "tweets",
    "referenced_posts": "referenced_tweets",
    "note_post": "note_tweet",
    "edit_history_post_ids": "edit_history_tweet_ids",
    "repost_count": "retweet_count",
    "post_count": "tweet_count",
    "pinned_post_id": "pinned_tweet_id",
    "most_recent_post_id": "most_recent_tweet_id",
}
_TO_NEW = {
    **{legacy: new for new, legacy in TO_LEGACY.items()},
    "referenced_tweets.id": "referenced_posts",
    "affiliation.user_id": "affiliation",
}
_ODD = {"note_post", "edit_history_post_ids", "repost_count"}
_MIXED_DATA = {word: TO_LEGACY[word] for word in _ODD}
_MIXED_INCLUDES = {word: legacy for word, legacy in TO_LEGACY.items() if word not in _ODD}

_POST_FIELDS = _list(
    "article attachments card_uri community_id context_annotations conversation_id created_at display_text_range"
    " edit_controls entities geo id lang matched_media_notes media_metadata non_public_metrics note_request_suggestions"
    " organic_metrics paid_partnership possibly_sensitive promoted_metrics public_metrics reply_settings scopes source"
    " suggested_source_links suggested_source_links_with_counts text withheld"
)
_USER_FIELDS = _list(
    "confirmed_email connection_status created_at description entities id is_identity_verified location name parody"
    " profile_banner_url profile_image_url protected public_metrics receives_your_dm subscribes_to_you subscription"
    " subscription_type url username verified verified_followers_count verified_type withheld"
)
_EXPANSIONS = _list(
    "article.cover_media article.media_entities attachments.media_keys attachments.media_source_tweet"
    " attachments.poll_ids author_id entities.mentions.username geo.place_id in_reply_to_user_id"
)

# Parameter by its new name -> what it takes, in each vocabulary.
_NEW = {
    "post.fields": [*_POST_FIELDS, "article_title", "note_post"],
    "user.fields": _USER_FIELDS,
    "expansions": [*_EXPANSIONS, "edit_history_post_ids", "referenced_posts", "username"],
    "user expansions": ["affiliation", "most_recent_post_id", "pinned_post_id"],
}
_LEGACY = {
    "post.fields": [
        *_POST_FIELDS,
        *("author_id", "in_reply_to_user_id", "referenced_tweets", "note_tweet", "edit_history_tweet_ids"),
    ],
    "user.fields": [*_USER_FIELDS, "affiliation", "most_recent_tweet_id", "pinned_tweet_id"],
    "expansions": [
        *(*_EXPANSIONS, "edit_history_tweet_ids", "referenced_tweets", "referenced_tweets.id"),
        *("referenced_tweets.id.attachments.media_keys", "referenced_tweets.id.author_id"),
    ],
    "user expansions": ["affiliation.user_id", "most_recent_tweet_id", "pinned_tweet_id"],
}
_SAME = {
    "media.fields": _list(
        "alt_text duration_ms height media_key non_public_metrics organic_metrics preview_image_url promoted_metrics"
        " public_metrics type url variants width"
    ),
    "poll.fields": _list("duration_minutes end_datetime id options voting_status"),
    "place.fields": _list("contained_within country country_code full_name geo id name place_type"),
    "usage.fields": _list(
        "cap_reset_day daily_client_app_usage daily_project_usage project_cap project_id project_usage"
    ),
}


def taken(name: str, vocabulary: Vocabulary) -> list[str]:
    """What a list parameter takes; `name` is one of new words, "user expansions" those of the paths of users."""
    if name in _SAME:
        return _SAME[name]
    if vocabulary in ("new", "legacy"):
        return sorted((_NEW if vocabulary == "new" else _LEGACY)[name])
    return sorted({*_NEW[name], *_LEGACY[name]})


def known_elsewhere(name: str, value: str) -> bool:
    """Whether a value is one of the other vocabulary's."""
    return name in _NEW and value in (*_NEW[name], *_LEGACY[name])


def parameter_names(name: str, vocabulary: Vocabulary) -> list[str]:
    """How a parameter may be called in a request."""
    if name != "post.fields":
        return [name]
    return {"new": ["post.fields"], "legacy": ["tweet.fields"]}.get(vocabulary, ["post.fields", "tweet.fields"])


def in_new_words(value: str) -> str:
    """A field or an expansion that was asked for."""
    return _TO_NEW.get(value, value)


def answered(body: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """A whole answer, put into a vocabulary ("asked" is none)."""
    parts: dict[Vocabulary, tuple[Mapping[str, str], Mapping[str, str]]] = {
        "new": ({}, {}),
        "legacy": (TO_LEGACY, TO_LEGACY),
        "mixed": (_MIXED_DATA, _MIXED_INCLUDES),
    }
    data, includes = parts[vocabulary]
    words = {"data": data, "includes": includes}
    return {key: _renamed(value, words[key]) if key in words else value for key, value in body.items()}


def _renamed(value: Any, words: Mapping[str, str]) -> Any:
    if not words:
        return value
    if isinstance(value, dict):
        return {words.get(key, key): _renamed(item, words) for key, item in value.items()}
    return [_renamed(item, words) for item in value] if isinstance(value, list) else value
