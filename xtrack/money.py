"""Money in whole millionths of a dollar."""


def parse(text: str) -> int:
    """Dollars as one types them. Raises ValueError with the rule."""
    whole, _, rest = text.strip().removeprefix("$").partition(".")
    if not (whole.isdecimal() and whole.isascii() and len(whole) <= 7 and len(rest) <= 6 and (rest or "0").isdecimal()):
        raise ValueError("dollars, such as 5 or 0.50")
    return int(whole) * 1_000_000 + int(rest.ljust(6, "0"))


def shown(micros: int) -> str:
    """As one writes it."""
    text = f"{micros / 1_000_000:,.6f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"
