"""Many jobs by one command: one a name, from a file, and several or all of them paused, resumed, deleted."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import Command, World, agree, write_lines
from xtrack import jobs
from xtrack.errors import NotFound, UsageError
from xtrack.jobs import Wish


@pytest.fixture
def three(xtrack: Command) -> Command:
    for _ in range(3):
        xtrack.installed()
    return xtrack


def states(xtrack: Command) -> list[str]:
    return [job["state"] for job in xtrack.good("list-jobs", "--json").json]


# one job a name


def test_each_name_gets_a_job_of_its_own(xtrack: Command) -> None:
    outcome = xtrack.good(
        "install-job", "--each", "@SundWeather", "SundPower", "--source", "sample", "--every", "daily", "--at", "07:30"
    )
    first, second, *_ = outcome.out.splitlines()
    assert first.startswith("Job 1 installed: watches @SundWeather in the bundled sample, every day. Next run: ")
    assert second.startswith("Job 2 installed: watches @SundPower in the bundled sample, every day. Next run: ")
    found = xtrack.good("list-jobs", "--json").json
    assert [(job["names"], job["at"]) for job in found] == [(["SundWeather"], "07:30"), (["SundPower"], "08:00")]


def test_names_come_from_a_file_with_remarks_each_once(xtrack: Command) -> None:
    listing = xtrack.folder / "names.txt"
    listing.write_text("@SundWeather  # wind and rain\n\n# a remark\nSundPower\r\nsundpower\n", "utf-8")
    xtrack.good("install-job", "@SundTransit", "--from", str(listing), "--source", "sample", "--every", "hourly")
    names = [job["names"] for job in xtrack.good("list-jobs", "--json").json]
    assert names == [["SundTransit"], ["SundWeather"], ["SundPower"]]


def test_names_come_from_standard_input(xtrack: Command) -> None:
    xtrack.good("install-job", "--from", "-", "--source", "sample", "--every", "hourly", stdin="SundPower\n")
    assert xtrack.good("show-job", "1", "--json").json["names"] == ["SundPower"]


@pytest.mark.parametrize(
    ("listing", "code"), [(b"# nobody\n", 2), (b"@SundPower\n@not a handle\n", 65), (b"\xff\xfe\x00", 65)]
)
def test_a_listing_that_cannot_be_makes_no_job(xtrack: Command, listing: bytes, code: int) -> None:
    path = xtrack.folder / "names.txt"
    path.write_bytes(listing)
    outcome = xtrack("install-job", "--from", str(path), "--source", "sample", "--every", "hourly")
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 2
    assert xtrack.job_count() == 0


def test_a_listing_that_is_not_there_is_a_wrong_command(xtrack: Command) -> None:
    assert xtrack("install-job", "--from", "nowhere", "--source", "sample", "--every", "hourly").code == 66
    assert xtrack("install-job", "--from", ".", "--source", "sample", "--every", "hourly").code == 77


def test_a_name_that_its_source_does_not_know_makes_no_job(xtrack: Command) -> None:
    words = ("@SundPower", "@nobody_knows_me", "--source", "sample", "--every", "hourly")
    assert xtrack("install-job", "--each", *words).code == xtrack("install-job", *words).code
    assert xtrack.job_count() == 0


def test_the_starts_of_many_jobs_are_spread_over_the_hour(world: World, tmp_path: Path) -> None:
    names = tuple(f"name_{number}" for number in range(1000))
    source = str(write_lines(tmp_path / "posts.jsonl", range(3)))
    changed = jobs.install(
        world.context, Wish(names=names, source=source, frequency="daily", at="23:30"), agree, each=True
    )
    assert [job.names for job, _ in changed.jobs] == [(name,) for name in names]
    minutes = Counter(job.at for job, _ in changed.jobs)
    assert len(minutes) == 60
    assert max(minutes.values()) <= 17
    assert {"23:30", "00:29"} <= minutes.keys()


# several or all


def test_several_jobs_are_paused_resumed_and_deleted(three: Command) -> None:
    assert [line.split(".")[0] for line in three.good("pause-job", "3", "1", "3").out.splitlines()] == [
        "Job 3 paused",
        "Job 1 paused",
    ]
    assert states(three) == ["paused", "active", "paused"]
    assert "Job 1 resumed: " in three.good("resume-job", "1", "2").out
    assert states(three) == ["active", "active", "paused"]
    three.good("delete-job", "1", "3", "--yes")
    assert [job["id"] for job in three.good("list-jobs", "--json").json] == [2]


def test_all_jobs_are_paused_resumed_and_deleted(three: Command) -> None:
    three.good("pause-job", "--all")
    assert states(three) == ["paused"] * 3
    three.good("resume-job", "--all")
    assert states(three) == ["active"] * 3
    outcome = three("delete-job", "--all", stdin="n\n")
    assert "Delete 3 jobs with their runs and summaries?" in outcome.out
    assert len(states(three)) == 3
    three.good("delete-job", "--all", stdin="y\n")
    assert states(three) == []
    assert three.good("pause-job", "--all").err == "There are no jobs.\n"


@pytest.mark.parametrize("command", ["pause-job", "resume-job", "delete-job"])
def test_where_one_job_is_not_there_nothing_is_changed(three: Command, command: str) -> None:
    three.good("pause-job", "2")
    yes = ["--yes"] if command == "delete-job" else []
    assert three(command, "1", "2", "9", *yes).code == 66
    assert states(three) == ["active", "paused", "active"]


@pytest.mark.parametrize("command", ["pause-job", "resume-job", "delete-job"])
@pytest.mark.parametrize("words", [[], ["1", "--all"]])
def test_which_jobs_has_to_be_said_in_one_way(three: Command, command: str, words: list[str]) -> None:
    outcome = three(command, *words)
    assert (outcome.code, "--all" in outcome.err) == (2, True)
    assert states(three) == ["active"] * 3


# at install


def test_a_job_can_be_installed_paused(xtrack: Command) -> None:
    outcome = xtrack.good("install-job", "--source", "sample", "--every", "hourly", "--paused")
    assert outcome.out.startswith("Job 1 installed, paused: watches the bundled sample, every hour.\nThe first posts")
    assert states(xtrack) == ["paused"]
    assert "Next run: " in xtrack.good("resume-job", "1").out


@pytest.mark.parametrize("frequency", ["daily", "weekdays", "weekly"])
def test_a_time_that_the_clock_leaps_over_is_announced(world: World, frequency: str) -> None:
    """In Berlin at 02:00 on Sunday, 2027-03-28."""
    at = "Sun 02:30" if frequency == "weekly" else "02:30"
    changed = jobs.install(world.context, Wish(source="sample", frequency=frequency, at=at), agree)
    notes = [note for note in changed.notes if "leaps" in note]
    expected = "on Sun 2027-03-28 the clock leaps over 02:30: there is no run at that time then"
    assert notes == ([] if frequency == "weekdays" else [expected])


def test_a_new_time_is_announced_once_and_one_that_stays_is_not(world: World) -> None:
    job = jobs.install(world.context, Wish(source="sample", frequency="daily", at="07:30"), agree).jobs[0][0]
    assert len(jobs.update(world.context, job.id, Wish(at="02:30"), agree).notes) == 1
    assert jobs.update(world.context, job.id, Wish(topics=("tide",)), agree).notes == ()
    assert jobs.update(world.context, job.id, Wish(at="03:00"), agree).notes == ()


def test_another_frequency_keeps_the_time_of_day(world: World) -> None:
    job = jobs.install(world.context, Wish(source="sample", frequency="daily", at="07:45"), agree).jobs[0][0]
    world.now = datetime(2027, 1, 15, 12, tzinfo=UTC)  # a Friday
    for frequency, at in (("weekly", "Fri 07:45"), ("weekdays", "07:45"), ("2h", "07:45"), ("15min", "07:45")):
        job = jobs.update(world.context, job.id, Wish(frequency=frequency), agree).jobs[0][0]
        assert job.at == at
    with pytest.raises(UsageError):
        jobs.update(world.context, job.id, Wish(at="08:00"), agree)


def test_resume_of_an_active_job_leaves_its_slots(world: World) -> None:
    job = jobs.install(world.context, Wish(source="sample", frequency="hourly"), agree).jobs[0][0]
    world.pass_(hours=3)
    (resumed,) = (job for job, _ in jobs.resume(world.context, [job.id]).jobs)
    assert resumed.schedule_since == job.schedule_since
    with pytest.raises(NotFound):
        jobs.resume(world.context, [job.id, 99])
