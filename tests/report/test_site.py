"""The site says what the records say, marks what others submitted, and works from disk, by keyboard, and narrow."""

import json
import re
from pathlib import Path
from statistics import fmean

import pytest
import yaml
from support.browser import Parsed, outcome, violations
from support.submissions import PIXELS, SUBMITTER, TEST, changed, submitted, written
from support.synthetic_records import record

import cifar10_s
from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.submission import read_submission
from cifar10_s.cli.app import run
from cifar10_s.errors import SourceError, UsageError, VerificationError
from cifar10_s.release.reader import Release
from cifar10_s.report.leaderboard import leaderboards
from cifar10_s.report.page.site import sparkline, write_site
from cifar10_s.report.survival_plot import survival_points
from cifar10_s.shortcut.survival import measure_survival

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "results" / "benchmark.jsonl"
DARK = "--blink-settings=preferredColorScheme=0"


def boards_of(lines, submissions=()):
    return leaderboards(tuple(map(Record.parse, lines)), submissions)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    lines = [submitted(seed=seed, final=12.0 + seed) for seed in range(3)]
    lines.append(submitted("ops", pixels=PIXELS["ops"], strategy="mine:Defence", final=71.25))
    return written(tmp_path_factory.mktemp("submission") / "s.jsonl", lines)


@pytest.fixture(scope="module")
def site(tmp_path_factory, submission):
    return write_site(tmp_path_factory.mktemp("site") / "site", [OURS], submissions=[submission])


@pytest.fixture(scope="module")
def index(site):
    return (site / "index.html").read_text(encoding="utf-8")


def test_a_cell_is_the_mean_of_its_runs():
    (board,) = boards_of(lines_of(OURS))
    finals, digests = {}, {}
    for line in lines_of(OURS):
        digests.setdefault(line["settings"]["configuration"], set()).add(line["settings"]["pixels_sha256"])
    for line in lines_of(OURS):
        name, digest = line["settings"]["configuration"], line["settings"]["pixels_sha256"]
        # A configuration with several sets of pixels has a row for each.
        row = f"{name} {digest[:8]}" if len(digests[name]) > 1 else name
        finals.setdefault((row, line["settings"]["strategy"]["name"]), []).append(line["results"]["final"])
    cells = {(row.configuration, name): cell for row in board.rows for name, cell in row.cells.items()}
    measured = {place: cell for place, cell in cells.items() if cell.stats.values}
    assert measured.keys() == finals.keys()
    assert all(cell.stats.mean == pytest.approx(fmean(finals[place])) for place, cell in measured.items())
    assert all(cell.curve[-1] == pytest.approx(cell.stats.mean) for cell in measured.values())
    for row in board.rows:
        means = [fmean(values) for (name, _), values in finals.items() if name == row.configuration]
        assert row.cells[row.best].stats.mean == pytest.approx(max(means))
        assert len(row.defences) == len(means)


def test_published_numbers_are_those_of_the_papers():
    (board,) = boards_of(lines_of(OURS))
    rows = {row.configuration: row for row in board.rows}
    assert str(rows["ops"].cells["standard"].published) == "15.56"
    assert rows["ops"].best_published == ("randaugment-ops", 71.18)
    # Wu et al., APBench, ISS, BridgePure.
    assert str(rows["ops-std"].cells["standard"].published) == "13.67–36.55"
    assert "The APBench leaderboard" in " ".join(board.captions)
    elsewhere = boards_of([record("ops", source="digits", test="00")])
    assert elsewhere[0].captions == []


def test_what_needs_clean_images_is_no_defence():
    lines = [record("ops", final=10.0), record("ops", "dilution-5000", final=70.0), record("ops", "cutout", final=50.0)]
    lines[1]["settings"]["clean_sha256"] = "00"
    (row,) = boards_of(lines)[0].rows
    assert (row.best, row.defences) == ("cutout", ("standard", "cutout"))
    failed = boards_of([record("ops", final=None)])[0].rows[0]
    assert (failed.best, failed.defences) == (None, ())


def test_no_mean_is_of_ours_and_of_others(submission):
    read = read_submission(submission)
    ours = [line for line in lines_of(OURS) if line["settings"]["test_sha256"] == TEST]
    (board,) = boards_of(ours, [read])
    (alone,) = boards_of(ours)
    assert [row for row in board.rows if row.submitter is None] == list(alone.rows)
    theirs = {row.configuration: row for row in board.rows if row.submitter is not None}
    assert theirs.keys() == {"ops", "two-pixel-wonder"}
    assert theirs["ops"].cells.keys() == {"mine:Defence"}
    assert theirs["two-pixel-wonder"].cells["standard"].stats.values == (12.0, 13.0, 14.0)
    assert all(cell.published is None for row in theirs.values() for cell in row.cells.values())


