"""A random life of some accounts at the fake of X, the same for the same seed: they post, answer, edit, delete, rename.

Step by step: a test lets some life happen, has the program fetch, and compares what it stored with what was shown then.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

from tests.peers.x import X
from tests.peers.x.text import Json

# Failures that are over with the next attempt. What an attempt sold in them may be lost on its way.
PASSING = (
    *("window", "500", "502", "503", "html", "html_503", "empty", "invalid_json", "other_shape"),
    *("cut_header", "cut_body", "lying_length"),
)
# Failures that somebody has to do something about.
LASTING = ("usage_cap", "credits", "spend_cap", "client_forbidden", "unsupported_authentication", "unauthorized")

_SUBJECTS = ("The ferry", "Low tide", "The harbour master", "The 9 o'clock boat", "Tee & Gebäck", "潮汐", "🦀")
_DOINGS = ("is late", "leaves < 10 minutes from now", "costs $5 & more", "is back > soon", "said 'no'", "kommt später")
_TAILS = ("", "", ".", " #tide", " https://example.org/boats?from=1&to=2", "\nAgain.", " @never_there", " 🙂")


Kind = Literal["post", "reply", "thread", "quote", "repost"]


@dataclass(frozen=True)
class Shown:
    """A post as a timeline shows it. `first_id` is that of its first version, a thread replies to its own author.

    Words are as typed, with the name in front that a reply to another account has, and in a last line "[photo]" or what
    else there is; "" for a repost. The original is None where there is none or it is gone.
    """

    first_id: str
    id: str
    author_id: str
    at: datetime
    kind: Kind
    words: str
    original_first_id: str | None = None
    original_words: str | None = None


class Life:
    """The life of the accounts "1", "2" … (`followed`), and of others whom they answer, quote and repost.

    It begins in a new world at `start`, where time only passes in `live`. The server's options stay as they are told.
    """

    def __init__(self, x: X, seed: int, start: datetime, accounts: int = 2, **options: object) -> None:
        self._x = x
        self._random = Random(seed)
        self._numbers = 0
        self.now = start
        self.followed = [str(number + 1) for number in range(accounts)]
        self._x.do_all([{"do": "reset", **options}, self._clock()])
        for account_id in (*self.followed, "901", "902"):
            self._x.do("account", account_id=account_id, username=self._name(account_id))
        for account_id in ("901", "902"):
            self._x.do("post", author=account_id, words=self._words(account_id))

    def live(self, steps: int = 6, pause: timedelta = timedelta(minutes=20)) -> None:
        """Some things happen, up to `pause` apart; now and then very much at once."""
        for _ in range(steps):
            self.now += timedelta(seconds=self._random.randint(1, int(pause.total_seconds())))
            self._x.do_all([self._clock()])
            often = self._random.randint(5, 40) if self._random.random() < 0.05 else 1
            for _ in range(often):
                self._happen()

    def order_failure(self, kinds: tuple[str, ...] = PASSING, path: str = "/2/.*") -> str:
        """Something goes wrong with one or two of the next few requests; what."""
        kind = self._random.choice(kinds)
        times, after = self._random.randint(1, 2), self._random.choice((0, 0, 1, 2))
        self._x.do("fail", kind=kind, path=path, times=times, after=after)
        return kind

    def usernames(self) -> dict[str, str]:
        """The names that the followed accounts have now, by id."""
        return {
            account["id"]: account["username"] for account in self._x.do("accounts") if account["id"] in self.followed
        }

    def shown(self) -> dict[str, Shown]:
        """What the timelines of the followed accounts show now, by the first id."""
        posts = self._x.do("posts")
        by_id = {post["id"]: post for post in posts}
        own = [post for post in posts if post["author_id"] in self.followed and _is_shown(post)]
        return {post["first_id"]: _shown(post, by_id) for post in own}

    def _clock(self) -> Json:
        return {"do": "clock", "now": self.now.isoformat(), "frozen": True}

    def _happen(self) -> None:
        weights = {
            **{self._post: 8, self._reply: 2, self._thread: 2, self._quote: 2, self._repost: 3, self._media: 1},
            **{self._poll: 1, self._other: 2, self._edit: 3, self._delete: 2, self._rename: 1},
        }
        (do,) = self._random.choices(list(weights), list(weights.values()))
        do()

    def _post(self, **more: object) -> None:
        author = self._random.choice(self.followed)
        self._x.do("post", author=author, words=self._words(author), **more)

    def _reply(self) -> None:
        """A reply to somebody else, followed or not, where there is something to reply to."""
        author = self._random.choice(self.followed)
        others = tuple(one for one in (*self.followed, "901", "902") if one != author)
        self._x.do("post", author=author, words=self._words(author), replied_to=self._any(of=others))

    def _thread(self) -> None:
        """A reply to oneself, where there is something to reply to."""
        author = self._random.choice(self.followed)
        if own := self._any(of=(author,)):
            self._x.do("post", author=author, words=self._words(author), replied_to=own)

    def _quote(self) -> None:
        """Of a post that shows no other, which would leave a link to that one in its text."""
        self._post(quoted=self._any(alone=True))

    def _repost(self) -> None:
        if original := self._any(of=("901", "902")):
            self._x.do("post", author=self._random.choice(self.followed), retweeted=original)

    def _media(self) -> None:
        self._post(media=[{"type": self._random.choice(("photo", "video", "animated_gif")), "alt_text": "a boat"}])

    def _poll(self) -> None:
        self._post(poll=["tea", "coffee & cake"])

    def _other(self) -> None:
        author = self._random.choice(("901", "902"))
        media = [{"type": "video"}] if self._random.random() < 0.3 else []
        self._x.do("post", author=author, words=self._words(author), media=media)

    def _edit(self) -> None:
        """A post of the last hour, five times at most."""
        recent = (self.now - timedelta(hours=1)).isoformat()
        if post_id := self._any(since=recent, editable=True):
            self._x.do("edit", post_id=post_id, words=self._words("an edit"))

    def _delete(self) -> None:
        if post_id := self._any():
            self._x.do("delete", post_id=post_id)

    def _rename(self) -> None:
        account_id = self._random.choice((*self.followed, "901", "902"))
        self._numbers += 1
        self._x.do("change", account=account_id, username=f"{self._name(account_id)}_{self._numbers}")

    def _any(self, of: tuple[str, ...] = (), since: str = "", alone: bool = False, editable: bool = False) -> str:
        """Any post that is shown; "" where there is none."""
        posts = [
            post["id"]
            for post in self._x.do("posts")
            if _is_shown(post)
            and (not of or post["author_id"] in of)
            and post["at"] >= since
            and not (alone and post["references"].keys() & {"quoted", "retweeted"})
            and not (editable and ("retweeted" in post["references"] or post["versions"] > 5))
        ]
        return self._random.choice(posts) if posts else ""

    def _words(self, of: str) -> str:
        """A text that nobody has posted before; one of eight is long."""
        self._numbers += 1
        choice = self._random.choice
        sentence = f"{choice(_SUBJECTS)} {choice(_DOINGS)}, says {of} ({self._numbers}){choice(_TAILS)}"
        return sentence if self._random.random() < 0.9 else f"{sentence} & so on < for ever" * 9

    def _name(self, account_id: str) -> str:
        return f"acct_{account_id}"


def _is_shown(post: Json) -> bool:
    return bool(post["newest"] and not post["deleted"])


def _shown(post: Json, by_id: dict[str, Json]) -> Shown:
    references = post["references"]
    original = by_id.get(references.get("retweeted") or references.get("quoted") or "")
    there = original if original and not original["deleted"] else None
    return Shown(
        first_id=post["first_id"],
        id=post["id"],
        author_id=post["author_id"],
        at=datetime.fromisoformat(post["at"]),
        kind=_kind(post, by_id),
        words=_words(post),
        original_first_id=there["first_id"] if there else None,
        original_words=_words(there) if there else None,
    )


def _kind(post: Json, by_id: dict[str, Json]) -> Kind:
    references = post["references"]
    if references.keys() & {"retweeted", "quoted"}:
        return "repost" if "retweeted" in references else "quote"
    if "replied_to" not in references:
        return "post"
    return "thread" if by_id[references["replied_to"]]["author_id"] == post["author_id"] else "reply"


def _words(post: Json) -> str:
    poll = [f"poll: {' / '.join(post['poll'])}"] if post["poll"] else []
    attached = [f"[{one.replace('_', ' ')}]" for one in [*poll, *post["media"]]]
    return "\n".join(filter(None, (post["words"], " ".join(attached))))
