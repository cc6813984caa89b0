"""Desired units, the pure difference to what is there, and what systemd itself says of what is rendered."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import JOB
from xtrack.config import Home
from xtrack.errors import Misconfigured
from xtrack.scheduler import Actual, Plan, backend, diff
from xtrack.scheduler.units import Units, on_calendar, quoted

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")

HOSTILE = [
    "/srv/with space",
    "/srv/100% sure",
    "/srv/%h/%%i",
    "/srv/$HOME/${USER}/$$",
    "/srv/\"double\" and 'single'",
    "/srv/back\\slash\\n",
    "/srv/ends with a backslash\\",
    "/srv/høst/日本/🚢",
    "/srv/;semi #colon",
    "/srv/ends with a space ",
]
PROGRAM = Path(sys.executable).parent / "xtrack"
SCOPES = ["systemd-user", "systemd-system"]

names = st.sampled_from("abcdef")
texts = st.sampled_from(["1", "2", "3"])
files = st.dictionaries(names, texts)
timers = st.dictionaries(st.sampled_from("ghijkl"), texts)
every_name = st.sampled_from("abcdefghijkl")


def home(scheduler: str, data: str = "/srv/watch", config: str | None = None) -> Home:
    return Home(Path(config or f"{data}/config.toml"), Path(data), scheduler, is_default=False)


def units(where: Home) -> dict[str, str]:
    """All units of a home with one job."""
    of_home = Units(where)
    job = replace(JOB, id=7, frequency="daily", at="07:30")
    return {**of_home.shared(PROGRAM, private_users=False), of_home.timer(7): of_home.timer_text(job)}


def setting(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}=")]
    return line.removeprefix(f"{name}=")


# the difference


def applied(plan: Plan, actual: Actual, timers: dict[str, str]) -> Actual:
    """What is there once a plan was applied."""
    kept = {name: text for name, text in actual.files.items() if name not in (*plan.gone, *plan.paused)}
    after = {**kept, **plan.shared, **plan.new, **plan.changed}
    return Actual(after, actual.foreign, frozenset(name for name in after if name in timers))


def test_what_is_missing_is_written_and_added() -> None:
    plan = diff({"s.service": "S"}, {"1.timer": "T"}, Actual())
    assert plan == Plan(shared={"s.service": "S"}, new={"1.timer": "T"})


def test_what_is_as_it_should_be_is_left_alone() -> None:
    actual = Actual({"s.service": "S", "1.timer": "T"}, live=frozenset(["1.timer"]))
    plan = diff({"s.service": "S"}, {"1.timer": "T"}, actual)
    assert not plan
    assert plan.lines() == []


def test_what_differs_is_written_again() -> None:
    actual = Actual({"s.service": "old", "1.timer": "old"}, live=frozenset(["1.timer"]))
    plan = diff({"s.service": "S"}, {"1.timer": "T"}, actual)
    assert plan == Plan(shared={"s.service": "S"}, changed={"1.timer": "T"})


def test_a_timer_that_is_right_and_dead_is_started() -> None:
    assert diff({}, {"1.timer": "T"}, Actual({"1.timer": "T"})) == Plan(idle=("1.timer",))


def test_what_nobody_wants_is_removed() -> None:
    assert diff({}, {}, Actual({"1.timer": "T"}, live=frozenset(["1.timer"]))) == Plan(gone=("1.timer",))


def test_a_paused_job_s_timer_is_removed_and_told_from_a_deleted_one_s() -> None:
    plan = diff({}, {}, Actual({"1.timer": "T", "2.timer": "T"}), paused={"1.timer", "3.timer"})
    assert plan == Plan(paused=("1.timer",), gone=("2.timer",))


def test_what_somebody_else_has_is_never_touched() -> None:
    assert not diff({}, {}, Actual(foreign=frozenset(["1.timer"])))


@pytest.mark.parametrize(("shared", "timers"), [({"x": "S"}, {}), ({}, {"x": "T"})])
def test_a_name_that_somebody_else_has_is_a_clash(shared: dict[str, str], timers: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="x is there already") as error:
        diff(shared, timers, Actual(foreign=frozenset(["x"])))
    assert error.value.hint


@given(files, timers, st.dictionaries(every_name, texts), st.sets(every_name), st.sets(every_name))
def test_after_a_plan_nothing_is_left_to_do(
    shared: dict[str, str], timers: dict[str, str], there: dict[str, str], live: set[str], paused: set[str]
) -> None:
    actual = Actual(there, live=frozenset(live))
    plan = diff(shared, timers, actual, paused)
    after = applied(plan, actual, timers)
    assert after.files == {**shared, **timers}
    assert not diff(shared, timers, after, paused)


@given(files, timers, st.dictionaries(every_name, texts), st.sets(every_name), st.sets(every_name))
def test_a_plan_names_every_file_once(
    shared: dict[str, str], timers: dict[str, str], there: dict[str, str], live: set[str], paused: set[str]
) -> None:
    plan = diff(shared, timers, Actual(there, live=frozenset(live)), paused)
    named = [*plan.shared, *plan.new, *plan.changed, *plan.idle, *plan.paused, *plan.gone]
    assert len(named) == len(set(named)) == len(plan.lines())


def test_a_plan_has_a_line_for_each_step() -> None:
    plan = Plan({"a": "A"}, {"b": "B"}, {"c": "C"}, ("d",), ("e",), ("f",))
    assert plan.lines() == ["write a", "add b", "change c", "start d", "remove e", "remove f"]


# names and texts


def test_the_default_home_has_the_plain_names() -> None:
    default = replace(home("systemd-user"), is_default=True)
    assert sorted(units(default)) == [
        "xtrack-job@.service",
        "xtrack-job@7.timer",
        "xtrack-manual@.service",
        "xtrack-run-due.service",
        "xtrack-run-due.timer",
    ]


def test_two_other_homes_share_no_unit() -> None:
    first, second = units(home("systemd-user", "/srv/one")), units(home("systemd-user", "/srv/two"))
    assert not first.keys() & second.keys()
    assert not any(name.startswith(("xtrack-job@", "xtrack-run-due")) for name in [*first, *second])


@pytest.mark.parametrize("scope", SCOPES)
def test_units_are_the_same_bytes_each_time(scope: str) -> None:
    assert units(home(scope)) == units(home(scope))


def test_only_the_schedule_stands_in_a_timer() -> None:
    of_home = Units(home("systemd-user"))
    job = replace(JOB, id=7)
    text = of_home.timer_text(job)
    assert of_home.timer_text(replace(job, topics=("tide",), names=("kaya",), source="/srv/posts.jsonl")) == text
    assert of_home.timer_text(replace(job, at="00:31")) != text


@pytest.mark.parametrize(
    ("frequency", "at", "calendar"),
    [
        ("hourly", "17:42", "*-*-* *:42:00"),
        ("every_6_hours", "14:15", "*-*-* 02,08,14,20:15:00"),
        ("daily", "07:30", "*-*-* 07:30:00"),
        ("1min", "00:00", "*-*-* *:*:00"),
        ("20min", "00:05", "*-*-* *:05/20:00"),
    ],
)
def test_a_schedule_as_systemd_writes_it(frequency: str, at: str, calendar: str) -> None:
    assert on_calendar(replace(JOB, frequency=frequency, at=at)) == calendar


def test_the_timer_catches_up_and_is_punctual() -> None:
    text = units(home("systemd-user"))[Units(home("systemd-user")).timer(7)]
    assert setting(text, "OnCalendar") == "*-*-* 07:30:00"
    assert setting(text, "Persistent") == "true"
    assert setting(text, "AccuracySec") == "1s"
    assert "RandomizedDelaySec" not in text


@pytest.mark.parametrize("scope", SCOPES)
def test_services_are_bounded_and_tried_again_by_the_sweep_alone(scope: str) -> None:
    for name, text in units(home(scope)).items():
        if name.endswith(".service"):
            assert setting(text, "Type") == "oneshot"
            assert setting(text, "StartLimitIntervalSec") == "0"
            assert setting(text, "OnFailure").endswith("-run-due.timer")
            assert setting(text, "TimeoutStartSec") == ("2min" if "run-due" in name else "15min")
            assert "Restart=" not in text


def test_the_sweep_s_timer_is_dead_once_it_elapsed() -> None:
    text = units(home("systemd-user"))[Units(home("systemd-user")).sweep]
    assert setting(text, "OnActiveSec") == "5min"
    assert setting(text, "RemainAfterElapse") == "no"
    assert setting(text, "WantedBy") == "timers.target"


@pytest.mark.parametrize("scope", SCOPES)
def test_every_unit_names_its_home_and_no_secret(scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTRACK_TOKEN", "s3cret")
    for text in units(home(scope)).values():
        assert setting(text, "X-XTrack-Home") == '"/srv/watch"'
        assert "s3cret" not in text


def test_a_service_is_told_its_home() -> None:
    text = units(home("systemd-user", config="/srv/etc/x.toml"))[f"{Units(home('systemd-user')).prefix}-job@.service"]
    told = [line.removeprefix("Environment=") for line in text.splitlines() if line.startswith("Environment=")]
    assert told == [
        "XTRACK_TRIGGER=timer",
        '"XTRACK_SCHEDULER=systemd-user"',
        '"XTRACK_CONFIG=/srv/etc/x.toml"',
        '"XTRACK_DATA=/srv/watch"',
    ]


def test_only_the_sweep_may_become_somebody_else() -> None:
    texts = units(home("systemd-system"))
    (job,) = [text for name, text in texts.items() if name.endswith("job@.service")]
    (sweep,) = [text for name, text in texts.items() if name.endswith("run-due.service")]
    assert (setting(job, "User"), setting(job, "CapabilityBoundingSet")) == ("xtrack", "")
    assert "User=" not in sweep
    assert setting(sweep, "CapabilityBoundingSet") == "CAP_SETUID CAP_SETGID"


# quoting


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("/srv/x", '"/srv/x"'),
        ("a b", '"a b"'),
        ("100%", '"100%%"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b", '"a\\\\b"'),
        ("$HOME", '"$HOME"'),
        ("日本", '"日本"'),
    ],
)
def test_a_word_is_quoted_as_systemd_reads_it(word: str, text: str) -> None:
    assert quoted(word) == text


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("place", HOSTILE)
def test_a_strange_place_swallows_no_setting(scope: str, place: str) -> None:
    """A line that ends with a backslash goes on in the next."""
    for text in units(home(scope, place)).values():
        assert not any(line.endswith("\\") for line in text.splitlines())


@needs_analyze
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("place", ["/srv/watch", *HOSTILE])
def test_systemd_finds_nothing_wrong(scope: str, place: str, tmp_path: Path) -> None:
    said = verified(units(home(scope, place)), scope, tmp_path)
    assert said == ""


@needs_analyze
def test_systemd_would_find_what_is_wrong(tmp_path: Path) -> None:
    texts = {name: text.replace("Type=oneshot", "Type=sometimes") for name, text in units(home("systemd-user")).items()}
    assert "sometimes" in verified(texts, "systemd-user", tmp_path)


def verified(texts: dict[str, str], scope: str, folder: Path) -> str:
    """What systemd-analyze says of these units, each template as the instance 7."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    paths = [str(folder / name.replace("@.", "@7.")) for name in texts]
    done = subprocess.run(
        ["systemd-analyze", "--" + scope.removeprefix("systemd-"), "--man=no", "verify", *paths],
        env={**os.environ, "LC_ALL": "C", "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return "\n".join(line for line in done.stderr.splitlines() if str(folder) in line or "xtrack" in line)


# which backend


def test_launchd_is_refused_with_the_other_way() -> None:
    with pytest.raises(Misconfigured) as error:
        backend(home("launchd"))
    assert "XTRACK_SCHEDULER=none" in error.value.hint


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_without_systemd_the_other_way_is_named() -> None:
    with pytest.raises(Misconfigured, match="systemd does not run") as error:
        backend(home("systemd-user")).prepare()
    assert "XTRACK_SCHEDULER=none" in error.value.hint
    assert "run-due" in error.value.hint


def test_without_a_scheduler_nothing_is_done_and_that_is_said(tmp_path: Path) -> None:
    none = backend(home("none", str(tmp_path / "new")))
    (warning,) = none.prepare()
    assert "xtrack run-due" in warning
    assert (tmp_path / "new").is_dir()
    assert not none.reconcile([replace(JOB, id=1)], [1])
    assert not none.remove()
