import hashlib

import numpy as np
import pytest
from conftest import make_images

from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages, PixelDigest
from cifar10_s.provenance import Provenance
from cifar10_s.seeds import generator


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
