"""What is taken of a source: nothing is guessed, left out or read as clean images without a word."""

import json
import logging
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_dataset
from datasets import Image as ImageColumn
from PIL import Image
from support.images import make_images
from support.sources import write_arrays

import cifar10_s
from cifar10_s.cli import app as cli
from cifar10_s.common.checksums import write_sums
from cifar10_s.data.codec import encode
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.selection import chosen_classes
from cifar10_s.data.sources.splits import load_splits, open_splits
from cifar10_s.errors import SourceError, UsageError, VerificationError

SPELLINGS = ["test", "Test", "TEST", "testing"], ["val", "Val", "valid", "validation", "VALIDATION", "dev"]


def write_classes(root, classes=("cat", "dog"), count=2, seed=0):
    for k, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for i, pixels in enumerate(make_images(seed=seed + k, count=count, classes=1).pixels):
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def write_table(path, labels=(0, 1, 0, 1), *, names=("cat", "dog"), seed=0, **columns):
    """Write a Parquet file with columns ``img`` and ``label``, or others: (values, feature) by name."""
    given = {"label": (list(labels), ClassLabel(names=list(names)))} | columns
    given = {name: column for name, column in given.items() if column is not None}
    files = [
        {"bytes": data, "path": None}
        for data in encode(make_images(seed=seed, count=len(labels)).pixels[: len(labels)])
    ]
    rows = {"img": files, **{name: values for name, (values, _) in given.items()}}
    features = Features({"img": ImageColumn(), **{name: feature for name, (_, feature) in given.items()}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(Dataset.from_dict(rows, features=features).data.table, path)
    return path


def refusal(source, **choices):
    with pytest.raises(SourceError) as caught:
        load_splits(source, choices=Choices(**choices))
    message = str(caught.value)
    assert message.isprintable()
    return message


def sizes(source, **choices):
    return {split: len(images) for split, images in open_splits(source, choices=Choices(**choices)).items()}


def write_split(folder, split, kind, count=4):
    """Write one split of a source of a kind."""
    match kind:
        case "images":
            write_classes(folder / split, count=count // 2)
        case "files":
            write_table(folder / f"{split}-00000-of-00001.parquet", [0, 1] * (count // 2))
        case "named":
            write_table(folder / f"pets_{split}.v1.parquet", [0, 1] * (count // 2))
        case "folders":
            write_table(folder / split / "0000.parquet", [0, 1] * (count // 2))
        case "arrays":
            images = make_images(count=count, classes=2)
            write_arrays(folder / split, images.pixels, images.labels)


KINDS = ["images", "files", "named", "folders", "arrays"]


# Splits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("train", "test"),
    list(zip(["train", "Train", "training"] * 4, [name for names in SPELLINGS for name in names], strict=False)),
)
def test_splits_are_recognised_alike_in_every_format(tmp_path, caplog, kind, train, test):
    write_split(tmp_path, train, kind)
    write_split(tmp_path, test, kind, count=2)
    with caplog.at_level(logging.INFO, "cifar10_s"):
        splits = open_splits(tmp_path)
    assert {split: len(images) for split, images in splits.items()} == {"train": 4, "test": 2}
    assert "train: 4 images of 2 classes from" in caplog.text
    stands_in = test in SPELLINGS[1]
    assert (f"({test}, as there is no test split" in caplog.text) == stands_in
    names = {"train": train, "test": test}
    renamed = {split: name for split, name in names.items() if name.lower() != split}
    assert splits["train"].provenance.splits == renamed
    assert len(cifar10_s.open_images(tmp_path, split="test")) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_split_comes_before_the_validation_split_which_is_named(tmp_path, caplog, kind):
    for split, count in (("train", 4), ("val", 2), ("test", 6)):
        write_split(tmp_path, split, kind, count=count)
    with caplog.at_level(logging.INFO, "cifar10_s"):
        assert sizes(tmp_path) == {"train": 4, "test": 6}
    assert "not taken: val" in caplog.text
    assert sizes(tmp_path, test_split="VAL") == {"train": 4, "test": 2}
    assert sizes(tmp_path, test_split="none") == {"train": 4}
    assert sizes(tmp_path, train_split="test", test_split="train") == {"train": 6, "test": 4}
    assert len(cifar10_s.load_images(tmp_path, split="validation")) == 2
    assert "--test-split: expected one of" in refusal(tmp_path, test_split="holdout")


@pytest.mark.parametrize("kind", KINDS)
def test_several_candidates_are_listed(tmp_path, kind):
    for split in ("train", "val", "valid"):
        write_split(tmp_path, split, kind)
    assert "several splits to test on (val, valid); name one with --test-split" in refusal(tmp_path)
    write_split(tmp_path, "training", kind)
    assert "several splits for training (train, training); name one with --train-split" in refusal(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_training_split_the_others_are_listed(tmp_path, kind):
    write_split(tmp_path, "test", kind)
    write_split(tmp_path, "val", kind)
    assert "no training split, but test, val; name one with --train-split" in refusal(tmp_path)
    assert sizes(tmp_path, train_split="val") == {"train": 4, "test": 4}


def test_splits_of_any_name_can_be_chosen(tmp_path):
    for fold in ("fold1", "fold2"):
        write_classes(tmp_path / "images" / fold)
        write_table(tmp_path / "parquet" / f"{fold}-00000-of-00001.parquet")
    assert "--train-split" in refusal(tmp_path / "images")
    assert "no training split, but fold1, fold2" in refusal(tmp_path / "parquet")
    for source in (tmp_path / "images", tmp_path / "parquet"):
        assert sizes(source, train_split="fold1", test_split="fold2") == {"train": 4, "test": 4}


# Splits without labels


@pytest.mark.parametrize("missing", ["minus one", "null", "no column"])
def test_a_test_table_without_labels(tmp_path, missing):
    write_table(tmp_path / "train-00000-of-00001.parquet")
    labels = {"minus one": [-1] * 4, "null": [None] * 4}.get(missing)
    columns = {} if labels else {"label": None, "id": (list("abcd"), Value("string"))}
    write_table(tmp_path / "test-00000-of-00001.parquet", labels or [0] * 4, **columns)
    line = refusal(tmp_path)
    assert "--test-split none" in line
    assert sizes(tmp_path, test_split="none") == {"train": 4}
    write_table(tmp_path / "validation-00000-of-00001.parquet", [0, 1])
    assert sizes(tmp_path) == {"train": 4, "test": 2}


def test_a_flat_folder_of_test_images(tmp_path):
    write_classes(tmp_path / "train")
    shutil.copytree(tmp_path / "train" / "cat", tmp_path / "test")
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path / 'test'}: has images but no folders of classes, and so no labels")
    assert "--test-split none" in line
    assert sizes(tmp_path, test_split="none") == {"train": 4}
    write_classes(tmp_path / "Val", count=1)
    assert sizes(tmp_path) == {"train": 4, "test": 2}


def test_a_test_folder_of_an_unknown_class(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", ("unknown",))
    assert "--test-split none" in refusal(tmp_path)
    assert sizes(tmp_path, test_split="none") == {"train": 4}


def test_flat_splits_are_no_classes(tmp_path):
    write_classes(tmp_path, ("train", "test"))
    assert "has images but no folders of classes" in refusal(tmp_path)


def test_a_test_split_with_fewer_classes_keeps_their_labels(tmp_path):
    write_classes(tmp_path / "images" / "train", ("ant", "cat", "dog"))
    write_classes(tmp_path / "images" / "test", ("ant", "dog"))
    for split, labels in (("train", ["ant", "cat", "dog"]), ("test", ["dog", "dog", "ant"])):
        write_table(tmp_path / "texts" / f"{split}-0.parquet", [0] * 3, label=(labels, Value("string")))
    expected = {"images": [0, 0, 2, 2], "texts": [2, 2, 0]}
    for source, labels in expected.items():
        splits = load_splits(tmp_path / source)
        assert splits["test"].class_names == ("ant", "cat", "dog")
        assert splits["test"].labels.tolist() == labels


# Every file is accounted for


@pytest.mark.parametrize("where", ["stray.png", "notes.txt", "train/stray.png", "train/cat/deeper/0.png", ".x/0.png"])
def test_a_file_that_belongs_to_nothing_is_named(tmp_path, where):
    write_classes(tmp_path / "train")
    stray = tmp_path / where
    stray.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "train" / "cat" / "0.png", stray)
    assert str(tmp_path / where.removesuffix("/0.png")) in refusal(tmp_path)


@pytest.mark.parametrize("name", ["stray.png", "stray.csv", "more.parquet", "data.parquet.crc"])
def test_a_file_beside_parquet_is_named(tmp_path, name):
    write_table(tmp_path / "train-00000-of-00001.parquet")
    shutil.copy(tmp_path / "train-00000-of-00001.parquet", tmp_path / name)
    assert refusal(tmp_path).startswith(f"{tmp_path / name}: ")


IGNORED = [".DS_Store", "._0.png", "Thumbs.db", "thumbs.db", "desktop.ini", ".gitattributes", ".gitignore",
           "@eaDir/0.png", ".git/HEAD", ".cache/huggingface/x.lock", "__MACOSX/0.png"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_part_of_a_dataset_is_ignored(tmp_path, kind):
    write_split(tmp_path, "train", kind)
    folders = [folder for folder, _, _ in os.walk(tmp_path)]
    for folder in folders:
        for name in IGNORED:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("left behind")
    for name in ("README.md", "LICENSE", "dataset_infos.json", "croissant.json"):
        (tmp_path / name).write_text("{}")
    assert sizes(tmp_path) == {"train": 4}


def test_the_structure_tells_classes_from_splits(tmp_path):
    write_classes(tmp_path / "vehicles", ("bus", "train", "tram"))
    write_classes(tmp_path / "both" / "train", ("train", "test"))
    write_classes(tmp_path / "both" / "test", ("train", "test"))
    assert cifar10_s.load_images(tmp_path / "vehicles").class_names == ("bus", "train", "tram")
    assert load_splits(tmp_path / "both")["test"].class_names == ("test", "train")


def test_classes_of_classes_are_not_flattened(tmp_path):
    write_classes(tmp_path / "pets" / "cat", ("persian", "siamese"))
    write_classes(tmp_path / "pets" / "dog", ("pug", "collie"))
    assert "pets/cat" in refusal(tmp_path / "pets")
    assert refusal(tmp_path).endswith(f"give {tmp_path / 'pets'}")


def test_a_missing_shard_is_noticed(tmp_path):
    for number in (0, 1, 3):
        write_table(tmp_path / f"train-0000{number}-of-00004.parquet")
    assert "train: 1 of 4 files are missing, the first is number 00002" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["{}/", "{}/.", "../with space", "link"])
def test_paths_in_other_forms(tmp_path, monkeypatch, form):
    folder = write_classes(tmp_path / "with space")
    write_table(tmp_path / "table" / "train-0.parquet")
    (tmp_path / "table" / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path / "table")
    if form == "link":
        assert "link" in refusal(".")  # images below a folder of Parquet
    assert sizes(form.format(folder)) == {"train": 4}


def test_the_current_folder(tmp_path, monkeypatch):
    write_table(tmp_path / "pets" / "train-0.parquet")
    monkeypatch.chdir(tmp_path / "pets")
    assert open_splits(".")["train"].provenance.title == "“pets”"


# Releases


@pytest.mark.parametrize("where", ["release", "inner/release"])
@pytest.mark.parametrize("kept", ["all", "manifest.json", "README.md"])
def test_a_release_below_a_source_is_refused(tmp_path, release, where, kept):
    write_classes(tmp_path)
    copy = shutil.copytree(release.folder, tmp_path / where)
    if kept != "all":
        for path in copy.iterdir():
            if path.is_file() and path.name != kept:
                path.unlink()
    assert refusal(tmp_path).startswith(f"{tmp_path / where}: is a release that")


@pytest.mark.parametrize("part", ["", "data", "data/ops", "figures", "data/ops/"])
def test_a_part_of_a_release_is_refused(tmp_path, release, monkeypatch, part):
    copy = shutil.copytree(release.folder, tmp_path / "digits")
    source = f"{copy}/{part}"
    assert "a release that `cifar10-s build` wrote" in refusal(source)
    (tmp_path / "link").symlink_to(source)
    assert "a release that `cifar10-s build` wrote" in refusal(tmp_path / "link")
    monkeypatch.chdir(source)
    assert "a release that `cifar10-s build` wrote" in refusal(".")


def test_links_into_a_release_are_refused(tmp_path, release):
    copy = shutil.copytree(release.folder, tmp_path / "digits")
    shard = next((copy / "data" / "ops").glob("train-*.parquet"))
    for name, target in (("file", shard), ("folder", shard.parent)):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("train-0.parquet" if name == "file" else "train")).symlink_to(target)
        assert "a part of a release" in refusal(tmp_path / name)
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "train-0.parquet").symlink_to(next((copy / "data" / "clean").glob("train-*.parquet")))
    assert sizes(tmp_path / "clean") == {"train": release.manifest.configurations["clean"].rows}


# Configurations and columns


def test_several_configurations(tmp_path):
    for name, rows in (("fine", 4), ("coarse", 6)):
        for split in ("train", "test"):
            write_table(tmp_path / name / f"{split}-00000-of-00001.parquet", [0, 1] * (rows // 2))
    assert "has several configurations (coarse, fine); choose one with --source-config" in refusal(tmp_path)
    assert sizes(tmp_path, config="fine") == {"train": 4, "test": 4}
    assert sizes(tmp_path, config="coarse/") == {"train": 6, "test": 6}
    assert "--source-config: expected one of coarse, fine, got 'x'" in refusal(tmp_path, config="x")


CARD = """---
configs:
- config_name: a
  data_files:
  - split: train
    path: data/first-*
  - split: test
    path: [data/second.parquet]
- config_name: b
  data_files: {train: "data/**/second*"}
  %s
dataset_info:
- config_name: a
  features:
  - {name: img, dtype: image}
  - {name: label, dtype: {class_label: {names: {'0': ant, '1': bee}}}}
---
"""


def test_a_card_lists_configurations(tmp_path, caplog):
    write_table(tmp_path / "data" / "first-0.parquet")
    write_table(tmp_path / "data" / "second.parquet", [0, 1])
    (tmp_path / "README.md").write_text(CARD % "")
    assert "has several configurations (a, b); choose one with --source-config" in refusal(tmp_path)
    assert sizes(tmp_path, config="a") == {"train": 4, "test": 2}
    (tmp_path / "README.md").write_text(CARD % "default: true")
    with caplog.at_level(logging.INFO, "cifar10_s"):
        assert sizes(tmp_path) == {"train": 2}
    assert "configuration b, the default of its card; --source-config takes a" in caplog.text
    write_table(tmp_path / "data" / "third.parquet")
    assert "third.parquet: belongs to no split" in refusal(tmp_path)


def test_a_card_names_classes_that_the_files_do_not(tmp_path):
    path = write_table(tmp_path / "data" / "first-0.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert cifar10_s.load_images(tmp_path).class_names == ("0", "1")
    (tmp_path / "README.md").write_text(CARD % "")
    assert cifar10_s.load_images(tmp_path, choices=Choices(config="a")).class_names == ("ant", "bee")


@pytest.mark.parametrize("card", ["---\nconfigs: 3\n---\n", "---\nconfigs: [1, {}]\n---\n", "---\n", "---", ""])
def test_a_card_without_configurations(tmp_path, card):
    write_table(tmp_path / "train-0.parquet")
    (tmp_path / "README.md").write_text(card)
    assert sizes(tmp_path) == {"train": 4}


@pytest.mark.parametrize("metadata", [": [", "[" * 10_000])
def test_a_card_that_is_not_yaml(tmp_path, metadata):
    write_table(tmp_path / "train-0.parquet")
    (tmp_path / "README.md").write_text(f"---\n{metadata}\n---\n")
    assert "README.md: its metadata is not YAML" in refusal(tmp_path)


def test_a_card_cannot_name_files_elsewhere(tmp_path):
    write_table(tmp_path / "secret" / "train-0.parquet", [0, 1])
    write_table(tmp_path / "pets" / "train-0.parquet")
    (tmp_path / "pets" / "README.md").write_text("---\nconfigs:\n- data_files: ../secret/*\n---\n")
    assert sizes(tmp_path / "pets") == {"train": 4}


FINE = ([0, 2, 1, 2], ClassLabel(names=["a", "b", "c"]))
PLAIN = ([0, 2, 1, 2], Value("int64"))


@pytest.mark.parametrize(
    ("columns", "candidates"),
    [
        ({"fine_label": FINE}, "label, fine_label"),
        ({"fine_label": PLAIN}, "label, fine_label"),
        ({"label": PLAIN, "breed": FINE}, "label, breed"),
        ({"label": None, "fine_label": PLAIN, "coarse_label": PLAIN}, "fine_label, coarse_label"),
        ({"label": None, "fine_label": FINE, "coarse_label": FINE}, "fine_label, coarse_label"),
    ],
)
def test_no_label_column_is_passed_over(tmp_path, columns, candidates):
    write_table(tmp_path / "train-0.parquet", **columns)
    line = refusal(tmp_path)
    assert f"got several ({candidates})" in line
    assert line.endswith("choose one with --label-column")
    for name, given in columns.items():
        if given is not None:
            images = cifar10_s.load_images(tmp_path, choices=Choices(label_column=name))
            assert images.labels.tolist() == [0, 2, 1, 2]
            assert images.class_names == (tuple("abc") if given is FINE else tuple("012"))
    assert "--label-column: expected one of img" in refusal(tmp_path, label_column="x")


def test_labels_that_are_texts(tmp_path):
    texts = ["dog", "ant", "dog", "cat"]
    for number, kind in enumerate([pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]):
        path = write_table(tmp_path / str(number) / "train-0.parquet", label=(texts, Value("string")))
        table = pq.read_table(path)
        pq.write_table(table.set_column(1, "label", table["label"].cast(kind)), path)
        images = cifar10_s.load_images(path.parent)
        assert images.class_names == ("ant", "cat", "dog")
        assert images.labels.tolist() == [2, 0, 2, 1]


def test_several_columns_of_images(tmp_path):
    path = write_table(tmp_path / "train-0.parquet")
    table = pq.read_table(path).replace_schema_metadata(None)
    other = make_images(seed=5, count=4)
    column = pa.array([{"bytes": data, "path": None} for data in encode(other.pixels)], table["img"].type)
    pq.write_table(table.append_column("mask", column), path)
    assert "got several (img, mask)" in refusal(tmp_path)
    assert np.array_equal(cifar10_s.load_images(tmp_path, choices=Choices(image_column="mask")).pixels, other.pixels)


def test_images_that_are_plain_bytes(tmp_path):
    images = make_images(count=4)
    columns = {"jpg": pa.array(encode(images.pixels)), "label": pa.array([0, 1, 1, 0])}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    assert np.array_equal(cifar10_s.load_images(tmp_path).pixels, images.pixels)


@pytest.mark.parametrize("kind", ["images", "arrays"])
@pytest.mark.parametrize("choice", ["config", "image_column", "label_column", "revision"])
def test_a_choice_that_a_format_has_not_is_refused(tmp_path, kind, choice):
    write_split(tmp_path, "train", kind)
    assert "leave out --" in refusal(tmp_path, **{choice: "x"})


# Labels of other kinds


def write_cifar100(folder, train=24, test=8):
    """Write a table with fine and coarse labels, a number and a text."""
    for split, count in (("train", train), ("test", test)):
        fine = [i % 4 for i in range(count)]
        others = {
            "label": None,
            "fine_label": (fine, ClassLabel(names=list("abcd"))),
            "coarse_label": ([one // 2 for one in fine], ClassLabel(names=["ab", "cd"])),
            "hard_label": ([7 * one for one in fine], Value("int32")),
            "id": ([f"{split} {i}" for i in range(count)], Value("string")),
        }
        write_table(folder / f"{split}-00000-of-00001.parquet", [0] * count, **others)
    return folder


def test_labels_of_other_kinds_keep_their_columns(tmp_path, capsys):
    source = write_cifar100(tmp_path / "c100")
    command = ["build", "--source", str(source), "--label-column", "fine_label", "--name", "x", "-c", "ops"]
    assert cli.run([*command, "--output", str(tmp_path / "x"), "--classes", "1:4"]) == 0
    for configuration in ("clean", "ops"):
        for split in ("train", "test"):
            rows = load_dataset(str(tmp_path / "x"), configuration, split=split)
            expected = load_dataset(str(source), split=split).filter(lambda row: row["fine_label"] > 0)
            assert rows.column_names == ["img", "label", "coarse_label", "hard_label"]
            assert rows.features["coarse_label"] == ClassLabel(names=["ab", "cd"])
            assert rows.features["label"] == ClassLabel(names=list("bcd"))
            for name in ("coarse_label", "hard_label"):
                assert rows[name][:] == expected[name][:]
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text())
    assert {name: column["names"] for name, column in manifest["columns"].items()} == {
        "coarse_label": ["ab", "cd"],
        "hard_label": None,
    }
    fields = json.loads((tmp_path / "x" / "croissant.json").read_text())["recordSet"][-1]["field"]
    assert [field["name"] for field in fields] == ["split", "img", "label", "coarse_label", "hard_label"]
    assert "`coarse_label` | class label | labels of another kind" in (tmp_path / "x" / "README.md").read_text()
    assert cli.run(["verify", str(tmp_path / "x")]) == 0
    assert cli.run(["search", "--source", str(tmp_path / "x" / "data" / "clean"), "--label-column", "label"]) == 0
    capsys.readouterr()
    # A changed coarse label is found.
    shard = next((tmp_path / "x" / "data" / "ops").glob("*.parquet"))
    table = pq.read_table(shard)
    values = pa.array([1 - table["coarse_label"][0].as_py(), *table["coarse_label"].to_pylist()[1:]])
    pq.write_table(table.set_column(2, "coarse_label", values), shard)
    write_sums(tmp_path / "x")
    with pytest.raises(VerificationError, match="SHA-256 of coarse_label"):
        cifar10_s.verify(tmp_path / "x")


def test_a_column_that_a_release_cannot_have_is_named(tmp_path, caplog):
    source = write_cifar100(tmp_path / "c100")
    path = source / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("train_label", pa.array(range(24))), path)
    with caplog.at_level(logging.INFO, "cifar10_s"):
        images = open_splits(source, choices=Choices(label_column="fine_label"))
    assert "column train_label is left out" in caplog.text
    assert [list(one.other_labels) for one in images.values()] == [["coarse_label", "hard_label"]] * 2
    assert images["test"].take(np.array([1, 5])).other_labels["hard_label"].values.tolist() == [7, 7]


# Classes, limit, size and mode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [("class 0", "2"), ("2", "0"), ("2:", "0:1"), None])
@pytest.mark.parametrize("limit", [None, 2, 100])
def test_some_classes_and_some_images_of_each(tmp_path, kind, classes, limit):
    images = make_images(count=30, classes=4)
    names = list(images.class_names)
    match kind:
        case "arrays":
            write_arrays(tmp_path, images.pixels, images.labels, classes=names)
        case "images":
            for row, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
                (tmp_path / names[label]).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / names[label] / f"{row:02}.png")
        case _:
            write_table(tmp_path / "train-0.parquet", images.labels.tolist(), names=names)
    everything = cifar10_s.load_images(tmp_path)
    kept = [0, 2, 3] if classes == ("2:", "0:1") else [0, 1, 2, 3] if classes is None else [0, 2]
    rows = [row for row, label in enumerate(everything.labels) if label in kept]
    rows = [
        row for row in rows
        if limit is None or sum(everything.labels[:row] == everything.labels[row]) < limit
    ]  # fmt: skip
    chosen = cifar10_s.open_images(tmp_path, choices=Choices(classes=classes, limit=limit))
    assert chosen.class_names == tuple(names[label] for label in kept)
    assert chosen.labels.tolist() == [kept.index(label) for label in everything.labels[rows]]
    assert np.array_equal(chosen.load().pixels, everything.pixels[rows])
    some = np.arange(0, len(rows), 3)
    assert np.array_equal(chosen.read(some), everything.pixels[rows][some])


def test_classes_that_are_not_there():
    names = ("cat", "dog", "eel")
    assert chosen_classes(names, ("eel", "0"), "x") == [0, 2]
    assert chosen_classes(("1", "0"), ("0",), "x") == [1]  # a name comes before a number
    for wrong in (("cow",), ("3",), ("2:4",), ("2:1",), ("-1",), ("cat", "0"), ("9" * 30,)):
        with pytest.raises(SourceError, match="--classes: expected"):
            chosen_classes(names, wrong, "x")


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"resize": 0}, {"mode": "rgb"}, {"classes": ("a", "")}, {"config": ""}]
)
def test_choices_that_are_none(wrong):
    with pytest.raises(UsageError, match=r"--[a-z-]+: expected"):
        Choices(**wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_one_size_and_mode_in_every_format(tmp_path, kind):
    write_split(tmp_path, "train", kind)
    plain = cifar10_s.load_images(tmp_path)
    small = cifar10_s.load_images(tmp_path, choices=Choices(resize=3, mode="L"))
    for before, after in zip(plain.pixels, small.pixels, strict=True):
        image = Image.fromarray(before).convert("L")
        width, height = image.size
        side = min(width, height)
        image = image.resize((3 * width // side, 3 * height // side), Image.Resampling.BILINEAR)
        left, top = round((image.width - 3) / 2), round((image.height - 3) / 2)
        assert np.array_equal(after[..., 0], np.asarray(image.crop((left, top, left + 3, top + 3))))


def test_the_sample_takes_choices_too():
    images = cifar10_s.load_images("sample", choices=Choices(classes=("3", "5"), limit=4, resize=4, mode="RGB"))
    assert (images.shape, images.class_names) == ((8, 4, 4, 3), ("3", "5"))


# Recorded


def test_what_was_chosen_is_recorded_and_verified(tmp_path, capsys):
    for split, count in (("train", 12), ("val", 4), ("extra", 4)):
        write_table(tmp_path / "pets" / f"{split}-00000-of-00001.parquet", [0, 1] * (count // 2))
    options = ["--source", str(tmp_path / "pets"), "--classes", "cat,1", "--limit", "3", "--resize", "4", "--mode", "L"]
    command = ["build", *options, "--name", "pets-s", "--output", str(tmp_path / "out"), "-c", "ops"]
    assert cli.run(command) == 0
    out, err = capsys.readouterr()
    assert (err, out.count("train: 6 images of 2 classes from")) == ("", 1)
    assert "(val, as there is no test split with labels); not taken: extra" in out
    source = json.loads((tmp_path / "out" / "manifest.json").read_text())["source"]
    assert source["choices"] == {"classes": "cat,1", "limit": 3, "resize": 4, "mode": "L"}
    assert source["splits"] == {"test": "val"}
    assert source["left_out"] == ["extra"]
    card = (tmp_path / "out" / "README.md").read_text()
    for text in ("classes cat,1", "limit 3", "resize 4", "mode L", "test: val"):
        assert text in card
    assert cli.run(["verify", str(tmp_path / "out")]) == 0
    # Another choice is another build; the same command finds the same one.
    assert cli.run(command) == 0
    assert cli.run([*command, "--test-split", "none"]) != 0


def test_a_plain_source_records_nothing_new(tmp_path):
    write_classes(tmp_path / "pets", count=4)
    release = cifar10_s.build(tmp_path / "pets", tmp_path / "out", name="pets-s", configurations=["ops"])
    source = release.manifest.to_dict()["source"]
    assert list(source) == ["kind", "name", "claims_cifar10", "check", "title", "is_cifar10", "pixels_sha256"]


def test_part_of_cifar10_is_not_called_cifar10():
    provenance = cifar10_s.load_images("sample").provenance
    whole = type(provenance)("archive", "a.tar.gz", claims_cifar10=True, check="MD5")
    part = type(provenance)("archive", "a.tar.gz", claims_cifar10=True, check="MD5", choices={"limit": 5})
    swapped = type(provenance)("archive", "a.tar.gz", claims_cifar10=True, check="MD5", splits={"train": "test"})
    assert whole.is_cifar10
    assert (part.is_cifar10, part.title) == (False, "CIFAR-10 (limit 5)")
    assert (swapped.is_cifar10, swapped.title) == (False, "CIFAR-10 (train split test)")


def test_a_class_with_a_comma_is_chosen_by_its_number():
    with pytest.raises(UsageError, match="'tench, Tinca' has a comma, which separates names: give the class's number"):
        Choices(classes=("tench, Tinca", "dog"))