def test_others_call_their_copy_of_the_same_images_by_another_name(tmp_path):
    lines = [submitted(), submitted(seed=1, final=14.0)]
    lines[0]["settings"]["source"] = "“my-cifar10”"
    lines[0]["id"] = cifar10_s.common.records.run_id(lines[0]["settings"])
    (board,) = boards_of(lines_of(OURS), [read_submission(written(tmp_path / "s.jsonl", lines))])
    assert board.rows[-1].cells["standard"].stats.values == (12.0, 14.0)


def test_each_protocol_and_network_has_a_leaderboard():
    lines = [record("ops"), record("ops", network="vgg-16"), record("ops", protocol="quick-v1", network="resnet-18")]
    places = [(one.record_set.protocol, one.network) for one in boards_of(lines)]
    assert places == [("quick-v1", "resnet-18"), ("cpu-v1", "small"), ("cpu-v1", "vgg-16")]


def test_a_network_that_started_from_weights_has_its_own():
    lines = [submitted("clean", final=50.0), changed(submitted(), "settings", "weights_sha256", value="cd" * 32)]
    plain, started = boards_of(lines)
    assert (plain.network, started.network) == ("small", "small from cdcdcdcd")
    (row,) = started.rows
    assert row.cells["standard"].stats.values == (12.0,)


def test_the_line_of_a_cell_ends_at_its_accuracy():
    assert sparkline([0.0, 50.0, 100.0]) == "0,20 30,10 60,0"
    assert sparkline([40.0]) == "0,12"


@pytest.mark.work
def test_the_site_is_whole_and_loads_nothing(site, index):
    parsed = Parsed(index)
    assert sorted(path.name for path in site.iterdir()) == [
        "README.md", "index.html", "records.jsonl", "submitted-1.jsonl",
    ]  # fmt: skip
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in parsed.all("a"):
        href = attributes["href"]
        if href.startswith("https://"):
            assert href in (SUBMITTER["paper"], SUBMITTER["code"])
            assert attributes["rel"] == "nofollow noopener"
        else:
            assert href.removeprefix("#") in ids if href.startswith("#") else (site / href).is_file()
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert "src" not in attributes or attributes["src"].startswith("data:image/svg+xml;base64,")
    assert "default-src 'none'" in index
    assert not re.search(r"@import|url\(", index)
    assert "80.5 → 10.3 %" in parsed.text("header")
    assert len(index) < 1_000_000


def test_what_others_submitted_is_marked(index, site):
    parsed = Parsed(index)
    assert parsed.text("small").count("as submitted: Two-Pixel Wonder") == 2
    assert "4 runs as submitted by Two-Pixel Wonder; nobody has repeated them" in parsed.text("li")
    whole = index + (site / "submitted-1.jsonl").read_text()
    assert SUBMITTER["contact"] not in whole


def test_the_records_can_be_downloaded(site, submission):
    assert lines_of(site / "records.jsonl") == lines_of(OURS)
    header, *lines = lines_of(site / "submitted-1.jsonl")
    assert header == {"submission": {name: SUBMITTER[name] for name in ("name", "paper", "code")}}
    assert lines == lines_of(submission)[1:]


