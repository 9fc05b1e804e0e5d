"""Sums over images in memory, streamed or on a cluster: groups of classes, log messages, and what is kept."""

import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.images import make_images
from support.moments import compute_moments
from support.options import on_cpu
from support.streams import memory_of, stream_of

from cifar10_s.common.machine import cores, show_size
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.images import LabeledImages
from cifar10_s.shortcut.accumulate import _class_bytes, moments_by_class
from cifar10_s.shortcut.cpu import FLUSH
from cifar10_s.shortcut.cpu_kernel import STRIP
from cifar10_s.shortcut.moments import Moments
from cifar10_s.shortcut.objectives import SEARCHED
from cifar10_s.shortcut.pixel_search import search


@pytest.fixture
def logged(monkeypatch):
    """Log messages of `accumulate`, each with the number of reads that ``reads`` had counted by then."""

    class Logged(logging.Handler):
        def __init__(self):
            super().__init__()
            self.lines, self.reads = [], Counter()

        def emit(self, record):
            self.lines.append((record.getMessage(), self.reads.total()))

    logger, handler = logging.getLogger("cifar10_s.shortcut.accumulate"), Logged()
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger._cache.clear()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_several_passes_are_logged_before_they_begin(logged):
    stream, logged.reads = stream_of(make_images(count=300, classes=7))
    search(stream, device="cpu", memory=memory_of(stream, 3))
    size = show_size(memory_of(stream, 3))
    assert logged.lines == [(f"the sums of 7 classes of 5×4×3 take {size} at a time: 3 passes of up to 3 classes", 0)]


def test_small_sums_are_kept_and_nothing_is_logged(logged):
    stream, reads = stream_of(make_images(count=300, classes=7))
    first, second = (search(stream, objective=name, device="cpu") for name in list(SEARCHED)[:2])
    assert first.objective != second.objective
    assert set(reads.values()) == {1}
    assert not logged.lines


def test_sums_are_kept_with_their_images_and_no_others():
    images = make_images()
    search(images, device="cpu")
    (moments,) = moments_by_class(images, on_cpu())
    assert images.kept(Moments) is moments
    assert replace(images).kept(Moments) is None
    (of_others,) = moments_by_class(images.with_transform(lambda rows, pixels: 255 - pixels), on_cpu())
    assert np.array_equal(of_others.sums, 255 * moments.counts[:, None, None, None] - moments.sums)


def test_large_sums_are_logged_and_not_kept(logged):
    stream, logged.reads = stream_of(make_images(count=300, classes=7))
    size = memory_of(stream, 7)
    (first,), (second,) = (list(moments_by_class(stream, on_cpu(), keep_bytes=size - 1)) for _ in range(2))
    assert all(np.array_equal(getattr(first, n), getattr(second, n)) for n in ("counts", "sums", "products"))
    message = f"the sums of 7 classes of 5×4×3 take {show_size(size)}"
    assert logged.lines == [(message, 300 * number) for number in range(2)]
    assert stream.kept(Moments) is None
    (kept,) = moments_by_class(stream, on_cpu(), keep_bytes=size)
    assert stream.kept(Moments) is kept


def test_large_classes_take_more():
    sizes = [
        _class_bytes(LabeledImages(np.zeros((count, 1, 1, 1), np.uint8), np.zeros(count, np.int64), ("x", "y")))
        for count in (FLUSH, FLUSH + 1)
    ]
    assert sizes[1] - sizes[0] == 8 * 2 * STRIP * cores()


def test_without_numba_sums_are_of_64_bits(monkeypatch):
    monkeypatch.setattr("cifar10_s.shortcut.accumulate._has_numba", lambda: False)
    assert _class_bytes(make_images(height=3, width=5, channels=3)) == 8 * 15 * (12 * cores() + 9 * 2)


def test_on_a_cluster_each_worker_of_a_machine_has_sums():
    stream, _ = stream_of(make_images(height=2, width=2, channels=1))
    here, *there = [_class_bytes(replace(stream, mapper=mapper)) for mapper in (None, Cluster(64, 1), Cluster(64, 8))]
    sums, totals = 4 * STRIP * 2, 4 * 8 * 2
    assert [here, *there] == [cores() * sums + totals, sums + 4 * totals, 8 * sums + 18 * totals]


def test_groups_of_classes_are_consecutive_and_complete():
    images = make_images(count=100, classes=7)
    whole = compute_moments(images)
    groups = list(moments_by_class(images, on_cpu(memory=memory_of(images, 3))))
    assert [len(group.counts) for group in groups] == [3, 3, 1]
    assert np.array_equal(np.concatenate([group.products for group in groups]), whole.products)
