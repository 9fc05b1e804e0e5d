"""Images that are read block by block are the images in memory, in every respect."""

import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import make_images
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar10_s import images as images_module
from cifar10_s._kernel import STRIP
from cifar10_s.compiled_sums import FLUSH
from cifar10_s.distributed import RayMapper
from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages, numbers
from cifar10_s.memory import show_size
from cifar10_s.methods import METHODS, GivenNoise
from cifar10_s.methods.method import CHUNK, Method
from cifar10_s.parallel import cores
from cifar10_s.search import OBJECTIVES, best_colors, random_pixels, score_maps, search
from cifar10_s.shortcut import Shortcut
from cifar10_s.stream import Stream
from cifar10_s.summation import _class_bytes, compute_moments, moments_by_class


@dataclass(frozen=True, eq=False)
class CountingBlock:
    """Some images that count how often each was read; ``piece`` at a time."""

    images: LabeledImages
    start: int
    stop: int
    piece: int
    reads: Counter
    lock: threading.Lock

    def __len__(self):
        return self.stop - self.start

    def read(self, rows):
        assert rows.dtype.kind == "i"
        assert (np.diff(rows) > 0).all()
        assert not len(rows) or 0 <= rows[0] <= rows[-1] < len(self)
        for at in range(0, len(rows), self.piece):
            chosen = self.start + rows[at : at + self.piece]
            with self.lock:
                self.reads.update(chosen.tolist())
            yield self.images.pixels[chosen]


class InTurn:
    """A mapper: who does the work elsewhere; here, one item after another."""

    workers = beside = 3

    def __init__(self):
        self.items = 0

    def __call__(self, function, items):
        for item in items:
            self.items += 1
            yield function(item)


def stream_of(images, sizes=(7,), piece=3, mapper=None):
    """Give the same images in blocks of the sizes, again and again, and the counter of what was read."""
    bounds = [0]
    while bounds[-1] < len(images):
        bounds.append(min(bounds[-1] + sizes[(len(bounds) - 1) % len(sizes)], len(images)))
    reads, lock = Counter(), threading.Lock()
    blocks = [CountingBlock(images, a, b, piece, reads, lock) for a, b in pairwise(bounds)]
    shape, names = images.shape[1:], images.class_names
    return Stream(tuple(blocks), shape, images.labels, names, images.provenance, mapper=mapper), reads


def shifted(images):
    """Give a change that depends on each row's number and label, so that a wrong row shows."""
    added = (np.arange(len(images)) * 7 + images.labels * 31).astype(np.uint8)
    return lambda rows, pixels: pixels + added[numbers(rows)][:, None, None, None]


def inverted(rows, pixels):
    return 255 - pixels


def gathered(results, shape):
    """Put what `map` gave for each part together: row numbers and pixels."""
    rows, pixels = [np.arange(0)], [np.empty((0, *shape), np.uint8)]
    for of_part, read in results:
        rows.append(numbers(of_part))
        pixels.append(read)
    return np.concatenate(rows), np.concatenate(pixels)


@st.composite
def pairs(draw):
    """Images in memory, the same as a stream, and what is asked of both."""
    count = draw(st.integers(1, 40))
    images = make_images(draw(st.integers(0, 99)), count=count, height=2, width=3, classes=draw(st.integers(1, 3)))
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any))
    mapper = draw(st.sampled_from([None, InTurn()]))
    stream, _ = stream_of(images, sizes, draw(st.integers(1, 5)), mapper)
    for change in draw(st.lists(st.sampled_from([shifted(images), inverted]), max_size=3)):
        images, stream = images.derive(change), stream.derive(change)
    wanted = np.array(draw(st.lists(st.booleans(), min_size=len(images), max_size=len(images))), bool)
    return images, stream, wanted


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_a_stream_is_the_images(pair):
    images, stream, _ = pair
    assert (len(stream), stream.shape, stream.digest()) == (len(images), images.shape, images.digest())
    loaded = stream.load()
    assert np.array_equal(loaded.pixels, images.pixels)
    assert loaded.labels is stream.labels
    assert (loaded.class_names, loaded.provenance) == (images.class_names, images.provenance)
    assert stream.kept(3 * images.pixels.size - 1) is stream
    assert isinstance(stream.kept(3 * images.pixels.size), LabeledImages) is not stream.is_distributed


