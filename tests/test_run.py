"""One run of one job, in this process, under a clock that the tests set; and who waits for whom."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import World, flocked, line, write_config, write_lines
from xtrack import jobs, ledger, locks, outcomes
from xtrack.due import run_due
from xtrack.errors import NotFound, Temporary, XTrackError
from xtrack.models import Digest, FeedSpec
from xtrack.run import run_job


def at(text: str) -> datetime:
    """A time of 2027-01-15 in UTC; Berlin is an hour ahead."""
    return datetime.fromisoformat(f"2027-01-15T{text}").replace(tzinfo=UTC)


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "posts.jsonl", range(1, 4))


@pytest.fixture
def job(world: World, posts: Path) -> int:
    """An hourly job on a file of three posts, installed at 12:00 with slots at half past; it is 12:30 now."""
    job_id = world.install(str(posts))
    world.now = at("12:30")
    return job_id


def by_timer(world: World, job_id: int) -> int:
    return run_job(world.context, job_id, "timer")


def by_hand(world: World, job_id: int) -> int:
    return run_job(world.context, job_id, "typed")


def runs(world: World, job_id: int | None = None) -> list[tuple[str, str, int | None]]:
    """Trigger, state and exit code of all runs, oldest first."""
    return [(run.trigger, run.state, run.exit_code) for run in reversed(world.store.runs(job_id))]


def is_due(world: World, job_id: int) -> bool:
    return ledger.due(world.context.job(job_id), world.now, world.zone) is not None


# a timer's start


def test_a_timer_s_run_does_its_slot(world: World, job: int) -> None:
    assert by_timer(world, job) == 0
    (run,) = world.store.runs()
    assert (run.trigger, run.state, run.slot, run.missed, run.new_posts) == ("timer", "done", at("12:30"), 0, 3)
    (summary,) = world.store.summaries()
    assert (summary.run_id, summary.post_count) == (run.id, 3)
    assert not is_due(world, job)
    assert world.context.job(job).last_run == at("12:30")


def test_a_timer_s_run_before_the_first_slot_leaves_no_trace(world: World, job: int) -> None:
    world.now = at("12:28:59")
    assert by_timer(world, job) == 0
    assert world.store.runs() == []
    assert world.said == []
    assert not locks.job(world.home.locks, job).exists()


def test_a_doubled_start_does_nothing(world: World, job: int) -> None:
    by_timer(world, job)
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "done", 0)]


def test_a_timer_that_is_a_little_early_does_the_coming_slot_once(world: World, job: int) -> None:
    world.now = at("12:29:10")
    by_timer(world, job)
    world.now = at("12:30")
    by_timer(world, job)
    assert [run.slot for run in world.store.runs()] == [at("12:30")]


def test_an_early_run_announces_the_slot_after_its_own(world: World, job: int) -> None:
    world.now = at("12:29:10")
    by_timer(world, job)
    assert world.said[-1].endswith("next run Fri 2027-01-15 14:30 CET")


def test_slots_that_passed_are_caught_up_by_one_run(world: World, job: int) -> None:
    by_timer(world, job)
    world.now = at("16:45")
    by_timer(world, job)
    by_timer(world, job)
    (run, _) = world.store.runs()
    assert (run.slot, run.missed) == (at("16:30"), 3)
    assert any("3 missed before it" in said for said in world.said)


def test_a_slot_that_was_tried_is_not_counted_as_missed(world: World, job: int, posts: Path) -> None:
    posts.rename(posts.with_suffix(".away"))
    by_timer(world, job)
    posts.with_suffix(".away").rename(posts)
    world.now = at("14:30")
    by_timer(world, job)
    assert world.store.runs()[0].slot == at("14:30")
    assert world.store.runs()[0].missed == 1


def test_a_paused_job_is_not_run_by_a_timer(world: World, job: int) -> None:
    world.store.pause_jobs([job])
    assert by_timer(world, job) == 0
    assert world.store.runs() == []


def test_an_unknown_job_is_nothing_to_a_timer(world: World, job: int) -> None:
    assert by_timer(world, job + 1) == 0


def test_every_line_of_the_log_has_the_run_s_number(world: World, job: int) -> None:
    by_timer(world, job)
    world.pass_(hours=1)
    by_timer(world, job)
    assert all(said.startswith(("run 1: ", "run 2: ")) for said in world.said)
    assert world.said[0] == f"run 1: job {job}, slot Fri 2027-01-15 13:30 CET"
    assert world.said[2].startswith("run 1: summary 1: 3 new posts")
    assert world.said[2].endswith("next run Fri 2027-01-15 14:30 CET")


def test_a_quiet_run_says_that_nothing_was_new(world: World, job: int) -> None:
    by_timer(world, job)
    world.pass_(hours=1)
    assert by_timer(world, job) == 0
    summary = world.store.summaries()[0]
    assert (summary.post_count, summary.digest.headline, summary.digest.lines) == (0, "Nothing new", ())
    assert world.said[-1].startswith("run 2: summary 2: Nothing new")


def test_a_run_goes_on_where_the_last_one_stopped(world: World, job: int, posts: Path) -> None:
    by_timer(world, job)
    write_lines(posts, [7, 8])
    world.pass_(hours=1)
    by_timer(world, job)
    assert [run.new_posts for run in world.store.runs()] == [2, 3]
    assert "run 2: " + str(posts) + ": 2 posts fetched" in world.said


def test_an_empty_source_is_no_failure(world: World, job: int, posts: Path) -> None:
    posts.write_text("")
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "done", 0)]


# failures


def test_a_source_that_is_away_is_tried_again(world: World, job: int, posts: Path) -> None:
    away = posts.rename(posts.with_suffix(".away"))
    assert by_timer(world, job) == 75
    (run,) = world.store.runs()
    assert (run.state, run.exit_code, run.next_try) == ("failed", 75, at("12:35"))
    assert "tried again Fri 2027-01-15 13:35 CET" in world.said[-1]
    assert is_due(world, job)

    away.rename(posts)
    world.now = at("12:33:30")
    assert by_timer(world, job) == 0
    assert len(world.store.runs()) == 1

    world.now = at("12:35")
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "failed", 75), ("timer", "done", 0)]
    assert world.store.runs()[0].new_posts == 3
    assert not is_due(world, job)


def test_a_slot_is_given_up_in_time_and_the_next_one_runs(world: World, job: int, posts: Path) -> None:
    away = posts.rename(posts.with_suffix(".away"))
    codes = []
    for time in ("12:30", "12:35", "12:45"):
        world.now = at(time)
        codes.append(by_timer(world, job))
    assert codes == [75, 75, 69]
    assert "given up" in world.said[-1]
    assert not is_due(world, job)
    world.now = at("13:00")
    assert by_timer(world, job) == 0
    assert len(world.store.runs()) == 3

    away.rename(posts)
    world.now = at("13:30")
    assert by_timer(world, job) == 0
    assert (world.store.runs()[0].state, world.store.runs()[0].missed) == ("done", 0)


def test_a_job_of_a_few_minutes_gives_up_at_once(world: World, posts: Path) -> None:
    job_id = world.install(str(posts.with_suffix(".away")), frequency="5min")
    world.now = at("12:05")
    assert by_timer(world, job_id) == 69
    assert not is_due(world, job_id)


def test_a_bad_line_closes_the_slot_and_the_next_one_runs(world: World, job: int, posts: Path) -> None:
    posts.write_text(line(1) + "no JSON at all\n")
    assert by_timer(world, job) == 65
    assert "line 2" in world.store.runs()[0].error
    assert not is_due(world, job)
    assert by_timer(world, job) == 0
    assert len(world.store.runs()) == 1

    posts.write_text(line(1) + line(2))
    world.now = at("13:30")
    assert by_timer(world, job) == 0
    assert world.store.runs()[0].new_posts == 2


def test_posts_of_a_run_that_failed_are_new_to_the_next(world: World, job: int, posts: Path) -> None:
    with posts.open("a") as file:
        file.write("no JSON at all\n")
    by_timer(world, job)
    assert world.store.last_arrival(1) == 3
    text = posts.read_text().replace("no JSON at all\n", "")
    posts.write_text(text)
    world.now = at("13:30")
    by_timer(world, job)
    assert world.store.runs()[0].new_posts == 3


def test_a_config_that_is_wrong_fails_the_run_for_good(world: World, job: int) -> None:
    write_config(world.home.config, "parallel = 3\n")
    assert by_timer(world, job) == 78
    assert "unknown setting" in world.store.runs()[0].error
    assert "(known: admin_email, budget, parallel_runs, [x], [llm], [mail])" in world.said[-1]
    assert not is_due(world, job)


# by hand


def test_a_run_by_hand_before_a_slot_leaves_the_schedule_alone(world: World, job: int) -> None:
    world.now = at("12:20")
    assert by_hand(world, job) == 0
    assert (world.store.runs()[0].trigger, world.store.runs()[0].slot) == ("manual", None)
    world.now = at("12:30")
    assert by_timer(world, job) == 0
    assert runs(world) == [("manual", "done", 0), ("timer", "done", 0)]


def test_a_run_by_hand_never_closes_a_slot_to_come(world: World, job: int) -> None:
    world.now = at("12:29:59")
    by_hand(world, job)
    world.now = at("12:30")
    assert is_due(world, job)


def test_a_run_by_hand_that_succeeds_closes_an_overdue_slot(world: World, job: int) -> None:
    world.now = at("12:40")
    assert by_hand(world, job) == 0
    assert world.store.runs()[0].slot == at("12:30")
    assert by_timer(world, job) == 0
    assert runs(world) == [("manual", "done", 0)]


def test_a_run_by_hand_that_fails_closes_nothing_and_is_not_tried_again(world: World, job: int, posts: Path) -> None:
    away = posts.rename(posts.with_suffix(".away"))
    assert by_hand(world, job) == 75
    (run,) = world.store.runs()
    assert (run.slot, run.next_try) == (None, None)
    away.rename(posts)
    assert by_timer(world, job) == 0
    assert runs(world) == [("manual", "failed", 75), ("timer", "done", 0)]


def test_a_run_by_hand_closes_a_slot_whose_attempts_failed(world: World, job: int, posts: Path) -> None:
    away = posts.rename(posts.with_suffix(".away"))
    by_timer(world, job)
    away.rename(posts)
    world.now = at("12:32")
    by_hand(world, job)
    world.now = at("12:35")
    by_timer(world, job)
    assert runs(world) == [("timer", "failed", 75), ("manual", "done", 0)]


def test_a_run_by_hand_works_on_a_paused_job(world: World, job: int) -> None:
    world.store.pause_jobs([job])
    assert by_hand(world, job) == 0
    assert world.said[-1].endswith("; paused")
    assert world.store.runs()[0].slot is None


def test_a_run_by_hand_while_one_is_going_on_is_told_so(world: World, job: int) -> None:
    with flocked(locks.job(world.home.locks, job)), pytest.raises(Temporary, match="is going on"):
        by_hand(world, job)
    assert world.store.runs() == []


# runs that died


def died(world: World, job_id: int, slot: datetime | None, started: datetime) -> None:
    """A run whose process is no more."""
    run = world.store.start_run(job_id, "timer" if slot else "manual", slot, 0, started, "")
    world.store.set_stage(run, "summarising")


def test_a_run_that_died_is_a_failed_attempt_and_is_tried_again(world: World, job: int) -> None:
    died(world, job, at("12:30"), at("12:30"))
    world.now = at("12:36")
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "died", 75), ("timer", "done", 0)]
    assert world.store.runs()[1].error == "died while it was at: summarising"
    assert world.store.runs()[0].slot == at("12:30")


def test_a_run_that_died_just_now_is_tried_again_later(world: World, job: int) -> None:
    died(world, job, at("12:30"), at("12:30"))
    world.now = at("12:32")
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "died", 75)]
    assert world.store.runs()[0].next_try == at("12:35")
    world.now = at("12:35")
    by_timer(world, job)
    assert runs(world)[-1] == ("timer", "done", 0)


def test_a_slot_whose_runs_die_is_given_up(world: World, job: int) -> None:
    for started in ("12:30", "12:35", "12:45"):
        died(world, job, at("12:30"), at(started))
        world.now = at(started) + timedelta(minutes=1)
        by_timer(world, job)
    assert runs(world) == [("timer", "died", 75), ("timer", "died", 75), ("timer", "died", 69)]
    assert not is_due(world, job)


def test_a_run_by_hand_that_died_closes_no_slot(world: World, job: int) -> None:
    died(world, job, None, at("12:10"))
    by_timer(world, job)
    assert runs(world) == [("manual", "died", 75), ("timer", "done", 0)]


def test_a_run_by_hand_closes_the_one_that_died(world: World, job: int) -> None:
    died(world, job, at("12:30"), at("12:30"))
    by_hand(world, job)
    assert runs(world) == [("timer", "died", 75), ("manual", "done", 0)]
    assert not is_due(world, job)


def test_a_run_by_hand_that_died_does_not_say_for_ever_that_it_is_running(world: World, job: int) -> None:
    """A run that died is one of the things that the sweep has something to do for."""
    by_timer(world, job)
    died(world, job, None, at("12:31"))
    world.now = at("12:50")
    run_due(world.context)
    assert not world.store.open_runs()


# runs that are queued: whoever starts the job takes them


def played(world: World, job_id: int) -> int:
    return run_job(world.context, job_id, "play")


def test_a_queued_run_is_done_by_whoever_starts_the_job_first(world: World, job: int) -> None:
    world.now = at("12:10")
    for start in (played, by_timer, by_hand):
        queued = jobs.play(world.context, job)
        assert (queued.state, queued.trigger, queued.slot) == ("queued", "manual", None)
        world.pass_(minutes=1)
        assert start(world, job) == 0
        run = world.store.runs()[0]
        assert (run.id, run.state, run.trigger, run.slot, run.started_at) == (
            queued.id,
            "done",
            "manual",
            None,
            world.now,
        )
    assert len(world.store.runs()) == 3


def test_a_run_is_queued_once_however_often_play_is_pressed(world: World, job: int) -> None:
    world.now = at("12:10")
    assert jobs.play(world.context, job) == jobs.play(world.context, job)
    assert played(world, job) == 0
    assert played(world, job) == 0
    assert runs(world) == [("manual", "done", 0)]


def test_a_start_for_queued_runs_makes_none(world: World, job: int) -> None:
    world.now = at("12:10")
    assert played(world, job) == 0
    assert world.store.runs() == []


def test_a_queued_run_that_succeeds_does_the_slot_that_has_come(world: World, job: int) -> None:
    jobs.play(world.context, job)
    assert by_timer(world, job) == 0
    (run,) = world.store.runs()
    assert (run.trigger, run.slot) == ("manual", at("12:30"))


def test_after_a_queued_run_that_failed_the_slot_is_done_all_the_same(world: World, job: int, posts: Path) -> None:
    jobs.play(world.context, job)
    away = posts.rename(posts.with_name("away"))

    def comes_back() -> None:
        if world.store.runs()[0].state == "failed":
            away.rename(posts)
            world.on_the_way = lambda: None

    world.on_the_way = comes_back
    assert by_timer(world, job) == 75
    assert runs(world) == [("manual", "failed", 75), ("timer", "done", 0)]


def test_a_start_for_queued_runs_does_an_overdue_slot_too_but_none_before_its_time(world: World, job: int) -> None:
    world.now = at("12:29:30")
    jobs.play(world.context, job)
    assert played(world, job) == 0
    assert runs(world) == [("manual", "done", 0)]
    world.now = at("12:31")
    assert played(world, job) == 0
    assert runs(world) == [("manual", "done", 0), ("timer", "done", 0)]


def test_a_paused_job_s_queued_run_is_done(world: World, job: int) -> None:
    jobs.pause(world.context, [job])
    jobs.play(world.context, job)
    assert by_timer(world, job) == 0
    assert runs(world) == [("manual", "done", 0)]


def test_a_queued_run_goes_with_its_job(world: World, job: int) -> None:
    jobs.play(world.context, job)
    jobs.delete(world.context, [job])
    assert played(world, job) == 0
    assert world.store.open_runs() == []


def test_only_a_unit_s_run_is_found_by_its_invocation(world: World, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "abc")
    by_hand(world, job)
    by_timer_again = jobs.play(world.context, job)
    played(world, job)
    assert [run.invocation_id for run in world.store.runs()] == ["abc", ""]
    assert outcomes.invocation(world.context, job, by_timer_again.id) == "abc"
    with pytest.raises(NotFound, match="not started by a unit"):
        outcomes.invocation(world.context, job, by_timer_again.id - 1)


# what happens meanwhile


def meanwhile(world: World, job_id: int, stage: str, what: Callable[[], object]) -> None:
    """Have something happen, once, while the job's run is at a stage."""

    def look() -> None:
        world.on_the_way = lambda: None
        run = world.store.running_run(job_id)
        if run and run.stage.startswith(stage):
            what()
        else:
            world.on_the_way = look

    world.on_the_way = look


