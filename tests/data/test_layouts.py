"""What the layout of a source tells of splits, classes and labels, in every format: taken, or refused in one line."""

import io
import json
import struct
import tarfile
import zipfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from scipy.io import savemat

from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits
from cifar10_s.errors import SourceError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (99, 6, 5, 3), np.uint8)
CLASSES = datasets.ClassLabel(names=["cat", "dog"])


def png(number):
    file = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(file, "PNG")
    return file.getvalue()


def write(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(number))
    return path


def sizes(source, **choices):
    return {split: len(images) for split, images in load_splits(source, choices=Choices(**choices)).items()}


def refusal(source):
    with pytest.raises(SourceError) as caught:
        load_splits(source)
    assert str(caught.value).isprintable()
    return str(caught.value)


def named(images):
    """Return the class names of the images, in order."""
    return [images.class_names[label] for label in images.labels]


# Tables of labels


def write_table(folder, names, labels, header="file_name,label"):
    for number, name in enumerate(names):
        write(folder / name, number)
    rows = [f"{name},{label}" for name, label in zip(names, labels)]
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


@pytest.mark.parametrize(
    "folders", [("images/train", "images/test"), ("train2017", "val2017"), ("a/train/x", "a/test/y")]
)
def test_folders_at_any_depth_tell_the_splits_of_a_table(tmp_path, folders):
    names = [f"{folder}/{number}.png" for folder in folders for number in range(4)]
    write_table(tmp_path, names[:-1], ["cat", "dog"] * 4)
    assert sizes(tmp_path) == {"train": 4, "test": 3}


def test_a_folder_that_tells_no_split_is_not_training(tmp_path):
    names = [f"{folder}/{number}.png" for folder in ("train", "test", "extra") for number in range(2)]
    assert "folder extra tells no split, but other folders do (test, train)" in refusal(
        write_table(tmp_path, names, "cd" * 3)
    )


def test_a_vehicle_called_train_is_no_split(tmp_path):
    names = [f"{folder}/{number}.png" for folder in ("train", "car") for number in range(2)]
    assert sizes(write_table(tmp_path, names, "ttcc")) == {"train": 4}


@pytest.mark.parametrize("column", ["Split", "SPLIT", "subset", "Set", "partition"])
def test_columns_that_tell_the_split(tmp_path, column):
    rows = [f"{label},{split}" for label, split in zip("cdcdcd", ["train"] * 4 + ["Test"] * 2)]
    write_table(tmp_path, [f"{number}.png" for number in range(6)], rows, f"file_name,label,{column}")
    assert sizes(tmp_path) == {"train": 4, "test": 2}


def test_a_split_by_number_is_asked_about(tmp_path):
    rows = [{"file_name": f"{number}.png", "label": number % 2, "split": int(number > 3)} for number in range(6)]
    for number in range(6):
        write(tmp_path / f"{number}.png", number)
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "no training split, but 0, 1; name one with --train-split" in refusal(tmp_path)
    assert sizes(tmp_path, train_split="0", test_split="1") == {"train": 4, "test": 2}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([f"{number}.0" for number in range(12)], [str(number) for number in range(12)]),
        (["01", "1", "2"] * 4, ["01", "1", "2"]),
        (["00501", "00502"] * 6, ["00501", "00502"]),
        (["1", "2", "11"] * 4, ["1", "2", "11"]),
    ],
)
def test_numbers_as_texts(tmp_path, labels, names):
    images = load_images(write_table(tmp_path, [f"{number:02}.png" for number in range(12)], labels))
    assert list(images.class_names) == names
    assert named(images) == [label.removesuffix(".0") for label in labels]


