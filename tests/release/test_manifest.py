"""The manifest: read leniently, written byte for byte, and compared field by field."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import BUILT, small_manifest

from cifar10_s.methods.from_file import GivenNoise
from cifar10_s.methods.learned import Learned
from cifar10_s.release.manifest import read_manifest
from cifar10_s.release.recipe_record import RecipeRecord, read_recipe
from cifar10_s.release.recipes import CONFIGURATIONS, with_noise
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.metadata import check_manifest

SMALL = small_manifest(
    name="x-s", version="0.3.0", is_cifar10=False, configurations={"clean": "aa" * 32, "ops": "bb" * 32},
    splits={"test": "cc" * 32},
)  # fmt: skip
DATA = SMALL.to_dict() | {
    "classes": ["0"],
    "shape": [1, 1, 1],
    "objectives": [],
    "results": {"records": 0, "figures": []},
}


OPS = "configurations", "ops"


def text_of(data):
    return json.dumps(data).encode()


def differences(data):
    """Return where JSON differs from what the manifest read from it writes."""
    failures = Failures(None)
    failures.compare("m", read_manifest(text_of(data)).to_dict(), data)
    return failures.lines


def places(data, path=()):
    """Yield the path of every value."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def owner(data, path):
    for key in path[:-1]:
        data = data[key]
    return data


def changed(path, value):
    data = copy.deepcopy(DATA)
    owner(data, path)[path[-1]] = value
    return data


def is_field(path):
    """Return whether the manifest requires this name; keys of these mappings are not required."""
    return isinstance(path[-1], str) and path[-2:-1] not in [("splits",), ("configurations",), ("libraries",)]


def test_a_release_s_own_files_are_read_and_written_to_the_byte(release):
    text = (release.folder / "manifest.json").read_bytes()
    assert read_manifest(text) == release.manifest
    assert release.manifest.to_json().encode() == text
    for name in BUILT:
        text = (release.folder / f"recipes/{name}.json").read_bytes()
        assert read_recipe(text).to_json().encode() == text


def test_what_a_newer_version_adds_is_left_out_and_found_by_the_strict_comparison():
    data = copy.deepcopy(DATA)
    data["new"] = 1
    data["source"]["new"] = {}
    data["configurations"]["ops"]["perceptibility"]["new"] = []
    assert read_manifest(text_of(data)) == SMALL
    assert differences(data) == [
        "m: source.new: expected no such field, got {}",
        "m: configurations.ops.perceptibility.new: expected no such field, got []",
        "m: new: expected no such field, got 1",
    ]


@pytest.mark.parametrize("path", [*filter(is_field, places(DATA))], ids=lambda path: ".".join(map(str, path)))
def test_every_field_is_needed(path):
    data = copy.deepcopy(DATA)
    del owner(data, path)[path[-1]]
    with pytest.raises(ValueError, match=f"^{'.'.join(path)}: is missing$"):
        read_manifest(text_of(data))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["0" * 64, "ops", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("rows"), inner, max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(list(places(DATA))), value=values)
