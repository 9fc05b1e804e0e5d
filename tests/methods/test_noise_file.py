"""Noise from files: what fits is read exactly, and hostile files do no harm."""

import hashlib
import io
import json
import os
import pickle
import random
import re
import struct
import tempfile
import tracemalloc
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.images import photographs

from cifar10_s.data.array_files import npy as numpy_file
from cifar10_s.data.array_files import torch_pt as torch_file
from cifar10_s.data.array_files.base import MAX_OVERHEAD_BYTES
from cifar10_s.data.images import to_uint8
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.methods.noise_file import TOLERANCE_LEVELS, read_noise

SHAPE, IMAGES, CLASSES, LINF = (4, 5, 3), 6, 2, 8
# Bytes that reading a zip's directory takes at most.
SMALL = 1 << 22


def tensor_of(array, dtype=None):
    """Return a tensor that keeps the array's axes and memory order."""
    tensor = torch.from_numpy(array)
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


# Each of these writes an array with a dtype to a path without suffix, and returns the file.


def write_npy(path, array, dtype):
    np.save(path.with_suffix(".npy"), array.astype(dtype))
    return path.with_suffix(".npy")


def write_npz(path, array, dtype, save=np.savez):
    save(path.with_suffix(".npz"), labels=np.arange(3), delta=array.astype(dtype))
    return path.with_suffix(".npz")


def write_compressed(path, array, dtype):
    return write_npz(path, array, dtype, np.savez_compressed)


