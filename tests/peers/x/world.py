"""The world behind the fake of X: accounts, posts of all kinds with their edits, and a clock that tests set.

All is in memory. Times are aware UTC. A post's id is a snowflake of its time, so that newer posts have larger ids; one
whose time is still to come is not there yet.
"""

import time
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal, get_args

from tests.peers.x.text import Json, Piece, addressees, cut, length, link, pieces, short_link, written

EPOCH_MS = 1288834974657
LONGEST = 280  # longer texts are notes
LONGEST_REPOST = 140
State = Literal["ok", "protected", "suspended", "gone"]


@dataclass
class Account:
    id: str
    username: str
    name: str
    state: State
    created_at: datetime


@dataclass
class Chain:
    """What the versions of one post share: their ids, oldest first, and whether it was deleted."""

    ids: list[int] = field(default_factory=list)
    deleted: bool = False


@dataclass
class Post:
    """One version of a post. `words` are as typed, but for the name that X puts in front of a reply to another account:
    links whole, no HTML. `references` are pairs of kind and id.
    """

    id: int
    author: Account
    at: datetime
    words: str
    chain: Chain
    references: tuple[tuple[str, int], ...] = ()
    media: tuple[Json, ...] = ()
    poll: Json | None = None
    lang: str = "en"

    def refers_to(self, kind: str) -> int | None:
        return dict(self.references).get(kind)


class Clock:
    """The time in the world: the machine's and an offset, or one that stands still."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._frozen: datetime | None = None

    def set(self, now: datetime | None = None, offset: float = 0, frozen: bool = False) -> None:
        """Make it `now`, or the machine's time and `offset` seconds; from there it goes on unless `frozen`."""
        machine = datetime.fromtimestamp(time.time(), UTC)
        self._offset = now - machine if now else timedelta(seconds=offset)
        self._frozen = machine + self._offset if frozen else None

    def now(self) -> datetime:
        return self._frozen or datetime.fromtimestamp(time.time(), UTC) + self._offset


