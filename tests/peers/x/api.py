"""What the X API v2 answers: parameters checked, fields and expansions as asked for, its errors word for word.

Sources: the published specification, version 2.167, for paths, parameters, fields and the shapes of problems; answers
that people published for the words of errors. What neither tells is decided here, each time for the harder case: an
included post has the fields that were asked for but nothing of it is expanded further, and `exclude=replies` cuts to
the newest 800 posts before it leaves out replies.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.peers.x.parameters import ID, NAME, TIME, Parameter, Refused, checked, error, time_of
from tests.peers.x.text import Json
from tests.peers.x.words import Vocabulary, answered, in_new_words
from tests.peers.x.world import Account, Post, World, whole_user

PROBLEMS = "https://api.x.com/2/problems/"
LEGACY_PROBLEMS = "https://api.twitter.com/2/problems/"
_REACH, _REACH_WITHOUT_REPLIES = 3200, 800
# Of the characters that a token may have (RFC 6750, section 2.1); tests.leaks looks for it wherever it should not be.
TOKEN = "AAAA%2BferryTokenOfTheTests0+/x~2FwhichNobodyElseMayKnow9%3D-._=="
_NOT_FOR_APPS = {"non_public_metrics", "organic_metrics", "promoted_metrics"}


@dataclass
class Options:
    """How the server is. `silent`: words of the other vocabulary are ignored instead of refused. `ragged`: what is left
    out (deleted posts, `exclude`) leaves holes in pages. `protected_is_error`: whether a lookup says of a protected
    account that it may not be seen, or shows its profile.
    """

    token: str = TOKEN
    vocabulary: Vocabulary = "new"
    silent: bool = False
    ragged: bool = False
    protected_is_error: bool = False
    gzip: bool = False
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A status, the JSON of the body (None: an empty one), and what it sold: pairs of kind and id, as often as sent."""

    status: int
    body: Any
    sold: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """A path of the API, what it is called where requests are counted, and its documented limit in 15 minutes."""

    path: str
    limit: int
    parameters: tuple[Parameter, ...]
    answers: Callable[["Call"], Json]


@dataclass(frozen=True)
class Call:
    """A request whose parameters are good, in new words."""

    world: World
    options: Options
    vocabulary: Vocabulary
    given: Mapping[str, list[str]]
    bought: Callable[[], Mapping[str, int]]
    sold: list[tuple[str, str]] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)

    def one(self, name: str) -> str | None:
        return self.given[name][0] if self.given.get(name) else None

    def asked(self, name: str) -> list[str]:
        return [in_new_words(value) for value in self.given.get(name, [])]

    @property
    def is_legacy(self) -> bool:
        return self.vocabulary == "legacy"


def endpoint_of(path: str) -> tuple[Endpoint, dict[str, str]] | None:
    """The endpoint of a path, with what the path itself tells."""
    for endpoint in ENDPOINTS:
        match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", endpoint.path), path)
        if match:
            return endpoint, {name: unquote(value) for name, value in match.groupdict().items()}
    return None


def answer(
    world: World,
    options: Options,
    endpoint: Endpoint,
    told: Mapping[str, str],
    query: str,
    bought: Callable[[], Mapping[str, int]],
) -> Answer:
    """The answer to a good GET. `bought` tells the posts sold on each UTC day, for the usage."""
    vocabulary = options.vocabulary
    if vocabulary == "asked":
        vocabulary = "new" if "post.fields" in dict(parse_qsl(query)) else "legacy"
    try:
        given = checked(endpoint.parameters, told, query, options.vocabulary, options.silent)
        call = Call(world, options, vocabulary, given, bought)
        body = endpoint.answers(call)
    except Refused as refused:
        return Answer(400, invalid(refused.args, vocabulary))
    if call.errors:
        body["errors"] = call.errors
    return Answer(200, answered(body, vocabulary), tuple(call.sold))


def problem(status: int, title: str, detail: str = "", kind: str = "about:blank", **more: Any) -> Answer:
    """A whole answer that is one problem."""
    return Answer(status, {"title": title, "detail": detail or title, "type": kind, "status": status, **more})


def invalid(errors: Sequence[Json], vocabulary: Vocabulary) -> Json:
    return {
        "errors": list(errors),
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": _problems(vocabulary) + "invalid-request",
    }


def _problems(vocabulary: Vocabulary) -> str:
    return LEGACY_PROBLEMS if vocabulary in ("legacy", "mixed") else PROBLEMS


# What is not there


