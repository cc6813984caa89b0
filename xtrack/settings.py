"""What config.toml and the environment set: each setting once, with its default and its rule."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from xtrack import money
from xtrack.config import Home, config_text
from xtrack.errors import Misconfigured

_T = TypeVar("_T")
# Where something stands in a config: ("x", "token").
_Path = tuple[str, ...]
# RFC 6750, section 2.1, and the percent sign that X's tokens have.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/%]+=*")
# A host's name (RFC 1123, section 2.1, and underscores) or IPv6 address, a port, a path; all of it ASCII.
_NAME = r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*"
_URL = re.compile(rf"https?://(?:{_NAME}|\[[0-9a-f:.]+\])(?::[0-9]+)?(?:/[a-z0-9\-._~%/]*)?", re.IGNORECASE | re.ASCII)
# A dot-string before the @ and a name behind it, in ASCII: RFC 5321, section 4.1.2.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_ADDRESS = rf"{_ATOM}(?:\.{_ATOM})*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Secret:
    """A text that shows itself only when it is asked to."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def reveal(self) -> str:
        return self._text


@dataclass(frozen=True)
class Setting:
    """How a setting is called in its table, its default as one would write it (None: there is none), how a value is
    read (by a function that raises ValueError or TypeError), what may be written, the variable that wins over it, and
    whether nobody may see it.
    """

    name: str
    default: Any
    read: Callable[[Any], Any]
    rule: str
    variable: str = ""
    is_secret: bool = False


def _setting(
    name: str, default: Any, read: Callable[[Any], Any], rule: str, variable: str = "", is_secret: bool = False
) -> Any:
    """A field of a table."""
    value = None if default is None else read(default)
    return field(default=value, metadata={"setting": Setting(name, default, read, rule, variable, is_secret)})


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read


def _line_of_text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
        raise ValueError
    return value.strip()


