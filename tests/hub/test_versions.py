"""Which part of the version a change raises."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.releases import small_manifest

from cifar10_s.hub.versions import MAJOR, MINOR, PATCH, changed_part, next_version, numbers

VERSIONS = st.tuples(*[st.integers(0, 99)] * 3).map(lambda parts: ".".join(map(str, parts)))


def manifest(pixels, splits=("test",)):
    return small_manifest(
        name="x", version="1.0.0", is_cifar10=False, configurations=pixels, splits=dict.fromkeys(splits, "c" * 64)
    )


@pytest.mark.parametrize(
    ("now", "part"),
    [
        (manifest({"clean": "a", "ops": "b"}), PATCH),
        (replace(manifest({"clean": "a", "ops": "b"}), title="other words", date="2027-01-01"), PATCH),
        (manifest({"clean": "a", "ops": "b", "lsp": "d"}), MINOR),
        (manifest({"clean": "a", "ops": "x"}), MAJOR),
        (manifest({"clean": "a", "ops": "x", "lsp": "d"}), MAJOR),
        (manifest({"clean": "a", "lsp": "d"}), MAJOR),
        (manifest({"clean": "a", "ops": "b"}, splits=()), MAJOR),
    ],
)
def test_what_differs_says_which_part(now, part):
    assert changed_part(manifest({"clean": "a", "ops": "b"}), now) == part


@given(version=VERSIONS, part=st.sampled_from([MAJOR, MINOR, PATCH]), taken=st.sets(VERSIONS))
def test_the_next_version_is_free_newer_and_of_the_same_major_and_minor(version, part, taken):
    raised = next_version(version, part, taken)
    assert raised not in taken
    assert numbers(raised) > numbers(version)
    assert numbers(raised)[:part] == numbers(version)[:part]
    assert not any(numbers(raised)[part + 1 :])