def write_pt(path, array, dtype):
    torch.save(tensor_of(array, dtype), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def write_dict(path, array, dtype):
    content = {"epsilon": 8, "noise": tensor_of(array, dtype), "labels": torch.arange(3)}
    torch.save(content, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def write_list(path, array, dtype):
    tensor = tensor_of(array, dtype)
    torch.save([8, torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor], path.with_suffix(".PT"))
    return path.with_suffix(".PT")


def write_safetensors(path, array, dtype):
    save_file({"anything": tensor_of(array, dtype).contiguous()}, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def write_pickle(path, array, dtype, protocol=4):
    path.with_suffix(".pkl").write_bytes(pickle.dumps(array.astype(dtype), protocol))
    return path.with_suffix(".pkl")


def write_newest_pickle(path, array, dtype):
    content = {"labels": np.arange(3), b"noise": array.astype(dtype), "epsilon": 8}
    path.with_suffix(".pickle").write_bytes(pickle.dumps(content, 5))
    return path.with_suffix(".pickle")


WRITERS = [
    write_npy, write_npz, write_compressed, write_pt, write_dict, write_list, write_safetensors, write_pickle,
    write_newest_pickle,
]  # fmt: skip
FLOATS, INTEGERS = ["float16", "bfloat16", "float32", "float64"], ["int8", "int16", "int32", "int64"]
OF_TORCH = [write_pt, write_dict, write_list, write_safetensors]
# NumPy has no bfloat16.
WAYS = [(w, dtype) for w in WRITERS for dtype in FLOATS + INTEGERS if dtype != "bfloat16" or w in OF_TORCH]


def make_levels(shape=(IMAGES, *SHAPE), linf=LINF, seed=0):
    """Return whole levels that reach the bound on both sides."""
    levels = np.random.default_rng(seed).integers(-linf, linf + 1, shape)
    levels.flat[0], levels.flat[-1] = linf, -linf
    return levels


def read(path, shape=SHAPE, images=IMAGES, classes=CLASSES, linf=LINF):
    return read_noise(path, shape=shape, images=images, classes=classes, linf=linf)


def refuse(path, kind, message, **options):
    """Check that a file is refused with one printable line."""
    with pytest.raises(kind, match=message) as caught:
        read(path, **options)
    assert str(caught.value).isprintable()
    assert str(path) in str(caught.value)


@contextmanager
def little_memory(limit):
    """Check that Python and NumPy allocate less than ``limit`` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def rewrite_zip(path, edit, method=zipfile.ZIP_STORED, to=None):
    """Write a zip again, members changed by ``edit(name, data)``."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = to or path
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(*edit(name, data))
    return path


def edit_pickle(path, old, new):
    def edit(name, data):
        assert old in data or not name.endswith("data.pkl")
        return name, data.replace(old, new) if name.endswith("data.pkl") else data

    return rewrite_zip(path, edit)


# What fits


@pytest.mark.parametrize(("writer", "dtype"), WAYS)
@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
    images=st.integers(3, 7),
    linf=st.integers(2, 100),
    kind=st.sampled_from(["sample-wise", "class-wise"]),
    layout=st.sampled_from(["first", "last", "grey"]),
    unit=st.sampled_from(["unit", "levels"]),
    seed=st.integers(0, 1000),
)
def test_every_way_to_keep_noise_gives_the_same_levels(writer, dtype, size, images, linf, kind, layout, unit, seed):
    # Another test covers shapes whose sizes are all equal.
    assume(len(set(size)) > 1)
    size = (*size[:2], 1) if layout == "grey" else size
    unit = unit if dtype in FLOATS else "levels"
    levels = make_levels((images if kind == "sample-wise" else 2, *size), linf, seed)
    array = levels / 255 if unit == "unit" else levels.astype(np.float64)
    array = {"first": array.transpose(0, 3, 1, 2), "last": array, "grey": array[..., 0]}[layout]
    with tempfile.TemporaryDirectory() as folder:
        path = writer(Path(folder) / "em", array, dtype)
        before = path.read_bytes()
        noise = read(path, size, images, 2, linf)
        assert [path] == [*Path(folder).iterdir()]
        assert path.read_bytes() == before
    assert (noise.name, noise.kind, noise.unit) == (path.name, kind, unit)
    assert noise.sha256 == hashlib.sha256(before).hexdigest()
    assert (noise.levels.dtype, noise.levels.shape) == (np.float32, levels.shape)
    assert not noise.one_sided
    # bfloat16 has a precision of eight bits.
    assert np.abs(noise.levels - levels).max() <= (linf / 256 if dtype == "bfloat16" else linf / 2048)
    if dtype not in ("float16", "bfloat16"):
        assert np.array_equal(np.rint(noise.levels), levels)


@pytest.mark.parametrize("writer", [write_npy, write_npz])
@pytest.mark.parametrize(
    "change", [np.asfortranarray, lambda array: array.astype(">f8")], ids=["Fortran", "big-endian"]
)
def test_numpy_arrays_of_other_orders(tmp_path, writer, change):
    levels = make_levels()
    array = change(levels.astype(np.float64))
    assert np.array_equal(read(writer(tmp_path / "em", array, array.dtype)).levels, levels)


def test_a_tensor_that_was_saved_from_a_gpu(tmp_path):
    levels = make_levels()
    path = write_pt(tmp_path / "em", levels.transpose(0, 3, 1, 2).copy(), "float32")
    edit_pickle(path, b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert np.array_equal(read(path).levels, levels)


def test_a_tensor_whose_axes_were_swapped_before_it_was_saved(tmp_path):
    levels = make_levels()
    torch.save(torch.from_numpy(levels).permute(0, 3, 1, 2)[::2], tmp_path / "em.pt")
    assert np.array_equal(read(tmp_path / "em.pt", images=3).levels, levels[::2])


def test_many_chunks(tmp_path):
    levels = make_levels((300, 32, 32, 3))
    path = write_npy(tmp_path / "em", levels.transpose(0, 3, 1, 2) / 255, "float32")
    assert np.array_equal(np.rint(read(path, (32, 32, 3), 300, 10).levels), levels)


@pytest.mark.work
@pytest.mark.parametrize(("writer", "limit"), [(write_npy, 1.5), (write_compressed, 2.5)])
def test_memory_is_the_levels_and_what_cannot_be_mapped(tmp_path, writer, limit):
    levels = make_levels((3000, 32, 32, 3))
    path = writer(tmp_path / "em", levels.transpose(0, 3, 1, 2) / 255, "float32")
    with little_memory(limit * 4 * levels.size):
        read(path, (32, 32, 3), 3000, 10)


@pytest.mark.parametrize(
    ("writer", "first"),
    [
        (write_npy, False),
        (write_npz, False),
        (write_pt, True),
        (write_list, True),
        (write_safetensors, True),
        (write_pickle, True),
    ],
)
def test_a_shape_that_is_both_has_channels_first_in_torch(tmp_path, writer, first):
    levels = make_levels((IMAGES, 3, 3, 3))
    noise = read(writer(tmp_path / "em", levels, "int8"), (3, 3, 3))
    assert np.array_equal(noise.levels, levels.transpose(0, 2, 3, 1) if first else levels)


def test_the_lowest_integer_has_a_size_too(tmp_path):
    levels = make_levels()
    levels[0, 0, 0, 0] = -128
    path = write_npy(tmp_path / "em", levels, "int8")
    assert read(path, linf=128).levels.min() == -128
    refuse(path, UsageError, "noise of image 0, .*reaches 128 levels", linf=127)


@pytest.mark.parametrize("largest", [1.0, -1.0])
def test_the_largest_noise_of_images_in_0_to_1(tmp_path, largest):
    array = make_levels() / 255
    array[0, 0, 0, 0] = largest
    noise = read(write_npy(tmp_path / "em", array, "float32"), linf=255)
    assert (noise.unit, noise.levels[0, 0, 0, 0]) == ("unit", 255 * largest)
    array[0, 0, 0, 0] = np.nextafter(np.float32(largest), np.float32(2 * largest))
    noise = read(write_npy(tmp_path / "em", array, "float32"), linf=255)
    assert (noise.unit, np.rint(noise.levels[0, 0, 0, 0])) == ("levels", largest)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sided(tmp_path, sign):
    noise = read(write_npy(tmp_path / "em", sign * np.abs(make_levels()) / 255, "float32"))
    assert noise.one_sided == (sign == 1)


# How others publish noise


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F", ">"])
def test_a_pickled_array_as_rem_publishes_it(tmp_path, protocol, order):
    levels = make_levels()
    array = levels.transpose(0, 3, 1, 2).astype(">i2" if order == ">" else np.int8, order="F" if order == "F" else "C")
    (tmp_path / "rem-fin-def-noise.pkl").write_bytes(pickle.dumps(array, protocol))
    noise = read(tmp_path / "rem-fin-def-noise.pkl")
    assert (noise.kind, noise.unit) == ("sample-wise", "levels")
    assert np.array_equal(noise.levels, levels)


def test_the_names_of_numpy_1_and_2_in_a_pickle(tmp_path):
    levels = make_levels().astype(np.int8)
    pickled = pickle.dumps(levels, 2)
    names = b"numpy._core.multiarray", b"numpy.core.multiarray"
    assert any(name in pickled for name in names)
    for old, new in (names, names[::-1]):
        (tmp_path / "em.pkl").write_bytes(pickled.replace(old, new))
        assert np.array_equal(read(tmp_path / "em.pkl").levels, levels)


def test_a_tensor_of_torch_in_a_file_called_pickle(tmp_path):
    levels = make_levels()
    write_pt(tmp_path / "em", levels, "int8").rename(tmp_path / "em.pkl")
    assert np.array_equal(read(tmp_path / "em.pkl").levels, levels)


def pairs_by_class(images, dtype=np.float32):
    """Return images in [0, 1], sorted by class, each with its class, as DUNE is published."""
    rows = np.asarray(images.pixels.transpose(0, 3, 1, 2) / 255, dtype)
    return [(rows[i], int(images.labels[i])) for i in np.argsort(images.labels, kind="stable")]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_images_sorted_by_class_as_dune_publishes_them(tmp_path, protocol):
    clean, levels = photographs(count=30, shape=SHAPE, classes=4), make_levels((30, *SHAPE))
    perturbed = clean.with_pixels(to_uint8(clean.pixels + levels))
    (tmp_path / "DUNE.pkl").write_bytes(pickle.dumps(pairs_by_class(perturbed), protocol))
    options = {"shape": SHAPE, "images": 30, "classes": 4, "linf": LINF, "clean": clean}
    noise = read_noise(tmp_path / "DUNE.pkl", **options)
    assert noise.of_images
    assert np.allclose(noise.levels, levels, atol=1e-4)
    # Those of other classes are not for these images.
    others = replace(clean, labels=(clean.labels + 1) % 4)
    for beside in (others, None):
        with pytest.raises(UsageError, match=r"DUNE.pkl: its classes have other numbers of images than yours"):
            read_noise(tmp_path / "DUNE.pkl", **options | {"clean": beside})


def test_one_noise_per_class_beside_its_class(tmp_path):
    levels = make_levels((CLASSES, *SHAPE))
    rows = [(levels[label].transpose(2, 0, 1).astype(np.int16), label) for label in (1, 0)]
    (tmp_path / "em.pkl").write_bytes(pickle.dumps(rows))
    noise = read(tmp_path / "em.pkl")
    assert noise.kind == "class-wise"
    assert np.array_equal(noise.levels, levels)
    (tmp_path / "em.pkl").write_bytes(pickle.dumps([(array, 0) for array, _ in rows]))
    refuse(tmp_path / "em.pkl", UsageError, "its classes have other numbers of images than yours")


def test_a_small_pickle_that_names_one_array_many_times(tmp_path):
    array, row = np.zeros((3, 200, 200), np.float32), (None,) * 10_000
    (tmp_path / "pairs.pkl").write_bytes(pickle.dumps([(array, 1)] * 30_000))
    (tmp_path / "rows.pkl").write_bytes(pickle.dumps([row] * 10_000))
    tracemalloc.start()
    refuse(tmp_path / "pairs.pkl", UsageError, r"expected the shape .*, got \(30000, 3, 200, 200\)")
    refuse(tmp_path / "rows.pkl", UsageError, "expected one array")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "break_",
    [
        lambda pairs: [*pairs[:3], pairs[3][:1], *pairs[4:]],
        lambda pairs: [*pairs[:-1], (pairs[-1][0][:, :2], 0)],
        lambda pairs: [(array, str(label)) for array, label in pairs],
        lambda pairs: [(array, 2**70) for array, label in pairs],
        lambda pairs: [(label, array) for array, label in pairs],
        lambda pairs: [],
    ],
)
def test_pairs_that_are_none_get_a_line(tmp_path, break_):
    pairs = pairs_by_class(photographs(count=IMAGES, shape=SHAPE, classes=CLASSES))
    (tmp_path / "DUNE.pkl").write_bytes(pickle.dumps(break_(pairs)))
    with pytest.raises((UsageError, SourceError), match=r"DUNE\.pkl: "):
        read(tmp_path / "DUNE.pkl")


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("numbers", [torch.tensor, list])
def test_packed_noise_of_tap_is_put_in_the_images_order(tmp_path, kind, numbers):
    levels = make_levels()
    order = [3, 0, 5, 1, 2, 4]
    delta = torch.from_numpy(levels.transpose(0, 3, 1, 2)[order] / 255)
    torch.save(kind([delta, numbers(order)]), tmp_path / "poisons_packed_2021-01-01.pth")
    assert np.array_equal(np.rint(read(tmp_path / "poisons_packed_2021-01-01.pth").levels), levels)
    torch.save({"poison_delta": delta, "poison_ids": numbers(order)}, tmp_path / "dict.pth")
    assert np.array_equal(np.rint(read(tmp_path / "dict.pth").levels), levels)
    # What is beyond the bound is named by its image.
    delta[0, 0, 0, 0] = 1
    torch.save(kind([delta, numbers(order)]), tmp_path / "wide.pth")
    refuse(tmp_path / "wide.pth", UsageError, "noise of image 3, ")


@pytest.mark.parametrize(
    "content",
    [
        lambda delta: {"poison_delta": delta, "poison_ids": torch.arange(1, 7)},
        lambda delta: {"poison_delta": delta, "idx": [0, 1, 2, 2, 1, 0]},
        lambda delta: {"poison_delta": delta, "indices": []},
        lambda delta: [delta, torch.tensor([6, 5, 4, 3, 2, 1])],
    ],
)
def test_numbers_of_images_that_do_not_start_at_0_are_refused(tmp_path, content):
    """Otherwise the noise would be that of other images."""
    torch.save(content(torch.from_numpy(make_levels().transpose(0, 3, 1, 2) / 255)), tmp_path / "packed.pth")
    refuse(tmp_path / "packed.pth", UsageError, "expected the numbers of the images .* from 0 to 5, each once")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda data: data[:-200], "is cut off: .*; get the noise again"),
        (lambda data: b"\n<!DOCTYPE html><title>Virus scan</title>", "is a web page; get the noise again"),
    ],
)
def test_a_download_that_went_wrong_is_called_so(tmp_path, content, message):
    path = write_pt(tmp_path / "em", make_levels(), "int8")
    path.write_bytes(content(path.read_bytes()))
    refuse(path, SourceError, message)


