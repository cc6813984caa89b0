"""What config.toml and the environment set, and how what is wrong in them is told."""

import copy
import json
import pickle
import tomllib
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import write_config
from xtrack import money
from xtrack.config import Home
from xtrack.errors import Misconfigured
from xtrack.settings import Secret, Settings, X, every, load, unseen_secrets

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
    ("# parallel_runs\nparallel_runs = true", 2, "parallel_runs is true"),
    ("parallel_runs = 2.0", 1, "parallel_runs is 2.0"),
    ("parallel_runs = 0", 1, "parallel_runs is 0"),
    ("parallel_runs = 1001", 1, "parallel_runs is 1001"),
    ("budget = -1", 1, "budget is -1"),
    ("budget = true", 1, "budget is true"),
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
    ("[x]\nbase_url = 'https://me:secret@api.x.com'", 2, "x.base_url is wrong"),
    ("[x]\nbase_url = 'https://api.x.com?key=secret'", 2, "x.base_url is wrong"),
    ("[x]\nbase_url = 'https://api.x.com?'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api.x.com#'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api..com'", 2, "x.base_url is"),
    (f"[x]\nbase_url = 'https://{'a' * 64}.com'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api.x.com:65536'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api.x.com:0'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'http://[::1]x.com'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://[::x]'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'http://localhost.x.com'", 2, "x.base_url is"),
    ("[x]\nbase_url = 'https://api.x.com/a b'", 2, "x.base_url is"),
    (f"[x]\nbase_url = '{SECRET}'", 2, "x.base_url is wrong"),
    (f"[x]\ntokn = '{SECRET}'", 2, "unknown setting x.tokn"),
    (f"token = '{SECRET}'", 1, "unknown setting token"),
    (f"x = '{SECRET}'", 1, "x is no table"),
    (f"x.token = ['{SECRET}']", 1, "x.token is wrong"),
    (f"x.max_posts = ['{SECRET}']", 1, "x.max_posts is a list"),
    ("x.base_url = 5", 1, "x.base_url is 5"),
    ('"x" . max_posts = 4', 1, "x.max_posts is 4"),
    ("\nx = {max_posts = 4}", 2, "x.max_posts is 4"),
    ("[ x ]\n'look_back_days' = 0", 2, "x.look_back_days is 0"),
    ("[x]\nnames_days = -1", 2, "x.names_days is -1"),
    ("[x]\nnames_days = false", 2, "x.names_days is false"),
    ("[x]\nprice_post = -0.1", 2, "x.price_post is -0.1"),
    ("[x]\npriced_on = '2026-08-01'", 2, "x.priced_on is '2026-08-01'"),
    ("parallel_runs = 0x" + "f" * 5000, 1, "parallel_runs is a number with too many digits"),
    ("budget = 0x" + "f" * 5000, 1, "budget is a number with too many digits"),
    ("budget" + ".a" * 1500 + " = 1", 1, "budget is a table"),
    ("[x]\npriced_on = 2026-08-01T00:00:00Z", 2, "x.priced_on is 2026-08-01 00:00"),
]
# Where a line is easily mistaken.
LINES = [
    ('[x]\ntoken = """\ny = 1\n"""\ny = 2', 5),
    ('[x]\ntoken = """\n\\"""\ny = 1\n""""\ny = 2', 6),
    ("[x]\ntoken = '''\ny = 1\n\"\"\"'''\ny = 2", 5),
    ('# """\n[x]\ny = 1  # """', 3),
    ('[x]\ntoken = \'#"""\'\ny = 1', 3),
    ('[x]\ntoken = "\\"#"\ny = 1', 3),
    ("# \u2028 \x85\n[x]\ny = 1", 3),
    ("[x]\r\n\r\ny = 1\r\n", 3),
    ("budget = [\n'[x]',\n# y = 1\n]\nx.'y' = 1", 5),
    ("\n[x] # y = 1\ny.z = 1", 3),
    ("\n[x.y]", 2),
    ("x . y . z = 1", 1),
    ("x = {y = 1}", 1),
    ('[x]\n"\\u0079" = 1', None),
]


@pytest.mark.parametrize(("text", "line"), LINES)
def test_the_line_is_the_one_with_the_key(home: Home, text: str, line: int | None) -> None:
    assert "y" in tomllib.loads(text)["x"]
    home.config.touch(0o600)
    home.config.write_bytes(text.encode())
    with pytest.raises(Misconfigured) as error:
        load(home, {})
    assert str(error.value) == f"{home.config}{f', line {line}' if line else ''}: unknown setting x.y"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [("[[x]]", "x is no table", 1), ("\n[y.z]", "unknown setting y", 2), ("'a=b' = 1", "unknown setting 'a=b'", 1)],
)
def test_the_line_of_what_is_no_setting(home: Home, text: str, message: str, line: int) -> None:
    write_config(home.config, text)
    with pytest.raises(Misconfigured) as error:
        load(home, {})
    assert str(error.value) == f"{home.config}, line {line}: {message}"


PIECES = ["[x]", "[[x]]", "x.y", "token", "'", '"', "'''", '"""', "#", "\\", "\n", " = ", *"1{}[],."]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_config_is_read_or_told(home: Home, text: str) -> None:
    home.config.touch(0o600)
    home.config.write_bytes(text.encode())
    try:
        assert isinstance(load(home, {}), Settings)
    except Misconfigured as error:
        assert str(home.config) in str(error)


