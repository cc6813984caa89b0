"""The command as it is typed, in processes of its own, in a home without a scheduler."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Command, flocked, line, write_lines
from xtrack.cli import cli
from xtrack.config import machine_zone

UTC_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
COMMANDS = sorted(cli.commands)
JOB_KEYS = [
    *("id", "state", "source", "names", "topics", "frequency", "at", "created_at", "last_run", "last_result"),
    *("next_run", "overdue_since", "problem", "timer", "exclude", "exclude_at_source", "budget", "summarizer"),
    *("prompt", "language", "emails", "mail_quiet", "mails_not_sent", "lost_accounts"),
]
RUN_KEYS = [
    *("id", "job", "trigger", "state", "slot", "missed", "started_at", "finished_at", "stage", "new_posts"),
    *("exit_code", "error", "next_try"),
]
SUMMARY_KEYS = [
    *("id", "job", "run", "created_at", "method", "headline", "posts", "omitted", "notices"),
    *("model", "input_tokens", "output_tokens", "cost", "lines"),
]
POST_KEYS = ["id", "author", "author_name", "created_at", "kind", "text", "url", "original"]


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "posts.jsonl", range(1, 4))


def due_job(xtrack: Command, source: Path, *words: str) -> int:
    """A job with a slot to be tried."""
    job_id = xtrack.installed("--source", str(source), *words)
    xtrack.make_due(job_id)
    return job_id


# help


def test_the_program_says_what_it_is(xtrack: Command) -> None:
    outcome = xtrack.good("--help")
    assert "Examples:" in outcome.out
    assert all(command in outcome.out for command in COMMANDS)
    assert re.fullmatch(r"xtrack, version \d+\.\d+\.\d+\n", xtrack.good("--version").out)


def test_the_commands_are_the_design_s() -> None:
    jobs = {"install-job", "update-job", "pause-job", "resume-job", "delete-job", "run-job", "list-jobs", "show-job"}
    rest = {"run-due", "list-runs", "logs", "list-summaries", "show-summary", "sync", "doctor", "uninstall"}
    assert set(COMMANDS) >= jobs | rest


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(xtrack: Command, command: str) -> None:
    outcome = xtrack.good(command, "--help")
    example = outcome.out.partition("Example")[2]
    assert f"xtrack {command}" in example


def test_an_unknown_command_is_a_usage_error(xtrack: Command) -> None:
    outcome = xtrack("instal-job")
    assert outcome.code == 2
    assert "instal-job" in outcome.err


def test_no_command_leaves_anything_where_no_job_was_installed(xtrack: Command) -> None:
    for words in (["list-jobs"], ["run-due"], ["doctor"], ["show-job", "1"], ["run-job", "1"], ["--help"]):
        xtrack(*words)
    assert not xtrack.home.exists()


# install-job


def test_install_says_what_was_made(xtrack: Command) -> None:
    outcome = xtrack.good("install-job", "--source", "sample", "--every", "hourly", "--at", "00:17", "--topic", "wind")
    first, second, third, *posts = outcome.out.splitlines()
    assert first == "Job 1 installed: watches the bundled sample, on wind, every hour."
    assert re.fullmatch(r"Next run: \w{3} \d{4}-\d\d-\d\d \d\d:17 \S+", second)
    assert third == "The first posts of its source:"
    assert len(posts) == 3
    assert all(re.match(r"  @\w+", line) and len(line) <= 80 for line in posts)
    assert "xtrack run-due" in outcome.err


def test_several_names_make_one_job(xtrack: Command, posts: Path) -> None:
    outcome = xtrack.good("install-job", "@kaya", "mira", "@KAYA", "--source", str(posts), "--every", "daily")
    assert f"Job 1 installed: watches @kaya, @mira in {posts}, every day." in outcome.out
    assert len(xtrack.good("list-jobs", "--json").json) == 1


def test_a_file_is_made_absolute(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", posts.name)
    xtrack.installed("--source", "~/" + posts.name)
    assert [job["source"] for job in xtrack.good("list-jobs", "--json").json] == [str(posts)] * 2


def test_the_data_folder_is_for_its_owner_s_eyes(xtrack: Command) -> None:
    xtrack.installed()
    assert xtrack.home.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--every", "hourly"], 2, "--source"),
        (["@kaya", "--every", "hourly"], 78, "x.token"),
        (["--source", "sample"], 2, "--every"),
        (["--source", "sample", "--every", "often"], 2, "every_6_hours"),
        (["--source", "sample", "--every", "daily", "--at", "25:00"], 2, "HH:MM"),
        (["--source", "sample", "--every", "5min", "--at", "07:00"], 2, "takes no --at"),
        (["--source", "sample", "--every", "hourly", "--topic", " "], 65, "no topic"),
        (["@way_too_long_a_name", "--source", "sample", "--every", "hourly"], 65, "no X handle"),
        (["@a-b", "--source", "sample", "--every", "hourly"], 65, "A-Z a-z 0-9 _"),
        (["", "--source", "sample", "--every", "hourly"], 65, "no X handle"),
        (["@nobody", "--source", "sample", "--every", "hourly"], 66, "nobody"),
        (["--source", "./missing.jsonl", "--every", "hourly"], 66, "missing.jsonl"),
        (["--source", ".", "--every", "hourly"], 65, "no X archive"),
        (["--source", "else", "--every", "hourly"], 78, "sample"),
        (["--source", "gopher://example.com/feed", "--every", "hourly"], 78, "sample"),
    ],
)
def test_what_cannot_be_installed_is_refused_in_a_line_and_stores_nothing(
    xtrack: Command, words: list[str], code: int, said: str
) -> None:
    outcome = xtrack("install-job", *words, XTRACK_X_TOKEN="")
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert xtrack.job_count() == 0


def test_a_file_that_holds_no_posts_is_bad_data(xtrack: Command, posts: Path) -> None:
    posts.write_text("these are notes\n")
    outcome = xtrack("install-job", "--source", str(posts), "--every", "hourly")
    assert outcome.code == 65
    assert "line 1" in outcome.err


def test_a_file_whose_name_is_no_text_is_no_bug(xtrack: Command, posts: Path) -> None:
    strange = os.fsdecode(os.fsencode(posts.parent) + b"/\xff.jsonl")
    posts.rename(strange)
    outcome = xtrack("install-job", "--source", strange, "--every", "hourly")
    assert outcome.code in (0, 65, 78), outcome


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(xtrack: Command, posts: Path) -> None:
    posts.chmod(0)
    outcome = xtrack("install-job", "--source", str(posts), "--every", "hourly")
    assert outcome.code == 77
    assert "ls -l" in outcome.err


def test_a_home_that_cannot_be_made_is_refused(xtrack: Command, posts: Path) -> None:
    outcome = xtrack("install-job", "--source", "sample", "--every", "hourly", XTRACK_HOME=str(posts / "home"))
    assert outcome.code == 77
    assert "XTRACK_HOME" in outcome.err


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
@pytest.mark.parametrize("scheduler", ["systemd-user", "launchd", "upstart"])
def test_where_no_scheduler_answers_the_other_way_is_named(xtrack: Command, scheduler: str) -> None:
    outcome = xtrack("install-job", "--source", "sample", "--every", "hourly", XTRACK_SCHEDULER=scheduler)
    assert outcome.code == 78
    assert "none" in outcome.err
    assert not (xtrack.home / "xtrack.db").exists()


# update-job, pause-job, resume-job, delete-job


def test_update_changes_what_is_named_and_keeps_the_rest(xtrack: Command, posts: Path) -> None:
    job_id = xtrack.installed("@kaya", "--source", str(posts), "--topic", "tide", "--at", "00:20")
    outcome = xtrack.good("update-job", str(job_id), "--every", "every_6_hours", "--at", "03:15")
    assert "Job 1 updated: watches @kaya in" in outcome.out
    (job,) = xtrack.good("list-jobs", "--json").json
    assert (job["frequency"], job["at"], job["names"], job["topics"]) == ("every_6_hours", "03:15", ["kaya"], ["tide"])
    xtrack.good("update-job", str(job_id), "mira", "--topic", "wind", "--topic", "rain")
    (job,) = xtrack.good("list-jobs", "--json").json
    assert (job["frequency"], job["names"], job["topics"]) == ("every_6_hours", ["mira"], ["wind", "rain"])
    xtrack.good("update-job", str(job_id), "--no-names", "--no-topics", "--source", "sample")
    (job,) = xtrack.good("list-jobs", "--json").json
    assert (job["names"], job["topics"], job["source"]) == ([], [], "sample")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--at", "25:00"], 2),
        (["--every", "often"], 2),
        (["--source", "./missing.jsonl"], 66),
        (["a-b"], 65),
        (["@nobody"], 66),
        (["--topic", ""], 65),
    ],
)
def test_an_update_that_cannot_be_changes_nothing(xtrack: Command, words: list[str], code: int) -> None:
    xtrack.installed()
    before = xtrack.good("show-job", "1", "--json").json
    assert xtrack("update-job", "1", *words).code == code
    assert xtrack.good("show-job", "1", "--json").json == before


def test_pause_and_resume(xtrack: Command) -> None:
    xtrack.installed()
    assert "xtrack resume-job 1" in xtrack.good("pause-job", "1").out
    paused = xtrack.good("show-job", "1", "--json").json
    assert (paused["state"], paused["next_run"]) == ("paused", None)
    xtrack.good("pause-job", "1")
    assert "Next run: " in xtrack.good("resume-job", "1").out
    assert xtrack.good("show-job", "1", "--json").json["state"] == "active"


def test_resuming_asks_for_no_run(xtrack: Command, posts: Path) -> None:
    due_job(xtrack, posts)
    xtrack.good("pause-job", "1")
    xtrack.good("resume-job", "1")
    xtrack.good("run-due")
    assert xtrack.good("list-runs", "--json").json == []


def test_delete_asks_and_takes_no_for_an_answer(xtrack: Command) -> None:
    xtrack.installed()
    outcome = xtrack("delete-job", "1", stdin="n\n")
    assert outcome.code != 0
    assert "cannot be undone" in outcome.out + outcome.err
    assert xtrack("delete-job", "1", stdin="").code != 0
    assert len(xtrack.good("list-jobs", "--json").json) == 1


def test_delete_takes_runs_and_summaries_along(xtrack: Command) -> None:
    xtrack.installed()
    xtrack.good("run-job", "1")
    assert "not used again" in xtrack.good("delete-job", "1", stdin="y\n").out
    assert xtrack.good("list-jobs", "--json").json == []
    assert xtrack.good("list-runs", "--json").json == []
    assert xtrack("show-summary", "1").code == 66
    assert not (xtrack.home / "locks" / "job-1").exists()


def test_a_number_is_never_used_again(xtrack: Command) -> None:
    xtrack.installed()
    xtrack.good("delete-job", "1", "--yes")
    assert xtrack.installed() == 2


# what is not there


@pytest.mark.parametrize(
    "words",
    [
        *(["update-job", "7", "--topic", "x"], ["pause-job", "7"], ["resume-job", "7"], ["delete-job", "7", "--yes"]),
        *(["run-job", "7"], ["show-job", "7"], ["list-runs", "7"], ["list-summaries", "7"], ["logs", "7"]),
        *(["show-summary", "7"], ["show-job", "7", "--json"]),
    ],
)
def test_what_is_not_there_is_not_found_and_the_hint_lists_what_is(xtrack: Command, words: list[str]) -> None:
    xtrack.installed()
    outcome = xtrack(*words)
    assert (outcome.code, outcome.out) == (66, "")
    assert "xtrack list-" in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ["run-job", "0"],
        ["show-job", "-1"],
        ["show-job", "one"],
        ["show-job"],
        ["show-job", "9" * 20],
        ["show-summary", "9" * 20],
    ],
)
def test_what_is_no_number_is_a_usage_error(xtrack: Command, words: list[str]) -> None:
    assert xtrack(*words).code == 2


def test_before_the_first_job_one_is_told_how_to_make_it(xtrack: Command) -> None:
    assert "xtrack install-job" in xtrack.good("list-jobs").err
    assert xtrack.good("list-jobs", "--json").json == []
    outcome = xtrack("show-job", "1")
    assert outcome.code == 66
    assert "xtrack install-job" in outcome.err


# runs


def test_a_run_by_hand_says_on_stderr_what_it_does(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    outcome = xtrack.good("run-job", "1")
    assert outcome.out == ""
    assert [said.partition(": ")[0] for said in outcome.err.splitlines()] == ["run 1"] * 3


def test_a_run_whose_source_is_away_is_temporary(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    posts.unlink()
    outcome = xtrack("run-job", "1")
    assert outcome.code == 75
    assert xtrack.good("list-runs", "--json").json[0]["exit_code"] == 75
    assert "failed (75)" in xtrack.good("list-jobs").out


def test_a_run_on_a_bad_line_is_bad_data(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    posts.write_text(line(1) + "no JSON\n")
    outcome = xtrack("run-job", "1")
    assert outcome.code == 65
    assert "line 2" in outcome.err


def test_a_second_run_by_hand_is_told_that_one_is_going_on(xtrack: Command) -> None:
    xtrack.installed()
    with flocked(xtrack.home / "locks" / "job-1"):
        outcome = xtrack("run-job", "1")
    assert outcome.code == 75
    assert "xtrack list-runs 1" in outcome.err


def test_a_timer_s_start_without_a_slot_is_silent(xtrack: Command) -> None:
    xtrack.installed()
    outcome = xtrack.good("run-job", "1", XTRACK_TRIGGER="timer")
    assert (outcome.out, outcome.err) == ("", "")
    assert xtrack.good("list-runs", "--json").json == []


def test_a_timer_s_start_of_an_unknown_job_is_silent(xtrack: Command) -> None:
    assert xtrack.good("run-job", "1", XTRACK_TRIGGER="timer").err == ""
    xtrack.installed()
    assert xtrack.good("run-job", "7", XTRACK_TRIGGER="timer").err == ""


def test_the_invocation_of_a_unit_is_stored(xtrack: Command) -> None:
    import sqlite3

    xtrack.installed()
    xtrack.make_due(1)
    xtrack.good("run-job", "1", XTRACK_TRIGGER="timer", INVOCATION_ID="0123abcd")
    database = sqlite3.connect(xtrack.home / "xtrack.db")
    assert database.execute("SELECT invocation_id FROM runs").fetchall() == [("0123abcd",)]
    database.close()


# run-due


def test_run_due_does_what_is_due_and_nothing_else(xtrack: Command, posts: Path) -> None:
    due_job(xtrack, posts)
    xtrack.installed("--source", str(posts))
    paused = due_job(xtrack, posts)
    xtrack.good("pause-job", str(paused))
    xtrack.good("run-due")
    (run,) = xtrack.good("list-runs", "--json").json
    assert (run["job"], run["trigger"], run["state"]) == (1, "timer", "done")
    assert run["missed"] in (22, 23, 24)
    assert xtrack.good("run-due").err == ""
    assert len(xtrack.good("list-runs", "--json").json) == 1


def test_run_due_of_what_will_be_tried_again_is_temporary(xtrack: Command, posts: Path) -> None:
    due_job(xtrack, posts)
    posts.unlink()
    assert xtrack("run-due").code == 75
    assert xtrack.good("list-runs", "--json").json[0]["next_try"]
    assert xtrack("run-due").code == 0


def test_run_due_exits_with_the_highest_other_code(xtrack: Command, posts: Path) -> None:
    away = write_lines(posts.parent / "away.jsonl", [1])
    bad = write_lines(posts.parent / "bad.jsonl", [1])
    due_job(xtrack, posts)
    due_job(xtrack, away)
    due_job(xtrack, away, "--every", "5min")
    due_job(xtrack, bad)
    away.unlink()
    bad.write_text("no JSON\n")
    assert xtrack("run-due").code == 69
    assert sorted(run["exit_code"] for run in xtrack.good("list-runs", "--json").json) == [0, 65, 69, 75]


def test_run_due_leaves_out_a_job_that_is_being_run(xtrack: Command, posts: Path) -> None:
    due_job(xtrack, posts)
    due_job(xtrack, posts)
    with flocked(xtrack.home / "locks" / "job-1"):
        xtrack.good("run-due")
    assert [run["job"] for run in xtrack.good("list-runs", "--json").json] == [2]


def test_run_due_tries_again_what_died(xtrack: Command, posts: Path) -> None:
    """A run's process is killed while it waits for its place."""
    due_job(xtrack, posts)
    xtrack.configure("parallel_runs = 1\n")
    with flocked(xtrack.home / "locks" / "place-1"):
        run = subprocess.Popen(
            [sys.executable, "-m", "xtrack", "run-job", "1"],
            env={**xtrack.environ, "XTRACK_TRIGGER": "timer"},
            stderr=subprocess.PIPE,
        )
        assert run.stderr
        assert run.stderr.readline().startswith(b"run 1: job 1, slot")
        run.kill()
        run.wait()
        run.stderr.close()
    xtrack.good("run-due")
    (died,) = xtrack.good("list-runs", "--json").json
    assert (died["state"], died["exit_code"], died["next_try"] is not None) == ("died", 75, True)