@pytest.mark.parametrize("beside", [[0, 1, 0, 1, 0, 1], [0, 1, 2], [5, 4, 3, 2, 1, 0.0]])
def test_labels_beside_noise_are_no_order(tmp_path, beside):
    levels = make_levels()
    torch.save([torch.from_numpy(levels), torch.tensor(beside)], tmp_path / "em.pt")
    assert np.array_equal(read(tmp_path / "em.pt").levels, levels)


CIFAR10_DEVIATIONS = (0.2470, 0.2435, 0.2616)


@pytest.mark.parametrize(
    "deviations", [CIFAR10_DEVIATIONS, (0.2023, 0.1994, 0.2010), (0.229, 0.224, 0.225), (0.2,) * 3]
)
@pytest.mark.parametrize("kind", ["sample-wise", "class-wise"])
def test_noise_that_was_divided_by_a_standard_deviation_is_told_so(tmp_path, deviations, kind):
    levels = make_levels((IMAGES if kind == "sample-wise" else CLASSES, *SHAPE))
    levels[0, 0, 0] = LINF
    path = write_npy(tmp_path / "tap", levels / 255 / deviations, "float32")
    divisors = ", ".join(f"{deviation:.3g}" for deviation in deviations)
    refuse(path, UsageError, rf"divided by a standard deviation \({divisors}\): multiply each channel by its own")
    read(write_npy(tmp_path / "tap", levels / 255 / deviations * deviations, "float32"))