@pytest.mark.parametrize("name", ["parallel", "[x]", "x.token"])
def test_a_hint_names_what_is_known(home: Home, name: str) -> None:
    write_config(home.config, f"'{name}' = 1")
    with pytest.raises(Misconfigured, match="unknown setting") as error:
        load(home, {})
    assert error.value.hint == "known: admin_email, budget, parallel_runs, [x], [llm], [mail]"
    write_config(home.config, f"[x]\n'{name}' = 1")
    with pytest.raises(Misconfigured, match="unknown setting") as error:
        load(home, {})
    names = "base_url, look_back_days, max_posts, names_days, price_media, price_post, price_user, priced_on, token"
    assert error.value.hint == f"known: {names}"


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
    write_config(home.config, f"[x]\ntoken = {SECRET}")
    with pytest.raises(Misconfigured, match=f"no TOML: {home.config}: .*line 2") as error:
        load(home, {})
    assert "secret" not in str(error.value) + error.value.hint


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
    assert load(home, {}) == Settings(8, 12_500_000, x=x)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1/x", "HTTP://LocalHost"])
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
    # What is overruled is not even looked at.
    write_config(home.config, "[x]\ntoken = ''")
    assert load(home, {"XTRACK_X_TOKEN": "new"}).x.token == Secret("new")


def test_an_empty_variable_is_none(home: Home) -> None:
    assert load(home, {"XTRACK_X_TOKEN": "", "XTRACK_X_BASE_URL": ""}) == Settings()


def test_secrets_that_only_a_shell_knows_are_named(home: Home) -> None:
    home = replace(home, scheduler="systemd-user")
    ours = {setting.variable: SECRET for _, setting in every() if setting.is_secret}
    assert set(ours) == {"XTRACK_X_TOKEN", "XTRACK_LLM_KEY", "XTRACK_SMTP_PASSWORD"}
    assert unseen_secrets(home, ours) == (
        "only this shell knows XTRACK_X_TOKEN, XTRACK_LLM_KEY, XTRACK_SMTP_PASSWORD: a timer's run will not see it",
        f"put x.token, llm.key, mail.password into {home.config}",
    )
    others = {"XTRACK_X_TOKEN": "", "XTRACK_X_BASE_URL": "1", "MY_TOKEN": "1", "XTRACK_OTHER_TOKEN": "1"}
    assert unseen_secrets(home, others) is None


def test_what_the_config_holds_too_is_not_the_shell_s_alone(home: Home) -> None:
    ours = {"XTRACK_X_TOKEN": SECRET, "XTRACK_LLM_KEY": SECRET}
    for config, keys in {
        f"[x]\ntoken = '{SECRET}'": "llm.key",
        f"x.token = '{SECRET}'\nllm = {{key = 'another'}}": None,
        "[x]\ntoken = ''": "x.token, llm.key",
        f"x = '{SECRET}'": "x.token, llm.key",
        f"token = '{SECRET}'": "x.token, llm.key",
        "[x": "x.token, llm.key",
    }.items():
        write_config(home.config, config)
        found = unseen_secrets(home, ours)
        assert (found and found[1]) == (keys and f"elsewhere put {keys} into {home.config}")
        assert unseen_secrets(home, ours, "mail") is None
    assert unseen_secrets(home, ours, "llm") == (
        "only the environment knows XTRACK_LLM_KEY: a run sees it where xtrack run-due is called with it",
        f"elsewhere put llm.key into {home.config}",
    )


def test_a_secret_is_shown_to_nobody() -> None:
    x = X(Secret(SECRET))
    for shown in (repr(x), str(x), f"{x.token}", f"{x.token:>9}", "%s" % x.token, repr(Settings(x=x))):  # noqa: UP031 - another way
        assert SECRET not in shown
        assert "***" in shown
    for write in (pickle.dumps, json.dumps, vars, copy.copy, lambda _: asdict(x)):
        with pytest.raises(TypeError) as error:
            write(x.token)
        assert SECRET not in str(error.value)
    assert x.token
    assert (x.token.reveal(), x.token == Secret(SECRET), x.token == SECRET) == (SECRET, True, False)


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
    assert money.parse(micros / 1_000_000) == micros


@given(st.floats(0, 2_000_000) | st.floats())
def test_a_number_is_exact_or_refused(dollars: float) -> None:
    try:
        assert money.parse(dollars) / 1_000_000 == dollars
    except ValueError as error:
        assert str(error) == money.RULE


@pytest.mark.parametrize(
    ("typed", "micros"),
    [
        ("5", 5_000_000),
        ("$0.50", 500_000),
        (" 1.000001 ", 1_000_001),
        (0.1, 100_000),
        (5e-5, 50),
        (1e-6, 1),
        (3, 3_000_000),
    ],
)
def test_dollars_are_exact(typed: object, micros: int) -> None:
    assert money.parse(typed) == micros


@pytest.mark.parametrize(
    "typed",
    [
        *("", "-1", "1,5", "1.", ".5", "1e3", "٣", "1.0000001", "1000001", "1000000.01", "$", "$-1", "5 $", "0x5"),
        *(-1, 1_000_001, 10**5000, -0.5, 1e9, 1e-8, 1.5e-6, 0.12345678, float("inf"), float("nan")),
        *(True, None, [], [5], b"5"),
    ],
    ids=lambda typed: f"{typed!r:.12}" if not isinstance(typed, int) or abs(typed) < 10**9 else "huge",
)
def test_what_is_no_sum_is_refused(typed: object) -> None:
    with pytest.raises(ValueError, match=r"^dollars"):
        money.parse(typed)


@pytest.mark.parametrize(("micros", "shown"), [(0, "$0.00"), (5000, "$0.005"), (120_000, "$0.12"), (1, "$0.000001")])
def test_cents_are_always_shown(micros: int, shown: str) -> None:
    assert money.shown(micros) == shown


def test_thousands_are_told_apart() -> None:
    assert money.shown(1_234_567_800_000) == "$1,234,567.80"
