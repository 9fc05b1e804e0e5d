"""The audit against a slow oracle; what is found, what is not, and the images without it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import audit_oracle as oracle
from support.images import make_images, photographs
from support.options import on_cpu
from support.streams import InTurn, stream_of

import cifar10_s
from cifar10_s.data.images import LabeledImages
from cifar10_s.detection import pixel_audit
from cifar10_s.detection.class_noise import _score, _weights, separable
from cifar10_s.detection.findings import CONSTANT, NEAR, NOISE
from cifar10_s.detection.pixel_audit import audit, find_shortcuts
from cifar10_s.detection.rules import Rules
from cifar10_s.detection.votes import class_bytes
from cifar10_s.errors import UsageError
from cifar10_s.methods.registry import METHODS
from cifar10_s.shortcut.objectives import RANDOM
from cifar10_s.shortcut.pixel_search import find_pixels, search


def constant(audited):
    """Return {(label, row, column): colour} of the constant pixels that the audit found."""
    return {
        (f.label, *position): color
        for f in audited.findings
        if f.kind == CONSTANT
        for position, color in zip(f.positions.tolist(), f.colors.tolist())
    }


def stamped(images, shortcut):
    """Return the (K, H, W) mask of a shortcut's pixels."""
    mask = np.zeros((len(images.class_names), *images.shape[1:3]), bool)
    for label, positions in enumerate(shortcut.positions):
        mask[label, positions[:, 0], positions[:, 1]] = True
    return mask