def test_run_due_does_not_run_what_lies_in_the_caller_s_folder(xtrack: Command, posts: Path) -> None:
    """Cron calls from the user's home, where a file may be called like a module, and anybody writes to /tmp."""
    due_job(xtrack, posts)
    (xtrack.folder / "click.py").write_text("raise SystemExit(99)\n")
    command = Path(sys.executable).with_name("xtrack")
    done = subprocess.run([command, "run-due"], cwd=xtrack.folder, env=xtrack.environ, check=False)
    assert done.returncode == 0


def test_run_due_without_any_job_is_well(xtrack: Command) -> None:
    assert xtrack.good("run-due").err == ""


# lists and shows


def test_several_jobs_read_one_file_with_topics_of_their_own(xtrack: Command, posts: Path) -> None:
    posts.write_text(
        line(1, text="The ferry to the islands is late by an hour today.")
        + line(2, text="Wind power covers half of the electricity in town.")
    )
    xtrack.installed("--source", str(posts), "--topic", "ferry")
    xtrack.installed("--source", str(posts), "--topic", "wind power", "--every", "daily", "--at", "07:30")
    for job_id in ("1", "2"):
        xtrack.good("run-job", job_id)
    first, second = (xtrack.good("show-summary", number, "--json").json for number in ("1", "2"))
    assert [item["text"] for item in first["lines"]] == ["The ferry to the islands is late by an hour today."]
    assert [item["text"] for item in second["lines"]] == ["Wind power covers half of the electricity in town."]


