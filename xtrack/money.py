"""Money in whole millionths of a dollar, which add up exactly."""

import re

_DOLLARS = re.compile(r"\$?([0-9]{1,7})(?:\.([0-9]{1,6}))?")
_MICROS = 1_000_000
_MOST = 1_000_000 * _MICROS
RULE = "dollars from 0 to a million, such as 5 or 0.50, with six decimals at most"


def parse(value: object) -> int:
    """Dollars as one types them, text or a number. Raises ValueError with the rule."""
    micros = _micros(value)
    if micros is None or not 0 <= micros <= _MOST:
        raise ValueError(RULE)
    return micros


def _micros(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value * _MICROS
    text = value if isinstance(value, str) else ""
    if isinstance(value, float):
        # Six decimals mean this very number, or it has more of them.
        text = f"{value:f}" if float(f"{value:f}") == value else ""
    found = _DOLLARS.fullmatch(text.strip())
    return int(found[1]) * _MICROS + int((found[2] or "").ljust(6, "0")) if found else None


def shown(micros: int) -> str:
    """As one writes it: $5.00, $0.005."""
    dollars, rest = divmod(micros, _MICROS)
    return f"${dollars:,}.{f'{rest:06}'.rstrip('0').ljust(2, '0')}"
