"""A Linux machine for tests: a real systemd in namespaces of its own, that can be powered off and booted again.

The machine has its own root folder, users, network (only lo), time zone and journal; it shares the kernel, the clock
and a read-only /usr with the host. Nothing else of the host can be seen in it, so nothing of the host can be changed.
"""

import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Self, TypeVar

from packaging.requirements import Requirement

from tests import leaks

T = TypeVar("T")

BOOT_SCRIPT = Path(__file__).with_name("boot.sh")
SYSTEMD = Path("/lib/systemd/systemd")
BOOT_SECONDS = 20
PATH = "/opt/xtrack/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Where the program and its interpreter are in the machine. An interpreter outside of /usr
# moves: its own place may be below /root or /home, which units with ProtectHome= and service users cannot see.
PROGRAM = Path("/opt/xtrack")
HOST_PYTHON = Path(sys.base_prefix).resolve()
PYTHON = HOST_PYTHON if HOST_PYTHON.is_relative_to("/usr") else Path("/opt/python")
PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"

FOLDERS = """
    dev etc etc/ld.so.conf.d etc/systemd etc/systemd/system home mnt opt opt/xtrack opt/xtrack/bin opt/xtrack/lib proc
    root run srv sys tmp usr var var/cache var/lib var/lib/systemd var/lib/systemd/linger var/lib/systemd/timers var/log
    var/log/journal var/spool var/tmp
"""
# Of /etc only what describes the distribution: none of the host's units, file systems, host keys or settings.
COPIED_FROM_ETC = """
    alternatives bash.bashrc dbus-1 debian_version environment host.conf ld.so.conf login.defs nsswitch.conf os-release
    pam.conf pam.d profile protocols security services shells skel ssl
"""

# Where a program leaves something in a machine; in the last two only as long as it is on.
KEPT = ("etc/systemd", "etc/xtrack", "home", "root", "srv", "var")
KEPT_WHILE_ON = ("run", "tmp")


class BootError(Exception):
    """The machine did not start, or is gone; says what its console showed last."""


