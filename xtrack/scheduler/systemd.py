"""systemd timers, in the user's manager or the system's: the safe sequences between what is and what should be.

Facts: systemd.timer(5), and what was measured on systemd 252: rewriting a running timer and reloading can fire it at
once, as can starting one whose stamp is old. So a timer is stopped before it is rewritten, and its stamp is touched
before it is started.
"""

import getpass
import os
import pwd
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from xtrack.config import Home, make_data_folder
from xtrack.errors import Misconfigured, Refused
from xtrack.files import write_atomically
from xtrack.models import Job
from xtrack.privileges import SERVICE_USER, as_root, become_service_user, service_user
from xtrack.scheduler import Actual, Check, Plan, diff
from xtrack.scheduler.manager import Manager, executable, runtime_folder
from xtrack.scheduler.units import Units, quoted

_HIDDEN = tuple(Path(folder) for folder in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 not opened
_OLDEST = 249


class Systemd:
    """The Backend of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._units = Units(home)
        self._manager = Manager(home.is_system)

    # what is there

    def timer(self, job_id: int) -> str:
        return self._units.timer(job_id)

    def _actual(self, names: Iterable[str]) -> Actual:
        """The state of these units; stale are those that the manager knows otherwise than they are on disk."""
        texts = {name: text for name in names if (text := self._text(name)) is not None}
        files = {name: text for name, text in texts.items() if f"\n{self._units.mark}\n" in text}
        timers = [name for name in files if self._units.job_id(name)]
        loaded = {self._units.instance(name, timers): name for name in files}
        shown = list(self._manager.show(list(loaded), "Id", "ActiveState", "NeedDaemonReload"))
        stale = {loaded[unit["Id"]] for unit in shown if unit["NeedDaemonReload"] == "yes"}
        if self._units.sweep in files and not self._is_enabled(self._units.sweep):
            stale.add(self._units.sweep)
        active = {unit["Id"] for unit in shown if unit["ActiveState"] == "active"}
        live = frozenset(name for name in timers if name in active and self._is_enabled(name))
        return Actual(files, frozenset(texts.keys() - files.keys()), live, frozenset(stale))

    def _text(self, name: str) -> str | None:
        """What a unit's file says, "" when it is no file that we can read, None when nothing has its name."""
        path = self._manager.folder / name
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "" if path.is_symlink() else None
        except OSError:
            return ""

    def _is_enabled(self, timer: str) -> bool:
        return (self._manager.folder / "timers.target.wants" / timer).is_symlink()

    def _timers_on_disk(self) -> dict[int, str]:
        if not self._manager.folder.is_dir():
            return {}
        found = ((self._units.job_id(name), name) for name in (path.name for path in self._manager.folder.iterdir()))
        return {job_id: name for job_id, name in found if job_id is not None}

    def _has_private_users(self) -> bool:
        """Whether this home's units have the sandbox that needs PrivateUsers=; the first install finds out."""
        if self._home.is_system:
            return True
        text = self._text(self._units.shared_names()[0])
        return self._can_have_private_users() if text is None else "\nPrivateUsers=true\n" in text

    def _can_have_private_users(self) -> bool:
        """Start a throw-away unit to see: where namespaces are forbidden some settings fail, and some do nothing."""
        return self._manager.succeeds(
            self._units.private_settings(), "test", "!", "-w", pwd.getpwuid(os.getuid()).pw_dir
        )

    # the Backend

    def prepare(self) -> list[str]:
        if self._home.is_system and os.getuid() != 0:
            raise Refused("jobs of the whole system are root's to change", "the same command with sudo")
        if self._manager.version < _OLDEST:
            raise Misconfigured(_too_old(self._manager.version), "upgrade the distribution")
        warnings = [] if self._home.is_system or _lingers() else [_no_linger()]
        program = executable()
        if self._home.is_system:
            with as_root():
                _make_service_user()
            become_service_user()
            self._see_home()
            with as_root():
                make_data_folder(self._home, service_user())
                warnings += _share_config(self._home)
            self._see_config()
        else:
            make_data_folder(self._home)
        for path in (program, program.resolve(), Path(sys.prefix), Path(sys.base_prefix), Path(__file__)):
            self.see(path)
        return warnings

    def _see_home(self) -> None:
        """Raises Refused when the service could not come to its data folder, before the folder is made."""
        data = self._home.data
        if any(folder in (seen, *seen.parents) for folder in _HIDDEN for seen in (data, data.resolve())):
            raise Refused(f"{data} is hidden from the service, as all in /home, /root and /tmp is", _HOME_PLACE)
        near = next(folder for folder in (data, *data.parents) if os.path.lexists(folder))
        if not os.access(near, os.X_OK, effective_ids=True):
            raise Refused(f"user {SERVICE_USER} cannot enter {near}", _HOME_PLACE)

    def _see_config(self) -> None:
        """Raises Refused when a run could not read the config, which is open to it: a folder above it is not."""
        if not self._can_read_config():
            detail = f"user {SERVICE_USER} cannot read {self._home.config}"
            raise Refused(detail, f"chmod a+x {self._home.config.parent}")

    def _can_read_config(self) -> bool:
        config = self._home.config
        return not self._home.keeps_config_apart or os.access(config, os.R_OK, effective_ids=True)

    def see(self, path: Path) -> None:
        if not self._home.is_system:
            return
        if any(folder in seen.parents for folder in _HIDDEN for seen in (path, path.resolve())):
            raise Refused(f"{path} is hidden from the service, as all below /home, /root and /tmp is", _PLACE)
        if os.path.lexists(path) and not os.access(path, os.R_OK, effective_ids=True):
            raise Refused(f"user {SERVICE_USER} cannot read {path}", f"sudo -u {SERVICE_USER} ls -la {path}")

    def reconcile(self, jobs: Iterable[Job], active: Collection[int], dry_run: bool = False) -> Plan:
        jobs = list(jobs)
        desired = {self.timer(job.id): self._units.timer_text(job) for job in jobs if not job.paused}
        paused = {self.timer(job.id) for job in jobs if job.paused}
        orphans = [name for job_id, name in self._timers_on_disk().items() if job_id not in active]
        shared = self._shared() if jobs or active or self._text(self._units.sweep) else {}
        plan = diff(shared, desired, self._actual({*self._units.shared_names(), *desired, *orphans}), paused)
        if not dry_run:
            with as_root():
                self._apply(plan)
        return plan

    def _shared(self) -> dict[str, str]:
        return self._units.shared(executable(), self._has_private_users())

    def _apply(self, plan: Plan) -> None:
        self._clear()
        self._take_away([*plan.paused, *plan.gone])
        if plan.changed:
            self._manager.ctl("stop", *plan.changed)
        if plan.shared and self._home.is_system:
            _share_config(self._home)
        for name, text in (*plan.shared.items(), *plan.new.items(), *plan.changed.items()):
            write_atomically(self._manager.folder / name, text, 0o644)
        started = [*plan.new, *plan.changed, *plan.idle]
        for name in started:
            _touch(self._manager.stamp(name))
        # A timer that was paused may be loaded still, with the schedule that it had.
        known = self._manager.show(list(plan.new), "NeedDaemonReload")
        if plan.shared or plan.changed or plan.gone or any(unit["NeedDaemonReload"] == "yes" for unit in known):
            self._manager.ctl("daemon-reload")
        enabled = [*started, *(name for name in plan.shared if name == self._units.sweep)]
        if enabled:
            self._manager.ctl("enable", "--no-reload", *enabled)
        if started:
            self._manager.ctl("start", *started)

    def _take_away(self, names: Sequence[str]) -> None:
        timers = [name for name in names if name.endswith(".timer")]
        if timers:
            self._manager.ctl("disable", "--no-reload", *timers)
            self._manager.ctl("stop", *timers)
        for name in timers:
            self._manager.stamp(name).unlink(missing_ok=True)
        jobs = [job_id for name in timers if (job_id := self._units.job_id(name))]
        self._forget([unit(job_id) for job_id in jobs for unit in (self._units.service, self._units.manual)])
        # The files last: as long as they are there, what was not finished is done again.
        for name in names:
            (self._manager.folder / name).unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what a command that was killed was writing."""
        for kind in ("job@", "manual@", "run-due."):
            for path in self._manager.folder.glob(f".{self._units.prefix}-{kind}*"):
                path.unlink(missing_ok=True)

    def _forget(self, units: Sequence[str]) -> None:
        """Have the manager forget that units failed; it says no for each that it does not know."""
        if units:
            with suppress(Misconfigured):
                self._manager.ctl("reset-failed", *units)

    def remove(self) -> Plan:
        plan = Plan(gone=tuple(self._actual([*self._timers_on_disk().values(), *self._units.shared_names()]).files))
        with as_root():
            self._clear()
            self._take_away(plan.gone)
            if plan.gone:
                self._manager.ctl("daemon-reload")
        return plan

    def start(self, job_ids: Sequence[int], again: bool) -> None:
        # First the sweep: whatever becomes of the rest, it comes again.
        if again:
            # A plain start does nothing from inside the service that the timer has just started.
            self._manager.ctl("restart", "--no-block", self._units.sweep)
        if job_ids:
            self._manager.ctl("start", "--no-block", *(self._units.service(job_id) for job_id in job_ids))

    def play(self, job_id: int) -> None:
        # A plain start leaves a sweep that is armed already at its time.
        try:
            self._manager.ctl("start", "--no-block", self._units.manual(job_id), self._units.sweep)
        except Misconfigured as error:
            raise Misconfigured(f"the run is queued, and cannot be started now: {error}", "xtrack sync") from error

    def results(self, job_ids: Sequence[int]) -> dict[int, str]:
        units = {self._units.service(job_id): job_id for job_id in job_ids}
        shown = self._manager.show(list(units), "Id", "ActiveState", "Result", "ExecMainStatus")
        return {
            units[unit["Id"]]: f"{unit['Id']}: {unit['Result']}, status {unit['ExecMainStatus']}"
            for unit in shown
            if unit["Result"] != "success"
        }

    def print_log(self, job_id: int, invocation_id: str, lines: int, follow: bool) -> None:
        # systemd's own lines on a unit name the invocation in a field of their own, in each scope another.
        fields = ("_SYSTEMD_INVOCATION_ID", "INVOCATION_ID", "USER_INVOCATION_ID")
        one = [word for field in fields for word in (f"{field}={invocation_id}", "+")][:-1]
        option = "--unit" if self._home.is_system else "--user-unit"
        all_of_them = [f"{option}={unit(job_id)}" for unit in (self._units.service, self._units.manual)]
        self._manager.print_log(one if invocation_id else all_of_them, lines, follow)

    # doctor's questions

    def checks(self, jobs: Sequence[Job]) -> list[Check]:
        try:
            version = self._manager.version
        except Misconfigured as error:
            runtime = runtime_folder()
            why = "" if self._home.is_system else f" (its folder: {runtime or 'none; XDG_RUNTIME_DIR is not set'})"
            return [Check("scheduler", False, f"{error}{why}", error.hint)]
        if version < _OLDEST:
            return [Check("scheduler", False, _too_old(version), "upgrade the distribution")]
        found = [Check("scheduler", True, f"systemd {version}, {self._manager.scope} manager")]
        if not self._home.is_system:
            on = Check("linger", True, "on: timers run while you are logged out")
            off = Check("linger", False, "off: timers stop when you log out", f"loginctl enable-linger {_me()}")
            found.append(on if _lingers() else off)
        return [*found, self._check_home(), self._check_executable(), self._check_sandbox(), self._check_failed()]

    def _check_home(self) -> Check:
        """What the units need to be there; without it they end with a status of systemd's own (systemd.exec(5))."""
        home = self._home
        if not self._text(self._units.sweep):
            return Check("home", True, "no units yet")
        if self._home.is_system and service_user() is None:
            return Check("home", False, f"user {SERVICE_USER} is gone", "xtrack sync")
        if not home.data.is_dir():
            return Check("home", False, f"the data are gone: {home.data}", "restore a backup, then: xtrack sync")
        if home.is_system and not self._can_read_config():
            return Check("home", False, f"user {SERVICE_USER} cannot read {home.config}", "xtrack sync")
        return Check("home", True, str(home.data))

    def _check_executable(self) -> Check:
        """Whether what the units on disk start is this program, and there, and open to the service user."""
        try:
            ours = f"{quoted(str(executable()))} run-job %i"
            self.see(executable())
        except (Misconfigured, Refused) as error:
            return Check("executable", False, str(error), error.hint)
        text = self._text(self._units.shared_names()[0]) or ""
        theirs = next((line[10:] for line in text.splitlines() if line.startswith("ExecStart=")), ours)
        if theirs != ours:
            return Check("executable", False, f"the units start {theirs}, and this is {ours}", "xtrack sync")
        return Check("executable", True, str(executable()))

    def _check_sandbox(self) -> Check:
        """Which of the sandboxes the units have, and whether they can start in it."""
        if self._home.is_system:
            return Check("sandbox", True, "the full set: a run may write nothing but its data")
        if not self._has_private_users():
            why = "the plain set: this machine lets a user's units have no user namespace of their own"
            return Check("sandbox", True, why)
        if self._can_have_private_users():
            return Check("sandbox", True, "the full set of a user: a run may write nothing but its data")
        why = "the units ask for a user namespace, and this machine no longer lets them have one"
        return Check("sandbox", False, why, "xtrack uninstall --yes && xtrack sync")

    def _check_failed(self) -> Check:
        ours = [f"{self._units.prefix}-{kind}" for kind in ("job@*", "manual@*", "run-due.*")]
        shown = self._manager.ctl("list-units", "--state=failed", "--plain", "--no-legend", "--full", *ours)
        failed = [line.split()[0] for line in shown.splitlines() if line.strip()]
        if not failed:
            return Check("units", True, "none failed")
        some = ", ".join(failed[:3]) + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
        return Check("units", False, f"failed: {some}", "xtrack list-jobs")


_HOME_PLACE = "set XTRACK_HOME to a folder below /srv or /var/lib"
_PLACE = (
    "move a source below /srv; install the program, in the project's folder, with\n"
    "  python3 -m venv /opt/xtrack && /opt/xtrack/bin/pip install ."
)


def _too_old(version: int) -> str:
    return f"systemd {version} is too old: {_OLDEST} is the oldest that works"


def _make_service_user() -> None:
    if service_user() is None:
        line = f'u {SERVICE_USER} - "XTrack" /var/lib/xtrack'
        done = subprocess.run(["systemd-sysusers", "--inline", line], capture_output=True, text=True, check=False)
        if service_user() is None:
            raise Misconfigured(f"systemd-sysusers made no user {SERVICE_USER}: {done.stderr.strip()}")


def _me() -> str:
    return getpass.getuser()


def _lingers() -> bool:
    """Whether this user's manager runs without a login: systemd-logind's own mark for it."""
    return Path("/var/lib/systemd/linger", pwd.getpwuid(os.getuid()).pw_name).exists()


def _no_linger() -> str:
    return f"timers stop when you log out, unless you type once: loginctl enable-linger {_me()}"


def _share_config(home: Home) -> list[str]:
    """A config that root may write and the service user read, empty where there was none; gives a note on a change.

    LoadCredential= would do without, at the price of a mount a run: with some hundreds at once each waits for all.
    """
    user = service_user()
    if user is None or not home.keeps_config_apart:
        return []
    if not home.config.exists():
        if not home.config.parent.is_dir():
            home.config.parent.mkdir(parents=True)
            home.config.parent.chmod(0o755)
        write_atomically(home.config, "", 0o640)
        os.chown(home.config, -1, user.pw_gid)
    before = home.config.stat()
    if before.st_gid == user.pw_gid and before.st_mode & 0o077 == 0o040:
        return []
    os.chown(home.config, -1, user.pw_gid)
    home.config.chmod(0o640)
    return [f"{home.config} may now be read by user {SERVICE_USER}, as the runs need, and by nobody else"]


def _touch(stamp: Path) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch(mode=0o644)
    os.utime(stamp)
