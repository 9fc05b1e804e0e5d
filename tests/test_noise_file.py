"""Noise that people already have: what fits is read exactly, and nothing else does harm."""

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
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from cifar10_s.array_files import numpy_file, torch_file, zip_file
from cifar10_s.errors import SourceError, UsageError, printable
from cifar10_s.images import to_uint8
from cifar10_s.noise_file import TOLERANCE, read_noise

SHAPE, IMAGES, CLASSES, LINF = (4, 5, 3), 6, 2, 8
# What reading a zip's directory takes.
SMALL = 1 << 22


def tensor_of(array, dtype=None):
    """Give a tensor that keeps the array's axes and memory order."""
    tensor = torch.from_numpy(array)
    return tensor if dtype is None else tensor.to(getattr(torch, dtype))


# Each writes an array with a dtype to a path without its suffix, and gives the file.


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


WRITERS = [write_npy, write_npz, write_compressed, write_pt, write_dict, write_list, write_safetensors]
FLOATS, INTEGERS = ["float16", "bfloat16", "float32", "float64"], ["int8", "int16", "int32", "int64"]
OF_TORCH = [write_pt, write_dict, write_list, write_safetensors]
# NumPy has no bfloat16.
WAYS = [(w, dtype) for w in WRITERS for dtype in FLOATS + INTEGERS if dtype != "bfloat16" or w in OF_TORCH]


def make_levels(shape=(IMAGES, *SHAPE), linf=LINF, seed=0):
    """Whole levels up to the bound, which they reach on both sides."""
    levels = np.random.default_rng(seed).integers(-linf, linf + 1, shape)
    levels.flat[0], levels.flat[-1] = linf, -linf
    return levels


def read(path, shape=SHAPE, images=IMAGES, classes=CLASSES, linf=LINF):
    return read_noise(path, shape=shape, images=images, classes=classes, linf=linf)


def refuse(path, kind, message, **options):
    """See that a file is refused in one printable line."""
    with pytest.raises(kind, match=message) as caught:
        read(path, **options)
    assert str(caught.value).isprintable()
    assert str(path) in str(caught.value)


@contextmanager
def little_memory(limit):
    """See that Python and NumPy take no more than ``limit`` bytes."""
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
    # Where all sizes are the same, another test tells which layout it is.
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
    # bfloat16 has eight bits.
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


@pytest.mark.parametrize(("writer", "limit"), [(write_npy, 1.5), (write_compressed, 2.5)])
def test_memory_is_the_levels_and_what_cannot_be_mapped(tmp_path, writer, limit):
    levels = make_levels((3000, 32, 32, 3))
    path = writer(tmp_path / "em", levels.transpose(0, 3, 1, 2) / 255, "float32")
    with little_memory(limit * 4 * levels.size):
        read(path, (32, 32, 3), 3000, 10)


@pytest.mark.parametrize(
    ("writer", "first"),
    [(write_npy, False), (write_npz, False), (write_pt, True), (write_list, True), (write_safetensors, True)],
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


# What is not made for these images


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "shape",
    [(5, 3, 4, 5), (3, 3, 4, 5), (1, 4, 5, 3), (6, 3, 5, 4), (6, 4, 5, 4), (6, 4, 5), (6, 60), (3, 4, 5), (), (0,)],
)
def test_another_shape(tmp_path, writer, shape):
    path = writer(tmp_path / "em", np.ones(shape), "float32")
    refuse(path, UsageError, f", one a class, got {re.escape(str(shape))}; take noise that was made for these")
    for expected in [(6, 3, 4, 5), (6, 4, 5, 3), (2, 3, 4, 5), (2, 4, 5, 3)]:
        refuse(path, UsageError, f"expected the shape .*{re.escape(str(expected))}.* got")