def assert_rows(found, images, expected):
    rows, pixels = found
    assert np.array_equal(rows, expected)
    assert np.array_equal(pixels, images.pixels[expected])


@settings(max_examples=100, deadline=None)
@given(pairs(), st.sampled_from([1, 4, 1000]))
def test_map_gives_each_wanted_row_once_in_order(pair, part):
    images, stream, wanted = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images_module, "PART_IMAGES", part)
        for mask, expected in [(None, np.arange(len(images))), (wanted, np.flatnonzero(wanted))]:
            for either in (images, stream):
                assert_rows(gathered(either.map(lambda *part: part, wanted=mask), images.shape[1:]), images, expected)


@settings(max_examples=100, deadline=None)
@given(pairs(), st.booleans())
def test_fold_gives_each_wanted_row_once_in_order(pair, every):
    images, stream, wanted = pair
    expected = np.arange(len(images)) if every else np.flatnonzero(wanted)
    runs = list(stream.fold(lambda labels, pieces: (labels, list(pieces)), wanted=None if every else wanted))
    for of_run, pieces in runs:
        assert np.array_equal(of_run, np.concatenate([labels for labels, _ in pieces]))
    labels, pixels = gathered([piece for _, pieces in runs for piece in pieces], images.shape[1:])
    assert np.array_equal(labels, images.labels[expected])
    assert np.array_equal(pixels, images.pixels[expected])


@settings(max_examples=100, deadline=None)
@given(pairs(), st.data())
def test_read_and_take_give_the_rows(pair, data):
    images, stream, wanted = pair
    first = data.draw(st.integers(0, len(images)))
    last = data.draw(st.integers(first, len(images)))
    for rows in (slice(first, last), np.flatnonzero(wanted)):
        assert np.array_equal(stream.read(rows), images.read(rows))
        if len(images.labels[rows]):
            taken, expected = stream.take(rows), images.take(rows)
            assert np.array_equal(taken.pixels, expected.pixels)
            assert np.array_equal(taken.labels, expected.labels)


def test_what_is_not_wanted_is_not_read():
    images = make_images(count=60)
    stream, reads = stream_of(images)
    chosen = np.array([0, 6, 7, 30, 59])
    stream.read(chosen)
    wanted = np.isin(np.arange(60), chosen)
    list(stream.map(lambda *part: None, wanted=wanted))
    list(stream.fold(lambda labels, pieces: list(pieces), wanted=wanted))
    assert reads == dict.fromkeys(chosen.tolist(), 3)


