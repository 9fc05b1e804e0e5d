"""Images with a table of their labels: every image is in it once, and no row leads out of the folder."""

import json

import numpy as np
import pytest
from PIL import Image
from support.images import make_images

from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits
from cifar10_s.errors import SourceError

ROWS = [("a.png", "cat"), ("b.png", "dog"), ("more/c.png", "cat"), ("d.png", "cow")]


def write(folder, rows=ROWS, kind="csv", table=None, seed=0, **columns):
    """Write images and their table; return the pixels in the order of the rows."""
    pixels = make_images(seed=seed, count=len(rows), classes=1).pixels
    entries = []
    for number, (name, label) in enumerate(rows):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number]).save(path)
        entries.append({"file_name": name, "label": label, **{key: of[number] for key, of in columns.items()}})
    path = (table or folder) / f"metadata.{kind}"
    if kind == "csv":
        lines = [",".join(entries[0]), *(",".join(map(str, entry.values())) for entry in entries)]
    else:
        lines = [json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return pixels


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_texts_and_numbers_are_labels(tmp_path, kind):
    pixels = write(tmp_path / "texts", kind=kind)
    images = load_images(tmp_path / "texts")
    assert np.array_equal(images.pixels, pixels)
    assert images.class_names == ("cat", "cow", "dog")
    assert images.labels.tolist() == [0, 2, 0, 1]
    assert images.provenance.title == "“texts”"
    write(tmp_path / "numbers", [(name, label) for (name, _), label in zip(ROWS, [1, 0, 2, 1])], kind=kind)
    assert load_images(tmp_path / "numbers").labels.tolist() == [1, 0, 2, 1]


def test_a_table_per_split_one_for_all_and_a_column_of_splits(tmp_path):
    for split, seed in (("train", 0), ("val", 1)):
        write(tmp_path / "each" / split, seed=seed)
    names = [(f"{split}/{name}", label) for split in ("train", "val") for name, label in ROWS]
    write(tmp_path / "one", names)
    flat = [(f"{number}.png", label) for number, (_, label) in enumerate(names)]
    write(tmp_path / "column", flat, split=["train"] * 4 + ["val"] * 4)
    for source in ("each", "one", "column"):
        splits = load_splits(tmp_path / source)
        assert {split: len(images) for split, images in splits.items()} == {"train": 4, "test": 4}
        assert splits["test"].labels.tolist() == [0, 2, 0, 1]


def test_columns_are_chosen_and_the_usual_choices_apply(tmp_path):
    write(tmp_path, coarse_label=[0, 1, 0, 1])
    with pytest.raises(SourceError, match=r"several \(label, coarse_label\).*--label-column"):
        load_images(tmp_path)
    choices = Choices(label_column="label", classes=("cat",), limit=1, resize=3, mode="L")
    images = load_images(tmp_path, choices=choices)
    assert images.shape == (1, 3, 3, 1)
    assert images.other_labels["coarse_label"].values.tolist() == [0]


def test_a_test_split_without_labels(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "test", [(name, "") for name, _ in ROWS])
    with pytest.raises(SourceError, match=r"has no labels.*--test-split none"):
        load_splits(tmp_path)
    assert list(load_splits(tmp_path, choices=Choices(test_split="none"))) == ["train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,label\na.png,cat\n", r"b.png: expected its name in metadata.csv"),
        ("file_name,label\na.png,cat\na.png,cat\nb.png,dog\n", "expected each image in one row"),
        ("file_name,label\n./a.png,cat\nb.png,dog\n../secret.png,dog\n", r"row 2: '../secret.png' is not an image in"),
        ("file_name,label\na.png,cat\nb.png,dog\n/etc/passwd,dog\n", "'/etc/passwd' is not an image in"),
        ("file_name,label\na.png,cat\nb.png,dog,3\n", "row 1: expected 2 fields"),
        ("file_name,label\na.png,cat\nb.png\n", "row 1: expected 2 fields"),
        ("file_name,label\na.png,cat\nb.png,\n", "1 rows have no label"),
        ("name,label\na.png,cat\n", "row 0: expected a column file_name"),
        ('file_name,label\na.png,"cat\n', "cannot be read as a table"),
        ("file_name,text\na.png,cat\nb.png,dog\n", "expected one label column, got none"),
        ("file_name,label,split\na.png,cat,train\nb.png,dog,\n", "expected a split in every row"),
        ("", "expected its name"),
    ],
    ids=range(12),
)
def test_a_table_that_does_not_fit_gets_a_line(tmp_path, text, message):
    folder = tmp_path / "pets"
    write(folder, [("a.png", "cat"), ("b.png", "dog")])
    Image.fromarray(make_images().pixels[0]).save(tmp_path / "secret.png")
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=message) as caught:
        load_images(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", ["[1]\n", "{\n", '{"file_name": 3}\n', "[" * 100_000, '{"file_name": "a.png", "label": [1]}\n', "\xff"]
)
def test_json_of_another_form_gets_a_line(tmp_path, text):
    write(tmp_path, [("a.png", "cat")])
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(SourceError) as caught:
        load_images(tmp_path)
    assert str(caught.value).isprintable()


def test_two_tables_and_strays_get_a_line(tmp_path):
    write(tmp_path)
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(SourceError, match=r"notes.doc: expected only images and their tables"):
        load_images(tmp_path)
    (tmp_path / "notes.doc").rename(tmp_path / "metadata.jsonl")
    with pytest.raises(SourceError, match=r"expected one table of labels, got metadata.csv, metadata.jsonl"):
        load_images(tmp_path)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False], [0, "one"]])
def test_labels_of_another_kind_are_not_called_missing(tmp_path, labels):
    write(tmp_path, [("a.png", "cat"), ("b.png", "dog")])
    (tmp_path / "metadata.csv").unlink()
    lines = [json.dumps({"file_name": name, "label": label}) for name, label in zip(("a.png", "b.png"), labels)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(SourceError, match="labels: expected whole numbers or texts, got others"):
        load_images(tmp_path)
