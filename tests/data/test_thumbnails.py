"""Images, shortcuts, releases and audits as notebooks show them."""

import shutil

import numpy as np
import pytest
from support.html import parse
from support.images import make_images

import cifar10_s
from cifar10_s.data.pictures import MARK, rgb
from cifar10_s.data.thumbnails import GAP, MAX_CLASSES, PER_CLASS, SIDE

HOSTILE = "<script>alert(1)</script>"


def images_of(size, channels, classes=3, each=6):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    pixels = random.integers(0, 256, (len(labels), *size, channels), np.uint8)
    return cifar10_s.LabeledImages(pixels, labels, (HOSTILE, *map(str, range(1, classes))))


def is_marked(picture):
    return (picture[..., :3] == MARK).all(-1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_row_per_class_has_its_first_images(channels):
    images = images_of((8, 4), channels)
    tags, texts, pictures = parse(images._repr_html_())
    assert "script" not in tags
    assert {HOSTILE, repr(images), "6"} <= set(texts)
    assert len(pictures) == 3
    for label, picture in enumerate(pictures):
        assert picture.shape == (64, PER_CLASS * (32 + GAP), 4)
        first = rgb(images.pixels[images.labels == label][0]).repeat(8, 0).repeat(8, 1)
        assert np.array_equal(picture[:, :32, :3], first)
        assert (picture[..., 3] == 0).sum() == 64 * PER_CLASS * GAP


def test_a_stamped_shortcut_is_ringed_at_its_place_and_nothing_else_is():
    images = images_of((8, 8), 3)
    shortcut = cifar10_s.search(images)
    for clean, stamped, (position,) in zip(
        parse(images._repr_html_())[2], parse(shortcut.stamp(images)._repr_html_())[2], shortcut.positions, strict=True
    ):
        assert not is_marked(clean).any()
        rows, columns = np.nonzero(is_marked(stamped)[:, :SIDE])
        centre = (position + 0.5) * SIDE / 8
        distances = np.hypot(rows + 0.5 - centre[0], columns + 0.5 - centre[1])
        assert 4 < distances.min() <= distances.max() < 10


def test_large_images_and_many_classes_stay_small():
    html = images_of((300, 200), 3, classes=30, each=5)._repr_html_()
    _, texts, pictures = parse(html)
    assert len(pictures) == MAX_CLASSES
    assert any(f"first {MAX_CLASSES}" in text for text in texts)
    assert all(max(picture.shape[0], picture.shape[1] // PER_CLASS - GAP) <= SIDE for picture in pictures)
    assert len(html) < 1_000_000


def test_a_class_without_images_has_a_row():
    images = make_images()
    one = images.take(np.flatnonzero(images.labels == 0))
    assert len(parse(one._repr_html_())[2]) == 1


def test_patches_are_a_row_each():
    shortcut = cifar10_s.search(images_of((32, 32), 3), objective="patches", pixels=18)
    lines = shortcut.lines()
    assert len(lines) == 3 * 2
    for line, (row, column), color, score in zip(
        lines, shortcut.positions[:, ::9].reshape(-1, 2), shortcut.colors[:, ::9].reshape(-1, 3),
        shortcut.scores[:, ::9].ravel(), strict=True,
    ):  # fmt: skip
        shown = f"row {f'{row}-{row + 2}':>5}  column {f'{column}-{column + 2}':>5}  colour {color.tolist()}"
        assert line.endswith(f"  {shown}  score {score:.4g}")
    assert parse(shortcut._repr_html_())[0].count("tr") == 1 + 3 * 2


def test_a_shortcut_is_a_table():
    images = images_of((5, 5), 3)
    shortcut = cifar10_s.search(images, pixels=2)
    tags, texts, _ = parse(shortcut._repr_html_())
    assert tags.count("tr") == 1 + 3 * 2
    assert "script" not in tags
    assert {HOSTILE, str(shortcut.positions[2, 1, 0]), f" {shortcut.colors[2, 1].tolist()}"} <= set(texts)
    red, green, blue = shortcut.colors[0, 0].tolist()
    assert f"background:rgb({red}, {green}, {blue})" in shortcut._repr_html_()


def test_a_release_and_its_images(release):
    opened = cifar10_s.Release(release.folder)
    tags, texts, _ = parse(opened._repr_html_())
    assert tags.count("tr") == 1 + len(opened.configurations)
    assert {repr(opened), "ops (default)", "1,438"} <= set(texts)
    for name, ringed in {"clean": False, "ops": True, "lsp-ops": True}.items():
        pictures = parse(opened.train(name)._repr_html_())[2]
        assert len(pictures) == 10
        assert all(is_marked(picture).any() == ringed for picture in pictures), name


def test_a_broken_recipe_costs_the_rings_alone(release, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(release.folder, folder)
    (folder / "recipes" / "ops.json").write_text("{}")
    images = cifar10_s.Release(folder).train("ops")
    assert not any(is_marked(picture).any() for picture in parse(images._repr_html_())[2])


def test_an_audit_is_a_table(sample):
    audited = cifar10_s.audit(cifar10_s.search(sample).stamp(sample))
    assert repr(audited) == "Audit(1438×8×8×1, 10 classes, findings: 10)"
    tags, texts, _ = parse(audited._repr_html_())
    assert tags.count("tr") == 11
    assert {"constant pixel", "100 %", str(audited.findings[0].colors[0].tolist())} <= set(texts)
