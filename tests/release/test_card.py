"""What the card says of whose dataset it is, and of CIFAR-10-S and its successor."""

import json
from dataclasses import replace

import datasets
import numpy as np
import pytest

import cifar10_s
from cifar10_s.release import card
from cifar10_s.release.datasheet import MAINTAINERS, PUBLISHER, keeper


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "digits-s"
    return cifar10_s.build("sample", folder, name="digits-s", configurations=["ops"], device="cpu").manifest


def of_cifar10(manifest, *names):
    """Return the manifest of a recipe of CIFAR-10 with more configurations, all as `ops` is."""
    configurations = manifest.configurations | dict.fromkeys(names, manifest.configurations["ops"])
    source = replace(manifest.source, is_cifar10=True)
    return replace(manifest, source=source, configurations=configurations, recipe_only=True)


def test_the_successor_is_named_where_it_is(manifest):
    assert "CIFAR-10-S2" not in card.render(of_cifar10(manifest), {}, {})
    named = card.render(of_cifar10(manifest, "em-ops-patches-4"), {}, {})
    assert "`em-ops-patches-4` is **CIFAR-10-S2**, which the paper does not have" in named
    # Other images have no such name.
    others = replace(of_cifar10(manifest, "em-ops-patches-4"), source=manifest.source)
    assert "CIFAR-10-S2" not in card.render(others, {}, {})


def test_who_made_it_keeps_it(manifest):
    authors = replace(manifest.attribution, authors=("Ada *L*", "Bob"))
    for of, expected in (
        (manifest, PUBLISHER), (of_cifar10(manifest), MAINTAINERS),
        (replace(manifest, attribution=authors), "Ada *L*, Bob"),
    ):  # fmt: skip
        assert keeper(of) == expected
        shown = expected.replace("*", "&#42;")
        text = card.render(replace(of, recipe_only=True), {}, {})
        assert f"- **Made by:** {shown}, with cifar10-s" in text
        assert f"\nKept by {shown}. Versions follow" in text
        assert (MAINTAINERS in text) == (expected == MAINTAINERS)


@pytest.fixture(scope="module")
def lsp(tmp_path_factory):
    """Return a release without a shortcut."""
    folder = tmp_path_factory.mktemp("card") / "digits-lsp"
    return cifar10_s.build("sample", folder, name="digits-lsp", configurations=["lsp"], device="cpu")


def test_without_a_shortcut_none_is_claimed(lsp):
    text, croissant = ((lsp.folder / name).read_text() for name in ("README.md", "croissant.json"))
    assert lsp.manifest.title == "Unlearnable versions of scikit-learn's handwritten digits"
    for claim in ("One-Pixel", "one-pixel", "one pixel", "OPS", "2205.12141"):
        assert claim not in text
        assert claim not in croissant
    assert "Availability Attacks Create Shortcuts" in text
    assert "Availability Attacks Create Shortcuts" in json.loads(croissant)["citeAs"]
    # It is still known for a release if its manifest is lost.
    assert "\n- cifar10-s\n" in text


def test_the_default_is_perturbed(lsp):
    assert lsp.manifest.default == "lsp"
    images = datasets.load_dataset(str(lsp.folder), split="train")
    expected = cifar10_s.Release(lsp.folder).train("lsp").pixels[0]
    assert np.array_equal(np.asarray(images[0]["img"])[..., None], expected)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (1, "one pixel is changed, the same one to the\nsame colour for"),
        (2, "a few pixels are changed, the same ones to the\nsame colours for"),
    ],
)
def test_several_pixels_are_not_called_one(manifest, pixels, said):
    shortcut = cifar10_s.search(cifar10_s.load_images("sample"), pixels=pixels, device="cpu")
    assert said in card.render(replace(manifest, recipe_only=True), {}, {"ops": shortcut})
