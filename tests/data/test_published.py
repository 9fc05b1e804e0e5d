"""CIFAR-100's archive and both binary versions: read as they are packed, verified by checksum, never trusted."""

import gzip
import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from cifar10_s.cli.app import app
from cifar10_s.data.cifar10 import CLASS_NAMES
from cifar10_s.data.sources import cifar100_archive, cifar_binary
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits
from cifar10_s.errors import ChecksumError, SourceError

FINE, COARSE = Choices(label_column="fine_label"), Choices(label_column="coarse_label")
FINE_NAMES, COARSE_NAMES = [f"fine {k}" for k in range(100)], [f"coarse_{k}" for k in range(20)]


def rows(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def as_pixels(planes):
    """Decode independently: red, green and blue planes, each row by row."""
    return np.array([[[plane[y * 32 + x :: 1024] for x in range(32)] for y in range(32)] for plane in planes])


def part(count, seed, **changes):
    content = {
        b"filenames": [b"x.png"] * count,
        b"batch_label": b"x",
        b"fine_labels": [(7 * i + seed) % 100 for i in range(count)],
        b"coarse_labels": [(3 * i + seed) % 20 for i in range(count)],
        b"data": rows(count, seed),
    }
    return pickle.dumps({**content, **changes}, protocol=2)


def python_files(**changes):
    meta = pickle.dumps({"fine_label_names": FINE_NAMES, "coarse_label_names": COARSE_NAMES}, protocol=2)
    return {"file.txt~": b"", "train": part(12, 0), "test": part(5, 1), "meta": meta, **changes}


def records(count, seed, *kinds):
    labels = np.stack([(step * np.arange(count) + seed) % classes for step, classes in kinds], 1).astype(np.uint8)
    return np.hstack([labels, rows(count, seed)]).tobytes()


def binary_files(kind):
    if kind == "cifar-10-batches-bin":
        names = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
        files = {name: records(3, seed, (1, 10)) for seed, name in enumerate(names)}
        return {**files, "batches.meta.txt": b"airplane\n", "readme.html": b"<html>"}
    return {
        "train.bin": records(12, 0, (3, 20), (7, 100)),
        "test.bin": records(5, 1, (3, 20), (7, 100)),
        "fine_label_names.txt": "\n".join(name.replace(" ", "_") for name in FINE_NAMES).encode(),
        "coarse_label_names.txt": "\n".join(COARSE_NAMES).encode() + b"\n",
    }


def pack(path, folder, files):
    with tarfile.open(path, "w:gz") as tar:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, data in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write(folder, files):
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def read(source, choices=FINE, split="train"):
    return load_images(source, split=split, choices=choices, allow_unverified=True)


def test_cifar100_is_read_from_its_archive_and_its_folders(tmp_path):
    archive = pack(tmp_path / "cifar-100-python.tar.gz", "cifar-100-python", python_files())
    folder = write(tmp_path / "unpacked" / "cifar-100-python", python_files())
    for source in (archive, folder, folder.parent):
        splits = load_splits(source, choices=FINE, allow_unverified=True)
        for split, count, seed in (("train", 12, 0), ("test", 5, 1)):
            images = splits[split]
            assert np.array_equal(images.pixels, as_pixels(rows(count, seed)))
            assert images.labels.tolist() == [(7 * i + seed) % 100 for i in range(count)]
            assert images.class_names == tuple(FINE_NAMES)
            other = images.other_labels["coarse_label"]
            assert other.names == tuple(COARSE_NAMES)
            assert other.values.tolist() == [(3 * i + seed) % 20 for i in range(count)]
            assert images.provenance.check is None
            assert not images.provenance.claims_cifar10
    coarse = read(archive, COARSE)
    assert coarse.labels.tolist() == [3 * i % 20 for i in range(12)]
    assert list(coarse.other_labels) == ["fine_label"]


@pytest.mark.parametrize("kind", ["python", "binary"])
def test_which_labels_of_cifar100_is_asked(tmp_path, kind):
    files = python_files() if kind == "python" else binary_files("cifar-100-binary")
    archive = pack(tmp_path / f"cifar-100-{kind}.tar.gz", f"cifar-100-{kind}", files)
    line = r"several \(fine_label, coarse_label\) among .* choose one with --label-column"
    with pytest.raises(SourceError, match=line):
        load_images(archive)
    with pytest.raises(ChecksumError, match=r"is not CIFAR-100's: expected MD5 .*, got .*--allow-unverified"):
        load_images(archive, choices=FINE)


def test_cifar100_with_its_publishers_checksums_is_verified(tmp_path, monkeypatch):
    files = python_files()
    md5 = {name: hashlib.md5(files[name]).hexdigest() for name in ("train", "test", "meta")}
    monkeypatch.setattr(cifar100_archive, "LAYOUT", replace(cifar100_archive.LAYOUT, md5=md5))
    archive = pack(tmp_path / "cifar-100-python.tar.gz", "cifar-100-python", files)
    images = load_images(archive, choices=FINE)
    assert images.provenance.check == "MD5 of the files of CIFAR-100's original archive"
    assert not images.provenance.is_cifar10


@pytest.mark.parametrize("packed", [True, False])
def test_the_binary_versions(tmp_path, packed):
    for kind, name in (("cifar-10-batches-bin", "cifar-10-binary"), ("cifar-100-binary", "cifar-100-binary")):
        files, folder = binary_files(kind), tmp_path / "unpacked" / kind / kind
        source = pack(tmp_path / f"{name}.tar.gz", kind, files) if packed else write(folder, files)
        if kind == "cifar-10-batches-bin":
            splits = load_splits(source, allow_unverified=True)
            expected = np.concatenate([rows(3, seed) for seed in range(5)])
            assert np.array_equal(splits["train"].pixels, as_pixels(expected))
            assert splits["train"].labels.tolist() == [i + seed for seed in range(5) for i in range(3)]
            assert splits["test"].labels.tolist() == [5, 6, 7]
            assert splits["train"].class_names == CLASS_NAMES
            assert splits["train"].provenance.title == f"an unverified copy of CIFAR-10 ({source.name})"
        else:
            images = read(source)
            assert np.array_equal(images.pixels, as_pixels(rows(12)))
            assert images.labels.tolist() == [7 * i % 100 for i in range(12)]
            assert images.other_labels["coarse_label"].values.tolist() == [3 * i % 20 for i in range(12)]
            assert read(source, COARSE, "test").labels.tolist() == [(3 * i + 1) % 20 for i in range(5)]


def test_a_binary_archive_is_verified_as_a_whole(tmp_path, monkeypatch):
    kind = "cifar-10-batches-bin"
    archive = pack(tmp_path / "a.tar.gz", kind, binary_files(kind))
    with pytest.raises(ChecksumError, match=r"expected MD5 c32a1d4a.*download cifar-10-binary.tar.gz"):
        load_images(archive)
    folder = write(tmp_path / kind, binary_files(kind))
    with pytest.raises(ChecksumError, match=r"got a folder; give cifar-10-binary.tar.gz itself, or"):
        load_images(folder)
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar_binary, "CIFAR10", replace(cifar_binary.CIFAR10, archive_md5=md5))
    assert load_images(archive).provenance.is_cifar10


