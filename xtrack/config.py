"""Where everything is: the home with its config file and data, the scheduler's name, the machine's zone."""

import os
import pwd
import stat
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from xtrack.errors import Misconfigured, Refused
from xtrack.privileges import as_root

_LONGEST_PATH, _LONGEST_NAME = 480, 255
_LONGEST_CONFIG = 1 << 20
SCHEDULERS = ("systemd-user", "systemd-system", "launchd", "none")
_NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "afs")


@dataclass(frozen=True)
class Home:
    """One configuration with its database. `is_default`: the scope's own, whose units carry no hash in their names."""

    config: Path
    data: Path
    scheduler: str
    is_default: bool

    @property
    def database(self) -> Path:
        return self.data / "xtrack.db"

    @property
    def locks(self) -> Path:
        return self.data / "locks"

    @property
    def backups(self) -> Path:
        """Copies of the database that were made before something big."""
        return self.data / "backups"

    @property
    def bugs(self) -> Path:
        """Where tracebacks are written."""
        return self.data / "bugs"

    @property
    def config_mode(self) -> int:
        """The permissions that the config should have: in system scope the runs' group reads it."""
        return 0o640 if self.is_system else 0o600

    @property
    def is_system(self) -> bool:
        return self.scheduler == "systemd-system"

    @property
    def keeps_config_apart(self) -> bool:
        """Whether the config lies outside of the data folder, where only its owner may change it."""
        return self.data not in self.config.parents


def locate(environ: Mapping[str, str]) -> Home:
    """The home that the environment names, else the scope's default. Raises Misconfigured for a strange scheduler.

    XTRACK_CONFIG and XTRACK_DATA are how a unit is told its home; XTRACK_HOME is how a person says it.
    """
    scheduler = environ.get("XTRACK_SCHEDULER") or _usual_scheduler()
    if scheduler not in SCHEDULERS:
        raise Misconfigured(f"XTRACK_SCHEDULER is {scheduler!r}", f"one of {', '.join(SCHEDULERS)}")
    config, data = _default_places(scheduler, environ)
    usual = _default_places(scheduler, {})[1]
    if home := environ.get("XTRACK_HOME"):
        data = _typed_folder(home)
        config = data / "config.toml"
    if told := environ.get("XTRACK_DATA"):
        data = Path(told)
        config = Path(environ.get("XTRACK_CONFIG") or data / "config.toml")
    for path in (config, data):
        _require_usable(path)
    return Home(config, data, scheduler, is_default=data == usual)


def _typed_folder(text: str) -> Path:
    try:
        # Not Path.absolute(): systemd ignores a path that has .. in it.
        return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - see above
    except RuntimeError:
        raise Misconfigured(f"XTRACK_HOME is {text!r}, and there is no such user", "choose another folder") from None
    except FileNotFoundError:
        raise Misconfigured(f"XTRACK_HOME is {text!r}, and the folder that we are in is gone", "cd") from None


def _require_usable(path: Path) -> None:
    """Units have to name the paths of a home, and SQLite to open what lies there (512 bytes are its most)."""
    another = "choose another folder"
    if not str(path).isprintable():
        raise Misconfigured(f"a path of the home holds control characters: {str(path)!r}", another)
    if not path.is_absolute() or ".." in path.parts:
        raise Misconfigured(f"a path of the home is not absolute, or has .. in it: {path}", another)
    if len(os.fsencode(path)) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise Misconfigured(f"a path of the home is longer than {_LONGEST_PATH} bytes, or a name in it", another)


def _usual_scheduler() -> str:
    if sys.platform == "darwin":
        return "launchd"
    return "systemd-system" if os.getuid() == 0 else "systemd-user"


def _default_places(scheduler: str, environ: Mapping[str, str]) -> tuple[Path, Path]:
    if scheduler == "systemd-system" or (os.getuid() == 0 and scheduler != "systemd-user"):
        return Path("/etc/xtrack/config.toml"), Path("/var/lib/xtrack")
    own = _own_folder(environ)
    config = Path(environ.get("XDG_CONFIG_HOME") or own / ".config")
    data = Path(environ.get("XDG_DATA_HOME") or own / ".local/share")
    return config / "xtrack/config.toml", data / "xtrack"


def _own_folder(environ: Mapping[str, str]) -> Path:
    if named := environ.get("HOME"):
        return Path(named)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise Misconfigured("there is no home folder: HOME is not set", "set XTRACK_HOME to a folder") from None


