"""A changed release is detected, and the place named, even if every number that can be recomputed was recomputed."""

import contextlib
import io
import json
import random
import re
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import cifar10_s
from cifar10_s.common.checksums import SUMS, hash_folder, read_sums, write_sums
from cifar10_s.data.codec import encode
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import VerificationError
from cifar10_s.release import card
from cifar10_s.release.croissant import describe
from cifar10_s.release.layout import CROISSANT
from cifar10_s.release.manifest import read_manifest
from cifar10_s.release.metrics import perceptibility, separability
from cifar10_s.release.recipe_record import read_recipe
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.verification.metadata import split_sizes

NOISE_LEVEL = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory, sample):
    """Build a release with noise from a file, a method, and their twins."""
    root = tmp_path_factory.mktemp("tampering")
    noise = np.random.default_rng(0).integers(-NOISE_LEVEL, NOISE_LEVEL + 1, sample.pixels.shape)
    np.save(root / "noise.npy", noise.astype(np.int8))
    return cifar10_s.build(
        "sample", root / "digits", name="digits", device="cpu", noise={"random-samplewise": root / "noise.npy"},
        configurations=["ops", "lsp", "lsp-ops", "lsp-ops-spread-2", "random-samplewise", "random-samplewise-ops"],
    )  # fmt: skip


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built.folder, tmp_path / "copy")


def shard(folder, name):
    return next(folder.glob(f"data/{name}/train-*.parquet"))


def read(folder, name):
    """Read a configuration as (N, H, W, C) pixels and labels."""
    table = pq.read_table(shard(folder, name))
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["img"].to_pylist()])
    return pixels[..., None].copy(), table["label"].to_numpy().copy()


def write(folder, name, pixels, labels):
    schema = pq.read_schema(shard(folder, name))
    images = [{"bytes": data, "path": None} for data in encode(pixels)]
    columns = [pa.array(images, schema.field("img").type), pa.array(labels)]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), shard(folder, name))


def recompute(folder, *changed):
    """Recompute all that an attacker can: digests, metrics, sizes, the three descriptions, the sums."""
    manifest = json.loads((folder / "manifest.json").read_text())
    classes = tuple(manifest["classes"])
    clean = LabeledImages(*read(folder, "clean"), classes)
    for name in changed:
        entry, images = manifest["configurations"][name], LabeledImages(*read(folder, name), classes)
        entry.update(rows=len(images), pixels_sha256=images.digest())
        entry["perceptibility"] = asdict(perceptibility.measure_all(clean, images).summary())
        entry["separability"] = asdict(separability.measure_all(clean, images))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    manifest = read_manifest((folder / "manifest.json").read_bytes())
    shortcuts = {}
    for name in manifest.configurations:
        if shortcut := read_recipe((folder / f"recipes/{name}.json").read_bytes()).shortcut:
            shortcuts[name] = shortcut
    stored = {
        path.relative_to(folder).as_posix().partition("-0")[0]: StoredSplit([path], clean.shape[1:], classes)
        for path in folder.glob("data/**/*.parquet")
    }
    (folder / "README.md").write_text(card.render(manifest, split_sizes(manifest, stored), shortcuts))
    (folder / CROISSANT).write_text(json.dumps(describe(manifest, hash_folder(folder))))
    write_sums(folder)


def failures(folder):
    with pytest.raises(VerificationError) as caught:
        cifar10_s.verify(folder)
    return caught.value.failures


