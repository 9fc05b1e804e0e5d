"""The cache holds complete files or none, and one clear line says if it cannot be written."""

import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from filelock import FileLock

from cifar10_s.common.files import cache_folder, write_atomically
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import BuildError
from cifar10_s.methods.checkpoint import Checkpoint
from cifar10_s.release import reader


@contextmanager
def no_file_larger_than(size):
    """Let the system refuse larger files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_cannot_be_written_whole_leaves_what_was_there(tmp_path):
    target = tmp_path / "thing.bin"
    write_atomically(target, lambda file: file.write(b"old"))
    with no_file_larger_than(1000), pytest.raises(OSError, match="File too large"):
        write_atomically(target, lambda file: file.write(bytes(2000)))
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["thing.bin"]


@pytest.mark.parametrize(
    "write", [lambda kept: kept.save({"noise": torch.zeros(10**5)}), lambda kept: kept.finish(np.zeros(10**5, np.int8))]
)
def test_a_full_disk_keeps_the_checkpoint_before(write):
    """Torch raises its own error for a full disk."""
    checkpoint = Checkpoint("em", {"a": 1})
    with checkpoint.held():
        checkpoint.save({"done": 1})
        with no_file_larger_than(10_000), pytest.raises(BuildError, match=r"the cache cannot be written .*CIFAR10_S"):
            write(checkpoint)
        assert checkpoint.load(torch.device("cpu")) == {"done": 1}
        assert checkpoint.result() is None
    assert not list(checkpoint.folder.glob("*.part"))


def test_a_cache_that_is_no_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="file/noise: the cache cannot be written"), Checkpoint("em", {}).held():
        pass


@pytest.mark.parametrize("wrong", ["full", "no folder", "another process"])
def test_images_that_cannot_be_cached_are_used_all_the_same(tmp_path, monkeypatch, wrong):
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path))
    images = LabeledImages(np.zeros((100, 8, 8, 3), np.uint8), np.zeros(100, np.int64), ("a",))
    path = cache_folder() / "images" / "x.npz"
    if wrong == "no folder":
        (tmp_path / "images").write_text("")
        reader._to_cache(path, images)
    elif wrong == "full":
        with no_file_larger_than(1000):
            reader._to_cache(path, images)
    else:
        path.parent.mkdir()
        with FileLock(path.with_suffix(".lock")):
            reader._to_cache(path, images)
    assert not path.exists()


def test_a_damaged_cache_is_as_if_there_were_none(tmp_path):
    """Whatever zipfile makes of it: 14 of the flips are of kinds that it does not read, or of encryption."""
    images, path = LabeledImages(np.zeros((2, 2, 2, 3), np.uint8), np.zeros(2, np.int64), ("a",)), tmp_path / "x.npz"
    reader._to_cache(path, images)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for flip in (1, 64):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            assert isinstance(reader._from_cache(path, ("a",)), LabeledImages | None)
