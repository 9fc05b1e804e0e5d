"""Commands that wait for nothing import nothing heavy."""

import subprocess
import sys

import pytest
from support.images import make_images

from speed.plain import plain_parquet

HEAVY = {"datasets", "kornia", "matplotlib", "numba", "pandas", "ray", "scipy", "sklearn", "torch"}
# It imports scipy to see whether it is too old.
NUMBA = {"numba", "scipy"}
# Runs a command, and prints which of the heavy libraries it has imported. Here torch is one without CUDA.
SCRIPT = """
import contextlib, io, sys
from cifar10_s.cli.app import run
from cifar10_s.common import machine
machine._cannot_have_cuda = lambda: True
with contextlib.redirect_stdout(io.StringIO()):
    status = run(sys.argv[2:])
print(status, *sorted(set(sys.argv[1].split()) & set(sys.modules)))
"""


def imported(*command):
    line = [sys.executable, "-c", SCRIPT, " ".join(HEAVY), *map(str, command)]
    status, *names = subprocess.check_output(line, text=True).split()
    return int(status), set(names)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    """Images in Parquet, few and many: these are more than are summed up without numba."""
    folder = tmp_path_factory.mktemp("parquet")
    for name, count in (("few", 40), ("many", 500)):
        images = make_images(count=count, height=32, width=32)
        (folder / name).mkdir()
        path = folder / name / "train-00000-of-00001.parquet"
        plain_parquet(images.pixels, images.labels, list(images.class_names), path)
    return folder


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["search", "--source", "sample"]], ids=" ".join)
def test_what_is_quick_imports_nothing_heavy(command):
    assert imported(*command) == (0, set())


def test_the_search_of_parquet_imports_numba_for_many_images_alone(parquet):
    assert imported("search", "--source", parquet / "few") == (0, set())
    assert imported("search", "--source", parquet / "many") == (0, NUMBA)


def test_the_audit_of_parquet_imports_numba_alone(parquet):
    assert imported("audit", parquet / "many") == (0, NUMBA)


def test_a_release_is_read_without_what_makes_it(release):
    assert imported("info", release.folder) == (0, set())
    status, names = imported("audit", release.folder, "-c", "ops")
    assert status == 1
    assert not names & {"datasets", "pandas", "sklearn", "torch"}