def exit_code(start: Callable[[World, int], int], world: World, job_id: int) -> int:
    """What the command would exit with."""
    try:
        return start(world, job_id)
    except XTrackError as error:
        return error.exit_code


@pytest.mark.parametrize("stage", ["", "fetching", "summarising"])
@pytest.mark.parametrize("start", [by_timer, by_hand])
def test_a_run_whose_job_is_deleted_ends_well_and_stores_nothing(
    world: World, job: int, start: Callable[[World, int], int], stage: str
) -> None:
    meanwhile(world, job, stage, lambda: world.store.delete_jobs([job]))
    assert exit_code(start, world, job) == 0
    assert world.context.jobs() == []
    assert world.store.runs() == []
    assert world.store.summaries() == []
    assert world.sql("SELECT * FROM posts") == []


@pytest.mark.parametrize("start", [by_timer, by_hand])
def test_a_run_that_fails_after_its_job_was_deleted_ends_well(
    world: World, job: int, posts: Path, start: Callable[[World, int], int]
) -> None:
    def delete() -> None:
        world.store.delete_jobs([job])
        posts.unlink()

    meanwhile(world, job, "fetching", delete)
    # The feed of a deleted job goes with it, so let another job keep it.
    world.install(str(posts), paused=True)
    assert exit_code(start, world, job) == 0


