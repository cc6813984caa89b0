"""What config.toml and the environment set, and how what is wrong in them is told."""

import json
import pickle
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import write_config
from xtrack import money
from xtrack.config import Home
from xtrack.errors import Misconfigured
from xtrack.settings import Secret, Settings, X, load

DAY = timedelta(days=1)


def test_without_a_config_the_defaults_hold(home: Home) -> None:
    assert load(home, {}) == Settings(parallel_runs=8)


def test_an_empty_config_means_the_defaults(home: Home) -> None:
    write_config(home.config, "\n  \n")
    assert load(home, {}) == Settings()


def test_a_setting_is_read(home: Home) -> None:
    write_config(home.config, "parallel_runs = 3  # a small machine\n")
    assert load(home, {}).parallel_runs == 3


SECRET = "AAAA%2Fsecret-of-mine"
WRONG = [
    ("parallel = 3", 1, "unknown setting parallel"),
    ("\n[x]\ny = 1", 3, "unknown setting x.y"),
    ("[y]\nx = 1", 1, "unknown setting y"),
    ("x = 1", 1, "x is no table"),
    ("parallel_runs = '3'", 1, "parallel_runs is '3'"),
    ("# parallel_runs\nparallel_runs = true", 2, "parallel_runs is True"),
    ("parallel_runs = 2.0", 1, "parallel_runs is 2.0"),
    ("parallel_runs = 0", 1, "parallel_runs is 0"),
    ("parallel_runs = 1001", 1, "parallel_runs is 1001"),
    ("budget = -1", 1, "budget is -1"),
    ("budget = true", 1, "budget is True"),
    ("budget = 'much'", 1, "budget is 'much'"),
    ("budget = 1e300", 1, "budget is 1e"),
    ("budget = nan", 1, "budget is nan"),
    (f"[x]\ntoken = '{SECRET}\"'", 2, "x.token is wrong"),
    (f'[x]\ntoken = "{SECRET}\\n"', 2, "x.token is wrong"),
    ("[x]\ntoken = 7", 2, "x.token is wrong"),
    ("[x]\ntoken = ''", 2, "x.token is wrong"),
    ("[x]\nbase_url = 'api.x.com'", 2, "x.base_url is 'api.x.com'"),
    ("[x]\nbase_url = 'ftp://api.x.com'", 2, "x.base_url is 'ftp:"),
    ("[x]\nbase_url = 'http://api.x.com'", 2, "x.base_url is 'http:"),
    ("[x]\nbase_url = 'https://'", 2, "x.base_url is 'https://'"),
    ("[x]\nbase_url = 'https://api.x.com:port'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://[::1'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://me:pass@api.x.com'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api.x.com?a=b'", 2, "x.base_url is"),
    ("x.base_url = 5", 1, "x.base_url is 5"),
    ('"x" . max_posts = 4', 1, "x.max_posts is 4"),
    ("x = {max_posts = 4}", None, "x.max_posts is 4"),
    ("[ x ]\n'look_back_days' = 0", 2, "x.look_back_days is 0"),
    ("[x]\nnames_days = -1", 2, "x.names_days is -1"),
    ("[x]\nprice_post = -0.1", 2, "x.price_post is -0.1"),
    ("[x]\npriced_on = '2026-08-01'", 2, "x.priced_on is '2026-08-01'"),
    ("[x]\npriced_on = 2026-08-01T00:00:00Z", 2, "x.priced_on is datetime"),
]


@pytest.mark.parametrize(("text", "line", "message"), WRONG)
def test_what_is_wrong_is_told_with_file_line_and_key(home: Home, text: str, line: int | None, message: str) -> None:
    write_config(home.config, text)
    with pytest.raises(Misconfigured) as error:
        load(home, {})
    where = f"{home.config}, line {line}: " if line else f"{home.config}: "
    assert str(error.value).startswith(where + message)
    assert error.value.hint
    assert "secret" not in str(error.value) + error.value.hint


def test_a_config_that_is_no_toml_is_refused(home: Home) -> None:
    write_config(home.config, "parallel_runs = ")
    with pytest.raises(Misconfigured, match=f"no TOML: {home.config}: "):
        load(home, {})