class Machine:
    """A systemd (multi-user.target) on a disk of its own; as a context manager it is powered off at the end.

    Not told apart from a real one by: users with linger get their manager from logind, at boot and at once; root and
    users have a system bus and, with a manager, a user bus. Not there: udev, getty, tmpfiles, a network, TPM, suspend
    and, where the host is still on cgroup v1, the memory, cpu and pids controllers (limits are ignored).
    """

    def __init__(self, root: Path, program: Path, zone: str = "Europe/Berlin") -> None:
        """Lay out the disk in the folder `root`, or take the one that is there, with what install() left in `program`.

        `zone`, the machine's time zone, can be changed for the next boot.
        """
        self.disk = root / "disk"
        self.console_log = root / "console.log"
        self.zone = zone
        self.pid = 0  # init's, as the host sees it
        self._program = program
        self._keeper: subprocess.Popen[str] | None = None
        self._console: Console | None = None
        if not self.disk.exists():
            _lay_out(self.disk, program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()

    def path(self, inside: str) -> Path:
        """Where the host finds the machine's file `inside` (absolute); not for /usr, /tmp, /var/tmp, /run and /dev."""
        return self.disk / inside.lstrip("/")

    def boot(self) -> None:
        """Start systemd and wait until it has started all; also after power_off(), on the same disk.

        Raises BootError with the end of the console's log, and leaves nothing running then.
        """
        if self._keeper:
            raise RuntimeError("the machine is on")
        _link(self.path("/etc/localtime"), f"/usr/share/zoneinfo/{self.zone}")
        try:
            self._start()
            self._wait_until_started()
        except BaseException:  # also Ctrl-C
            self.power_off()
            raise

    def _start(self) -> None:
        self._console = Console(self.console_log)
        read_only = [str(part) for pair in self._read_only_folders() for part in pair]
        with self.console_log.open("ab") as log:
            self._keeper = subprocess.Popen(
                ["unshare", "--mount", "sh", BOOT_SCRIPT, "keep", self.disk, self._console.terminal, *read_only],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"PATH": PATH},
                start_new_session=True,  # Ctrl-C is not for the keeper: it ends with its stdin, after cleaning up
            )
        assert self._keeper.stdout
        answer = self._keeper.stdout.readline()
        if not answer:
            raise BootError(self._last_words("systemd was not started"))
        self.pid = int(answer)

    def _read_only_folders(self) -> Iterator[tuple[Path, Path]]:
        yield Path("/usr"), Path("/usr")
        yield self._program / "lib", PROGRAM / "lib"
        if PYTHON != HOST_PYTHON:
            yield HOST_PYTHON, PYTHON
        for folder in _folders_beside_usr():
            if not folder.is_symlink():
                yield folder, folder

    def _wait_until_started(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        state = ""
        while state not in ("running", "degraded"):
            if not Path(f"/proc/{self.pid}").exists():
                raise BootError(self._last_words("init ended"))
            if time.monotonic() > deadline:
                jobs = self.run("systemctl", "list-jobs", check=False).stdout
                raise BootError(self._last_words(f"{state or 'silent'} after {BOOT_SECONDS} s, with jobs:\n{jobs}"))
            time.sleep(0.02)
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def _last_words(self, what: str) -> str:
        lines = self.console_log.read_text(errors="replace").splitlines()[-30:]
        return "\n".join([what, f"The end of {self.console_log}:", *lines])

    def power_off(self) -> None:
        """Pull the plug: all processes are killed at once. Does nothing when off.

        The disk keeps what was written, also what a real one would have lost because it was not synced yet.
        """
        keeper, self._keeper = self._keeper, None
        console, self._console = self._console, None
        if keeper:
            try:
                self.look_for_leaks()
            finally:
                keeper.communicate(timeout=30)  # closes its stdin, the sign to kill init, and waits
        if console:
            console.close()

    def look_for_leaks(self) -> None:
        """Search the machine for X's token; the rest of the disk is the host's. Done at each power_off()."""
        leaks.meant.add(self.disk)
        inside = Path(f"/proc/{self.pid}/root")  # as init sees it
        for folder in (*(self.disk / name for name in KEPT), *(inside / name for name in KEPT_WHILE_ON)):
            leaks.look_below(folder)

    def user(self, name: str) -> int:
        """Add a user with a home folder and linger, start the user's manager and return the uid (1000 or more)."""
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        return self.linger(name)

    def linger(self, name: str) -> int:
        """Give `name` (also root) a user manager, now and from every boot on, and return the uid."""
        uid = self._account(name)[0]
        self.run("loginctl", "enable-linger", name)
        self.run("systemctl", "start", f"user@{uid}.service")  # logind has it started too, but does not wait for it
        return uid

    def _account(self, name: str) -> tuple[int, int, str]:
        for line in self.path("/etc/passwd").read_text().splitlines():
            login, _, uid, gid, _, home, _ = line.split(":")
            if login == name:
                return int(uid), int(gid), home
        raise LookupError(f"the machine has no user {name}")

    def run(
        self,
        *argv: str | Path,
        user: str | None = None,
        env: Mapping[str, str | None] | None = None,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - subprocess's name
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, in the home folder, with a minimal environment, and return its output.

        Without `user` as root without a session, as sudo leaves it; with `user` (root too) as after a login, with
        XDG_RUNTIME_DIR. `env` adds to that environment, or removes with None. Raises CalledProcessError with the output
        in its notes, and TimeoutExpired after the command was killed.
        """
        command, environment = self._command(argv, user, env)
        try:
            return subprocess.run(
                command,
                env=environment,
                check=check,
                input=input or "",
                timeout=timeout,
                capture_output=True,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            error.add_note(f"stdout: {error.stdout}\nstderr: {error.stderr}")
            raise

    def start(
        self, *argv: str | Path, user: str | None = None, env: Mapping[str, str | None] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command as run() does and return at once; its stdin, stdout and stderr (in stdout) are pipes.

        It is killed with the machine, or when the returned process is.
        """
        command, environment = self._command(argv, user, env)
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _command(
        self, argv: tuple[str | Path, ...], user: str | None, env: Mapping[str, str | None] | None
    ) -> tuple[list[str], dict[str, str]]:
        self._require_on()
        uid, gid, home = self._account(user or "root")
        environment: dict[str, str | None] = {
            "HOME": home,
            "LANG": "C.UTF-8",
            "LOGNAME": user or "root",
            "PATH": PATH,
            "SYSTEMD_PAGER": "",
            "USER": user or "root",
            "XDG_RUNTIME_DIR": f"/run/user/{uid}" if user else None,
            **(env or {}),
        }
        enter = ["nsenter", "--target", str(self.pid), "--all"]
        # Killed with nsenter, its parent, which is all that a timeout here reaches.
        become = ["setpriv", "--pdeathsig=KILL", f"--reuid={uid}", f"--regid={gid}", "--init-groups"]
        command = [*enter, *become, "env", f"--chdir={home}", *map(str, argv)]
        return command, {name: value for name, value in environment.items() if value is not None}

    def _require_on(self) -> None:
        if not self._keeper:
            raise RuntimeError("the machine is off")

    def listen(self, port: int = 0) -> socket.socket:
        """Return a socket of this process that listens on the machine's 127.0.0.1, for the peers that tests play."""
        self._require_on()
        ours, theirs = socket.socketpair()
        code = (
            "import socket, sys\n"
            "with socket.create_server(('127.0.0.1', int(sys.argv[1]))) as server:\n"
            "    socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'.'], [server.fileno()])\n"
        )
        with ours, theirs:
            self._in_network(code, port, theirs.fileno(), pass_fds=[theirs.fileno()])
            _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)

    def set_network(self, up: bool) -> None:
        """Have the only interface, lo, up as after boot, or down: nothing can be reached then (netdevice(7))."""
        self._require_on()
        code = (
            "import fcntl, socket, struct, sys\n"
            "SIOCSIFFLAGS = 0x8914\n"
            "with socket.socket() as sock:\n"
            "    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack('16sH22x', b'lo', int(sys.argv[1])))\n"
        )
        self._in_network(code, int(up))

    def _in_network(self, code: str, *words: int, pass_fds: Sequence[int] = ()) -> None:
        """Run Python code of this process's interpreter in the machine's network, and nothing else of the machine."""
        enter = ["nsenter", "--target", str(self.pid), "--net"]
        subprocess.run([*enter, sys.executable, "-c", code, *map(str, words)], check=True, pass_fds=pass_fds)

    def journal(self, unit: str, user: str | None = None) -> str:
        """Return what `unit` of the system, or of a user's manager, and systemd about it said in all boots."""
        self.run("journalctl", "--sync")
        scope = ["--user"] if user else []
        return self.run("journalctl", *scope, f"--unit={unit}", "--quiet", "--output=cat", user=user).stdout

    def wait_for(self, predicate: Callable[[], T], timeout: float, what: str) -> T:
        """Ask again and again until the answer is true, and return it.

        Raises TimeoutError, with `what` was waited for and the journal's last lines, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (answer := predicate()):
            if time.monotonic() > deadline:
                lines = self.run("journalctl", "--lines=30", "--output=short-precise", check=False).stdout
                raise TimeoutError(f"{what}: not after {timeout} s. The journal's last lines:\n{lines}")
            time.sleep(0.02)
        return answer


class Console:
    """The terminal that is the machine's /dev/console, and the thread that writes what appears there into a file.

    systemd writes to nothing but a terminal before the journal is there, and waits when nobody reads it.
    """

    def __init__(self, log: Path) -> None:
        self._reader, self._writer = pty.openpty()
        self.terminal = os.ttyname(self._writer)
        self._thread = threading.Thread(target=self._copy, args=[log], daemon=True)
        self._thread.start()

    def _copy(self, log: Path) -> None:
        # EIO says that the last writer closed the terminal.
        with log.open("ab", buffering=0) as file, suppress(OSError):
            while text := os.read(self._reader, 65536):
                file.write(text)

    def close(self) -> None:
        """End the thread; the machine must be off."""
        os.close(self._writer)
        self._thread.join()
        os.close(self._reader)


@cache
def missing() -> str | None:
    """Say what this host lacks for a Machine, or None."""
    if sys.platform != "linux" or not SYSTEMD.exists():
        return "no systemd here"
    if os.geteuid() != 0:
        return "not root; run: sudo make test"
    for tool in ("unshare", "nsenter", "setpriv", "pivot_root", "findmnt", "pgrep", "useradd", "dbus-daemon"):
        if not shutil.which(tool, path=PATH):
            return f"no {tool} here"
    if "cgroup2" not in Path("/proc/filesystems").read_text():
        return "no cgroup v2 here"
    probe = ["unshare", "--mount", "--pid", "--net", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "no namespaces allowed here (in a container: it must be privileged)"
    return None


def build_wheel(tree: Path, scratch: Path) -> Path:
    """Build the project's wheel in `scratch`, from a copy of `tree`: a build leaves files in the tree it works on."""
    copy = scratch / "tree"
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "tests"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(scratch), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no wheel:\n{done.stdout}{done.stderr}")
    [wheel] = scratch.glob("*.whl")
    return wheel


def install(target: Path, wheel: Path) -> None:
    """Make `target`, a virtual environment for PROGRAM in the machines, of the wheel and what it says that it needs.

    The packages it needs are copied from the running environment. Raises PackageNotFoundError where it lacks one.
    """
    site = target / "lib" / PYTHON_NAME / "site-packages"
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").symlink_to(PYTHON / "bin" / PYTHON_NAME)
    (target / "pyvenv.cfg").write_text(f"home = {PYTHON}/bin\ninclude-system-site-packages = false\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    [project] = metadata.distributions(path=[str(site)])
    for script in project.entry_points.select(group="console_scripts"):
        file = target / "bin" / script.name
        code = f"import sys\n\nfrom {script.module} import {script.attr}\n\nsys.exit({script.attr}())\n"
        file.write_text(f"#!{PROGRAM}/bin/python\n{code}")
        file.chmod(0o755)
    for distribution in _dependencies(project).values():
        _copy_package(distribution, site)
    # Read-only in the machine, so compiled here, with the file names that it has there.
    compile_all = [sys.executable, "-m", "compileall", "-q", "-j", "0", "-s", str(target), "-p", str(PROGRAM)]
    subprocess.run([*compile_all, target / "lib"], check=True)


def _dependencies(project: metadata.Distribution) -> dict[str, metadata.Distribution]:
    """What the project needs, and of its extras, but for those of developers, what is installed."""
    extras = {"", *(project.metadata.get_all("Provides-Extra") or [])} - {"dev", "bench"}
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(line), extras) for line in project.requires or []]
    while waiting:
        requirement, chosen = waiting.pop()
        if not any(_applies(requirement, extra) for extra in chosen) or requirement.name in found:
            continue
        # sqlite-utils names pip, for a command that installs plugins.
        if requirement.name == "pip":
            continue
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            if _applies(requirement, ""):
                raise
            continue
        found[requirement.name] = distribution
        waiting += [(Requirement(line), {"", *requirement.extras}) for line in distribution.requires or []]
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _copy_package(distribution: metadata.Distribution, site: Path) -> None:
    for file in distribution.files or []:
        if file.parts[0] != ".." and file.suffix != ".pyc":  # not the commands in bin
            copy = site / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(str(distribution.locate_file(file))), copy)


