"""How tests change the world, order failures and read the ledger."""

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from tests.peers.x.api import Options
from tests.peers.x.failures import KINDS, Failure
from tests.peers.x.parameters import ID, NAME
from tests.peers.x.state import State
from tests.peers.x.text import Json
from tests.peers.x.words import VOCABULARIES
from tests.peers.x.world import Post


class Control:
    """What tests may do, by name. Times are ISO 8601; accounts are named by id or name, posts by id."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._world = state.world

    def account(self, account_id: str, username: str, name: str = "", state: Any = "ok") -> Json:
        """A new account; `state` is ok, protected, suspended or gone."""
        if not re.fullmatch(ID, account_id) or not re.fullmatch(NAME, username):
            raise ValueError(f"no account can be {account_id} or {username}")
        return asdict(self._world.add_account(account_id, username, name, state))

    def change(self, account: str, username: str = "", name: str = "", state: Any = None) -> Json:
        """Rename an account, or put it into another state."""
        found = self._world.account(account)
        return asdict(self._world.change_account(found, username, name, state or found.state))

    def post(
        self,
        author: str,
        words: str = "",
        replied_to: str = "",
        quoted: str = "",
        retweeted: str = "",
        at: str = "",
        post_id: str = "",
        **more: Any,
    ) -> str:
        """A new post; its id. `words` as typed: whole links, no HTML; more: media, poll, lang (World.add_post).

        A reply to another account gets its name in front of the words, as X does, unless it is typed there.
        """
        told = {"replied_to": replied_to, "quoted": quoted, "retweeted": retweeted}
        references = {kind: int(target) for kind, target in told.items() if target}
        fixed = int(post_id) if post_id else None
        account = self._world.account(author)
        return str(self._world.add_post(account, words, references, at=_moment(at), post_id=fixed, **more).id)

    def edit(self, post_id: str, words: str, at: str = "") -> str:
        """A new version of a post; its id."""
        return str(self._world.edit(self._post(post_id), words, _moment(at)).id)

    def delete(self, post_id: str) -> None:
        """Delete a post in all its versions, and its reposts."""
        self._world.delete(self._post(post_id))

    def accounts(self) -> list[Json]:
        return [asdict(account) for account in self._world.accounts.values()]

    def posts(self) -> list[Json]:
        """Each version of each post, oldest first: who, what (poll: its options), and whether a timeline shows it."""
        world = self._world
        return [
            {
                "id": str(post.id),
                "first_id": str(post.chain.ids[0]),
                "versions": len(post.chain.ids),
                "author_id": post.author.id,
                "at": post.at.isoformat(),
                "words": post.words,
                "media": [one["type"] for one in post.media],
                "poll": [option["label"] for option in post.poll["options"]] if post.poll else [],
                "references": {kind: str(one) for kind, one in post.references},
                "deleted": post.chain.deleted,
                "newest": world.is_newest(post),
            }
            for post in sorted(world.posts.values(), key=lambda post: post.id)
        ]

    def clock(self, now: str = "", offset: float = 0, frozen: bool = False) -> str:
        """Set the time to `now`, or to the machine's and `offset` seconds; the time that it is then."""
        self._world.clock.set(_moment(now), offset, frozen)
        return self._world.clock.now().isoformat()

    def options(self, **changes: Any) -> Json:
        """Change the server's options (x_api.Options); what they are then, without the token."""
        options = replace(self._state.options, **changes)
        if options.vocabulary not in VOCABULARIES:
            raise ValueError(f"no vocabulary {options.vocabulary}")
        self._state.options = options
        return asdict(replace(self._state.options, token=""))

    def fail(self, kind: str, times: int | None = 1, path: str = "/2/.*", after: int = 0, **how: Any) -> None:
        """Order a failure; earlier ones go first."""
        if kind not in KINDS:
            raise ValueError(f"no failure {kind}: {', '.join(sorted(KINDS))}")
        self._state.failures.append(Failure(kind, times, path, after, how))

    def heal(self) -> int:
        """Take back all failures; how many had not come yet."""
        waiting = sum(failure.times != 0 for failure in self._state.failures)
        self._state.failures.clear()
        return waiting

    def ledger(self) -> list[Json]:
        """All requests, oldest first."""
        return [asdict(entry) for entry in self._state.ledger]

    def sold(self) -> Json:
        """Ids that left in whole answers, by kind (post, user, media) and UTC day: in `raw` as often as sent, in `once`
        once a day; and those in answers that were cut short, in `lost`.
        """
        kinds = ("post", "user", "media")
        raw = {kind: self._state.sold(kind) for kind in kinds}
        once = {kind: {day: sorted(set(ids)) for day, ids in days.items()} for kind, days in raw.items()}
        return {"raw": raw, "once": once, "lost": {kind: self._state.sold(kind, whole=False) for kind in kinds}}

    def bugs(self) -> list[str]:
        """What the server did wrong, and where the token was seen."""
        return self._state.bugs

    def reset(self, **options: Any) -> Json:
        """A new world with an empty ledger, and the server as it was started, but for `options`."""
        self._state.options = Options(self._state.options.token)
        self._state.reset()
        return self.options(**options)

    def _post(self, post_id: str) -> Post:
        if int(post_id) not in self._world.posts:
            raise ValueError(f"no post {post_id}")
        return self._world.posts[int(post_id)]


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
