"""A release gets new words, figures and results, and keeps its images and recipes, to the byte."""

import json
import shutil

import pytest
from support.synthetic_records import record

import cifar10_s
from cifar10_s.cli import app as cli
from cifar10_s.common.checksums import hash_folder, write_sums
from cifar10_s.errors import BuildError, SourceError, UsageError, VerificationError
from cifar10_s.release.layout import RESULTS

WORDS = {"README.md", "manifest.json", "croissant.json"}


@pytest.fixture
def copy(release, tmp_path):
    return shutil.copytree(release.folder, tmp_path / "copy")


def records(release, path):
    manifest = release.manifest
    lines = [
        record(name, seed=0, network="small", source=manifest.title, pixels=manifest.pixels[name],
               test=manifest.test_pixels)
        for name in ("clean", "ops")
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def changed(before, folder):
    after = hash_folder(folder)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_nothing_given_changes_nothing(release, copy):
    assert cifar10_s.renew(copy).files == release.files
    assert not list(copy.parent.glob(".*"))


def test_version_name_and_words_change_and_no_image_does(release, copy, tmp_path):
    (tmp_path / "about.yaml").write_text("title: Digits with shortcuts\nauthors: Ada Lovelace\n")
    renewed = cifar10_s.renew(copy, dataset_version="1.0.1", name="other-s", about=tmp_path / "about.yaml")
    manifest = renewed.manifest
    assert (manifest.version, manifest.name, manifest.title) == ("1.0.1", "other-s", "Digits with shortcuts")
    assert changed(release.files, copy) == WORDS
    assert cifar10_s.verify(copy).manifest == manifest
    # What is not given stays.
    again = cifar10_s.renew(copy, dataset_version="1.0.2").manifest
    assert (again.name, again.attribution) == ("other-s", manifest.attribution)


def test_results_come_and_go(release, copy, tmp_path):
    renewed = cifar10_s.renew(copy, records=[records(release, tmp_path / "r.jsonl")])
    figures = set(renewed.manifest.results.figures)
    assert renewed.manifest.results.records == 2
    assert changed(release.files, copy) == {"README.md", "manifest.json", RESULTS, *figures}
    with_results = hash_folder(copy)
    cifar10_s.renew(copy)
    assert hash_folder(copy) == with_results
    cifar10_s.renew(copy, records=[])
    assert hash_folder(copy) == release.files


def test_what_is_not_of_the_release_is_not_removed(release, copy):
    (copy / ".cache").mkdir()  # as `hf download` leaves it
    cifar10_s.renew(copy)
    for name in (".git", "notes"):
        (copy / name).mkdir()
        with pytest.raises(UsageError, match=f"would be removed: {name}; move it first"):
            cifar10_s.renew(copy)
        (copy / name).rmdir()


def test_records_of_other_images_do_not_replace_the_results(release, copy, tmp_path):
    cifar10_s.renew(copy, records=[records(release, tmp_path / "r.jsonl")])
    before = hash_folder(copy)
    line = record("clean", seed=0, network="small", source="other", pixels="0" * 64, test="1" * 64)
    (tmp_path / "other.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="records: none of the 1 was measured on the images of"):
        cifar10_s.renew(copy, records=[tmp_path / "other.jsonl"])
    assert hash_folder(copy) == before


def test_a_card_of_an_earlier_version_is_written_anew(release, copy):
    """`verify` refuses it, as its words are not today's; its images are what they were."""
    (copy / "README.md").write_text("an older card")
    (copy / "figures/ops.png").write_bytes((copy / "figures/ops-2.png").read_bytes())
    write_sums(copy)
    with pytest.raises(VerificationError, match=r"README\.md"):
        cifar10_s.verify(copy)
    assert cifar10_s.renew(copy).files == release.files


@pytest.mark.parametrize("name", ["data/ops/train-00000-of-00001.parquet", "recipes/ops.json", "manifest.json"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_what_has_changed_gets_no_new_sum(copy, name, how):
    path = copy / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"s", b"S", 1))
    before = hash_folder(copy)
    with pytest.raises((VerificationError, SourceError), match=r"\A[^\n]+\Z"):
        cifar10_s.renew(copy, dataset_version="1.0.1")
    assert hash_folder(copy) == before


def test_another_image_under_new_sums_is_still_found(copy):
    """The images are verified after all."""
    shutil.copy(copy / "data/ops-2/train-00000-of-00001.parquet", copy / "data/ops/train-00000-of-00001.parquet")
    write_sums(copy)
    before = hash_folder(copy)
    with pytest.raises(VerificationError, match=r"data/ops/train.*not what the recipe makes"):
        cifar10_s.renew(copy, dataset_version="1.0.1")
    assert hash_folder(copy) == before


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({"dataset_version": "1.0"}, UsageError, "dataset-version: expected three numbers, such as 1.1.0, got '1.0'"),
        ({"dataset_version": "01.0.0"}, UsageError, "dataset-version: expected three numbers"),
        ({"name": "a/b"}, UsageError, "name: expected a dataset name"),
        ({"about": "none.yaml"}, SourceError, "none.yaml: cannot be read"),
        ({"records": ["none.jsonl"]}, SourceError, "none.jsonl"),
    ],
)
def test_what_cannot_be_is_refused_first(release, copy, options, error, line):
    with pytest.raises(error, match=line):
        cifar10_s.renew(copy, **options)
    assert hash_folder(copy) == release.files


def test_what_is_no_release(tmp_path):
    with pytest.raises(SourceError, match="is not a folder; expected a release"):
        cifar10_s.renew(tmp_path / "none")
    with pytest.raises(SourceError, match="is not a release"):
        cifar10_s.renew(tmp_path)


def test_without_the_clean_images_there_is_nothing_to_compare_with(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["configurations"]["clean"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    write_sums(copy)
    before = hash_folder(copy)
    with pytest.raises(UsageError, match="unknown configuration 'clean'"):
        cifar10_s.renew(copy)
    assert hash_folder(copy) == before


def test_a_full_disk_leaves_the_folder_as_it_is(release, copy, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cifar10_s.builder.renewal.write_metadata", full)
    with pytest.raises(BuildError, match="No space left"):
        cifar10_s.renew(copy)
    assert hash_folder(copy) == release.files


def test_the_command(copy, capsys):
    assert cli.run(["renew", str(copy), "--dataset-version", "1.2.0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["version"] == "1.2.0"
    assert cli.run(["renew", str(copy), "--dataset-version", "x"]) == 2
    assert capsys.readouterr().err.startswith("cifar10-s: dataset-version: expected three numbers")
