"""Runs on X, beside other programs that read the same posts from servers of this machine."""

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from bench.homes import Home, Spent, text
from bench.table import drift
from tests.peers.x import X

TURNS = 30
NEW = 100
ACCOUNT, NAME = "71", "harbour"
# What they are made of, and what they need but do not ask for: twarc imports a module that newer setuptools have not.
PEERS: Mapping[str, Sequence[str]] = {"tweepy": (), "twarc": ("setuptools<81",), "rss2email": (), "urlwatch": ()}

# The host of X stands in the code of tweepy and twarc. They ask the fake instead: nothing else of them is changed.
_ELSEWHERE = """
import os, sys
import requests

def request(self, method, url, *words, ask=requests.Session.request, **named):
    return ask(self, method, url.replace("https://api.twitter.com", os.environ["SERVER"]), *words, **named)

requests.Session.request = request
"""
_TWARC = """
from twarc.command2 import twarc2
sys.exit(twarc2())
"""
# tweepy is a library. The least that a program can do with it: keep the posts as lines, and the id of the newest.
_TWEEPY = """
import json
import tweepy

account, token, newest, kept = sys.argv[1:]
fields = ["author_id", "created_at", "entities", "lang", "referenced_tweets"]
with open(newest) as file:
    since = file.read()
answer = tweepy.Client(token).get_users_tweets(account, since_id=since, max_results=100, tweet_fields=fields)
if answer.data:
    with open(kept, "a") as file:
        file.writelines(json.dumps(tweet.data) + "\\n" for tweet in answer.data)
    with open(newest, "w") as file:
        file.write(answer.meta["newest_id"])
"""


@dataclass(frozen=True)
class Post:
    """A post as the fake of X has it."""

    id: str
    at: datetime
    text: str


@dataclass(frozen=True)
class Reader:
    """A program that reads what is new: one run, for which it is told the newest post of the last one if it does not
    remember that itself; and all that it has kept since.
    """

    run: Callable[[str], Spent]
    kept: Callable[[], str]


class Servers:
    """The fake of X, and a server of files that has the same posts as RSS."""

    def __init__(self, x: X, port: int, folder: Path) -> None:
        self.x, self.feed = x, f"http://127.0.0.1:{port}/feed.xml"
        self._file, self._count = folder / "feed.xml", 0

    def publish(self) -> list[Post]:
        """New posts in the place of those that were there, oldest first."""
        # Times of files are compared in whole seconds over HTTP: this one shall be newer than what was read last.
        time.sleep(1)
        now, numbers = datetime.now(UTC), range(self._count, self._count + NEW)
        self._count += NEW
        said = [(text(number), now - timedelta(milliseconds=numbers.stop - number)) for number in numbers]
        ids = self.x.do_all(
            [
                # It takes both vocabularies, as X does: the others ask in the old one.
                {"do": "reset", "vocabulary": "asked"},
                {"do": "account", "account_id": ACCOUNT, "username": NAME},
                *({"do": "post", "author": NAME, "words": words, "at": at.isoformat()} for words, at in said),
            ]
        )
        posts = [Post(post_id, at, words) for post_id, (words, at) in zip(ids[2:], said, strict=True)]
        self._file.write_text(rss(posts))
        return posts


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Both, in processes of their own."""
    folder.mkdir()
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), "0"]
    with ExitStack() as stack:
        x = stack.enter_context(X())
        files = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stack.enter_context(files)
        stack.callback(files.terminate)
        told = re.search(r"port (\d+)", files.stdout.readline() if files.stdout else "")
        if not told:
            raise RuntimeError("there is no server of files")
        yield Servers(x, int(told[1]), folder)


def rss(posts: Iterable[Post]) -> str:
    """RSS 2.0, newest first."""
    items = [
        f"<item><title>{escape(post.text[:80])}</title><description>{escape(post.text)}</description>"
        f"<link>https://x.com/{NAME}/status/{post.id}</link><guid isPermaLink='false'>{post.id}</guid>"
        f"<pubDate>{format_datetime(post.at)}</pubDate></item>\n"
        for post in posts
    ]
    head = f"<title>{NAME}</title><link>https://x.com/{NAME}</link><description>Posts</description>\n"
    return f"<rss version='2.0'><channel>{head}{''.join(reversed(items))}</channel></rss>\n"


def measure(bin_: Path, peers_bin: Mapping[str, Path], scratch: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Medians of all turns as multiples; `peers_bin` has the programs of each of PEERS."""
    homes = {name: Home(peers_bin[name], scratch / name) for name in PEERS}
    home = Home(bin_, scratch / "x")
    with servers(scratch / "served") as there:
        new = there.publish()
        readers = {"xtrack": xtrack(home, there), **peers(homes, there)}
        read(readers, there, "1", new)
        say(f"{NEW} new posts at X, and nothing new, {TURNS} times …")
        turns = []
        for _ in range(TURNS):
            last, new = new[-1].id, there.publish()
            bare = {
                "pass": home.nothing(),
                "requests": home.spent("python", "-c", "import requests"),
            }
            turns.append({**bare, **read(readers, there, last, new)})
    return values(turns)


