"""The records that cross rooms: frozen, with UTC times and post ids as strings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

# A thread's post replies to one of its own author's.
PostKind = Literal["post", "reply", "thread", "repost", "quote"]
Trigger = Literal["timer", "manual"]
# Who starts a process for a job: its timer, the unit for queued runs, or a person.
Start = Literal["timer", "play", "typed"]
RunState = Literal["queued", "running", "done", "undelivered", "failed", "died"]
Method = Literal["extractive", "llm"]
DeliveryKind = Literal["digest", "failing", "recovered"]
DeliveryState = Literal["pending", "sending", "sent", "failed", "unknown"]
# What is sold one by one.
Resource = Literal["post", "user", "media", "input_token", "output_token"]
AccountState = Literal["ok", "protected", "suspended", "gone"]
# What a job may leave out, and how people call it.
EXCLUDABLE: dict[PostKind, str] = {"reply": "replies", "repost": "reposts"}
_SAID: dict[AccountState, str] = {
    "ok": "can be read again",
    "gone": "is gone from X",
    "suspended": "is suspended at X",
    "protected": "is protected, and cannot be read",
}


@dataclass(frozen=True)
class Job:
    """What to watch and how often.

    `names` are handles without @: the accounts that are read, or where the source is no account's, the authors to take
    (empty: all). `excluded` are the kinds of posts that are left out, "reply" and "repost", by X itself if
    `excluded_at_source`. `budget` is what may be bought for the job in a UTC month, in millionths of a dollar.
    `summarizer` writes its digests, a model in a `language` ("": that of the posts) and with a `focus` of its own; they
    are mailed to `emails`, with `mail_quiet` also those without news. `frequency` is a canonical one of slots.py, `at`
    its anchor, "HH:MM" or "Mon HH:MM". Only slots later than `schedule_since` exist; `closed_slot` is the last one that
    is done, failed for good or given up.
    """

    id: int
    source: str
    names: tuple[str, ...]
    topics: tuple[str, ...]
    frequency: str
    at: str
    paused: bool
    created_at: datetime
    schedule_since: datetime
    last_run: datetime | None = None
    closed_slot: datetime | None = None
    excluded: tuple[PostKind, ...] = ()
    excluded_at_source: bool = False
    budget: int | None = None
    summarizer: Method = "extractive"
    focus: str = ""
    language: str = ""
    emails: tuple[str, ...] = ()
    mail_quiet: bool = False


@dataclass(frozen=True)
class Attempts:
    """The failed attempts at one open slot: how many, the first one's start, and when it is tried again."""

    count: int = 0
    first: datetime | None = None
    next_try: datetime | None = None


@dataclass(frozen=True)
class Account:
    """An account at X by its number, which outlives its names. `checked_at` is when its name was last looked up,
    `posts_a_day` how much it has posted on average so far.
    """

    id: str
    username: str
    name: str
    state: AccountState
    checked_at: datetime
    posts_a_day: float

    @property
    def said(self) -> str:
        """Its state in words."""
        return f"@{self.username} {_SAID[self.state]}"


@dataclass(frozen=True)
class FeedSpec:
    """What a job asks to be fetched; `account_id` is that of the account that it is the timeline of, "" for none.

    `cursor` is where reading starts if nobody has read it before.
    """

    kind: str
    spec: str
    account_id: str = ""
    cursor: str | None = None


@dataclass(frozen=True)
class Feed:
    """One source as fetched; `cursor` is its own word for how far it was read, `read_at` when last to its end,
    `paused_at` when that last came to a pause or an error.

    `account_id` as in FeedSpec.
    """

    id: int
    kind: str
    spec: str
    cursor: str | None
    read_at: datetime | None = None
    account_id: str = ""
    paused_at: datetime | None = None


@dataclass(frozen=True)
class Original:
    """The post that a repost or a quote shows."""

    id: str
    author: str
    author_name: str
    text: str
    url: str


