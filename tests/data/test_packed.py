"""Images in zips, tars and shards of WebDataset: read as they are, never unpacked, never trusted."""

import gzip
import io
import json
import pickle
import resource
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from support.images import make_images

import cifar10_s
from cifar10_s.data.codec import encode
from cifar10_s.data.sources import members
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, load_splits, open_images, open_splits
from cifar10_s.errors import SourceError

KINDS = [".zip", ".tar", ".tar.gz"]
PIXELS = make_images(count=12, classes=1).pixels
FILES = encode(PIXELS)
# Two classes of three images in each split.
NAMES = [f"{split}/{name}/{i}.png" for split in ("train", "val") for name in ("cat", "dog") for i in range(3)]
SPLITS = dict(zip(NAMES, FILES, strict=True))
CLASSES = {name.removeprefix("train/"): data for name, data in SPLITS.items() if name.startswith("train/")}


def pack(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def refusal(source, **choices):
    with pytest.raises(SourceError) as caught:
        load_images(source, choices=Choices(**choices))
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapping", ["", "pets/", "./a/b/"])
def test_folders_of_classes_in_an_archive(tmp_path, kind, wrapping):
    files = {wrapping + name: data for name, data in CLASSES.items()}
    ignored = {wrapping + "cat/.DS_Store": b"x", "__MACOSX/._x": b"x", wrapping + "README.md": b"# Pets"}
    images = load_images(pack(tmp_path / f"pets{kind}", files | ignored))
    assert np.array_equal(images.pixels, PIXELS[:6])
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.class_names == ("cat", "dog")
    assert images.provenance.title == f"“pets{kind}”"
    assert [path.name for path in tmp_path.iterdir()] == [f"pets{kind}"]


@pytest.mark.parametrize("kind", KINDS)
def test_splits_in_an_archive_and_the_usual_choices(tmp_path, kind):
    path = pack(tmp_path / f"pets{kind}", SPLITS)
    splits = load_splits(path)
    assert np.array_equal(splits["test"].pixels, PIXELS[6:])
    assert cifar10_s.search(open_images(path)) is not None
    few = load_splits(path, choices=Choices(classes=("dog",), limit=2, resize=3, mode="L", test_split="none"))
    assert few["train"].shape == (2, 3, 3, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_can_be_sent_to_other_machines(tmp_path, kind):
    stream = open_splits(pack(tmp_path / f"pets{kind}", SPLITS))["train"]
    (block,) = pickle.loads(pickle.dumps(stream.blocks))
    rows = np.array([1, 4])
    assert np.array_equal(np.concatenate(list(block.read(rows))), PIXELS[rows])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.png", "leads out of the archive"),
        ("/etc/evil.png", "leads out of the archive"),
        ("cat/../../evil.png", "leads out of the archive"),
        ("cat\\evil.png", "has a backslash in its name"),
        ("/".join("abcdefghijklmnopqrst"), "is nested deeper"),
        ("cat/notes.txt", "notes.txt: expected only images in a class's folder"),
        ("cat/0.png/1.png", "is inside a file"),
        ("cat", "is a file and a folder"),
        ("stray.png", "expected only folders beside those of classes"),
        ("cat/\x1b[31m.png", "is not an image"),
    ],
)
def test_a_member_that_does_not_belong_gets_a_line(tmp_path, kind, name, message):
    path = pack(tmp_path / f"a{kind}", CLASSES | {name: b"x"})
    if "\x1b" in name:
        with pytest.raises(SourceError) as caught:
            load_images(path)
        assert str(caught.value).isprintable()
    else:
        assert message in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_empty_or_another_gets_a_line(tmp_path, kind):
    path = pack(tmp_path / f"a{kind}", SPLITS)
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 30):
        cut = tmp_path / f"{keep}{kind}"
        cut.write_bytes(whole[:keep])
        if kind != ".tar" or keep < len(whole) - 30:  # a tar ends with zeros, some of which may be missing
            refusal(cut)
    assert "holds no files" in refusal(pack(tmp_path / f"b{kind}", {"__MACOSX/._x": b""}))


def test_a_release_in_an_archive_is_refused(tmp_path):
    files = {"a/manifest.json": b"{}", "a/SHA256SUMS": b"", "a/recipes/ops.json": b"{}", "a/cat/1.png": FILES[0]}
    assert "is a release" in refusal(pack(tmp_path / "a.zip", files))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = pack(tmp_path / "a.tar", CLASSES)
    info = tarfile.TarInfo("cat/9.png")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(path, "a") as tar:
        tar.addfile(info)
    assert "is a link, a sparse file or a device" in refusal(path)
    packed = zipfile.ZipInfo("cat/9.png")
    packed.external_attr = 0o120777 << 16
    with zipfile.ZipFile(pack(tmp_path / "a.zip", CLASSES), "a") as archive:
        archive.writestr(packed, "/etc/passwd")
    assert "is a link" in refusal(tmp_path / "a.zip")