def test_all_that_can_be_set(home: Home) -> None:
    write_config(
        home.config,
        f"""
        budget = 12.5
        [x]
        token = "{SECRET}"
        base_url = "https://proxy.example/x/"
        look_back_days = 3
        max_posts = 50
        names_days = 0
        price_post = 0.001
        price_user = "$0.02"
        price_media = 0.000001
        priced_on = 2026-11-01
        """,
    )
    x = X(Secret(SECRET), "https://proxy.example/x", 3 * DAY, 50, None, 1000, 20000, 1, date(2026, 11, 1))
    assert load(home, {}) == Settings(8, 12_500_000, x)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"])
def test_the_token_goes_unencrypted_to_this_machine_only(home: Home, url: str) -> None:
    write_config(home.config, f"[x]\nbase_url = '{url}'")
    assert load(home, {}).x.base_url == url


def test_the_environment_wins_over_the_file(home: Home) -> None:
    write_config(home.config, "[x]\ntoken = 'old'\nbase_url = 'https://old.example'")
    x = load(home, {"XTRACK_X_TOKEN": "new", "XTRACK_X_BASE_URL": ""}).x
    assert (x.token, x.base_url) == (Secret("new"), "https://old.example")
    with pytest.raises(Misconfigured, match=r"^XTRACK_X_TOKEN is wrong$"):
        load(home, {"XTRACK_X_TOKEN": f"{SECRET}\nHost: x"})
    with pytest.raises(Misconfigured, match=r"^XTRACK_X_BASE_URL is 'nowhere'$"):
        load(home, {"XTRACK_X_BASE_URL": "nowhere"})


def test_a_secret_is_shown_to_nobody() -> None:
    x = X(Secret(SECRET))
    for shown in (repr(x), str(x), f"{x.token}", f"{x.token!s:>9}", repr([x.token])):
        assert SECRET not in shown
    for write in (pickle.dumps, json.dumps):
        with pytest.raises(TypeError) as error:
            write(x.token)
        assert SECRET not in str(error.value)


def test_a_config_that_is_no_text_is_refused(home: Home) -> None:
    home.config.touch(0o600)
    home.config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="not UTF-8"):
        load(home, {})


def test_a_config_that_is_a_folder_is_refused(home: Home) -> None:
    home.config.mkdir()
    with pytest.raises(Misconfigured, match="not a file"):
        load(home, {})


def test_a_credential_goes_before_the_file(home: Home, tmp_path: Path) -> None:
    write_config(home.config, "parallel_runs = 3\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert load(home, environ).parallel_runs == 3
    (credentials / "config.toml").write_text("parallel_runs = 5\n")
    assert load(home, environ).parallel_runs == 5


# Money


@given(st.integers(0, 1_000_000_000_000))
def test_a_sum_reads_as_it_is_shown(micros: int) -> None:
    assert money.parse(money.shown(micros).replace(",", "")) == micros


@pytest.mark.parametrize(
    ("typed", "micros"),
    [("5", 5_000_000), ("$0.50", 500_000), (" 1.000001 ", 1_000_001), (0.1, 100_000), (1e-6, 1), (3, 3_000_000)],
)
def test_dollars_are_exact(typed: object, micros: int) -> None:
    assert money.parse(typed) == micros


@pytest.mark.parametrize(
    "typed", ["", "-1", "1,5", "1.", ".5", "1e3", "٣", "1.0000001", "1000001", "1000000.01", -0.5, 1e9, True, None, []]
)
def test_what_is_no_sum_is_refused(typed: object) -> None:
    with pytest.raises(ValueError, match=r"^dollars"):
        money.parse(typed)


@pytest.mark.parametrize(("micros", "shown"), [(0, "$0.00"), (5000, "$0.005"), (120_000, "$0.12"), (1, "$0.000001")])
def test_cents_are_always_shown(micros: int, shown: str) -> None:
    assert money.shown(micros) == shown


def test_thousands_are_told_apart() -> None:
    assert money.shown(1_234_567_800_000) == "$1,234,567.80"
