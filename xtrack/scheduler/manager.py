"""Talking to systemd: one manager, the user's or the system's, through systemctl, systemd-run and journalctl."""

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from xtrack.errors import Misconfigured, Temporary
from xtrack.privileges import as_root

_SECONDS = 120


def executable() -> Path:
    """The absolute path of the xtrack command that is running, as units shall call it."""
    for path in (Path(sys.executable).parent / "xtrack", Path(sys.argv[0]).absolute()):
        if path.name == "xtrack" and path.is_file() and os.access(path, os.X_OK):
            if not str(path).isprintable() or set(str(path)) & set("'\"\\"):
                raise Misconfigured(
                    f"systemd starts nothing whose path holds quotes, backslashes or control characters: {str(path)!r}",
                    "install the program in another folder",
                )
            return path
    raise Misconfigured("there is no executable called xtrack here", "pipx install . in the project's folder")


def _other_way() -> str:
    return (
        "start it, or schedule by cron: XTRACK_SCHEDULER=none xtrack install-job …, and in crontab\n"
        f"  */5 * * * * XTRACK_SCHEDULER=none {executable()} run-due"
    )


class Manager:
    """One systemd manager. Everything asked of the system's is asked as root."""

    def __init__(self, is_system: bool) -> None:
        self.is_system = is_system
        self.scope = "system" if is_system else "user"

    def ctl(self, *words: str) -> str:
        """What systemctl prints. Raises Misconfigured with its last words when it fails."""
        done = self._run("systemctl", f"--{self.scope}", "--no-pager", "--no-ask-password", *words)
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise Misconfigured(f"systemctl --{self.scope} {words[0]} failed: {said}", "xtrack doctor")
        return done.stdout

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        try:
            with as_root():
                return subprocess.run(
                    command, env=_environment(), capture_output=True, text=True, timeout=_SECONDS, check=False
                )
        except FileNotFoundError as error:
            raise Misconfigured(f"there is no {command[0]} here", "xtrack doctor") from error
        except subprocess.TimeoutExpired as error:
            raise Temporary(f"{command[0]} did not answer within {_SECONDS} s", "xtrack sync") from error

    def succeeds(self, properties: Sequence[str], *command: str) -> bool:
        """Whether a command ends well in a throw-away unit with these properties."""
        words = [word for setting in properties for word in ("-p", setting)]
        done = self._run("systemd-run", f"--{self.scope}", "--wait", "--quiet", "--collect", *words, *command)
        return done.returncode == 0

    def show(self, names: Sequence[str], *properties: str) -> Iterator[dict[str, str]]:
        """These properties of each unit."""
        if names:
            shown = self.ctl("show", *(word for name in properties for word in ("-p", name)), "--", *names)
            yield from (_properties(block) for block in shown.split("\n\n") if block.strip())

    @cached_property
    def _itself(self) -> dict[str, str]:
        """The manager's own properties. Raises Misconfigured when there is no manager."""
        if not Path("/run/systemd/system").is_dir():
            raise Misconfigured("systemd does not run on this machine", _other_way())
        try:
            return _properties(self.ctl("show", "-p", "UnitPath", "-p", "Environment", "-p", "Version"))
        except Misconfigured as error:
            raise Misconfigured(f"systemd's {self.scope} manager does not answer: {error}", _other_way()) from error

    @property
    def version(self) -> int:
        """Raises Misconfigured when there is no manager."""
        found = re.match(r"\d+", self._itself["Version"])
        return int(found[0]) if found else 0

    @property
    def folder(self) -> Path:
        """Where this manager's administrator puts units. Raises Misconfigured when there is no manager."""
        if self.is_system:
            return Path("/etc/systemd/system")
        for folder in _words(self._itself["UnitPath"]):
            if folder.endswith("/systemd/user"):
                return Path(folder)
        raise Misconfigured("systemd's user manager has no folder for units", "systemctl --user show -p UnitPath")

    def stamp(self, timer: str) -> Path:
        """The file whose time is a persistent timer's last elapse."""
        if self.is_system:
            return Path("/var/lib/systemd/timers", f"stamp-{timer}")
        for word in _words(self._itself.get("Environment", "")):
            if word.startswith("XDG_DATA_HOME="):
                return Path(word.partition("=")[2], "systemd/timers", f"stamp-{timer}")
        return Path(pwd.getpwuid(os.getuid()).pw_dir, ".local/share/systemd/timers", f"stamp-{timer}")

    def print_log(self, matches: Sequence[str], lines: int, follow: bool) -> None:
        """Print the journal's last lines that match, and with `follow` what comes until the reader has enough."""
        how = ["--quiet", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", str(lines)]
        with as_root():
            subprocess.run(
                ["journalctl", *how, *(["--follow"] if follow else []), *matches], env=_environment(), check=False
            )


def runtime_folder() -> Path | None:
    """Where this user's manager listens, None where nobody has logged in and nothing lingers."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    # os.path says no where a sandbox hides the folder, pathlib raises.
    return Path(runtime) if os.path.isdir(runtime) else None  # noqa: PTH112


def _environment() -> Mapping[str, str]:
    """What systemctl needs where nobody logged in (cron, su): the runtime folder, and answers in one language."""
    runtime = runtime_folder()
    found = {"XDG_RUNTIME_DIR": str(runtime)} if runtime else {}
    return {**os.environ, **found, "LC_ALL": "C"}


def _words(shown: str) -> list[str]:
    """The words of a list as systemctl shows it: in double quotes where a shell would need them."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', shown)
    return [re.sub(r"\\(.)", r"\1", in_quotes) if in_quotes else plain for in_quotes, plain in found]


def _properties(shown: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
