"""What tests share: synthetic images, the sample's release, the real data where it is present."""

import os
from pathlib import Path

# Networks on images this small are faster on one thread; more wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from learning_oracle import PART, TinyNet

import cifar10_s
from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.nets import NETWORKS
from cifar10_s.nets.network import Network

# One of each kind: unchanged, one and more pixels, the other objective, the control, a method, and both.
CONFIGURATIONS = ["clean", "ops", "ops-2", "ops-std", "random-pixel", "lsp", "lsp-ops"]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def make_images(seed=0, count=40, height=5, width=4, channels=3, classes=3, levels=256):
    """Random images in which every class occurs."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, max(count - classes, 0))])
    pixels = random.integers(0, levels, (len(labels), height, width, channels), dtype=np.uint8)
    return LabeledImages(pixels, labels.astype(np.int64), tuple(f"class {k}" for k in range(classes)))


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
    cache = tmp_path_factory.getbasetemp() / "datasets-cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    # As above: networks this small are faster on one thread.
    monkeypatch.setattr("cifar10_s.engine.CPU_THREADS", 1)
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path_factory.mktemp("noise")))


@pytest.fixture
def tiny(monkeypatch):
    """The oracle's network by the name of ``tiny``, in float32 and few images at a time; gives such an engine."""
    engine = Engine(torch.device("cpu"), bfloat16=False)
    monkeypatch.setitem(NETWORKS, "tiny", Network(TinyNet, smallest=1))
    monkeypatch.setattr(Engine, "on", lambda device: engine)
    monkeypatch.setattr("cifar10_s.engine.CPU_CHUNK", PART)
    return engine


@pytest.fixture(scope="session")
def sample():
    return cifar10_s.load_source("sample")


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """The sample, built once; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("release") / "digits-s"
    return cifar10_s.build("sample", folder, name="digits-s", configurations=CONFIGURATIONS, device="cpu")


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
