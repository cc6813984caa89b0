"""The sandbox of the units: its score, what doctor says of it, and what a run can really do in it, in each scope."""

import errno
import fcntl
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import MakeMachine
from tests.system.machine import PYTHON, PYTHON_NAME, Machine
from tests.system.test_life import POST, Scope, an_hour_passes, scope_of

pytestmark = pytest.mark.systemd

# A user's manager that may make no namespaces of users, where units with PrivateUsers= fail, and one that may make none
# of mounts, where they start as if nothing had been asked for.
NO_USERS, NO_MOUNTS = "~user", "~mnt"
KINDS = ["system", "private", "plain", "silent"]
PLAIN = ["plain", "silent"]
UNITS = ["xtrack-job@1.service", "xtrack-manual@1.service", "xtrack-run-due.service"]

PROBE = """
import ctypes, errno, json, mmap, os, socket, sys

libc = ctypes.CDLL(None, use_errno=True)

def outcome(action, *words):
    try:
        return "done" if action(*words) != -1 else errno.errorcode[ctypes.get_errno()]
    except OSError as error:
        return errno.errorcode[error.errno]

def write(folder):
    path = os.path.join(folder, "written-by-a-probe")
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)

data = sys.argv[1]
if os.geteuid() == 0:
    owner = os.stat(data)
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
mine = os.path.join(data, "mine")
if os.path.exists(mine):
    os.unlink(mine)
open(mine, "w").close()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
places = ["/etc", "/usr", "/opt", "/srv", "/var/lib", "/root", os.path.expanduser("~"), "/srv/open", "/tmp", data]
group = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().rstrip().split("::")[1]
found = {
    "status": {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
    "wrote": [place for place in places if outcome(write, place) == "done"],
    "mode": oct(os.stat(mine).st_mode & 0o777),
    "sees": [path for path in sys.argv[2:] if os.path.exists(path)],
    "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("ipc", "mnt", "user", "uts")},
    "new namespace": outcome(libc.unshare, 0x10000000),
    "packet socket": outcome(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
    "network socket": outcome(socket.socket, socket.AF_INET, socket.SOCK_STREAM),
    "writable code": outcome(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE, 7),
    "set-user-id": outcome(os.chmod, mine, 0o4700),
    "personality": outcome(libc.personality, 8),
    "chown": outcome(os.chown, mine, os.geteuid(), os.getegid()),
    "nice": outcome(os.nice, 1),
    "control group": outcome(os.mkdir, group + "/probe"),
}
with open(os.path.join(data, "probe.json"), "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def machine(make_machine: MakeMachine) -> Machine:
    made = make_machine()
    made.path("/srv/probe.py").write_text(PROBE)
    made.path("/srv/open").mkdir()
    made.path("/srv/open").chmod(0o777)
    made.run("touch", "/tmp/of-others")
    return made


@pytest.fixture(scope="module")
def scopes(machine: Machine) -> dict[str, Scope]:
    """A job on the sample in every scope, on one machine."""
    made = {
        "private": scope_of(machine, "user"),
        "system": scope_of(machine, "system"),
        "plain": user_scope(machine, "bob", NO_USERS),
        "silent": user_scope(machine, "cat", NO_MOUNTS),
    }
    for scope in made.values():
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def user_scope(machine: Machine, name: str, forbidden: str = "") -> Scope:
    machine.run("useradd", "--create-home", "--shell", "/bin/bash", name)
    if forbidden:
        forbid(machine, name, forbidden)
    machine.linger(name)
    home = machine.path(f"/home/{name}")
    share = home / ".local/share"
    return Scope(machine, name, home / ".config/systemd/user", share / "xtrack", share / "systemd/timers")


def forbid(machine: Machine, name: str, namespaces: str) -> None:
    """Have a user's manager, from its next start on, make no such namespaces."""
    folder = machine.path(f"/etc/systemd/system/user@{uid(machine, name)}.service.d")
    folder.mkdir()
    (folder / "namespaces.conf").write_text(f"[Service]\nRestrictNamespaces={namespaces}\n")
    machine.run("systemctl", "daemon-reload")


