"""What was missed without power is caught up by one run, in real time; in a file of its own, since it takes minutes."""

import time
from datetime import UTC, datetime

import pytest

from tests.system.machine import Machine
from tests.system.test_life import SCOPES, scope_of

pytestmark = pytest.mark.systemd


def test_fires_and_after_a_power_cut_catches_up_once(machine: Machine) -> None:
    """In real time, both scopes on one machine: the first firing, then two slots and more without power."""
    scopes = [scope_of(machine, name) for name in SCOPES]
    for scope in scopes:
        said = scope.xtrack("install-job", "--source", "sample", "--every", "1min")
        assert said.startswith("Job 1 installed: watches the bundled sample, every minute.\nNext run: ")
        assert said.splitlines()[1].endswith(("CET", "CEST"))
    for scope in scopes:
        scope.wait_for_runs(1, 70)
        first = scope.runs()[0]
        assert (first["trigger"], first["missed"], first["exit_code"]) == ("timer", 0, 0)
        assert scope.xtrack("show-summary", "1").startswith("Digest 1 of job 1")
    before = [len(scope.runs()) for scope in scopes]
    machine.power_off()
    seconds = datetime.now(UTC).second
    time.sleep(122 - seconds)
    machine.boot()
    for scope, ran in zip(scopes, before, strict=True):
        scope.wait_for_runs(ran + 1, 20)
        later = scope.runs()[ran:]
        assert later[0]["missed"] >= 1
        assert later[0]["slot"] > first["slot"]
        assert all(run["missed"] == 0 for run in later[1:])
        slots = [run["slot"] for run in scope.runs()]
        assert len(slots) == len(set(slots))
        assert {run["state"] for run in later} <= {"done", "running"}
