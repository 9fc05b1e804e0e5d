"""Hostile input: every reader reads it or refuses it with one of this package's errors, and does nothing else.

``tests/fuzz/corpus`` has the inputs that once made a reader fail; ``make fuzz`` looks for more.
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
OF_A_RELEASE = ("manifest", "recipe", "card", "figure")  # each input verifies a whole release

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")  # from Pillow, for a broken TIFF


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(scope="module")
def checked(tmp_path_factory, caches):
    """Prepare each reader once."""
    return cache(lambda reader: Checked(HARNESSES[reader], tmp_path_factory.mktemp(reader), caches))


@pytest.fixture(autouse=True)
def _caches_of_its_own(_private_caches, caches, monkeypatch):
    """The only folders that a reader may write to, apart from its own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", caches / "datasets")
    monkeypatch.setenv("CIFAR10_S_CACHE", str(caches / "own"))


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_made_a_reader_fail(checked, path):
    checked(path.parent.name).check(path.read_bytes())


@pytest.mark.work
@pytest.mark.parametrize(
    ("reader", "count"),
    [
        ("archive", 300), ("parquet", 200), ("parquet-source", 10), ("images", 300), ("manifest", 100), ("recipe", 100),
        ("forms", 300), ("card", 100), ("figure", 100), ("noise", 300), ("records", 200),
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


@pytest.mark.work
def test_every_reader_reads_its_seeds(checked):
    """Otherwise, the inputs made from them would test nothing."""
    refused = {reader: sum(map(checked(reader)._refused, checked(reader).seeds)) for reader in HARNESSES}
    # Pixels in Fortran order; images that are not RGB; an array of objects.
    expected = {"arrays": 1, "images": 4, "noise": 1}
    assert {reader: count for reader, count in refused.items() if count} == expected


@pytest.mark.work
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
    """The loop itself detects it."""
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


@pytest.mark.parametrize(
    ("atheris", "printed"), [(None, "at random: atheris is not installed"), (True, "guided by coverage")]
)
def test_the_fuzzer_prints_what_guides_it(monkeypatch, capsys, atheris, printed):
    monkeypatch.setattr(sys, "argv", ["fuzz", "records"])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(program, "atheris", atheris)
    program.main()
    assert printed in capsys.readouterr().out
