"""A folder of NumPy arrays: what it may hold, and one line for everything that it may not."""

import os
import pickle
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import make_images
from support.sources import LABELS, PIXELS, write_arrays

from cifar10_s.data.array_files.base import ArrayFile
from cifar10_s.data.array_files.registry import open_array
from cifar10_s.data.sources.array_folder import ArrayBlock, array_blocks
from cifar10_s.data.sources.splits import open_images, open_splits
from cifar10_s.errors import SourceError


def refusal(folder, split="train"):
    """Return the line with which a folder is refused, when it is opened or read."""
    with pytest.raises(SourceError) as caught:
        open_images(folder, split=split).load()
    message = str(caught.value)
    assert message.isprintable()
    return message.replace(f"{folder}/", "")


@pytest.mark.parametrize("kind", ["u1", "i2", "<i8", ">i4", "u8"])
def test_shards_come_in_order_of_their_names(tmp_path, kind):
    for name in ("b", "a", "c"):
        write_arrays(tmp_path, PIXELS + ord(name), LABELS.astype(kind), name=name, classes=["kočka", "dog"])
    images = open_images(tmp_path)
    assert images.class_names == ("kočka", "dog")
    assert np.array_equal(images.load().pixels, np.concatenate([PIXELS + ord(name) for name in "abc"]))
    assert images.labels.tolist() == [*LABELS.tolist()] * 3
    assert images.labels.dtype == np.int64


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(0, 3), st.sets(st.integers(0, 19)))
def test_rows_of_a_block_in_parts(read_size, start, chosen):
    images = make_images(count=23, height=3, width=2)
    with tempfile.TemporaryDirectory() as folder:
        np.save(file := Path(folder) / "a.pixels.npy", images.pixels)
        rows = np.array(sorted(chosen), np.int64)
        parts = list(ArrayBlock(file, start, start + 20, images.shape[1:], read_size).read(rows))
    expected = images.pixels[start + rows]
    assert np.array_equal(np.concatenate([expected[:0], *parts]), expected)


def test_blocks_of_a_file(tmp_path):
    pixels = np.concatenate([PIXELS, PIXELS + 100])
    images = open_images(write_arrays(tmp_path, pixels, np.tile(LABELS, 2)))
    blocks = array_blocks(open_array(tmp_path / "a.pixels.npy"), 2, block_bytes=3 * PIXELS[0].size)
    images = replace(images, blocks=tuple(blocks))
    assert [len(block) for block in images.blocks] == [3, 3, 2]
    assert np.array_equal(images.load().pixels, pixels)
    assert np.array_equal(images.read(np.array([2, 3, 7])), pixels[[2, 3, 7]])


def test_a_block_reads_as_much_as_stays_in_a_cache_or_a_few_images_per_class():
    for shape, classes, read_size in (
        ((9, 1024, 1024, 4), 2, 32),
        ((9, 32, 32, 3), 2, 1365),
        ((9, 32, 32, 3), 100, 1600),
    ):
        array = ArrayFile(Path("x"), shape, "uint8", lambda: None)
        assert [block.read_size for block in array_blocks(array, classes)] == [read_size]


def test_splits(tmp_path):
    write_arrays(tmp_path / "train", classes=None)
    write_arrays(tmp_path / "test", PIXELS[:2], LABELS[:2])
    (tmp_path / "classes.txt").write_text("cat\ndog\ncow\n")
    splits = open_splits(tmp_path)
    assert {name: len(images) for name, images in splits.items()} == {"train": 4, "test": 2}
    assert {images.class_names for images in splits.values()} == {("cat", "dog", "cow")}
    with pytest.raises(SourceError, match="has no split 'validation'"):
        open_images(tmp_path, split="validation")


def test_a_folder_without_splits_is_train(tmp_path):
    write_arrays(tmp_path)
    assert open_images(tmp_path).class_names == ("0", "1")
    with pytest.raises(SourceError, match="has no split 'test'"):
        open_images(tmp_path, split="test")


