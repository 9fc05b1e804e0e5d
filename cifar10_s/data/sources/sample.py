"""The built-in sample: scikit-learn's handwritten digits, 8×8×1, 1,797 images."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.place import Place
from cifar10_s.errors import SourceError

SAMPLE = "sample"
# In scikit-learn's folder: a line of 64 levels and a label per image.
DIGITS = Path("datasets", "data", "digits.csv.gz")
# Every fifth digit is a test image. The digits are in order of writer, so both splits have all writers.
TEST_EVERY = 5


def find_sample(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of the sample."""
    splits = ("train", "test")
    return Found({split: partial(_load, split) for split in splits}, dict.fromkeys(splits, "scikit-learn's digits"))


def _load(split: str) -> LabeledImages:
    levels, labels = _digits()
    # Levels 0-16 become 0-255: 16·255/16 is exact, the others are rounded to nearest.
    pixels = to_uint8(levels * (255 / 16))
    is_test = np.arange(len(pixels)) % TEST_EVERY == TEST_EVERY - 1
    chosen = is_test if split == "test" else ~is_test
    return LabeledImages(
        pixels[chosen],
        labels[chosen],
        tuple(map(str, range(10))),
        Provenance(SAMPLE, "scikit-learn's handwritten digits"),
    )


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the digits, (N, 8, 8, 1) from 0 to 16, and their labels, (N,): what `sklearn.datasets.load_digits` reads.

    Importing scikit-learn takes longer than a search, so its file is read without it.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise SourceError("sample: scikit-learn, which has the images, is not installed: pip install scikit-learn")
    table = np.loadtxt(Path(package.origin).parent / DIGITS, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int64)