def test_a_digest_on_a_terminal_has_authors_links_and_its_label(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    xtrack.good("run-job", "1")
    out = xtrack.good("show-summary", "1").out
    assert out.startswith("Digest 1 of job 1, ")
    assert "not written by a model" in out
    assert re.search(r"@kaya +https://x\.com/kaya/status/\d+", out)
    assert len(out.splitlines()) <= 50


def test_the_shapes_of_json(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts), "--topic", "ferry")
    xtrack.good("run-job", "1")
    (job,) = xtrack.good("list-jobs", "--json").json
    assert list(job) == JOB_KEYS
    assert xtrack.good("show-job", "1", "--json").json == job
    assert list(job["last_result"]) == RUN_KEYS
    (run,) = xtrack.good("list-runs", "1", "--json").json
    assert run == job["last_result"]
    (summary,) = xtrack.good("list-summaries", "1", "--json").json
    assert list(summary) == SUMMARY_KEYS
    shown = xtrack.good("show-summary", "1", "--json").json
    assert shown == {**summary, "cited": shown["cited"]}
    assert [list(post) for post in shown["cited"]] == [POST_KEYS] * len(shown["cited"])
    cited = {post_id for item in summary["lines"] for post_id in item["posts"]}
    assert cited == {post["id"] for post in shown["cited"]}
    assert all(isinstance(post_id, str) for post_id in cited)


