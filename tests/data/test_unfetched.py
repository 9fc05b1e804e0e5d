"""Files of which only an empty one or a pointer of Git LFS is there: each reader says so, and what to do."""

import numpy as np
import pytest
from support.images import make_images
from support.sources import write_arrays, write_pictures

import cifar10_s
from cifar10_s.common.transfers import check_fetched, unfetched
from cifar10_s.errors import SourceError
from cifar10_s.methods.noise_file import read_noise

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
LINES = {"pointer": (POINTER, "is a Git LFS pointer: run git lfs pull"), "empty": (b"", "is empty: get it again")}
# The files of a source, of which one was not fetched, as a clone has them, and what names it.
SOURCES = [
    "data/train-00000-of-00001.parquet",
    "pets.zip",
    "pets.tar",
    "pets.tar.gz",
    "shards/train-000000.tar",
    "cifar-10-python.tar.gz",
    "cifar-100-python.tar.gz",
    "pathmnist.npz",
    "svhn/train_32x32.mat",
]
SUFFIXES = [".pt", ".pth", ".npy", ".npz", ".safetensors", ".pkl", ".pickle"]


def refusal(function, *arguments, **options):
    with pytest.raises(SourceError) as raised:
        function(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("what", LINES)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source(tmp_path, name, what):
    content, line = LINES[what]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    source = file if file.parent == tmp_path else file.parent
    assert refusal(cifar10_s.load_images, source) == f"{file}: {line}"


@pytest.mark.parametrize("what", LINES)
def test_an_image(tmp_path, what):
    content, line = LINES[what]
    write_pictures(tmp_path, make_images(seed=1, count=8))
    broken = sorted(tmp_path.rglob("*.png"))[3]
    broken.write_bytes(content)
    assert refusal(cifar10_s.load_images, tmp_path) == f"{broken}: is not an image: it {line}"


@pytest.mark.parametrize("what", LINES)
def test_arrays(tmp_path, what):
    content, line = LINES[what]
    images = make_images(seed=1, count=8)
    write_arrays(tmp_path, images.pixels, images.labels, classes=images.class_names)
    broken = sorted(tmp_path.rglob("*.pixels.npy"))[0]
    broken.write_bytes(content)
    assert refusal(cifar10_s.load_images, tmp_path) == f"{broken}: {line}"


@pytest.mark.parametrize("what", LINES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_noise(tmp_path, suffix, what):
    content, line = LINES[what]
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    assert refusal(read_noise, path, shape=(4, 4, 3), images=5, classes=2, linf=8) == f"{path}: {line}"


def test_other_small_files_are_their_readers(tmp_path):
    for content in (b"x", POINTER[:-20], POINTER + bytes(2000)):
        (tmp_path / "x").write_bytes(content)
        check_fetched(tmp_path / "x")
        assert unfetched(content) == ""
    for path in (tmp_path, tmp_path / "nowhere"):
        check_fetched(path)
    np.save(tmp_path / "one.npy", np.ones((2, 1, 1, 1), np.int8))
    assert read_noise(tmp_path / "one.npy", shape=(1, 1, 1), images=5, classes=2, linf=8).levels.size == 2