def _missing(call: Call, thing: str, parameter: str, value: str, why: str) -> Json:
    """An error beside the data. `thing` is user or post, `why` gone, suspended or protected."""
    called = parameter
    if parameter == "referenced_posts" and call.is_legacy:
        called = "referenced_tweets.id"
    noun = "Tweet" if thing == "post" else "user"
    kinds = {
        "gone": ("Not Found Error", f"Could not find {noun.lower()} with {called}: [{value}].", "resource-not-found"),
        "suspended": ("Forbidden", f"User has been suspended: [{value}].", "resource-not-found"),
        "protected": (
            "Authorization Error",
            f"Sorry, you are not authorized to see the {noun} with {called}: [{value}].",
            "not-authorized-for-resource",
        ),
    }
    title, detail, kind = kinds[why]
    return {
        "value": value,
        "detail": detail,
        "title": title,
        "resource_type": "tweet" if thing == "post" and call.is_legacy else thing,
        "parameter": called,
        "resource_id": value,
        "type": _problems(call.vocabulary) + kind,
    }


def _miss_once(call: Call, error: Json) -> None:
    if error not in call.errors:
        call.errors.append(error)


def _state(account: Account | None) -> str:
    return account.state if account else "gone"


def _found_post(call: Call, parameter: str, post_id: str) -> Post | None:
    """A post that may be shown, else the error that says why not."""
    post = call.world.posts.get(int(post_id))
    if post and call.world.is_there(post) and post.author.state == "ok":
        return post
    why = "protected" if post and call.world.is_there(post) else "gone"
    _miss_once(call, _missing(call, "post", parameter, post_id, why))
    return None


# Users


def _users_by_names(call: Call) -> Json:
    return _users(call, "usernames", call.world.named)


def _users_by_ids(call: Call) -> Json:
    return _users(call, "ids", call.world.accounts.get)


def _user_by_name(call: Call) -> Json:
    body = _users(call, "username", call.world.named)
    return body | {"data": body["data"][0]} if "data" in body else body


def _users(call: Call, parameter: str, find: Callable[[str], Account | None]) -> Json:
    """The users that were asked for, each once."""
    found: dict[str, Account] = {}
    for value in dict.fromkeys(call.given[parameter]):
        account = find(value)
        state = _state(account)
        if account and (state == "ok" or (state == "protected" and not call.options.protected_is_error)):
            found[account.id] = account
        else:
            call.errors.append(_missing(call, "user", parameter, value, state))
    includes: dict[int, Post] = {}
    if "most_recent_post_id" in call.asked("expansions"):
        newest = (call.world.newest_id(account) for account in found.values() if account.state == "ok")
        includes = {post_id: call.world.posts[post_id] for post_id in newest if post_id}
    extra = [name for name in call.asked("expansions") if name.endswith("_id")]
    body: Json = {"data": [_user(call, account, extra) for account in found.values()]} if found else {}
    return body | ({"includes": {"posts": [_post(call, one, []) for one in includes.values()]}} if includes else {})


def _user(call: Call, account: Account, extra: Sequence[str] = ()) -> Json:
    call.sold.append(("user", account.id))
    return _part(whole_user(call.world, account), ["id", "name", "username", *call.asked("user.fields"), *extra])


def _part(whole: Json, names: Iterable[str]) -> Json:
    return {name: whole[name] for name in dict.fromkeys(names) if name in whole}


# Posts


def _lookup(call: Call) -> Json:
    found = [_found_post(call, "ids", post_id) for post_id in dict.fromkeys(call.given["ids"])]
    posts = [post for post in found if post]
    return _page(call, posts) | {"meta": {"result_count": len(posts)}}


def _timeline(call: Call) -> Json:
    user_id = call.given["id"][0]
    account = call.world.accounts.get(user_id)
    if not account or account.state != "ok":
        call.errors.append(_missing(call, "user", "id", user_id, _state(account)))
        return {}
    posts, older, newer = _slice(call, account)
    meta: Json = {"result_count": len(posts)}
    if posts:
        meta |= {"newest_id": str(posts[0].id), "oldest_id": str(posts[-1].id)}
    if older:
        meta["next_token"] = _token("older", account, older)
    if newer:
        meta["previous_token"] = _token("newer", account, newer)
    return _page(call, posts) | {"meta": meta}


def _slice(call: Call, account: Account) -> tuple[list[Post], int | None, int | None]:
    """One page of a timeline, and the ids from which the next and the previous page go on, if there are any."""
    in_range, kept, ragged = _ranger(call), _keeper(call), call.options.ragged
    posts = [
        post for post in _reach(call, account) if in_range(post) and (ragged or (not post.chain.deleted and kept(post)))
    ]
    size = int(call.one("max_results") or 10)
    turn, edge = _read_token(call, account)
    if turn == "newer":
        page = [post for post in posts if post.id > edge][-size:]
    else:
        page = [post for post in posts if post.id < edge][:size]
    older = page[-1].id if page and posts[-1].id < page[-1].id else None
    newer = page[0].id if page and posts[0].id > page[0].id else None
    return [post for post in page if not post.chain.deleted and kept(post)], older, newer