@pytest.mark.parametrize("stage", ["", "fetching", "summarising"])
def test_a_job_that_gets_another_source_while_it_runs_is_no_bug(
    world: World, job: int, tmp_path: Path, stage: str
) -> None:
    other = write_lines(tmp_path / "other.jsonl", range(10, 12), "mira")

    def update() -> None:
        world.store.update_job(job, lambda was: replace(was, source=str(other)), [FeedSpec("jsonl", str(other))])

    meanwhile(world, job, stage, update)
    assert by_timer(world, job) in (0, 75)
    assert world.store.running_run(job) is None
    world.now = at("13:30")
    assert by_timer(world, job) == 0
    assert world.store.runs()[0].state == "done"


def test_a_job_that_is_paused_while_it_runs_finishes(world: World, job: int) -> None:
    meanwhile(world, job, "fetching", lambda: world.store.pause_jobs([job]))
    assert by_timer(world, job) == 0
    assert runs(world) == [("timer", "done", 0)]


# several jobs on one source


def test_two_jobs_share_a_feed_and_each_sees_its_posts_once(world: World, job: int, posts: Path) -> None:
    other = world.install(str(posts), names=("mira",))
    by_timer(world, job)
    write_lines(posts, [20], "Mira")
    world.now = at("13:30")
    by_timer(world, other)
    by_timer(world, job)
    assert [summary.post_count for summary in world.store.summaries(job)] == [1, 3]
    assert [summary.post_count for summary in world.store.summaries(other)] == [1]
    assert f"run 3: {posts}: 0 posts fetched" in world.said


