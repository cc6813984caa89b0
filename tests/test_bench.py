"""The table of `make bench`: bench/README.md holds what it prints. Nothing here measures."""

import pytest

from bench import table
from bench.table import ROWS
from tests.test_packaging import REPOSITORY

README = (REPOSITORY / "bench/README.md").read_text()
TITLE = "some day, some machine"


def cells(text: str, key: str) -> list[str]:
    """A row's cells after its name."""
    (found,) = (line for line in text.splitlines() if line.startswith(f"| {ROWS[key].name} |"))
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_readme_has_the_rows_that_are_measured_with_their_targets() -> None:
    assert table.names(README) == [row.name for row in ROWS.values()]
    blank = table.markdown(TITLE, {}, "not measured")
    for key, row in ROWS.items():
        measured, target, met = cells(README, key)
        assert measured.endswith(row.unit) or measured.startswith("not measured"), row.name
        assert target == cells(blank, key)[1]
        assert bool(met) == (row.limit is not None and not measured.startswith("not measured"))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(4.305, "×", "4.30×"), (13.56, "×", "13.6×"), (0.0312, "s", "0.031 s"), (812.4, "MB", "812 MB"), (7.0, "", "7")],
)
def test_numbers_have_the_digits_that_count(value: float, unit: str, text: str) -> None:
    assert table.number(value, unit) == text


@pytest.mark.parametrize(
    ("key", "value", "row"),
    [
        ("help", 5.5, ["5.50×", "≤ 5.5×", "yes"]),
        ("help", 5.51, ["5.51×", "≤ 5.5×", "**no**"]),
        ("list", 3.0, ["3.00×", "≤ 6×, better 3×", "yes, the better one"]),
        ("list", 3.1, ["3.10×", "≤ 6×, better 3×", "yes"]),
        ("herd_lost", 0.0, ["0", "0", "yes"]),
        ("herd_lost", 1.0, ["1", "0", "**no**"]),
        ("herd_memory", 801.0, ["801 MB", "≤ 800 MB", "**no**"]),
        ("install", 2.5, ["2.50 s", "", ""]),
    ],
)
def test_a_row_says_whether_its_target_was_met(key: str, value: float, row: list[str]) -> None:
    assert cells(table.markdown(TITLE, {key: value}, "not measured"), key) == row


def test_what_was_not_measured_has_no_number_and_meets_nothing() -> None:
    printed = table.markdown(TITLE, {"help": 4.0}, "not measured: no systemd here")
    assert cells(printed, "herd_ratio") == ["not measured: no systemd here", "≤ 1.3×", ""]


def test_drift_is_how_far_medians_lie_apart() -> None:
    assert table.drift([10.0, 11.0, 10.0, 9.0]) == pytest.approx(20)
    assert table.drift([10.0, 10.0]) == 0


def test_only_the_table_is_replaced() -> None:
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    printed = table.markdown(TITLE, {}, "not measured")
    assert table.replaced(text, printed) == f"before\n{table.BEGIN}\n{printed}\n{table.END}\nafter\n"
    assert table.names(table.replaced(text, printed)) == [row.name for row in ROWS.values()]
    with pytest.raises(ValueError, match="no <!--"):
        table.replaced("no marks here", printed)
