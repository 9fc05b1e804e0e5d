"""``cifar10-s audit``, end to end."""

import json
import logging

import numpy as np
import pytest
from PIL import Image
from support.images import make_images
from support.sources import write_arrays

import cifar10_s
from cifar10_s.cli.app import run


@pytest.fixture(autouse=True)
def _log_to_this_test():
    """Forget the stream of another test, to which messages would be logged."""
    logger = logging.getLogger("cifar10_s")
    logger.handlers.clear()
    yield
    logger.handlers.clear()


def audit(capsys, *arguments):
    """Run the command; return its status, and the lines of standard output and, but for the source's, of error."""
    status = run(["audit", *map(str, arguments)])
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if not line.startswith("cifar10-s: train: ")]
    return status, printed.out.splitlines(), errors


def test_clean_images(capsys):
    assert audit(capsys, "sample") == (0, ["sample: 1438 images of 8×8×1 in 10 classes: no shortcut found"], [])


@pytest.mark.parametrize("configuration", ["ops", "ops-2", "lsp-ops"])
def test_a_release(capsys, release, configuration):
    status, (head, headings, *rows), errors = audit(capsys, release.folder, "-c", configuration)
    found = cifar10_s.audit(cifar10_s.Release(release.folder).train(configuration)).findings
    assert (status, errors) == (1, [])
    assert head == f"{release.folder} ({configuration}): 1438 images of 8×8×1 in 10 classes: {len(found)} found"
    assert headings.split("  ")[0] == "class"
    assert len(rows) == len(found) >= 10
    first = found[0]
    assert f"row {first.positions[0, 0]}, column {first.positions[0, 1]}" in rows[0]
    assert "constant pixel" in rows[0]


def test_the_shards_of_a_configuration_are_a_source(capsys, release):
    status, lines, _ = audit(capsys, release.folder / "data" / "ops", "--json")
    assert status == 1
    by_name = json.loads(lines[0])
    status, lines, _ = audit(capsys, release.folder, "-c", "ops", "--json")
    assert json.loads(lines[0]) == by_name
    assert len(by_name["findings"]) == 10


def test_a_clean_configuration(capsys, release):
    status, lines, _ = audit(capsys, release.folder, "-c", "clean", "--json")
    assert status == 0
    assert len(lines) == 1
    assert json.loads(lines[0])["findings"] == []


def test_pictures_and_recovered_images(capsys, release, tmp_path):
    figures, clean = tmp_path / "figures", tmp_path / "clean"
    status, _, errors = audit(capsys, release.folder, "-c", "ops", "--figures", figures, "--clean", clean)
    assert status == 1
    paths = [figures / f"finding-{number:03d}.png" for number in range(1, 11)]
    assert errors == [f"wrote {path}" for path in [*paths, clean]]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width >= 640
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
    poisoned = cifar10_s.Release(release.folder).train("ops")
    recovered = cifar10_s.load_images(clean)
    assert np.array_equal(recovered.pixels, cifar10_s.audit(poisoned).repair(poisoned).pixels)
    assert np.array_equal(recovered.labels, poisoned.labels)
    assert recovered.class_names == poisoned.class_names
    assert audit(capsys, clean)[0] == 0
    before = sorted(clean.rglob("*"))
    status, lines, errors = audit(capsys, release.folder, "-c", "ops", "--clean", clean)
    assert (status, lines) == (2, [])
    assert errors == [f"cifar10-s: {clean}: already exists: expected a new folder to write; choose another"]
    assert sorted(clean.rglob("*")) == before


def test_a_home_is_expanded(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "there").mkdir()
    status, lines, errors = audit(capsys, "sample", "--clean", "~/there")
    assert (status, lines) == (2, [])
    assert errors == [
        f"cifar10-s: {tmp_path / 'there'}: already exists: expected a new folder to write; choose another"
    ]
    monkeypatch.chdir(tmp_path)
    assert audit(capsys, "sample", "--clean", "~nobody-at-all/x", "--json")[2][-1].startswith("wrote ")


def test_noise_and_its_picture(capsys, tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(600) % 2
    base = random.uniform(60, 190, (600, 3, 3, 3)).repeat(4, 1).repeat(4, 2)
    pixels = (base + random.uniform(-8, 8, (2, 12, 12, 3))[labels]).astype(np.uint8)
    write_arrays(tmp_path / "images", pixels, labels, classes=["a", "b"])
    status, lines, _ = audit(capsys, tmp_path / "images", "--figures", tmp_path / "figures")
    assert status == 1
    assert "noise of" in lines[2]
    assert "everywhere" in lines[2]
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_one_class(capsys, tmp_path):
    write_arrays(tmp_path / "images", make_images().pixels, np.zeros(40, int), classes=["only"])
    status, lines, _ = audit(capsys, tmp_path / "images")
    assert status == 0
    assert lines[0].endswith("in 1 class: no other class to compare with, so none is found")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--share", "2"], "share: expected a number from 0.5 to less than 1, got 2.0"),
        (["sample", "-c", "ops"], "sample: "),
        (["sample", "--engine", "cloud"], "unknown engine 'cloud': expected one of local, ray"),
        (["/no/such/folder"], "/no/such/folder: does not exist"),
    ],
)
def test_wrong_use(capsys, arguments, message):
    status, lines, (error,) = audit(capsys, *arguments)
    assert (status, lines) == (2, [])
    assert error.startswith(f"cifar10-s: {message}")


def test_a_release_without_a_configuration(capsys, release):
    status, _, (error,) = audit(capsys, release.folder)
    assert status == 2
    assert f"{release.folder}: is a release: expected --configuration, one of clean, ops," in error
    status, _, (error,) = audit(capsys, release.folder, "-c", "none")
    assert status == 2
    assert "unknown configuration 'none'" in error
