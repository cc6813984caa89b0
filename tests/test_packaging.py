"""What is shipped: wheel, sdist and editable install, each tried in an environment that has nothing else."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

import xtrack

REPOSITORY = Path(__file__).parents[1]
# Not part of a fresh clone.
LEFT_BY_MAKE = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
# A template that is there but gets no values says UndefinedError; one that is not, TemplateNotFound.
RENDER_ALL = """
from importlib.resources import files
from jinja2 import UndefinedError
from xtrack.templates import render

for folder in files("xtrack.templates").iterdir():
    for file in folder.iterdir() if folder.is_dir() else []:
        if file.name.endswith(".j2"):
            name = f"{folder.name}/{file.name}"
            try:
                render(name)
            except UndefinedError:
                pass
            print(name)
"""


def run(*argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project as a fresh clone has it: a build leaves files in the tree it works on."""
    tree = tmp_path_factory.mktemp("clone") / "xtrack"
    shutil.copytree(REPOSITORY, tree, ignore=LEFT_BY_MAKE)
    return tree


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """Build the sdist, and the wheel from it, into a folder."""
    run(sys.executable, "-m", "build", "--no-isolation", tree)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [wheel] = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    [sdist] = built.glob("*.tar.gz")
    return sdist


@pytest.mark.parametrize(
    "kind", ["wheel", pytest.param("sdist", marks=pytest.mark.slow), pytest.param("editable", marks=pytest.mark.slow)]
)
def test_runs_a_job_in_an_empty_environment(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    what = ["--editable", str(request.getfixturevalue("tree"))]
    if kind != "editable":
        what = [str(request.getfixturevalue(kind))]
    venv.create(tmp_path / "venv", symlinks=True)
    bin_ = tmp_path / "venv/bin"
    run(sys.executable, "-m", "pip", "--python", bin_ / "python", "install", "--quiet", "--no-compile", *what)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bare = {"HOME": str(elsewhere), "LANG": "C.UTF-8", "PATH": os.defpath}
    env = {**bare, "XTRACK_HOME": str(tmp_path / "home"), "XTRACK_SCHEDULER": "none"}

    command = bin_ / "xtrack"
    assert run(command, "--version", cwd=elsewhere, env=env) == f"xtrack, version {xtrack.__version__}\n"
    run(command, "install-job", "--source", "sample", "--every", "hourly", cwd=elsewhere, env=env)
    run(command, "run-job", "1", cwd=elsewhere, env=env)
    summary = json.loads(run(command, "show-summary", "1", "--json", cwd=elsewhere, env=env))
    assert summary["lines"]

    found = run(bin_ / "python", "-c", RENDER_ALL, cwd=elsewhere, env=env).splitlines()
    templates = REPOSITORY / "templates"
    assert sorted(found) == sorted(str(file.relative_to(templates)) for file in templates.rglob("*.j2"))


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    name = f"xtrack_cli-{xtrack.__version__}.dist-info"
    files = zipfile.ZipFile(wheel).namelist()
    assert {file.partition("/")[0] for file in files} == {"xtrack", name}
    assert "xtrack/py.typed" in files
    assert f"{name}/licenses/LICENSE" in files
    assert not [file for file in files if "/test" in file]


def test_sdist_holds_what_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    wanted = ["README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "Makefile", "setup.cfg", "pyproject.toml"]
    for folder in ("xtrack", "templates", "tests"):
        sources = (REPOSITORY / folder).rglob("[!.]*.*")
        wanted += [str(file.relative_to(REPOSITORY)) for file in sources if file.suffix != ".pyc"]
    assert files.issuperset(wanted), sorted(set(wanted) - files)
    assert not [file for file in files if file.endswith(".pyc")]


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    return config


def test_version_is_said_once_and_the_changelog_knows_it() -> None:
    assert setup_cfg()["metadata"]["version"] == "attr: xtrack.__version__"
    assert metadata.version("xtrack-cli") == xtrack.__version__
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(.+)\] - (Unreleased|\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)
    assert newest
    assert newest[1] == xtrack.__version__


def test_setup_cfg_names_every_package() -> None:
    folders = {"xtrack.templates"}
    for file in (REPOSITORY / "xtrack").rglob("__init__.py"):
        folders.add(".".join(file.parent.relative_to(REPOSITORY).parts))
    assert set(setup_cfg()["options"]["packages"].split()) == folders


def test_every_requirement_has_a_lower_bound_and_no_other() -> None:
    """`make test-lowest` makes its constraints of them."""
    config = setup_cfg()
    extras = config["options.extras_require"].values()
    for requirement in "\n".join([config["options"]["install_requires"], *extras]).split():
        assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", requirement)
