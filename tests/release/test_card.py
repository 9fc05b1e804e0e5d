"""What the card says of whose dataset it is, and of CIFAR-10-S and its successor."""

from dataclasses import replace

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
