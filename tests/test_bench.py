"""`make bench`: the tables that bench/README.md holds, the databases, the plot, the writers, X. Nothing is measured."""

import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest

from bench import growth, plot, table, writers, x
from bench.homes import Home, Spent
from bench.table import PARTS
from tests.test_packaging import REPOSITORY
from xtrack.store import Store

README = (REPOSITORY / "bench/README.md").read_text()
TITLE = "some day, some machine"
SVG = "{http://www.w3.org/2000/svg}"


def cells(printed: str, part: str, key: str) -> list[str]:
    """A row's cells after its name."""
    (found,) = (line for line in printed.splitlines() if line.startswith(f"| {PARTS[part][key].name} |"))
    return [cell.strip() for cell in found.split("|")[2:-1]]


@pytest.mark.parametrize("part", PARTS)
def test_readme_has_the_rows_that_are_measured_with_their_targets(part: str) -> None:
    assert table.names(README, part) == [row.name for row in PARTS[part].values()]
    printed = table.split(README, part)[1]
    blank = table.markdown(part, TITLE, {}, "not measured")
    for key, row in PARTS[part].items():
        measured, target, met = cells(printed, part, key)
        assert measured.endswith(row.unit) or measured.startswith("not measured"), row.name
        assert target == cells(blank, part, key)[1]
        assert bool(met) == (row.limit is not None and not measured.startswith("not measured"))


@pytest.mark.parametrize("part", PARTS)
def test_the_rows_of_a_part_have_names_of_their_own(part: str) -> None:
    names = [row.name for row in PARTS[part].values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(4.305, "×", "4.30×"), (13.56, "×", "13.6×"), (0.0312, "s", "0.031 s"), (812.4, "MB", "812 MB"), (7.0, "", "7")],
)
def test_numbers_have_the_digits_that_count(value: float, unit: str, text: str) -> None:
    assert table.number(value, unit) == text


@pytest.mark.parametrize(
    ("part", "key", "value", "row"),
    [
        ("commands", "help", 5.5, ["5.50×", "≤ 5.5×", "yes"]),
        ("commands", "help", 5.51, ["5.51×", "≤ 5.5×", "**no**"]),
        ("commands", "list", 3.0, ["3.00×", "≤ 6×, better 3×", "yes, the better one"]),
        ("commands", "list", 3.1, ["3.10×", "≤ 6×, better 3×", "yes"]),
        ("thousand", "herd_lost", 0.0, ["0", "0", "yes"]),
        ("thousand", "herd_lost", 1.0, ["1", "0", "**no**"]),
        ("thousand", "herd_memory", 801.0, ["801 MB", "≤ 800 MB", "**no**"]),
        ("thousand", "install", 2.5, ["2.50 s", "", ""]),
        ("data", "import_rate", 12345.6, ["12346 posts/s", "", ""]),
    ],
)
def test_a_row_says_whether_its_target_was_met(part: str, key: str, value: float, row: list[str]) -> None:
    assert cells(table.markdown(part, TITLE, {key: value}, "not measured"), part, key) == row


def test_what_was_not_measured_has_no_number_and_meets_nothing() -> None:
    printed = table.markdown("thousand", TITLE, {"install": 4.0}, "not measured: no systemd here")
    assert cells(printed, "thousand", "herd_ratio") == ["not measured: no systemd here", "≤ 1.3×", ""]


def test_drift_is_how_far_medians_lie_apart() -> None:
    assert table.drift([10.0, 11.0, 10.0, 9.0]) == pytest.approx(20)
    assert table.drift([10.0, 10.0]) == 0


def test_only_the_table_of_a_part_is_replaced() -> None:
    printed = table.markdown("growth", TITLE, {"growth_size": 12.5}, "not measured")
    replaced = table.replaced(README, "growth", printed)
    assert table.split(replaced, "growth")[1] == f"\n{printed}\n"
    assert table.split(replaced, "growth")[::2] == table.split(README, "growth")[::2]
    for part in PARTS.keys() - {"growth"}:
        assert table.split(replaced, part)[1] == table.split(README, part)[1]
    with pytest.raises(ValueError, match="no <!-- growth"):
        table.replaced("no marks here", "growth", printed)


# the database that has grown


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Path(sys.executable).parent, tmp_path / "measured")


@pytest.mark.slow
def test_a_database_that_sql_has_filled_is_as_runs_would_have_left_it(home: Home) -> None:
    growth.make(home, 1000)
    with closing(sqlite3.connect(home.database)) as db:
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
        for name in ("posts", "summaries"):  # raises where the index is not of what the table holds
            db.execute(f"INSERT INTO {name}_fts ({name}_fts, rank) VALUES ('integrity-check', 1)")
        assert db.execute("SELECT count(*), count(DISTINCT feed_id) FROM arrivals").fetchall() == [(1000, growth.JOBS)]
        assert db.execute("SELECT count(*) FROM arrivals WHERE feed_id = 1").fetchall() == [(500,)]
        assert db.execute("SELECT count(*) FROM summary_posts").fetchall() == [(10 * 24,)]
        assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    home.add(range(growth.FIRST_NEW, growth.FIRST_NEW + 20))
    home.run()
    with Store(home.database) as store:
        assert store.summaries(1, 1)[0].post_count == 20
        newest = store.found(f'"{growth.FIRST_NEW + 19:07x}"', None, 5)
        assert [hit.kind for hit in newest][-1] == "post"
        assert len(store.found(growth.COMMON, None, 5)) == 10