def test_noise_beyond_the_bound_for_other_reasons_is_not_told_so(tmp_path):
    levels = make_levels()
    for factor, told in ((1.5, "reaches 12"), (2, r"images in \[-1, 1\] does: divide it by 2"), (10, "reaches 80")):
        path = write_npy(tmp_path / "tap", levels * factor / 255, "float32")
        with pytest.raises(UsageError, match=told) as caught:
            read(path)
        assert "standard deviation" not in str(caught.value)
        assert ("divide it by 2" in str(caught.value)) == (factor == 2)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_npy(tmp_path / "em", make_levels(), "int8")
    assert read("~/em.npy").name == "em.npy"


# What is not made for these images


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "shape",
    [(5, 3, 4, 5), (3, 3, 4, 5), (1, 4, 5, 3), (6, 3, 5, 4), (6, 4, 5, 4), (6, 4, 5), (6, 60), (3, 4, 5), (), (0,)],
)
def test_another_shape(tmp_path, writer, shape):
    path = writer(tmp_path / "em", np.ones(shape), "float32")
    refuse(path, UsageError, f", one per class, got {re.escape(str(shape))}; use noise made for these images")
    for expected in [(6, 3, 4, 5), (6, 4, 5, 3), (2, 3, 4, 5), (2, 4, 5, 3)]:
        refuse(path, UsageError, f"expected the shape .*{re.escape(str(expected))}.* got")


