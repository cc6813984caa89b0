"""Machines with a real systemd, and what happens to the tests marked `systemd` where there can be none."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.machine import Machine, build_wheel, install, missing

MakeMachine = Callable[..., Machine]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a systemd, from one place: then pytest's summary has one line for all these tests."""
    if not item.get_closest_marker("systemd"):
        return
    reason = missing()
    if reason and os.environ.get("XTRACK_REQUIRE_SYSTEMD") == "1":
        pytest.fail(f"systemd tests required, but: {reason}", pytrace=False)
    if reason:
        pytest.skip(f"systemd tests skipped: {reason}")


@pytest.fixture(scope="session", autouse=True)
def _public_files() -> Iterator[None]:
    """What is written into a machine can be read by its users, whatever the umask here."""
    umask = os.umask(0o022)
    yield
    os.umask(umask)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the program for all machines, once for all of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    installed = shared / "program"
    with (shared / "program.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            scratch = tmp_path_factory.mktemp("build")
            wheel = build_wheel(Path(__file__).parents[2], scratch)
            install(scratch / "program", wheel)
            (scratch / "program").rename(installed)
    return installed


@pytest.fixture(scope="module")
def make_machine(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeMachine]:
    """Return a function that boots a machine, which lives until the module's end; it takes Machine's `zone`."""
    with ExitStack() as machines:

        def make(zone: str = "Europe/Berlin") -> Machine:
            machine = machines.enter_context(Machine(tmp_path_factory.mktemp("machine"), program, zone))
            machine.boot()
            return machine

        yield make


@pytest.fixture
def machine(program: Path, tmp_path: Path) -> Iterator[Machine]:
    """Boot a machine for one test."""
    with Machine(tmp_path, program) as machine:
        machine.boot()
        yield machine