def test_times_in_json_are_utc(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    xtrack.good("run-job", "1", TZ="Asia/Tokyo")
    shown = [
        xtrack.good(*words, "--json", TZ="Asia/Tokyo").out
        for words in (["list-jobs"], ["list-runs"], ["list-summaries"], ["show-summary", "1"])
    ]
    times = re.findall(r'"(?:created_at|last_run|next_run|started_at|finished_at)": "([^"]*)"', "".join(shown))
    assert len(times) >= 8
    assert all(re.fullmatch(UTC_TIME, moment) for moment in times)


def test_before_its_first_run_a_job_has_the_same_keys(xtrack: Command) -> None:
    xtrack.installed()
    job = xtrack.good("show-job", "1", "--json").json
    assert list(job) == JOB_KEYS
    assert (job["last_run"], job["last_result"]) == (None, None)


def test_lists_on_a_terminal_have_heads(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    assert "xtrack run-job" in xtrack.good("list-runs").err
    assert "xtrack run-job" in xtrack.good("list-summaries").err
    xtrack.good("run-job", "1")
    assert xtrack.good("list-jobs").out.split()[:3] == ["JOB", "STATE", "EVERY"]
    assert xtrack.good("list-runs").out.split()[:3] == ["RUN", "JOB", "BY"]
    assert xtrack.good("list-summaries").out.split()[:3] == ["SUMMARY", "JOB", "WRITTEN"]
    assert "3 new" in xtrack.good("show-job", "1").out


def test_a_limit_limits(xtrack: Command, posts: Path) -> None:
    xtrack.installed("--source", str(posts))
    for _ in range(2):
        xtrack.good("run-job", "1")
    assert [run["id"] for run in xtrack.good("list-runs", "--limit", "1", "--json").json] == [2]
    assert [item["id"] for item in xtrack.good("list-summaries", "--limit", "1", "--json").json] == [2]
    assert xtrack("list-runs", "--limit", "0").code == 2
    assert xtrack("list-runs", "--limit", "99999999999999999999").code in (0, 2)


def test_an_overdue_job_says_so(xtrack: Command, posts: Path) -> None:
    twenty_minutes_ago = datetime.now(machine_zone()) - timedelta(minutes=20)
    due_job(xtrack, posts, "--at", f"{twenty_minutes_ago:%H:%M}")
    assert "overdue since" in xtrack.good("list-jobs").out
    assert re.fullmatch(UTC_TIME, xtrack.good("show-job", "1", "--json").json["overdue_since"])
    outcome = xtrack("doctor")
    assert outcome.code == 78
    assert "FAIL  slots: job 1" in outcome.out


def test_a_job_that_has_missed_slots_is_overdue_also_while_the_next_slot_is_fresh(xtrack: Command, posts: Path) -> None:
    due_job(xtrack, posts)
    assert "overdue since" in xtrack.good("list-jobs").out
    assert xtrack("doctor").code == 78


# the rest


def test_doctor_is_content_with_a_sound_home(xtrack: Command) -> None:
    xtrack.installed()
    outcome = xtrack.good("doctor")
    assert "FAIL" not in outcome.out
    checks = xtrack.good("doctor", "--json").json
    assert [list(check) for check in checks] == [["name", "ok", "detail", "hint"]] * len(checks)
    assert {check["name"] for check in checks} == {
        *("config", "permissions", "secrets", "clock", "scheduler", "database", "disk", "ledger", "mails"),
        *("timers", "slots"),
    }


def test_doctor_finds_a_damaged_database(xtrack: Command) -> None:
    xtrack.installed()
    (xtrack.home / "xtrack.db").write_text("no database, " * 500)
    for leftover in ("xtrack.db-wal", "xtrack.db-shm"):
        (xtrack.home / leftover).unlink(missing_ok=True)
    outcome = xtrack("doctor")
    assert outcome.code == 78
    assert "FAIL  database" in outcome.out
    assert xtrack("list-jobs").code == 65


def test_doctor_finds_a_config_that_is_wrong(xtrack: Command) -> None:
    xtrack.installed()
    xtrack.configure("parallel = 1\n")
    outcome = xtrack("doctor")
    assert outcome.code == 78
    assert "parallel" in outcome.out


def test_a_newer_database_is_refused(xtrack: Command) -> None:
    import sqlite3

    xtrack.installed()
    with sqlite3.connect(xtrack.home / "xtrack.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    outcome = xtrack("list-jobs")
    assert outcome.code == 78
    assert "upgrade xtrack" in outcome.err


def test_sync_without_a_scheduler_has_nothing_to_do(xtrack: Command) -> None:
    xtrack.installed()
    assert xtrack.good("sync", "--dry-run").out == xtrack.good("sync").out == "All timers are as the jobs say.\n"


def test_uninstall_asks_and_keeps_the_data(xtrack: Command) -> None:
    xtrack.installed()
    assert xtrack("uninstall", stdin="n\n").code != 0
    outcome = xtrack.good("uninstall", "--yes")
    assert str(xtrack.home) in outcome.err
    assert len(xtrack.good("list-jobs", "--json").json) == 1


def test_logs_without_a_scheduler_are_elsewhere(xtrack: Command) -> None:
    xtrack.installed()
    outcome = xtrack("logs", "1")
    assert outcome.code == 78
    assert "xtrack list-runs" in outcome.err


@pytest.mark.skipif(os.getuid() == 0, reason="root may")
def test_jobs_of_the_whole_system_are_root_s(xtrack: Command) -> None:
    outcome = xtrack("list-jobs", "--system")
    assert outcome.code == 77
    assert "sudo" in outcome.err


def test_a_reader_that_goes_away_is_no_failure_to_speak_of(xtrack: Command) -> None:
    for _ in range(3):
        xtrack.installed()
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "xtrack", "list-jobs", "--json"],
        env=xtrack.environ,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reader)
    os.close(writer)
    _, err = process.communicate(timeout=30)
    assert err == ""
    assert process.returncode in (0, 141)


def test_ctrl_c_stops_a_run_in_a_line(xtrack: Command, posts: Path) -> None:
    import signal

    xtrack.installed("--source", str(posts))
    xtrack.configure("parallel_runs = 1\n")
    with flocked(xtrack.home / "locks" / "place-1"):
        run = subprocess.Popen(
            [sys.executable, "-m", "xtrack", "run-job", "1"], env=xtrack.environ, stderr=subprocess.PIPE, text=True
        )
        assert run.stderr
        assert run.stderr.readline().startswith("run 1")
        time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        err = run.communicate(timeout=30)[1]
    assert run.returncode == 130
    assert "Traceback" not in err
    assert xtrack.good("run-job", "1").code == 0


def test_a_bug_is_owned_up_to(xtrack: Command) -> None:
    """The database's table is gone, which nobody foresaw."""
    import sqlite3

    xtrack.installed()
    with sqlite3.connect(xtrack.home / "xtrack.db") as database:
        database.execute("DROP TABLE runs")
    database.close()
    outcome = xtrack("list-runs")
    assert outcome.code == 70
    told = re.search(r"written to (\S+)\n  please report it", outcome.err)
    assert told
    assert "no such table: runs" in Path(told[1]).read_text()
    assert "Traceback" in xtrack("list-runs", XTRACK_DEBUG="1").err


def test_json_is_readable_whatever_the_locale(xtrack: Command) -> None:
    xtrack.installed("--topic", "潮汐 – Höchststand")
    outcome = xtrack.good("list-jobs", "--json", LC_ALL="C")
    assert json.loads(outcome.out)[0]["topics"] == ["潮汐 – Höchststand"]
