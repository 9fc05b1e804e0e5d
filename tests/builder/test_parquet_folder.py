"""Images written as a folder of Parquet: a source, whole or absent, never over what is there."""

import os

import datasets
import numpy as np
import pytest
from support.images import make_images
from support.options import on_cpu
from support.streams import stream_of

import cifar10_s
from cifar10_s.builder.parquet_folder import write_folder
from cifar10_s.errors import BuildError, UsageError


@pytest.mark.parametrize("streamed", [False, True])
def test_the_folder_is_a_source_and_loads(tmp_path, streamed):
    images = make_images(count=60)
    write_folder(stream_of(images)[0] if streamed else images, tmp_path / "out", on_cpu(), max_shard_size="4KB")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.parquet"))
    assert files == [f"data/train-{number:05d}-of-{len(files):05d}.parquet" for number in range(len(files))]
    assert os.listdir(tmp_path) == ["out"]
    again = cifar10_s.load_images(tmp_path / "out")
    assert again.digest() == images.digest()
    assert again.class_names == images.class_names
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert list(loaded) == ["train"]
    assert np.array_equal(np.stack(loaded["train"]["img"]), images.pixels)


@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.write_text("mine"), lambda path: path.symlink_to("x")])
def test_what_is_there_stays(tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(UsageError, match="out: already exists: expected a new folder"):
        write_folder(make_images(), tmp_path / "out", on_cpu())
    assert os.listdir(tmp_path) == ["out"]


def test_nothing_is_left_of_a_folder_that_cannot_be_finished(tmp_path):
    def full(rows, pixels):
        raise OSError(28, "No space left on device")

    stream = stream_of(make_images())[0].with_transform(full)
    with pytest.raises(BuildError, match=r"could not be written .*No space left"):
        write_folder(stream, tmp_path / "out", on_cpu())
    assert os.listdir(tmp_path) == []