def config_text(home: Home, environ: Mapping[str, str]) -> str:
    """What the config file holds, "" where there is none. Raises Misconfigured when it cannot be read, or others can.

    A unit that an earlier version wrote gives it as a credential (systemd.exec(5)); root alone may read the file then.
    """
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", ""), "config.toml")
    path = credential if credential.is_absolute() and credential.exists() else home.config
    try:
        with _as_its_owner(home), _opened(path) as file:
            if path == home.config:
                _require_private(home, os.fstat(file.fileno()).st_mode)
            read = file.read(_LONGEST_CONFIG + 1)
        if len(read) > _LONGEST_CONFIG:
            raise Misconfigured(f"the config is larger than {_LONGEST_CONFIG >> 20} MiB: {path}", f"ls -la {path}")
        return read.decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Misconfigured(f"the config cannot be read: {path}: {error.strerror}", f"ls -la {path.parent}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"the config is not UTF-8: {path}: {error}", f"edit {path}") from error


def _opened(path: Path) -> BinaryIO:
    """A file, and nothing that a reader would wait for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Misconfigured(f"the config is not a file: {path}", f"ls -la {path.parent}")
    return path.open("rb")


def _require_private(home: Home, mode: int) -> None:
    """What others can read holds no secrets, and what they can write no settings; the system's own, `sync` mends."""
    if mode & 0o077 & ~home.config_mode and not (home.is_system and home.keeps_config_apart):
        detail = f"others can read or write the config: {home.config} (mode {mode & 0o777:04o})"
        raise Misconfigured(detail, f"chmod {home.config_mode:o} {home.config}")


def _as_its_owner(home: Home) -> AbstractContextManager[None]:
    """Below the data folder, which the service user owns, root reads nothing as root."""
    return as_root() if home.keeps_config_apart else nullcontext()


def config_mode(home: Home) -> int:
    """The permission bits of the config file, 0 where there is none, or something else."""
    try:
        with _as_its_owner(home):
            mode = home.config.stat().st_mode
    except OSError:
        return 0
    return mode & 0o777 if stat.S_ISREG(mode) else 0


def holds_settings(home: Home) -> bool:
    """Whether there is a config file with something in it."""
    try:
        with _as_its_owner(home):
            return home.config.stat().st_size > 0
    except OSError:
        return False


def make_data_folder(home: Home, owner: pwd.struct_passwd | None = None) -> None:
    """Make the data folder, for its owner's eyes only. Raises Refused where it cannot be, or cannot work.

    A file in WAL mode needs memory that all its readers share, so not a network's folder
    (https://www.sqlite.org/wal.html).
    """
    try:
        if not home.data.is_dir():
            for folder in reversed([folder for folder in home.data.parents if owner and not folder.exists()]):
                folder.mkdir()
                # Whatever the umask is: its owner has to come through.
                folder.chmod(0o755)
            home.data.mkdir(mode=0o700, parents=True)
            if owner:
                os.chown(home.data, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise Refused(f"the data folder cannot be made: {error}", "set XTRACK_HOME to a folder of yours") from error
    if owner and home.data.stat().st_uid != owner.pw_uid:
        raise Refused(f"{home.data} is not {owner.pw_name}'s", f"sudo chown -R {owner.pw_name}: {home.data}")
    if (kind := _filesystem(home.data)) in _NETWORK_FILESYSTEMS:
        raise Refused(f"{home.data} lies on a network's filesystem ({kind})", "set XTRACK_HOME to a local folder")


def remove_data(home: Home) -> None:
    """Delete the database, its copies and the locks, and the folder unless there is something else in it."""
    import shutil

    for path in (home.database, *(home.data / f"{home.database.name}{suffix}" for suffix in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    for folder in (home.locks, home.backups, home.bugs):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError), as_root():
        home.data.rmdir()


def _filesystem(folder: Path) -> str:
    """The type of the filesystem that holds a folder, by proc_pid_mountinfo(5); "" where that is not to be had."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    held, found = Path(), ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if (point == folder or point in folder.parents) and len(point.parts) >= len(held.parts):
            held, found = point, after.split()[0]
    return found


def machine_zone() -> tzinfo:
    """The zone of /etc/localtime (localtime(5)), which systemd and launchd go by; TZ is the shell's and ignored."""
    path = Path("/etc/localtime")
    try:
        key = str(path.resolve()).partition("zoneinfo/")[2]
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=key or None)
    except FileNotFoundError:
        return UTC
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"/etc/localtime cannot be read: {error}", "timedatectl set-timezone Europe/Berlin"
        ) from error
