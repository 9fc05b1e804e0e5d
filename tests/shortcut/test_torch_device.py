"""Sums on a torch device against plain NumPy in 64 bits; the kernel in Triton's interpreter, and compiled for a GPU."""

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar10_s.shortcut import torch_device as device_sums
from cifar10_s.shortcut.cpu import CompiledSums
from cifar10_s.shortcut.torch_device import CUDA, Buffers, DeviceSums

FIELDS = ("counts", "sums", "products")
# Pieces of a few rows, batches of several pieces, and one row at a time in the plain version.
SMALL = Buffers(pieces=3, piece_bytes=200, batch_bytes=500, plain_bytes=1)
cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "count": st.integers(0, 40),
        "shape": st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
        # More classes than images leave some empty.
        "classes": st.sampled_from([1, 2, 3, 60]),
        "levels": st.sampled_from([2, 256]),
    }
)


def make(seed=0, count=40, shape=(3, 4, 3), classes=3, levels=256):
    random = np.random.default_rng(seed)
    # 255, which has the largest products, is among two levels too.
    pixels = (255 - random.integers(0, levels, (count, *shape))).astype(np.uint8)
    return pixels, random.integers(0, classes, count)


def oracle(pixels, labels, classes):
    """Return the plain sums of each class's images in 64 bits, pair by pair of channels i ≤ j."""
    channels = pixels.shape[-1]
    parts = [pixels[labels == label].astype(np.int64) for label in range(classes)]
    pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
    products = [np.stack([(x[..., i] * x[..., j]).sum(0) for i, j in pairs], axis=-1) for x in parts]
    return np.array([len(x) for x in parts]), np.stack([x.sum(0) for x in parts]), np.stack(products)


def add_in_pieces(sums, pixels, labels, threads, size=7):
    pieces = [slice(start, start + size) for start in range(0, len(labels), size)]
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(lambda piece: sums.add(pixels[piece], labels[piece]), pieces))


def assert_equal(moments, expected):
    for name, value in zip(FIELDS, expected):
        assert getattr(moments, name).dtype == np.int64
        assert np.array_equal(getattr(moments, name), value), name


@settings(max_examples=60, deadline=None)
@given(case=cases)
def test_sums_equal_the_oracle(case):
    pixels, labels = make(**case)
    sums = DeviceSums(case["shape"], case["classes"], "cpu")
    sums.add(pixels, labels)
    assert_equal(sums.moments(), oracle(pixels, labels, case["classes"]))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_pieces_from_several_threads(seed, threads):
    pixels, labels = make(seed, count=150, classes=4)
    sums = DeviceSums((3, 4, 3), 4, "cpu", buffers=SMALL)
    add_in_pieces(sums, pixels, labels, threads)
    assert_equal(sums.moments(), oracle(pixels, labels, 4))


@pytest.mark.parametrize("kind", [CompiledSums, partial(DeviceSums, device="cpu")], ids=["compiled", "torch"])
def test_moments_are_added_to_those_before(kind):
    pixels, labels = make(count=60)
    one, other = kind((3, 4, 3), 3), kind((3, 4, 3), 3)
    one.add(pixels[:25], labels[:25])
    other.add(pixels[25:], labels[25:])
    before = one.moments()
    assert other.moments(before) is before
    assert_equal(before, oracle(pixels, labels, 3))


def test_more_is_added_after_the_moments():
    pixels, labels = make(count=60)
    sums = DeviceSums((3, 4, 3), 3, "cpu", buffers=SMALL)
    assert_equal(sums.moments(), oracle(pixels[:0], labels[:0], 3))
    sums.add(pixels[:25], labels[:25])
    first = sums.moments()
    sums.add(pixels[25:], labels[25:])
    sums.add(pixels[:0], labels[:0])
    assert_equal(sums.moments(), oracle(pixels, labels, 3))
    assert_equal(first, oracle(pixels[:25], labels[:25], 3))


def test_a_row_larger_than_a_piece():
    pixels, labels = make(count=9, shape=(20, 20, 3))
    sums = DeviceSums((20, 20, 3), 3, "cpu", buffers=SMALL)
    sums.add(pixels, labels)
    assert_equal(sums.moments(), oracle(pixels, labels, 3))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_adds_nothing(label):
    pixels, labels = make()
    sums = DeviceSums((3, 4, 3), 3, "cpu")
    with pytest.raises(ValueError, match="expected 0 to 2"):
        sums.add(pixels, np.append(labels[1:], label))
    assert_equal(sums.moments(), oracle(pixels[:0], labels[:0], 3))