def test_a_shape_of_thousands_of_sizes_is_cut_short(tmp_path):
    header = json.dumps({"noise": {"dtype": "F32", "shape": [1] * 10_000, "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "em.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refuse(path, UsageError, r"got \((1, ){66}1; use")


def test_as_many_images_as_classes(tmp_path):
    path = write_npy(tmp_path / "em", make_levels(), "float32")
    message = "6 noises for the same number of images and of classes .*: expected more images than classes"
    refuse(path, UsageError, message, classes=6)


@pytest.mark.parametrize(
    ("writer", "dtype"),
    [
        *((writer, "uint8") for writer in WRITERS),
        # torch saves its other unsigned types differently.
        *((writer, dtype) for writer in (write_npy, write_npz, write_safetensors) for dtype in ("uint16", "uint32")),
    ],
)
def test_unsigned_noise(tmp_path, writer, dtype):
    path = writer(tmp_path / "em", make_levels().clip(0).astype(np.uint8), dtype)
    refuse(path, UsageError, f"holds {dtype}: expected signed numbers.* negative half")


@pytest.mark.parametrize("dtype", ["bool", "complex64", "S3", "M8[s]", [("a", "f4")], [("a", "f4", 3)]])
@pytest.mark.parametrize("writer", [write_npy, write_npz])
def test_no_numbers(tmp_path, writer, dtype):
    path = writer(tmp_path / "em", np.zeros((IMAGES, *SHAPE), dtype), dtype)
    refuse(path, UsageError, "holds .*: expected one of float16, ")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_that_are_not_finite(tmp_path, bad, dtype):
    array = make_levels() / 255
    array[[2, 5], 1, 1, 1] = bad
    path = write_pt(tmp_path / "em", array, dtype)
    refuse(path, UsageError, "2 of 6 noises have NaN or infinite values, first that of image 2: expected finite")
    path = write_pt(tmp_path / "em", array[4:], dtype)
    refuse(path, UsageError, "1 of 2 noises have NaN or infinite values, first that of class 1: expected finite")


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_but_zeros(tmp_path, writer):
    refuse(writer(tmp_path / "em", np.zeros((IMAGES, *SHAPE)), "float32"), UsageError, "all its values are 0")


def test_noise_that_rounding_would_take_away(tmp_path):
    path = write_npy(tmp_path / "em", make_levels() / 255 / 255, "float32")
    refuse(path, UsageError, "reach 0.0314 levels: expected at least half a level")


def test_the_bound(tmp_path):
    levels = make_levels().astype(np.float64)
    levels[3, 0, 0, 0] = LINF + TOLERANCE_LEVELS
    assert read(write_npy(tmp_path / "em", levels, "float32")).levels[3, 0, 0, 0] == np.float32(LINF + TOLERANCE_LEVELS)
    levels[3, 0, 0, 0] = -LINF - 0.5
    message = "noise of image 3, read as levels, .*reaches 8.5 levels: expected at most 8, "
    refuse(write_npy(tmp_path / "em", levels, "float64"), UsageError, message)
    message = r"noise of image 3, read as x in \[0, 1\] .*reaches 8.5"
    refuse(write_npy(tmp_path / "em", levels / 255, "float64"), UsageError, message)
    message = "noise of class 1, .*reaches 8.5 levels"
    refuse(write_npy(tmp_path / "em", levels[2:4], "float64"), UsageError, message)


def test_what_is_within_the_tolerance_is_within_the_bound_once_rounded():
    pixels = np.arange(256)
    for linf in range(256):
        for noise in np.float32([linf + TOLERANCE_LEVELS, -linf - TOLERANCE_LEVELS]):
            changed = to_uint8(pixels.astype(np.uint8) + noise).astype(int)
            assert np.abs(changed - pixels).max() <= linf


def test_a_number_that_no_float32_holds(tmp_path):
    levels = make_levels().astype(np.float64)
    levels[1] = 1e300
    refuse(write_npy(tmp_path / "em", levels, "float64"), UsageError, r"noise of image 1, .*reaches 1e\+300 levels")


# Which array is meant


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "got 0;"),
        ({"a": 1, "b": 1}, "got 2: 'a', 'b';"),
        ({"delta": 1, "noise": 1}, "got 2: 'delta', 'noise';"),
        ({"\x1b[2J\n": 1, "b": 1}, r"got 2: '\\x1b\[2J\\n', 'b';"),
    ],
    ids=range(4),
)
def test_it_is_not_clear_which_array_is_meant(tmp_path, arrays, message):
    arrays = {name: make_levels().astype(np.float32) for name in arrays}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    np.savez(tmp_path / "em.npz", **arrays)
    torch.save({"epsilon": 8, **tensors}, tmp_path / "em.pt")
    save_file(tensors, tmp_path / "em.safetensors")
    for file in tmp_path.iterdir():
        refuse(file, UsageError, f"expected one array, or several of which one is named .* axes, {message}")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (8, "0;"),
        (None, "0;"),
        ([], "0;"),
        ({(1, 2): 3}, "0;"),
        ((torch.ones(1), torch.ones(1)), "2: '0', '1';"),
        # A key may be anything, and its text any size.
        ({(("noise",),): torch.ones(1), 7: torch.ones(1)}, "2: '0', '1';"),
    ],
    ids=range(6),
)
def test_no_tensor_or_two(tmp_path, content, found):
    torch.save(content, tmp_path / "em.pt")
    refuse(tmp_path / "em.pt", UsageError, f"expected one array.* got {found}")