def test_what_was_derived_is_measured_by_one_reading():
    """Beside those they were derived from, images are read once; beside others, both are read."""
    images = make_images(count=30)
    stream, reads = stream_of(images)
    changed = stream.derive(lambda rows, pixels: pixels // 2).derive(lambda rows, pixels: pixels + 1)

    def seen(of, before):
        parts = list(of.map_beside(before, lambda rows, *both: (rows, *both)))
        assert np.array_equal(np.concatenate([numbers(rows) for rows, _, _ in parts]), np.arange(30))
        return [np.concatenate([part[i] for part in parts]) for i in (1, 2)]

    for before in (stream, images, stream_of(images)[0], changed):
        reads.clear()
        first, second = seen(changed, before)
        assert reads == dict.fromkeys(range(30), 2 if before is changed else 1)
        assert np.array_equal(first, before.read(slice(0, 30)))
        assert np.array_equal(second, images.pixels // 2 + 1)


def test_deriving_reads_nothing():
    stream, reads = stream_of(make_images())
    stream.derive(inverted).derive(inverted)
    assert not reads


def test_what_is_sent_away_is_worth_sending(monkeypatch):
    mapper = InTurn()
    stream, _ = stream_of(make_images(count=70), mapper=mapper)
    list(stream.map(lambda *part: None))
    assert mapper.items == 1
    monkeypatch.setattr("cifar10_s.stream.BUNDLE_BYTES", 20 * stream.read(slice(0, 1)).size)
    list(stream.map(lambda *part: None))
    assert mapper.items == 1 + 4


def test_an_error_in_a_block_is_the_reader_s():
    def fail(rows, pixels):
        raise UsageError("x")

    stream, _ = stream_of(make_images(count=200))
    with pytest.raises(UsageError, match="x"):
        stream.derive(fail).load()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_labels_and_images_that_do_not_go_together():
    stream, _ = stream_of(make_images(count=10))
    with pytest.raises(UsageError, match=r"expected int64 of shape \(10,\)"):
        replace(stream, labels=stream.labels[1:])
    with pytest.raises(UsageError, match="expected 0 to 1"):
        replace(stream, class_names=("a", "b"))


def test_no_images_at_all():
    with pytest.raises(UsageError, match="expected at least one image"):
        Stream((), (2, 2, 3), np.arange(0), ("a",), make_images().provenance)


# Methods


def method_of(name, images):
    """Give a method; one that needs a network is replaced by noise of its own."""
    method = METHODS[name]
    if type(method).change is not Method.change:
        return method
    levels = np.random.default_rng(0).integers(-8, 9, images.shape).astype(np.float32)
    return GivenNoise.of(method, file="x.npy", sha256="0" * 64, kind="sample-wise", levels=levels)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_method_gives_a_stream_the_same_pixels(name, channels):
    """Across the chunks whose chance is drawn together."""
    images = make_images(count=2 * CHUNK + 37, height=8, width=9, channels=channels)
    method = method_of(name, images)
    if method.change(images, seed=3, device="cpu") is None:
        pytest.skip("needs all images in memory")
    expected = method.perturb(images, seed=3, device="cpu")
    for sizes, piece in (([1, 13, 701], 97), ([4_000], 501)):
        stream, _ = stream_of(images, sizes, piece)
        perturbed = stream.derive(method.change(stream, seed=3, device="cpu"))
        assert np.array_equal(perturbed.load().pixels, expected)
        chosen = np.array([0, 36, CHUNK - 1, CHUNK, 2 * CHUNK + 36])
        assert np.array_equal(perturbed.read(chosen), expected[chosen])


def test_noise_of_a_class(tmp_path):
    images = make_images(count=50)
    levels = np.random.default_rng(0).integers(-8, 9, (3, *images.shape[1:])).astype(np.float32)
    method = GivenNoise.of(METHODS["lsp"], file="x.npy", sha256="0" * 64, kind="class-wise", levels=levels)
    stream, _ = stream_of(images)
    perturbed = stream.derive(method.change(stream, seed=0, device="cpu"))
    assert np.array_equal(perturbed.load().pixels, method.perturb(images, seed=0, device="cpu"))


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_stamp_gives_a_stream_the_same_pixels(pixels):
    images = make_images(count=100)
    shortcut = search(images, pixels=pixels, device="cpu")
    stream, _ = stream_of(images, [1, 13, 30], 4)
    stamped = shortcut.stamp(stream)
    assert isinstance(stamped, Stream)
    assert np.array_equal(stamped.load().pixels, shortcut.stamp(images).pixels)
    assert np.array_equal(stream.load().pixels, images.pixels)


# Search


def memory_of(images, classes):
    return classes * _class_bytes(images)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7])
def test_a_search_of_some_classes_at_a_time_is_the_search(objective, pixels, at_a_time):
    images = make_images(count=300, classes=7)
    expected = search(images, objective=objective, pixels=pixels, device="cpu").to_json()
    for mapper in (None, InTurn()):
        stream, reads = stream_of(images, [5, 31], 8, mapper)
        memory = memory_of(stream, at_a_time)
        found = search(stream, objective=objective, pixels=pixels, device="cpu", memory=memory)
        assert found.to_json() == expected
        assert reads == dict.fromkeys(range(300), 1)