class World:
    """Accounts by id, and each version of each post by its id. Raises ValueError for what cannot be."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.accounts: dict[str, Account] = {}
        self.posts: dict[int, Post] = {}
        self._numbers = count(1_900_000_000_000_000_000)  # of media and polls
        self._by_author: dict[str, list[Post]] = {}
        self._pieces: dict[int, list[Piece]] = {}
        self._whole: dict[int, Json] = {}

    def named(self, username: str) -> Account | None:
        """Whoever has this name now; upper and lower case are the same."""
        found = (one for one in self.accounts.values() if one.username.lower() == username.lower())
        return next(found, None)

    def account(self, id_or_name: str) -> Account:
        account = self.accounts.get(id_or_name) or self.named(id_or_name)
        if not account:
            raise ValueError(f"no account {id_or_name}")
        return account

    def add_account(self, account_id: str, username: str, name: str = "", state: State = "ok") -> Account:
        if account_id in self.accounts:
            raise ValueError(f"there is an account {account_id}")
        if self.named(username):
            raise ValueError(f"the name {username} is taken")
        account = self.accounts[account_id] = Account(account_id, "", "", "ok", self.clock.now())
        return self.change_account(account, username, name or username, state)

    def change_account(self, account: Account, username: str = "", name: str = "", state: State = "ok") -> Account:
        other = self.named(username) if username else None
        if other and other is not account:
            raise ValueError(f"the name {username} is taken")
        if state not in get_args(State):
            raise ValueError(f"no state {state}")
        account.username = username or account.username
        account.name = name or account.name
        account.state = state
        self._whole.clear()
        return account

    def add_post(
        self,
        author: Account,
        words: str = "",
        references: Mapping[str, int] | None = None,
        media: Sequence[Json] = (),
        poll: Sequence[str] = (),
        lang: str = "en",
        at: datetime | None = None,
        post_id: int | None = None,
    ) -> Post:
        """A post; `media` are {"type": "photo" | "video" | "animated_gif", "alt_text": …}, `poll` the labels."""
        at = at or self.clock.now()
        post_id = post_id or self._free_id(at)
        if post_id in self.posts:
            raise ValueError(f"there is a post {post_id}")
        found = tuple(_media(next(self._numbers), one) for one in media)
        asked = _poll(next(self._numbers), poll, at) if poll else None
        words = self._addressed(words, author, (references or {}).get("replied_to"))
        post = Post(post_id, author, at, words, Chain(), tuple((references or {}).items()), found, asked, lang)
        return self._keep(post)

    def edit(self, post: Post, words: str, at: datetime | None = None) -> Post:
        """A new version with an id of its own. A repost has none."""
        if post.refers_to("retweeted"):
            raise ValueError("a repost cannot be edited")
        at = at or self.clock.now()
        words = self._addressed(words, post.author, post.refers_to("replied_to"))
        changed = Post(
            self._free_id(at), post.author, at, words, post.chain, post.references, post.media, post.poll, post.lang
        )
        return self._keep(changed)

    def delete(self, post: Post) -> None:
        """All versions of a post, and with them all reposts of it."""
        post.chain.deleted = True
        for other in self.posts.values():
            if other.refers_to("retweeted") in post.chain.ids:
                other.chain.deleted = True

    def is_there(self, post: Post | None) -> bool:
        """Whether it can be looked up: neither deleted, nor to come, nor of an account that is gone."""
        if not post or post.chain.deleted or post.at > self.clock.now():
            return False
        return post.author.state in ("ok", "protected")

    def is_newest(self, post: Post) -> bool:
        """Whether no later version is there yet."""
        later = [version for version in post.chain.ids if version > post.id]
        return not later or not any(self.posts[version].at <= self.clock.now() for version in later)

    def timeline(self, account: Account) -> Iterator[Post]:
        """The posts of an account that have come, newest first, each in its newest version; deleted ones too."""
        now = self.clock.now()
        own = self._by_author.get(account.id, [])
        return (post for post in reversed(own) if post.at <= now and self.is_newest(post))

    def newest_id(self, account: Account) -> int | None:
        return next((post.id for post in self.timeline(account) if not post.chain.deleted), None)

    def history(self, post: Post) -> list[str]:
        now = self.clock.now()
        return [str(version) for version in sorted(post.chain.ids) if self.posts[version].at <= now]

    def whole(self, post: Post) -> Json:
        """All fields of a post, in the words of version 2.167 of the specification, but for its edit history."""
        if post.id not in self._whole:
            self._whole[post.id] = _whole(self, post)
        return self._whole[post.id]

    def pieces_of(self, post: Post) -> list[Piece]:
        """The text of a post in pieces, as typed and not cut short."""
        return self._pieces[post.id]

    def _free_id(self, at: datetime) -> int:
        post_id = (round(at.timestamp() * 1000) - EPOCH_MS) << 22
        while post_id in self.posts:
            post_id += 1
        return post_id

    def _addressed(self, words: str, author: Account, replied_to: int | None) -> str:
        """The words with the name of another account in front that they reply to, unless it was typed."""
        replied = self.posts.get(replied_to or 0)
        if not replied or replied.author is author:
            return words
        name = f"@{replied.author.username}"
        return words if name.lower() in addressees(words).lower().split() else f"{name} {words}".rstrip()

    def _keep(self, post: Post) -> Post:
        post.chain.ids.append(post.id)
        self.posts[post.id] = post
        insort(self._by_author.setdefault(post.author.id, []), post, key=lambda one: one.id)
        self._pieces[post.id] = _pieces(self, post)  # the names in it stay those of its time
        return post


def stamp(moment: datetime) -> str:
    """A time as X writes it: to the second, the rest always zero."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _media(number: int, told: Json) -> Json:
    kind = told.get("type", "photo")
    prefix = {"photo": 3, "video": 7, "animated_gif": 16}[kind]
    media: Json = {"media_key": f"{prefix}_{number}", "type": kind, "width": 1200, "height": 800}
    picture = f"https://pbs.twimg.com/media/{number}.jpg"
    if kind == "photo":
        media["url"] = picture
    else:
        variant = {"content_type": "video/mp4", "url": picture.replace(".jpg", ".mp4"), "bit_rate": 832000}
        media |= {"preview_image_url": picture, "variants": [variant]}
    if kind == "video":
        media |= {"duration_ms": 15400, "public_metrics": {"view_count": 12}}
    return media | told


def _poll(number: int, labels: Sequence[str], at: datetime) -> Json:
    options = [{"position": place, "label": label, "votes": 0} for place, label in enumerate(labels, 1)]
    end = stamp(at + timedelta(days=1))
    return {
        "id": str(number),
        "options": options,
        "duration_minutes": 1440,
        "end_datetime": end,
        "voting_status": "open",
    }


def _pieces(world: World, post: Post) -> list[Piece]:
    original = world.posts.get(post.refers_to("retweeted") or 0)
    if original:
        name = Piece(f"@{original.author.username}", "mentions", (_mention(world, original.author.username),))
        return [Piece("RT "), name, Piece(": "), *world.pieces_of(original)]
    typed = pieces(post.words, lambda target: short_link(post.id, target))
    parts = [
        Piece(one.words, one.kind, (_mention(world, one.words[1:]),)) if one.kind == "mentions" else one
        for one in typed
    ]
    quoted = world.posts.get(post.refers_to("quoted") or 0)
    own = f"https://x.com/{post.author.username}/status/{post.id}"
    for tail in (_quote_link(post, quoted) if quoted else None, _media_link(post, own)):
        parts += [*([Piece(" ")] if parts else []), tail] if tail else []
    return parts