def read(readers: Mapping[str, Reader], there: Servers, last: str, new: Sequence[Post]) -> dict[str, Spent]:
    """Have all read the new posts, then all once more, when nothing is new.

    Raises RuntimeError where one has not read them all, and where X does not take what it is asked: twarc2 ends with 0
    then.
    """
    spent = {f"{name}_new": reader.run(last) for name, reader in readers.items()}
    spent |= {f"{name}_quiet": reader.run(new[-1].id) for name, reader in readers.items()}
    for name, reader in readers.items():
        kept = reader.kept()
        if missing := sum(post.id not in kept for post in new):
            raise RuntimeError(f"{name} has not read {missing} of {len(new)} posts")
    if refused := {(entry["path"], entry["status"]) for entry in there.x.do("ledger") if entry["status"] != 200}:
        raise RuntimeError(f"X does not take everything: {refused}")
    return spent


def values(turns: Sequence[Mapping[str, Spent]]) -> dict[str, float]:
    """What the table has, of what every turn took."""
    seconds = {name: median(turn[name].seconds for turn in turns) for name in turns[0]}
    third = len(turns) // 3
    passes = [turn["pass"].seconds for turn in turns]
    told = {f"x_{name}": value / seconds["pass"] for name, value in seconds.items()}
    told |= {f"x_of_{name}": seconds["xtrack_quiet"] / seconds[f"{name}_quiet"] for name in PEERS}
    told |= {f"x_{name}_memory": max(turn[name].megabytes for turn in turns) for name in ("xtrack_quiet", "xtrack_new")}
    return {
        **told,
        "x_pass": 1000 * seconds["pass"],
        "x_drift": drift([median(passes[begin : begin + third]) for begin in range(0, 3 * third, third)]),
    }


# The programs


def xtrack(home: Home, there: Servers) -> Reader:
    """A daily job on the account, which its timer starts."""
    config = home.database.with_name("config.toml")
    config.parent.mkdir(mode=0o700)
    config.touch(mode=0o600)
    config.write_text(f'[x]\ntoken = "{there.x.token}"\nbase_url = "{there.x.url}"\n')
    home.install(f"@{NAME}", "--yes")

    def kept() -> str:
        with home.sql() as db:
            return str(db.execute("SELECT id FROM posts").fetchall())

    return Reader(lambda _: home.run(), kept)


def peers(homes: Mapping[str, Home], there: Servers) -> dict[str, Reader]:
    """The others, each in its home."""
    make = {"tweepy": _tweepy, "twarc": _twarc, "rss2email": _rss2email, "urlwatch": _urlwatch}
    return {name: make[name](homes[name], there) for name in PEERS}


def _tweepy(home: Home, there: Servers) -> Reader:
    program, newest, kept = (home.folder / name for name in ("read.py", "newest", "kept.jsonl"))
    program.write_text(_ELSEWHERE + _TWEEPY)
    newest.write_text("1")
    words = (program, ACCOUNT, there.x.token, newest, kept)
    return Reader(lambda _: home.spent("python", *words, SERVER=there.x.url), kept.read_text)


def _twarc(home: Home, there: Servers) -> Reader:
    """It remembers nothing, and each run has a file of its own for what it reads."""
    program, folder = home.folder / "twarc2.py", home.folder / "kept"
    program.write_text(_ELSEWHERE + _TWARC)
    folder.mkdir()
    told = ("--log", home.folder / "twarc.log", "--bearer-token", there.x.token)
    words = (program, *told, "timeline", "--hide-progress")

    def run(last: str) -> Spent:
        file = folder / f"since-{last}.jsonl"
        return home.spent("python", *words, "--since-id", last, ACCOUNT, file, SERVER=there.x.url)

    return Reader(run, lambda: "".join(file.read_text() for file in folder.iterdir()))


def _rss2email(home: Home, there: Servers) -> Reader:
    home.spent("r2e", "new", "reader@example.org")
    home.spent("r2e", "add", NAME, there.feed)
    seen = home.folder / ".local/share/rss2email.json"
    return Reader(lambda _: home.spent("r2e", "run", "--no-send"), seen.read_text)


def _urlwatch(home: Home, there: Servers) -> Reader:
    urls, config, cache = (home.folder / name for name in ("urls.yaml", "urlwatch.yaml", "cache.db"))
    urls.write_text(f"url: {there.feed}\n")
    words = ("--urls", urls, "--config", config, "--cache", cache)

    def kept() -> str:
        with closing(sqlite3.connect(cache)) as db:
            return str(db.execute("SELECT data FROM CacheEntry").fetchall())

    return Reader(lambda _: home.spent("urlwatch", *words), kept)
