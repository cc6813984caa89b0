"""What config.toml and the environment set: each setting once, with its default and its rule."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from xtrack import money
from xtrack.config import Home, config_text
from xtrack.errors import Misconfigured

_T = TypeVar("_T")
# RFC 6750, section 2.1, and the percent sign that X's tokens have.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/%]+=*")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Secret:
    """A text that shows itself only when it is asked to."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")

    def reveal(self) -> str:
        return self._text


@dataclass(frozen=True)
class Setting:
    """How a setting is called in its table, its default as one would write it (None: there is none), how a value is
    read (by a function that raises ValueError or TypeError), what may be written, and the variable that wins over it.
    """

    name: str
    default: Any
    read: Callable[[Any], Any]
    rule: str
    variable: str = ""


def _setting(name: str, default: Any, read: Callable[[Any], _T], rule: str, variable: str = "") -> Any:
    """A field of a table."""
    value = None if default is None else read(default)
    return field(default=value, metadata={"setting": Setting(name, default, read, rule, variable)})


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read


def _days(value: Any) -> timedelta:
    return timedelta(days=_whole(1, 3650)(value))


def _days_or_never(value: Any) -> timedelta | None:
    return _days(value) if value != 0 else None


def _day(value: Any) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return value


def _token(value: Any) -> Secret:
    if not _TOKEN.fullmatch(value):
        raise ValueError
    return Secret(value)


def _base_url(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    parts = urlsplit(value)
    is_open = parts.scheme == "http" and parts.hostname in _LOOPBACK
    # Asking for the port raises when it is none.
    if not (parts.scheme == "https" or is_open) or not parts.hostname or parts.port == 0 or not value.isprintable():
        raise ValueError
    if "@" in parts.netloc or parts.query or parts.fragment or " " in value:
        raise ValueError
    return value.rstrip("/")


@dataclass(frozen=True)
class X:
    """How X is reached, how far a timeline is read back, how many posts a run may take, after what time names are
    looked up again, and prices, in millionths of a dollar, with the day on which they were looked up.
    """

    token: Secret | None = _setting(
        "token", None, _token, "a bearer token: letters, digits and -._~+/%=", "XTRACK_X_TOKEN"
    )
    base_url: str = _setting(
        "base_url",
        "https://api.x.com",
        _base_url,
        "https://HOST, or http:// to this machine; without name, password and query",
        "XTRACK_X_BASE_URL",
    )
    look_back: timedelta = _setting("look_back_days", 7, _days, "a whole number of days, 1 to 3650")
    max_posts: int = _setting("max_posts", 1000, _whole(5, 1_000_000), "a whole number from 5 to 1000000")
    recheck: timedelta | None = _setting(
        "names_days", 30, _days_or_never, "a whole number of days to 3650, or 0: never"
    )
    post_price: int = _setting("price_post", 0.005, money.parse, money.RULE)
    user_price: int = _setting("price_user", 0.01, money.parse, money.RULE)
    media_price: int = _setting("price_media", 0, money.parse, money.RULE)
    priced_on: date = _setting("priced_on", date(2026, 8, 1), _day, "a day, such as 2026-08-01, without quotes")


@dataclass(frozen=True)
class Settings:
    """All that is set. `parallel_runs` is how many runs of this home work at once, `budget` how much may be bought for
    all jobs together in a UTC month, in millionths of a dollar.
    """

    parallel_runs: int = _setting("parallel_runs", 8, _whole(1, 1000), "a whole number from 1 to 1000")
    budget: int | None = _setting("budget", None, money.parse, money.RULE)
    x: X = field(default_factory=X)


def load(home: Home, environ: Mapping[str, str]) -> Settings:
    """What the config and the environment say, or the defaults. Raises Misconfigured with file, line and key."""
    source = _Source(home, config_text(home, environ), environ)
    values = source.values()
    x = source.filled(X, "x", source.table(values, "x"))
    return source.filled(Settings, "", values, x=x)


def every() -> Iterator[tuple[str, Setting]]:
    """All settings by their keys, "x.token"."""
    for table, prefix in ((Settings, ""), (X, "x.")):
        for setting in _settings(table).values():
            yield prefix + setting.name, setting


def _settings(table: type) -> dict[str, Setting]:
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
            raise Misconfigured(f"the config is no TOML: {self.home.config}: {error}", self._edit()) from None

    def table(self, values: dict[str, Any], name: str) -> dict[str, Any]:
        """One table, which is taken out of all that there is."""
        table = values.pop(name, {})
        if not isinstance(table, dict):
            raise self._error(name, f"{name} is no table", f"[{name}]")
        return table

    def filled(self, table: type[_T], name: str, values: Mapping[str, Any], **more: Any) -> _T:
        """A table with what is set in it."""
        prefix = f"{name}." if name else ""
        settings = _settings(table)
        known = {setting.name for setting in settings.values()}
        for strange in values:
            if strange not in known:
                one = f"unknown setting {prefix}{strange}" if strange.isprintable() else "unknown setting"
                raise self._error(f"{prefix}{strange}", f"{one:.80}", f"known: {', '.join(sorted(known))}")
        found = {at: self._read(setting, prefix + setting.name, values) for at, setting in settings.items()}
        return table(**{at: value for at, value in found.items() if value is not _UNSET}, **more)

    def _read(self, setting: Setting, key: str, values: Mapping[str, Any]) -> Any:
        told = self.environ.get(setting.variable, "") if setting.variable else ""
        value = told or values.get(setting.name, _UNSET)
        if value is _UNSET:
            return value
        try:
            return setting.read(value)
        except (ValueError, TypeError):
            # What was meant as a secret may be one: the value is not shown.
            what = "is wrong" if setting.read is _token else f"is {value!r:.60}"
            if told:
                raise Misconfigured(f"{setting.variable} {what}", setting.rule) from None
            raise self._error(key, f"{key} {what}", setting.rule) from None

    def _error(self, key: str, what: str, rule: str) -> Misconfigured:
        line = _line(self.text, key)
        where = f"{self.home.config}, line {line}" if line else f"{self.home.config}"
        return Misconfigured(f"{where}: {what}", rule)

    def _edit(self) -> str:
        return f"edit {self.home.config}"


_UNSET: Literal["unset"] = "unset"
_HEAD = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([^\s=#][^=#]*?)\s*=")


def _line(text: str, key: str) -> int | None:
    """The line on which a key or a table stands, which tomllib does not tell; None where that cannot be seen."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        head, entry = _HEAD.match(line), _KEY.match(line)
        if head:
            table = f"{_plain(head[1])}."
        if (head and table == f"{key}.") or (not head and entry and table + _plain(entry[1]) == key):
            return number
    return None


def _plain(key: str) -> str:
    """A dotted key without quotes and blanks."""
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
