"""Files of GUE, NTGA and DeepConfuse in the forms in which such files are published: perturbed images, or noise."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.images import make_images

import cifar10_s
from cifar10_s.errors import UsageError
from cifar10_s.methods.noise_file import read_noise
from cifar10_s.methods.poisoned_file import check_unscaled

IMAGES = make_images(seed=4, count=30, height=6, width=5)
LINF = 8
NOISE = np.random.default_rng(1).integers(-LINF, LINF + 1, IMAGES.pixels.shape)
# Clipped as images are; so the noise is what is left of it.
POISONED = np.clip(IMAGES.pixels + NOISE, 0, 255)
EXPECTED = (POISONED - IMAGES.pixels.astype(np.int64)).astype(np.float32)


def channels_first(array):
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def save_npy(path, array):
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def save_pt(path, array):
    torch.save(torch.from_numpy(array), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def save_npz(path, array):
    """Labels beside the images, one-hot, as NTGA has them."""
    np.savez(path.with_suffix(".npz"), x_train=array, y_train=np.eye(3)[IMAGES.labels])
    return path.with_suffix(".npz")


def save_pickle(path, array):
    path.with_suffix(".pkl").write_bytes(pickle.dumps(array))
    return path.with_suffix(".pkl")


SAVE = {"npy": save_npy, "pt": save_pt, "npz": save_npz, "pkl": save_pickle}
# How images are scaled, and how far the noise of the file may be from that of whole levels.
SCALES = {
    "uint8": (lambda levels: levels.astype(np.uint8), 0),
    "int16": (lambda levels: levels.astype(np.int16), 0),
    "0 to 1": (lambda levels: (levels / 255).astype(np.float32), 1e-4),
    "0 to 1, float64": (lambda levels: levels / 255, 1e-4),
    "0 to 1, float16": (lambda levels: (levels / 255).astype(np.float16), 0.07),
    "0 to 255": (lambda levels: levels.astype(np.float32), 0),
}


def read(path, clean=IMAGES, linf=LINF, **options):
    counts = {"images": len(IMAGES), "classes": len(IMAGES.class_names)}
    return read_noise(path, shape=IMAGES.shape[1:], linf=linf, clean=clean, **counts, **options)


@pytest.mark.parametrize("layout", [lambda array: array, channels_first], ids=["NHWC", "NCHW"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", SAVE)
def test_perturbed_images_become_their_noise(tmp_path, kind, scale, layout):
    scaled, tolerance = SCALES[scale]
    found = read(SAVE[kind](tmp_path / "x_train_cifar10_ntga_cnn_best", layout(scaled(POISONED))))
    assert found.of_images
    assert (found.kind, found.unit, found.one_sided) == ("sample-wise", "levels", False)
    np.testing.assert_allclose(found.levels, EXPECTED, rtol=0, atol=tolerance or 1e-9)
    assert np.array_equal(np.rint(found.levels + IMAGES.pixels), POISONED)


@pytest.mark.parametrize("kind", SAVE)
def test_noise_in_0_to_1_with_channels_first_is_still_noise(tmp_path, kind):
    """As generators of perturbations (DeepConfuse, GUE) return it."""
    found = read(SAVE[kind](tmp_path / "noise", channels_first((NOISE / 255).astype(np.float32))))
    assert not found.of_images
    np.testing.assert_allclose(found.levels, NOISE, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "count", "first"),
    [
        (lambda images: images[::-1], 30, 0),
        (lambda images: np.concatenate([images[:7], images[7:8] // 2, images[8:]]), 1, 7),
    ],
)
def test_images_of_another_order_or_others(tmp_path, change, count, first):
    path = save_npy(tmp_path / "x", change(POISONED.astype(np.uint8)))
    with pytest.raises(
        UsageError, match=rf"holds images, not noise: {count} of 30 .* first image {first} by .*order of"
    ):
        read(path)


def test_a_stream_gives_the_same(tmp_path, short_stream):
    path = save_npy(tmp_path / "x", POISONED.astype(np.uint8))
    assert np.array_equal(read(path, clean=short_stream).levels, EXPECTED)


@pytest.fixture
def short_stream(tmp_path):
    from support.sources import write_arrays

    names = IMAGES.class_names
    write_arrays(tmp_path / "arrays", IMAGES.pixels, IMAGES.labels, classes=names)
    return cifar10_s.open_images(tmp_path / "arrays")


@pytest.mark.parametrize("layout", [lambda array: array, channels_first], ids=["NHWC", "NCHW"])
@pytest.mark.parametrize(
    "scale",
    [
        lambda x: (x - [0.4914, 0.4822, 0.4465]) / [0.247, 0.2435, 0.2616],  # as a loader of CIFAR-10 gives them
        lambda x: (x - 0.5) / 0.25,
        lambda x: 2 * x - 1,
        lambda x: 255 * x - 128,
    ],
    ids=["mean and deviation per channel", "of all channels", "-1 to 1", "-128 to 127"],
)
def test_images_of_another_range_are_no_noise(tmp_path, short_stream, scale, layout):
    """Normalised images stay within 3, which would be noise of at most 3 levels."""
    path = save_npy(tmp_path / "x", layout(scale(POISONED / 255).astype(np.float32)))
    for clean in (IMAGES, short_stream):
        with pytest.raises(UsageError, match=r"holds images of another range, not noise: .* x \* std \+ mean"):
            read(path, clean)


@given(hnp.arrays(np.int8, IMAGES.pixels.shape, elements=st.integers(-LINF, LINF)))
@settings(max_examples=20, deadline=None)
def test_no_noise_is_taken_for_images(noise):
    check_unscaled(Path("x.npy"), noise.astype(np.float32), IMAGES)


def test_noise_that_removes_contrast_is_no_image():
    """It follows the images too, but the other way round."""
    check_unscaled(Path("x.npy"), (128 - IMAGES.pixels.astype(np.float32)) / 16, IMAGES)


def test_one_sided_noise_and_unsigned_noise_are_no_images(tmp_path):
    positive = np.abs(NOISE)
    found = read(save_npy(tmp_path / "a", positive.astype(np.int16)))
    assert (found.of_images, found.one_sided) == (False, True)
    for levels in (positive, NOISE % 256):
        with pytest.raises(UsageError, match=r"lost its negative half|holds images, not noise"):
            read(save_npy(tmp_path / "b", levels.astype(np.uint8)))
    with pytest.raises(UsageError, match="lost its negative half"):
        read(save_npy(tmp_path / "c", POISONED[:3].astype(np.uint8)))


def test_the_clean_images_themselves_are_no_noise(tmp_path):
    with pytest.raises(UsageError, match="all its values are 0"):
        read(save_npy(tmp_path / "clean", IMAGES.pixels))


def test_the_norm_of_their_noise_is_checked(tmp_path):
    with pytest.raises(UsageError, match="has the Euclidean norm"):
        read(save_npy(tmp_path / "x", POISONED.astype(np.uint8)), linf=255, l2=0.1)


def test_a_build_takes_them(tmp_path, caplog):
    from support.sources import write_pictures

    folder = write_pictures(tmp_path / "pictures", IMAGES)
    clean = cifar10_s.load_images(folder)
    poisoned = np.clip(clean.pixels + NOISE, 0, 255).astype(np.float32) / 255
    path = save_npy(tmp_path / "x_train_cifar10_ntga_cnn_best", poisoned)
    options = {"name": "x", "configurations": ["em"], "noise": {"em": path}, "device": "cpu"}
    with caplog.at_level("INFO"):
        built = cifar10_s.build(folder, tmp_path / "x", **options)
    assert "holds perturbed images" in caplog.text
    train = cifar10_s.Release(built.folder).train("em")
    assert np.array_equal(train.pixels, np.rint(poisoned * 255).astype(np.uint8))


def test_a_generator_is_no_noise(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 3, 3)).state_dict(), tmp_path / "g.pt")
    with pytest.raises(UsageError, match="save the noise alone"):
        read(tmp_path / "g.pt")
