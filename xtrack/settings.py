"""What config.toml and the environment set."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from xtrack.config import Home, settings


class Secret:
    """A text that shows itself only when asked to."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "***"

    def reveal(self) -> str:
        return self._text


@dataclass(frozen=True)
class X:
    """How X is reached, how far a timeline is read back, how many posts a run may take, and prices in millionths of a
    dollar.
    """

    token: Secret | None = None
    base_url: str = "https://api.x.com"
    look_back: timedelta = timedelta(days=7)
    max_posts: int = 1000
    recheck: timedelta | None = timedelta(days=30)
    post_price: int = 5000
    user_price: int = 10000
    media_price: int = 0
    priced_on: date = date(2026, 8, 1)


@dataclass(frozen=True)
class Settings:
    """What is set. `parallel_runs` is how many runs of this home work at once, `budget` how much may be bought for all
    jobs together in a UTC month, in millionths of a dollar.
    """

    parallel_runs: int = 8
    budget: int | None = None
    x: X = X()


def load(home: Home, environ: Mapping[str, str]) -> Settings:
    """What the config and the environment say, or the defaults. Raises Misconfigured."""
    token, base_url = environ.get("XTRACK_X_TOKEN"), environ.get("XTRACK_X_BASE_URL") or X.base_url
    return Settings(settings(home, environ).parallel_runs, x=X(Secret(token) if token else None, base_url))
