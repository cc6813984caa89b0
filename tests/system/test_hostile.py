"""Hostile words and places on a real systemd: each is taken as it is or refused in one line, and nothing breaks."""

import json
import re
import shlex
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.system.conftest import MakeMachine
from tests.system.machine import Machine
from tests.system.test_life import POST, SCOPES, Scope, an_hour_passes, scope_of
from xtrack.config import locate
from xtrack.scheduler.units import Units

pytestmark = pytest.mark.systemd

LONG = "long" * 50
# Names of folders. Between them: all that means something to systemd, a shell, the kernel or SQLite.
NAMES = [
    "a  b ",
    " begins with a space",
    "100% %h %%i %n%",
    "$HOME ${USER} $$ $(id) `id`",
    "\"double\" and 'single'",
    '"',
    "'",
    "back\\slash\\n\\x41\\",
    "høst e\u0301 日本 🚢",
    ";semi #colon = a:b, *?[x] <>|&!",
    "-dash",
    "+plus",
    "@at",
    "~",
    LONG,
    "🚢" * 60,
]
# Of an executable's path systemd takes no quotes and backslashes.
NO_PROGRAM = re.compile("[\"'\\\\]")

printable = st.characters(exclude_categories=["C", "Z"], include_characters=" ", exclude_characters="/")
letters = st.one_of(st.sampled_from(" %$\"'\\;#=:{}~*@-hinu"), printable)
names = st.text(letters, min_size=1, max_size=200).filter(lambda name: len(name.encode()) < 256 and name.strip("."))
many_names = st.lists(names, min_size=20, max_size=20)
# Each example is many names. Without Phase.shrink: it takes seconds, and a failure names the one that is wrong.
few = settings(max_examples=1, phases=[Phase.explicit, Phase.generate])
many = settings(max_examples=40, phases=[Phase.explicit, Phase.generate])


@pytest.fixture(scope="module")
def machine(make_machine: MakeMachine) -> Machine:
    made = make_machine()
    made.user("ann")
    made.run("install", "-d", "-o", "ann", "/srv/ann")
    made.run("install", "-d", "-m", "700", "/srv/closed")
    return made


@pytest.fixture(scope="module")
def scopes(machine: Machine) -> dict[str, Scope]:
    """Each with a job in its default home, which also makes the service user."""
    found = {name: scope_of(machine, name) for name in SCOPES}
    for scope in found.values():
        scope.xtrack("install-job", "--source", "sample", "--every", "hourly")
    return found


@pytest.fixture(scope="module", params=SCOPES)
def scope(request: pytest.FixtureRequest, scopes: dict[str, Scope]) -> Scope:
    return scopes[request.param]


@pytest.fixture(scope="module")
def ann(scopes: dict[str, Scope]) -> Scope:
    return scopes["user"]


@pytest.fixture(scope="module")
def root(scopes: dict[str, Scope]) -> Scope:
    return scopes["system"]


def words(shown: str) -> list[str]:
    """The words of a list as systemctl shows it: in double quotes where a shell would need them."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', shown)
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for quoted, plain in found]


def unit_lines(machine: Machine, cursor: str) -> list[str]:
    """What a manager found wrong in a unit's file since then."""
    said = machine.run("journalctl", "--quiet", "--output=cat", f"--after-cursor={cursor}").stdout
    wrong = r"\.(service|timer):\d+: |gnoring|Failed to parse|Invalid|Refusing|Unbalanced"
    return [line for line in said.splitlines() if re.search(wrong, line)]


def cursor(machine: Machine) -> str:
    machine.run("journalctl", "--sync")
    return machine.run("journalctl", "--lines=0", "--show-cursor").stdout.partition("cursor: ")[2].strip()


# the units alone, many at once


# In place of the program: what it is told, into the data folder as it is told.
TELLTALE = """#!/bin/sh
cat "/proc/$$/cmdline" >"$XTRACK_DATA/argv"
cat "/proc/$$/environ" >"$XTRACK_DATA/environ"
"""


