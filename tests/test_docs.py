"""The pages name what the program has, and nothing else: commands, options, exit codes, settings, fields of JSON."""

import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import fields
from itertools import takewhile
from pathlib import Path

import click
import pytest

from tests.conftest import JOB
from xtrack import errors, views
from xtrack.cli import cli
from xtrack.models import Delivery, Run
from xtrack.outcomes import Status
from xtrack.settings import every

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))}
COMMANDS, OPERATING = PAGES["docs/commands.md"], PAGES["docs/operating.md"]
COMMON = {"--system", "--help"}
# A fence, its language, and what it holds.
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The command, by its path too, and the image of that name.
PROGRAM = re.compile(r"(?:^|[\s/])xtrack(?::1)? ")
# sudo, assignments, and the five fields of a line in crontab.
BEFORE_A_COMMAND = re.compile(r"sudo|env|[A-Z_]+=\S*|[\d*/,-]+")


def section(page: str, heading: str) -> str:
    """What stands below a heading of the second or third level, up to the next one."""
    found = re.split(rf"^##+ {re.escape(heading)}$", page, flags=re.MULTILINE)
    assert len(found) == 2, heading
    return re.split(r"^##+ ", found[1], flags=re.MULTILINE)[0]


def first_cells(text: str) -> list[str]:
    """The first cell of each row of the tables in a text, without its backquotes; not their heads."""
    cells = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    rules = [number for number, cell in enumerate(cells) if set(cell) == {"-"}]
    return [c.strip("`") for n, c in enumerate(cells) if n not in rules and n + 1 not in rules]


def options(text: str) -> list[str]:
    """All long options in a text, each once."""
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)))


def long_options(command: click.Command) -> set[str]:
    """What click takes."""
    with click.Context(command) as ctx:
        return {name for p in command.get_params(ctx) for name in (*p.opts, *p.secondary_opts) if name.startswith("--")}


def test_every_command_has_its_section_and_no_other_has_one() -> None:
    assert re.findall(r"^## ([a-z-]+)$", COMMANDS, re.MULTILINE) == list(cli.commands)


@pytest.mark.parametrize("name", cli.commands)
def test_a_commands_section_names_its_options_and_arguments(name: str) -> None:
    text, command = section(COMMANDS, name), cli.commands[name]
    own = long_options(command) - COMMON
    assert long_options(command) >= COMMON
    assert {cell.split("`")[0] for cell in first_cells(text)} == own, "the table"
    assert set(options(text)) == own, "the text"
    usage = command.collect_usage_pieces(click.Context(command))
    assert f"```text\nxtrack {' '.join([name, *usage])}\n```" in text


def test_what_all_commands_have_is_named_before_them() -> None:
    assert set(options(COMMANDS.partition("\n## ")[0])) == COMMON | long_options(cli)


def command_lines(page: str) -> Iterator[list[str]]:
    """The words after `xtrack` of each command in a page's blocks; of a screen only what is typed."""
    for language, block in BLOCK.findall(page):
        lines = block.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        if language in ("sh", "console", "crontab"):
            for line in lines:
                if PROGRAM.search(line):
                    yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    while words:
        one = list(takewhile(lambda word: not set(word) <= set("();<>|&"), words))
        words = words[len(one) + 1 :]
        program = next((n for n, word in enumerate(one) if PROGRAM.search(f" {word} ")), None)
        if program is not None:
            before = [word for word in one[:program] if not BEFORE_A_COMMAND.fullmatch(word)]
            if not before or before[:2] == ["docker", "run"]:
                yield one[program + 1 :]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_is_understood(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").touch()  # what --from opens
    lines = list(command_lines(PAGES[page]))
    assert lines
    for words in lines:
        if words != ["--help"]:
            # Not resilient: an option that there is not, or a number that is none, raises.
            cli.commands[words[0]].make_context(words[0], words[1:]).close()


def anchors(page: str) -> set[str]:
    """What GitHub makes of headings."""
    prose = BLOCK.sub("", page)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_local_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", BLOCK.sub("", PAGES[page])):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            path = (ROOT / page).parent / file if file else ROOT / page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path.read_text()), target


def test_exit_codes_are_those_of_the_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.XTrackError)]
    codes = {0, *(kind.exit_code for kind in kinds)}
    signals = sorted(128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    assert first_cells(section(OPERATING, "Exit codes")) == [*map(str, sorted(codes)), ", ".join(map(str, signals))]


def test_settings_are_those_that_are_read() -> None:
    text = section(OPERATING, "Settings")
    assert first_cells(text) == [key for key, _ in every()]
    for key, setting in every():
        default = "" if setting.default is None else f"`{setting.default}`"
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{key}` | {default} |")]
        assert re.findall(r"XTRACK_\w+", row) == ([setting.variable] if setting.variable else [])
        assert not setting.variable or setting.variable in first_cells(section(COMMANDS, "Environment"))


def test_json_fields_are_those_that_are_printed() -> None:
    job = views.job_json(Status(JOB, None, None, None, "", ""))
    run = views.run_json(Run(**dict.fromkeys(field.name for field in fields(Run))))  # type: ignore[arg-type]  # its names alone count
    assert first_cells(section(OPERATING, "Jobs as JSON")) == list(job)
    assert first_cells(section(OPERATING, "Runs as JSON")) == list(run)
    mail = views.delivery_json(Delivery(**dict.fromkeys(field.name for field in fields(Delivery))))  # type: ignore[arg-type]  # its names alone count
    assert first_cells(section(OPERATING, "Mails as JSON")) == list(mail)