# What is no such file


def test_what_is_not_there(tmp_path):
    refuse(tmp_path / "em.npy", SourceError, "expected a file, there is none")
    (tmp_path / "em.pt").mkdir()
    refuse(tmp_path / "em.pt", SourceError, "expected a file, got a folder")
    refuse(tmp_path / "em.mat", UsageError, "expected a file that ends in one of .pt, .pth, .npy, .npz, .safetensors")
    os.mkfifo(tmp_path / "em.npz")
    refuse(tmp_path / "em.npz", SourceError, "expected a file")


def small_files(folder):
    levels = make_levels((3, 2, 2, 1))
    return [writer(folder / writer.__name__, levels, "float32") for writer in WRITERS]


def read_small(path):
    return read(path, (2, 2, 1), 3, 2)


def outcome(path):
    """Return the kind of noise, or the type of the error if the file is refused with one line; others are failures."""
    try:
        return read_small(path).kind
    except (SourceError, UsageError) as error:
        line = str(error)
        kind = type(error)
    assert line.isprintable()
    return kind


def test_files_cut_off_at_any_byte(tmp_path):
    for path in small_files(tmp_path):
        data = path.read_bytes()
        assert read_small(path).levels.shape == (3, 2, 2, 1)
        for length in range(len(data)):
            path.write_bytes(data[:length])
            assert outcome(path) is SourceError


def test_files_with_a_byte_changed_are_read_or_refused(tmp_path):
    rng = random.Random(0)
    for path in small_files(tmp_path):
        data = path.read_bytes()
        outcomes = set()
        for _ in range(200):
            changed = bytearray(data)
            changed[rng.randrange(len(data))] ^= rng.randrange(1, 256)
            path.write_bytes(changed)
            outcomes.add(outcome(path))
        assert SourceError in outcomes


def test_pickles_with_a_byte_changed_are_read_or_refused(tmp_path):
    """The zip's checksums are correct, so that the pickle itself is read."""
    rng = random.Random(0)
    path = write_dict(tmp_path / "em", make_levels((3, 2, 2, 1)), "float32")

    def edit(name, data):
        changed = bytearray(data)
        if name.endswith("data.pkl"):
            changed[rng.randrange(len(data))] = rng.choice([*b"cRbQ(t)].eausK}hqrJ\x85\x86\x87\x8a", 0, 255])
        return name, bytes(changed)

    outcomes = set()
    for _ in range(300):
        changed = rewrite_zip(path, edit, to=tmp_path / "changed.pt")
        outcomes.add(outcome(changed))
    assert SourceError in outcomes