def _host(value: Any) -> str:
    if not re.fullmatch(rf"{_NAME}|[0-9a-f:]+", value, re.IGNORECASE | re.ASCII):
        raise ValueError
    return str(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return read


def _password(value: Any) -> Secret:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError
    return Secret(value)


def address(value: Any) -> str:
    """An e-mail address that SMTP takes without extensions. Raises ValueError, TypeError."""
    if not re.fullmatch(_ADDRESS, value, re.ASCII) or len(value) > 254:
        raise ValueError
    return str(value)


def _seconds(value: Any) -> timedelta:
    return timedelta(seconds=_whole(10, 3600)(value))


def _days(value: Any) -> timedelta:
    return timedelta(days=_whole(1, 3650)(value))


def _days_or_never(value: Any) -> timedelta | None:
    return timedelta(days=_whole(0, 3650)(value)) or None


def _day(value: Any) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return value


def _token(value: Any) -> Secret:
    if not _TOKEN.fullmatch(value):
        raise ValueError
    return Secret(value)


def _base_url(value: Any) -> str:
    found = _URL.fullmatch(value)
    if not found:
        raise ValueError
    # Both raise ValueError: the first for brackets around what is no address, the second for a port that is none.
    parts = urlsplit(found[0])
    if parts.port == 0 or (parts.scheme == "http" and parts.hostname not in _LOOPBACK):
        raise ValueError
    return found[0].rstrip("/")


@dataclass(frozen=True)
class X:
    """How X is reached, how far a timeline is read back, how many posts a run may take, after what time names are
    looked up again, and prices, in millionths of a dollar, with the day on which they were looked up.
    """

    token: Secret | None = _setting(
        "token", None, _token, "a bearer token: letters, digits and -._~+/%=", "XTRACK_X_TOKEN", is_secret=True
    )
    base_url: str = _setting(
        "base_url",
        "https://api.x.com",
        _base_url,
        "https://HOST, or http:// to this machine; without name, password, query and fragment",
        "XTRACK_X_BASE_URL",
    )
    look_back: timedelta = _setting("look_back_days", 7, _days, "a whole number of days, 1 to 3650")
    max_posts: int = _setting("max_posts", 1000, _whole(5, 1_000_000), "a whole number from 5 to 1000000")
    recheck: timedelta | None = _setting(
        "names_days", 30, _days_or_never, "a whole number of days to 3650, or 0: never"
    )
    post_price: int = _setting("price_post", 0.005, money.parse, money.RULE)
    user_price: int = _setting("price_user", 0.01, money.parse, money.RULE)
    media_price: int = _setting("price_media", 0.005, money.parse, money.RULE)
    priced_on: date = _setting("priced_on", date(2026, 8, 1), _day, "a day, such as 2026-08-01, without quotes")


@dataclass(frozen=True)
class LLM:
    """Which model writes digests and how it is reached: any server that speaks OpenAI's chat completions.

    Prices are in millionths of a dollar for a million tokens, `timeout` is for a whole call, retries and all, and
    `context_tokens` what the model takes in and puts out together.
    """

    model: str | None = _setting("model", None, _line_of_text, "the name of a model, on one line")
    key: Secret | None = _setting(
        "key", None, _token, "an API key: letters, digits and -._~+/%=", "XTRACK_LLM_KEY", is_secret=True
    )
    base_url: str = _setting(
        "base_url",
        "https://api.openai.com/v1",
        _base_url,
        "https://HOST/v1, or http:// to this machine; without name, password, query and fragment",
        "XTRACK_LLM_BASE_URL",
    )
    input_price: int = _setting("price_input", 0, money.parse, f"{money.RULE}, for a million tokens")
    output_price: int = _setting("price_output", 0, money.parse, f"{money.RULE}, for a million tokens")
    timeout: timedelta = _setting("timeout_seconds", 300, _seconds, "a whole number of seconds, 10 to 3600")
    context_tokens: int = _setting("context_tokens", 32_000, _whole(2_000, 10_000_000), "from 2000 to 10000000")


@dataclass(frozen=True)
class Mail:
    """By which server digests are mailed, and from whom. `security` is ssl, starttls, or none, to this machine only."""

    host: str | None = _setting("host", None, _host, "the name or address of an SMTP server")
    port: int | None = _setting("port", None, _whole(1, 65535), "a port, 1 to 65535")
    security: str = _setting("security", "ssl", _one_of("ssl", "starttls", "none"), "ssl, starttls or none")
    user: str | None = _setting("user", None, _line_of_text, "a name, on one line")
    password: Secret | None = _setting(
        "password", None, _password, "a password, on one line", "XTRACK_SMTP_PASSWORD", is_secret=True
    )
    sender: str | None = _setting("from", None, address, "an address, such as digests@example.org")
    timeout: timedelta = _setting("timeout_seconds", 60, _seconds, "a whole number of seconds, 10 to 3600")


@dataclass(frozen=True)
class Settings:
    """All that is set. `parallel_runs` is how many runs of this home work at once, `budget` how much may be bought for
    all jobs together in a UTC month, in millionths of a dollar, `admin_email` is told of jobs that fail and have nobody
    to mail to.
    """

    parallel_runs: int = _setting("parallel_runs", 8, _whole(1, 1000), "a whole number from 1 to 1000")
    budget: int | None = _setting("budget", None, money.parse, money.RULE)
    admin_email: str | None = _setting("admin_email", None, address, "an address, such as admin@example.org")
    x: X = field(default_factory=X, metadata={"table": X})
    llm: LLM = field(default_factory=LLM, metadata={"table": LLM})
    mail: Mail = field(default_factory=Mail, metadata={"table": Mail})


def load(home: Home, environ: Mapping[str, str]) -> Settings:
    """What the config and the environment say, or the defaults. Raises Misconfigured with file, line and key, or with
    the variable.
    """
    source = _Source(home, config_text(home, environ), environ)
    values = source.values()
    tables = {name: source.filled(kind, (name,), source.table(values, name)) for name, kind in _tables().items()}
    return source.filled(Settings, (), values, **tables)


def every() -> Iterator[tuple[str, Setting]]:
    """All settings by their keys, "x.token"."""
    for name, table in [("", Settings), *_tables().items()]:
        for setting in _settings(table).values():
            yield f"{name}.{setting.name}".removeprefix("."), setting


def unseen_secrets(home: Home, environ: Mapping[str, str], table: str | None = None) -> tuple[str, str] | None:
    """Of the secrets, or those of one table, which ones runs may not see, because the environment here holds them and
    the config does not, and what to do; None where there are none.

    A timer's run has nothing of a shell's environment; whoever calls run-due may have all of it. A config that cannot
    be read holds nothing.
    """
    told = {
        key: setting.variable
        for key, setting in every()
        if setting.is_secret and environ.get(setting.variable) and table in (None, key.rpartition(".")[0])
    }
    try:
        held = _Source(home, config_text(home, environ), environ).values() if told else {}
    except Misconfigured:
        held = {}
    keys = [key for key in told if not _is_held(held, key)]
    if not keys:
        return None
    variables, put = ", ".join(told[key] for key in keys), f"put {', '.join(keys)} into {home.config}"
    if home.scheduler == "none":
        what = f"only the environment knows {variables}: a run sees it where xtrack run-due is called with it"
        return what, f"elsewhere {put}"
    return f"only this shell knows {variables}: a timer's run will not see it", put


def _is_held(values: Mapping[str, Any], key: str) -> bool:
    table, _, name = key.rpartition(".")
    found = values.get(table)
    return isinstance(found, dict) and bool(found.get(name))


def _tables() -> dict[str, type[Any]]:
    """The tables of a config by their names."""
    return {one.name: one.metadata["table"] for one in fields(Settings) if "table" in one.metadata}


def _settings(table: type[Any]) -> dict[str, Setting]:
    """The settings of a table by the names of their fields."""
    return {one.name: one.metadata["setting"] for one in fields(table) if "setting" in one.metadata}


@dataclass(frozen=True)
class _Source:
    """The text of a config and the environment, and how their errors are told."""

    home: Home
    text: str
    environ: Mapping[str, str]

    def values(self) -> dict[str, Any]:
        if not self.text.strip():
            return {}
        import tomllib

        try:
            return tomllib.loads(self.text)
        except (ValueError, RecursionError) as error:
            # Also a number with too many digits, and lists in lists without end.
            raise Misconfigured(
                f"the config is no TOML: {self.home.config}: {error}", f"edit {self.home.config}"
            ) from None

    def table(self, values: dict[str, Any], name: str) -> dict[str, Any]:
        """One table, which is taken out of all that there is."""
        table = values.pop(name, {})
        if not isinstance(table, dict):
            raise self._error((name,), f"{name} is no table", f"[{name}]")
        return table

    def filled(self, table: type[_T], path: _Path, values: Mapping[str, Any], **tables: Any) -> _T:
        """A table with what is set in it, and its own tables."""
        settings = _settings(table)
        known = sorted(setting.name for setting in settings.values())
        for name in values:
            if name not in known:
                hint = f"known: {', '.join([*known, *(f'[{table}]' for table in tables)])}"
                raise self._error((*path, name), f"unknown setting {_key((*path, name)):.80}", hint)
        found = {
            at: self._read(setting, path, values)
            for at, setting in settings.items()
            if setting.name in values or self.environ.get(setting.variable)
        }
        return table(**found, **tables)

    def _read(self, setting: Setting, path: _Path, values: Mapping[str, Any]) -> Any:
        told = self.environ.get(setting.variable)
        value = told or values[setting.name]
        try:
            return setting.read(value)
        except (ValueError, TypeError):
            # What was meant as a secret may be one.
            what = "wrong" if setting.is_secret else _seen(value)
            if told:
                raise Misconfigured(f"{setting.variable} is {what}", setting.rule) from None
            key = (*path, setting.name)
            raise self._error(key, f"{_key(key)} is {what}", setting.rule) from None

    def _error(self, path: _Path, what: str, hint: str) -> Misconfigured:
        line = _line(self.text, path)
        where = f"{self.home.config}, line {line}" if line else f"{self.home.config}"
        return Misconfigured(f"{where}: {what}", hint)


def _seen(value: object) -> str:
    """A value as an error shows it: not what may hold a password or a key, as a URL can, or X's token (RFC 3986)."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number with too many digits"
    if isinstance(value, str):
        return "wrong" if re.search("[@?#%]", value) else f"{value!r:.60}"
    return str(value)


# Patterns that only an error needs: compiled where they are used. A part of a key; the head of a table, or the key in
# front of a value; comments and all kinds of strings, so that quotes in one of them open no other.
_PART = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_LINE = rf"\s*(\[*)\s*({_PART}(?:\s*\.\s*{_PART})*)\s*(?:=|\]+\s*(?:#|$))"
_STRING = r"""(?s)#[^\n]*|"{3}(?:[^\\]|\\.)*?"{3,5}|'{3}.*?'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*'"""


def _key(path: _Path) -> str:
    """How something is called: x.token, or with quotes where TOML wants them."""
    return ".".join(part if re.fullmatch("[A-Za-z0-9_-]+", part) else repr(part) for part in path)


def _line(text: str, path: _Path) -> int | None:
    """The line that says something of a key or a table, which tomllib does not tell; None where it is not found.

    Keys with escapes in them are not.
    """
    table: _Path = ()
    for number, line in enumerate(re.sub(_STRING, _on_one_line, text).split("\n"), 1):
        if found := re.match(_LINE, line):
            is_head, named = bool(found[1]), tuple(part.strip("\"'") for part in re.findall(_PART, found[2]))
            here = named if is_head else table + named
            # An entry's value may be a table with the key in it.
            if here[: len(path)] == path or (not is_head and path[: len(here)] == here):
                return number
            table = named if is_head else table
    return None


def _on_one_line(found: re.Match[str]) -> str:
    """A comment or string; of one with several lines only these, since what is in it looks like anything."""
    return "\n" * found[0].count("\n") or found[0]
