"""Write what was measured into README.md and docs/performance.md, between their marks, from the records in results/.

python benchmarks/readme.py
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifar10_s.benchmark import Report
from cifar10_s.benchmark.sheet import Sheet, markdown

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
SPEEDS = {
    "In memory": "bench-cifar10-jpeg.json",
    "Beyond memory": "scale-cifar10-jpeg.json",
    "Own images": "own-generated.json",
}
# Of the second, noise and networks were made without bfloat16: its pixels are others by the same recipe.
TABLES = {"benchmark.jsonl": ("grid", "5", "1", "6"), "benchmark-float32.jsonl": ("grid",)}
MARKED = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def accuracies() -> str:
    """Give the tables in which the benchmark's records have something."""
    return "\n".join(markdown(sheet) for records, names in TABLES.items() for sheet in _sheets(records, names))


def _sheets(records: str, names: tuple[str, ...]) -> Iterator[Sheet]:
    report = Report.of([RESULTS / records])
    for group in report.groups:
        measured = report.measured(*group)
        yield from report.sheets(measured, names)
        yield from report.robust(measured)


def speeds() -> str:
    """Give the records of `make bench`, row for row, with what they were measured on."""
    return "\n".join(map(_speeds, SPEEDS))


def _speeds(title: str) -> str:
    record = json.loads((RESULTS / SPEEDS[title]).read_text(encoding="utf-8"))
    libraries = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    machine = f"{record['cores']} cores of an {record['processor']}, Python {record['python']}, {libraries}."
    head = ["| what | measured | must be | at best | share |", "| --- | --: | --- | --: | --: |"]
    return "\n".join([f"## {title}", "", machine, "", *head, *map(_row, record["rows"])]) + "\n"


def _row(row: dict[str, Any]) -> str:
    limit = f"{_figure(row['limit'])} {row['unit']} | {100 * row['share']:.2g} %" if "limit" in row else " | "
    what = row["what"].replace("`", "")
    return f"| {what} | {_figure(row['value'])} {row['unit']} | {row.get('must', '')} | {limit} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


PAGES = {ROOT / "README.md": accuracies, ROOT / "docs" / "performance.md": speeds}


def render(page: Path) -> str:
    """Give a page's text with what was measured between its marks."""
    measured = PAGES[page]()
    return MARKED.sub(lambda marks: f"{marks[1]}\n{measured}\n{marks[2]}", page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    Report.of([RESULTS / "benchmark.jsonl"]).plot(RESULTS / "plots")
    for page in PAGES:
        page.write_text(render(page), encoding="utf-8")
