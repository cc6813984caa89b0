"""A home for what is measured: the command in it, a file that posts come from, and the database behind the store."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from bench.corpora import LANGUAGES, corpus
from xtrack.store.rows import stamp

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_ID = 2006000000000000000
# The process that starts another is small: until that has become another program, its memory is its parent's, and is
# counted (getrusage(2), ru_maxrss, which Linux counts in KiB).
_WATCH = """
import os, sys, time
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
begun = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - begun, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Spent:
    """What one process took: seconds from its start to its end, and megabytes, the most that it had at once."""

    seconds: float
    megabytes: float


class Home:
    """A home without a scheduler, in a folder of its own; `bin_` has the commands."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self.bin, self.folder = bin_, folder
        self.database = folder / "home/xtrack.db"
        self.posts = folder / "posts.jsonl"
        folder.mkdir()
        self.posts.touch()
        self.environ = {"HOME": str(folder), "PATH": os.defpath, "PYTHON": str(bin_ / "python")}
        self.environ |= {"XTRACK_HOME": str(folder / "home"), "XTRACK_SCHEDULER": "none"}

    def spent(self, command: str, *words: str | Path, **environ: str) -> Spent:
        """Have a command do its work in a new process. Raises CalledProcessError when it fails."""
        watch = [self.bin / "python", "-I", "-S", "-c", _WATCH, self.bin / command, *words]
        done = subprocess.run(watch, env={**self.environ, **environ}, capture_output=True, text=True, check=True)
        seconds, kibibytes, code = done.stdout.split()
        if code != "0":
            raise subprocess.CalledProcessError(int(code), [command, *words], stderr=done.stderr)
        return Spent(float(seconds), int(kibibytes) * 1024 / 1e6)

    def nothing(self) -> Spent:
        """`python -c pass`: what everything else is a multiple of."""
        return self.spent("python", "-c", "pass")

    def install(self, *words: str, every: str = "daily") -> None:
        """Install jobs; without a source among the words and without names to look up at X, one on the file."""
        is_told = "--source" in words or any(word.startswith("@") for word in words)
        source = () if is_told else ("--source", str(self.posts))
        at = f"{datetime.now().astimezone() - timedelta(hours=3):%H:%M}"
        self.spent("xtrack", "install-job", *words, *source, "--every", every, "--at", at)

    def run(self, job: int = 1) -> Spent:
        """A job's timer starts it, with a slot that is due."""
        with self.sql() as db:
            since = stamp(datetime.now(UTC) - timedelta(days=2))
            done = "UPDATE runs SET slot = NULL, closed = 0 WHERE job_id = ? AND closed = 1 AND slot > ?"
            db.execute(done, [job, since])
            db.execute("UPDATE jobs SET schedule_since = ? WHERE id = ?", [since, job])
        return self.spent("xtrack", "run-job", str(job), XTRACK_TRIGGER="timer")

    def add(self, numbers: Iterable[int]) -> None:
        """Write posts into the file."""
        with self.posts.open("a") as file:
            file.writelines(lines(numbers))

    def archive(self, numbers: Iterable[int]) -> Path:
        """Make an X archive of posts by one author; gives its folder."""
        folder = self.folder / "archive"
        (folder / "data").mkdir(parents=True)
        account = [{"account": {"username": "author", "accountDisplayName": "Author"}}]
        for name, items in (("account", account), ("tweets", [*map(_archived, numbers)])):
            script = f"window.YTD.{name}.part0 = {json.dumps(items, indent=2, ensure_ascii=False)}"
            (folder / f"data/{name}.js").write_text(script)
        return folder

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        """The database, in one transaction."""
        with closing(sqlite3.connect(self.database, timeout=60)) as db, db:
            yield db


@cache
def texts() -> tuple[str, ...]:
    """What posts say, in five languages, for some thousand different ones."""
    posts = corpus(LANGUAGES["all mixed"], seed=1, posts=10_000, themes=100).posts
    said = (post.text or (post.original.text if post.original else "") for post in posts)
    return tuple(filter(None, said))


def text(number: int) -> str:
    """The text of a post; each has a link of its own."""
    return f"{texts()[number % len(texts())]} https://news.example/{number:07x}"


def lines(numbers: Iterable[int]) -> Iterator[str]:
    """Posts of the X API v2, flattened as twarc2 does it, one a line: what sqlite-utils takes as rows too."""
    for number in numbers:
        name = f"author{number % 50}"
        post = {
            "id": str(FIRST_ID + number),
            "created_at": (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "text": text(number),
            "lang": "en",
            "author_id": str(number % 50),
            "author": {"id": str(number % 50), "username": name, "name": name.title()},
        }
        yield json.dumps(post, ensure_ascii=False) + "\n"


def _archived(number: int) -> dict[str, dict[str, Any]]:
    """A post as it is in an archive."""
    tweet = {
        "edit_info": {"initial": {"editTweetIds": [str(FIRST_ID + number)], "editsRemaining": "5"}},
        "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
        "id_str": str(FIRST_ID + number),
        "id": str(FIRST_ID + number),
        "created_at": (START + timedelta(seconds=number)).strftime("%a %b %d %H:%M:%S +0000 %Y"),
        "full_text": text(number),
        "lang": "en",
    }
    return {"tweet": tweet}
