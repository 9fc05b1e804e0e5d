"""Few images are summed up in NumPy to the same bits, without numba."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import make_images
from support.options import on_cpu

from cifar10_s.shortcut import accumulate
from cifar10_s.shortcut.accumulate import FEW_MEMORY, moments_by_class
from cifar10_s.shortcut.cpu import CompiledSums
from cifar10_s.shortcut.plain_sums import PlainSums


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_sums_are_those_of_the_kernel(data):
    shape = data.draw(st.tuples(*(st.integers(1, most) for most in (5, 5, 4))))
    count, classes = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 6))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels = random.choice(np.array([0, 1, 254, 255], np.uint8), (count, *shape))
    labels = random.integers(0, classes, count)
    both = [sums(shape, classes) for sums in (PlainSums, CompiledSums)]
    cut = data.draw(st.integers(0, count))
    for part in (slice(cut), slice(cut, count)):
        for sums in both:
            if len(pixels[part]):
                sums.add(pixels[part], labels[part])
    plain, compiled = (sums.moments() for sums in both)
    assert all(np.array_equal(getattr(plain, n), getattr(compiled, n)) for n in ("counts", "sums", "products"))


@pytest.mark.parametrize(
    ("memory", "few", "kind"),
    [
        (FEW_MEMORY, 420, PlainSums),
        (FEW_MEMORY - 1, 420, CompiledSums),
        (FEW_MEMORY, 419, CompiledSums),
    ],
    ids=["few", "little memory", "many"],
)
@pytest.mark.parametrize("sizes", [{"count": 7}, {"count": 2, "classes": 2, "names": 7}], ids=["images", "classes"])
def test_only_few_images_of_few_classes_are_summed_up_so(monkeypatch, sizes, memory, few, kind):
    """Seven images of 5×4×3, or two in seven classes, are 420 bytes."""
    names = sizes.get("names", 0)
    images = make_images(count=sizes["count"], classes=sizes.get("classes", 3))
    images = replace(images, class_names=tuple(f"class {k}" for k in range(max(names, len(images.class_names)))))
    (expected,) = moments_by_class(replace(images), on_cpu())
    monkeypatch.setattr(accumulate, "FEW_BYTES", few)
    made = []

    def noted(make):
        return lambda *args, **device: made.append(make(*args, **device)) or made[-1]

    for name in ("_make_sums", "PlainSums"):
        monkeypatch.setattr(accumulate, name, noted(getattr(accumulate, name)))
    (got,) = moments_by_class(images, on_cpu(memory=memory))
    assert {type(sums) for sums in made} == {kind}
    assert all(np.array_equal(getattr(got, n), getattr(expected, n)) for n in ("counts", "sums", "products"))
