"""What is typed or set wrong: a line, a hint, the exit code, and nothing is changed. By the command itself."""

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from tests.conftest import Command, Outcome, write_lines
from xtrack.cli import cli

SAMPLE = ("--source", "sample")
HOURLY = ("--every", "hourly")
RULE = "a handle has 1 to 15 of the characters A-Z a-z 0-9 _"


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "posts.jsonl", range(1, 4))


def refused(xtrack: Command, code: int, *words: str) -> Outcome:
    """A command that is refused in a line and a hint, and changes nothing."""
    before = contents(xtrack)
    outcome = xtrack(*words)
    outcome.complaint(code)
    assert outcome.out == ""
    assert contents(xtrack) == before
    return outcome


def contents(xtrack: Command) -> list[str]:
    """All that is in the database."""
    path = xtrack.home / "xtrack.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def by_timer(xtrack: Command) -> Outcome:
    """Start job 1 as its unit does, a slot of it being due."""
    xtrack.make_due(1)
    return xtrack("run-job", "1", XTRACK_TRIGGER="timer")


# jobs that are not there


def of_a_job(name: str) -> list[str]:
    """The words of a command on job 7, and whatever else it must be told."""
    words = [name]
    for param in cli.commands[name].params:
        if param.name in ("job_id", "job_ids"):
            words += ["7"] if isinstance(param, click.Argument) else ["--job", "7"]
        elif isinstance(param.type, click.Choice) and param.required:
            words.append(param.type.choices[0])
        elif isinstance(param, click.Argument) and param.required:
            words.append("ferry")
        elif param.name in ("topics", "yes"):
            words += {"topics": ["--topic", "wind"], "yes": ["--yes"]}[param.name]
    return words


TAKES_A_JOB = [name for name in cli.commands if "7" in of_a_job(name)]


def test_commands_that_take_a_job_are_found() -> None:
    assert {"update-job", "delete-job", "run-job", "list-runs", "logs", "export"} <= set(TAKES_A_JOB)


@pytest.mark.parametrize("name", TAKES_A_JOB)
def test_a_job_that_is_not_there_is_not_found(hourly: Command, name: str) -> None:
    outcome = refused(hourly, 66, *of_a_job(name))
    assert outcome.err == "xtrack: no job 7\n  xtrack list-jobs\n"


def test_one_job_that_is_not_there_stops_a_change_of_several(hourly: Command) -> None:
    for name in ("pause-job", "delete-job"):
        refused(hourly, 66, name, "1", "7", *(["--yes"] if name == "delete-job" else []))


# names, times, topics


@pytest.mark.parametrize("name", ["", "@@kaya", "sixteen_letters_", "käya", "kaya\n"])
def test_a_name_that_is_no_handle_is_refused_with_the_rule(xtrack: Command, name: str) -> None:
    outcome = refused(xtrack, 65, "install-job", name, *SAMPLE, *HOURLY)
    assert outcome.err.splitlines() == [f"xtrack: {name!r} is no X handle", f"  {RULE}"]
    assert not xtrack.home.exists()


def test_a_name_is_refused_by_update_and_from_a_list_too(hourly: Command, tmp_path: Path) -> None:
    listing = tmp_path / "names.txt"
    listing.write_text("kaya\nno handle\n")
    assert RULE in refused(hourly, 65, "update-job", "1", "a-b").err
    assert RULE in refused(hourly, 65, "install-job", "--from", "names.txt", *SAMPLE, *HOURLY).err
    listing.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(hourly, 65, "install-job", "--from", "names.txt", *SAMPLE, *HOURLY).err


TIMES = ("25:00", "24:00", "", "٠٧:٣٠", "Mon 08:00")
WEEKLY = ("08:00 Mon", "Mon 25:00")
FREQUENCIES = ("", "often", "7min", "٦h", "9" * 5000)


@pytest.mark.parametrize(
    "words",
    [
        *(["--every", "daily", "--at", time] for time in TIMES),
        *(["--every", "weekly", "--at", time] for time in WEEKLY),
        *(["--every", every] for every in FREQUENCIES),
    ],
    ids=lambda words: " ".join(words)[:20],
)
def test_a_time_or_frequency_that_cannot_be_is_a_usage_error(xtrack: Command, words: list[str]) -> None:
    outcome = refused(xtrack, 2, "install-job", *SAMPLE, *words)
    assert re.search("HH:MM|Mon 08:00|every_6_hours", outcome.err.splitlines()[1])
    assert len(outcome.err) < 1500
    assert not xtrack.home.exists()


@pytest.mark.parametrize(
    "words", [["--at", "25:00"], ["--every", "often"], ["--topic", "\x1b[m"], ["--at", "Mon 08:00"]]
)
def test_an_update_is_refused_as_an_install_is(hourly: Command, words: list[str]) -> None:
    refused(hourly, 65 if "--topic" in words else 2, "update-job", "1", *words)


@pytest.mark.parametrize("topic", ["", " \t ", "x" * 201, "wind\x1b[31m", "\u202ewind"])
def test_a_topic_that_says_nothing_or_too_much_is_refused(xtrack: Command, topic: str) -> None:
    outcome = refused(xtrack, 65, "install-job", *SAMPLE, *HOURLY, "--topic", topic)
    assert "is no topic" in outcome.err
    assert "at most 200 characters" in outcome.err
    assert not xtrack.home.exists()


def test_strange_topics_are_topics(xtrack: Command) -> None:
    topics = ["a", "C++", "(", "'; DROP TABLE jobs; --", "*", "🚲", "ترام", "--help me", "%i $HOME"]
    xtrack.installed(*(word for topic in topics for word in ("--topic", topic)))
    xtrack.good("run-job", "1")
    assert xtrack.good("show-job", "1", "--json").json["topics"] == topics


