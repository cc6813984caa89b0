"""Money in whole millionths of a dollar, which add up exactly."""

import re

_DOLLARS = re.compile(r"\$?([0-9]{1,7})(?:\.([0-9]{1,6}))?")
_MOST = 1_000_000 * 1_000_000
RULE = "dollars from 0 to a million, such as 5 or 0.50"


def parse(value: object) -> int:
    """Dollars as one types them, text or a number. Raises ValueError with the rule."""
    # A number's repr is the shortest that means it, so 0.1 is a tenth; very small ones have an exponent.
    text = f"{value:f}" if isinstance(value, float) and abs(value) < 1 else str(value)
    found = None if isinstance(value, bool) else _DOLLARS.fullmatch(text.strip())
    if not found or (micros := int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0"))) > _MOST:
        raise ValueError(RULE)
    return micros


def shown(micros: int) -> str:
    """As one writes it: $5.00, $0.005."""
    dollars, rest = divmod(micros, 1_000_000)
    return f"${dollars:,}.{f'{rest:06}'.rstrip('0').ljust(2, '0')}"
