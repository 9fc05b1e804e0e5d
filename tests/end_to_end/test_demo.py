"""The demo tells its story in a log: no warnings, the numbers that it explains, and a page that is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demo(tmp_path):
    command = [sys.executable, ROOT / "examples" / "demo.py", tmp_path / "demo"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    clean, random, ops = (
        list(map(float, numbers)) for numbers in re.findall(r"trained on \S+ +([\d.]+) +([\d.]+)", done.stdout)
    )
    assert min(*clean, random[0], ops[0]) > 95
    # "only half of the digits"
    assert 35 < ops[1] < 65 < random[1]
    picture, page = re.findall(r"(?:See|Open) (\S+?):", done.stdout)
    assert Path(picture).stat().st_size > 10_000
    assert "<html" in Path(page).read_text(encoding="utf-8")