@pytest.mark.parametrize(
    ("words", "help_"),
    [
        (["instal-job"], ""),
        (["run-job"], " run-job"),
        (["run-job", "1", "2"], " run-job"),
        (["run-job", "1", "--qeue"], " run-job"),
        (["list-runs", "x\n\x1b[m"], " list-runs"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line_with_the_help_to_ask(
    xtrack: Command, words: list[str], help_: str
) -> None:
    outcome = refused(xtrack, 2, *words)
    assert outcome.err.splitlines()[1:] == [f"  xtrack{help_} --help"]
    assert "\x1b" not in outcome.err


def test_without_a_command_the_help_is_shown(xtrack: Command) -> None:
    outcome = xtrack()
    assert outcome.code == 2
    assert "Usage: xtrack" in outcome.err
    assert "Examples:" in outcome.err


# sources, one of each kind; the rest is in the tests of the sources


def missing(path: Path) -> None:
    """Nothing is there."""


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path)


WRONG_SOURCES = [(missing, 66, 75), (folder, 65, 65), (pipe, 65, 65), (device, 65, 65), (loop, 66, 75)]


@pytest.mark.parametrize(("make", "typed", "run"), WRONG_SOURCES)
def test_a_source_that_is_no_file_is_refused_and_fails_a_run(
    hourly: Command, posts: Path, make: Callable[[Path], None], typed: int, run: int
) -> None:
    hourly.good("update-job", "1", "--source", str(posts))
    posts.unlink()
    make(posts)
    assert str(posts) in refused(hourly, typed, "install-job", "--source", str(posts), *HOURLY).err
    for outcome in (by_timer(hourly), hourly("run-job", "1")):
        assert outcome.code == run, outcome
        assert re.search(rf"^run \d+: failed: {posts}", outcome.err, re.MULTILINE)
        assert "Traceback" not in outcome.err


def test_a_source_without_a_name_is_refused(hourly: Command) -> None:
    assert "sample" in refused(hourly, 78, "install-job", "--source", "", *HOURLY).err


# settings


def text(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.touch(0o600)
        path.write_bytes(content)

    return make


def huge(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 100 << 20)


def of_mode(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.touch()
        path.chmod(mode)

    return make


WRONG_SETTINGS = {
    "syntax": (text(b"parallel_runs = 4\nparallel runs = 4\n"), "at line 2", "edit "),
    "unknown": (text(b"parallel = 4\n"), "unknown setting parallel", "known: admin_email, budget, parallel_runs"),
    "value": (text(b"parallel_runs = 'many'\n"), "parallel_runs is 'many'", "a whole number"),
    "long value": (text(b"parallel_runs = '" + b"x" * 10_000 + b"'\n"), "parallel_runs is 'xxx", "a whole number"),
    "digits": (text(b"parallel_runs = " + b"9" * 5000), "no TOML", "edit "),
    "nested": (text(b"x = " + b"[" * 50_000), "no TOML", "edit "),
    "not UTF-8": (text(b"\xff\xfe\x00"), "not UTF-8", "edit "),
    "100 MB": (huge, "larger than 1 MiB", "ls -la "),
    "folder": (folder, "not a file", "ls -la "),
    "pipe": (pipe, "not a file", "ls -la "),
    "device": (device, "not a file", "ls -la "),
    "loop": (loop, "Too many levels of symbolic links", "ls -la "),
    "read by all": (of_mode(0o644), "(mode 0644)", "chmod 600 "),
    "read by a group": (of_mode(0o640), "(mode 0640)", "chmod 600 "),
    "written by all": (of_mode(0o602), "(mode 0602)", "chmod 600 "),
}


@pytest.mark.parametrize("name", WRONG_SETTINGS)
def test_settings_that_are_wrong_fail_what_reads_them_until_they_are_right(hourly: Command, name: str) -> None:
    make, said, hint = WRONG_SETTINGS[name]
    config = hourly.home / "config.toml"
    make(config)
    outcome = by_timer(hourly)
    assert outcome.code == 78, outcome
    (failed,) = [line for line in outcome.err.splitlines() if ": failed: " in line]
    assert said in failed
    assert str(config) in failed
    assert f"({hint}" in failed
    assert len(outcome.err.splitlines()) == 2
    assert len(failed) < 600
    (check,) = [check for check in hourly("doctor", "--json").json if not check["ok"]]
    assert check["name"] in ("config", "permissions")
    assert check["hint"].startswith(hint)
    config.rmdir() if config.is_dir() else config.unlink()
    hourly.good("run-job", "1")
    assert [run["exit_code"] for run in hourly.good("list-runs", "--json").json] == [0, 78]


@pytest.mark.parametrize("name", ["syntax", "read by all"])
def test_settings_that_are_wrong_fail_what_is_typed(hourly: Command, name: str) -> None:
    make, said, hint = WRONG_SETTINGS[name]
    hourly.make_due(1)
    make(hourly.home / "config.toml")
    outcome = hourly("run-due")
    assert said in outcome.complaint(78)
    assert outcome.err.splitlines()[1].startswith(f"  {hint}")
    assert hourly("run-job", "1").code == 78
    # Nothing else reads them.
    for words in (["list-jobs"], ["pause-job", "1"], ["delete-job", "1", "--yes"]):
        hourly.good(*words)


def test_the_hint_on_open_settings_is_what_mends_them(hourly: Command) -> None:
    of_mode(0o666)(hourly.home / "config.toml")
    mend = re.search(r"\((chmod 600 \S+)\)", hourly("run-job", "1").err)
    assert mend
    subprocess.run(mend[1].split(), check=True)
    hourly.good("run-job", "1")
    hourly.good("doctor")