def uid(machine: Machine, name: str) -> str:
    return machine.run("id", "-u", name).stdout.strip()


def inside(scope: Scope, path: Path) -> str:
    return f"/{path.relative_to(scope.machine.disk)}"


# what systemd says of it


def exposure(scope: Scope, unit: str) -> float:
    manager = ["--user"] if scope.user else []
    said = scope.machine.run("systemd-analyze", *manager, "security", "--no-pager", unit, user=scope.user).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    return float(found[1])


def test_scores(scopes: dict[str, Scope], kind: str) -> None:
    worst = {"system": [1.5, 1.5, 2.0], "private": [2.2] * 3}.get(kind, [6.6] * 3)
    scores = [exposure(scopes[kind], unit) for unit in UNITS]
    assert all(score <= allowed for score, allowed in zip(scores, worst, strict=True)), scores
    if kind in PLAIN:
        assert min(scores) > 2.2


def sandbox_line(scope: Scope) -> str:
    """Doctor's, with the hint if it has one; he may have other things to say on a machine like this."""
    said = scope.machine.run("xtrack", "doctor", user=scope.user, check=False).stdout
    found = re.search(r"^(ok|FAIL) +sandbox: .*(\n {6}.*)?", said, re.MULTILINE)
    assert found, said
    return found[0]


def test_doctor_says_which(scopes: dict[str, Scope], kind: str) -> None:
    set_of = {"system": "the full set", "private": "the full set of a user"}.get(kind, "the plain set")
    assert sandbox_line(scopes[kind]).startswith(f"ok    sandbox: {set_of}: ")


# Read back in another form, and looked at elsewhere.
_OTHERWISE = "ExecStart Environment SystemCallFilter TimeoutStartSec TimeoutStopSec IOSchedulingClass"


def settings(scope: Scope, unit: str) -> dict[str, list[str]]:
    """What the unit's file says of its service, by name, a value a line."""
    found: dict[str, list[str]] = {}
    text = (scope.units / re.sub("@.*service", "@.service", unit)).read_text()
    for line in text.partition("[Service]\n")[2].splitlines():
        name, _, value = line.partition("=")
        found.setdefault(name, []).append(value)
    return found


def normal(value: str) -> list[str]:
    """A value as systemctl would show it, as far as a test can compare it: lists in any order."""
    same = {"true": "yes", "EPERM": str(errno.EPERM)}
    return sorted(same.get(word, word).strip('"').lower() for word in value.split())


def shown(scope: Scope, unit: str) -> dict[str, str]:
    lines = scope.systemctl("show", "--all", unit).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_taken_every_setting(scopes: dict[str, Scope], kind: str, unit: str) -> None:
    scope = scopes[kind]
    written, loaded = settings(scope, unit), shown(scope, unit)
    assert loaded["LoadState"] == "loaded"
    for name in written.keys() - set(_OTHERWISE.split()):
        (value,) = written[name]
        assert (name, normal(loaded[name])) == (name, normal(value))
    allowed = loaded["SystemCallFilter"].split()
    assert {"read", "execve", "socket"} <= set(allowed)
    assert not {"mount", "reboot", "setpriority", "ptrace", "bpf"} & set(allowed)
    if kind == "system":
        assert ("setuid" in allowed) == (unit == "xtrack-run-due.service")
    manager = ["_PID=1"] if kind == "system" else ["--user", f"_UID={uid(scope.machine, scope.user or 'root')}"]
    said = scope.machine.run("journalctl", "--quiet", "-o", "cat", *manager, user=scope.user).stdout
    assert not [line for line in said.splitlines() if re.search("Unknown|Failed to parse|gnoring|Invalid", line)]


# what a run can do in it

LOOKED_FOR = ["/tmp/of-others", "/home/ann/.profile", "/dev/console", "/proc/cpuinfo", "/proc/1"]
NAMESPACES = ["ipc", "mnt", "user", "uts"]
EVERYWHERE = {
    "mode": "0o600",
    "new namespace": "EPERM",
    "packet socket": "EAFNOSUPPORT",
    "network socket": "done",
    "writable code": "EPERM",
    "set-user-id": "EPERM",
    "personality": "EPERM",
    "chown": "EPERM",
    "nice": "EPERM",
}


