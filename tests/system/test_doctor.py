"""What doctor finds on a real machine, a line for each thing that an administrator may have to mend."""

import json
import re
from typing import Any

import pytest

from tests.system.machine import Machine
from tests.system.test_life import SCOPES, Scope, an_hour_passes, scope_of

pytestmark = pytest.mark.systemd


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, machine: Machine) -> Scope:
    found = scope_of(machine, request.param)
    found.write("/srv/posts.jsonl", {"id": "1", "text": "Ebb.", "created_at": "2024-11-22T10:00:00.000Z"})
    found.xtrack("install-job", "--source", "/srv/posts.jsonl", "--every", "hourly")
    return found


def checks(scope: Scope, **env: str) -> dict[str, Any]:
    done = scope.machine.run("xtrack", "doctor", "--json", user=scope.user, env=env, check=False)
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == (0 if all(check["ok"] for check in found.values()) else 78)
    return found


def wrong(scope: Scope, **env: str) -> list[str]:
    return [name for name, check in checks(scope, **env).items() if not check["ok"]]


def test_a_sound_machine_has_nothing_wrong(scope: Scope) -> None:
    found = checks(scope)
    assert [name for name, check in found.items() if not check["ok"]] == []
    asked = {
        "config",
        "permissions",
        "secrets",
        "clock",
        "scheduler",
        "home",
        "executable",
        "sandbox",
        "units",
        "database",
    }
    assert found.keys() == asked | {"disk", "ledger", "mails", "timers", "slots"} | (
        {"linger"} if scope.user else set()
    )


def test_a_secret_that_only_the_shell_knows_is_named(scope: Scope) -> None:
    assert wrong(scope, XTRACK_X_TOKEN="s3cret") == ["secrets"]
    found = checks(scope, XTRACK_X_TOKEN="s3cret")["secrets"]
    assert found["detail"] == "only this shell knows XTRACK_X_TOKEN: a timer's run will not see it"
    assert re.fullmatch(r"put x\.token into /\S+/config\.toml", found["hint"])


def test_failed_units_are_named(scope: Scope) -> None:
    scope.machine.run("mv", "/srv/posts.jsonl", "/srv/away")
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service", check=False)
    found = checks(scope)["units"]
    assert (found["ok"], found["detail"]) == (False, "failed: xtrack-job@1.service")
    scope.machine.run("mv", "/srv/away", "/srv/posts.jsonl")
    scope.xtrack("run-job", "1")
    scope.systemctl("start", "xtrack-job@1.service")
    assert wrong(scope) == []


def test_a_disk_that_is_nearly_full_is_seen(scope: Scope) -> None:
    inside = f"/{scope.data.relative_to(scope.machine.disk)}"
    owner = scope.user or "xtrack"
    scope.machine.run("mv", inside, "/srv/data")
    scope.machine.run("mkdir", inside)
    scope.machine.run("mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", inside)
    scope.machine.run("cp", "-a", "/srv/data/.", inside)
    scope.machine.run("chown", f"{owner}:", inside)
    found = checks(scope)["disk"]
    assert (found["ok"], found["detail"].startswith("nearly full: ")) == (False, True)


def test_a_manager_that_does_not_answer_is_told_with_its_folder(machine: Machine) -> None:
    scope = scope_of(machine, "user")
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    machine.run("loginctl", "disable-linger", "ann")
    machine.run("systemctl", "stop", "user@1000.service", "user-runtime-dir@1000.service")
    env: dict[str, Any] = {"XDG_RUNTIME_DIR": None}
    found = checks(scope, **env)["scheduler"]
    assert "systemd's user manager does not answer" in found["detail"]
    assert "XDG_RUNTIME_DIR is not set" in found["detail"]
    assert "XTRACK_SCHEDULER=none" in found["hint"]


def test_the_runtime_folder_is_found_without_its_variable(machine: Machine) -> None:
    scope = scope_of(machine, "user")
    env: dict[str, Any] = {"XDG_RUNTIME_DIR": None}
    machine.run("xtrack", "install-job", "--source", "sample", "--every", "hourly", user="ann", env=env)
    assert checks(scope, **env)["scheduler"]["ok"]