def test_train_in_the_folder_beside_test_in_its_own(tmp_path):
    write_arrays(tmp_path)
    write_arrays(tmp_path / "test", PIXELS[:2], LABELS[:2])
    assert {name: len(images) for name, images in open_splits(tmp_path).items()} == {"train": 4, "test": 2}


def test_an_unnamed_folder_of_train_alone_is_no_other_split(tmp_path):
    write_arrays(tmp_path / "test")
    with pytest.raises(SourceError, match="no training split, but test; name one with --train-split"):
        open_images(tmp_path)


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["pixels", "labels"])
def test_no_code_in_it_runs(tmp_path, name):
    write_arrays(tmp_path / "x")
    np.save(tmp_path / f"x/a.{name}.npy", np.array([Runs(str(tmp_path / "ran"))], object), allow_pickle=True)
    assert "holds Python objects, which can run code" in refusal(tmp_path / "x")
    (tmp_path / f"x/a.{name}.npy").write_bytes(pickle.dumps(Runs(str(tmp_path / "ran"))))
    assert refusal(tmp_path / "x").startswith(f"a.{name}.npy: cannot be read")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("pixels", "labels", "line"),
    [
        (PIXELS.astype(np.float32), LABELS, "a.pixels.npy: expected uint8 pixels .*, got float32 of shape"),
        (PIXELS[..., 0], LABELS, r"a.pixels.npy: expected uint8 pixels .*, got uint8 of shape \(4, 3, 2\)"),
        (PIXELS[:0], LABELS[:0], r"a.pixels.npy: expected uint8 pixels .*, got uint8 of shape \(0, 3, 2, 3\)"),
        (PIXELS[0, 0, 0, 0], LABELS, r"a.pixels.npy: expected uint8 pixels .*, got uint8 of shape \(\)"),
        (np.zeros((4, 3, 2, 5), np.uint8), LABELS, "a.pixels.npy: expected 1 to 4 channels, got 5"),
        (PIXELS, None, "a.labels.npy: expected a file, there is none"),
        (PIXELS, LABELS[:3], r"a.labels.npy: expected whole numbers of shape \(4,\).* got int64 of shape \(3,\)"),
        (PIXELS, LABELS[:0], r"a.labels.npy: expected whole numbers of shape \(4,\).* got int64 of shape \(0,\)"),
        (PIXELS, LABELS[:, None], r"a.labels.npy: expected whole numbers .* got int64 of shape \(4, 1\)"),
        (PIXELS, LABELS / 2, "a.labels.npy: expected whole numbers .* got float64"),
        (PIXELS, LABELS == 1, "a.labels.npy: expected whole numbers .* got bool"),
        (PIXELS, LABELS - 1, "a.labels.npy: row 0: expected a label from 0 to 1048575, got -1"),
        (PIXELS, np.array([0, 1, 2**63, 0], np.uint64), "a.labels.npy: row 2: expected .* got 9223372036854775808"),
        (PIXELS, np.array([0, 1, 2, 10**12]), "a.labels.npy: row 3: expected a label .* got 1000000000000"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_wrong_gets_a_line(tmp_path, pixels, labels, line):
    assert re.match(line, refusal(write_arrays(tmp_path, pixels, labels)))


def test_files_that_differ(tmp_path):
    write_arrays(tmp_path)
    write_arrays(tmp_path, PIXELS.reshape(4, 2, 3, 3), name="b")
    assert refusal(tmp_path).startswith("b.pixels.npy: expected uint8 pixels")


@pytest.mark.parametrize(
    ("classes", "line"),
    [
        (b"cat\n", "classes.txt: expected 2 names of printable characters, one per line, got 1"),
        (b"cat\n\n", "classes.txt: expected 2 names"),
        (b"cat\nd\x1bog\n", "classes.txt: expected 2 names"),
        (b"\xff\xfe\n", "classes.txt: expected text in UTF-8"),
    ],
)
def test_class_names_that_are_none(tmp_path, classes, line):
    write_arrays(tmp_path)
    (tmp_path / "classes.txt").write_bytes(classes)
    assert refusal(tmp_path).startswith(line)


def test_names_of_classes_without_images_stay(tmp_path):
    assert open_images(write_arrays(tmp_path, classes="abc")).class_names == ("a", "b", "c")


HEADERS = {
    "too large": "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 3, 3, 3), }",
    "cut off": "{'descr': '|u1', 'fortran_order': False, 'shape': (9 ",
    "open text": "{'descr': '|u1', '''",
    "deep": "(" * 100,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("name", ["pixels", "labels"])
def test_a_broken_header_gets_a_line(tmp_path, header, name):
    write_arrays(tmp_path)
    (tmp_path / f"a.{name}.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode().ljust(117) + b"\n")
    assert refusal(tmp_path).startswith(f"a.{name}.npy: cannot be read")


@pytest.mark.parametrize("name", ["pixels", "labels"])
@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_truncated_file_gets_a_line(tmp_path, name, kept):
    file = write_arrays(tmp_path) / f"a.{name}.npy"
    file.write_bytes(file.read_bytes()[:kept])
    line = "cannot be read" if kept else "is empty: get it again"
    assert refusal(tmp_path).startswith(f"a.{name}.npy: {line}")


def test_an_archive_of_arrays_is_none(tmp_path):
    write_arrays(tmp_path)
    with (tmp_path / "a.pixels.npy").open("wb") as file:
        np.savez(file, PIXELS)
    assert refusal(tmp_path).startswith("a.pixels.npy: cannot be read")


@pytest.mark.parametrize(
    "later",
    [PIXELS[:3], PIXELS.reshape(4, 2, 3, 3), PIXELS.astype(np.int8), PIXELS.astype(np.float32), PIXELS[0, 0, 0]],
)
def test_a_file_that_changes_while_it_is_read_gets_a_line(tmp_path, later):
    images = open_images(write_arrays(tmp_path))
    np.save(tmp_path / "a.pixels.npy", later)
    with pytest.raises(SourceError, match=r"a\.pixels\.npy: has changed while it was read; start again"):
        images.load()


def test_pixels_in_another_order_get_a_line(tmp_path):
    write_arrays(tmp_path)
    np.save(tmp_path / "a.pixels.npy", np.asfortranarray(PIXELS))
    assert refusal(tmp_path).startswith("a.pixels.npy: expected pixels in C order, got Fortran's")


def test_a_file_that_is_truncated_in_the_middle_of_a_block_gets_a_line(tmp_path):
    """What was read before is unchanged, and the process does not crash."""
    images = make_images(count=9, height=64, width=64)
    file = write_arrays(tmp_path, images.pixels, images.labels) / "a.pixels.npy"
    parts = ArrayBlock(file, 0, 9, images.shape[1:], read_size=1).read(np.arange(9))
    first = next(parts)
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(SourceError, match=r"a\.pixels\.npy: has changed while it was read; start again"):
        list(parts)
    assert np.array_equal(first, images.pixels[:1])


def test_a_file_that_is_cut_off_or_gone_while_it_is_read_gets_a_line(tmp_path):
    images = open_images(write_arrays(tmp_path))
    file = tmp_path / "a.pixels.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"a\.pixels\.npy: cannot be read"):
        images.load()
    file.unlink()
    with pytest.raises(SourceError, match=r"a\.pixels\.npy: expected a file, there is none"):
        images.load()


def test_more_files_than_a_process_may_have_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(100):
        write_arrays(tmp_path, name=f"{number:03}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 50, hard))
    try:
        assert len(open_images(tmp_path).load()) == 400
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


PEAK = """
import resource, sys
import cifar10_s, cifar10_s.shortcut.cpu_kernel, cifar10_s.shortcut.torch_device
cifar10_s.search(cifar10_s.open_images(sys.argv[1]), device="cpu")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_images(tmp_path):
    """Only labels are in memory: 8 bytes per image."""
    shard = make_images(count=60_000, height=32, width=32, classes=10)
    peaks = []
    for files in (1, 4):
        for number in range(files):
            write_arrays(tmp_path / str(files), shard.pixels, shard.labels, name=str(number))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path / str(files)], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 40 << 10