def test_several_devices_share(monkeypatch):
    links = [device_sums._Immediate(torch.device("cpu"), SMALL) for _ in range(3)]
    monkeypatch.setattr(device_sums, "_links", lambda device, buffers: links)
    pixels, labels = make(count=100)
    sums = DeviceSums((3, 4, 3), 3, "cuda")
    add_in_pieces(sums, pixels, labels, threads=3)
    shares = [lane.totals()[0].sum() for lane in sums._lanes]
    assert min(shares) > 0
    assert_equal(sums.moments(), oracle(pixels, labels, 3))


class Device:
    """Stand-in for CUDA's streams and events: runs everything at once, and checks what must have finished before."""

    def __init__(self, monkeypatch):
        self.host, self.current, self.copies, self.sums = set(), None, {}, {}
        device, copy_ = self, torch.Tensor.copy_

        class Event:
            def __init__(self, blocking=False):
                self.past = set()

            def record(self, stream):
                self.past = set(stream.past)

            def synchronize(self):
                device.host |= self.past

        class Stream:
            def __init__(self, where):
                self.past = set()

            def record_event(self):
                event = Event()
                event.record(self)
                return event

            def wait_event(self, event):
                self.past |= event.past

            wait_stream = wait_event

        @contextmanager
        def stream(entered):
            self.current, before = entered, self.current
            yield
            self.current = before

        def copy(target, source, non_blocking=False):
            if non_blocking:
                source_at, target_at = (tensor.untyped_storage().data_ptr() for tensor in (source, target))
                # The host has filled the piece again, and the copy fills the batch again.
                assert self.copies.get(source_at, set()) <= self.host
                assert self.sums.get(target_at, set()) <= self.current.past
                operation = object()
                self.current.past.add(operation)
                self.copies.setdefault(source_at, set()).add(operation)
                self.copies.setdefault(target_at, set()).add(operation)
            return copy_(target, source)

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.Tensor, "copy_", copy)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
        monkeypatch.setattr(device_sums._Streams, "host", device_sums._Immediate.host)
        monkeypatch.setattr(device_sums, "_compiled", lambda device: self.kernel)

    def kernel(self, rows, *arguments):
        at = rows.untyped_storage().data_ptr()
        assert self.copies[at] <= self.current.past
        operation = object()
        self.current.past.add(operation)
        self.sums.setdefault(at, set()).add(operation)
        device_sums.accumulate(rows, *arguments, block_bytes=1)


def test_no_buffer_is_overwritten_while_it_is_in_flight(monkeypatch):
    device = Device(monkeypatch)
    device_sums._streams.cache_clear()
    monkeypatch.setattr(
        device_sums, "_links", lambda device, buffers: [device_sums._Streams(torch.device("cpu"), SMALL)]
    )
    pixels, labels = make(count=150)
    sums = DeviceSums((3, 4, 3), 3, "cuda")
    add_in_pieces(sums, pixels, labels, threads=1)
    assert_equal(sums.moments(), oracle(pixels, labels, 3))
    device_sums._streams.cache_clear()
    assert len(device.sums) == 2
    assert sum(map(len, device.sums.values())) > 6


