"""What tests share: synthetic images, the sample's release, the real data where it is present."""

import os
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

if sys.dont_write_bytecode:
    # The tests start many Pythons. Each would compile all that it imports, which takes longer than what it is for.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parents[1] / ".cache" / "bytecode"))
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
# Networks on images this small are faster on one thread; more wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from support.hub_server import TOKEN, Hub
from support.learning_oracle import PART, TinyNet
from support.quick import works
from support.releases import BUILT, SHARED

import cifar10_s
from cifar10_s.nn.networks.registry import NETWORKS, Network
from cifar10_s.nn.runtime import Runtime

NUMBERS = count()


def pytest_addoption(parser):
    parser.addoption(
        "--record-frozen", action="store_true",
        help="record what tests/end_to_end/test_frozen.py freezes, for a new version of the dataset",
    )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what `make test-quick` leaves out."""
    for item in items:
        if works(item):
            item.add_marker("work")


@pytest.fixture(autouse=True, scope="session")
def _private_noise(tmp_path_factory):
    """Keep the methods' work for the session's fixtures out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAR10_S_CACHE", str(tmp_path_factory.mktemp("noise")))
        yield


@pytest.fixture(autouse=True)
def _private_caches(tmp_path_factory, monkeypatch):
    """Keep what `datasets` caches out of the user's home, and begin each test with no noise."""
    import datasets

    datasets.disable_progress_bars()
    folder = tmp_path_factory.getbasetemp()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets-cache")
    # `mktemp` would look through the folders of all tests before.
    noise = folder / "noises" / str(next(NUMBERS))
    noise.mkdir(parents=True)
    monkeypatch.setenv("CIFAR10_S_CACHE", str(noise))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Make noise on one thread, as above: networks this small are faster so."""
    on = Runtime.on
    monkeypatch.setattr(Runtime, "on", lambda device: replace(on(device), threads=1))


@pytest.fixture
def tiny(monkeypatch):
    """The oracle's network by the name of ``tiny``; return a runtime in float32 that takes few images at a time."""
    runtime = Runtime(torch.device("cpu"), bfloat16=False, max_chunk=PART, threads=1)
    monkeypatch.setitem(NETWORKS, "tiny", Network(TinyNet, min_side=1))
    monkeypatch.setattr(Runtime, "on", lambda device: runtime)
    return runtime


@pytest.fixture(scope="session")
def sample():
    return cifar10_s.load_images("sample")


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """The sample, built once; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("release") / "digits-s"
    return cifar10_s.build("sample", folder, name="digits-s", configurations=BUILT, device="cpu")


@pytest.fixture(scope="session")
def jpeg_copy():
    """The folder of CIFAR-10 (JPEG copy)."""
    folder = SHARED / "cifar10-jpeg"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder


@pytest.fixture(scope="session")
def short_archive():
    """The first 1,000 originals of each batch, in the original archive's format."""
    path = SHARED / "cifar10-first-1000" / "cifar-10-python.tar.gz"
    if not path.is_file():
        pytest.skip("needs ../shared/data")
    return path


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub whose token is in the environment. It has no Xet, which the library would take."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    huggingface_hub.utils.disable_progress_bars()
    with Hub(tmp_path / "hub") as hub:
        yield hub
