"""Folders that `datasets` saved to disk: read as the library itself reads them, streamed, and never trusted."""

import contextlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Image as ImageColumn
from support.images import make_images

import cifar10_s
from cifar10_s.data.codec import encode
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits, open_images
from cifar10_s.errors import SourceError


def dataset(count=11, seed=0, **more):
    images = make_images(seed=seed, count=count, classes=3)
    rows = {"img": [{"bytes": data, "path": None} for data in encode(images.pixels)], "label": images.labels.tolist()}
    features = {"img": ImageColumn(), "label": ClassLabel(names=["ant", "bee", "cow"])}
    rows |= {name: values for name, (values, _) in more.items()}
    return Dataset.from_dict(rows, features=Features(features | {name: kind for name, (_, kind) in more.items()}))


def expected(folder):
    rows = load_from_disk(str(folder))
    return np.stack([np.asarray(image) for image in rows["img"]]), list(rows["label"])


def test_splits_of_several_files_are_read_as_the_library_reads_them(tmp_path):
    train, test = dataset(), dataset(4, seed=1)
    DatasetDict(train=train, test=test.select([3, 1, 2])).save_to_disk(
        tmp_path / "pets", num_shards={"train": 3, "test": 1}
    )
    splits = load_splits(tmp_path / "pets")
    for split, images in splits.items():
        pixels, labels = expected(tmp_path / "pets" / split)
        assert np.array_equal(images.pixels, pixels)
        assert images.labels.tolist() == labels
        assert images.class_names == ("ant", "bee", "cow")
    assert splits["train"].provenance.title == "“pets”"


def test_one_dataset_is_its_own_split_and_is_streamed(tmp_path, monkeypatch):
    train = dataset(23)
    train.save_to_disk(tmp_path / "one")
    stream = open_images(tmp_path / "one")
    pixels, labels = expected(tmp_path / "one")
    rows = np.array([0, 7, 22])
    assert np.array_equal(stream.read(rows), pixels[rows])
    assert cifar10_s.search(stream) is not None
    assert stream.labels.tolist() == labels
    few = Choices(classes=("bee",), limit=2, resize=3, mode="L")
    assert load_images(tmp_path / "one", choices=few).shape == (2, 3, 3, 1)


def test_several_record_batches_in_a_file(tmp_path):
    train = dataset(30)
    train.save_to_disk(tmp_path)
    file = next(tmp_path.glob("*.arrow"))
    table = pa.ipc.open_stream(file.read_bytes()).read_all()
    with pa.ipc.new_stream(file, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=7):
            writer.write_batch(batch)
    pixels, _ = expected(tmp_path)
    images = open_images(tmp_path)
    assert len(images.blocks) == 5
    assert np.array_equal(images.load().pixels, pixels)
    assert np.array_equal(images.read(np.array([6, 7, 29])), pixels[[6, 7, 29]])


def test_columns_are_chosen_and_others_kept(tmp_path):
    dataset(6, fine_label=([5, 4, 3, 2, 1, 0], Value("int64"))).save_to_disk(tmp_path)
    with pytest.raises(SourceError, match=r"several \(label, fine_label\).*--label-column"):
        load_images(tmp_path)
    assert load_images(tmp_path, choices=Choices(label_column="fine_label")).labels.tolist() == [5, 4, 3, 2, 1, 0]
    images = load_images(tmp_path, choices=Choices(label_column="label"))
    assert images.other_labels["fine_label"].values.tolist() == [5, 4, 3, 2, 1, 0]


def break_state(folder, **changes):
    path = folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "state.json").unlink(), "expected a file that lists the Arrow files"),
        (lambda folder: (folder / "state.json").write_text("[]"), "expected what save_to_disk writes"),
        (lambda folder: (folder / "state.json").write_text("{"), "expected what save_to_disk writes"),
        (lambda folder: break_state(folder, _data_files=[{"filename": "../x.arrow"}]), "expected each Arrow file once"),
        (lambda folder: break_state(folder, _data_files=[]), "expected each Arrow file once"),
        (lambda folder: break_state(folder, _indices_data_files=[{"filename": "i.arrow"}]), "rows apart"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt: expected only files"),
        (lambda folder: shutil.copytree(folder, folder / "train"), "expected one folder per split"),
    ],
    ids=range(8),
)
def test_what_does_not_belong_together_gets_a_line(tmp_path, spoil, message):
    folder = tmp_path / "one"
    dataset().save_to_disk(folder)
    if "one folder" in message:
        shutil.copytree(folder, tmp_path / "copy")
        shutil.move(tmp_path / "copy", folder / "train")
    else:
        spoil(folder)
    with pytest.raises(SourceError, match=message) as caught:
        load_images(folder)
    assert str(caught.value).isprintable()


def test_a_row_without_an_image_gets_a_line(tmp_path):
    rows = {"img": [{"bytes": encode(make_images().pixels[:1])[0], "path": None}, None], "label": [0, 1]}
    Dataset.from_dict(rows, features=Features({"img": ImageColumn(), "label": Value("int64")})).save_to_disk(tmp_path)
    with pytest.raises(SourceError, match="row 1 has no image"):
        load_images(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_broken_bytes_get_a_line_or_are_read(tmp_path, seed):
    dataset().save_to_disk(tmp_path)
    file = next(tmp_path.glob("*.arrow"))
    whole, random = file.read_bytes(), np.random.default_rng(seed)
    for trial in range(40):
        broken = bytearray(whole[: random.integers(len(whole))] if trial % 4 == 0 else whole)
        for at in random.integers(0, max(len(broken), 1), 3):
            if broken:
                broken[at] = random.integers(256)
        file.write_bytes(bytes(broken))
        with contextlib.suppress(SourceError):
            load_images(tmp_path)