def test_names_leave_out_what_others_write(world: World, posts: Path) -> None:
    write_lines(posts, [9], "mira")
    job_id = world.install(str(posts), names=("MIRA",))
    by_hand(world, job_id)
    (summary,) = world.store.summaries()
    assert summary.post_count == 1
    assert [item.author for item in world.store.posts(summary.id)] == ["mira"]


def test_a_job_on_others_alone_is_quiet(world: World, posts: Path) -> None:
    job_id = world.install(str(posts), names=("nobody",))
    by_hand(world, job_id)
    assert world.store.summaries()[0].digest.headline == "Nothing new"


def test_two_jobs_with_other_topics_write_other_digests(world: World, tmp_path: Path) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text(
        line(1, text="The ferry to the islands is late by an hour today.")
        + line(2, text="Wind power covers half of the electricity in town.")
    )
    ferries, wind = (world.install(str(path), topics=(topic,)) for topic in ("ferry", "wind power"))
    by_hand(world, ferries)
    by_hand(world, wind)
    second, first = world.store.summaries()
    assert [digest_line.text for digest_line in first.digest.lines] == [
        "The ferry to the islands is late by an hour today."
    ]
    assert [digest_line.text for digest_line in second.digest.lines] == [
        "Wind power covers half of the electricity in town."
    ]


