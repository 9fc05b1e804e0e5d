"""README: its measured tables are those of the records."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_measured_tables_are_those_of_the_records():
    readme = (ROOT / "README.md").read_text()
    rendered = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))["render"](readme)
    assert "| random-pixel |" in rendered
    assert readme == rendered, "run `make readme`"
