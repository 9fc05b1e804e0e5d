"""Write the measured tables into README.md, between its marks, from the records under results/.

python benchmarks/readme.py
"""

import re
from pathlib import Path

from cifar10_s.benchmark import Report
from cifar10_s.benchmark.sheet import markdown

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("grid", "5", "1")
MARKED = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def render(readme: str, records: Path = ROOT / "results" / "benchmark.jsonl") -> str:
    """Give the text with what the records hold between its marks."""
    report = Report.of([records])
    sheets = [sheet for group in report.groups for sheet in report.sheets(report.measured(*group), TABLES)]
    tables = "\n".join(map(markdown, sheets))
    return MARKED.sub(lambda marks: f"{marks[1]}\n{tables}\n{marks[2]}", readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
