"""A plot as SVG, of lines over two logarithmic axes, readable on light and dark pages. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 736, 92, 384
# Colours that the colour-blind tell apart too (Okabe and Ito, 2008), lighter on dark; and each line has its own dashes.
_LIGHT = ("#0072b2", "#b34700", "#00704f", "#8a4a86")
_DARK = ("#56b4e9", "#f0a050", "#2fc493", "#d79ac0")
_DASHES = ("", "6 4", "2 3", "10 3 2 3")


def svg(title: str, across: str, up: str, series: Mapping[str, Points]) -> str:
    """The plot of at most four lines by their names; `across` and `up` label the axes.

    An x of 0, which has no logarithm, stands one decade before the smallest other.
    """
    xs = sorted({x for points in series.values() for x, _ in points})
    ys = [y for points in series.values() for _, y in points]
    first = min(x for x in xs if x > 0) / 10
    steps = _steps(min(ys), max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        return _on(_LEFT, _RIGHT, first, xs[-1], x or first), _on(_BOTTOM, _TOP, steps[0], steps[-1], y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" class="page"/>',
        _text(_LEFT, 28, title, "title"),
        *_legend(series),
        *(_horizontal(place(first, y)[1], y) for y in steps),
        *(_text(place(x, steps[0])[0], _BOTTOM + 20, _short(x), "middle") for x in xs),
        _text((_LEFT + _RIGHT) / 2, HEIGHT - 14, f"{across} (logarithmic; 0 apart)", "middle"),
        f'<g transform="rotate(-90)">{_text(-(_TOP + _BOTTOM) / 2, 20, f"{up} (logarithmic)", "middle")}</g>',
        *(part for n, line in enumerate(series.values()) for part in _line(n, [place(x, y) for x, y in line])),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _on(begin: float, end: float, least: float, most: float, value: float) -> float:
    """Where a value is on a logarithmic axis."""
    return begin + (end - begin) * math.log(value / least) / math.log(most / least)


def _steps(least: float, most: float) -> list[float]:
    """1, 2, 5, 10 … with all values between the first and the last."""
    decades = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 2)
    steps = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    low = max(step for step in steps if step <= least)
    high = min(step for step in steps if step >= most and step > low)
    return [step for step in steps if low <= step <= high]


def _short(value: float) -> str:
    """A round number as on an axis: 10k, 5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _legend(series: Iterable[str]) -> Iterable[str]:
    """The names, two in a row."""
    for number, name in enumerate(series):
        x, y = _LEFT + 330 * (number % 2), 52 + 20 * (number // 2)
        yield from _line(number, [(x, y - 4), (x + 34, y - 4)])
        yield _text(x + 42, y, name, "")


def _horizontal(y: float, value: float) -> str:
    line = f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
    return line + _text(_LEFT - 8, y + 4, f"{value:g}", "end")


def _line(number: int, places: Sequence[tuple[float, float]]) -> Iterable[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" class="line c{number}"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" class="c{number}"/>' for x, y in places)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _style() -> str:
    """Light, unless the reader's system is dark: the plot has a page of its own, so that it fits any."""
    rules = [
        "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}",
        ".middle{text-anchor:middle}.end{text-anchor:end}.page{fill:#fff}.grid{stroke:#d1d9e0}",
        ".line{fill:none;stroke-width:2}circle{stroke:none}",
        *(
            f".line.c{n}{{stroke:{c};stroke-dasharray:{_DASHES[n] or 'none'}}}circle.c{n}{{fill:{c}}}"
            for n, c in enumerate(_LIGHT)
        ),
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.grid{stroke:#30363d}",
        *(f".line.c{n}{{stroke:{c}}}circle.c{n}{{fill:{c}}}" for n, c in enumerate(_DARK)),
        "}",
    ]
    return "".join(rules)
