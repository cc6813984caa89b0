"""The harness alone: what the tests of the program may rely on in a Machine."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import leaks
from tests.peers.x.api import TOKEN
from tests.system.conftest import MakeMachine, pytest_runtest_setup
from tests.system.machine import BOOT_SCRIPT, BootError, Machine

needs_systemd = pytest.mark.systemd

REPOSITORY = Path(__file__).parents[2]
IMPORT = ["/opt/xtrack/bin/python", "-c", "import click, jinja2, sqlite_utils, xtrack.models; print('imported')"]
SANDBOX = """
    AmbientCapabilities= CapabilityBoundingSet= DevicePolicy=closed LockPersonality=yes MemoryDenyWriteExecute=yes
    NoNewPrivileges=yes PrivateDevices=yes PrivateIPC=yes PrivateTmp=yes PrivateUsers=yes ProcSubset=pid
    ProtectClock=yes ProtectControlGroups=yes ProtectHome=yes ProtectHostname=yes ProtectKernelLogs=yes
    ProtectKernelModules=yes ProtectKernelTunables=yes ProtectProc=invisible ProtectSystem=strict RemoveIPC=yes
    RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes SystemCallArchitectures=native
    SystemCallFilter=@system-service
"""


@pytest.fixture(scope="module")
def shared(make_machine: MakeMachine) -> Machine:
    """Boot one machine, with the user ann, for all tests that leave it on."""
    shared = make_machine()
    shared.user("ann")
    return shared


def write_ticking_timer(folder: Path) -> None:
    """Write a timer, tick, whose service says tock every second.

    Not at once: journald may not learn the unit of a process that lives for a few milliseconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    service = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 0.2; echo tock'\n"
    (folder / "tick.service").write_text(service)
    timer = "[Timer]\nOnCalendar=*:*:0/1\nAccuracySec=1us\n[Install]\nWantedBy=timers.target\n"
    (folder / "tick.timer").write_text(timer)


def tocks(machine: Machine, user: str | None = None) -> int:
    return machine.journal("tick.service", user=user).splitlines().count("tock")


def systemd_run(machine: Machine, properties: str, *argv: str) -> subprocess.CompletedProcess[str]:
    options = [f"--property={line}" for line in properties.split()]
    return machine.run("systemd-run", "--wait", "--pipe", "--quiet", *options, *argv, check=False)