def _reach(call: Call, account: Account) -> list[Post]:
    """The posts of a timeline that X still gives out, newest first."""
    most = _REACH_WITHOUT_REPLIES if "replies" in call.given.get("exclude", []) else _REACH
    return [post for post in call.world.timeline(account) if call.options.ragged or not post.chain.deleted][:most]


def _keeper(call: Call) -> Callable[[Post], bool]:
    """What `exclude` leaves in. A reply to oneself is a reply too."""
    words = {"replies": "replied_to", "retweets": "retweeted"}
    left_out = {words[word] for word in call.given.get("exclude", [])}
    return lambda post: not left_out & {kind for kind, _ in post.references}


def _ranger(call: Call) -> Callable[[Post], bool]:
    """What lies between the bounds. Ids win over times; times count in whole seconds, the last one excluded."""
    since_id, until_id = int(call.one("since_id") or 0), int(call.one("until_id") or 1 << 64)
    start = None if since_id else call.one("start_time")
    end = None if "until_id" in call.given else call.one("end_time")
    first, last = time_of(start or "0001-01-01T00:00:00Z"), time_of(end or "9999-01-01T00:00:00Z")
    return lambda post: since_id < post.id < until_id and first <= post.at.replace(microsecond=0) < last


def _token(turn: str, account: Account, edge: int) -> str:
    """Where a walk goes on: base32hex, as the specification says of it."""
    return base64.b32hexencode(f"{turn} {account.id} {edge}".encode()).decode().rstrip("=").lower()


def _read_token(call: Call, account: Account) -> tuple[str, int]:
    token = call.one("pagination_token")
    if not token:
        return "older", 1 << 64
    turn, _, edge = _decoded(token).partition(f" {account.id} ")
    if not edge:
        said = f"The `pagination_token` query parameter value [{token}] is not valid"
        raise Refused(error("pagination_token", [token], said))
    return turn, int(edge)


def _decoded(token: str) -> str:
    padding = "=" * (-len(token) % 8)
    try:
        return base64.b32hexdecode(token.upper() + padding).decode()
    except ValueError:
        return ""


def _page(call: Call, posts: Sequence[Post]) -> Json:
    """Posts with what they were asked to be expanded to."""
    expansions = call.asked("expansions")
    body: Json = {"data": [_post(call, post, expansions) for post in posts]} if posts else {}
    referenced = _referenced(call, posts, expansions)
    inner = [*expansions, *(name.removeprefix("referenced_tweets.id.") for name in expansions)]
    media = list(posts) if "attachments.media_keys" in expansions else []
    media += referenced if "referenced_tweets.id.attachments.media_keys" in expansions else []
    polls = [post.poll for post in posts if post.poll and "attachments.poll_ids" in expansions]
    includes = {
        "posts": [_post(call, post, inner) for post in referenced],
        "users": [_user(call, account) for account in _accounts(call, posts, referenced, expansions)],
        "media": _media(call, media),
        "polls": [_part(poll, ["id", "options", *call.asked("poll.fields")]) for poll in polls],
    }
    includes = {name: items for name, items in includes.items() if items}
    return body | ({"includes": includes} if includes else {})


def _post(call: Call, post: Post, expansions: Sequence[str]) -> Json:
    """One post with the fields that were asked for; an expansion asks for the field that it starts from too."""
    call.sold.append(("post", str(post.id)))
    fields = call.asked("post.fields")
    for name in fields:
        if name in _NOT_FOR_APPS:
            call.errors.append(_not_for_apps(call, post, name))
    starts = [in_new_words(name.split(".")[0]) for name in expansions]
    whole = call.world.whole(post) | {"edit_history_post_ids": call.world.history(post)}
    return _part(whole, ["id", "text", "edit_history_post_ids", *fields, *starts])


def _not_for_apps(call: Call, post: Post, name: str) -> Json:
    return {
        "resource_id": str(post.id),
        "parameter": "tweet.fields" if call.is_legacy else "post.fields",
        "resource_type": "tweet" if call.is_legacy else "post",
        "section": "data",
        "title": "Field Authorization Error",
        "value": name,
        "field": name,
        "detail": f"Sorry, you are not authorized to access '{name}' on the Tweet with id : [{post.id}].",
        "type": _problems(call.vocabulary) + "not-authorized-for-field",
    }


