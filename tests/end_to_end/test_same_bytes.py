"""The same source becomes the same bytes wherever, whenever and under whatever settings it is built."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.images import make_images
from support.options import on_cpu

from cifar10_s.common.checksums import SUMS
from cifar10_s.methods.registry import METHODS

ROOT = Path(__file__).resolve().parents[2]
MODEL_FREE = ("ops", "random-pixel", "lsp", "lsp-ops", "random-samplewise")
# Settings that must change nothing; the last has all of them at once.
SETTINGS = {
    "the same": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "time zone": {"TZ": "Pacific/Chatham"},
    "locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "bytes": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "hashes": {"PYTHONHASHSEED": "12345"},
    "all": {
        "OMP_NUM_THREADS": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "PYTHONHASHSEED": "7",
    },
}  # fmt: skip


def build(folder, *configurations, cores=None, umask=0o022, **settings):
    """Build in a process of its own; return the output folder."""
    folder.mkdir(parents=True, exist_ok=True)
    options = [word for name in configurations for word in ("-c", name)]
    command = "from cifar10_s.cli.app import main; main()"
    arguments = ["build", "--source", "sample", "--name", "x", "--device", "cpu", "--budget", "small", *options]

    def prepare():
        os.umask(umask)
        if cores is not None:
            os.sched_setaffinity(0, cores)

    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
        "CIFAR10_S_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "home"), **settings,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments, "--output", str(folder / "out")],
        env=environment, cwd=folder, capture_output=True, text=True, preexec_fn=prepare,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "out"


def sums(output):
    return (output / SUMS).read_text()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return build(tmp_path_factory.mktemp("first"), *MODEL_FREE, cores={min(os.sched_getaffinity(0))})


def test_everything_else_at_once(first, tmp_path):
    """All cores, another folder, umask, time zone, locale, hashes and number of threads."""
    again = build(tmp_path / "an other ülder", *MODEL_FREE, umask=0o077, **SETTINGS["all"])
    assert sums(again) == sums(first)
    assert (again.stat().st_mode & 0o777, first.stat().st_mode & 0o777) == (0o700, 0o755)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_alone(first, tmp_path, setting):
    assert sums(build(tmp_path, *MODEL_FREE, **SETTINGS[setting])) == sums(first)


def test_noise_is_the_same_by_any_number_of_threads(monkeypatch, tmp_path):
    """Training adds up gradients in as many parts as there are threads."""
    method = replace(METHODS["em"].small(), max_rounds=1, train_batches=2, steps=1, batch=64)
    images, made = make_images(count=64, height=32, width=32), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / str(threads)))
            made.append(method.noise(images, on_cpu()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


@pytest.mark.slow
def test_a_learned_method_on_one_and_two_threads(tmp_path):
    one, two = (build(tmp_path / count, "em-classwise", OMP_NUM_THREADS=count) for count in ("1", "2"))
    assert sums(one) == sums(two)


def pixel_digests(output):
    manifest = json.loads((output / "manifest.json").read_text())
    return {name: entry["pixels_sha256"] for name, entry in manifest["configurations"].items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "versions",
    [("pillow==11.0.*", "pyarrow==21.0.*", "datasets==4.0.*"), ("pillow", "pyarrow", "datasets")],
    ids=["oldest", "newest"],
)
def test_pixels_are_the_same_in_every_version_of_the_libraries(first, tmp_path, versions):
    """The oldest and the newest that `pyproject.toml` allows; the other libraries are this environment's."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    installed = subprocess.run([*install, tmp_path / "libraries", *versions], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    path = os.pathsep.join(map(str, (ROOT, tmp_path / "libraries")))
    output = build(tmp_path, *MODEL_FREE, PYTHONPATH=path)
    assert pixel_digests(output) == pixel_digests(first)
    used = json.loads((output / "manifest.json").read_text())["libraries"]
    for requirement in versions:
        name, _, version = requirement.removesuffix(".*").partition("==")
        assert used[name].startswith(version)