def _lay_out(disk: Path, program: Path) -> None:
    disk.mkdir(parents=True)
    for name in FOLDERS.split():
        (disk / name).mkdir()
    (disk / "root").chmod(0o700)
    _link(disk / "var/run", "/run")
    _link(disk / "var/lock", "/run/lock")
    for folder in _folders_beside_usr():
        if folder.is_symlink():
            _link(disk / folder.name, str(folder.readlink()))
        else:
            (disk / folder.name).mkdir()
    _fill_etc(disk / "etc")
    # Its own bin, so that a test can move the executable away and back.
    shutil.copytree(program / "bin", disk / "opt/xtrack/bin", symlinks=True, dirs_exist_ok=True)
    shutil.copy2(program / "pyvenv.cfg", disk / "opt/xtrack")
    if PYTHON != HOST_PYTHON:
        (disk / "opt/python").mkdir()


def _folders_beside_usr() -> list[Path]:
    """/bin, /lib … of the host: links into /usr, or folders where a distribution has not merged them."""
    folders = [Path("/", name) for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32")]
    return [folder for folder in folders if folder.exists()]


def _fill_etc(etc: Path) -> None:
    for name in COPIED_FROM_ETC.split():
        source = Path("/etc", name)
        if source.is_dir():
            shutil.copytree(source, etc / name, symlinks=True)
        elif source.exists():
            shutil.copy2(source, etc / name)
    for name in ("passwd", "group"):
        lines = Path("/etc", name).read_text().splitlines(keepends=True)
        (etc / name).write_text("".join(line for line in lines if not 1000 <= int(line.split(":")[2]) < 60000))
    names = [line.split(":")[0] for line in (etc / "passwd").read_text().splitlines()]
    (etc / "shadow").write_text("".join(f"{name}:*:19000:0:99999:7:::\n" for name in names))
    (etc / "shadow").chmod(0o600)
    (etc / "hosts").write_text("127.0.0.1 localhost machine\n::1 localhost\n")
    (etc / "hostname").write_text("machine\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")  # without one, systemd takes each boot for its first
    # A journal file takes 8 MiB at once otherwise, for each boot and user, and pytest keeps the folders of three runs.
    # Not packed, it can be searched.
    (etc / "systemd/journald.conf").write_text("[Journal]\nSystemMaxFileSize=1M\nCompress=no\n")
    (etc / "ld.so.conf.d/python.conf").write_text(f"{PYTHON}/lib\n")


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