def test_the_hub_s_spaces_take_it(site):
    _, header, _ = (site / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(header)
    assert (said["sdk"], said["app_file"]) == ("static", "index.html")
    assert {"title", "emoji", "colorFrom", "colorTo", "pinned"} <= said.keys()


def test_with_a_release_it_has_galleries_and_what_augmentation_leaves(release, tmp_path):
    opened = Release(release.folder)
    lines = [
        record(name, strategy, curve=(20, 40, 60), pixels=opened.digest(name), test=opened.test_digest, source="digits")
        for name in ("clean", "ops", "lsp-ops") for strategy in ("standard", "cutout", "mixup")
    ]  # fmt: skip
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = write_site(tmp_path / "site", [path], release=release.folder)
    assert (folder / "galleries.html").read_text().startswith("<!DOCTYPE html>")
    parsed = Parsed((folder / "index.html").read_text())
    assert "galleries.html" in [attributes["href"] for attributes in parsed.all("a")]
    assert any("What augmentation leaves of the shortcut" in one["alt"] for one in parsed.all("img"))
    (board,) = boards_of(lines)
    left = measure_survival(opened.recipe("ops").shortcut, (8, 8))
    # The noise of lsp-ops is not counted, and mixup leaves all pixels.
    points = [(one.configuration, one.augmentation, one.told, one.accuracy) for one in survival_points(opened, board)]
    assert points == [("ops", name, 100 * left[name].accuracy, 60.0) for name in ("crop and flip", "Cutout")]


def test_hostile_records_are_but_text(tmp_path):
    hostile = "<img src=x onerror=alert(1)>\"' "
    path = tmp_path / "bench.jsonl"
    lines = [record(hostile, hostile, source=hostile, test="ff"), record("clean", source=hostile, test="ff")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = (write_site(tmp_path / "site", [path], plots=False) / "index.html").read_text()
    assert "<img" not in text
    assert hostile.strip() in Parsed(text).text("code")


def test_nothing_that_is_refused_reaches_the_page(tmp_path, capfd):
    bad = written(tmp_path / "s.jsonl", [submitted("<script>alert(1)</script>"), submitted("ops")])
    assert run(["site", str(tmp_path / "site"), "--records", str(OURS), "--submission", str(bad)]) == 1
    assert capfd.readouterr().err.count("\n") == 2
    assert not (tmp_path / "site").exists()


def test_only_a_site_is_replaced(tmp_path):
    folder = tmp_path / "site"
    write_site(folder, [OURS], plots=False)
    (folder / "submitted-1.jsonl").write_text("of a site before")
    write_site(folder, [OURS], plots=False)
    assert not (folder / "submitted-1.jsonl").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "mine" / "records.jsonl").write_bytes(OURS.read_bytes())
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(UsageError, match=r"holds other than a site, such as thesis\.tex: expected"):
            write_site(taken, [OURS], plots=False)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    with pytest.raises(SourceError, match="does not exist"):
        write_site(tmp_path / "new", [tmp_path / "absent"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


def test_a_release_that_does_not_verify_has_no_site(release, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in release.folder.iterdir():
        (folder / path.name).symlink_to(path)
    with pytest.raises(VerificationError, match="does not verify"):
        write_site(tmp_path / "site", [OURS], release=folder, plots=False)
    assert not (tmp_path / "site").exists()


def test_the_table_is_sorted_and_filtered(index, tmp_path):
    script = """
    const board = document.querySelector(".leaderboard");
    const buttons = [...board.querySelectorAll("thead button")], heads = [...board.querySelectorAll("thead th")];
    const seen = () => [...board.querySelectorAll("tbody tr")].filter((one) => !one.hidden);
    const column = (place) => seen().map((one) => one.cells[place].dataset.value ?? null);
    const press = (place) => { buttons[place].focus(); buttons[place].click(); return column(place); };
    const rises = press(1), falls = press(1), state = heads.map((one) => one.getAttribute("aria-sort"));
    const names = press(0);
    const type = (name, value) => set(board.querySelector(`[data-filter=${name}]`), {value});
    type("row", "OPS"); type("column", "cutout");
    const rows = seen().map((one) => one.cells[0].querySelector("code").textContent);
    const columns = heads.filter((one) => !one.hidden).map((one) => one.textContent);
    const status = board.querySelector("output").textContent;
    type("row", "wonder");
    const theirs = seen().length;
    type("row", ""); type("column", "");
    say({rises, falls, state, names, rows, columns, status, theirs, all: seen().length});
    """
    said = outcome(tmp_path, index, script)
    numbers = [float(value) for value in said["rises"] if value is not None]
    assert numbers == sorted(numbers)
    assert [float(value) for value in said["falls"] if value is not None] == numbers[::-1]
    # What is missing comes last in either order.
    missing = said["rises"].count(None)
    assert said["rises"][len(numbers) :] == said["falls"][len(numbers) :] == [None] * missing
    assert said["state"][:2] == [None, "descending"]
    assert len(said["names"]) == said["all"]
    assert all("ops" in name for name in said["rows"])
    assert said["columns"] == ["configuration", "best accuracy that any defence reaches", "cutout"]
    assert said["status"].startswith(f"{len(said['rows'])} of {said['all']} configurations, 1 of ")
    # Rows of a submitter are found by his name.
    assert said["theirs"] == 2


def test_nothing_scrolls_sideways_but_the_table(index, tmp_path):
    script = """
    for (const one of document.querySelectorAll("details")) one.open = true;
    const root = document.documentElement, width = root.clientWidth;
    const out = [...document.querySelectorAll("body *")].filter((one) => !one.parentElement.closest(".scroll")
      && !one.matches(".skip") && one.getBoundingClientRect().right > width + 0.5);
    const scroll = Math.max(root.scrollWidth, document.body.scrollWidth);
    say({scroll, out: out.map((one) => one.outerHTML.slice(0, 99))});
    """
    for width in (390, 1280):
        said = outcome(tmp_path, index, script, width=width)
        assert said == {"scroll": width, "out": []}


@pytest.mark.parametrize(("flags", "width"), [((), 1280), ((DARK,), 390)], ids=["light", "dark and narrow"])
def test_axe_finds_nothing(index, tmp_path, flags, width):
    assert violations(tmp_path, index, *flags, width=width) == []
