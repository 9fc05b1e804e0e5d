"""The Croissant description: `mlcroissant` accepts it and loads exactly the images of the release."""

import copy
import json
import re
import shutil
import socket
from dataclasses import replace

import datasets
import mlcroissant
import numpy as np
import pytest

import cifar10_s
from cifar10_s.common.checksums import hash_file, write_sums
from cifar10_s.data.provenance import Provenance
from cifar10_s.errors import VerificationError
from cifar10_s.release.croissant import describe
from cifar10_s.release.layout import CROISSANT
from cifar10_s.release.manifest import Source
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.metadata import check_croissant

# Raised by dependencies of mlcroissant.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def described(release):
    return json.loads((release.folder / CROISSANT).read_text())


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"a connection: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_mlcroissant_has_nothing_to_say_against_it(release, offline):
    loaded = mlcroissant.Dataset(release.folder / CROISSANT)
    assert loaded.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert loaded.metadata.ctx.issues.report() == ""
    assert loaded.metadata.version == release.manifest.version
    assert [one.uuid for one in loaded.metadata.record_sets] == [
        "splits",
        "classes",
        *release.manifest.configurations,
    ]
    # It has read the terms of the RAI vocabulary that it knows.
    assert loaded.metadata.data_biases
    assert loaded.metadata.personal_sensitive_information
    assert "dual-use" in loaded.metadata.data_social_impact


@pytest.mark.parametrize("split", ["train", "test"])
def test_its_records_are_the_images(release, offline, split, tmp_path):
    """With two shards, one split at a time, against what `datasets` loads from the same folder."""
    folder = cifar10_s.build(
        "sample", tmp_path / "out", configurations=["lsp"], device="cpu", max_shard_size="100KB"
    ).folder
    records = list(mlcroissant.Dataset(folder / CROISSANT).records("lsp", filters={"lsp/split": split}))
    expected = datasets.load_dataset(str(folder), "lsp", split=split, cache_dir=str(tmp_path / "cache"))
    assert [record["lsp/label"] for record in records] == expected["label"]
    assert {record["lsp/split"] for record in records} == {split.encode()}
    for record, image in zip(records, expected["img"]):
        assert np.array_equal(np.asarray(record["lsp/img"]), np.asarray(image))


def test_without_a_filter_come_both_splits(release, offline):
    records = list(mlcroissant.Dataset(release.folder / CROISSANT).records("ops"))
    splits = [record["ops/split"] for record in records]
    assert (splits.count(b"train"), splits.count(b"test")) == (1438, 359)


def test_every_parquet_file_is_there_with_its_digest(release, described):
    objects = {node["contentUrl"]: node for node in described["distribution"] if node["@type"] == "cr:FileObject"}
    found = {path.relative_to(release.folder).as_posix(): path for path in release.folder.rglob("*.parquet")}
    assert objects.keys() == found.keys()
    assert all(objects[name]["sha256"] == hash_file(path) for name, path in found.items())
    patterns = [glob for node in described["distribution"] if "includes" in node for glob in node["includes"]]
    assert {path for glob in patterns for path in release.folder.glob(glob)} == set(found.values())


def test_a_source_without_a_test_split(release, tmp_path):
    files = {name: digest for name, digest in release.files.items() if not name.startswith("data/test-")}
    text = json.dumps(describe(replace(release.manifest, splits={}), files))
    (tmp_path / CROISSANT).write_text(text)
    assert "data/test-" not in text
    assert "TestSplit" not in text
    assert mlcroissant.Dataset(tmp_path / CROISSANT).metadata.ctx.issues.report() == ""


def test_of_cifar10_it_says_what_is_known_of_cifar10(release, tmp_path):
    source = Source.of(Provenance("hub", "x", claims_cifar10=True, check="x"), release.manifest.source.pixels_sha256)
    described = describe(replace(release.manifest, source=source), release.files)
    assert "krizhevsky2009learning" in described["citeAs"]
    assert "cs.toronto.edu" in described["license"]["url"]
    assert any("withdrawn" in bias for bias in described["rai:dataBiases"])
    (tmp_path / CROISSANT).write_text(json.dumps(described))
    assert mlcroissant.Dataset(tmp_path / CROISSANT).metadata.ctx.issues.report() == ""
    other = describe(release.manifest, release.files)
    assert "krizhevsky" not in json.dumps(other)
    assert "toronto" not in json.dumps(other)


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda d: d.update(name="x"), "name: expected digits-s, got x"),
        (lambda d: d.update(version="9.9.9"), "version: expected 1.0.0, got 9.9.9"),
        (lambda d: d["distribution"][0].update(sha256="0" * 64), r"distribution\[0\].sha256: .*, got 0+"),
        (lambda d: d["distribution"][0].update(contentUrl="https://x.example/"), r"distribution\[0\].contentUrl: .*"),
        (lambda d: d["distribution"].pop(), "distribution: .*"),
        (lambda d: d["distribution"].append(d["distribution"][0]), "distribution: .*"),
        (lambda d: d["recordSet"][2].update(description="x"), r"recordSet\[2\].description: .*"),
        (lambda d: d["recordSet"][1]["data"][3].update({"classes/label": 3.0}), r"recordSet\[1\].data\[3\].*, got 3.0"),
        (lambda d: d["@context"].update(sc="https://x.example/"), "@context.sc: .*"),
        (lambda d: d.update(isLiveDataset=0), "isLiveDataset: expected False, got 0"),
        (lambda d: d.update({"extra": None}), "extra: expected no such field, got None"),
        (lambda d: d.pop("rai:dataBiases"), "rai:dataBiases: is missing"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_changed_is_found(release, described, tmp_path, change, failure):
    data = copy.deepcopy(described)
    change(data)
    (found,) = failures(release, tmp_path, json.dumps(data))
    assert re.fullmatch(f"croissant.json: {failure}", found)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "[]"])
def test_what_is_no_description_is_refused(release, tmp_path, text):
    (found,) = failures(release, tmp_path, text)
    assert found.startswith("croissant.json: ")
    assert len(found) < 1000


def failures(release, folder, text):
    (folder / CROISSANT).write_text(text)
    failures = Failures(folder)
    check_croissant(failures, release.manifest, release.files)
    return failures.lines


def test_verify_looks_at_it(release, tmp_path):
    folder = shutil.copytree(release.folder, tmp_path / "copy")
    text = (folder / CROISSANT).read_text()
    (folder / CROISSANT).write_text(text.replace('"name": "digits-s"', '"name": "cifar10-s"'))
    write_sums(folder)
    with pytest.raises(VerificationError, match=r"^croissant.json: name: expected digits-s, got cifar10-s$"):
        cifar10_s.verify(folder)
    (folder / CROISSANT).unlink()
    write_sums(folder)
    with pytest.raises(VerificationError, match=r"^croissant.json: is missing$"):
        cifar10_s.verify(folder)