def test_fractions_that_are_whole_numbers(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.png", number)
    rows = [{"file_name": f"{number}.png", "label": float(number % 2)} for number in range(4)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert load_images(tmp_path).labels.tolist() == [0, 1, 0, 1]


def test_images_called_like_companions_are_images(tmp_path):
    names = [f"{name}_{number}.png" for name in ("license_plate", "readme", "notice") for number in range(2)]
    assert sizes(write_table(tmp_path, names, "cd" * 3)) == {"train": 6}
    write(tmp_path / "citation.png", 9)
    assert "citation.png: expected its name in metadata.csv" in refusal(tmp_path)


# Arrays


def write_arrays(folder, name, labels, pixels=PIXELS):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.pixels.npy", pixels[: len(labels)])
    np.save(folder / f"{name}.labels.npy", np.asarray(labels))
    return folder


def test_names_of_arrays_tell_their_splits(tmp_path):
    write_arrays(tmp_path, "train", [0, 1] * 6)
    assert sizes(write_arrays(tmp_path, "test-0", [0, 1] * 3)) == {"train": 12, "test": 6}
    write_arrays(tmp_path, "more", [0, 1])
    assert "more.pixels.npy: its name tells no split, but others' do (test, train)" in refusal(tmp_path)


def test_arrays_without_such_names_are_for_training(tmp_path):
    write_arrays(tmp_path, "0", [0, 1])
    assert sizes(write_arrays(tmp_path, "1", [0, 1, 1])) == {"train": 5}


def test_class_names_beside_the_arrays_of_a_split(tmp_path):
    (write_arrays(tmp_path / "train", "0", [0, 1]) / "classes.txt").write_text("cat\ndog\n", encoding="utf-8-sig")
    assert load_images(tmp_path).class_names == ("cat", "dog")


def test_no_array_is_left_out(tmp_path):
    folder = write_arrays(write_arrays(tmp_path / "train", "0", [0, 1]), "1", [0, 1])
    (folder / "1.pixels.npy").rename(folder / "1.PIXELS.NPY")
    assert sizes(tmp_path) == {"train": 4}
    np.save(folder / "1.pixels.npy", PIXELS[:2])
    if len(list(folder.glob("1.*"))) == 3:  # the disk tells them apart
        assert "1.pixels.npy: is also there as 1.PIXELS.NPY; remove one" in refusal(tmp_path)
        (folder / "1.pixels.npy").unlink()
    (folder / "1.PIXELS.NPY").unlink()
    assert "1.labels.npy: has no pixels beside it: expected 1.pixels.npy" in refusal(tmp_path)


def test_two_classes_of_one_name(tmp_path):
    write_arrays(tmp_path, "0", [0, 1, 2])
    (tmp_path / "classes.txt").write_text("crane\ndog\ncrane\n")
    assert "2 classes are called 'crane': give each its own name" in refusal(tmp_path)


# Shards of WebDataset


def write_shard(path, samples):
    """Write samples, numbers of images by their keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, number in samples.items():
            for name, data in ((f"{key}.png", png(number)), (f"{key}.cls", str(number % 2).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_folders_of_shards_tell_splits(tmp_path):
    for folder, count in (("train2017", 6), ("val2017", 4)):
        write_shard(tmp_path / folder / "00000.tar", {str(number): number for number in range(count)})
    assert sizes(tmp_path) == {"train": 6, "test": 4}


def test_folders_of_shards_that_tell_no_split_are_asked_about(tmp_path):
    for folder, count in (("fold1", 6), ("fold2", 4)):
        write_shard(tmp_path / folder / "00000.tar", {str(number): number for number in range(count)})
    assert "no training split, but fold1, fold2; name one with --train-split" in refusal(tmp_path)
    assert sizes(tmp_path, train_split="fold1", test_split="fold2") == {"train": 6, "test": 4}


def test_folders_in_a_shard_tell_splits(tmp_path):
    write_shard(tmp_path / "all.tar", {f"{'train' if number < 6 else 'test'}/{number}": number for number in range(10)})
    assert sizes(tmp_path / "all.tar") == {"train": 6, "test": 4}


def test_a_zip_of_samples(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", png(number))
            archive.writestr(f"{number}.cls", str(number % 2))
    assert sizes(tmp_path / "all.zip") == {"train": 4}


def test_missing_shards_are_noticed(tmp_path):
    write_shard(tmp_path / "a" / "train-00001-of-00003.tar", {"0": 0, "1": 1})
    assert "2 of 3 files are missing, the first is number 00000" in refusal(tmp_path / "a")
    name = "train-00000-of-00002-0d1a4a5ea1a83c26.parquet"
    write_parquet(tmp_path / "b" / name, [0, 1])
    assert "1 of 2 files are missing, the first is number 00001" in refusal(tmp_path / "b")


# Parquet


def write_parquet(path, labels, label=CLASSES):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"image": [{"bytes": png(number), "path": None} for number in range(len(labels))], "label": labels}
    features = datasets.Features({"image": datasets.Image(), "label": label})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)


@pytest.mark.parametrize("with_configs", [True, False])
def test_class_names_of_the_card(tmp_path, with_configs):
    """The names are in the order of their labels, in whatever order the card lists them."""
    labels = [number % 11 for number in range(33)]
    table = pa.table({"image": [{"bytes": png(number), "path": None} for number in range(33)], "label": labels})
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    names = {str(label): f"c{label}" for label in sorted(range(11), key=str)}
    features = [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": {"class_label": {"names": names}}}]
    metadata = {"dataset_info": {"features": features}}
    if with_configs:
        metadata["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n")
    theirs = datasets.load_dataset(str(tmp_path), split="train").features["label"].names
    assert list(load_images(tmp_path).class_names) == theirs == [f"c{label}" for label in range(11)]


def test_files_with_other_class_names_are_refused(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00002.parquet", [0, 0, 1])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", [1, 1, 0], datasets.ClassLabel(names=["dog", "cat"]))
    assert "expected the class names of the other files of train" in refusal(tmp_path)


def test_what_the_card_lists_and_is_not_there_is_said(tmp_path, caplog):
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [0, 1])
    files = [{"split": split, "path": f"data/{split}-*"} for split in ("train", "test")]
    metadata = {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"splits": [{"name": "train", "num_examples": 60}]},
    }
    (tmp_path / "README.md").write_text(f"---\n{yaml.safe_dump(metadata)}---\n")
    with caplog.at_level("INFO", "cifar10_s"):
        assert sizes(tmp_path) == {"train": 2}
    assert "the card lists a split test, whose files are not here" in caplog.text
    assert "train has 2 rows, and the card says 60" in caplog.text


def test_a_saved_split_that_is_not_there(tmp_path):
    rows = {"image": [{"bytes": png(number), "path": None} for number in range(4)], "label": [0, 1] * 2}
    saved = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image(), "label": CLASSES}))
    datasets.DatasetDict(train=saved, test=saved).save_to_disk(str(tmp_path / "ds"))
    assert f"give {tmp_path / 'ds'}" in refusal(tmp_path)
    assert sizes(tmp_path / "ds") == {"train": 4, "test": 4}
    for file in (tmp_path / "ds" / "test").iterdir():
        file.unlink()
    (tmp_path / "ds" / "test").rmdir()
    assert "lists splits that are not there: test" in refusal(tmp_path / "ds")


# Numbers as labels


@pytest.mark.parametrize("form", ["idx", "npz", "arrays", "mat"])
def test_classes_that_do_not_begin_at_0(tmp_path, form):
    """As EMNIST's letters, 1 to 26."""
    labels = np.arange(78) % 26 + 1
    pixels = PIXELS[:78]
    if form == "idx":
        for name, array in (("images-idx3", pixels[..., 0]), ("labels-idx1", labels.astype(np.uint8))):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"train-{name}-ubyte").write_bytes(head + np.ascontiguousarray(array).tobytes())
    elif form == "npz":
        np.savez(tmp_path / "letters.npz", train_images=pixels, train_labels=labels[:, None])
    elif form == "arrays":
        write_arrays(tmp_path, "0", labels)
    else:
        savemat(tmp_path / "train.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None].astype(np.uint8)})
    images = load_images(tmp_path / "letters.npz" if form == "npz" else tmp_path)
    assert images.class_names == tuple(str(number) for number in range(1, 27))
    assert named(images) == list(map(str, labels))


@pytest.mark.parametrize(("labels", "expected"), [(range(1, 11), range(10)), (range(11), range(11))])
def test_ten_is_zero_in_svhn_alone(tmp_path, labels, expected):
    savemat(
        tmp_path / "train.mat", {"X": PIXELS[: len(labels)].transpose(1, 2, 3, 0), "y": np.array([*labels])[:, None]}
    )
    images = load_images(tmp_path)
    assert images.class_names == tuple(map(str, expected))
    assert named(images) == [str(label % 10 if len(expected) == 10 else label) for label in labels]


def test_mnist_as_kaggle_unpacks_it(tmp_path):
    for split in ("train", "t10k"):
        for what, array in (("images.idx3", PIXELS[:6, ..., 0]), ("labels.idx1", np.arange(6, dtype=np.uint8) % 2)):
            head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            data = head + np.ascontiguousarray(array).tobytes()
            (tmp_path / f"{split}-{what}-ubyte").write_bytes(data)
            nested = tmp_path / f"{split}-{what.replace('.', '-')}-ubyte"
            nested.mkdir()
            (nested / nested.name).write_bytes(data)
    assert sizes(tmp_path) == {"train": 6, "test": 6}


# Archives


def write_zip(path, names, encoding="utf-8", system=3):
    """Write a zip whose names have this encoding, without saying so; ``system`` is 0 for Windows."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, name in enumerate(names):
            info = zipfile.ZipInfo()
            info.filename = f"@{number:02}".ljust(len(name.encode(encoding)), "#")
            info.create_system = system
            archive.writestr(info, png(number))
    data = file.getvalue()
    for number, name in enumerate(names):
        stored = name.encode(encoding)
        data = data.replace(f"@{number:02}".ljust(len(stored), "#").encode(), stored)
    path.write_bytes(data)
    return path


def test_names_in_a_zip_of_macos(tmp_path):
    names = [f"{folder}/{number}.png" for folder in ("cafe\u0301s", "zebra") for number in range(2)]
    assert load_images(write_zip(tmp_path / "mac.zip", names)).class_names == ("cafe\u0301s", "zebra")


def test_names_in_a_zip_of_an_unknown_encoding(tmp_path):
    names = [f"{folder}/{number}.png" for folder in ("猫类动物", "狗类动物") for number in range(2)]
    assert "expected names of files in UTF-8" in refusal(write_zip(tmp_path / "gbk.zip", names, "gbk"))


def test_a_zip_of_windows(tmp_path):
    names = [f"pets\\{folder}\\{number}.png" for folder in ("cat", "dog") for number in range(2)]
    images = load_images(write_zip(tmp_path / "windows.zip", names, system=0))
    assert named(images) == ["cat", "cat", "dog", "dog"]
    assert np.array_equal(images.pixels, PIXELS[:4])


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_an_empty_class_in_an_archive_is_refused_as_on_the_disk(tmp_path, suffix):
    for number, folder in enumerate(("cat", "dog")):
        write(tmp_path / "pets" / folder / "0.png", number)
    (tmp_path / "pets" / "bird").mkdir()
    path = tmp_path / f"pets{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((tmp_path / "pets").rglob("*")):
                archive.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w:gz" if suffix == ".tar.gz" else "w") as tar:
            tar.add(tmp_path / "pets", "pets")
    for source in (tmp_path / "pets", path):
        assert "class 'bird' has no images: expected at least one" in refusal(source)


def test_the_way_to_packed_data_is_named(tmp_path):
    write(tmp_path / "a" / "cat" / "0.png", 0)
    np.savez(tmp_path / "a" / "pathmnist.npz", train_images=PIXELS, train_labels=np.arange(99) % 2)
    assert "pathmnist.npz: expected only folders" in refusal(tmp_path / "a")
    assert "to read what is in it, give the file itself, or unpack it" in refusal(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("0.png", png(0))
        archive.writestr("metadata.csv", "file_name,label\n0.png,cat\n")
    assert "holds a table, metadata.csv, which is read in a folder; unpack it" in refusal(tmp_path / "b.zip")


def test_two_tars_in_one(tmp_path):
    """As ``cat`` joins them: readers stop at the end of the first."""
    parts = []
    for part, names in enumerate((("cat", "dog"), ("eel", "fox"))):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for number, name in enumerate(names):
                info = tarfile.TarInfo(f"{name}/0.png")
                info.size = len(png(2 * part + number))
                tar.addfile(info, io.BytesIO(png(2 * part + number)))
        parts.append(file.getvalue())
    (tmp_path / "all.tar").write_bytes(b"".join(parts))
    assert "holds several tars" in refusal(tmp_path / "all.tar")


# Images


def test_levels_of_8_bits_in_images_of_32(tmp_path):
    for number, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        Image.fromarray(PIXELS[number, ..., 0].astype(np.int32)).save(tmp_path / folder / "0.tif")
    grey = load_images(tmp_path, choices=Choices(mode="L"))
    assert np.array_equal(grey.pixels[..., 0], PIXELS[:2, ..., 0])
    Image.fromarray(PIXELS[0, ..., 0].astype(np.int32) + 1000).save(tmp_path / "a" / "0.tif")
    with pytest.raises(SourceError, match="expected levels of at most 8 bits, got 1"):
        load_images(tmp_path, choices=Choices(mode="L"))
