"""What the unit tests share: a clock that they set, records with sensible values, a home, and the command itself."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings

from tests import leaks
from tests.peers.x.api import TOKEN
from xtrack.config import Home
from xtrack.context import Context
from xtrack.models import FeedSpec, Job, Post
from xtrack.store import Store

# A busy machine is no failure.
settings.register_profile("xtrack", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000)
settings.load_profile("xtrack")

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2027, 1, 15, 12, 0, tzinfo=UTC)

JOB = Job(0, "sample", (), (), "hourly", "00:30", paused=False, created_at=NOON, schedule_since=NOON)


def post(number: int, author: str = "kaya", text: str = "", created_at: datetime = NOON) -> Post:
    """A post, `number` seconds after `created_at`."""
    return Post(
        id=str(1000 + number),
        author=author,
        author_name=author.title(),
        created_at=created_at + timedelta(seconds=number),
        kind="post",
        text=text or f"The ferry number {number} leaves the harbour late today.",
        url=f"https://x.com/{author}/status/{1000 + number}",
        lang="en",
    )


def line(number: int, author: str = "kaya", text: str = "") -> str:
    """A line of a JSONL file: a page of the X API v2 with one post."""
    page = {
        "data": [
            {
                "id": str(1700000000000000000 + number),
                "text": text or f"The ferry number {number} leaves the harbour late today.",
                "author_id": author,
                "created_at": (NOON + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "lang": "en",
            }
        ],
        "includes": {"users": [{"id": author, "username": author, "name": author.title()}]},
    }
    return json.dumps(page) + "\n"


def write_lines(path: Path, numbers: Iterable[int], author: str = "kaya") -> Path:
    """Add posts to a JSONL file."""
    with path.open("a") as file:
        file.writelines(line(number, author) for number in numbers)
    return path


def write_config(path: Path, text: str) -> None:
    """Write settings, for their owner's eyes."""
    leaks.meant.add(path)
    path.touch(mode=0o600)
    path.write_text(text)


@pytest.fixture(scope="session", autouse=True)
def _watched_processes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", leaks.Process)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Search all that a test has left, once its fixtures are gone, and fail it where X's token is found."""
    report = yield
    if report.when == "teardown":
        leaks.look_at_processes()
        folder = item.funcargs.get("tmp_path") if isinstance(item, pytest.Function) else None
        if isinstance(folder, Path):
            leaks.look_below(folder)
        for name, text in report.sections:
            leaks.look(name, text)
        if found := leaks.taken():
            report.outcome, report.longrepr = "failed", "\n".join(["X's token is in", *found])
    return report


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Hold a lock as another process would: flock(2) tells open files apart, not processes."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def agree(_price: str, _is_much: bool) -> None:
    """Somebody who pays any price."""


@dataclass
class World:
    """A home with its store, a clock that stands still until it is set, and the lines that were said.

    `on_the_way` is called whenever the clock is read or something is said: there a test can have something happen.
    """

    home: Home
    now: datetime = NOON
    zone: tzinfo = BERLIN
    said: list[str] = field(default_factory=list)
    on_the_way: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.context = Context(self.home, self.zone, self._read_clock, self._say, self._sleep)

    def _read_clock(self) -> datetime:
        self.on_the_way()
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.pass_(seconds=seconds)

    def _say(self, said: str) -> None:
        leaks.look("what was said", said)
        self.said.append(said)
        self.on_the_way()

    @property
    def store(self) -> Store:
        return self.context.store

    def pass_(self, **time: float) -> None:
        """Let time pass: the keywords are timedelta's."""
        self.now += timedelta(**time)

    def install(self, source: str, kind: str = "jsonl", **changes: Any) -> int:
        """Add a job that was installed now; gives its number."""
        job = replace(JOB, source=source, created_at=self.now, schedule_since=self.now)
        return self.store.add_jobs([(replace(job, **changes), [FeedSpec(kind, source)])])[0].id

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Look at the file, or change it, past the store."""
        import sqlite3

        with sqlite3.connect(self.home.database) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute(statement, values)]
        database.close()
        return rows


@pytest.fixture
def home(tmp_path: Path) -> Home:
    data = tmp_path / "home"
    data.mkdir(mode=0o700)
    return Home(data / "config.toml", data, "none", is_default=False)


@pytest.fixture
def world(home: Home) -> World:
    return World(home)


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def complaint(self, code: int) -> str:
        """The one line that says why it ended with this exit code; below it there may be hints of what to type."""
        assert self.code == code, self
        first, *hints = self.err.splitlines()
        assert first.startswith("xtrack: "), self
        assert all(hint.startswith("  ") for hint in hints), self
        assert "Traceback" not in self.err, self
        return first


class Command:
    """The xtrack command in processes of its own, in one home without a scheduler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XTRACK_HOME": str(self.home),
            "XTRACK_SCHEDULER": "none",
            # Whatever a command does, it knows something that it may tell nobody.
            "XTRACK_X_TOKEN": TOKEN,
            # And nothing comes to the real X, for want of a proxy.
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }

    def __call__(
        self,
        *words: str,
        stdin: str = "",
        python: tuple[str, ...] = (),
        before: tuple[str, ...] = (),
        **environ: str,
    ) -> Outcome:
        """Type a command; `before` are the words of one that starts it, as in `nohup xtrack …`."""
        done = subprocess.run(
            [*before, sys.executable, *python, "-m", "xtrack", *words],
            cwd=self.folder,
            env={**self.environ, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def good(self, *words: str, **options: Any) -> Outcome:
        """A command that has to end well."""
        outcome = self(*words, **options)
        assert outcome.code == 0, outcome
        return outcome

    def installed(self, *words: str) -> int:
        """Install a job, by default hourly on the sample; gives its number."""
        every = () if "--every" in words else ("--every", "hourly")
        source = () if "--source" in words else ("--source", "sample")
        out = self.good("install-job", *words, *every, *source).out
        return int(out.split()[1])

    def configure(self, text: str) -> None:
        """Write the settings of this home."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        write_config(self.home / "config.toml", text)

    def job_count(self) -> int:
        if not (self.home / "xtrack.db").exists():
            return 0
        with Store(self.home / "xtrack.db") as store:
            return len(store.jobs(datetime.now(UTC)))

    def make_due(self, job_id: int, days: float = 1) -> None:
        """Have a job look as if it had been installed long ago and never run."""
        with Store(self.home / "xtrack.db") as store:
            since = datetime.now(UTC) - timedelta(days=days)
            store.update_job(job_id, lambda job: replace(job, schedule_since=since))


@pytest.fixture
def xtrack(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture(scope="session")
def _home_with_a_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = Command(tmp_path_factory.mktemp("installed"))
    command.installed()
    return command.home


@pytest.fixture
def hourly(xtrack: Command, _home_with_a_job: Path) -> Command:
    """The command in a home with job 1, hourly on the sample."""
    shutil.copytree(_home_with_a_job, xtrack.home)
    return xtrack
