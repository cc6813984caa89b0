"""The outbox: each digest reaches each recipient once, whatever the mail server does; alarms and their end."""

import email
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.policy import default
from typing import Any

import pytest

from tests.conftest import JOB, Command, World, write_config, write_lines
from tests.peers.smtp import Smtp
from tests.processes import forked
from xtrack import outbox, outcomes
from xtrack.doctor import examine
from xtrack.due import run_due
from xtrack.errors import UsageError
from xtrack.models import FeedSpec
from xtrack.run import run_job

KAYA, MIRA = "kaya@example.org", "mira@example.org"


@pytest.fixture(scope="module")
def server() -> Iterator[Smtp]:
    with Smtp() as server:
        yield server


@pytest.fixture
def smtp(server: Smtp) -> Smtp:
    server.do("reset")
    return server


@pytest.fixture
def mailing(world: World, smtp: Smtp) -> World:
    """A home that can mail."""
    configure(world, smtp)
    return world


def configure(world: World, smtp: Smtp, top: str = "") -> None:
    told = {"host": "127.0.0.1", "port": smtp.ports["none"], "security": "none", "from": "digests@example.org"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    write_config(world.home.config, "\n".join([top, "[mail]", *lines]))


def job_on(world: World, *emails: str, posts: int = 2, **changes: Any) -> int:
    """A job on a file with some posts that is mailed."""
    path = write_lines(world.home.data / "posts.jsonl", range(posts))
    job = replace(JOB, source=str(path), emails=emails, created_at=world.now, schedule_since=world.now, **changes)
    return world.store.add_jobs([(job, [FeedSpec("jsonl", str(path))])])[0].id


def more(world: World, number: int) -> None:
    write_lines(world.home.data / "posts.jsonl", [number])


def by_hand(world: World, job: int) -> int:
    return run_job(world.context, job, "typed")


def by_timer(world: World, job: int) -> int:
    return run_job(world.context, job, "timer")


def states(world: World) -> list[tuple[str, str]]:
    """Recipient and state of each delivery, the oldest first."""
    return [(one.recipient, one.state) for one in reversed(world.store.deliveries(None, 100))]


def letters(smtp: Smtp) -> list[Any]:
    """What the server took, parsed."""
    return [email.message_from_bytes(mail["data"].encode("latin-1"), policy=default) for mail in smtp.do("mails")]


def test_a_digest_is_mailed_once_to_each(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA, MIRA)
    assert by_hand(mailing, job) == 0
    assert states(mailing) == [(KAYA, "sent"), (MIRA, "sent")]
    assert [run.state for run in mailing.store.runs()] == ["done"]
    first, second = letters(smtp)
    assert (first["To"], second["To"]) == (KAYA, MIRA)
    assert first["Subject"] == f"2 new posts for job {job}"
    assert first["Message-ID"] != second["Message-ID"]
    assert (first["References"], first["List-Id"]) == (second["References"], second["List-Id"])
    plain, markup = first.iter_parts()
    assert "https://x.com/kaya/status/" in plain.get_content()
    assert markup.get_content_type() == "text/html"
    more(mailing, 7)
    assert by_hand(mailing, job) == 0
    assert len(letters(smtp)) == 4
    assert letters(smtp)[2]["References"] == first["References"]


def test_nothing_new_is_not_mailed_unless_that_is_wanted(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA, posts=0)
    assert by_hand(mailing, job) == 0
    assert letters(smtp) == []
    mailing.store.update_job(job, lambda was: replace(was, mail_quiet=True))
    assert by_hand(mailing, job) == 0
    assert [letter["Subject"] for letter in letters(smtp)] == [f"Nothing new for job {job}"]


def test_who_is_no_recipient_any_more_gets_nothing_that_waits(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA, MIRA)
    smtp.do("fail", kind="reply", text="451 no", verb="RCPT", times=2)
    assert by_hand(mailing, job) == 75
    mailing.store.update_job(job, lambda was: replace(was, emails=(MIRA,)))
    mailing.pass_(minutes=6)
    assert by_timer(mailing, job) == 0
    assert states(mailing) == [(MIRA, "sent")]


def test_what_fails_for_now_is_tried_again_later_and_later(mailing: World, smtp: Smtp) -> None:
    """After 5, 10, 20, 40 minutes, then every hour; given up by a try after three days."""
    job = job_on(mailing, KAYA)
    smtp.do("fail", kind="reply", text="451 no", verb="RCPT", times=None)
    assert by_hand(mailing, job) == 75
    assert mailing.store.runs()[0].state == "undelivered"
    assert mailing.store.summaries()[0].post_count == 2
    mailing.store.pause_jobs([job])
    waits = []
    while (mail := mailing.store.deliveries(job, 1)[0]).state == "pending":
        assert mail.next_try
        waits.append((mail.next_try - mailing.now) // timedelta(minutes=1))
        assert by_timer(mailing, job) == 0  # too early
        mailing.now = mail.next_try
        assert by_timer(mailing, job) == 75
    assert waits[:6] == [5, 10, 20, 40, 60, 60]
    assert set(waits[5:]) == {60}
    assert 72 <= len(waits) <= 75
    assert (mail.state, mail.error.startswith("given up after 3 days")) == ("failed", True)
    assert len(mailing.store.runs()) == 1
    assert letters(smtp) == []


def test_a_server_that_is_away_puts_all_off_and_the_next_attempt_only_delivers(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA, MIRA)
    write_config(mailing.home.config, mailing.home.config.read_text().replace(str(smtp.ports["none"]), "9"))
    assert by_hand(mailing, job) == 75
    assert "no connection to 127.0.0.1" in mailing.store.runs()[0].error
    assert states(mailing) == [(KAYA, "pending"), (MIRA, "pending")]
    configure(mailing, smtp)
    more(mailing, 8)
    mailing.pass_(minutes=5)
    assert by_timer(mailing, job) == 0
    assert states(mailing) == [(KAYA, "sent"), (MIRA, "sent")]
    assert len(mailing.store.runs()) == 1


def test_a_paused_jobs_mail_is_sent(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA)
    smtp.do("fail", kind="reply", text="451 no", verb="RCPT")
    assert by_hand(mailing, job) == 75
    mailing.store.pause_jobs([job])
    mailing.pass_(minutes=6)
    assert by_timer(mailing, job) == 0
    assert states(mailing) == [(KAYA, "sent")]


def test_who_is_refused_is_not_tried_again_and_the_others_are_served(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA, MIRA)
    smtp.do("fail", kind="reply", text="550 no", verb="RCPT")
    assert by_hand(mailing, job) == 77
    assert states(mailing) == [(KAYA, "failed"), (MIRA, "sent")]
    mailing.pass_(days=1)
    assert by_timer(mailing, job) in (0, 75)
    assert states(mailing)[0] == (KAYA, "failed")


def test_whether_it_was_sent_is_unknown_when_the_server_goes_after_the_data(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, KAYA)
    smtp.do("fail", kind="hang_up", verb="END")
    assert by_hand(mailing, job) != 0
    assert states(mailing) == [(KAYA, "unknown")]
    (summary,) = mailing.store.summaries()
    (status,) = outcomes.statuses(mailing.context, [mailing.context.job(job)])
    assert [mail.state for mail in status.unsent] == ["unknown"]
    (check,) = [check for check in examine(mailing.context) if check.name == "mails"]
    assert (check.ok, f"1 to {KAYA} (unknown)" in check.detail) == (False, True)
    mailing.pass_(days=1)
    assert outbox.send_summary(mailing.context, summary.id, ()) == 0
    assert states(mailing) == [(KAYA, "unknown"), (KAYA, "sent")]


def test_a_process_that_is_killed_while_it_sends_leaves_what_nobody_knows(mailing: World, smtp: Smtp) -> None:
    import os
    import signal

    job = job_on(mailing, KAYA, MIRA)
    smtp.do("fail", kind="silent", verb="END")
    pid = forked(lambda: by_hand(mailing, job))
    while states(mailing)[:1] != [(KAYA, "sending")]:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    smtp.do("heal")
    assert by_timer(mailing, job) == 0
    assert states(mailing) == [(KAYA, "unknown"), (MIRA, "sent")]
    (run,) = mailing.store.runs()
    assert (run.state, run.error) == ("undelivered", "died while it was mailing")
    assert len(letters(smtp)) == 1


# alarms


def failing(world: World, *emails: str) -> int:
    job = job_on(world, *emails, frequency="hourly", at="12:30")
    (world.home.data / "posts.jsonl").unlink()
    return job


def slot(world: World, job: int, times: int = 1) -> None:
    """So many slots with all their tries."""
    for _ in range(times):
        world.pass_(hours=1)
        for _ in range(8):
            by_timer(world, job)
            world.pass_(minutes=5)
        world.pass_(minutes=-40)


def test_three_slots_that_fail_in_a_row_are_told_once_and_so_is_their_end(mailing: World, smtp: Smtp) -> None:
    job = failing(mailing, KAYA, MIRA)
    slot(mailing, job, 2)
    assert letters(smtp) == []
    slot(mailing, job, 4)
    assert [(letter["To"], letter["Subject"]) for letter in letters(smtp)] == [
        (KAYA, f"Job {job} is failing"),
        (MIRA, f"Job {job} is failing"),
    ]
    more(mailing, 3)
    slot(mailing, job, 2)
    subjects = [letter["Subject"] for letter in letters(smtp)][2:]
    assert subjects.count(f"Job {job} is well again") == 2
    assert len(subjects) == 4


def test_a_job_that_fails_for_good_is_told_at_once_to_whoever_is_there(mailing: World, smtp: Smtp) -> None:
    configure(mailing, smtp, 'admin_email = "admin@example.org"')
    job = job_on(mailing, frequency="hourly", at="12:30")
    (mailing.home.data / "posts.jsonl").write_text("no JSON at all\n")
    slot(mailing, job, 2)
    (letter,) = letters(smtp)
    assert letter["To"] == "admin@example.org"
    plain, _ = letter.iter_parts()
    assert "is failing" in plain.get_content()
    assert f"xtrack logs {job}" in plain.get_content()


# commands


def test_a_summary_is_sent_to_others(mailing: World, smtp: Smtp) -> None:
    job = job_on(mailing, posts=1)
    assert by_hand(mailing, job) == 0
    with pytest.raises(UsageError, match="mails to nobody"):
        outbox.send_summary(mailing.context, 1, ())
    assert outbox.send_summary(mailing.context, 1, [MIRA]) == 0
    assert [letter["To"] for letter in letters(smtp)] == [MIRA]


def test_mail_from_the_command_line(xtrack: Command, smtp: Smtp) -> None:
    posts = str(write_lines(xtrack.folder / "posts.jsonl", range(3)))
    refused = xtrack("install-job", "--source", posts, "--every", "hourly", "--email", KAYA)
    assert "nothing can be mailed yet" in refused.complaint(78)
    assert "'kaya' is no e-mail address" in xtrack(
        "install-job", "--source", posts, "--every", "hourly", "--email", "kaya"
    ).complaint(65)
    port = smtp.ports["none"]
    xtrack.configure(f'[mail]\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\nfrom = "digests@example.org"\n')
    assert xtrack.good("test-mail", KAYA).out == f"Mailed to {KAYA}.\n"
    job = xtrack.installed("--source", posts, "--email", KAYA)
    assert f"mails to:  {KAYA}" in xtrack.good("show-job", str(job)).out
    assert f"digest to {KAYA}: mailed" in xtrack.good("run-job", str(job)).err
    (mail,) = xtrack.good("list-deliveries", "--json").json
    assert (mail["recipient"], mail["state"], mail["summary"]) == (KAYA, "sent", 1)
    assert "digest 1" in xtrack.good("list-deliveries", str(job)).out
    smtp.do("fail", kind="reply", text="550 no", verb="RCPT")
    assert xtrack("send-summary", "1").code == 77
    xtrack.good("update-job", str(job), "--no-emails")
    assert "mails to nobody" in xtrack("send-summary", "1").complaint(2)
    assert letters(smtp)[0]["Subject"] == "Mail from XTrack works"


def test_what_was_sent_is_not_sent_again_where_that_cannot_be_noted(mailing: World, smtp: Smtp) -> None:
    """The database goes read-only between the server's yes and ours."""
    job = job_on(mailing, KAYA)
    mailing.sql(
        "CREATE TRIGGER full_disk BEFORE UPDATE OF sent_at ON deliveries WHEN new.state = 'sent' "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        by_hand(mailing, job)
    assert states(mailing) == [(KAYA, "sending")]
    mailing.sql("DROP TRIGGER full_disk")
    assert run_due(mailing.context) == 0
    assert states(mailing) == [(KAYA, "unknown")]
    assert len(letters(smtp)) == 1
