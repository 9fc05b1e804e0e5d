"""MNIST's, SVHN's and MedMNIST's files: read as they are published, and never trusted."""

import gzip
import hashlib
import io
import struct
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from cifar10_s.data.sources import idx_files, mat_files
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits
from cifar10_s.errors import SourceError

RANDOM = np.random.default_rng(0)
GREY, COLOUR = RANDOM.integers(0, 256, (7, 5, 4), np.uint8), RANDOM.integers(0, 256, (7, 5, 4, 3), np.uint8)
DIGITS = np.array([3, 0, 1, 2, 0, 3, 1], np.uint8)


def refusal(source, **choices):
    with pytest.raises(SourceError) as caught:
        load_images(source, choices=Choices(**choices))
    message = str(caught.value)
    assert message.isprintable()
    return message


def sizes(source, **choices):
    return {split: len(images) for split, images in load_splits(source, choices=Choices(**choices)).items()}


# IDX


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, packed=True, pixels=GREY, labels=DIGITS, splits=("train", "t10k")):
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        for name, array in ((f"{split}-images-idx3-ubyte", pixels), (f"{split}-labels-idx1-ubyte", labels)):
            data = gzip.compress(idx(array)) if packed else idx(array)
            (folder / (name + ".gz" * packed)).write_bytes(data)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_mnist(tmp_path, packed):
    write_mnist(tmp_path / "MNIST" / "raw", packed)
    for source in (tmp_path, tmp_path / "MNIST", tmp_path / "MNIST" / "raw"):
        splits = load_splits(source)
        assert list(splits) == ["train", "test"]
        assert np.array_equal(splits["test"].pixels, GREY[..., None])
        assert splits["train"].labels.tolist() == DIGITS.tolist()
        assert splits["train"].class_names == ("0", "1", "2", "3")
        assert splits["train"].provenance.check is None
    few = load_images(tmp_path, choices=Choices(classes=("1",), limit=1, resize=3, mode="RGB"))
    assert few.shape == (1, 3, 3, 3)


def test_packed_files_are_read_if_both_are_there(tmp_path, caplog):
    write_mnist(tmp_path)
    write_mnist(tmp_path, packed=False, pixels=255 - GREY)
    with caplog.at_level("INFO", "cifar10_s"):
        assert np.array_equal(load_images(tmp_path).pixels, GREY[..., None])
    assert "of files that are there several times" in caplog.text
    assert "train-images-idx3-ubyte.gz" in caplog.text


def test_mnist_is_verified_by_its_checksums(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    known = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    monkeypatch.setattr(idx_files, "MNIST_MD5", known)
    assert load_images(tmp_path).provenance.check == "MD5 of MNIST's files"


def test_splits_of_several_datasets_are_asked_for(tmp_path):
    write_mnist(tmp_path, splits=("emnist-letters-train", "emnist-digits-train"))
    assert "name one with --train-split" in refusal(tmp_path)
    assert sizes(tmp_path, train_split="emnist-letters-train") == {"train": 7}
    write_mnist(tmp_path / "more")
    assert "several folders of IDX files" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train-images-idx3-ubyte", b"", "is empty: get it again"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\x01", "is not an IDX file"),
        ("train-images-idx3-ubyte", idx(GREY)[:-1], "expected 140 bytes.*got 139"),
        ("train-images-idx3-ubyte", idx(GREY) + b"x", "expected 140 bytes.*got more"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "expected at most"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", "expected at most"),
        ("train-images-idx3-ubyte", idx(GREY[:6]), r"expected one whole number per image as its label, \(6,\)"),
        ("train-images-idx3-ubyte", idx(GREY[0]), "expected uint8 pixels of shape"),
        ("train-images-idx3-ubyte", idx(GREY[:0]), "expected uint8 pixels of shape"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(GREY))[:-9], "cannot be read to its end"),
        ("train-images-idx3-ubyte.gz", b"x", "cannot be read to its end"),
        ("notes.txt", b"x", "notes.txt: expected only IDX files"),
    ],
)
def test_an_idx_file_of_another_form_gets_a_line(tmp_path, name, data, message):
    write_mnist(tmp_path, packed=False)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        load_images(tmp_path)


