"""Images with a table of their labels: every image is in it once, and no row leads out of the folder."""

import json

import numpy as np
import pytest
from PIL import Image
from support.images import make_images
from support.sources import write_pictures

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
        ("name,label\na.png,cat\n", "expected a column file_name .* got name, label; name the columns"),
        ("file_name;label\na.png;cat\n", "expected a column file_name .* got file_name;label; .* with commas"),
        ("file_name\tlabel\na.png\tcat\n", "expected a column file_name .*; separate the columns with commas"),
        ("file_name,label\n,cat\n", "row 0: expected a column file_name"),
        ('file_name,label\na.png,"cat\n', "cannot be read as a table"),
        ("file_name,text\na.png,cat\nb.png,dog\n", "expected one label column, got none"),
        ("file_name,label,split\na.png,cat,train\nb.png,dog,\n", "expected a split in every row"),
        ("", "expected a column file_name .* got an empty file"),
    ],
    ids=range(15),
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


def test_a_table_in_another_encoding_gets_a_line(tmp_path):
    write(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,vélo\n", encoding="latin-1")
    with pytest.raises(SourceError, match=r"metadata\.csv: expected text in UTF-8; save it in that encoding"):
        load_images(tmp_path)


def test_names_that_another_system_spells_otherwise(tmp_path):
    """A Mac writes é as two characters, and most others as one."""
    write(tmp_path / "table", [("e\u0301.png", "cat"), ("b.png", "dog")])
    table = tmp_path / "table" / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("e\u0301", "\u00e9"), encoding="utf-8")
    assert load_images(tmp_path / "table").labels.tolist() == [0, 1]
    for split, spelled in (("train", "\u00e9"), ("test", "e\u0301")):
        write_pictures(tmp_path / "folders" / split, make_images())
        (tmp_path / "folders" / split / "class 1").rename(tmp_path / "folders" / split / spelled)
    splits = load_splits(tmp_path / "folders")
    assert splits["test"].class_names == splits["train"].class_names == ("class 0", "class 2", "\u00e9")
    write(tmp_path / "both", [("a.png", "\u00e9"), ("b.png", "e\u0301")])
    with pytest.raises(SourceError, match="2 classes are called 'é', in different Unicode normalisations"):
        load_images(tmp_path / "both")


def test_labels_that_are_half_an_emoji_stay_different(tmp_path):
    write(tmp_path, [("a.png", "cat"), ("b.png", "dog")])
    (tmp_path / "metadata.csv").unlink()
    lines = ['{"file_name": "a.png", "label": "\\ud83d"}', '{"file_name": "b.png", "label": "\\ud83c"}']
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert load_images(tmp_path).class_names == ("\\ud83c", "\\ud83d")


def test_two_tables_and_strays_get_a_line(tmp_path):
    write(tmp_path)
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(SourceError, match=r"notes.doc: expected only images and their tables"):
        load_images(tmp_path)
    (tmp_path / "notes.doc").rename(tmp_path / "metadata.jsonl")
    with pytest.raises(SourceError, match=r"expected one table of labels, got metadata.csv, metadata.jsonl"):
        load_images(tmp_path)


@pytest.mark.parametrize("labels", [[0.5, 1.0], [True, False], [0, "one"]])
def test_labels_of_another_kind_are_not_called_missing(tmp_path, labels):
    write(tmp_path, [("a.png", "cat"), ("b.png", "dog")])
    (tmp_path / "metadata.csv").unlink()
    lines = [json.dumps({"file_name": name, "label": label}) for name, label in zip(("a.png", "b.png"), labels)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(SourceError, match="labels: expected whole numbers or texts, got others"):
        load_images(tmp_path)
