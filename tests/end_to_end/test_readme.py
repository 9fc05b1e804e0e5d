"""README and docs/performance.md: the measured tables are those of the records."""

from xml.etree import ElementTree

import pytest

from cifar10_s.report.leaderboard import leaderboards
from speed import readme, shares, spread
from speed.timing import row, within


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_what_was_measured_is_that_of_the_records(page):
    rendered = readme.render(page)
    assert rendered.count("<!-- measured: begin -->") == len(readme.PAGES[page]())
    assert page.read_text(encoding="utf-8") == rendered, "run `make readme`"


def test_the_picture_of_the_limits_is_that_of_the_records():
    assert readme.SHARES.read_text(encoding="utf-8") == readme.draw_shares(), "run `make readme`"


def test_the_picture_of_survival_is_that_of_the_records():
    """Other versions of matplotlib draw other paths: the markers and names are compared."""
    board = leaderboards(readme.benchmark().records)[0]
    points = spread.points(board.record_set)
    assert {(one.configuration, one.augmentation) for one in points} >= {("ops", "Cutout"), ("ops-spread-2", "Cutout")}
    drawn, anew = (text.decode() for text in (readme.SURVIVAL.read_bytes(), readme.draw_survival()))
    assert drawn.count("<use ") == anew.count("<use ") > len(points), "run `make readme`"
    assert all(f">{one.configuration}<" in drawn and f">{one.augmentation}<" in drawn for one in points)


def test_a_row_within_its_limit_is_drawn_and_written_so():
    fine, short = within("fine & fast", 11.0, 10.0, 1.2), within("short", 20.0, 10.0, 1.5)
    picture = shares.draw({"Part": [fine, short, row("no limit", 1.0, "s")], "None": [row("none", 1.0, "s")]})
    names = {"svg": "http://www.w3.org/2000/svg"}
    bars = ElementTree.fromstring(picture).findall("svg:rect", names)[1:]
    assert [bar.get("class") for bar in bars] == ["bar", "bar short"]
    widths = [float(bar.get("width")) for bar in bars]
    assert widths[0] / widths[1] == pytest.approx(20 / 11, rel=1e-3)
    assert "fine &amp; fast" in picture
    assert ">91 %<" in picture
    assert ">110 %<" in shares.draw({"Part": [row("faster", 1.0, "s", limit=1.1)]})
    assert "None" not in picture
