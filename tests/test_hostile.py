"""Hostile input: every reader reads it or refuses it in one of this package's errors, and does nothing else.

``tests/corpus`` keeps what once made a reader fail; ``make fuzz`` looks for more.
"""

import random
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from fuzz import __main__ as program
from fuzz.harnesses import HARNESSES
from fuzz.loop import Checked, HarmError, inputs

CORPUS = Path(__file__).parent / "corpus"
OF_A_RELEASE = ("manifest", "recipe", "card", "figure")  # each input verifies one, small as it is

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")  # of Pillow, on a broken TIFF


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def checked(tmp_path_factory, caches):
    """Prepare each reader once."""
    return cache(lambda reader: Checked(HARNESSES[reader], tmp_path_factory.mktemp(reader), caches))


@pytest.fixture(autouse=True)
def _caches_of_its_own(_private_caches, caches, monkeypatch):
    """All that a reader may write to besides its folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", caches / "datasets")
    monkeypatch.setenv("CIFAR10_S_CACHE", str(caches / "own"))


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_made_a_reader_fail(checked, path):
    checked(path.parent.name).check(path.read_bytes())


@pytest.mark.parametrize(
    ("reader", "count"),
    [
        ("archive", 300), ("parquet", 200), ("parquet-source", 10), ("images", 300), ("manifest", 100), ("recipe", 100),
        ("card", 100), ("figure", 100), ("noise", 300), ("records", 200),
    ],
)  # fmt: skip
def test_some_hostile_inputs(checked, reader, count):
    for data, _ in zip(inputs(checked(reader).seeds, random.Random(0)), range(count)):
        checked(reader).check(data)


@pytest.mark.slow
@pytest.mark.parametrize("reader", HARNESSES)
def test_many_hostile_inputs(checked, reader):
    count = 500 if reader == "parquet-source" else 2_000 if reader in OF_A_RELEASE else 5_000
    for data, _ in zip(inputs(checked(reader).seeds, random.Random(1)), range(count)):
        checked(reader).check(data)


def test_every_reader_reads_its_seeds(checked):
    """Or the inputs made from them would go nowhere."""
    refused = {reader: sum(map(checked(reader)._refused, checked(reader).seeds)) for reader in HARNESSES}
    # A pickle of protocol 5; pixels in Fortran's order; images that are not in colour, or more than that; an array of
    # objects.
    expected = {"archive": 1, "arrays": 1, "images": 4, "noise": 1}
    assert {reader: count for reader, count in refused.items() if count} == expected


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("import os; os.system('true')", "os.system"),
        ("open('/tmp/cifar10-s-was-here', 'w')", "/tmp/cifar10-s-was-here"),
        ("open('/etc/passwd').read()", "/etc/passwd"),
        ("import os; os.mkdir('/tmp/cifar10-s-was-here')", "/tmp/cifar10-s-was-here"),
        ("kept.append(bytearray((1 << 30) + 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))", "KiB"),
    ],
)
def test_harm_is_seen(tmp_path, harm, found):
    """The loop itself would tell."""
    from fuzz.harnesses import Harness

    names = {"kept": [], "resource": resource}
    reader = Checked(Harness(lambda folder: iter(()), lambda data, folder: exec(data, names)), tmp_path)
    try:
        with pytest.raises(HarmError, match=found):
            reader.check(harm.encode())
    finally:
        for path in (Path("/tmp/cifar10-s-was-here"),):
            path.is_dir() and path.rmdir()
            path.is_file() and path.unlink()


@pytest.mark.parametrize(("atheris", "said"), [(None, "by chance: atheris is not installed"), (True, "by coverage")])
def test_the_fuzzer_says_what_leads_it(monkeypatch, capsys, atheris, said):
    monkeypatch.setattr(sys, "argv", ["fuzz", "records"])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(program, "atheris", atheris)
    program.main()
    assert said in capsys.readouterr().out