def test_a_first_digest_says_how_many_older_posts_it_leaves_out(world: World, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "many.jsonl", range(520))
    job_id = world.install(str(path))
    by_hand(world, job_id)
    assert "run 1: 20 posts that came before are stored, not summarised" in world.said
    assert world.store.summaries()[0].post_count == 500


# waiting


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield server


def in_background(world: World, job_id: int) -> threading.Thread:
    """A timer's run in a thread; the store is opened where it is used."""
    thread = threading.Thread(target=lambda: by_timer(World(world.home, world.now), job_id), daemon=True)
    thread.start()
    return thread


def test_a_timer_s_run_waits_for_the_job_s_lock_and_extends_its_timeout(
    world: World, job: int, notified: socket.socket
) -> None:
    with flocked(locks.job(world.home.locks, job)):
        run = in_background(world, job)
        assert notified.recv(100) == b"EXTEND_TIMEOUT_USEC=900000000"
        assert world.store.runs() == []
    run.join(10)
    assert runs(world) == [("timer", "done", 0)]


def test_a_run_waits_for_a_place_with_its_row_written(world: World, job: int, notified: socket.socket) -> None:
    write_config(world.home.config, "parallel_runs = 1\n")
    (place,) = locks.places(world.home.locks, 1)
    with flocked(place):
        run = in_background(world, job)
        assert notified.recv(100).startswith(b"EXTEND_TIMEOUT_USEC=")
        assert world.store.runs()[0].stage == "waiting for one of the parallel places"
    run.join(10)
    assert runs(world) == [("timer", "done", 0)]


def test_a_slot_that_was_done_while_a_run_waited_is_not_done_again(
    world: World, job: int, notified: socket.socket
) -> None:
    with flocked(locks.job(world.home.locks, job)):
        run = in_background(world, job)
        notified.recv(100)
        done = world.store.start_run(job, "manual", None, 0, world.now, "")
        world.store.finish_run(done, Digest("none", "Nothing new", (), 0), 0, {}, at("12:30"), world.now)
    run.join(10)
    assert runs(world) == [("manual", "done", 0)]


def test_a_run_that_waited_for_a_job_that_was_deleted_leaves_no_lock_behind(
    world: World, job: int, notified: socket.socket
) -> None:
    with flocked(locks.job(world.home.locks, job)):
        run = in_background(world, job)
        notified.recv(100)
        jobs.delete(world.context, [job])
    run.join(10)
    assert world.said == []
    assert not locks.job(world.home.locks, job).exists()