def _mention(world: World, username: str) -> Json:
    account = world.named(username)
    return {"username": username, **({"id": account.id} if account and account.state != "gone" else {})}


def _quote_link(post: Post, quoted: Post) -> Piece:
    return link(short_link(post.id, "quote"), f"https://x.com/{quoted.author.username}/status/{quoted.id}")


def _media_link(post: Post, own: str) -> Piece | None:
    """One short link for all media of a post, with an entity for each."""
    if not post.media:
        return None
    short = short_link(post.id, "media")
    display = short.replace("https://t.co/", "pic.x.com/")
    common = {"url": short, "expanded_url": f"{own}/photo/1", "display_url": display}
    return Piece(short, "urls", tuple({**common, "media_key": one["media_key"]} for one in post.media))


def _whole(world: World, post: Post) -> Json:
    text, entities = written(_shown(world, post))
    replied = world.posts.get(post.refers_to("replied_to") or 0)
    hidden = addressees(text) if replied and replied.author is not post.author else ""
    whole: Json = {
        "id": str(post.id),
        "text": text,
        "author_id": post.author.id,
        "created_at": stamp(post.at),
        "conversation_id": str(_conversation(world, post)),
        "lang": post.lang,
        "possibly_sensitive": False,
        "reply_settings": "everyone",
        "source": "X Web App",
        "display_text_range": [len(hidden), len(text)],
        "edit_controls": _edit_controls(post),
        "public_metrics": _counts(world, post),
    }
    keys = [one["media_key"] for one in post.media]
    attachments = ({"media_keys": keys} if keys else {}) | ({"poll_ids": [post.poll["id"]]} if post.poll else {})
    more = {
        "entities": entities,
        "note_post": _note(world, post),
        "referenced_posts": [{"type": kind, "id": str(target)} for kind, target in post.references],
        "in_reply_to_user_id": replied and replied.author.id,
        "attachments": attachments,
        "media_metadata": [{"media_key": one["media_key"], "alt_text": one.get("alt_text")} for one in post.media],
    }
    return whole | {key: value for key, value in more.items() if value}


def _shown(world: World, post: Post) -> list[Piece]:
    """The text that every answer has: reposts and long posts are cut short in it."""
    parts = world.pieces_of(post)
    original = world.posts.get(post.refers_to("retweeted") or 0)
    if original:
        return cut([*parts[:3], *_shown(world, original)], LONGEST_REPOST, [Piece("…")])
    itself = link(short_link(post.id, "itself"), f"https://x.com/i/web/status/{post.id}")
    return cut(parts, LONGEST, [Piece("… "), itself])


def _note(world: World, post: Post) -> Json | None:
    parts = world.pieces_of(post)
    if length(parts) <= LONGEST or post.refers_to("retweeted"):
        return None
    text, entities = written(parts)
    return {"text": text} | ({"entities": entities} if entities else {})


def _conversation(world: World, post: Post) -> int:
    replied = world.posts.get(post.refers_to("replied_to") or 0)
    return _conversation(world, replied) if replied else post.refers_to("replied_to") or post.id


def _edit_controls(post: Post) -> Json:
    first = post.chain.ids[0]
    until = datetime.fromtimestamp(((first >> 22) + EPOCH_MS) / 1000, UTC) + timedelta(minutes=30)
    kinds = dict(post.references)
    eligible = not (kinds.keys() & {"retweeted", "replied_to"} or post.poll)
    left = max(0, 5 - post.chain.ids.index(post.id))
    return {"edits_remaining": left, "is_edit_eligible": eligible, "editable_until": stamp(until)}


def _counts(world: World, post: Post) -> Json:
    """Counts without meaning, but always the same for a post."""
    number = post.id % 97
    names = ("repost_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count")
    return {name: number * factor for factor, name in enumerate(names)}


def whole_user(world: World, account: Account) -> Json:
    """All fields of an account, in the words of version 2.167."""
    number = int(account.id) % 89
    newest = world.newest_id(account)
    return {
        "id": account.id,
        "name": account.name,
        "username": account.username,
        "created_at": stamp(account.created_at),
        "description": "Invented for a test.",
        "location": "Nowhere",
        "profile_image_url": f"https://pbs.twimg.com/profile_images/{account.id}/normal.jpg",
        "protected": account.state == "protected",
        "verified": False,
        "verified_type": "none",
        "public_metrics": {
            "followers_count": number,
            "following_count": number * 2,
            "post_count": number * 3,
            "listed_count": 0,
        },
    } | ({"most_recent_post_id": str(newest)} if newest else {})