@dataclass
class Place:
    """A home and a program in hostile places, not yet there."""

    scope: Scope
    number: int
    name: str

    @property
    def data(self) -> str:
        return f"/srv/hostile/{self.number}/{self.name}"

    @property
    def config(self) -> str:
        return f"/etc/hostile/{self.number}/{self.name}/config.toml"

    @property
    def program(self) -> str:
        return f"/opt/hostile/{self.number}/{NO_PROGRAM.sub('_', self.name)}/xtrack"

    @property
    def told(self) -> dict[str, str]:
        scheduler = "systemd-user" if self.scope.user else "systemd-system"
        return {"XTRACK_SCHEDULER": scheduler, "XTRACK_CONFIG": self.config, "XTRACK_DATA": self.data}

    @property
    def units(self) -> Units:
        return Units(locate(self.told))

    @property
    def services(self) -> dict[str, str]:
        """What each service starts the program with, by its name."""
        jobs = dict.fromkeys((self.units.service(7), self.units.manual(7)), "run-job 7")
        return {**jobs, f"{self.units.prefix}-run-due.service": "run-due"}

    def make(self, owner: str) -> None:
        machine = self.scope.machine
        for folder in (machine.path(self.data), machine.path(self.config).parent, machine.path(self.program).parent):
            folder.mkdir(parents=True)
        shutil.chown(machine.path(self.data), *map(int, owner.split(":")))
        machine.path(self.config).write_text(f"# {self.number}")
        machine.path(self.program).write_text(TELLTALE)
        machine.path(self.program).chmod(0o755)
        for name, text in self.units.shared(Path(self.program), private_users=True).items():
            (self.scope.units / name).write_text(text)

    def remove(self) -> None:
        for name in self.units.shared_names():
            (self.scope.units / name).unlink()
        for folder in ("srv", "etc", "opt"):
            shutil.rmtree(self.scope.machine.path(f"/{folder}/hostile/{self.number}"))

    def found(self, file: str) -> list[str]:
        path = self.scope.machine.path(self.data) / file
        return path.read_text().rstrip("\0").split("\0") if path.exists() else []


def assert_units_say_what_they_should(scope: Scope, some: list[str]) -> None:
    places = [Place(scope, number, name) for number, name in enumerate(some)]
    owner = scope.machine.run("stat", "-c", "%u:%g", f"/{scope.data.relative_to(scope.machine.disk)}").stdout
    before = cursor(scope.machine)
    for place in places:
        place.make(owner)
    scope.systemctl("daemon-reload")
    assert_are_loaded(scope, places)
    scope.systemctl("start", *(place.units.service(7) for place in places), check=False)
    for place in places:
        argv = place.found("argv")
        assert argv[1:] == [place.program, "run-job", "7"], place
        environ = dict(word.split("=", 1) for word in place.found("environ"))
        assert {name: environ.get(name) for name in place.told} == place.told
        assert environ["XTRACK_TRIGGER"] == "timer"
    assert unit_lines(scope.machine, before) == []
    for place in places:
        place.remove()


def assert_are_loaded(scope: Scope, places: list[Place]) -> None:
    """All of them, by one question."""
    starts = {name: (place, does) for place in places for name, does in place.services.items()}
    properties = "Id,LoadState,ExecStart,Environment,ReadWritePaths"
    shown = scope.systemctl("show", "-p", properties, *starts).split("\n\n")
    assert len(shown) == len(starts)
    for block in shown:
        unit = dict(line.split("=", 1) for line in block.strip().splitlines())
        place, does = starts[unit["Id"]]
        assert unit["LoadState"] == "loaded", place
        assert unit["ExecStart"].startswith(f"{{ path={place.program} ; argv[]={place.program} {does} ; "), place
        assert [f"{name}={value}" for name, value in place.told.items()] == words(unit["Environment"])[-3:]
        assert words(unit["ReadWritePaths"])[0] == place.data


@few
@given(many_names)
@example(NAMES)
def test_units_of_hostile_places_say_what_they_should(scope: Scope, some: list[str]) -> None:
    """Loaded, read back by one question, and started; the truth is what the program is told then."""
    assert_units_say_what_they_should(scope, some)


@pytest.mark.slow
@many
@given(many_names)
def test_units_of_many_hostile_places_say_what_they_should(scope: Scope, some: list[str]) -> None:
    assert_units_say_what_they_should(scope, some)


# the whole command


@dataclass
class Home:
    """The command with a home, or a program, of its own."""

    scope: Scope
    env: Mapping[str, str | None]
    program: str = "xtrack"

    def run(self, *arguments: str) -> Any:
        return self.scope.machine.run(self.program, *arguments, user=self.scope.user, env=self.env, check=False)

    def good(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, done.stderr), (arguments, self)
        out: str = done.stdout
        return out


INSTALL = ["install-job", "--source", "sample", "--every", "hourly"]


