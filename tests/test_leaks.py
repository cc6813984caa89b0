"""The search for X's token, which runs after every test, finds it; in these tests it is where it should not be."""

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import leaks
from tests.conftest import write_config
from tests.peers.x.api import TOKEN
from tests.processes import PROJECT
from xtrack.settings import Secret, _token

HALF = len(TOKEN) // 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is searched here alone, and what was found is no fault."""
    found = tmp_path / "searched"
    found.mkdir()
    yield found
    leaks.meant.add(found)
    leaks.taken()


def below(folder: Path) -> list[str]:
    """The files that it is found in."""
    leaks.look_below(folder)
    return sorted(Path(where.removeprefix("the file ")).name for where in leaks.taken())


def test_the_token_is_one_that_x_may_give() -> None:
    assert _token(TOKEN) == Secret(TOKEN)
    assert set("%+/=~-._") <= set(TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        *(TOKEN, TOKEN[:HALF], TOKEN[HALF:], f"Bearer {TOKEN}\r\n", repr(Secret(TOKEN).reveal()), json.dumps([TOKEN])),
        *(quote(TOKEN), quote(TOKEN, safe=""), quote(quote(TOKEN, safe=""), safe=""), re.escape(TOKEN)),
        *(base64.b64encode(f"{'.' * before}{TOKEN}{after}".encode()) for before in range(4) for after in ("", ".")),
        *(base64.urlsafe_b64encode(f"ab:{half}".encode()) for half in (TOKEN[:HALF], TOKEN[HALF:])),
        base64.b64encode(quote(f"Bearer {TOKEN}").encode()),
    ],
)
def test_it_is_found_however_it_is_written(text: str | bytes) -> None:
    assert leaks.holds(text)


@pytest.mark.parametrize("text", ["", "AAAA%2B", "token = ***", TOKEN[:9], TOKEN[-9:], b"\xff\x00"])
def test_what_tells_nothing_of_it_is_not_found(text: str | bytes) -> None:
    assert not leaks.holds(text)


def test_it_is_found_in_a_database_and_in_its_log(folder: Path) -> None:
    for name in ("closed.db", "open.db"):
        with closing(sqlite3.connect(folder / name, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE said (text TEXT)")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("INSERT INTO said VALUES (?)", [f"the token is {TOKEN}"])
            if name == "open.db":
                assert below(folder) == ["closed.db", "open.db-wal"]


def test_it_is_found_in_files_and_their_names_but_where_it_belongs(folder: Path) -> None:
    (folder / "units" / "deep").mkdir(parents=True)
    for name in ("units/deep/xtrack.service", "bug-1.txt", ".hidden", "config.toml", "config.toml.old"):
        (folder / name).write_text(f"x\n{quote(TOKEN)}\n")
    (folder / quote(TOKEN, safe="")).touch()
    write_config(folder / "told.toml", TOKEN)
    (folder / "link").symlink_to(folder / "config.toml")
    (folder / "units" / "nowhere").symlink_to(folder / "missing")
    os.mkfifo(folder / "pipe")
    assert below(folder) == sorted((quote(TOKEN, safe=""), ".hidden", "bug-1.txt", "config.toml.old", "xtrack.service"))


def test_it_is_found_in_the_arguments_of_what_a_child_runs() -> None:
    code = "import subprocess, sys; subprocess.run(['sh', '-c', 'echo; read end', sys.stdin.readline()])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        leaks.look_at_processes()
        assert leaks.taken() == []
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{TOKEN}\n".encode())
        process.stdin.flush()
        process.stdout.readline()
        leaks.look_at_processes()
        (found,) = leaks.taken()
    assert re.fullmatch(r"the arguments of process \d+", found)


# What tests may do, each with what becomes of it.
TESTS = """
import logging, subprocess, sys

import pytest

from tests.conftest import write_config
from tests.peers.x.api import TOKEN

@pytest.fixture
def later():
    yield
    print(TOKEN)

@pytest.fixture(scope="module")
def child():
    with subprocess.Popen(["bash", "-c", 'exec -a "$0 $TOKEN" sleep 60'], env={"TOKEN": TOKEN}) as process:
        while TOKEN not in open(f"/proc/{process.pid}/cmdline").read():
            pass
        yield
        process.kill()

def test_good(tmp_path, xtrack):
    (tmp_path / "config.toml").write_text(TOKEN)
    write_config(tmp_path / "settings", TOKEN)
    xtrack.configure(TOKEN)
    assert xtrack("list-jobs").err

def test_bad_file(tmp_path):
    (tmp_path / "note").write_text(TOKEN)

def test_bad_said(world):
    world.context.say(TOKEN)

def test_bad_printed():
    print(TOKEN, file=sys.stderr)

def test_bad_printed_later(later):
    pass

def test_bad_logged():
    logging.getLogger("urllib3").warning("%s", TOKEN)

def test_bad_argument():
    subprocess.run([sys.executable, "-c", "", TOKEN], check=True)

def test_bad_output(xtrack):
    xtrack("list-jobs", python=("-c", "import os; print(os.environ['XTRACK_X_TOKEN'])"))

def test_bad_child(child):
    pass

def test_good_again(tmp_path):
    # The child ends before this test does.
    pass
"""


def test_a_test_that_leaves_it_anywhere_fails(folder: Path) -> None:
    """In a pytest of its own, with what all tests share."""
    (folder / "test_all.py").write_text(TESTS)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rE", "--show-capture=no"]
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={folder}", f"--basetemp={folder / 'tmp'}"]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([*command, *options], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    failed = set(re.findall(r"^ERROR test_all\.py::(\w+)", done.stdout, re.MULTILINE))
    assert failed == set(re.findall(r"^def (test_bad\w*)", TESTS, re.MULTILINE)), done.stdout + done.stderr
    assert re.search(r"\b10 passed, 8 errors", done.stdout), done.stdout