# What does harm


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def evil(tmp_path):
    """Object that makes a folder if unpickled; checks first that it does, and after the test that it did not."""
    marker = tmp_path / "marker"
    evil = Evil(marker)
    pickle.loads(pickle.dumps(evil))
    assert marker.is_dir()
    marker.rmdir()
    yield evil
    assert not marker.exists()


def zip_of(pickled, name="data.pkl", path=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"em/{name}", pickled)
        archive.writestr("em/version", b"3\n")
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_in_a_torch_file(tmp_path, evil, protocol):
    pickled = pickle.dumps({"noise": evil}, protocol)
    named = "something" if protocol > 2 else r"posix\.mkdir"
    message = f"its pickle names {named}, .*it was not run"
    refuse(zip_of(pickled, path=tmp_path / "em.pt"), SourceError, message)
    # torch finds this too.
    refuse(zip_of(pickled, "DATA.PKL", tmp_path / "em.pt"), SourceError, message)
    (tmp_path / "em.pth").write_bytes(pickled)
    refuse(tmp_path / "em.pth", SourceError, "expected a zip, .*it was not read")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_pickle(tmp_path, evil, protocol):
    for content in (evil, {"noise": evil}, [make_levels(), evil], np.array([evil], object)):
        (tmp_path / "em.pkl").write_bytes(pickle.dumps(content, protocol))
        refuse(tmp_path / "em.pkl", SourceError, r"its pickle names posix\.mkdir, |is not a readable pickle")
    (tmp_path / "em.pkl").write_bytes(pickle.dumps({"noise": torch.ones(3)}, protocol))
    refuse(tmp_path / "em.pkl", SourceError, r"its pickle names torch.*; it was not run; save the noise with np\.save")


@pytest.mark.parametrize(
    "pickled",
    [
        b"", b"\x80\x05", b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.", b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f.",
        b"\x80\x05\x95" + b"\xff" * 7 + b"\x7fN.", b"\x80\x05\x97.", b"cbuiltins\nbytearray\n(I99999999999\ntR.",
        b"\x80\x02X\xff\xff\xff\x7fx.",
    ],
)  # fmt: skip
def test_pickles_that_ask_for_memory(tmp_path, pickled):
    (tmp_path / "em.pkl").write_bytes(pickled)
    with little_memory(SMALL):
        assert outcome(tmp_path / "em.pkl") in (SourceError, UsageError)


def test_torch_would_not_run_it_either(tmp_path, evil, monkeypatch):
    monkeypatch.setattr(torch_file, "check_plain", lambda path: None)
    torch.save({"noise": torch.ones(IMAGES, 3, 4, 5), "more": evil}, tmp_path / "em.pt")
    refuse(tmp_path / "em.pt", SourceError, r"cannot be read as .pt \(UnpicklingError: Weights only load failed")


def test_code_that_torch_saved(tmp_path, evil):
    noise = torch.ones(IMAGES, 3, 4, 5)
    torch.save({"noise": noise, "more": evil}, tmp_path / "em.pt")
    refuse(tmp_path / "em.pt", SourceError, r"its pickle names posix\.mkdir")
    torch.save({"noise": noise, "more": evil}, tmp_path / "em.pt", _use_new_zipfile_serialization=False)
    refuse(tmp_path / "em.pt", SourceError, "expected a zip")


def test_code_in_arrays_of_objects(tmp_path, evil):
    objects = np.full((IMAGES, *SHAPE), evil, object)
    np.save(tmp_path / "em.npy", objects)
    np.savez(tmp_path / "em.npz", objects)
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(evil))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(evil))
    for name in ("em.npy", "em.npz"):
        refuse(tmp_path / name, SourceError, "holds Python objects, which can run code")
    for name in ("bare.npy", "bare.npz"):
        refuse(tmp_path / name, SourceError, "cannot be read as .np")


def test_a_numpy_array_in_a_torch_file(tmp_path):
    torch.save(make_levels().astype(np.float32), tmp_path / "em.pt")
    refuse(tmp_path / "em.pt", SourceError, r"names numpy.*_reconstruct, .*save the noise as a tensor, or as .npy")


def test_what_torch_would_give_any_memory(tmp_path):
    size = b"\x8a\x05" + (1 << 33).to_bytes(5, "little")
    path = zip_of(b"\x80\x02cbuiltins\nbytearray\n" + size + b"\x85R.", path=tmp_path / "em.pt")
    with little_memory(SMALL):
        refuse(path, SourceError, r"its pickle names builtins\.bytearray")
    torch.save(torch.ones(3).to_sparse(), path)
    refuse(path, SourceError, r"its pickle names torch\._utils\._rebuild_sparse_tensor")