def test_maps_and_the_control_of_some_classes_at_a_time():
    images = make_images(count=300, classes=7)
    memory = memory_of(images, 2)
    stream, reads = stream_of(images)
    assert random_pixels(stream, pixels=2, seed=5, memory=memory).to_json() == (
        random_pixels(images, pixels=2, seed=5).to_json()
    )
    maps, colors = best_colors(stream, device="cpu", memory=memory, classes=3)
    assert np.array_equal(maps, score_maps(images, device="cpu")[:3])
    assert np.array_equal(colors, best_colors(images, device="cpu")[1][:3])
    # Three classes take two passes, over their images alone.
    assert reads == {row: 1 + (label < 3) for row, label in enumerate(images.labels.tolist())}


@pytest.mark.parametrize("mapper", [None, InTurn()], ids=["here", "elsewhere"])
def test_a_class_without_images_has_sums_of_nothing(mapper):
    images = make_images(count=20, classes=2)
    names = ("a", "b", "c")
    stream, _ = stream_of(replace(images, class_names=names), mapper=mapper)
    expected = score_maps(replace(images, class_names=names), device="cpu")
    assert np.array_equal(score_maps(stream, device="cpu", memory=memory_of(stream, 1)), expected)
    with pytest.raises(UsageError, match=r"class 2 \(c\) has no images"):
        search(stream, device="cpu")


def test_too_little_memory_for_a_class_gets_a_line():
    stream, reads = stream_of(make_images())
    with pytest.raises(UsageError, match=r"^memory: the sums of one class of 5×4×3 take .* got 0\.1 MiB$"):
        search(stream, device="cpu", memory=memory_of(stream, 1) - 1)
    assert not reads


@pytest.fixture
def told(monkeypatch):
    """What `summation` says, each with how many images had been read by then, by the counter that is put in."""

    class Told(logging.Handler):
        def __init__(self):
            super().__init__()
            self.lines, self.reads = [], Counter()

        def emit(self, record):
            self.lines.append((record.getMessage(), self.reads.total()))

    logger, handler = logging.getLogger("cifar10_s.summation"), Told()
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger._cache.clear()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_several_passes_are_told_before_they_begin(told):
    stream, told.reads = stream_of(make_images(count=300, classes=7))
    search(stream, device="cpu", memory=memory_of(stream, 3))
    size = show_size(memory_of(stream, 3))
    assert told.lines == [(f"the sums of 7 classes of 5×4×3 take {size} at a time: 3 passes of up to 3 classes", 0)]


def test_small_sums_are_kept_and_nothing_is_said(told):
    stream, reads = stream_of(make_images(count=300, classes=7))
    first, second = (search(stream, objective=name, device="cpu") for name in list(OBJECTIVES)[:2])
    assert first.objective != second.objective
    assert set(reads.values()) == {1}
    assert not told.lines


def test_large_sums_are_told_and_not_kept(told, monkeypatch):
    stream, told.reads = stream_of(make_images(count=300, classes=7))
    monkeypatch.setattr("cifar10_s.summation.KEPT_BYTES", memory_of(stream, 7) - 1)
    found = {search(stream, device="cpu").to_json() for _ in range(2)}
    assert len(found) == 1
    size = show_size(memory_of(stream, 7))
    assert told.lines == [(f"the sums of 7 classes of 5×4×3 take {size}", 300 * number) for number in range(2)]


# Sums


def plain_moments(images):
    pixels, label = images.pixels.astype(np.int64), images.labels
    channels = images.shape[-1]
    pairs = [(i, j) for i in range(channels) for j in range(i, channels)]
    products = np.stack([pixels[..., i] * pixels[..., j] for i, j in pairs], -1)
    classes = range(len(images.class_names))
    return [np.stack([part[label == k].sum(0) for k in classes]) for part in (pixels, products)]


@pytest.mark.parametrize("flush", [1, 8, 11, 64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sums_carry_over_exactly(monkeypatch, flush, channels):
    """As though 32 bits held so few images."""
    monkeypatch.setattr("cifar10_s.compiled_sums.FLUSH", flush)
    images = make_images(count=200, channels=channels, classes=2)
    for either in (images, stream_of(images, [3, 50], 40)[0]):
        moments = compute_moments(either, device="cpu")
        sums, products = plain_moments(images)
        assert moments.counts.tolist() == np.bincount(images.labels).tolist()
        assert np.array_equal(moments.sums, sums)
        assert np.array_equal(moments.products, products)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, STRIP - 1), (1, STRIP), (1, STRIP + 1), (90, 91)])