def test_an_executable_that_the_service_user_cannot_read_is_seen(machine: Machine) -> None:
    scope = scope_of(machine, "system")
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    machine.run("chmod", "700", "/opt/xtrack/bin/xtrack")
    found = checks(scope)["executable"]
    assert (found["ok"], found["detail"]) == (False, "user xtrack cannot read /opt/xtrack/bin/xtrack")


def test_settings_that_others_can_read_are_seen(machine: Machine) -> None:
    scope = scope_of(machine, "system")
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    machine.run("chmod", "644", "/etc/xtrack/config.toml")
    found = checks(scope)["permissions"]
    assert (found["ok"], found["hint"]) == (False, "chmod 640 /etc/xtrack/config.toml")


def test_settings_in_a_folder_that_is_closed_to_the_runs_are_refused(machine: Machine) -> None:
    """As root makes one whose umask is 077; the file itself is opened for the runs."""
    scope = scope_of(machine, "system")
    machine.run("sh", "-c", "umask 077; mkdir /etc/xtrack && touch /etc/xtrack/config.toml")
    words, detail = ["install-job", "--source", "sample", "--every", "hourly"], "user xtrack cannot read /etc/xtrack"
    assert scope.refused(*words) == (77, f"xtrack: {detail}/config.toml\n  chmod a+x /etc/xtrack\n")
    machine.run("chmod", "a+x", "/etc/xtrack")
    scope.xtrack(*words)
    assert wrong(scope) == []
    machine.run("chmod", "700", "/etc/xtrack")
    assert checks(scope)["home"]["detail"] == f"{detail}/config.toml"
    assert scope.refused("sync")[0] == 77


def test_a_systemd_that_is_too_old_is_refused(machine: Machine) -> None:
    """A systemctl that tells another version: the oldest that XTrack works with is 249."""
    scope = scope_of(machine, "user")
    tool = machine.path("/opt/old/systemctl")
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n/usr/bin/systemctl \"$@\" | sed 's/^Version=.*/Version=248 (248.3)/'\n")
    tool.chmod(0o755)
    env = {"PATH": "/opt/old:/opt/xtrack/bin:/usr/bin:/bin"}
    done = machine.run(
        "xtrack", "install-job", "--source", "sample", "--every", "hourly", user="ann", env=env, check=False
    )
    assert done.returncode == 78
    assert "systemd 248 is too old" in done.stderr
    assert "249" in checks(scope, **env)["scheduler"]["detail"]


def test_data_that_are_gone_are_no_empty_home_and_take_no_timer_along(scope: Scope) -> None:
    inside = f"/{scope.data.relative_to(scope.machine.disk)}"
    scope.machine.run("mv", inside, "/srv/data")
    assert not checks(scope)["home"]["ok"]
    for command in ("list-jobs", "sync"):
        code, said = scope.refused(command)
        assert (code, "the data are gone, and the timers are not" in said) == (78, True)
    assert scope.systemctl("is-active", "xtrack-job@1.timer") == "active\n"
    scope.machine.run("mv", "/srv/data", inside)
    assert wrong(scope) == []


def test_what_the_system_s_units_need_comes_back_with_sync(machine: Machine) -> None:
    scope = scope_of(machine, "system")
    scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    machine.run("rm", "-r", "/etc/xtrack")
    assert checks(scope)["home"]["detail"] == "user xtrack cannot read /etc/xtrack/config.toml"
    machine.run("userdel", "xtrack")
    assert checks(scope)["home"]["detail"] == "user xtrack is gone"
    uid = scope.data.stat().st_uid
    scope.xtrack("sync", check=False)
    machine.run("chown", "-R", "xtrack:", "/var/lib/xtrack")
    scope.xtrack("sync")
    assert wrong(scope) == []
    an_hour_passes(scope)
    scope.systemctl("start", "xtrack-job@1.service")
    assert [run["exit_code"] for run in scope.runs()] == [0], uid