def test_a_tensor_larger_than_its_data(tmp_path):
    path = write_pt(tmp_path / "em", np.ones((2, 3, 4, 5)), "float32")
    edit_pickle(path, b"(K\x02K\x03K\x04K\x05t", b"(J\x00\x00\x00\x70K\x03K\x04K\x05t")
    refuse(path, SourceError, "cannot be read as .pt")


def test_a_torch_file_that_torch_does_not_write(tmp_path):
    path = write_pt(tmp_path / "em", make_levels(), "float32")
    compressed = rewrite_zip(path, lambda *member: member, zipfile.ZIP_DEFLATED, tmp_path / "compressed.pt")
    refuse(compressed, SourceError, r"expected a compression method of \(0,\), got 8")
    big = rewrite_zip(path, lambda name, data: (name, b"big" if name.endswith("byteorder") else data))
    refuse(big, SourceError, "little-endian")


def npy(shape, data=b"", descr="<f4"):
    """Return the bytes of a ``.npy`` file that declares any shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


@pytest.mark.parametrize("shape", [(10**12, 3, 32, 32), (10**30, 3, 32, 32), (-1, -3, 32, 32), (2**62, 4)])
def test_a_declared_shape_that_does_not_fit_the_file(tmp_path, shape):
    (tmp_path / "em.npy").write_bytes(npy(shape, bytes(100)))
    with zipfile.ZipFile(tmp_path / "em.npz", "w") as archive:
        archive.writestr("noise.npy", npy(shape, bytes(100)))
    header = json.dumps({"noise": {"dtype": "F32", "shape": shape, "data_offsets": [0, 100]}}).encode()
    (tmp_path / "em.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(100))
    for file in list(tmp_path.iterdir()):
        with little_memory(SMALL):
            refuse(file, SourceError, "cannot be read as", shape=(32, 32, 3), images=shape[0])


def test_an_array_that_is_larger_than_the_noise_is_not_read(tmp_path):
    """Its shape is refused first: 200 MB of zeros are small in a zip."""
    with zipfile.ZipFile(tmp_path / "em.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise.npy", npy((200_000_000,), bytes(200_000_000), "|i1"))
    with little_memory(SMALL):
        refuse(tmp_path / "em.npz", UsageError, r"got \(200000000,\)")


def test_a_header_without_end(tmp_path):
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 100_000_000) + b" " * 100_000_000
    with zipfile.ZipFile(tmp_path / "em.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise.npy", header)
    (tmp_path / "em.npy").write_bytes(header)
    (tmp_path / "em.safetensors").write_bytes(struct.pack("<Q", 99_999_999) + b" " * 100_000_000)
    messages = {
        "em.npz": "reading array header",
        "em.npy": "reading array header",
        "em.safetensors": f"expected a header of at most {1 << 20} bytes, got 99999999",
    }
    for name, message in messages.items():
        with little_memory(SMALL):
            refuse(tmp_path / name, SourceError, message)


def test_zeros_behind_the_array(tmp_path):
    noise = npy((IMAGES, *SHAPE), make_levels().astype("<f4").tobytes())
    (tmp_path / "em.npy").write_bytes(noise + bytes(1))
    with zipfile.ZipFile(tmp_path / "em.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise.npy", noise + bytes(1))
    for name in ("em.npy", "em.npz"):
        refuse(tmp_path / name, SourceError, "expected 1440 bytes, got 1441")


def test_a_pickle_larger_than_that_of_a_tensor(tmp_path):
    torch.save({"noise": torch.ones(1), "text": "a" * (1 << 20)}, tmp_path / "em.pt")
    with little_memory(SMALL):
        refuse(tmp_path / "em.pt", SourceError, "data.pkl takes 104[0-9]+ bytes")


def test_a_byte_changed_in_a_zip(tmp_path):
    path = write_npz(tmp_path / "em", make_levels(), "float32")
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(LINF).tobytes())] ^= 1
    path.write_bytes(data)
    refuse(path, SourceError, "Bad CRC-32")


def test_a_zip_that_is_all_directory(tmp_path):
    with zipfile.ZipFile(tmp_path / "em.npz", "w") as archive:
        for number in range(20):
            archive.writestr(f"{number:060000d}.npy", b"")
    refuse(tmp_path / "em.npz", SourceError, f"its directory takes more than {MAX_OVERHEAD_BYTES} bytes")


def test_members_that_numpy_does_not_write(tmp_path):
    path = write_npz(tmp_path / "em", make_levels(), "float32")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert method not in numpy_file.ZIP_METHODS
        refuse(
            rewrite_zip(path, lambda *member: member, method),
            SourceError,
            rf"expected a compression method of \(0, 8\), got {method}",
        )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("noise.npy", npy((1,), bytes(4)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("noise.npy", npy((1,), bytes(4)))
    refuse(path, SourceError, "a name occurs twice")
