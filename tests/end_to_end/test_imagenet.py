"""A folder like ImageNet's, of JPEGs of mixed sizes and modes, becomes a release of one size by one command."""

import numpy as np
import pytest
from PIL import Image

import cifar10_s
from cifar10_s.cli.app import run

CLASSES = ("n01440764", "n01443537", "n01484850", "n01491361")
MODES = ("RGB", "RGB", "L", "CMYK")
SIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                height, width = random.integers(SIDE, 3 * SIDE, 2)
                image = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
                image.convert(MODES[number % len(MODES)]).save(root / split / name / f"{name}_{number}.JPEG")
    return root


def by_hand(path):
    """Scale the shorter side and cut out the centre as torchvision's Resize and CenterCrop do."""
    image = Image.open(path).convert("RGB")
    width, height = (int(SIDE * side / min(image.size)) for side in image.size)
    left, top = round((width - SIDE) / 2), round((height - SIDE) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def test_the_first_classes_at_one_size(folder, tmp_path):
    output = tmp_path / "imagenet-s"
    options = ["--classes", "0:3", "--resize", str(SIDE), "--mode", "RGB", "-c", "ops", "--device", "cpu"]
    assert run(["build", "--source", str(folder), "--output", str(output), "--name", "imagenet-s", *options]) == 0
    release = cifar10_s.Release(output)
    clean = release.train("clean")
    assert clean.shape == (24, SIDE, SIDE, 3)
    assert release.test().shape == (6, SIDE, SIDE, 3)
    assert clean.class_names == CLASSES[:3]
    files = [path for name in CLASSES[:3] for path in sorted((folder / "train" / name).iterdir())]
    for path, pixels in zip(files, clean.pixels, strict=True):
        assert np.array_equal(by_hand(path), pixels), path


def test_without_the_options_the_error_names_them(folder, capsys):
    assert run(["search", "--source", str(folder)]) == 2
    assert "--resize" in capsys.readouterr().err