def pack_twice(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.png", FILES[0])
        archive.writestr("cat/1.png", FILES[1])


def test_a_zip_that_is_encrypted_or_of_another_method_gets_a_line(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("cat/1.png", FILES[0])
    assert "another method than deflate" in refusal(path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack_twice(path)
    assert "holds 'cat/1.png' twice" in refusal(path)


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    """A zip whose directory says that a file of 300 MB has 100 bytes, and one that says how large it is; a tar.gz."""
    lying, honest, tar = tmp_path / "lying.zip", tmp_path / "honest.zip", tmp_path / "a.tar.gz"
    bomb = bytes(300 << 20)
    for path in (lying, honest):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("cat/1.png", bomb)
    data = lying.read_bytes()
    lying.write_bytes(data.replace(struct.pack("<L", 300 << 20), struct.pack("<L", 100)))
    info = tarfile.TarInfo("cat/1.png")
    info.size = 200 << 20
    tar.write_bytes(gzip.compress(info.tobuf() + bytes(200 << 20), compresslevel=1))
    del bomb
    monkeypatch.setattr(members, "MAX_FILE_BYTES", 64 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "1.png" in refusal(lying)
    assert "more than an image does" in refusal(honest)
    assert "more than an image does" in refusal(tar)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    monkeypatch.setattr(members, "MAX_KEPT_BYTES", 100)
    assert "decompress it first" in refusal(pack(tmp_path / "b.tar.gz", CLASSES))


def test_an_image_that_was_changed_is_noticed(tmp_path):
    path = pack(tmp_path / "a.zip", CLASSES)
    data = bytearray(path.read_bytes())
    at = data.index(b"cat/2.png") + 60
    data[at] ^= 1
    path.write_bytes(bytes(data))
    assert "cat/2.png: cannot be read" in refusal(path)


# WebDataset


def samples(labels, field="cls", start=0, image="png"):
    files = {}
    for number, label in enumerate(labels, start):
        files[f"{number:06}.{image}"] = FILES[number % 12]
        files[f"{number:06}.{field}"] = json.dumps(label).encode() if field == "json" else str(label).encode()
    return files


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_shards_of_samples(tmp_path, kind):
    for number, labels in enumerate(([0, 2, 1], [1, 0])):
        pack(tmp_path / "shards" / f"{number:06}{kind}", samples(labels, start=3 * number))
    stream = open_images(tmp_path / "shards")
    assert stream.labels.tolist() == [0, 2, 1, 1, 0]
    assert np.array_equal(stream.load().pixels, PIXELS[:5])
    assert np.array_equal(stream.read(np.array([0, 4])), PIXELS[[0, 4]])
    assert stream.class_names == ("0", "1", "2")
    assert cifar10_s.search(stream) is not None
    assert load_images(tmp_path / "shards" / f"000000{kind}").labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize("field", ["cls", "json", "CLS"])
@pytest.mark.parametrize("image", ["gif", "tif", "tiff", "jfif", "pgm", "JPG", "image.png", "jpg"])
@pytest.mark.parametrize("whole", [False, True], ids=["folder", "file"])
def test_samples_of_every_kind_of_image(tmp_path, image, field, whole):
    """What makes a tar a shard are its samples, whatever format of those that are read elsewhere they have."""
    rows = [{"label": 1}, {"label": 0}] if field == "json" else [1, 0]
    path = pack(tmp_path / "train-0.tar", samples(rows, field, image=image))
    assert load_images(path if whole else tmp_path).labels.tolist() == [1, 0]


def test_splits_of_shards_are_told_by_names_or_folders(tmp_path):
    for split in ("train", "val"):
        pack(tmp_path / "names" / f"pets-{split}-000000.tar", samples([0, 1]))
        pack(tmp_path / "folders" / split / "000000.tar", samples([0, 1]))
    for source in ("names", "folders"):
        assert {split: len(images) for split, images in load_splits(tmp_path / source).items()} == {
            "train": 2,
            "test": 2,
        }
    pack(tmp_path / "names" / "000009.tar", samples([0, 1]))
    assert "tells no split, but others' do" in refusal(tmp_path / "names")


def test_labels_of_shards_are_chosen_as_columns_are(tmp_path):
    rows = [{"label": 1, "coarse_label": 0, "caption": "a"}, {"label": 0, "coarse_label": 0, "caption": "b"}]
    path = pack(tmp_path / "a.tar", samples(rows, "json"))
    assert "several (label, coarse_label)" in refusal(path)
    images = load_images(path, choices=Choices(label_column="label"))
    assert images.labels.tolist() == [1, 0]
    assert images.other_labels["coarse_label"].values.tolist() == [0, 0]
    named = [{**row, "image": "x.png"} for row in rows]
    again = load_images(pack(tmp_path / "d.tar", samples(named, "json")), choices=Choices(label_column="label"))
    assert again.labels.tolist() == [1, 0], "a key of the JSON that is called image"
    texts = pack(tmp_path / "b.tar", samples(["dog", "cat"], "cls", image="jpg"))
    assert load_images(texts).class_names == ("cat", "dog")
    two = samples([0, 1]) | {"000000.seg.png": FILES[5], "000001.seg.png": FILES[6]}
    path = pack(tmp_path / "c.tar", two)
    assert "expected one image, got png, seg.png; choose one with --image-column" in refusal(path)
    assert np.array_equal(load_images(path, choices=Choices(image_column="png")).pixels, PIXELS[:2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"000000.cls": b""}, "1 rows have no label"),
        ({"000000.cls": b"-1"}, "expected whole numbers from 0, got -1"),
        ({"000000.cls": b"\xff"}, "expected text in UTF-8"),
        ({"000000.cls": b"1" * (2 << 20)}, "expected at most"),
        ({"000000.json": b"{"}, "expected JSON"),
        ({"000000.json": b"[1]"}, "expected a JSON object"),
        ({"000000.pyd": b"x"}, "000000.pyd: expected images"),
        ({"000009.cls": b"1"}, "sample '000009': expected one image, got none"),
        ({"000000.png": b"x"}, "000000.png: is not an image"),
    ],
    ids=range(9),
)
def test_a_broken_shard_gets_a_line(tmp_path, changes, message):
    assert message in refusal(pack(tmp_path / "a.tar", samples([0, 1, 1]) | changes))


def test_tars_of_something_else_in_a_folder_get_a_line(tmp_path):
    pack(tmp_path / "a.tar", CLASSES)
    assert "if it is a dataset of its own, give the file" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt: expected only tars of samples" in refusal(tmp_path)
