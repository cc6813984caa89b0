"""Homes and folders: what the environment and the machine say."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from xtrack import config
from xtrack.config import Home, locate, machine_zone, make_data_folder
from xtrack.errors import Misconfigured, Refused

IS_ROOT = os.getuid() == 0


# where a home is


def test_xtrack_home_holds_config_and_data(tmp_path: Path) -> None:
    home = locate({"XTRACK_HOME": str(tmp_path), "XTRACK_SCHEDULER": "none"})
    assert home == Home(tmp_path / "config.toml", tmp_path, "none", is_default=False)
    assert home.database == tmp_path / "xtrack.db"
    assert not home.keeps_config_apart


def test_a_relative_xtrack_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate({"XTRACK_HOME": "here"}).data == tmp_path / "here"


def test_a_tilde_in_xtrack_home_is_the_user_s_home() -> None:
    assert locate({"XTRACK_HOME": "~/x"}).data == Path("~/x").expanduser()


def test_the_user_s_default_follows_home() -> None:
    home = locate({"HOME": "/somewhere", "XTRACK_SCHEDULER": "systemd-user"})
    assert home.config == Path("/somewhere/.config/xtrack/config.toml")
    assert home.data == Path("/somewhere/.local/share/xtrack")
    assert home.keeps_config_apart


def test_the_user_s_default_follows_xdg() -> None:
    environ = {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XTRACK_SCHEDULER": "systemd-user"}
    home = locate(environ)
    assert (home.config, home.data) == (Path("/c/xtrack/config.toml"), Path("/d/xtrack"))


def test_without_home_the_user_s_entry_says_it() -> None:
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert locate({"XTRACK_SCHEDULER": "systemd-user"}).data == own / ".local/share/xtrack"


def test_only_the_scope_s_own_place_is_the_default() -> None:
    own = pwd.getpwuid(os.getuid()).pw_dir
    assert locate({"HOME": own, "XTRACK_SCHEDULER": "systemd-user"}).is_default
    assert not locate({"HOME": "/somewhere", "XTRACK_SCHEDULER": "systemd-user"}).is_default
    assert not locate({"HOME": own, "XDG_DATA_HOME": "/d", "XTRACK_SCHEDULER": "systemd-user"}).is_default
    assert not locate({"XTRACK_HOME": "/d", "XTRACK_SCHEDULER": "systemd-user"}).is_default


def test_a_unit_is_told_its_home_and_knows_the_default_by_it() -> None:
    own = locate({"XTRACK_SCHEDULER": "systemd-user"})
    told = {"XTRACK_CONFIG": str(own.config), "XTRACK_DATA": str(own.data), "XTRACK_SCHEDULER": "systemd-user"}
    assert locate(told) == own


def test_what_a_unit_is_told_wins_over_the_rest() -> None:
    home = locate({"XTRACK_CONFIG": "/c/x.toml", "XTRACK_DATA": "/d", "XTRACK_HOME": "/h", "XDG_DATA_HOME": "/x"})
    assert (home.config, home.data) == (Path("/c/x.toml"), Path("/d"))


@pytest.mark.skipif(not IS_ROOT, reason="root's default is the whole system")
def test_root_s_default_is_the_whole_system() -> None:
    home = locate({"HOME": "/root", "XDG_DATA_HOME": "/d"})
    assert home == Home(Path("/etc/xtrack/config.toml"), Path("/var/lib/xtrack"), "systemd-system", is_default=True)
    assert home.is_system


@pytest.mark.skipif(IS_ROOT, reason="for root it is the whole system")
def test_a_user_s_default_is_his_own_manager() -> None:
    assert locate({"HOME": "/somewhere"}).scheduler == "systemd-user"


@pytest.mark.parametrize("name", config.SCHEDULERS)
def test_the_environment_may_name_the_scheduler(name: str) -> None:
    assert locate({"XTRACK_HOME": "/h", "XTRACK_SCHEDULER": name}).scheduler == name


def test_a_strange_scheduler_is_refused() -> None:
    with pytest.raises(Misconfigured, match="'upstart'") as error:
        locate({"XTRACK_SCHEDULER": "upstart"})
    assert "systemd-user" in error.value.hint


@pytest.mark.parametrize("place", ["/a\nb", "/a\x1bb", "/a\udcffb"])
def test_a_place_that_cannot_stand_in_a_unit_is_refused(place: str) -> None:
    with pytest.raises(Misconfigured, match="control characters"):
        locate({"XTRACK_HOME": place})


# the data folder


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_folder_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    home = locate({"XTRACK_HOME": str(tmp_path / "new" / "home")})
    make_data_folder(home)
    assert _mode(home.data) == 0o700


def test_a_data_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    make_data_folder(locate({"XTRACK_HOME": str(tmp_path)}))
    assert _mode(tmp_path) == 0o750


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be made"):
        make_data_folder(locate({"XTRACK_HOME": str(tmp_path / "file" / "home")}))


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused):
        make_data_folder(locate({"XTRACK_HOME": str(tmp_path / "file")}))


@pytest.mark.skipif(not IS_ROOT, reason="only root makes folders for others")
def test_the_service_user_owns_the_data_folder(tmp_path: Path) -> None:
    home = locate({"XTRACK_HOME": str(tmp_path / "home")})
    make_data_folder(home, pwd.getpwnam("nobody"))
    assert home.data.owner() == "nobody"


@pytest.mark.skipif(not IS_ROOT, reason="only root makes folders for others")
def test_a_data_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not nobody's"):
        make_data_folder(locate({"XTRACK_HOME": str(tmp_path)}), pwd.getpwnam("nobody"))


# the zone


def test_the_machine_s_zone_does_not_follow_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    there = machine_zone()
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert str(machine_zone()) == str(there)


@pytest.mark.parametrize(("folder", "kind"), [("/proc/self", "proc"), ("/dev/shm/", "tmpfs")])
def test_the_filesystem_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert config._filesystem(Path(folder)) == kind