def test_missing_labels_get_a_line(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SourceError, match=r"has no labels.*--test-split none"):
        load_splits(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    assert "has no images beside it" in refusal(tmp_path)


# SVHN


def write_svhn(path, labels=(1, 10, 2, 10, 9, 1, 3), pixels=COLOUR, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"X": pixels.transpose(1, 2, 3, 0), "y": np.array(labels, np.uint8)[:, None], **more}
    savemat(path, columns, do_compression=True)
    return path


def test_svhn(tmp_path, monkeypatch):
    for split in ("train", "test", "extra"):
        write_svhn(tmp_path / f"{split}_32x32.mat")
    splits = load_splits(tmp_path)
    assert list(splits) == ["train", "test"]
    images = splits["train"]
    assert np.array_equal(images.pixels, COLOUR)
    assert [images.class_names[label] for label in images.labels] == list("1020913")
    assert images.class_names == tuple("01239")
    assert images.provenance.check is None
    assert sizes(tmp_path, train_split="extra") == {"train": 7, "test": 7}
    one = tmp_path / "train_32x32.mat"
    assert sizes(one) == {"train": 7}
    monkeypatch.setattr(mat_files, "SVHN_MD5", {one.name: hashlib.md5(one.read_bytes()).hexdigest()})
    assert load_images(one, choices=Choices(resize=3, mode="L")).shape == (7, 3, 3, 1)
    assert load_images(one).provenance.check == "MD5 of SVHN's files"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"y": None}, "y is missing"),
        ({"X": np.zeros((5, 4, 3), np.uint8)}, "X: expected the shape"),
        ({"X": np.zeros((5, 4, 3, 7))}, "expected uint8 pixels"),
        ({"X": np.array([{"a": 1}], dtype=object)}, "X: expected numbers, got cell; it was not read"),
        ({"y": np.array(["a", "b"])}, "y: expected numbers, got char"),
        ({"y": np.zeros((6, 1), np.uint8)}, "expected one whole number per image"),
        ({"y": np.full((7, 1), 0.5)}, "expected one whole number per image"),
    ],
    ids=range(7),
)
def test_a_mat_of_another_form_gets_a_line(tmp_path, columns, message):
    path = tmp_path / "train_32x32.mat"
    content = {"X": COLOUR.transpose(1, 2, 3, 0), "y": np.ones((7, 1), np.uint8)} | columns
    savemat(path, {name: value for name, value in content.items() if value is not None})
    assert message in refusal(path)


@pytest.mark.parametrize("compress", [True, False])
def test_broken_mats_get_a_line(tmp_path, compress):
    path = write_svhn(tmp_path / "train_32x32.mat")
    if not compress:
        savemat(path, {"X": COLOUR.transpose(1, 2, 3, 0), "y": np.ones((7, 1), np.uint8)})
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for trial in range(60):
        broken = bytearray(whole[: random.integers(len(whole))] if trial % 3 == 0 else whole)
        for at in random.integers(0, max(len(broken), 1), 4):
            if broken:
                broken[at] = random.integers(256)
        path.write_bytes(bytes(broken))
        try:
            load_images(path)
        except SourceError as error:
            message = str(error)
            if not message.isprintable():
                pytest.fail(message)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(100))
    assert "cannot be read as .mat" in refusal(path)


# MedMNIST, Keras


def write_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def medmnist(**changes):
    arrays = {
        f"{s}_{what}": of
        for s in ("train", "val", "test")
        for what, of in (("images", COLOUR), ("labels", DIGITS[:, None]))
    }
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


def test_medmnist_and_keras(tmp_path):
    path = write_npz(tmp_path / "pathmnist.npz", **medmnist())
    images = load_splits(path)
    assert np.array_equal(images["train"].pixels, COLOUR)
    assert images["test"].labels.tolist() == DIGITS.tolist()
    assert images["test"].provenance.left_out == ("val",)
    assert sizes(path, test_split="val") == {"train": 7, "test": 7}
    keras = write_npz(tmp_path / "mnist.npz", x_train=GREY, y_train=DIGITS, x_test=GREY, y_test=DIGITS)
    assert load_splits(keras)["test"].shape == (7, 5, 4, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros((7, 14), np.uint8)}, "expected one whole number per image as its label"),
        ({"train_images": np.zeros((7, 5, 5, 5), np.uint8)}, "or with 1 to 4 channels"),
        ({"train_images": COLOUR / 255}, "expected uint8 pixels"),
        ({"train_labels": np.full(7, 1 << 40)}, "image 0: expected a label from 0 to"),
        ({"train_labels": np.full(7, -1)}, "has no labels: all of them are -1"),
        ({"train_images": np.array([print] * 7, dtype=object)}, "holds Python objects"),
        ({"masks": GREY}, "got masks; save them under these names"),
        ({"train_labels": None}, "got train_images; save them"),
    ],
    ids=range(8),
)
def test_an_npz_of_another_form_gets_a_line(tmp_path, changes, message):
    assert message in refusal(write_npz(tmp_path / "a.npz", **medmnist(**changes)))


def test_a_broken_npz_gets_a_line(tmp_path):
    path = write_npz(tmp_path / "a.npz", **medmnist())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as .npz" in refusal(path)
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 4, 4)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", buffer.getvalue())
        archive.writestr("train_labels.npy", buffer.getvalue())
    assert "cannot be read as .npz" in refusal(path)