def there(scope: Scope) -> str:
    """Every unit and folder that an install could leave, but for the manager's own."""
    units = sorted(str(path) for path in scope.units.rglob("*"))
    found = scope.machine.run("find", "/srv", "/home", "/root", "/etc", "/tmp", "-not", "-path", "*/systemd*").stdout
    return "\n".join([*units, found])


def assert_refused(done: Any, codes: tuple[int, ...] = (77, 78)) -> None:
    """In one line, with what to type in another."""
    assert done.returncode in codes, done
    assert done.stdout == ""
    assert re.fullmatch(r"xtrack: [^\n]+\n( {2}[^\n]+\n)*", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "a bug" not in done.stderr


def assert_right(home: Home, data: str) -> None:
    """Its unit makes a run in that folder; uninstalled with its data it leaves nothing."""
    timer = re.search(r"timer: +(\S+)", home.good("show-job", "1"))
    assert timer
    scope, folder = home.scope, home.scope.machine.path(data)
    an_hour_passes(Scope(scope.machine, scope.user, scope.units, folder, scope.stamps))
    scope.systemctl("start", timer[1].replace(".timer", ".service"))
    with sqlite3.connect(folder / "xtrack.db") as database:
        runs = database.execute("SELECT job_id, trigger, state FROM runs").fetchall()
    database.close()
    assert runs == [(1, "timer", "done")]
    home.good("uninstall", "--purge", "--yes")


def installed_right_or_refused(home: Home, data: str) -> bool:
    """Whether it was installed."""
    before = there(home.scope)
    done = home.run(*INSTALL)
    if done.returncode == 0:
        assert_right(home, data)
    else:
        assert_refused(done)
    assert there(home.scope) == before
    return bool(done.returncode == 0)


# All of NAMES in a few, because each takes a second.
FOLDERS = [
    " a  b %h %% $HOME ${USER} \"double\" 'single' ",
    "back\\slash\\n\\",
    "høst e\u0301 日本 🚢;#=a:b,*?[x]<>|&!",
    LONG,
    "-dash",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_home_in_a_hostile_folder_works(ann: Scope, name: str) -> None:
    data = f"/srv/ann/{name}"
    assert installed_right_or_refused(Home(ann, {"XTRACK_HOME": data}), data)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS[:2])
def test_system_s_home_in_a_hostile_folder_works(root: Scope, name: str) -> None:
    assert installed_right_or_refused(Home(root, {"XTRACK_HOME": f"/srv/{name}"}), f"/srv/{name}")


def test_system_s_home_in_new_folders_works(root: Scope) -> None:
    """The service user must come through the folders that are made above his."""
    home = Home(root, {"XTRACK_HOME": "/srv/two/deep/home"})
    home.good(*INSTALL)
    assert_right(home, "/srv/two/deep/home")
    root.machine.run("rmdir", "/srv/two/deep", "/srv/two")


@pytest.mark.slow
@many
@given(names)
def test_home_in_any_folder_works(ann: Scope, name: str) -> None:
    data = f"/srv/ann/{name}"
    assert installed_right_or_refused(Home(ann, {"XTRACK_HOME": data}), data)


CLOSED = {
    "a new line": "/srv/ann/new\nline",
    "a tab": "/srv/ann/a\ttab",
    "an escape sequence": "/srv/ann/\x1b[31mred",
    "writing direction": "/srv/ann/\u202egnp.exe",
    "no UTF-8": "/srv/ann/\udcff",
    "a name too long for the kernel": f"/srv/ann/{LONG}{LONG}",
    "too long for SQLite": f"/srv/ann/{LONG}/{LONG}/{LONG}",
    "as long as the kernel lets it be": "/srv/ann" + f"/{LONG}" * 20,
    "too long for the kernel": "/srv/ann" + f"/{LONG}" * 21,
    "below a file": "/etc/passwd/home",
    "a file": "/etc/passwd",
    "somebody else's": "/srv/home",
    "the home of nobody": "~nobody-of-this-name/home",
}


@pytest.mark.parametrize("data", CLOSED.values(), ids=CLOSED)
def test_home_that_cannot_be_is_refused(ann: Scope, data: str) -> None:
    home = Home(ann, {"XTRACK_HOME": data})
    assert not installed_right_or_refused(home, data)
    for command in ("list-jobs", "doctor"):
        done = home.run(command)
        assert done.returncode in (0, 77, 78), done
        assert "a bug" not in done.stderr


@pytest.mark.parametrize("data", ["../../srv/ann/dots", "/srv/../srv//ann/./dots/"])
def test_home_by_a_roundabout_way_is_found(ann: Scope, data: str) -> None:
    assert installed_right_or_refused(Home(ann, {"XTRACK_HOME": data}), "/srv/ann/dots")


@pytest.mark.parametrize("variable", ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XTRACK_DATA"])
def test_place_that_depends_on_where_one_stands_is_refused(ann: Scope, variable: str) -> None:
    before = there(ann)
    assert_refused(Home(ann, {variable: "relative"}).run(*INSTALL))
    assert there(ann) == before


@pytest.mark.parametrize("data", ["/home/ann/of-system", "/root/home", "/tmp/home", "/srv/closed/x/y"])
def test_home_that_the_service_cannot_see_is_refused(root: Scope, data: str) -> None:
    before = there(root)
    assert_refused(Home(root, {"XTRACK_HOME": data}).run(*INSTALL), (77,))
    assert there(root) == before


def test_user_whose_own_folder_is_hostile(machine: Machine) -> None:
    folder = '/home/b o%b $HOME "\\n'
    machine.run("useradd", "--create-home", "--home-dir", folder, "bob")
    machine.linger("bob")
    home = machine.path(folder)
    share = home / ".local/share"
    scope = Scope(machine, "bob", home / ".config/systemd/user", share / "xtrack", share / "systemd/timers")
    bob = Home(scope, {})
    bob.good(*INSTALL)
    assert (share / "systemd/timers/stamp-xtrack-job@1.timer").exists()
    assert bob.good("sync") == "All timers are as the jobs say.\n"
    assert_right(bob, f"{folder}/.local/share/xtrack")
    left = machine.run("find", folder, "-name", "*xtrack*").stdout
    assert left == ""


# executables


def place_program(machine: Machine, folder: str) -> str:
    """The virtual environment in another place, started by a script as pip makes it where #! cannot name the place."""
    bin_ = machine.path(folder) / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python").symlink_to(machine.path("/opt/xtrack/bin/python").readlink())
    (bin_.parent / "lib").symlink_to("/opt/xtrack/lib")
    shutil.copy2(machine.path("/opt/xtrack/pyvenv.cfg"), bin_.parent)
    program = bin_ / "xtrack"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(f"{folder}/bin/python")} -P -m xtrack "$@"\n')
    program.chmod(0o755)
    return f"{folder}/bin/xtrack"


@pytest.mark.parametrize("scope", ["user", pytest.param("system", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("name", [" a  b %h %% $HOME ${USER} $$ ", f"høst e\u0301 日本 🚢;#a:b,*?[x]<>|&!{LONG}"])
def test_program_in_a_hostile_folder_is_started(scope: Scope, name: str) -> None:
    program = place_program(scope.machine, f"/opt/{scope.user}/{name}")
    data = "/srv/ann/program" if scope.user else "/srv/program"
    home = Home(scope, {"XTRACK_HOME": data}, program)
    before = there(scope)
    home.good(*INSTALL)
    (text,) = {path.read_text() for path in scope.units.glob("xtrack-????????-job@.service")}
    assert f"ExecStart={chr(34)}{program.replace('%', '%%')}{chr(34)} run-job %i\n" in text
    assert_right(home, data)
    assert there(scope) == before


@pytest.mark.parametrize("name", ['say "hello"', "it's", "back\\slash", "new\nline", "a\ttab"])
def test_program_that_systemd_cannot_name_is_refused(scope: Scope, name: str) -> None:
    program = place_program(scope.machine, f"/opt/{scope.user}/refused/{name}")
    before = there(scope)
    data = "/srv/ann/program" if scope.user else "/srv/program"
    assert_refused(Home(scope, {"XTRACK_HOME": data}, program).run(*INSTALL))
    assert there(scope) == before


def test_link_to_the_program_leads_to_it(ann: Scope) -> None:
    link = ann.machine.path("/opt/li nk/xtrack")
    link.parent.mkdir()
    link.symlink_to("/opt/xtrack/bin/xtrack")
    assert installed_right_or_refused(Home(ann, {"XTRACK_HOME": "/srv/ann/link"}, "/opt/li nk/xtrack"), "/srv/ann/link")


# topics, names, sources

GOOD_TOPICS = [*NAMES[:-1], 'x"; DROP TABLE jobs; --', "../../etc", "{{ 7 * 7 }}", "two\nlines\tand a tab", "x" * 200]
BAD_TOPICS = ["", " \n ", "x" * 201, "bell\x07", "\x1b[31m", "\u202eflip", "no UTF-8 \udcff"]
topics = st.lists(st.text(st.one_of(letters, st.characters(exclude_characters="\0")), max_size=210), max_size=20)


def tidied(topic: str) -> str:
    return " ".join(topic.split())


def is_topic(topic: str) -> bool:
    return 0 < len(tidied(topic)) <= 200 and tidied(topic).isprintable()


@few
@given(topics)
@example(GOOD_TOPICS)
def test_topics_are_kept_as_typed_or_refused(ann: Scope, some: list[str]) -> None:
    good = [topic for topic in some if is_topic(topic)]
    expected: dict[str, str] = {}
    for topic in good:
        expected.setdefault(tidied(topic).casefold(), tidied(topic))
    ann.xtrack("update-job", "1", *(f"--topic={topic}" for topic in good), *([] if good else ["--no-topics"]))
    assert ann.json("show-job", "1")["topics"] == list(expected.values())
    shown = ann.xtrack("show-job", "1")
    assert all(topic in shown for topic in expected.values())
    for bad in [topic for topic in some if not is_topic(topic)][:2]:
        assert_refused(Home(ann, {}).run("update-job", "1", f"--topic={bad}"), (65,))
    assert ann.json("show-job", "1")["topics"] == list(expected.values())


def test_hostile_topics_are_in_no_unit_and_in_a_run(ann: Scope) -> None:
    before = {path: path.read_bytes() for path in ann.units.glob("xtrack-*")}
    data = "/srv/ann/topics"
    home = Home(ann, {"XTRACK_HOME": data})
    home.good(*INSTALL, *(f"--topic={topic}" for topic in GOOD_TOPICS))
    texts = [path.read_text() for path in ann.units.glob("xtrack-*") if path not in before]
    assert len(texts) == 5
    assert not any(tidied(topic) in text for topic in GOOD_TOPICS if len(topic) > 3 for text in texts)
    assert_right(home, data)
    assert {path: path.read_bytes() for path in ann.units.glob("xtrack-*")} == before


@pytest.mark.parametrize("topic", BAD_TOPICS)
def test_topic_that_cannot_be_is_refused(ann: Scope, topic: str) -> None:
    before = there(ann)
    assert_refused(Home(ann, {"XTRACK_HOME": "/srv/ann/none"}).run(*INSTALL, f"--topic={topic}"), (65,))
    assert there(ann) == before


BAD_NAMES = ["", "@", "a b", "a\nb", "ka\u0131ya", "x" * 16, "x" * 200, "$(id)", "../x", "%h", '"', "@@kaya", "kaya\n"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_that_cannot_be_is_refused(ann: Scope, name: str) -> None:
    before = there(ann)
    assert_refused(Home(ann, {"XTRACK_HOME": "/srv/ann/none"}).run(*INSTALL, "--", name), (65,))
    assert there(ann) == before


def test_longest_names_and_sources_in_hostile_places_are_kept_as_typed_and_read(ann: Scope) -> None:
    data = "/srv/ann/sources"
    home = Home(ann, {"XTRACK_HOME": data})
    files = [f"/srv/ann/{name}.jsonl" for name in FOLDERS]
    names = ["A" * 15, "_", "0"]
    for number, file in enumerate(files, start=1):
        ann.write(file, POST)
        home.good("install-job", "--source", file, "--every", "hourly", *(f"@{name}" for name in names[number - 1 :]))
    jobs = json.loads(home.good("list-jobs", "--json"))
    assert [job["source"] for job in jobs] == files
    assert [job["names"] for job in jobs] == [names[number:] for number in range(len(files))]
    an_hour_passes(Scope(ann.machine, ann.user, ann.units, ann.machine.path(data), ann.stamps))
    ann.systemctl("start", *(job["timer"].replace(".timer", ".service") for job in jobs))
    runs = json.loads(home.good("list-runs", "--json"))
    assert sorted((run["job"], run["state"]) for run in runs) == [(job["id"], "done") for job in jobs]
    home.good("uninstall", "--purge", "--yes")


@pytest.mark.parametrize("file", ["/srv/ann/new\nline.jsonl", "/srv/ann/\udcff.jsonl", f"/srv/ann/{LONG}{LONG}.jsonl"])
def test_source_that_cannot_be_is_refused(ann: Scope, file: str) -> None:
    done = Home(ann, {}).run("install-job", "--source", file, "--every", "hourly")
    assert_refused(done, (65, 66))
    assert [job["id"] for job in ann.json("list-jobs")] == [1]