def smooth(count=600, classes=3, size=12, seed=0):
    """Return images like photographs: smooth, with no pixel alike in most of a class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    coarse = random.uniform(40, 210, (count, 4, 4, 3)) + 10 * labels[:, None, None, None]
    pixels = coarse.repeat(size // 4, 1).repeat(size // 4, 2) + random.normal(0, 4, (count, size, size, 3))
    names = tuple(f"class {k}" for k in range(classes))
    return LabeledImages(np.clip(pixels, 0, 255).astype(np.uint8), labels.astype(np.int64), names)


# --- constant pixels ---


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 150),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
    classes=st.integers(1, 4),
    levels=st.sampled_from([1, 2, 3, 256]),
    share=st.sampled_from([0.5, 0.75, 0.9]),
    elsewhere=st.sampled_from([0.0, 0.05, 0.5]),
    painted=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.floats(0.4, 1)), max_size=3),
)
def test_constant_pixels_are_those_of_the_slow_oracle(
    seed, count, size, classes, levels, share, elsewhere, painted
):  # fmt: skip
    height, width, channels = size
    images = make_images(seed, count, height, width, channels, classes, levels)
    random = np.random.default_rng(seed)
    for label, row, column, part in painted:
        chosen = (images.labels == label % classes) & (random.random(len(images)) < part)
        # Some classes share a colour.
        images.pixels[chosen, row % height, column % width] = label // 2
    found = audit(images, share=share, elsewhere=elsewhere)
    expected = oracle.constant_pixels(images, share, elsewhere)
    colors = {key: color for key, (color, *_) in expected.items()}
    assert constant(found) == colors
    # A finding has the least share, and the largest share elsewhere, of its pixels.
    for f in found.findings:
        if f.kind == CONSTANT:
            of_patch = [expected[f.label, *position] for position in f.positions.tolist()]
            assert f.share == pytest.approx(min(own for _, own, _, _ in of_patch))
            assert f.elsewhere == pytest.approx(max(rare for _, _, rare, _ in of_patch))
            assert {also for *_, also in of_patch} == {f.also}
    only = replace(found, findings=tuple(f for f in found.findings if f.kind == CONSTANT))
    assert np.array_equal(only.repair(images).pixels, oracle.repaired(images, only.flagged, colors))


@pytest.mark.parametrize(("objective", "pixels"), [("spread", 2), ("spread", 4), ("patches", 36)])
def test_marks_that_several_classes_share_are_found_exactly(objective, pixels):
    """Ten classes of four patches share their patches; no class shares all of them."""
    images = smooth(count=1000, classes=10, size=32)
    shortcut = search(images, objective=objective, pixels=pixels, device="cpu")
    found = audit(shortcut.stamp(images))
    assert np.array_equal(found.flagged, stamped(images, shortcut))
    assert any(f.also for f in found.findings) == (objective == "patches")
    for f in found.findings:
        sharing = [f.label, *f.also]
        assert not {f.label} & set(f.also)
        assert all(found.flagged[sharing, row, column].all() for row, column in f.positions)
    assert audit(found.repair(shortcut.stamp(images))).findings == ()


def test_a_colour_that_two_of_four_classes_share():
    images = smooth(classes=4)
    pixels = images.pixels.copy()
    pixels[np.isin(images.labels, (0, 2)), 5, 6] = (255, 0, 255)
    first, second = audit(images.with_pixels(pixels)).findings
    assert [(f.label, f.also, f.positions.tolist()) for f in (first, second)] == [
        (0, (2,), [[5, 6]]),
        (2, (0,), [[5, 6]]),
    ]
    assert first.row()[1] == "constant pixel, in 2 classes"
    assert first.to_dict()["also"] == [2]
    assert (first.share, first.elsewhere) == (1, 0)
    # In half of a third class, it is too common elsewhere.
    pixels[np.flatnonzero(images.labels == 1)[::2], 5, 6] = (255, 0, 255)
    assert constant(audit(images.with_pixels(pixels))) == {}


def test_a_mark_that_a_small_class_has_too_is_of_the_large_one():
    images = smooth(count=1500)
    small = np.flatnonzero(images.labels == 1)[10:]
    kept = np.setdiff1d(np.arange(len(images)), small)
    images = LabeledImages(images.pixels[kept].copy(), images.labels[kept], images.class_names)
    images.pixels[images.labels < 2, 5, 6] = (255, 0, 255)
    found = constant(audit(images))
    assert found == {(0, 5, 6): [255, 0, 255]}


@pytest.mark.work
def test_a_border_in_all_classes_but_one_is_not_counted(monkeypatch):
    """Which is quadratic in the number of classes."""
    images = smooth(count=400, classes=20)
    images.pixels[images.labels > 0, :2] = 0
    counted = []
    count = pixel_audit.count_colors
    monkeypatch.setattr(
        pixel_audit,
        "count_colors",
        lambda images, positions, *box: counted.append(len(positions)) or count(images, positions, *box),
    )
    assert audit(images).findings == ()
    # A background would be counted for each class and position: 19 times 24.
    assert sum(counted) <= 24


@pytest.mark.parametrize("pixels", [1, 2, 3, 4])
def test_the_searched_pixels_are_found_exactly(pixels):
    images = smooth()
    assert audit(images).findings == ()
    shortcut = search(images, pixels=pixels, device="cpu")
    poisoned = shortcut.stamp(images)
    found = audit(poisoned)
    assert np.array_equal(found.flagged, stamped(images, shortcut))
    assert all(f.kind == CONSTANT and f.share == 1 and f.tolerance == 0 for f in found.findings)
    repaired = found.repair(poisoned)
    assert audit(repaired).findings == ()
    # Nothing but the pixels changes, and they come close to what was there.
    at = found.flagged[images.labels]
    assert np.array_equal(repaired.pixels[~at], images.pixels[~at])
    before, after = (np.abs(i.pixels[at].astype(int) - images.pixels[at]).mean() for i in (poisoned, repaired))
    assert after < before / 5


def test_the_random_control_is_found_exactly():
    images = smooth()
    shortcut = find_pixels(images, RANDOM, on_cpu(seed=3), pixels=2)
    assert np.array_equal(audit(shortcut.stamp(images)).flagged, stamped(images, shortcut))


def test_a_shortcut_of_some_images_is_found_and_only_they_are_repaired():
    images = smooth()
    members = np.flatnonzero(images.labels == 1)
    carriers = members[: int(0.95 * len(members))]
    pixels = images.pixels.copy()
    pixels[carriers, 5, 6] = (255, 0, 255)
    (finding,) = audit(images.with_pixels(pixels)).findings
    assert (finding.label, finding.positions.tolist(), finding.share) == (1, [[5, 6]], 0.95)
    changed = audit(images.with_pixels(pixels)).repair(images.with_pixels(pixels)).pixels != pixels
    assert np.array_equal(np.flatnonzero(changed.any((1, 2, 3))), carriers)


# --- near-constant pixels and patches ---


def test_a_pixel_below_noise_is_nearly_constant():
    images = smooth()
    pixels, random = images.pixels.copy(), np.random.default_rng(1)
    noise = random.integers(-8, 9, (len(images), 3))
    members = images.labels == 2
    pixels[members, 3, 4] = (np.array([250, 8, 128]) + noise)[members].clip(0, 255)
    (finding,) = audit(images.with_pixels(pixels)).findings
    assert (finding.kind, finding.label, finding.positions.tolist()) == (NEAR, 2, [[3, 4]])
    assert finding.share == 1
    assert np.abs(finding.colors[0].astype(int) - (250, 8, 128)).max() <= 8
    # With less tolerance it is no longer one colour, but still a pattern in the class.
    assert [f.kind for f in audit(images.with_pixels(pixels), tolerance=2).findings] == [NOISE]


def test_touching_pixels_are_one_patch():
    images = smooth()
    pixels = images.pixels.copy()
    members = images.labels == 0
    for row, column in [(2, 2), (2, 3), (3, 4), (8, 8)]:
        pixels[members, row, column] = (row, 255, column)
    patch, alone = audit(images.with_pixels(pixels)).findings
    assert patch.positions.tolist() == [[2, 2], [2, 3], [3, 4]]
    assert patch.colors.tolist() == [[2, 255, 2], [2, 255, 3], [3, 255, 4]]
    assert alone.positions.tolist() == [[8, 8]]


def test_the_whole_image_in_one_colour_is_found_and_cannot_be_repaired():
    images = smooth()
    pixels = images.pixels.copy()
    pixels[images.labels == 1] = 7
    found = audit(images.with_pixels(pixels))
    assert [len(f.positions) for f in found.findings if f.kind == CONSTANT] == [144]
    assert np.array_equal(found.repair(images.with_pixels(pixels)).pixels, pixels)


# --- class-wise noise ---


def test_noise_of_a_class_is_found():
    images = smooth(count=900)
    perturbed = images.with_pixels(METHODS["random-classwise"].perturb(images, on_cpu()))
    found = audit(perturbed).findings
    assert [(f.kind, f.label) for f in found] == [(NOISE, 0), (NOISE, 1), (NOISE, 2)]
    assert all(4 < f.amplitude < 7 and f.share > 0.9 for f in found)
    # No pixel is flagged, so none is replaced.
    assert np.array_equal(audit(perturbed).repair(perturbed).pixels, perturbed.pixels)


def test_noise_of_an_image_is_not_found():
    images = smooth(count=900)
    assert audit(images.with_pixels(METHODS["random-samplewise"].perturb(images, on_cpu()))).findings == ()


def test_a_pixel_is_no_noise():
    """Its position is left out of the patterns, of all classes."""
    images = smooth(count=900)
    assert {f.kind for f in audit(search(images, device="cpu").stamp(images)).findings} == {CONSTANT}


@given(
    ours=st.lists(st.integers(0, 5), min_size=1, max_size=8), others=st.lists(st.integers(0, 5), min_size=1, max_size=8)
)
def test_separable_counts_pairs(ours, others):
    pairs = [(a > b) + (a == b) / 2 for a in ours for b in others]
    scores, of_class = np.array(ours + others, float), np.arange(len(ours + others)) < len(ours)
    assert separable(scores, of_class) == pytest.approx(np.mean(pairs))


# --- no false alarm ---


def test_the_digits_are_clean(sample):
    assert audit(sample).findings == ()


def test_a_border_that_is_black_in_all_classes_is_no_shortcut(sample):
    pixels = np.pad(sample.pixels, ((0, 0), (3, 3), (3, 3), (0, 0)))
    assert audit(sample.with_pixels(pixels)).findings == ()


def test_one_class_and_identical_images():
    one = smooth(classes=1)
    one.pixels[:, 0, 0] = 255
    assert audit(one).findings == ()
    same = one.with_pixels(np.broadcast_to(one.pixels[:1], one.shape).copy())
    assert audit(same).findings == ()
    assert audit(replace(same, labels=np.arange(600) % 2, class_names=("a", "b"))).findings == ()


def test_classes_without_images_and_a_single_image():
    images = photographs(count=40)
    assert audit(replace(images, class_names=(*images.class_names, "empty"))).findings == ()
    assert audit(LabeledImages(images.pixels[:1], np.array([1]), ("a", "b"))).findings == ()


@pytest.mark.parametrize(("classes", "is_found"), [(10, True), (2, False)])
def test_twelve_images_of_a_class(classes, is_found):
    """12 of 120 images with one colour are no chance; with 12 of 24 in 32×32 positions, it may be one."""
    images = make_images(count=12 * classes, height=32, width=32, classes=classes, levels=256)
    images = replace(images, labels=np.arange(12 * classes) % classes)
    images.pixels[images.labels == 0, 4, 5] = (255, 0, 255)
    found = audit(images).findings
    assert len(found) == is_found
    assert not is_found or found[0].positions.tolist() == [[4, 5]]


# --- wherever the images are ---


def test_streams_clusters_and_little_memory_give_the_same():
    images = smooth(count=300, classes=4)
    poisoned = search(images, pixels=2, device="cpu").stamp(images)
    expected = audit(poisoned).to_json()
    repaired = audit(poisoned).repair(poisoned).pixels
    for mapper in (None, InTurn()):
        stream, _ = stream_of(poisoned, sizes=(40, 25), piece=9, mapper=mapper)
        one_class = class_bytes(images.shape[1:])
        for memory in (1, one_class, 3 * one_class):
            assert find_shortcuts(stream, Rules(), memory).to_json() == expected
        found = audit(stream)
        assert found.to_json() == expected
        assert np.array_equal(found.repair(stream).load().pixels, repaired)


def test_clean_images_are_read_once_but_for_the_sample():
    images = smooth()
    stream, reads = stream_of(images, sizes=(100,))
    find_shortcuts(stream, Rules(), class_bytes(images.shape[1:]) * 3)
    assert set(reads) == set(range(600))
    assert max(reads.values()) == 2
    assert sum(reads.values()) == 600 + 300


def test_an_audit_is_json():
    images = smooth()
    found = audit(search(images, device="cpu").stamp(images))
    data = json.loads(found.to_json())
    assert data == found.to_dict()
    assert data["images"] == 600
    assert [entry["class"] for entry in data["findings"]] == list(images.class_names)
    assert data["findings"][0]["pixels"][0].keys() == {"row", "column", "color"}


@pytest.mark.parametrize(
    ("name", "value"), [("share", 0.4), ("share", 1), ("elsewhere", -1), ("tolerance", 128), ("significance", 0)]
)
def test_a_number_out_of_range(name, value):
    with pytest.raises(UsageError, match=f"^{name}: expected"):
        audit(smooth(count=9), **{name: value})


def test_other_images_are_not_repaired():
    found = audit(smooth(count=9))
    with pytest.raises(UsageError, match="cannot repair images of 5×4×3"):
        found.repair(make_images())


# --- real images ---


@pytest.mark.data
def test_the_exact_originals_are_clean(short_archive):
    assert audit(cifar10_s.load_images(short_archive, allow_unverified=True)).findings == ()


@pytest.mark.data
@pytest.mark.slow
def test_the_copy_is_clean_and_its_shortcuts_are_found_exactly(jpeg_copy):
    images = cifar10_s.load_images(jpeg_copy)
    assert audit(images).findings == ()
    for pixels in (1, 4):
        shortcut = search(images, pixels=pixels, device="cpu")
        assert np.array_equal(audit(shortcut.stamp(images)).flagged, stamped(images, shortcut))
    shortcut = find_pixels(images, RANDOM, on_cpu(), pixels=1)
    assert np.array_equal(audit(shortcut.stamp(images)).flagged, stamped(images, shortcut))


@pytest.mark.parametrize("shape", [(3, 3, 1), (5, 4, 3)])
def test_scores_are_those_of_the_mixed_differences(shape):
    random = np.random.default_rng(0)
    sample = random.integers(0, 256, (300, *shape), np.uint8)
    pattern = random.normal(size=(shape[0] - 1, shape[1] - 1, shape[2]))
    levels = sample.astype(float)
    differences = levels[:, 1:, 1:] - levels[:, 1:, :-1] - levels[:, :-1, 1:] + levels[:, :-1, :-1]
    scores = _score(sample, _weights(pattern).reshape(-1, 1))[:, 0]
    assert np.allclose(scores, (differences * pattern).sum((1, 2, 3)))
