"""X itself, by its API v2: accounts by their names, and the timeline of each, page by page, each page bought once.

An account's number outlives its names, so that feeds are of numbers. What is read is at most `look_back` old.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta

from xtrack.deadline import clock
from xtrack.errors import BadData, Temporary
from xtrack.models import Account, AccountState, Page, PostKind
from xtrack.sources import Access, Found, Timeline, _v2
from xtrack.sources._v2 import Json, as_object, line, objects
from xtrack.sources._x_answers import Rejected, account_state
from xtrack.sources._x_client import Client, client_of
from xtrack.sources._x_cursor import Gap, Place, parsed
from xtrack.sources._x_words import USER_FIELDS, WORST, Words, are_not_understood, bought, named

_EXCLUDED: tuple[tuple[PostKind, str], ...] = (("reply", "replies"), ("repost", "reposts"))
_BATCH = 100
_PAGE = (5, 100)
# X gives out 3200 posts of a timeline, five a page or more: docs.x.com, x-api/posts/timelines.
_MOST_PAGES = 640
# What the vocabulary that X takes is remembered as.
_WORDS = "x.words"


def claim(argument: str) -> str | None:
    """The letter itself."""
    return argument if argument == "x" else None


def describe(spec: str) -> str:  # noqa: ARG001 - there is one X
    """What it is."""
    return "X, by its API"


def spec_of(account_id: str, excluded: Sequence[PostKind]) -> str:
    """The timeline of an account without its replies, or its reposts: "2244994945?exclude=replies,reposts"."""
    words = [word for kind, word in _EXCLUDED if kind in excluded]
    return account_id + (f"?exclude={','.join(words)}" if words else "")


def start(now: datetime) -> str:
    """The cursor of a timeline that is watched from now on: what is posted later and cannot be read is a gap."""
    return Place(at=now).cursor


def open_timeline(spec: str, access: Access) -> Timeline:
    """The timeline that `spec_of` named."""
    return XTimeline(spec, access, client_of(access))


# Accounts


def look_up(names: Sequence[str], access: Access) -> Iterator[Found]:
    """Accounts by their names, in any case. Raises as Timeline.read does."""
    return _look_up("/2/users/by", "usernames", names, access)


def look_again(ids: Sequence[str], access: Access) -> Iterator[Found]:
    """Accounts by their ids. Raises as Timeline.read does."""
    return _look_up("/2/users", "ids", ids, access)


def _look_up(path: str, parameter: str, keys: Sequence[str], access: Access) -> Iterator[Found]:
    """Accounts by their names or ids, which are given to a `parameter`, once each."""
    asked = list({key.lower(): key for key in keys}.values())
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        access.show(f"looking up accounts: {start + len(batch)} of {len(asked)}")
        access.reserve({"user": 1}, len(batch), len(batch))
        parameters = {parameter: ",".join(batch), "user.fields": USER_FIELDS}
        answer = _call(client_of(access), access, path, parameters)
        paid = bought(answer, "user")
        try:
            accounts = tuple(_account(user, access.clock()) for user in objects(answer.get("data")))
        except BadData as error:
            yield Found((), {}, paid)
            raise Temporary(str(error)) from error
        yield Found(accounts, _missing(batch, accounts, answer), paid)


def _account(user: Json, now: datetime) -> Account:
    """An account as it is looked up `now`. Raises BadData for what is none."""
    account_id, username = str(user.get("id")), line(user.get("username"))
    if not _v2.is_id(account_id) or not username:
        raise BadData("X answers with an account that has no name or number")
    state: AccountState = "protected" if user.get("protected") is True else "ok"
    return Account(account_id, username, line(user.get("name")), state, now, _posts_a_day(user, now))


def _posts_a_day(user: Json, now: datetime) -> float:
    """How much it posted on average since it is there, 0 where that is not told."""
    counts = as_object(user.get("public_metrics"))
    count = counts.get("post_count", counts.get("tweet_count"))
    try:
        age = now - datetime.fromisoformat(str(user.get("created_at")))
        return float(count or 0) / max(1, age / timedelta(days=1))
    except (TypeError, ValueError):
        return 0


def _missing(asked: Sequence[str], accounts: Sequence[Account], answer: Json) -> Mapping[str, AccountState]:
    """The state of those that cannot be read, as X tells it."""
    told = {str(error.get("value")).lower(): account_state(error) for error in objects(answer.get("errors"))}
    for account in accounts:
        if account.state != "ok":
            told |= {account.id: account.state, account.username.lower(): account.state}
    return {key: state for key in asked if (state := told.get(key.lower()))}


# Timelines


class XTimeline:
    """The timeline of an account. Its cursor is a Place of _x_cursor as text."""

    def __init__(self, spec: str, access: Access, client: Client) -> None:
        self._id, _, excluded = spec.partition("?exclude=")
        # X went on saying retweets here when its other words were renamed.
        self._excluding = {"exclude": excluded.replace("reposts", "retweets")} if excluded else {}
        self._access, self._client = access, client
        self._author = _v2.Author(self._id)
        self._begun, self._pages, self._posts = 0.0, 0, 0

    def read(self, cursor: str | None, now: datetime) -> Iterator[Page]:
        """What is newer than `cursor` and than the look-back; a walk that was interrupted is finished first.

        An account that cannot be read is a page with its state, and the end. Raises what Client.get raises, Paused,
        and Temporary for posts that cannot be read and for pages that lead nowhere.
        """
        account = self._access.account(self._id)
        self._author = _v2.Author(self._id, account.username, account.name) if account else _v2.Author(self._id)
        self._begun, self._pages, self._posts = clock(), 0, 0
        bound = now - self._access.x.look_back
        place, notices = parsed(cursor), list[str]()
        for _ in range(2 if place.walk else 1):
            place, gap = place.within(bound)
            notices += [self._told(gap)] if gap else []
            if place.walk and place.since_id(bound) >= place.walk.until - 1:
                place = place.finished(now)
                continue
            finished = yield from self._walk(place, cursor, now, notices)
            if finished is None:
                return
            place, cursor, notices = finished, finished.cursor, []

    def _walk(
        self, place: Place, cursor: str | None, now: datetime, notices: Sequence[str]
    ) -> Generator[Page, None, Place | None]:
        """One walk from a place on, whose cursor is stored as `cursor`, to its end; gives the place there, None for an
        account that cannot be read. The first page that moves the cursor has the notices.
        """
        parameters = {"since_id": str(place.since_id(now - self._access.x.look_back)), **self._excluding}
        parameters |= {"until_id": str(place.walk.until)} if place.walk else {}
        used = set[str]()
        for _ in range(_MOST_PAGES):
            answer = yield from self._bought(parameters, cursor)
            if state := _state(answer):
                yield Page((), cursor, bought(answer, "post"), state)
                return None
            page, ids = yield from self._understood(answer, cursor, now)
            token = line(as_object(answer.get("meta")).get("next_token"))
            goes_on = token not in used and (not ids or not place.walk or min(ids) < place.walk.until)
            place = place.behind(ids, now)
            place = place if token else place.finished(now)
            cursor = place.cursor
            yield replace(page, cursor=cursor, notices=tuple(notices))
            notices = ()
            if not token:
                return place
            if not goes_on:
                break
            used.add(token)
            parameters["pagination_token"] = token
        raise Temporary(f"X gives pages of {self._name} that lead nowhere")

    def _bought(self, parameters: Mapping[str, str], cursor: str | None) -> Generator[Page, None, Json]:
        """One answer, asked for once more in other words where X does not take or understand those it took before.

        An answer without what was asked for is bought all the same: it comes as a page without posts.
        """
        words = named(self._access.recall(_WORDS))
        try:
            answer = self._ask(words, parameters)
        except Rejected as error:
            if not words.are_refused(error):
                raise
        else:
            if not are_not_understood(answer):
                return answer
            yield Page((), cursor, bought(answer, "post"))
        answer = self._ask(words.other, parameters)
        if are_not_understood(answer):
            yield Page((), cursor, bought(answer, "post"))
            raise BadData("X answers with posts that have no times, in whichever words it is asked")
        self._access.remember(_WORDS, words.other.name)
        return answer

    def _ask(self, words: Words, parameters: Mapping[str, str]) -> Json:
        self._pages += 1
        self._show()
        path, size = f"/2/users/{self._id}/tweets", self._access.reserve(WORST, *_PAGE)
        return _call(self._client, self._access, path, {**parameters, **words.parameters, "max_results": str(size)})

    def _understood(
        self, answer: Json, cursor: str | None, now: datetime
    ) -> Generator[Page, None, tuple[Page, list[int]]]:
        """A page but for its cursor, and the ids that its posts have now, which are not those of before an edit.

        What cannot be read is bought all the same.
        """
        paid = bought(answer, "post")
        try:
            posts = _v2.posts(answer, self._author)
        except BadData as error:
            yield Page((), cursor, paid)
            raise Temporary(f"X answers with posts that cannot be read: {error}") from error
        self._posts += len(posts)
        self._show()
        seen = _v2.sightings(answer, now, self._author)
        return Page(posts, None, paid, "ok", seen), [int(post["id"]) for post in objects(answer.get("data"))]

    @property
    def _name(self) -> str:
        return f"@{self._author.username}" if self._author.username else f"account {self._id}"

    def _show(self) -> None:
        seconds = clock() - self._begun
        posts = f"{self._posts} post" + "s" * (self._posts != 1)
        self._access.show(f"{self._name}: page {self._pages}, {posts}, {seconds:.0f} s")

    def _told(self, gap: Gap) -> str:
        days = self._access.x.look_back / timedelta(days=1)
        times = f"from {gap.begin:%Y-%m-%d %H:%M} to {gap.end:%Y-%m-%d %H:%M} UTC"
        back = f"{days:g} days that are" if days != 1 else "day that is"
        return f"posts of {self._name} {times} were not read: they are older than the {back} read back"


def _state(answer: Json) -> AccountState | None:
    """The state of an account whose timeline cannot be read; None for a timeline.

    Errors beside posts are about what these include.
    """
    if answer.get("data") is not None or answer.get("meta") is not None:
        return None
    return next(filter(None, map(account_state, objects(answer.get("errors")))), None)


def _call(client: Client, access: Access, path: str, parameters: Mapping[str, str]) -> Json:
    """What X answers to a call for which money was set aside, which is given back when it fails."""
    with ExitStack() as undo:
        undo.callback(access.release)
        answer = client.get(access, path, parameters)
        undo.pop_all()
    return answer
