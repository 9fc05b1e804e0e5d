"""Streams that count which images are read."""

import threading
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cifar10_s.data.images import LabeledImages
from cifar10_s.data.stream import Stream
from cifar10_s.shortcut.accumulate import _class_bytes


@dataclass(frozen=True, eq=False)
class CountingBlock:
    """A block that counts how often each image was read, and reads ``piece`` at a time."""

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
    """A mapper, as of a cluster, that handles one item after another."""

    workers = workers_per_node = 3

    def __init__(self):
        self.items = 0

    def __call__(self, function, items):
        for item in items:
            self.items += 1
            yield function(item)


def stream_of(images, sizes=(7,), piece=3, mapper=None):
    """Return the images as a stream of blocks, whose sizes repeat, and the counter of reads."""
    bounds = [0]
    while bounds[-1] < len(images):
        bounds.append(min(bounds[-1] + sizes[(len(bounds) - 1) % len(sizes)], len(images)))
    reads, lock = Counter(), threading.Lock()
    blocks = [CountingBlock(images, a, b, piece, reads, lock) for a, b in pairwise(bounds)]
    shape, names = images.shape[1:], images.class_names
    return Stream(tuple(blocks), shape, images.labels, names, images.provenance, mapper=mapper), reads


def memory_of(images, classes):
    return classes * _class_bytes(images)