class Boom:
    def __reduce__(self):
        return os.system, ("touch /tmp/cifar10-s-was-here",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": pickle.dumps(Boom())}, "its pickle names .*system"),
        ({"meta": pickle.dumps(Boom())}, "its pickle names .*system"),
        ({"train": part(12, 0, **{"fine_labels": [1]})[:-40]}, "is not a readable pickle"),
        ({"train": pickle.dumps([1], protocol=2)}, "expected a dictionary"),
        ({"train": part(12, 0)[:500]}, "is not a readable pickle"),
        ({"train": pickle.dumps({b"data": rows(2), b"fine_labels": [1, 100], b"coarse_labels": [0, 1]}, 2)}, "0 to 99"),
        (
            {"train": pickle.dumps({b"data": rows(2), b"fine_labels": [1], b"coarse_labels": [0]}, 2)},
            "rows are missing",
        ),
        ({"meta": pickle.dumps({"fine_label_names": ["x"], "coarse_label_names": []}, 2)}, "expected the 100 names"),
        ({"meta": pickle.dumps({"fine_label_names": 3}, 2)}, "expected the 100 names"),
    ],
    ids=range(9),
)
def test_a_hostile_or_broken_file_of_cifar100_gets_a_line(tmp_path, changes, message):
    archive = pack(tmp_path / "a.tar.gz", "cifar-100-python", python_files(**changes))
    with pytest.raises(SourceError, match=message) as caught:
        read(archive)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train.bin", bytes(3073), "expected records of 3074 bytes, got 3073"),
        ("train.bin", b"", "expected records of 3074 bytes, got 0"),
        ("train.bin", b"\x14" + bytes(3073), "record 0: coarse_label: expected 0 to 19, got 20"),
        ("train.bin", b"\x00\x64" + bytes(3072), "record 0: fine_label: expected 0 to 99, got 100"),
        ("fine_label_names.txt", b"a b", "expected the 100 names of fine_label, got 2"),
    ],
)
def test_a_broken_binary_file_gets_a_line(tmp_path, name, data, message):
    folder = write(tmp_path / "cifar-100-binary", binary_files("cifar-100-binary") | {name: data})
    with pytest.raises(SourceError, match=message):
        read(folder)