def test_whatever_stands_in_a_field_is_read_as_it_is_or_named(path, value):
    data = changed(path, value)
    text = text_of(data)
    try:
        manifest = read_manifest(text)
    except ValueError as error:
        named = str(error).startswith(".".join(map(str, path)))
        assert named, error  # noqa: PT017 (it need not be raised)
        return
    # Nothing is converted: what is written is what was read, except for unknown fields.
    failures = Failures(None)
    check_manifest(failures, manifest, json.loads(text))
    same = json.dumps(manifest.to_dict(), sort_keys=True) == json.dumps(data, sort_keys=True)
    assert same or any(line.startswith(f"manifest.json: {path[0]}") for line in failures.lines)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("seed",), True, "seed: expected int, got True"),
        (("shape",), [8, 8], "shape: expected array of length 3, got [8, 8]"),
        (("shape", 0), 8.0, "shape.0: expected int, got 8.0"),
        (("splits",), {"a/b": DATA["splits"]["test"]}, "splits.a/b: expected names matching regex"),
        ((*OPS, "pixels_sha256"), "0" * 63, "configurations.ops.pixels_sha256: expected str matching"),
        ((*OPS, "pixels_sha256"), "0" * 64 + "\n", "configurations.ops.pixels_sha256: expected str"),
        ((*OPS, "pixels_sha256"), "../" * 21 + "x", "configurations.ops.pixels_sha256: expected str"),
        ((*OPS, "rows"), -1, "configurations.ops.rows: expected int >= 0, got -1"),
        ((*OPS, "perceptibility", "l2_mean"), None, "configurations.ops.perceptibility.l2_mean: exp"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_refused_is_named(path, value, line):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        read_manifest(text_of(changed(path, value)))
    assert str(caught.value).startswith(line)


def test_a_whole_number_is_no_measured_one():
    """It can be read, but differs from what is written."""
    assert differences(changed(("configurations", "ops", "perceptibility", "l2_mean"), 0)) == [
        "m: configurations.ops.perceptibility.l2_mean: expected 0.0, got 0"
    ]


# Recipes


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_variant_that_was_built_follows_from_budget_and_noise(name):
    full, drawn = CONFIGURATIONS[name], None
    if full.method is not None and full.method.draws:
        drawn = {"processes": [[[[0.5, 0.5, 0.5], [-0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]]] * 2}
        full = replace(full, method=full.method.with_drawn(drawn))
    variants = [full, full.reduced()]
    if full.method is not None:
        noise = GivenNoise.of(CONFIGURATIONS[name].method, file="x.npy", sha256="0" * 64, kind="class-wise")
        variants.append(with_noise(full, noise))
    assert len(set(variants)) == 1 + isinstance(full.method, Learned) + (full.method is not None)
    for recipe in variants:
        written = RecipeRecord.of(recipe, 7, None, None if isinstance(recipe.method, GivenNoise) else drawn)
        record = read_recipe(written.to_json().encode())
        assert record == written
        assert record.built(CONFIGURATIONS[name], recipe.budget) == recipe


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_what_is_recorded_as_another_variant_is_not_that_one(name):
    """So a verifier, which compares the record with that of the variant, finds it."""
    full = CONFIGURATIONS[name]
    if full.method is not None and full.method.draws:
        with pytest.raises(ValueError, match="drawn: expected processes"):
            RecipeRecord.of(full, 0, None).built(CONFIGURATIONS[name], "small")
        return
    if not isinstance(full.method, Learned):
        assert RecipeRecord.of(full, 0, None).built(CONFIGURATIONS[name], "small") == full
        return
    assert RecipeRecord.of(full, 0, None).built(CONFIGURATIONS[name], "small") != full
    assert RecipeRecord.of(full.reduced(), 0, None).built(CONFIGURATIONS[name], "full") != full.reduced()


def test_a_twin_is_its_base_with_pixels():
    twins = {name: recipe for name, recipe in CONFIGURATIONS.items() if recipe.base is not None}
    methods = [recipe for recipe in CONFIGURATIONS.values() if recipe.method is not None and recipe.base is None]
    assert len(twins) == 4 * len(methods)
    for recipe in twins.values():
        base = CONFIGURATIONS[recipe.base]
        assert (base.objective, base.base) == (None, None)
        assert recipe.method is base.method
        assert (recipe.objective, recipe.pixels) in [
            ("mean-over-variance", 1),
            ("spread", 2),
            ("patches", 18),
            ("patches", 36),
        ]
    order = list(CONFIGURATIONS)
    assert all(order.index(recipe.base) < order.index(name) for name, recipe in twins.items())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": "0"}, "seed: expected int, got '0'"),
        ({"recipe": None}, "recipe: expected object, got None"),
        ({"shortcut": []}, "shortcut: expected object | null, got []"),
        ({"shortcut": {}}, "not a shortcut: KeyError: 'classes'"),
    ],
)
def test_a_recipe_of_another_form_gets_a_line(change, line):
    data = RecipeRecord.of(CONFIGURATIONS["lsp"], 0, None).to_dict() | change
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        read_recipe(text_of(data))
    assert str(caught.value) == line


def test_noise_of_another_form_is_named():
    recipe = CONFIGURATIONS["lsp"]
    noise = GivenNoise.of(recipe.method, file="x.npy", sha256="0" * 64, kind="class-wise")
    record = RecipeRecord.of(with_noise(recipe, noise), 0, None)
    broken = replace(record, recipe=replace(record.recipe, method={**record.recipe.method, "file": 5}))
    with pytest.raises(ValueError, match=r"^recipe\.method\.file: expected str, got 5$"):
        broken.built(CONFIGURATIONS["lsp"], None)