@dataclass(frozen=True)
class Post:
    """One post in its final text: entities expanded, HTML unescaped, never truncated where the source knew more.

    `id` is the first id of the edit history. `author` is a handle without @, "" when the source does not tell it.
    `text` holds the author's own words, and in a last line what is beside them, "[photo]" or "[poll: tea / coffee]". It
    is empty for a plain repost, whose words are in `original`.
    """

    id: str
    author: str
    author_name: str
    created_at: datetime
    kind: PostKind
    text: str
    url: str
    lang: str = ""
    original: Original | None = None


@dataclass(frozen=True)
class Bought:
    """One thing that an answer had in it and that its seller counts."""

    resource: Resource
    id: str


@dataclass(frozen=True)
class Sighting:
    """The name that an account had at a time, as a post tells it."""

    account_id: str
    username: str
    at: datetime


@dataclass(frozen=True)
class Page:
    """Posts in any order, and the cursor from which reading goes on once they are stored.

    Where accounts are read: what the answer held that is paid for, the state of the account, the names that accounts
    were seen with, and what whoever reads the feed has to know, such as posts that were missed.
    """

    posts: tuple[Post, ...]
    cursor: str | None
    bought: tuple[Bought, ...] = ()
    state: AccountState | None = None
    sightings: tuple[Sighting, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """What whoever reads a feed has to know, once; a gap is what was posted and is never read."""

    id: int
    feed_id: int
    text: str
    is_gap: bool


@dataclass(frozen=True)
class Bill:
    """What an answer cost, and whom: the reservation that it settles (0: none was needed), the job (0: none yet), when,
    and the price of each thing that was bought, in millionths of a dollar. Of what is only counted, such as tokens,
    `amounts` has how much it was and what all of it cost.
    """

    reservation: int
    job_id: int
    at: datetime
    items: Mapping[Bought, int]
    amounts: Mapping[Resource, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One line of a digest, the ids of the posts that it stands for (the first is cited), and its group's name."""

    text: str
    post_ids: tuple[str, ...]
    group: str = ""


@dataclass(frozen=True)
class Digest:
    """What a summarizer makes of some posts. `omitted` posts are on the topics, but no line stands for them.

    `notices` are what else has to be known: of accounts that could not be read, posts that were missed. One that a
    model wrote tells which, how many tokens it took, and what they cost, in millionths of a dollar.
    """

    method: str
    headline: str
    lines: tuple[Line, ...]
    omitted: int
    notices: tuple[str, ...] = ()
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0


@dataclass(frozen=True)
class Summary:
    """A digest as stored, with the number of new posts that it was made of; none: a quiet run's."""

    id: int
    job_id: int
    run_id: int
    created_at: datetime
    post_count: int
    digest: Digest


@dataclass(frozen=True)
class Run:
    """One attempt to do a job. `slot` is None for a run by hand that closed none; `missed` slots came before it.

    A queued run waits for the scheduler to start it; until then `started_at` is when it was queued.
    """

    id: int
    job_id: int
    trigger: Trigger
    state: RunState
    slot: datetime | None
    started_at: datetime
    finished_at: datetime | None
    stage: str
    new_posts: int
    missed: int
    exit_code: int | None
    error: str
    next_try: datetime | None
    invocation_id: str


@dataclass(frozen=True)
class Delivery:
    """One mail to one recipient: of a digest, or of a run that shows that a job is failing, or well again.

    pending -> sending (from just before all is given to the server) -> sent, failed (for good, or given up), or unknown
    (it may have been sent). `key` makes it the same message however often it is tried.
    """

    id: int
    job_id: int
    summary_id: int | None
    run_id: int
    kind: DeliveryKind
    recipient: str
    key: str
    state: DeliveryState
    tries: int
    next_try: datetime | None
    created_at: datetime
    sent_at: datetime | None
    error: str


@dataclass(frozen=True)
class Hit:
    """A summary or a post that search found; a post is no one job's, a summary no one author's."""

    kind: Literal["summary", "post"]
    id: str
    job_id: int | None
    author: str
    created_at: datetime
    text: str
    url: str
