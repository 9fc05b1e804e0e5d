"""Images in memory: digests, checks, provenance, and what is kept with them."""

import copy
import gc
import hashlib
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
from support.images import make_images
from support.streams import stream_of
from torch.utils.data import DataLoader

from cifar10_s.common.rng import generator
from cifar10_s.data.images import LabeledImages, PixelDigest
from cifar10_s.data.provenance import Provenance
from cifar10_s.errors import UsageError


def test_the_digest_is_what_its_definition_says():
    images = make_images()
    count, height, width, channels = images.pixels.shape
    expected = hashlib.sha256()
    expected.update(f"uint8 {count} {height} {width} {channels}\n".encode())
    for label in images.labels.tolist():
        expected.update(label.to_bytes(8, "little"))
    expected.update(bytes(images.pixels.ravel().tolist()))
    assert images.digest() == expected.hexdigest()


def test_the_digest_of_pieces_is_that_of_the_whole():
    images = make_images()
    digest = PixelDigest(images.pixels.shape, images.labels)
    for piece in np.array_split(images.pixels, 7):
        digest.update(piece)
    assert digest.hexdigest() == images.digest()


def test_the_digest_depends_on_pixels_labels_and_shape():
    images = make_images(count=8, height=2, width=4, classes=2)
    names = images.class_names
    others = [
        images.pixels ^ np.uint8(1),
        images.pixels.reshape(8, 4, 2, 3),
        images.pixels[::-1],
    ]
    digests = {LabeledImages(pixels, images.labels, names).digest() for pixels in [images.pixels, *others]}
    digests.add(LabeledImages(images.pixels, 1 - images.labels, names).digest())
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int64), "expected uint8"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"of shape \(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 5), np.uint8), np.zeros(2, np.int64), "C from 1 to 4"),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, np.int64), "no size 0"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, np.int64), r"expected int64 of shape \(2,\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32), "got int32"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 2]), "image 1 has label 2, expected 0 to 1"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([-1, 0]), "image 0 has label -1"),
    ],
)
def test_what_is_not_labelled_images_gets_a_line(pixels, labels, message):
    with pytest.raises(UsageError, match=message):
        LabeledImages(pixels, labels, ("a", "b"))


@pytest.mark.parametrize(
    ("provenance", "is_cifar10", "title"),
    [
        (Provenance("archive", "a.tar.gz", True, "MD5"), True, "CIFAR-10"),
        (Provenance("archive", "a.tar.gz", True), False, "an unverified copy of CIFAR-10 (a.tar.gz)"),
        (Provenance("images", "cifar10"), False, "“cifar10”"),
        (Provenance("arrays", "CIFAR-10"), False, "“CIFAR-10”"),
    ],
)
def test_only_what_is_checked_is_called_cifar10(provenance, is_cifar10, title):
    assert provenance.is_cifar10 is is_cifar10
    assert provenance.title == title


def test_streams_belong_to_names():
    drawn = [generator(*names).integers(0, 2**60) for names in [(0, "a"), (0, "b"), (1, "a"), (0, "a", "b")]]
    assert len(set(drawn)) == 4
    assert generator(0, "a").integers(0, 2**60) == drawn[0]


class Result:
    """A result that was computed from images."""


@pytest.mark.parametrize("make", [make_images, lambda: stream_of(make_images())[0]], ids=["memory", "stream"])
def test_what_is_kept_belongs_to_the_images_alone(make):
    images = make()
    assert images.kept(Result) is None
    first = images.keep(Result())
    assert images.keep(Result()) is first is images.kept(Result)
    assert images.kept(str) is None
    others = [copy.copy(images), replace(images), images.with_transform(lambda rows, pixels: pixels)]
    assert [other.kept(Result) for other in others] == [None] * 3
    gone = weakref.ref(first)
    del images, first
    gc.collect()
    assert gone() is None


def test_what_is_kept_is_not_sent_along():
    images = make_images()
    digest = images.digest()
    before = len(pickle.dumps(images))
    images.keep(np.zeros(1 << 20))
    sent = pickle.dumps(images)
    assert len(sent) == before
    again = pickle.loads(sent)
    assert again.kept(np.ndarray) is None
    assert again.digest() == digest


def test_images_are_a_sequence_of_pixels_and_labels():
    random = np.random.default_rng(0)
    images = LabeledImages(random.integers(0, 256, (7, 3, 4, 2), np.uint8), np.arange(7) % 2, ("a", "b"))
    assert [label for _, label in images] == images.labels.tolist()
    assert np.array_equal(np.stack([pixels for pixels, _ in images]), images.pixels)
    pixels, label = images[-1]
    assert (label, pixels.tolist()) == (0, images.pixels[6].tolist())
    with pytest.raises(IndexError):
        images[7]
    assert repr(images) == "LabeledImages(7×3×4×2, 2 classes, an array in memory)"


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_images_are_a_dataset_for_pytorch(channels, mode):
    random = np.random.default_rng(1)
    images = LabeledImages(random.integers(0, 256, (6, 5, 4, channels), np.uint8), np.arange(6) % 3, ("a", "b", "c"))
    dataset = images.to_torch()
    batch, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert labels.tolist() == images.labels.tolist()
    assert np.array_equal((batch * 255).round().byte().permute(0, 2, 3, 1).numpy(), images.pixels)
    assert (dataset.classes, dataset.targets) == (["a", "b", "c"], images.labels.tolist())
    image, label = images.to_torch(lambda image: image)[4]
    assert (image.mode, image.size, label) == (mode, (4, 5), 1)
    assert np.array_equal(np.asarray(image).reshape(5, 4, channels), images.pixels[4])