def change_bytes(folder, count):
    """Change one random byte, check that the file is named, and undo the change, ``count`` times."""
    rng, files = random.Random(0), [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for _ in range(count):
        path = rng.choice(files)
        original = path.read_bytes()
        changed = bytearray(original)
        changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        name, found = path.relative_to(folder).as_posix(), failures(folder)
        # A changed line of SHA256SUMS names SHA256SUMS, or the file whose digest or path it changes.
        assert name == SUMS or found == (next(line for line in found if line.startswith(f"{name}: expected SHA-256")),)
        path.write_bytes(original)


def test_some_changed_bytes(folder):
    change_bytes(folder, 300)


def test_no_line_end_of_the_sums_is_another(folder):
    """Python's `splitlines` ends lines at a form feed too, and at other characters."""
    path = folder / SUMS
    sums, data = read_sums(folder), path.read_bytes()
    for at in (at for at, byte in enumerate(data) if byte == ord("\n")):
        for value in set(range(256)) - {ord("\n")}:
            path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            with contextlib.suppress(ValueError):
                assert read_sums(folder) != sums


@pytest.mark.slow
def test_a_thousand_changed_bytes(folder):
    change_bytes(folder, 1000)
    cifar10_s.verify(folder)


def test_what_is_recomputed_verifies(folder):
    """Otherwise, the tests below would detect mistakes of the helper."""
    for name in ("ops", "lsp-ops"):
        write(folder, name, *read(folder, name))
    recompute(folder, "ops", "lsp-ops")
    cifar10_s.verify(folder)


@pytest.mark.parametrize("name", ["README.md", "manifest.json", "recipes/ops.json", "figures/lsp.png", "data/lsp"])
def test_a_file_that_is_renamed(folder, name):
    """Both names are reported, with the old sums and with new ones."""
    path = shard(folder, "lsp") if name == "data/lsp" else folder / name
    renamed = path.with_name(f"x{path.name}")
    path.rename(renamed)
    old, new = (found.relative_to(folder).as_posix() for found in (path, renamed))
    assert set(failures(folder)) == {f"{old}: is missing", f"{new}: is not listed in SHA256SUMS"}
    write_sums(folder)
    found = failures(folder)
    assert any(line.startswith(old.split("-0")[0]) for line in found)
    # Without a manifest, verify cannot know which files belong.
    assert name == "manifest.json" or f"{new}: is not part of a release" in found


@pytest.mark.parametrize("one", ["ops", "lsp", "random-samplewise"])
def test_two_configurations_exchanged(folder, one):
    other = {"ops": "lsp-ops", "lsp": "lsp-ops", "random-samplewise": "lsp"}[one]
    first, second = shard(folder, one), shard(folder, other)
    data = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(data)
    recompute(folder, one, other)
    found = failures(folder)
    assert any(line.startswith(f"data/{one}/train-") for line in found)


@pytest.mark.parametrize("name", ["ops", "lsp", "lsp-ops", "random-samplewise-ops"])
def test_two_rows_exchanged(folder, name):
    """Both rows are of one class, so that the labels match."""
    pixels, labels = read(folder, name)
    first, second = np.flatnonzero(labels == 4)[[3, 9]]
    pixels[[first, second]] = pixels[[second, first]]
    write(folder, name, pixels, labels)
    recompute(folder, name)
    assert any(
        re.fullmatch(rf"data/{name}/train-.*: row {first}: this and 1 more images are .*", line)
        for line in failures(folder)
    )


@pytest.mark.parametrize("name", ["ops", "lsp", "random-samplewise-ops"])
def test_a_changed_label(folder, name):
    pixels, labels = read(folder, name)
    before, labels[700] = labels[700], (labels[700] + 1) % 10
    write(folder, name, pixels, labels)
    recompute(folder, name)
    expected = f"row 700: expected label {before}, as in data/clean, got {labels[700]}"
    assert any(line.startswith(f"data/{name}/train-") and line.endswith(expected) for line in failures(folder))


@pytest.mark.parametrize("name", ["ops", "lsp-ops"])
def test_a_changed_recipe_and_images_that_follow_it(folder, name):
    path = folder / f"recipes/{name}.json"
    record = json.loads(path.read_text())
    pixels, labels = read(folder, name)
    clean, _ = read(folder, "clean")
    entry = record["shortcut"]["classes"][2]["pixels"][0]
    row, column = entry["row"], entry["column"]
    entry["row"] = (row + 1) % 8
    of_class = labels == 2
    pixels[of_class, row, column] = clean[of_class, row, column]
    pixels[of_class, entry["row"], column] = entry["color"]
    path.write_text(json.dumps(record))
    write(folder, name, pixels, labels)
    recompute(folder, name)
    assert any(
        line.startswith(f"recipes/{name}.json: shortcut.classes[2].pixels[0].row: expected ")
        for line in failures(folder)
    )


@pytest.mark.parametrize(
    ("name", "twin", "named"),
    [
        ("lsp", "", ["-ops", "-ops-spread-2"]),
        ("lsp", "-ops", ["-ops"]),
        ("lsp", "-ops-spread-2", ["-ops-spread-2"]),
        ("random-samplewise", "", ["-ops"]),
        ("random-samplewise", "-ops", ["-ops"]),
    ],
)
def test_noise_that_its_twin_does_not_have(folder, name, twin, named):
    """The change is one level in one value, within every bound."""
    pixels, labels = read(folder, f"{name}{twin}")
    clean, _ = read(folder, "clean")
    change = pixels[9, ..., 0].astype(int) - clean[9, ..., 0]
    for recipe in folder.glob(f"recipes/{name}-ops*.json"):
        for pixel in json.loads(recipe.read_text())["shortcut"]["classes"][labels[9]]["pixels"]:
            change[pixel["row"], pixel["column"]] = 0
    row, column = np.unravel_index(np.abs(change).argmax(), change.shape)
    pixels[9, row, column] -= np.sign(change[row, column]).astype(np.uint8)
    write(folder, f"{name}{twin}", pixels, labels)
    recompute(folder, f"{name}{twin}")
    found = failures(folder)
    assert len(found) == len(named)
    for line, other in zip(found, named):
        expected = rf"data/{name}{other}/train-.*: row 9: 1 image is not that of {name} with the recipe's pixels"
        assert re.fullmatch(expected, line)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "per-pixel"}, "noise: kind: expected sample-wise or class-wise, got per-pixel"),
        ({"sha256": "0" * 63}, "noise: sha256: expected 64 hexadecimal digits"),
        ({"sha256": "G" * 64}, "noise: sha256: expected 64 hexadecimal digits"),
        ({"file": "../noise.npy"}, "noise: file: expected a file name without a folder"),
        ({"file": "C:\\noise.npy"}, "noise: file: expected a file name without a folder"),
        ({"file": ".."}, "noise: file: expected a file name without a folder"),
        ({"file": ""}, "noise: file: expected a file name without a folder"),
        ({"file": "a\x1b[31m"}, "noise: file: expected a file name without a folder"),
        ({"file": 5}, "is not of the expected form (ValueError: recipe.method.file: expected str, got 5)"),
        ({"linf": 9}, "recipe.method.linf: expected no such field, got 9"),
    ],
    ids=range(10),
)
def test_a_noise_file_of_another_form(folder, change, message):
    path = folder / "recipes/random-samplewise.json"
    record = json.loads(path.read_text())
    record["recipe"]["method"].update(change)
    path.write_text(json.dumps(record))
    write_sums(folder)
    assert any(line.startswith(f"recipes/random-samplewise.json: {message}") for line in failures(folder))


def test_a_card_that_says_something_else_of_a_configuration(folder):
    path = folder / "README.md"
    path.write_text(path.read_text().replace("| One-Pixel Shortcut as in the paper (Eq. 2) |", "| clean images |"))
    write_sums(folder)
    (failure,) = failures(folder)
    assert failure.startswith(
        "README.md: expected '| `ops` (default) | One-Pixel Shortcut as in the paper (Eq. 2) | 1,438 |"
    )


@pytest.mark.slow
def test_a_card_without_the_notice_of_reduced_recipes(tmp_path):
    options = {"name": "x", "configurations": ["em-classwise"], "budget": "small", "device": "cpu"}
    folder = cifar10_s.build("sample", tmp_path / "x", **options).folder
    path = folder / "README.md"
    assert "> **Reduced recipe:** `em-classwise`. " in path.read_text()
    path.write_text(path.read_text().replace("**Reduced recipe:**", "Note:"))
    write_sums(folder)
    (failure,) = failures(folder)
    assert failure.startswith("README.md: expected '> **Reduced recipe:** `em-classwise`. ")


def test_a_release_that_is_not_changed(folder, built):
    assert cifar10_s.verify(folder).files == built.files == hash_folder(folder)
