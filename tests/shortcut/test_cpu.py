"""The compiled sums against plain NumPy, and against their plain version, which takes over if they do not compile."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from support.images import make_images
from support.moments import compute_moments
from support.streams import stream_of

from cifar10_s.data.images import LabeledImages
from cifar10_s.shortcut import cpu, cpu_kernel
from cifar10_s.shortcut.cpu import FLUSH
from cifar10_s.shortcut.cpu_kernel import STRIP


def plain_moments(images):
    pixels, label = images.pixels.astype(np.int64), images.labels
    channels = images.shape[-1]
    pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
    products = np.stack([pixels[..., i] * pixels[..., j] for i, j in pairs], -1)
    classes = range(len(images.class_names))
    return [np.stack([part[label == k].sum(0) for k in classes]) for part in (pixels, products)]


@pytest.mark.work
@pytest.mark.parametrize("flush", [1, 8, 11, 64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("piece", [200, 40, 3])
def test_sums_carry_over_exactly(flush, channels, piece):
    """As if 32 bits held only ``flush`` images."""
    images = make_images(count=200, channels=channels, classes=2)
    sums, other = (cpu.CompiledSums(images.shape[1:], 2, flush=flush) for _ in range(2))
    for start in range(0, 200, piece):
        part = slice(start, start + piece)
        (other if start >= 120 else sums).add(images.pixels[part], images.labels[part])
    moments = sums.moments(other.moments())
    expected = plain_moments(images)
    assert moments.counts.tolist() == np.bincount(images.labels).tolist()
    assert np.array_equal(moments.sums, expected[0])
    assert np.array_equal(moments.products, expected[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sums_of_streams_are_exact(channels):
    images = make_images(count=200, channels=channels, classes=2)
    for either in (images, stream_of(images, [3, 50], 40)[0]):
        moments = compute_moments(either)
        assert moments.counts.tolist() == np.bincount(images.labels).tolist()
        assert all(map(np.array_equal, (moments.sums, moments.products), plain_moments(images)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, STRIP - 1), (1, STRIP), (1, STRIP + 1), (90, 91)])
def test_images_of_several_strips(channels, height, width):
    """With more images per class than the eight that are summed together."""
    images = make_images(count=40, height=height, width=width, channels=channels, classes=2)
    moments = compute_moments(images)
    assert all(np.array_equal(a, b) for a, b in zip((moments.sums, moments.products), plain_moments(images)))


def check_classes_of_each_size():
    """Compare the sums of 1 to 24 images per class with the plain ones."""
    for channels in (1, 2, 3, 4):
        images = make_images(count=300, height=1, width=STRIP + 9, channels=channels)
        labels = np.random.default_rng(channels).permutation(np.repeat(np.arange(24), np.arange(1, 25)))
        images = LabeledImages(images.pixels, labels, tuple(map(str, range(24))))
        images.pixels.flags.writeable = False
        moments = compute_moments(images)
        assert all(map(np.array_equal, (moments.sums, moments.products), plain_moments(images)))


def test_classes_of_each_size():
    check_classes_of_each_size()


def test_sums_on_a_processor_without_avx2(tmp_path):
    """Without an instruction that multiplies and adds."""
    machine = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "import test_cpu; test_cpu.check_classes_of_each_size()"
    here = Path(__file__).parent
    environment = {**os.environ, **machine, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], cwd=here, env=environment, check=True)
    assert any(tmp_path.rglob("cpu_kernel.accumulate-*"))


def test_a_class_of_white_images_as_large_as_32_bits_hold(monkeypatch):
    """The largest possible sums: FLUSH images of the largest products, and one more."""
    pixels = np.broadcast_to(np.uint8(255), (FLUSH + 1, 1, 1, 3))
    images = LabeledImages(pixels, np.zeros(FLUSH + 1, np.int64), ("x",))
    monkeypatch.setattr("cifar10_s.common.threads.cores", lambda: 1)
    moments = compute_moments(images)
    assert set(moments.products.ravel().tolist()) == {(FLUSH + 1) * 255**2}


# The kernel and its plain version


@pytest.mark.work
@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 40),
    size=st.sampled_from([1, 2, 7, 1024, STRIP, STRIP + 5]),
    channels=st.integers(1, 4),
    classes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_the_kernel_adds_what_its_plain_version_adds(count, size, channels, classes, seed):
    """To totals that are not 0, and of images in any order."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (2 * count + 1, size * channels), dtype=np.uint8)
    counts = np.bincount(random.integers(0, classes, count), minlength=classes)
    order = random.permutation(len(rows))[:count]
    before = random.integers(0, 1000, (classes, *cpu.totals_shape((1, size, channels))), dtype=np.uint32)
    got = []
    for add in (cpu_kernel.accumulate, cpu_kernel.accumulate_plain):
        totals = before.copy()
        add(rows, order, counts, tuple(range(channels)), totals)
        sums, products = (np.zeros((classes, size, n), np.int64) for n in (channels, channels * (channels + 1) // 2))
        cpu_kernel.gather(totals, sums, products)
        got.append((sums, products))
    assert all(map(np.array_equal, *got))


def refused(*arguments):
    raise AttributeError("llvmlite has\nno such function")


def ill_formed(context, builder, array_type, totals, index, values):
    """Emit a load that LLVM refuses to read."""
    address = cpu_kernel.element_pointer(context, builder, array_type, totals, index)
    builder.load(address, align=3)


@pytest.fixture
def undecided():
    """Clear the cached choice of the kernel, before and after."""
    cpu._kernel.cache_clear()
    yield
    cpu._kernel.cache_clear()


@pytest.mark.parametrize(
    ("part", "broken", "reason"),
    [
        ("multiply_and_add_neighbours", refused, "AttributeError: llvmlite has no such function"),
        ("add_to", ill_formed, "RuntimeError: LLVM IR parsing error"),
        ("vector", refused, "AttributeError: llvmlite has no such function"),
    ],
)
def test_the_plain_version_takes_over_if_the_kernel_does_not_compile(
    part, broken, reason, undecided, monkeypatch, caplog
):
    images = make_images(count=100, channels=3, classes=3)
    expected = compute_moments(images)
    cpu._kernel.cache_clear()
    # Compiled anew: the version cached on disk would run.
    monkeypatch.setattr(cpu, "accumulate", njit(cpu_kernel.accumulate.py_func))
    monkeypatch.setattr(cpu_kernel, part, broken)
    with caplog.at_level(logging.WARNING):
        got = [compute_moments(images) for _ in range(2)]
    for moments in got:
        assert all(np.array_equal(getattr(moments, n), getattr(expected, n)) for n in ("counts", "sums", "products"))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"cifar10_s.shortcut.cpu_kernel.accumulate does not compile here ({reason}")
    assert line.endswith("continuing with cifar10_s.shortcut.cpu_kernel.accumulate_plain, slower")
    assert cpu._kernel(3) is cpu_kernel.accumulate_plain


def test_the_kernel_compiles_here(undecided, caplog):
    """And only once for each number of channels, whether the images are read-only or not."""
    assert [cpu._kernel(channels) for channels in (1, 2, 3, 4)] == [cpu_kernel.accumulate] * 4
    assert not caplog.records
    fresh = njit(cpu_kernel.accumulate.py_func)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "accumulate", fresh)
        cpu._kernel.cache_clear()
        images = make_images(count=30, channels=2)
        compute_moments(images)
        images.pixels.flags.writeable = False
        compute_moments(images)
    assert len(fresh.signatures) == 1
