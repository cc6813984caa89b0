"""The search for secrets finds them."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests import secrets


def in_a_log(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep/run.log").write_text(f"GET /2/users Authorization: Bearer {secrets.TOKEN}\n")


def half_in_a_unit(folder: Path) -> None:
    (folder / "xtrack-job@.service").write_bytes(b"\xff" + secrets.TOKEN[-30:].encode())


def in_a_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "xtrack.db")) as db, db:
        db.execute("CREATE TABLE runs (error TEXT)")
        db.execute("INSERT INTO runs VALUES (?)", [f"bad: {secrets.TOKEN}"])


@pytest.mark.parametrize("leak", [in_a_log, half_in_a_unit, in_a_database])
def test_a_leak_is_found(tmp_path_factory: pytest.TempPathFactory, leak: Callable[[Path], None]) -> None:
    folder = tmp_path_factory.mktemp("leak")
    (folder / "config.toml").write_text(f'token = "{secrets.TOKEN}"')
    assert secrets.leaks(folder) == []
    leak(folder)
    assert len(secrets.leaks(folder)) == 1


def test_what_is_no_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "log").write_text("Bearer ***")
    assert secrets.leaks(tmp_path) == []
    assert not secrets.found_in("a token is set")