def test_images_of_some_strips(channels, height, width):
    """In classes of more than the eight images that are summed together."""
    images = make_images(count=40, height=height, width=width, channels=channels, classes=2)
    moments = compute_moments(images, device="cpu")
    assert all(np.array_equal(a, b) for a, b in zip((moments.sums, moments.products), plain_moments(images)))


def check_classes_of_each_size():
    """Hold the sums of 1 to 24 images a class to the plain ones."""
    for channels in (1, 2, 3, 4):
        images = make_images(count=300, height=1, width=STRIP + 9, channels=channels)
        labels = np.random.default_rng(channels).permutation(np.repeat(np.arange(24), np.arange(1, 25)))
        images = LabeledImages(images.pixels, labels, tuple(map(str, range(24))))
        images.pixels.flags.writeable = False
        moments = compute_moments(images, device="cpu")
        assert all(map(np.array_equal, (moments.sums, moments.products), plain_moments(images)))


def test_classes_of_each_size():
    check_classes_of_each_size()


def test_sums_on_a_processor_without_avx2(tmp_path):
    """Where one instruction does not multiply and add."""
    machine = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "import test_stream; test_stream.check_classes_of_each_size()"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, env={**os.environ, **machine}, check=True)
    assert any(tmp_path.rglob("_kernel.accumulate*"))


def test_large_classes_take_more():
    sizes = [
        _class_bytes(LabeledImages(np.zeros((count, 1, 1, 1), np.uint8), np.zeros(count, np.int64), ("x", "y")))
        for count in (FLUSH, FLUSH + 1)
    ]
    assert sizes[1] - sizes[0] == 8 * 2 * STRIP * cores()


def test_without_numba_sums_are_of_64_bits(monkeypatch):
    monkeypatch.setattr("cifar10_s.summation._has_numba", lambda: False)
    assert _class_bytes(make_images(height=3, width=5, channels=3)) == 8 * 15 * (12 * cores() + 9 * 2)


def test_on_a_cluster_each_worker_of_a_machine_has_sums():
    stream, _ = stream_of(make_images(height=2, width=2, channels=1))
    here, *there = [
        _class_bytes(replace(stream, mapper=mapper)) for mapper in (None, RayMapper(64, 1), RayMapper(64, 8))
    ]
    sums, totals = 4 * STRIP * 2, 4 * 8 * 2
    assert [here, *there] == [cores() * sums + totals, sums + 4 * totals, 8 * sums + 18 * totals]


def test_a_class_of_white_images_as_large_as_32_bits_hold(monkeypatch):
    """The largest sums there are: FLUSH images of the largest products, and one more."""
    pixels = np.broadcast_to(np.uint8(255), (FLUSH + 1, 1, 1, 3))
    images = LabeledImages(pixels, np.zeros(FLUSH + 1, np.int64), ("x",))
    monkeypatch.setattr("cifar10_s.parallel.cores", lambda: 1)
    moments = compute_moments(images, device="cpu")
    assert set(moments.products.ravel().tolist()) == {(FLUSH + 1) * 255**2}


def test_groups_of_classes_are_consecutive_and_complete():
    images = make_images(count=100, classes=7)
    whole = compute_moments(images, device="cpu")
    groups = list(moments_by_class(images, device="cpu", memory=memory_of(images, 3)))
    assert [len(group.counts) for group in groups] == [3, 3, 1]
    assert np.array_equal(np.concatenate([group.products for group in groups]), whole.products)


def test_a_shortcut_of_a_stream_is_one_like_any_other():
    stream, _ = stream_of(make_images())
    shortcut = search(stream, device="cpu")
    assert Shortcut.from_dict(shortcut.to_dict()).to_json() == shortcut.to_json()