@contextmanager
def dropped_in(scope: Scope, unit: str, text: str) -> Iterator[None]:
    folder = scope.units / f"{unit}.d"
    folder.mkdir(parents=True)
    (folder / "test.conf").write_text(text)
    scope.systemctl("daemon-reload")
    try:
        yield
    finally:
        (folder / "test.conf").unlink()
        folder.rmdir()
        scope.systemctl("daemon-reload")


def probing(scope: Scope) -> list[str]:
    return [f"{PYTHON}/bin/{PYTHON_NAME}", "/srv/probe.py", inside(scope, scope.data), *LOOKED_FOR]


def probe(scope: Scope, unit: str) -> Any:
    """What a script finds that a unit starts in place of the program."""
    command = " ".join(probing(scope))
    with dropped_in(scope, unit, f"[Service]\nExecStart=\nExecStart={command}\n"):
        scope.systemctl("start", unit)
    return _found(scope)


def probe_without(scope: Scope) -> Any:
    """What it finds in a unit without a sandbox."""
    manager = ["--user"] if scope.user else ["--uid=xtrack"]
    options = ["--wait", "--quiet", "--collect"]
    scope.machine.run("systemd-run", *manager, *options, *probing(scope), user=scope.user)
    return _found(scope)


def _found(scope: Scope) -> Any:
    found = json.loads((scope.data / "probe.json").read_text())
    everybodys = {name: scope.machine.run("readlink", f"/proc/1/ns/{name}").stdout.strip() for name in NAMESPACES}
    own = [name for name, link in found.pop("namespaces").items() if link != everybodys[name]]
    return {**found, "own namespaces": own, "wrote": sorted({*found["wrote"]})}


