"""The house: which room may import which, who may talk to what, and what a run may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command, write_lines

PROJECT = Path(__file__).parents[1]

# From the top of the house to its ground. A room imports only from floors below its own; on one floor, a package's
# modules may know each other.
FLOORS = [
    ("xtrack.__main__",),
    ("xtrack.demo",),
    ("xtrack.cli",),
    ("xtrack.exports",),
    ("xtrack.doctor", "xtrack.views", "xtrack.upkeep"),
    ("xtrack.spending",),
    ("xtrack.due",),
    ("xtrack.jobs", "xtrack.outcomes", "xtrack.run"),
    ("xtrack.outbox",),
    ("xtrack.feeds", "xtrack.reading"),
    ("xtrack.access",),
    ("xtrack.context",),
    ("xtrack.scheduler", "xtrack.compose"),
    ("xtrack.templates",),
    ("xtrack.sources", "xtrack.summarizers", "xtrack.channels"),
    ("xtrack.store",),
    ("xtrack.bugs", "xtrack.words", "xtrack.ledger", "xtrack.moments", "xtrack.columns"),
    ("xtrack.slots",),
    ("xtrack.settings",),
    ("xtrack.money",),
    ("xtrack.config",),
    ("xtrack.deadline", "xtrack.locks", "xtrack.privileges", "xtrack.files", "xtrack.streams"),
    ("xtrack.models",),
    ("xtrack.errors",),
    ("xtrack",),
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# What costs much and is seldom needed (modules that our own dependencies bring included).
HEAVY = {
    *("jinja2", "sqlite_utils", "requests", "openai", "httpx", "httpx2", "pydantic", "hypothesis", "pytest"),
    *("logging", "asyncio", "http", "ssl", "email", "importlib.metadata", "tomllib", "urllib.request"),
    *("concurrent", "multiprocessing", "ctypes", "unittest", "tempfile", "argparse", "xml", "csv", "decimal"),
    *("zipfile", "gzip"),
}
# What the machine's own Python loads at its start, before us: how an editable install is found, among others.
# _sysconfigdata is the interpreter's own, under a name of the build's; zoneinfo asks for it.
STARTUP = {"sitecustomize", "usercustomize", "_distutils_hack", "_virtualenv"}


def modules() -> dict[str, ast.Module]:
    """Every module of the program with its syntax tree."""
    found = {}
    for package, folder in (("xtrack", PROJECT / "xtrack"), ("xtrack.templates", PROJECT / "templates")):
        for path in folder.rglob("*.py"):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            name = ".".join(part for part in parts if part != "__init__")
            found[name] = ast.parse(path.read_text("utf-8"))
    return found


MODULES = modules()


def room(module: str) -> str:
    """The room that a module is in: itself, or its package."""
    return ".".join(module.split(".")[:2])


def imported(module: str) -> set[str]:
    """What a module imports anywhere in it, also inside of functions."""
    found: set[str] = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_imports_only_rooms_below_it(module: str) -> None:
    floor = FLOOR[room(module)]
    for other in imported(module):
        if other.partition(".")[0] == "xtrack" and room(other) != room(module):
            assert FLOOR[room(other)] > floor, f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_store_speaks_sql(module: str) -> None:
    if room(module) == "xtrack.store":
        return
    assert not {"sqlite3", "sqlite_utils"} & {name.partition(".")[0] for name in imported(module)}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
            assert not (words and words[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "PRAGMA", "CREATE"))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_scheduler_and_runs_start_processes(module: str) -> None:
    if room(module) in ("xtrack.scheduler", "xtrack.due", "xtrack.demo"):
        return
    assert not {"subprocess", "multiprocessing", "pty"} & imported(module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_command_prints(module: str) -> None:
    if room(module) in ("xtrack.demo", "xtrack.cli"):
        return
    for node in ast.walk(MODULES[module]):
        assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_room_reads_the_clock_but_the_context(module: str) -> None:
    """`now` is passed in; only who makes the Context, and the demo's countdown, read it."""
    if module in ("xtrack.context", "xtrack.demo"):
        return
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in (("datetime", "now"), ("datetime", "utcnow"), ("time", "time"))


def test_every_module_is_in_a_room_and_says_what_it_is_for() -> None:
    for module, tree in MODULES.items():
        assert room(module) in FLOOR, f"{module} is on no floor of the house"
        assert ast.get_docstring(tree), f"{module} has no docstring"


# what a run loads


def loaded(xtrack: Command, job_id: int, **environ: str) -> set[str]:
    """The modules that a run of a job has loaded when it ends."""
    code = f"""
import atexit, sys
atexit.register(lambda: print("LOADED", *sys.modules, file=sys.stderr))
sys.argv = ["xtrack", "run-job", "{job_id}"]
from xtrack.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=xtrack.folder,
        env={**xtrack.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.rpartition("LOADED ")[2].split())


def bare() -> set[str]:
    """The modules that Python has loaded before it does anything."""
    code = "import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def heavy(names: set[str]) -> set[str]:
    return {name for name in names if any(name == item or name.startswith(f"{item}.") for item in HEAVY)}


def third_party(names: set[str]) -> set[str]:
    top = {name.partition(".")[0] for name in names - bare()}
    ours = {name for name in top if name == "xtrack" or name.startswith("__editable__") or name == "__main__"}
    own = {name for name in top if name.startswith("_sysconfigdata")}
    return top - ours - own - set(sys.stdlib_module_names) - STARTUP


def test_a_run_whose_slot_is_done_loads_little(xtrack: Command) -> None:
    names = loaded(xtrack, xtrack.installed(), XTRACK_TRIGGER="timer")
    assert "xtrack.run" in names
    assert heavy(names) == set()
    assert third_party(names) == set()
    assert not any(name.startswith(("xtrack.summarizers", "xtrack.store.schema", "xtrack.jobs")) for name in names)


@pytest.mark.parametrize("source", ["sample", "file"])
def test_a_whole_run_loads_little(xtrack: Command, source: str, tmp_path: Path) -> None:
    spec = source if source == "sample" else str(write_lines(tmp_path / "posts.jsonl", range(5)))
    job_id = xtrack.installed("--source", spec)
    names = loaded(xtrack, job_id)
    assert "xtrack.summarizers.extractive" in names
    assert heavy(names) == set()
    assert third_party(names) == {"click"}
    assert not {name for name in names if name.startswith(("xtrack.sources.x", "xtrack.sources._x_"))}
    assert "xtrack.sources._http" not in names
    xtrack.make_due(job_id)
    names = loaded(xtrack, job_id, XTRACK_TRIGGER="timer")
    assert "xtrack.run" in names
    assert heavy(names) == set()
    assert third_party(names) == set()


def test_a_run_with_nothing_new_loads_no_summarizer(xtrack: Command, tmp_path: Path) -> None:
    job_id = xtrack.installed("--source", str(write_lines(tmp_path / "posts.jsonl", range(5))))
    xtrack.good("run-job", str(job_id))
    names = loaded(xtrack, job_id)
    assert not any(name.startswith("xtrack.summarizers") for name in names)


def test_help_loads_little() -> None:
    code = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["xtrack", "--help"]
from xtrack.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy(set(done.stderr.split())) == set()
