"""Write what was measured into README.md and docs/, between their marks, from the records in results/; draw pictures.

python -m speed.readme
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from cifar10_s import Choices, load_images, search
from cifar10_s.benchmark.record import Record
from cifar10_s.report.figures import gallery
from cifar10_s.report.formats import write_markdown
from cifar10_s.report.leaderboard import leaderboards
from cifar10_s.report.plot_style import page_svg
from cifar10_s.report.report import Report
from cifar10_s.report.survival_plot import survival
from speed import billion, cluster, shares, spread
from speed.timing import percent

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
SHARES = ROOT / "docs" / "limits.svg"
SURVIVAL = ROOT / "docs" / "survival.svg"
SPEEDS = {
    "Whole commands": "commands-cifar10-jpeg.json",
    "In memory": "speed-cifar10-jpeg.json",
    "Beyond memory": "scale-cifar10-jpeg.json",
    "Own images": "own-generated.json",
    "Reading files": "reading-generated.json",
}
TABLES = ("grid", "5", "6", "1", "apbench", "iss", "bridgepure", "cuda", "pil", "dune", "dilution")
# README's own table.
SHOWN = {
    "configuration": ("clean", "ops", "em-ops", "ops-spread-2", "em-ops-patches-4"),
    "strategy": ("standard", "cutout", "randaugment", "jpeg-10", "at"),
}
# The noise of the second was made without bfloat16: its pixels are others by the same recipe.
RECORDS = ("benchmark.jsonl", "benchmark-float32.jsonl")
MARKED = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def accuracies() -> str:
    """Return the tables in which the benchmark's records have something."""
    report = benchmark()
    tables = (
        table
        for record_set in report.record_sets()
        for table in (*report.filled_tables(record_set, TABLES), *report.robust_tables(record_set))
    )
    return "\n".join(write_markdown(tables))


def few_accuracies() -> str:
    """Return README's table: a row for each of some configurations, under some strategies, of the first records."""
    report = Report.read(RESULTS / RECORDS[0])
    shown = [record for record in report.records if _is_shown(record.settings.coordinates)]
    report = replace(report, records=tuple(shown), pixels=_most_measured(shown))
    tables = (report.filled_tables(record_set, ["grid"]) for record_set in report.record_sets())
    return "\n".join(write_markdown(chain.from_iterable(tables)))


def _most_measured(records: Iterable[Record]) -> dict[str, str]:
    """Return the first digits of the pixels with most records, by configuration, of those with several.

    EM's noise is not bit-identical across processors.
    """
    counts: dict[str, Counter[str]] = {}
    for record in records:
        counts.setdefault(record.settings.configuration, Counter())[record.settings.pixels_sha256[:8]] += 1
    return {name: digests.most_common(1)[0][0] for name, digests in counts.items() if len(digests) > 1}


def _is_shown(coordinates: Mapping[str, str]) -> bool:
    return all(coordinates[axis] in names for axis, names in SHOWN.items())


def draw_picture() -> None:
    """Draw README's picture: the shortcut on the first digits of the sample."""
    images = load_images("sample", choices=Choices(classes=("0:4",)))
    shortcut = search(images, device="cpu")
    title = "scikit-learn's digits with ops"
    gallery(images, shortcut.stamp(images), title, shortcut).save(ROOT / "docs" / "shortcut.png", optimize=True)


def benchmark() -> Report:
    """Read the benchmark's records."""
    return Report.read([RESULTS / name for name in RECORDS])


def survivals() -> list[str]:
    """Return the tables of the shortcuts of the first records."""
    return spread.tables(next(iter(benchmark().record_sets())))


def draw_survival() -> bytes:
    """Draw what augmentation leaves of shortcuts against what was learned from them, by the first records."""
    board = leaderboards(benchmark().records)[0]
    return page_svg(survival(spread.points(board.record_set), board))


def speeds() -> str:
    """Return the records of `make speed`, row for row, with what they were measured on."""
    return "\n".join(map(_speeds, SPEEDS))


def draw_shares() -> str:
    """Draw the share of its limit that each row of the records reaches."""
    return shares.draw({title: _record(title)["rows"] for title in SPEEDS})


def _record(title: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / SPEEDS[title]).read_text(encoding="utf-8")))


def _speeds(title: str) -> str:
    record = _record(title)
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    machine = f"{record['cores']} cores of an {record['processor']}, Python {record['python']}, {libraries}."
    head = ["| what | measured | must be | at best | times | share |", "| --- | --: | --- | --: | --: | --: |"]
    return "\n".join([f"## {title}", "", machine, "", *head, *map(_row, record["rows"])]) + "\n"


def _row(row: dict[str, Any]) -> str:
    limit = " |  | "
    if "limit" in row:
        limit = f"{_figure(row['limit'])} {row['unit']} | {1 / row['share']:.3g} | {percent(row['share'])}"
    what = row["what"].replace("`", "")
    return f"| {what} | {_figure(row['value'])} {row['unit']} | {row.get('must', '')} | {limit} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def scales() -> list[str]:
    """Return the tables of a billion images, and of the simulated cluster."""
    return [billion.table(_record("Own images")), cluster.table(_simulated())]


def _simulated() -> dict[str, Any]:
    return dict(json.loads(cluster.RESULTS.read_text(encoding="utf-8")))


# What stands between the marks of each page, in order.
PAGES: dict[Path, Callable[[], list[str]]] = {
    ROOT / "README.md": lambda: [few_accuracies()],
    ROOT / "docs" / "results.md": lambda: [accuracies()],
    ROOT / "docs" / "performance.md": lambda: [speeds()],
    ROOT / "docs" / "scale.md": scales,
    ROOT / "docs" / "spread.md": survivals,
}


def render(page: Path) -> str:
    """Return a page's text with what was measured between its marks."""
    measured = iter(PAGES[page]())
    return MARKED.sub(lambda marks: f"{marks[1]}\n{next(measured)}\n{marks[2]}", page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    benchmark().plot(RESULTS / "plots")
    draw_picture()
    SHARES.write_text(draw_shares(), encoding="utf-8")
    SURVIVAL.write_bytes(draw_survival())
    for name, picture in cluster.draw(_simulated()).items():
        (ROOT / "docs" / f"cluster-{name}.svg").write_bytes(picture)
    for page in PAGES:
        page.write_text(render(page), encoding="utf-8")