def top_control_group(pid: int) -> str:
    """Return the name that the host has for the machine of init `pid`."""
    [line] = [line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")]
    return line.split("/")[1]


def left_on_host(disk: Path, control_group: str) -> list[str]:
    """List processes, mounts and control groups that a machine left behind."""
    processes = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    mounts = Path("/proc/self/mountinfo").read_text()
    look = """
        groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -n 1)
        [ -n "$groups" ] || { groups=/sys/fs/cgroup && mount -t cgroup2 cgroup2 "$groups"; }
        ls "$groups"
    """
    groups = subprocess.run(["unshare", "--mount", "sh", "-c", look], capture_output=True, text=True, check=True).stdout
    found = [line for line in (processes + mounts).splitlines() if str(disk) in line]
    return found + [name for name in groups.split() if name == control_group]


@needs_systemd
def test_boots_without_a_failed_unit_in_the_given_zone(shared: Machine) -> None:
    assert shared.run("systemctl", "is-system-running").stdout == "running\n"
    assert shared.run("readlink", "/etc/localtime").stdout == "/usr/share/zoneinfo/Europe/Berlin\n"
    assert shared.run("timedatectl", "show", "-p", "Timezone").stdout == "Timezone=Europe/Berlin\n"


@needs_systemd
def test_shows_nothing_of_the_host_but_a_read_only_usr(shared: Machine, tmp_path: Path) -> None:
    assert shared.run("test", "-e", tmp_path, check=False).returncode == 1
    assert shared.run("touch", "/usr/made", check=False).returncode == 1
    assert shared.run("sh", "-c", "ls /sys/class/net").stdout == "lo\n"
    assert shared.run("sh", "-c", "ls /etc/systemd/system /mnt").stdout.split() == ["/etc/systemd/system:", "/mnt:"]


@needs_systemd
def test_system_timer_fires_and_journal_has_its_lines(machine: Machine) -> None:
    write_ticking_timer(machine.path("/etc/systemd/system"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "tick.timer")
    machine.wait_for(lambda: tocks(machine) >= 2, 10, "two tocks")
    assert "Finished tick.service." in machine.journal("tick.service")


@needs_systemd
def test_users_manager_fires_timers_and_its_journal_is_readable(shared: Machine) -> None:
    paths = shared.run("systemctl", "--user", "show", "-p", "UnitPath", user="ann").stdout
    assert "/home/ann/.config/systemd/user" in paths
    write_ticking_timer(shared.path("/home/ann/.config/systemd/user"))
    shared.run("systemctl", "--user", "daemon-reload", user="ann")
    shared.run("systemctl", "--user", "start", "tick.timer", user="ann")
    shared.wait_for(lambda: tocks(shared, "ann") >= 1, 10, "a tock of ann's")
    shared.run("systemctl", "--user", "stop", "tick.timer", user="ann")
    assert tocks(shared) == 0


@needs_systemd
def test_root_can_have_a_manager_too(shared: Machine) -> None:
    assert shared.linger("root") == 0
    paths = shared.run("systemctl", "--user", "show", "-p", "UnitPath", user="root").stdout
    assert "/root/.config/systemd/user" in paths


@needs_systemd
def test_disk_outlives_the_power_and_boot_starts_what_is_enabled(machine: Machine) -> None:
    uid = machine.user("ann")
    write_ticking_timer(machine.path("/etc/systemd/system"))
    machine.run("systemctl", "enable", "tick.timer")
    machine.run("sh", "-c", "echo kept >~/file; touch /tmp/lost", user="ann")
    machine.run("sh", "-c", "mkdir /var/lib/xtrack /etc/xtrack && touch /srv/file ~/file")
    machine.power_off()
    machine.zone = "America/New_York"
    machine.boot()
    assert machine.run("cat", "file", user="ann").stdout == "kept\n"
    machine.run("ls", "/var/lib/xtrack", "/etc/xtrack", "/srv/file", "/root/file")
    assert machine.run("ls", "/tmp/lost", check=False).returncode == 2
    assert machine.run("systemctl", "is-active", "tick.timer", f"user@{uid}.service").stdout == "active\nactive\n"
    assert machine.run("date", "+%Z").stdout in ("EST\n", "EDT\n")
    assert machine.run("journalctl", "--list-boots").stdout.count("\n") == 2


@needs_systemd
@pytest.mark.parametrize("user", ["root", "ann"])
def test_program_imports_as(shared: Machine, user: str) -> None:
    assert shared.run(*IMPORT, user=user).stdout == "imported\n"


@needs_systemd
@pytest.mark.parametrize("properties", ["PrivateTmp=yes", "User=ann ProtectHome=yes", SANDBOX, SANDBOX + "User=ann"])
def test_program_imports_in_a_unit_with(shared: Machine, properties: str) -> None:
    done = systemd_run(shared, properties, *IMPORT)
    assert (done.stdout, done.stderr, done.returncode) == ("imported\n", "", 0)


@needs_systemd
def test_sandbox_is_effective(shared: Machine) -> None:
    done = systemd_run(shared, SANDBOX, "sh", "-c", "cat /proc/self/uid_map; ls -A /home /tmp; touch /var/lib/x")
    assert done.stdout.split() == ["0", "0", "1", "/tmp:"]
    assert "cannot open directory '/home'" in done.stderr
    assert "Read-only file system" in done.stderr


@needs_systemd
def test_credential_can_be_read_by_a_service_user(shared: Machine) -> None:
    secret = shared.path("/etc/secret")
    secret.write_text("token\n")
    secret.chmod(0o600)
    done = systemd_run(shared, "User=ann LoadCredential=c:/etc/secret", "sh", "-c", "cat $CREDENTIALS_DIRECTORY/c")
    assert (done.stdout, done.stderr) == ("token\n", "")


@needs_systemd
def test_executable_can_be_moved_away_and_back(shared: Machine) -> None:
    service = shared.path("/etc/systemd/system/version.service")
    service.write_text("[Service]\nType=oneshot\nExecStart=/opt/xtrack/bin/python --version\n")
    shared.run("mv", "/opt/xtrack/bin/python", "/opt/xtrack/bin/away")
    assert shared.run("systemctl", "start", "version.service", check=False).returncode == 1
    assert shared.run("systemctl", "show", "-p", "ExecMainStatus", "version.service").stdout == "ExecMainStatus=203\n"
    shared.run("mv", "/opt/xtrack/bin/away", "/opt/xtrack/bin/python")
    shared.run("systemctl", "start", "version.service")


@needs_systemd
def test_run_gives_a_minimal_environment_that_can_be_changed(shared: Machine) -> None:
    env = shared.run("env", user="ann", env={"USER": None, "TOKEN": "1"}).stdout.splitlines()
    assert {"HOME=/home/ann", "XDG_RUNTIME_DIR=/run/user/1000", "TOKEN=1"} <= set(env)
    assert not [line for line in env if line.startswith(("USER=", "PYTEST", "VIRTUAL_ENV"))]
    assert "XDG_RUNTIME_DIR" not in shared.run("env").stdout
    assert shared.run("cat", input="typed").stdout == "typed"


@needs_systemd
def test_a_token_that_is_left_anywhere_is_found(shared: Machine) -> None:
    """In the journal also in a long line, which could be packed."""
    config, files = "/etc/xtrack/config.toml", ("/etc/systemd/system/a.service", "/home/ann/b", "/run/c", "/var/lib/d")
    shared.run("install", "-D", "/dev/stdin", config, input=TOKEN)
    assert leaks.taken() == []
    shared.run("tee", *files, input=TOKEN)
    assert len(leaks.taken()) == 1  # what tee said
    shared.run("logger", input=f"{'long ' * 300}{TOKEN}")
    shared.run("journalctl", "--sync")
    shared.look_for_leaks()
    found = sorted(re.sub(r".*/(disk|root)(?=/)", "", where) for where in leaks.taken())
    assert [where for where in found if not where.startswith("/var/log/journal/")] == sorted(files)
    assert len(found) == len(files) + 1
    shared.run("rm", config, *files)
    shared.run("journalctl", "--rotate", "--vacuum-files=1")
    shared.look_for_leaks()
    assert leaks.taken() == []


@needs_systemd
def test_run_tells_what_a_failed_command_said(shared: Machine) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        shared.run("sh", "-c", "echo broken >&2; exit 3")
    assert "broken" in failure.value.__notes__[0]


@needs_systemd
def test_command_that_takes_too_long_is_killed_in_the_machine(shared: Machine) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        shared.run("sleep", "987", user="ann", timeout=0.3)
    shared.wait_for(lambda: shared.run("pgrep", "-f", "^sleep 987", check=False).returncode == 1, 2, "sleep's end")


@needs_systemd
def test_peers_of_the_test_are_reached_on_the_machines_loopback(shared: Machine) -> None:
    with shared.listen() as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port})).sendall(b'hello')"
        client = shared.start("/opt/xtrack/bin/python", "-c", code, user="ann")
        with server.accept()[0] as connection:
            assert connection.recv(5) == b"hello"
        assert client.communicate(timeout=10)[0] == ""