@pytest.mark.parametrize("folder", ["cifar-100-python", "cifar-10-batches-bin", "cifar-100-binary"])
def test_members_outside_and_links_are_refused(tmp_path, folder):
    for name, kind in (
        ("../x", tarfile.REGTYPE),
        (f"{folder}/../../x", tarfile.REGTYPE),
        (f"{folder}/x", tarfile.SYMTYPE),
    ):
        info, path = tarfile.TarInfo(name), tmp_path / "a.tar"
        info.type = kind
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo(f"{folder}/train"))
            tar.addfile(info)
        with pytest.raises(SourceError, match=r"is outside|is a link or a device"):
            read(path, FINE if "100" in folder else Choices())


def test_a_truncated_archive_and_a_bomb_get_a_line(tmp_path):
    archive = pack(tmp_path / "a.tar.gz", "cifar-100-python", python_files())
    cut = tmp_path / "b.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(SourceError, match="cannot be read to its end"):
        read(cut)
    info = tarfile.TarInfo("cifar-100-python/train")
    info.size = 8 << 30
    cut.write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20)))
    with pytest.raises(SourceError, match=r"more than any CIFAR-100 batch"):
        read(cut)


def test_strays_are_named_and_other_folders_called_train_are_not_cifar100(tmp_path):
    folder = write(tmp_path / "cifar-100-python", python_files() | {"notes.txt": b""})
    with pytest.raises(SourceError, match=r"notes.txt: expected only the batches of CIFAR-100"):
        read(folder)
    write(tmp_path / "other", {"train": b"", "test": b""})
    with pytest.raises(SourceError, match=r"other/test: expected only folders"):
        load_images(tmp_path / "other")


def test_the_command_reads_it_with_the_usual_choices(tmp_path):
    archive = pack(tmp_path / "cifar-100-python.tar.gz", "cifar-100-python", python_files())
    options = ["--label-column", "coarse_label", "--classes", "0,3", "--limit", "1", "--resize", "4", "--mode", "L"]
    result = CliRunner().invoke(app, ["search", "--source", str(archive), "--allow-unverified", *options])
    assert result.exit_code == 0, result.output
    assert "coarse_3" in result.output