def _referenced(call: Call, posts: Sequence[Post], expansions: Sequence[str]) -> list[Post]:
    """The posts that a page includes, each once."""
    found: dict[int, Post] = {}
    if any(name.startswith(("referenced_posts", "referenced_tweets")) for name in expansions):
        for _, post_id in (reference for post in posts for reference in post.references):
            referenced = _found_post(call, "referenced_posts", str(post_id))
            found |= {post_id: referenced} if referenced else {}
    if "edit_history_post_ids" in expansions:
        histories = [history for post in posts if len(history := call.world.history(post)) > 1]
        found |= {int(one): call.world.posts[int(one)] for history in histories for one in history}
    return list(found.values())


def _accounts(
    call: Call, posts: Sequence[Post], referenced: Sequence[Post], expansions: Sequence[str]
) -> list[Account]:
    """The accounts that a page includes, each once."""
    found: dict[str, Account] = {}
    authors = list(posts) if {"author_id", "username"} & set(expansions) else []
    authors += referenced if "referenced_tweets.id.author_id" in expansions else []
    found |= {post.author.id: post.author for post in authors}
    wanted: list[tuple[str, str, Account | None]] = []
    for post in posts:
        whole = call.world.whole(post)
        if "in_reply_to_user_id" in expansions and "in_reply_to_user_id" in whole:
            user_id = whole["in_reply_to_user_id"]
            wanted.append(("in_reply_to_user_id", user_id, call.world.accounts.get(user_id)))
        if "entities.mentions.username" in expansions:
            names = [mention["username"] for mention in whole.get("entities", {}).get("mentions", [])]
            wanted += [("entities.mentions.username", name, call.world.named(name)) for name in names]
    for parameter, value, account in wanted:
        if account and account.state == "ok":
            found[account.id] = account
        else:
            _miss_once(call, _missing(call, "user", parameter, value, _state(account)))
    return list(found.values())


def _media(call: Call, posts: Sequence[Post]) -> list[Json]:
    media = {one["media_key"]: one for post in posts for one in post.media}
    call.sold.extend(("media", key) for key in media)
    return [_part(one, ["media_key", "type", *call.asked("media.fields")]) for one in media.values()]


# Usage


def _usage(call: Call) -> Json:
    """Posts sold, of the last days and of this month; the breakdown by day only when it is asked for."""
    today = call.world.clock.now().date()
    days = [(today - timedelta(days=ago)).isoformat() for ago in range(int(call.one("days") or 7))]
    bought = call.bought()
    daily = [{"date": f"{day}T00:00:00.000Z", "usage": str(bought[day])} for day in days if day in bought]
    month = sum(count for day, count in bought.items() if day.startswith(today.isoformat()[:7]))
    project = "1700000000000000001"
    whole: Json = {
        "project_id": project,
        "project_cap": "3000000",
        "project_usage": str(month),
        "cap_reset_day": 1,
        "daily_project_usage": {"project_id": project, "usage": daily},
        "daily_client_app_usage": [{"client_app_id": "31", "usage": daily, "usage_result_count": len(daily)}],
    }
    default = ["cap_reset_day", "project_cap", "project_id", "project_usage"]
    return {"data": _part(whole, [*default, *call.asked("usage.fields")])}


_POST_FIELDS = Parameter("post.fields", takes="post.fields")
_USER_FIELDS = Parameter("user.fields", takes="user.fields")
_OF_POSTS = (
    _POST_FIELDS,
    Parameter("expansions", takes="expansions"),
    _USER_FIELDS,
    *(Parameter(name, takes=name) for name in ("media.fields", "poll.fields", "place.fields")),
)
_OF_USERS = (_USER_FIELDS, Parameter("expansions", takes="user expansions"), _POST_FIELDS)
_IDS = Parameter("ids", ID, most=100, required=True)

# Limits: docs.x.com, x-api/fundamentals/rate-limits, per app.
ENDPOINTS = (
    Endpoint("/2/tweets", 3500, (_IDS, *_OF_POSTS), _lookup),
    Endpoint(
        "/2/usage/tweets",
        50,
        (Parameter("days", numbers=(1, 90)), Parameter("usage.fields", takes="usage.fields")),
        _usage,
    ),
    Endpoint("/2/users", 300, (_IDS, *_OF_USERS), _users_by_ids),
    Endpoint("/2/users/by", 300, (Parameter("usernames", NAME, most=100, required=True), *_OF_USERS), _users_by_names),
    Endpoint("/2/users/by/username/{username}", 300, (Parameter("username", NAME), *_OF_USERS), _user_by_name),
    Endpoint(
        "/2/users/{id}/tweets",
        10000,
        (
            Parameter("id", ID),
            Parameter("max_results", numbers=(5, 100)),
            Parameter("pagination_token"),
            Parameter("start_time", TIME),
            Parameter("end_time", TIME),
            Parameter("since_id", ID),
            Parameter("until_id", ID),
            Parameter("exclude", values=("replies", "retweets")),
            *_OF_POSTS,
        ),
        _timeline,
    ),
)