@needs_systemd
def test_waiting_in_vain_shows_the_journal(shared: Machine) -> None:
    shared.run("logger", "last words")
    with pytest.raises(TimeoutError, match=r"a miracle: not after 0\.1 s(.|\n)*last words"):
        shared.wait_for(lambda: False, 0.1, "a miracle")


@needs_systemd
def test_two_machines_know_nothing_of_each_other_and_leave_nothing(shared: Machine, machine: Machine) -> None:
    assert shared.pid != machine.pid
    write_ticking_timer(machine.path("/etc/systemd/system"))
    assert shared.run("systemctl", "cat", "tick.timer", check=False).returncode == 1
    waiting = machine.start("sleep", "987")
    group = top_control_group(machine.pid)
    assert left_on_host(machine.disk, group)
    machine.power_off()
    assert waiting.wait(5) != 0
    assert left_on_host(machine.disk, group) == []
    assert shared.run("systemctl", "is-active", "multi-user.target").stdout == "active\n"


@needs_systemd
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_machine_ends_with_a_test_run_that_is_ended_by(number: signal.Signals, program: Path, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; from pathlib import Path; from tests.system.machine import Machine\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored when these tests run in the background\n"
        "machine = Machine(Path(sys.argv[1]), Path(sys.argv[2])); machine.boot()\n"
        "print(machine.pid, flush=True); time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path), str(program)]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        try:
            assert run.stdout
            group = top_control_group(int(run.stdout.readline()))
            run.send_signal(number)
            run.wait(timeout=10)
        finally:
            run.kill()
    deadline = time.monotonic() + 10
    while left_on_host(tmp_path, group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_on_host(tmp_path, group) == []


@needs_systemd
@pytest.mark.parametrize("folder", ["tmp", "var/tmp"])
def test_systemd_is_not_started_when_a_folder_that_it_empties_may_be_the_hosts(
    folder: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "boot.sh"
    line = f"mount -t tmpfs tmpfs {folder}\n"
    assert line in BOOT_SCRIPT.read_text()
    script.write_text(BOOT_SCRIPT.read_text().replace(line, "\n"))
    monkeypatch.setattr("tests.system.machine.BOOT_SCRIPT", script)
    with pytest.raises(BootError, match=f"/{folder} is no mount of its own: systemd is not started"):
        Machine(tmp_path, program).boot()


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_systemd_its_tests_are_skipped_or_fail(
    required: str, outcome: type[Exception], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.system.conftest.missing", lambda: "not root; run: sudo make test")
    monkeypatch.setenv("XTRACK_REQUIRE_SYSTEMD", required)
    pytest_runtest_setup(request.node)
    request.node.add_marker("systemd")
    with pytest.raises(outcome, match="not root; run: sudo make test"):
        pytest_runtest_setup(request.node)
