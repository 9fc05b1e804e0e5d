"""A bare installation searches, builds, verifies, loads and trains; errors name the extra that is missing."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"bench": {"kornia", "pyautoattack"}, "distributed": {"ray"}, "report": {"matplotlib"}}
MODULES = set().union(*EXTRAS.values())

# The commands run one after another in one process that cannot import any of the extras; JSON of what each did.
SCRIPT = """
import contextlib, dataclasses, io, json, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split()))
import datasets
from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.cli.app import run

datasets.disable_progress_bars()
PROTOCOLS["cpu-v1"] = dataclasses.replace(PROTOCOLS["cpu-v1"], epochs=1)
done = []
for command in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(command.split())
    done.append((status, err.getvalue()))
rows = datasets.load_dataset("digits-s", "ops", split="test").num_rows
print(json.dumps([done, rows]))
"""
WORKS = [
    "search --source sample --device cpu",
    "build --source sample -c ops -c lsp --device cpu --name digits-s",
    "verify digits-s",
    "bench digits-s -c ops -s standard -s mixup -s randaugment -s jpeg-10 --device cpu",
    "tables bench.jsonl -t grid",
    "report digits-s --records bench.jsonl --no-plots",
]
FAILS = {
    "bench digits-s -c ops -s median-3 --device cpu": "bench",
    "bench digits-s -c ops --measure autoattack --device cpu": "bench",
    "search --source sample --engine ray": "distributed",
    "tables bench.jsonl -t grid --plots figures": "report",
    "report digits-s --records bench.jsonl": "report",
}


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def test_each_extra_has_what_the_code_asks_it_for():
    extras = PROJECT["optional-dependencies"]
    assert {extra: names(extras[extra]) for extra in EXTRAS} == EXTRAS
    assert extras["all"] == [f"cifar10-s[{','.join(EXTRAS)}]"]
    assert "cifar10-s[all]" in extras["dev"]
    assert not names(PROJECT["dependencies"]) & MODULES
    asked = [
        match.groups()
        for path in (ROOT / "cifar10_s").rglob("*.py")
        for match in re.finditer(r'require\(f?"(\w+)[^)]*?extra="(\w+)"', path.read_text(encoding="utf-8"))
    ]
    assert {extra: {module for module, one in asked if one == extra} for extra in EXTRAS} == EXTRAS


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run all commands; return status and standard error by command, and the number of rows that were loaded."""
    commands = [*WORKS, *FAILS]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, " ".join(MODULES)],
        input=json.dumps(commands), cwd=tmp_path_factory.mktemp("bare"), capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    done, rows = json.loads(ran.stdout)
    return dict(zip(commands, done, strict=True)), rows


@pytest.mark.parametrize("command", WORKS)
def test_a_bare_installation_does_it(bare, command):
    done, rows = bare
    assert done[command][0] == 0, done[command]
    assert rows == 359


@pytest.mark.parametrize("command", FAILS)
def test_what_needs_an_extra_says_which_in_one_line(bare, command):
    status, error = bare[0][command]
    extra = FAILS[command]
    assert status == 2
    (line,) = error.splitlines()
    assert line.startswith(tuple(f"cifar10-s: {module} is needed for " for module in EXTRAS[extra]))
    assert line.endswith(f": pip install 'cifar10-s[{extra}]'")
