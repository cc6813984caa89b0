"""systemd timers, in the user's manager or the system's: what they should say, what they are, and the safe sequences.

Facts: systemd.unit(5), systemd.timer(5), systemd.exec(5), and what was measured on systemd 252: rewriting a running
timer and reloading can fire it at once, as can starting one whose stamp is old. So a timer is stopped before it is
rewritten, and its stamp is touched before it is started.
"""

import getpass
import os
import pwd
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from xtrack import slots
from xtrack.config import Home, make_data_folder
from xtrack.errors import Misconfigured, Refused
from xtrack.files import write_atomically
from xtrack.models import Job
from xtrack.privileges import SERVICE_USER, as_root, become_service_user, service_user
from xtrack.scheduler import Actual, Check, Plan, diff

_HIDDEN = tuple(Path(folder) for folder in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 not opened
_MARK = "X-XTrack-Home="
_SECONDS = 120


def quoted(word: str) -> str:
    """A word of ExecStart=, Environment= or a path setting, as systemd.syntax(7) reads it back."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def on_calendar(job: Job) -> str:
    """The job's slots as a calendar event, systemd.time(7)."""
    cal = slots.calendar(job.frequency, job.at)
    # Not 02/6: from such a base systemd 252 names other hours after a change of the clock.
    hours = "*" if len(cal.hours) == 24 else ",".join(f"{hour:02}" for hour in cal.hours)
    return f"*-*-* {hours}:{_minutes(cal)}:00"


def _minutes(cal: slots.Calendar) -> str:
    """One minute, all, or the first and the step."""
    if len(cal.minutes) == 1:
        return f"{cal.minutes[0]:02}"
    step = cal.minutes[1] - cal.minutes[0]
    return "*" if step == 1 else f"{cal.minutes[0]:02}/{step}"


def executable() -> Path:
    """The absolute path of the xtrack command that is running, as units shall call it."""
    for path in (Path(sys.executable).parent / "xtrack", Path(sys.argv[0]).absolute()):
        if path.name == "xtrack" and path.is_file() and os.access(path, os.X_OK):
            return path
    raise Misconfigured("there is no executable called xtrack here", "pipx install . in the project's folder")


def _other_way() -> str:
    return (
        "start it, or schedule by cron: XTRACK_SCHEDULER=none xtrack install-job …, and in crontab\n"
        f"  */5 * * * * XTRACK_SCHEDULER=none {executable()} run-due"
    )


class Systemd:
    """The Backend of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._scope = "--system" if home.is_system else "--user"
        digest = sha256(os.fsencode(home.data)).hexdigest()[:8]
        self._prefix = "xtrack" if home.is_default else f"xtrack-{digest}"
        self._sweep = f"{self._prefix}-run-due.timer"
        self._edit = "systemctl edit" if home.is_system else "systemctl --user edit"
        self._found: dict[str, str] = {}

    # talking to the manager

    def _systemctl(self, *words: str) -> str:
        """What systemctl prints. Raises Misconfigured with its last words when it fails."""
        command = ["systemctl", self._scope, "--no-pager", "--no-ask-password", *words]
        try:
            with as_root():
                done = subprocess.run(
                    command, env=_environment(), capture_output=True, text=True, timeout=_SECONDS, check=False
                )
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise Misconfigured(f"systemctl {self._scope} {words[0]}: {error}", "xtrack doctor") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise Misconfigured(f"systemctl {self._scope} {words[0]} failed: {said}", "xtrack doctor")
        return done.stdout

    def _manager(self) -> dict[str, str]:
        """The manager's own word on where it looks for units. Raises Misconfigured when there is no manager."""
        if not self._found:
            if not Path("/run/systemd/system").is_dir():
                raise Misconfigured("systemd does not run on this machine", _other_way())
            try:
                shown = self._systemctl("show", "-p", "UnitPath", "-p", "Environment", "-p", "Version")
            except Misconfigured as error:
                raise Misconfigured(
                    f"systemd's {self._scope[2:]} manager does not answer: {error}", _other_way()
                ) from error
            self._found = _properties(shown)
        return self._found

    @property
    def _folder(self) -> Path:
        """Where this manager's administrator puts units."""
        if self._home.is_system:
            return Path("/etc/systemd/system")
        for folder in self._manager()["UnitPath"].split():
            if folder.endswith("/systemd/user"):
                return Path(folder)
        raise Misconfigured("systemd's user manager has no folder for units", "systemctl --user show -p UnitPath")

    def _stamp(self, timer: str) -> Path:
        """The file whose time is a persistent timer's last elapse."""
        if self._home.is_system:
            return Path("/var/lib/systemd/timers", f"stamp-{timer}")
        for word in self._manager().get("Environment", "").split():
            if word.startswith("XDG_DATA_HOME="):
                return Path(word.partition("=")[2], "systemd/timers", f"stamp-{timer}")
        return Path(pwd.getpwuid(os.getuid()).pw_dir, ".local/share/systemd/timers", f"stamp-{timer}")

    # desired state

    def timer(self, job_id: int) -> str:
        return f"{self._prefix}-job@{job_id}.timer"

    def _service(self, job_id: int) -> str:
        return f"{self._prefix}-job@{job_id}.service"

    def shared_units(self) -> dict[str, str]:
        """The units that all jobs have in common, texts by file name."""
        from xtrack.templates import render

        home = self._home
        told = {"XTRACK_SCHEDULER": home.scheduler, "XTRACK_CONFIG": home.config, "XTRACK_DATA": home.data}
        values = {
            "prefix": self._prefix,
            "edit": self._edit,
            "home": quoted(str(home.data)),
            "system": home.is_system,
            "user": SERVICE_USER,
            "executable": quoted(str(executable())),
            "environment": [quoted(f"{name}={value}") for name, value in told.items()],
            "credential": f"config.toml:{home.config}" if home.is_system and home.keeps_config_apart else "",
            "data": quoted(str(home.data)),
        }
        names = {"job@.service": "job", "run-due.service": "run-due", "run-due.timer": "run-due"}
        return {
            f"{self._prefix}-{name}": render(
                f"systemd/{template}.{name.rpartition('.')[2]}.j2", unit=f"{self._prefix}-{name}", **values
            )
            for name, template in names.items()
        }

    def timer_text(self, job: Job) -> str:
        """A job's timer; what stands in it changes with the schedule alone, so that no other update touches it."""
        from xtrack.templates import render

        return render(
            "systemd/job.timer.j2",
            unit=self.timer(job.id),
            edit=self._edit,
            description=f"XTrack job {job.id}, {job.frequency}",
            home=quoted(str(self._home.data)),
            calendar=on_calendar(job),
        )

    # actual state

    def _job_id(self, name: str) -> int | None:
        """The job whose timer a file name is, if it is one of this home's names."""
        number = name.removeprefix(f"{self._prefix}-job@").removesuffix(".timer")
        return int(number) if number.isascii() and number.isdigit() and self.timer(int(number)) == name else None

    def _actual(self, names: Iterable[str]) -> Actual:
        """The state of these units."""
        names = list(names)
        texts = {name: text for name in names if (text := _read(self._folder / name)) is not None}
        files = {name: text for name, text in texts.items() if f"{_MARK}{quoted(str(self._home.data))}\n" in text}
        return Actual(files, frozenset(texts.keys() - files.keys()), self._live(n for n in files if self._job_id(n)))

    def _live(self, timers: Iterable[str]) -> frozenset[str]:
        """Which of these are enabled, and loaded and waiting."""
        enabled = [name for name in timers if (self._folder / "timers.target.wants" / name).is_symlink()]
        if not enabled:
            return frozenset()
        shown = self._systemctl("show", "-p", "Id", "-p", "ActiveState", *enabled)
        return frozenset(unit["Id"] for unit in _blocks(shown) if unit["ActiveState"] == "active")

    def _timers_on_disk(self) -> dict[int, str]:
        if not self._folder.is_dir():
            return {}
        found = ((self._job_id(path.name), path.name) for path in self._folder.iterdir())
        return {job_id: name for job_id, name in found if job_id is not None}

    # the Backend

    def prepare(self) -> list[str]:
        if self._home.is_system and os.getuid() != 0:
            raise Refused("jobs of the whole system are root's to change", "the same command with sudo")
        self._manager()
        warnings = [] if self._home.is_system or _lingers() else [_no_linger()]
        if self._home.is_system:
            with as_root():
                self._make_service_user()
                make_data_folder(self._home, service_user())
                _make_config(self._home)
            become_service_user()
        else:
            make_data_folder(self._home)
        for path in (executable(), executable().resolve(), Path(sys.prefix), Path(sys.base_prefix), Path(__file__)):
            self.see(path)
        return warnings

    def _make_service_user(self) -> None:
        if service_user() is None:
            line = f'u {SERVICE_USER} - "XTrack" /var/lib/xtrack'
            done = subprocess.run(["systemd-sysusers", "--inline", line], capture_output=True, text=True, check=False)
            if service_user() is None:
                raise Misconfigured(f"systemd-sysusers made no user {SERVICE_USER}: {done.stderr.strip()}")

    def see(self, path: Path) -> None:
        if not self._home.is_system:
            return
        if any(folder in seen.parents for folder in _HIDDEN for seen in (path, path.resolve())):
            raise Refused(f"{path} is hidden from the service, as all below /home, /root and /tmp is", _PLACE)
        if os.path.lexists(path) and not os.access(path, os.R_OK, effective_ids=True):
            raise Refused(f"user {SERVICE_USER} cannot read {path}", f"sudo -u {SERVICE_USER} ls -la {path}")

    def reconcile(self, jobs: Iterable[Job], active: Collection[int], dry_run: bool = False) -> Plan:
        jobs = list(jobs)
        desired = {self.timer(job.id): self.timer_text(job) for job in jobs if not job.paused}
        paused = {self.timer(job.id) for job in jobs if job.paused}
        orphans = {name for job_id, name in self._timers_on_disk().items() if job_id not in active}
        shared = self.shared_units() if active or self._has_shared() else {}
        plan = diff(shared, desired, self._actual([*shared, *desired, *orphans]), paused)
        if not dry_run:
            with as_root():
                self._apply(plan)
        return plan

    def _has_shared(self) -> bool:
        return (self._folder / f"{self._prefix}-job@.service").exists()

    def _apply(self, plan: Plan) -> None:
        self._take_away([*plan.paused, *plan.gone])
        if plan.changed:
            self._systemctl("stop", *plan.changed)
        for name, text in (*plan.shared.items(), *plan.new.items(), *plan.changed.items()):
            write_atomically(self._folder / name, text, 0o644)
        started = [*plan.new, *plan.changed, *plan.idle]
        for name in started:
            self._touch(self._stamp(name))
        if plan.shared or plan.changed or plan.gone:
            self._systemctl("daemon-reload")
        enabled = [*started, *(name for name in plan.shared if name == self._sweep)]
        if enabled:
            self._systemctl("enable", "--no-reload", *enabled)
        if started:
            self._systemctl("start", *started)

    def _take_away(self, names: Sequence[str]) -> None:
        timers = [name for name in names if name.endswith(".timer")]
        if timers:
            self._systemctl("disable", "--no-reload", *timers)
            self._systemctl("stop", *timers)
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        for name in timers:
            self._stamp(name).unlink(missing_ok=True)
            self._forget(name.removesuffix("timer") + "service")

    def _touch(self, stamp: Path) -> None:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch(mode=0o644)
        os.utime(stamp)

    def _forget(self, unit: str) -> None:
        """Have the manager forget that a unit failed; it says no when there is nothing to forget."""
        try:
            self._systemctl("reset-failed", unit)
        except Misconfigured:
            return

    def remove(self) -> Plan:
        names = [f"{self._prefix}-{name}" for name in ("run-due.timer", "run-due.service", "job@.service")]
        plan = Plan(gone=tuple(self._actual([*self._timers_on_disk().values(), *names]).files))
        with as_root():
            self._take_away(plan.gone)
            if plan.gone:
                self._systemctl("daemon-reload")
        return plan

    def start(self, job_ids: Sequence[int]) -> None:
        if job_ids:
            self._systemctl("start", "--no-block", *(self._service(job_id) for job_id in job_ids))

    def arm(self) -> None:
        """A plain start does nothing from inside the service that the timer has just started."""
        self._systemctl("restart", "--no-block", self._sweep)

    def results(self, job_ids: Sequence[int]) -> dict[int, str]:
        if not job_ids:
            return {}
        units = {self._service(job_id): job_id for job_id in job_ids}
        wanted = ("Id", "ActiveState", "Result", "ExecMainStatus")
        shown = self._systemctl("show", *(word for name in wanted for word in ("-p", name)), *units)
        return {
            units[unit["Id"]]: f"{unit['Id']}: {unit['Result']}, status {unit['ExecMainStatus']}"
            for unit in _blocks(shown)
            if unit["Result"] != "success"
        }

    def print_log(self, job_id: int, lines: int) -> None:
        unit = "--unit" if self._home.is_system else "--user-unit"
        words = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", str(lines)]
        with as_root():
            subprocess.run([*words, unit, self._service(job_id)], env=_environment(), check=False)

    def checks(self, jobs: Sequence[Job]) -> list[Check]:
        try:
            version = self._manager()["Version"]
        except Misconfigured as error:
            return [Check("scheduler", False, str(error), error.hint)]
        found = [Check("scheduler", True, f"systemd {version.split()[0]}, {self._scope[2:]} manager")]
        if not self._home.is_system:
            found.append(
                Check("linger", True, "on: timers run while you are logged out")
                if _lingers()
                else Check("linger", False, "off: timers stop when you log out", f"loginctl enable-linger {_me()}")
            )
        found.append(self._check_executable())
        return found

    def _check_executable(self) -> Check:
        """Whether what the units on disk start is this program, and there."""
        try:
            ours = f"{quoted(str(executable()))} run-job %i"
        except Misconfigured as error:
            return Check("executable", False, str(error), error.hint)
        text = _read(self._folder / f"{self._prefix}-job@.service") or ""
        theirs = next((line[10:] for line in text.splitlines() if line.startswith("ExecStart=")), ours)
        if theirs != ours:
            return Check("executable", False, f"the units start {theirs}, and this is {ours}", "xtrack sync")
        return Check("executable", True, str(executable()))


_PLACE = (
    "move a source below /srv; install the program, in the project's folder, with\n"
    "  python3 -m venv /opt/xtrack && /opt/xtrack/bin/pip install ."
)


def _me() -> str:
    return getpass.getuser()


def _lingers() -> bool:
    """Whether this user's manager runs without a login: systemd-logind's own mark for it."""
    return Path("/var/lib/systemd/linger", pwd.getpwuid(os.getuid()).pw_name).exists()


def _no_linger() -> str:
    return f"timers stop when you log out, unless you type once: loginctl enable-linger {_me()}"


def _make_config(home: Home) -> None:
    """An empty config for root alone, so that the units' LoadCredential= finds one."""
    if home.keeps_config_apart and not home.config.exists():
        home.config.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(home.config, "", 0o600)


def _environment() -> Mapping[str, str]:
    """What systemctl needs where nobody logged in (cron, su): the runtime folder, and answers in one language."""
    runtime = f"/run/user/{os.getuid()}"
    # os.path says no where a sandbox hides the folder, pathlib raises.
    found = {"XDG_RUNTIME_DIR": runtime} if os.path.isdir(runtime) else {}  # noqa: PTH112
    return {**found, **os.environ, "LC_ALL": "C"}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _properties(shown: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def _blocks(shown: str) -> Iterator[dict[str, str]]:
    """The properties of each unit that `systemctl show` names."""
    yield from (_properties(block) for block in shown.split("\n\n") if block.strip())