def test_a_shape_of_thousands_of_sizes_is_not_all_told(tmp_path):
    header = json.dumps({"noise": {"dtype": "F32", "shape": [1] * 10_000, "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "em.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refuse(path, UsageError, r"got \((1, ){66}1; take")


def test_as_many_images_as_classes(tmp_path):
    path = write_npy(tmp_path / "em", make_levels(), "float32")
    refuse(path, UsageError, "6 noises for as many images and as many classes", classes=6)


@pytest.mark.parametrize(
    ("writer", "dtype"),
    [
        *((writer, "uint8") for writer in WRITERS),
        # torch saves its other unsigned types in another way.
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
    refuse(path, UsageError, "noise of 2 of 6 has values that are NaN or infinite, that of image 2 first")
    path = write_pt(tmp_path / "em", array[4:], dtype)
    refuse(path, UsageError, "noise of 1 of 2 has values that are NaN or infinite, that of class 1 first")


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_but_zeros(tmp_path, writer):
    refuse(writer(tmp_path / "em", np.zeros((IMAGES, *SHAPE)), "float32"), UsageError, "all its values are 0")


def test_noise_that_rounding_would_take_away(tmp_path):
    path = write_npy(tmp_path / "em", make_levels() / 255 / 255, "float32")
    refuse(path, UsageError, "reach 0.0314 levels: expected at least half a level")


def test_the_bound(tmp_path):
    levels = make_levels().astype(np.float64)
    levels[3, 0, 0, 0] = LINF + TOLERANCE
    assert read(write_npy(tmp_path / "em", levels, "float32")).levels[3, 0, 0, 0] == np.float32(LINF + TOLERANCE)
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
        for noise in np.float32([linf + TOLERANCE, -linf - TOLERANCE]):
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
        refuse(file, UsageError, "expected one array, or several of which one is named noise, delta, arr_0, " + message)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (8, "0;"),
        (None, "0;"),
        ([], "0;"),
        ({(1, 2): 3}, "0;"),
        ((torch.ones(1), torch.ones(1)), "2: '0', '1';"),
        # A name may be anything, and as text take any memory.
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
    refuse(tmp_path / "em.pkl", UsageError, "expected a file that ends in one of .pt, .pth, .npy, .npz, .safetensors")
    os.mkfifo(tmp_path / "em.npz")
    refuse(tmp_path / "em.npz", SourceError, "expected a file")


def small_files(folder):
    levels = make_levels((3, 2, 2, 1))
    return [writer(folder / writer.__name__, levels, "float32") for writer in WRITERS]


def read_small(path):
    return read(path, (2, 2, 1), 3, 2)


def outcome(path):
    """Give what became of a file: read, or refused in one line; any other error is a failure."""
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
    chance = random.Random(0)
    for path in small_files(tmp_path):
        data = path.read_bytes()
        outcomes = set()
        for _ in range(200):
            changed = bytearray(data)
            changed[chance.randrange(len(data))] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            outcomes.add(outcome(path))
        assert SourceError in outcomes


def test_pickles_with_a_byte_changed_are_read_or_refused(tmp_path):
    """The zip's checksums are right, so that the pickle itself is reached."""
    chance = random.Random(0)
    path = write_dict(tmp_path / "em", make_levels((3, 2, 2, 1)), "float32")

    def edit(name, data):
        changed = bytearray(data)
        if name.endswith("data.pkl"):
            changed[chance.randrange(len(data))] = chance.choice([*b"cRbQ(t)].eausK}hqrJ\x85\x86\x87\x8a", 0, 255])
        return name, bytes(changed)

    outcomes = set()
    for _ in range(300):
        changed = rewrite_zip(path, edit, to=tmp_path / "changed.pt")
        outcomes.add(outcome(changed))
    assert SourceError in outcomes


# What does harm


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def evil(tmp_path):
    """An object that leaves a mark where it is unpickled; that it does is seen first, that it did not at the end."""
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


def test_torch_would_not_run_it_either(tmp_path, evil, monkeypatch):
    monkeypatch.setattr(torch_file, "_check", lambda path: None)
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
    refuse(compressed, SourceError, "compression method 8")
    big = rewrite_zip(path, lambda name, data: (name, b"big" if name.endswith("byteorder") else data))
    refuse(big, SourceError, "little-endian")


def npy(shape, data=b"", descr="<f4"):
    """Give a ``.npy`` file that declares any shape."""
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
    """Its shape is refused first: 200 MB of zeros take nothing in a zip."""
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
        "em.safetensors": "header of 99999999",
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
        refuse(tmp_path / name, SourceError, "takes 1440 bytes, it has 1441")


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


def test_a_library_s_message_is_one_short_line_that_no_terminal_acts_upon():
    assert printable("a\n  b\x1b[2J\ud800c") == "a b?[2J?c"


def test_a_zip_that_is_all_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_file, "MAX_AROUND", 10_000)
    with zipfile.ZipFile(tmp_path / "em.npz", "w") as archive:
        for number in range(300):
            archive.writestr(f"{number}.npy", b"")
    refuse(tmp_path / "em.npz", SourceError, "its directory takes more than 10000 bytes")


def test_members_that_numpy_does_not_write(tmp_path):
    path = write_npz(tmp_path / "em", make_levels(), "float32")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert method not in numpy_file.METHODS
        refuse(rewrite_zip(path, lambda *member: member, method), SourceError, f"compression method {method} ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("noise.npy", npy((1,), bytes(4)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("noise.npy", npy((1,), bytes(4)))
    refuse(path, SourceError, "same name twice")
