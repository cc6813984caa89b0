"""`make demo`'s program on a real systemd, and without one: what it shows, and that nothing of it stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.machine import Machine

DEMO = ["/opt/xtrack/bin/python", "-m", "xtrack.demo"]


def left(machine: Machine) -> str:
    """Whatever of the demo's is still on the machine's disk or loaded."""
    found = machine.run("find", "/etc", "/var", "/home", "/root", "-name", "*xtrack-*").stdout
    for user in ("ann", "root"):
        found += machine.run("systemctl", "--user", "list-units", "--all", "-q", "xtrack-*", user=user).stdout
    return found


@pytest.mark.systemd
def test_demo_of_a_user_and_of_root_and_one_that_is_stopped(machine: Machine) -> None:
    machine.user("ann")
    machine.linger("root")
    ann, root = (machine.start(*DEMO, user=user) for user in ("ann", "root"))
    stopped = machine.start("timeout", "--signal=INT", "4", *DEMO, user="ann")
    assert "Stopped. Everything that the demo made is gone again." in stopped.communicate(timeout=30)[0]
    for demo in (ann, root):
        said, _ = demo.communicate(timeout=120)
        assert demo.returncode == 0, said
        assert "user manager: it will start the job" in said
        assert "Job 1 installed: watches the bundled sample, every minute.\nNext run: " in said
        assert "It is time." in said
        assert "run 1: job 1, slot" in said
        assert "(sentences taken from the posts, not written by a model)" in " ".join(said.split())
        assert "https://sample.example/" in said
        assert "NEXT RUN" in said
        assert "LEFT" in said
        assert "xtrack install-job --source sample --every hourly" in said
    assert machine.run("getent", "passwd", "xtrack", check=False).returncode == 2
    assert left(machine) == ""


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="a systemd runs here, which the demo would use")
def test_demo_without_systemd_plays_its_part_and_shows_the_units(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": ""}
    done = subprocess.run([sys.executable, "-m", "xtrack.demo"], env=env, capture_output=True, text=True, check=True)
    assert "systemd does not run on this machine" in done.stdout
    assert "$ xtrack run-due" in done.stdout
    assert " new posts by 6 accounts" in done.stdout
    assert "OnCalendar=*-*-* *:*:00" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