def test_a_kernel_that_does_not_run_is_warned_of_once_and_changes_nothing(monkeypatch, caplog):
    calls = []

    def launch(*arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise RuntimeError("no kernel image is\navailable")
        device_sums.accumulate(*arguments)

    monkeypatch.setattr(device_sums, "_compiled", lambda device: launch)
    pixels, labels = make(count=150)
    sums = DeviceSums((3, 4, 3), 3, "cpu", buffers=SMALL)
    with caplog.at_level(logging.WARNING):
        add_in_pieces(sums, pixels, labels, threads=3)
    assert_equal(sums.moments(), oracle(pixels, labels, 3))
    assert [record.getMessage() for record in caplog.records] == [
        "the Triton kernel does not run here (RuntimeError: no kernel image is available): "
        "continuing in plain torch, slower"
    ]
    assert len(calls) == 3


def test_without_triton_there_is_no_kernel(monkeypatch):
    assert device_sums._compiled(torch.device("cpu")) is None
    monkeypatch.setattr(device_sums, "find_spec", lambda name: None)
    assert device_sums._compiled(torch.device("cuda")) is None


def run(code, **environment):
    """Run code in a process of its own: Triton decides at its first import whether to interpret."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def check_kernel():
    """Compare the kernel with the oracle, on the CPU in the interpreter; see the test that calls this."""
    from cifar10_s.shortcut import triton_kernel

    # Without this the plain version would be compared with itself.
    device_sums._Kernel._give_up = lambda self, error: sys.exit(f"the kernel does not run: {error!r}")
    for seed, (count, shape, classes, max_rows) in enumerate(
        [
            (16, (3, 5, 3), 3, 65_536),
            (15, (4, 4, 1), 2, 7),  # more rows than 32 bits are allowed to hold
            (9, (1, 3, 2), 2, 65_536),
            (9, (3, 4, 4), 2, 5),
            (4, (1, 1, 4), 40, 65_536),  # empty classes, and shifts that reach beyond the row
        ]
    ):
        kernel = partial(triton_kernel.accumulate, block=8, min_rows=4, max_rows=max_rows)
        device_sums._compiled = lambda device, kernel=kernel: kernel
        pixels, labels = make(seed, count, shape, classes)
        sums = DeviceSums(shape, classes, "cpu")
        sums.add(pixels, labels)
        assert_equal(sums.moments(), oracle(pixels, labels, classes))
        check_rows_as_they_are(kernel, pixels.reshape(count, -1), labels, classes, shape[2])
    print("equal")


def check_rows_as_they_are(kernel, rows, labels, classes, channels):
    """Compare with the plain version for rows of any length, int32 indices and totals that are not 0."""
    order = np.argsort(labels, kind="stable").astype(np.int32)
    starts = np.searchsorted(labels[order], np.arange(classes + 1)).astype(np.int32)
    got, expected = (
        [torch.ones(classes, *shape, dtype=torch.int64) for shape in [rows.shape[1:], (channels, rows.shape[1])]]
        for _ in range(2)
    )
    # Once padded, once not.
    wide = np.full((len(rows), -(-rows.shape[1] // 4) * 4 + 4), 199, np.uint8)
    wide[:, : rows.shape[1]] = rows
    for given_rows in (torch.from_numpy(wide)[:, : rows.shape[1]], torch.from_numpy(rows.copy())):
        arguments = [given_rows, torch.from_numpy(order), torch.from_numpy(starts)]
        kernel(*arguments, *got)
        device_sums.accumulate(*arguments, *expected)
    assert all(map(torch.equal, got, expected))


def test_the_kernel_in_the_interpreter():
    pytest.importorskip("triton")
    assert run("import test_torch_device; test_torch_device.check_kernel()", TRITON_INTERPRET="1") == ["equal"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="Triton's assembler is there for Linux")
def test_the_kernel_compiles_for_an_h100(tmp_path, monkeypatch):
    """Two words per load, eight rows at a time, then one by one; 64-bit additions: 4 sums of 8 bytes per thread."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from cifar10_s.shortcut import triton_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    names = triton_kernel._accumulate.arg_names
    pointers = {"words": "*i32", "order": "*i64", "starts": "*i64", "sums": "*i64", "products": "*i64"}
    constants = {"CHANNELS": 3, "BLOCK": triton_kernel.BLOCK}
    signature = {name: pointers.get(name, "constexpr" if name in constants else "i32") for name in names}
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in [*pointers, "stride", "width", "size"]}
    source = ASTSource(
        triton_kernel._accumulate, signature, {(names.index(k),): v for k, v in constants.items()}, aligned
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": triton_kernel.WARPS})
    assert (made.asm["ptx"].count("ld.global.v2.b32"), made.asm["ptx"].count("add.u64")) == (9, 32)
    assert made.asm["cubin"]


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (5, 5, 3), (28, 28, 1), (17, 9, 4)])
def test_cuda_gives_the_same_bits(device, shape, caplog):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    pixels, labels = make(count=3_000, shape=shape, classes=10)
    sums = DeviceSums(shape, 11, device, buffers=replace(CUDA, piece_bytes=1 << 16, batch_bytes=1 << 20))
    add_in_pieces(sums, pixels, labels, threads=8, size=100)
    assert_equal(sums.moments(), oracle(pixels, labels, 11))
    assert not caplog.records