def test_memory_is_that_of_the_process_that_was_asked_for(home: Home) -> None:
    idle = home.nothing().megabytes
    holding = home.spent("python", "-c", "held = bytes(range(256)) * 200_000").megabytes
    assert 4 < idle < 40
    assert 45 < holding - idle < 60


def test_what_fails_is_no_measurement(home: Home) -> None:
    with pytest.raises(Exception, match="non-zero exit status 3"):
        home.spent("python", "-c", "raise SystemExit(3)")


# the plot

LINES: dict[str, plot.Points] = {
    "rises & falls": [(0, 0.1), (1000, 0.4), (5_000_000, 0.2)],
    "level": [(0, 0.3), (1000, 0.3), (5_000_000, 0.3)],
}


def drawn(series: Mapping[str, plot.Points]) -> ElementTree.Element:
    return ElementTree.fromstring(plot.svg("A <title>", "posts", "seconds", series))


def test_a_plot_has_a_line_and_a_name_for_each_series() -> None:
    root = drawn(LINES)
    lines = [line for line in root.iter(f"{SVG}polyline") if len(str(line.get("points")).split()) == 3]
    assert len(lines) == len(LINES)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {*LINES, "A <title>", "0", "1k", "5M"} <= set(texts)
    assert any("posts" in text and "logarithmic" in text for text in texts)
    assert any("seconds" in text and "logarithmic" in text for text in texts)


def test_more_is_higher_and_further_right_and_all_is_inside_of_the_axes() -> None:
    rises, level = (
        [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
        for line in drawn(LINES).iter(f"{SVG}polyline")
        if len(str(line.get("points")).split()) == 3
    )
    assert rises[0][0] < rises[1][0] < rises[2][0]
    assert rises[1][1] < rises[2][1] < rises[0][1]  # down is more in SVG
    assert len({y for _, y in level}) == 1
    assert all(0 < x < plot.WIDTH and 0 < y < plot.HEIGHT for x, y in [*rises, *level])


def test_as_far_apart_is_as_many_times_more() -> None:
    root = drawn({"doubles": [(1000, 0.1), (10_000, 0.2), (100_000, 0.4)]})
    *_, line = root.iter(f"{SVG}polyline")
    (x1, y1), (x2, y2), (x3, y3) = (tuple(map(float, p.split(","))) for p in str(line.get("points")).split())
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y2 - y1 == pytest.approx(y3 - y2, abs=0.2)


def test_the_plot_has_colours_for_dark_pages_and_a_page_of_its_own() -> None:
    text = plot.svg("title", "posts", "seconds", LINES)
    assert "prefers-color-scheme:dark" in text
    assert 'class="page"' in text


def test_readme_shows_the_plot_that_was_drawn() -> None:
    assert "](growth.svg)" in README
    drawing = ElementTree.fromstring((REPOSITORY / "bench/growth.svg").read_text())
    names = ["".join(text.itertext()) for text in drawing.iter(f"{SVG}text")]
    assert set(growth.series([])) <= set(names)


# the writers


def test_of_many_that_write_at_once_none_fails(home: Home) -> None:
    feeds = writers.make_jobs(home, 40)
    assert writers.write_at_once(home.database, feeds)["writers_failed"] == 0
    with Store(home.database) as store:
        assert len(store.summaries(limit=100)) == 40
        assert store.all("SELECT count(DISTINCT post_id) FROM arrivals")[0][0] == 40 * writers.POSTS


# X


@pytest.mark.slow
def test_each_reader_has_to_have_all_new_posts_that_x_and_the_feed_have(home: Home, tmp_path: Path) -> None:
    nothing = x.Reader(lambda _: Spent(1, 1), lambda: "")
    with x.servers(tmp_path / "served") as there:
        new = there.publish()
        items = ElementTree.fromstring(urlopen(there.feed).read()).iter("item")
        assert [item.findtext("guid") for item in items] == [post.id for post in reversed(new)]
        ours = {"xtrack": x.xtrack(home, there)}
        assert x.read(ours, there, "1", new).keys() == {"xtrack_new", "xtrack_quiet"}
        with pytest.raises(RuntimeError, match="nothing has not read 100 of 100"):
            x.read({"nothing": nothing}, there, "1", new)
        # The feed is not sent again to whom has it, and is newer by the next turn, however soon that comes.
        asked_now = Request(there.feed, headers={"If-Modified-Since": formatdate(usegmt=True)})
        with pytest.raises(HTTPError, match="304"):
            urlopen(asked_now)
        newer = there.publish()
        assert int(newer[0].id) > int(new[-1].id)
        assert urlopen(asked_now).status == 200
        x.read(ours, there, new[-1].id, newer)
        with pytest.raises(HTTPError):
            urlopen(f"{there.x.url}/2/users/{x.ACCOUNT}/tweets")
        with pytest.raises(RuntimeError, match="X does not take everything"):
            x.read(ours, there, newer[-1].id, newer)
    with Store(home.database) as store:
        assert [summary.post_count for summary in store.summaries(1, 9)][-4:] == [0, 100, 0, 100]


def test_runs_at_x_are_told_as_multiples() -> None:
    seconds = {"pass": 0.01, "xtrack_quiet": 0.1, "xtrack_new": 0.2, **{f"{name}_quiet": 0.4 for name in x.PEERS}}
    turns = [{name: Spent(value * factor, 20) for name, value in seconds.items()} for factor in (1, 5, 1, 1)]
    values = x.values(turns)
    assert values["x_pass"] == pytest.approx(10)
    assert values["x_xtrack_new"] == pytest.approx(20)
    assert values["x_of_urlwatch"] == pytest.approx(0.25)
    assert values["x_xtrack_new_memory"] == 20