def test_nothing_but_its_data_is_open_to_a_run(scopes: dict[str, Scope], kind: str) -> None:
    scope = scopes[kind]
    data, home = inside(scope, scope.data), f"/home/{scope.user}"
    found = probe(scope, "xtrack-job@99.service")
    status = found.pop("status")
    assert (status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
    full = {
        "control group": "EROFS",
        "own namespaces": NAMESPACES,
        "sees": [] if kind == "system" else [path for path in LOOKED_FOR if path != "/dev/console"],
        "wrote": sorted(["/tmp", data]),
    }
    plain = {
        "control group": "done",
        "own namespaces": [],
        "sees": LOOKED_FOR,
        "wrote": sorted(["/tmp", "/srv/open", home, data]),
    }
    assert found == EVERYWHERE | (plain if kind in PLAIN else full)
    assert (int(status["CapBnd"], 16) == 0) == (kind not in PLAIN)


@pytest.mark.parametrize("kind", ["system", "private"])
def test_without_the_sandbox_all_of_this_is_open(scopes: dict[str, Scope], kind: str) -> None:
    """What shows that the probe can tell."""
    found = probe_without(scopes[kind])
    assert (found["status"]["NoNewPrivs"], found["status"]["Seccomp"]) == ("0", "0")
    assert int(found["status"]["CapBnd"], 16) != 0
    assert found["own namespaces"] == []
    assert found["sees"] == LOOKED_FOR
    assert {"/tmp", "/srv/open"} < set(found["wrote"])
    differs = {name for name in EVERYWHERE if found[name] != EVERYWHERE[name]}
    assert differs == EVERYWHERE.keys() - {"network socket"}


def test_the_sweep_of_the_system_may_become_somebody_else_and_no_more(scopes: dict[str, Scope]) -> None:
    scope = scopes["system"]
    found = probe(scope, "xtrack-run-due.service")
    capabilities = (1 << 6) | (1 << 7)  # CAP_SETGID, CAP_SETUID
    assert int(found["status"]["CapBnd"], 16) == capabilities
    assert (found["status"]["NoNewPrivs"], found["status"]["Seccomp"]) == ("1", "2")
    assert (found["sees"], found["wrote"]) == ([], ["/tmp", "/var/lib/xtrack"])
    assert found["own namespaces"] == ["ipc", "mnt", "uts"]
    assert {name: found[name] for name in EVERYWHERE.keys() - {"chown"}} == {
        name: EVERYWHERE[name] for name in EVERYWHERE.keys() - {"chown"}
    }


def test_sources_that_a_person_can_read_are_read_in_it(scopes: dict[str, Scope], kind: str) -> None:
    """For a user these are in the home folder and in /tmp too; install-job refuses them to the system's jobs."""
    scope = scopes[kind]
    places = ["/srv/open"] if kind == "system" else ["/srv/open", f"/home/{scope.user}", "/tmp"]
    files = [f"{place}/{kind}.jsonl" for place in places]
    for file in files:
        scope.machine.run("sh", "-c", f"cat >{file}", user=scope.user or "root", input=json.dumps(POST))
    numbers = [new_job(scope, source) for source in ["sample", *files]]
    an_hour_passes(scope)
    scope.systemctl("start", *(f"xtrack-job@{number}.service" for number in numbers))
    runs = {run["job"]: run for run in scope.runs()}
    assert [(runs[n]["state"], runs[n]["trigger"]) for n in numbers] == [("done", "timer")] * len(numbers)
    assert [runs[n]["new_posts"] for n in numbers[1:]] == [1] * len(files)
    scope.systemctl("start", "xtrack-run-due.service")
    scope.xtrack("delete-job", "--yes", *map(str, numbers))


def new_job(scope: Scope, source: str = "sample") -> int:
    """One that has done no slot yet."""
    return int(scope.xtrack("install-job", "--source", source, "--every", "hourly").split()[1])


def set_parallel_runs(scope: Scope, count: int) -> None:
    folder = "/etc/xtrack" if scope.user is None else f"/home/{scope.user}/.config/xtrack"
    command = f"umask 077; mkdir -p {folder} && echo parallel_runs = {count} >{folder}/config.toml"
    scope.machine.run("sh", "-c", command, user=scope.user or "root")


WAITS = "waiting for one of the parallel places"


@contextmanager
def only_place_taken(scopes: list[Scope]) -> Iterator[None]:
    """Each of these homes has one place to run, and it is taken."""
    with ExitStack() as stack:
        for scope in scopes:
            set_parallel_runs(scope, 1)
            scope.xtrack("run-job", "1")  # makes the lock's file
            place = stack.enter_context((scope.data / "locks/place-1").open("a"))
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def last_run(scope: Scope, job: int) -> Any:
    return scope.json("show-job", str(job))["last_result"] or {"state": "none", "stage": None}


@pytest.mark.slow
def test_waiting_does_not_count_against_the_unit_s_timeout(scopes: dict[str, Scope]) -> None:
    """Longer than it, for a place; the message that extends it comes out of the sandbox."""
    waiting = [(scopes[kind], new_job(scopes[kind])) for kind in ("system", "private", "plain")]
    wait_for = waiting[0][0].machine.wait_for
    with ExitStack() as stack:
        for scope, _ in waiting:
            stack.enter_context(dropped_in(scope, "xtrack-job@.service", "[Service]\nTimeoutStartSec=8s\n"))
        with only_place_taken([scope for scope, _ in waiting]):
            for scope, job in waiting:
                an_hour_passes(scope)
                scope.systemctl("start", "--no-block", f"xtrack-job@{job}.service")
            for scope, job in waiting:
                wait_for(lambda s=scope, n=job: last_run(s, n)["stage"] == WAITS, 40, "the run waits")
            time.sleep(8.5)
            assert [last_run(*one)["state"] for one in waiting] == ["running"] * 3
        for scope, job in waiting:
            wait_for(lambda s=scope, n=job: s.systemctl("is-active", unit(n), check=False) != "activating\n", 40, "end")
            assert scope.systemctl("show", "-p", "Result", unit(job)) == "Result=success\n"
            assert last_run(scope, job)["state"] == "done"


def unit(job: int) -> str:
    return f"xtrack-job@{job}.service"


@pytest.mark.parametrize(
    ("name", "forbidden"), [("dan", NO_USERS), pytest.param("eve", NO_MOUNTS, marks=pytest.mark.slow)]
)
def test_namespaces_that_are_taken_away_later_are_missed_and_that_is_mended(
    machine: Machine, name: str, forbidden: str
) -> None:
    scope = user_scope(machine, name)
    jobs = [new_job(scope), new_job(scope)]
    forbid(machine, name, forbidden)
    machine.run("systemctl", "restart", f"user@{uid(machine, name)}.service")
    assert scope.xtrack("sync") == "All timers are as the jobs say.\n"  # which set it is, the first install found out
    assert scope.refused("doctor")[0] == 78
    line, hint = sandbox_line(scope).splitlines()
    assert line.startswith("FAIL  sandbox: ")
    an_hour_passes(scope)
    scope.systemctl("start", unit(jobs[0]), check=False)
    assert (last_run(scope, jobs[0])["state"] == "done") == (forbidden == NO_MOUNTS)
    machine.run("sh", "-c", hint, user=name)
    assert sandbox_line(scope).startswith("ok    sandbox: the plain set: ")
    assert all("PrivateUsers" not in path.read_text() for path in scope.units.glob("xtrack-*.service"))
    scope.systemctl("start", *map(unit, jobs))
    assert [last_run(scope, job)["state"] for job in jobs] == ["done", "done"]
    assert scope.xtrack("doctor")


# root is the service user


def test_as_root_every_command_is_the_service_user(scopes: dict[str, Scope]) -> None:
    """Its effective ids are, and it has no other group; so all that it makes is the service user's, and its alone."""
    scope = scopes["system"]
    for words in (["pause-job", "1"], ["resume-job", "1"], ["update-job", "1", "--topic", "wind"], ["run-job", "1"]):
        scope.xtrack(*words)
    for command in ("list-jobs", "sync", "run-due"):
        scope.xtrack(command)
    scope.refused("doctor")
    with only_place_taken([scope]):
        waits = scope.machine.start("xtrack", "run-job", "1")
        scope.machine.wait_for(lambda: last_run(scope, 1)["stage"] == WAITS, 40, "the run waits")
        pid = scope.machine.run("pgrep", "--full", "xtrack run-job 1$").stdout.split()[-1]
        status = scope.machine.run("cat", f"/proc/{pid}/status").stdout
    assert waits.wait(40) == 0
    account = scope.machine.run("getent", "passwd", "xtrack").stdout.split(":")
    ids = [line.split()[1:3] for line in status.splitlines() if line.startswith(("Uid:", "Gid:"))]
    assert ids == [["0", account[2]], ["0", account[3]]]
    assert "Groups:\t \n" in status
    assert "Umask:\t0077\n" in status
    made = scope.machine.run("find", "/var/lib/xtrack", "-printf", "%u %g %y %m %P\n").stdout.splitlines()
    assert any(line.endswith(" xtrack.db") for line in made)
    assert any(line.endswith(" locks/job-1") for line in made)
    probes = ("mine", "probe.json")
    wrong = [line for line in made if not re.match("xtrack xtrack (d 700|f 600) ", line) and not line.endswith(probes)]
    assert wrong == []


def test_no_link_in_its_data_makes_root_write_elsewhere(machine: Machine, scopes: dict[str, Scope]) -> None:
    scope = scopes["system"]
    locks = scope.data / "locks"
    locks.rename(scope.data / "away")
    machine.run("ln", "-s", "/etc", "/var/lib/xtrack/locks")
    before = machine.run("find", "/etc", "-printf", "%p %u %m %s\n").stdout
    for words in (["install-job", "--source", "sample", "--every", "hourly"], ["run-job", "1"], ["sync"]):
        code, said = scope.refused(*words)
        assert (code, "a lock cannot be made: [Errno 13] Permission denied" in said) == (78, True)
    assert machine.run("find", "/etc", "-printf", "%p %u %m %s\n").stdout == before
    locks.unlink()
    (scope.data / "away").rename(locks)
