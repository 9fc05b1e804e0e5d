import bz2
import gzip
import io
import lzma
import os
import pickle
import re
import resource
import shutil
import struct
import tarfile
import time
import zlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageColumn
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from cifar10_s.data.cifar10 import compare_with_cifar10
from cifar10_s.data.codec import encode
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources import cifar10_archive as archive
from cifar10_s.data.sources import hf_dataset
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.data.sources.splits import load_images, load_splits
from cifar10_s.errors import ChecksumError, SourceError


def picture(height=6, width=5, mode="RGB", seed=0):
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# Codec


def decode_all(files):
    return stream_files(files, np.zeros(len(files), np.int64), ("x",), Provenance()).load().pixels


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_is_exact_and_pillow_reads_it(channels):
    pixels = np.random.default_rng(channels).integers(0, 256, (5, 7, 9, channels), np.uint8)
    for image, data in zip(pixels, encode(pixels)):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(image.shape), image)


def test_files_are_as_small_as_pillows():
    """A drawing with repetitions; and photographs in total, each within 5 %."""
    random = np.random.default_rng(0)
    drawing = np.tile(np.kron(random.integers(0, 256, (4, 4, 3), np.uint8), np.ones((6, 6, 1), np.uint8)), (8, 8, 1))
    photos = [
        photo[y : y + 224, x : x + 224]
        for photo in load_sample_images().images
        for y, x in product((0, 100, 203), (0, 200, 416))
    ]
    ours, pillows = (
        np.array([len(file) for file in files])
        for files in (
            [encode(image[None])[0] for image in (drawing, *photos)],
            [encoded(Image.fromarray(image)) for image in (drawing, *photos)],
        )
    )
    assert ours[0] <= pillows[0]
    assert ours[1:].sum() <= pillows[1:].sum()
    assert (ours <= 1.05 * pillows).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_decoding_gives_pillows_pixels(mode, kind):
    if (kind, mode) == ("WEBP", "L"):
        pytest.skip("WebP has no greyscale")
    files = [encoded(picture(mode=mode, seed=seed), kind) for seed in range(3)]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]).reshape(3, 6, 5, -1)
    assert np.array_equal(decode_all(files), expected)


def test_a_palette_becomes_its_colours():
    files = [encoded(picture(mode="P"), kind) for kind in ("PNG", "GIF")]
    for file in files:
        expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        assert np.array_equal(decode_all([file])[0], expected)


def png_bomb(height, width):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (encoded(picture(7, 5)), "image 1: expected 6×5 RGB like the images before it, got 7×5 RGB"),
        (encoded(picture(mode="L")), "image 1: expected 6×5 RGB .* got 6×5 greyscale"),
        (
            encoded(picture(mode="RGBA")),
            "image 1: .* got 6×5 with transparency .mode RGBA. .* --mode RGB",
        ),
        (encoded(picture(mode="CMYK"), "JPEG"), "got 6×5 of mode CMYK"),
        (encoded(picture())[:-20], "image 1: does not decode"),
        (encoded(picture(), "JPEG")[:-30], "image 1: does not decode"),
        (encoded(picture(), "JPEG")[:-2], "image 1: does not decode"),
        (b"", "image 1: is not an image"),
        (b"GIF89a", "image 1: is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n", "image 1: is not an image"),
        (png_bomb(6, 5_000_000), "image 1: expected 6×5 RGB .* got 6×5000000 RGB"),
        (png_bomb(60_000, 60_000), "image 1: .*bomb"),
    ],
    ids=range(12),
)
def test_a_bad_image_gets_a_line_that_names_it(file, message):
    with pytest.raises(SourceError, match=message):
        decode_all([encoded(picture()), file])


def test_a_bomb_as_the_first_image():
    with pytest.raises(SourceError, match="bomb"):
        decode_all([png_bomb(60_000, 60_000)])


# The original archive


def batch(labels=(1, 0, 9), rows=None, **extra):
    rows = np.arange(len(labels) * 3072, dtype=np.uint8).reshape(-1, 3072) if rows is None else rows
    return {b"data": rows, b"labels": list(labels), **extra}


def write_archive(path, batches=None, members=()):
    """Write an archive like the original, with ``members``, (TarInfo, bytes) pairs, put first."""
    batches = dict.fromkeys(archive.BATCH_MD5, batch()) if batches is None else batches
    with tarfile.open(path, "w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, content in batches.items():
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
            info = tarfile.TarInfo(f"{archive.ARCHIVE_FOLDER}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def load_archive(path):
    return load_images(path, allow_unverified=True)


def test_an_archive_is_read_in_order(tmp_path):
    batches = {name: batch(labels=[i, i + 1]) for i, name in enumerate(archive.BATCH_MD5)}
    path = write_archive(tmp_path / "cifar-10-python.tar.gz", batches)
    images, test = load_archive(path), load_images(path, split="test", allow_unverified=True)
    assert images.labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert test.labels.tolist() == [5, 6]
    rows = batch(labels=[0, 1])[b"data"].reshape(-1, 3, 32, 32)
    assert np.array_equal(images.pixels[:2], rows.transpose(0, 2, 3, 1))
    assert images.provenance.title == "an unverified copy of CIFAR-10 (cifar-10-python.tar.gz)"


def test_the_unpacked_folder_is_read_like_the_archive(tmp_path):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz")
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path, filter="data")
    for folder in (tmp_path / archive.ARCHIVE_FOLDER, tmp_path):
        assert load_archive(folder).digest() == load_archive(path).digest()


def test_a_wrong_checksum_is_refused_unless_told(tmp_path):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(ChecksumError, match=r"expected MD5 c99cafc1.*, got .*--allow-unverified"):
        load_images(path)


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -9])
def test_a_truncated_archive_gets_a_line(tmp_path, keep):
    path = write_archive(tmp_path / "cifar-10-python.tar.gz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"cannot be read to its end|holds no|is empty"):
        load_archive(path)


class Boom:
    def __reduce__(self):
        return os.system, ("touch /tmp/cifar10-s-was-here",)


@pytest.mark.parametrize(
    "payload",
    [
        Boom(),
        batch(extra=Boom()),
        batch(rows=np.array([Boom()])),
        {b"data": print, b"labels": []},
        b'cbuiltins\neval\n(S\'open("/tmp/cifar10-s-was-here", "w")\'\ntR.',
        b"cnumpy\nndarray\n((J\xff\xff\xff\x7ftR.",
        b"cnumpy.lib.format\nread_array\n.",
    ],
    ids=range(7),
)
def test_a_pickle_that_names_more_than_arrays_is_never_run(tmp_path, payload):
    path = write_archive(tmp_path / "a.tar.gz", dict.fromkeys(archive.BATCH_MD5, payload))
    with pytest.raises(SourceError, match="data_batch_1"):
        load_archive(path)
    assert not os.path.exists("/tmp/cifar10-s-was-here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable pickle"),
        (b"\x80\x02]q\x7f", "not a readable pickle"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "not a readable pickle"),
        (pickle.dumps([1, 2]), "expected a dictionary"),
        (batch(labels=[1, 10, 2]), "labels: expected a list of whole numbers from 0 to 9"),
        (batch(labels=[1, -1, 2]), "labels: expected a list of whole numbers from 0 to 9"),
        (batch(labels=[1, "2", 3]), "labels: expected a list of whole numbers from 0 to 9"),
        (batch(labels=[1, 2, 3], rows=np.zeros((2, 3072), np.uint8)), "2 rows of data but 3 labels"),
        (batch(rows=np.zeros((3, 3071), np.uint8)), r"data: expected a \(rows, 3072\) uint8"),
        (batch(rows=np.zeros((3, 3072), np.float32)), "not a readable pickle"),
        ({b"labels": [1]}, "expected a dictionary with data and labels"),
    ],
    ids=range(11),
)
def test_a_batch_of_another_form_gets_a_line(tmp_path, content, message):
    path = write_archive(tmp_path / "a.tar.gz", {**dict.fromkeys(archive.BATCH_MD5, batch()), "data_batch_2": content})
    with pytest.raises(SourceError, match=f"data_batch_2.*{message}"):
        load_archive(path)


def numpy_pickle(dtype_state=(3, "|", None, None, None, -1, -1, 0), array_state=None):
    """A batch whose array is rebuilt with states that NumPy itself would trust."""

    class Raw:
        def __init__(self, function, arguments, state):
            self.reduced = function, arguments, state

        def __reduce__(self):
            return self.reduced

    dtype = Raw(np.dtype, ("u1", False, True), dtype_state)
    state = array_state or (1, (3, 3072), dtype, False, bytes(3 * 3072))
    state = tuple(dtype if part is np.dtype else part for part in state)
    array = Raw(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)
    return pickle.dumps({b"data": array, b"labels": [1, 2, 3]}, protocol=2)


def test_an_array_rebuilt_the_usual_way_is_read(tmp_path):
    path = write_archive(tmp_path / "a.tar.gz", dict.fromkeys(archive.BATCH_MD5, numpy_pickle()))
    assert len(load_archive(path)) == 15


@pytest.mark.parametrize(
    "content",
    [
        numpy_pickle(dtype_state=(3, "|", (np.dtype("u1"), (3,)), None, None, -1, -1, 0)),
        numpy_pickle(dtype_state=(3, "|", None, None, None, -1, -1, 63)),
        numpy_pickle(array_state=(1, (3, 3072), np.dtype, False, b"x")),
        numpy_pickle(array_state=(1, (3, 1 << 40), np.dtype, False, b"x")),
        numpy_pickle(array_state=(1, (-1, 3072), np.dtype, False, [b"x"])),
        b"\x80\x05\x96" + struct.pack("<Q", 4 << 30) + b"abc.",
        b"\x80\x02c_codecs\nencode\n}(X\x01\x00\x00\x00aK\x01ub.",
    ],
    ids=range(7),
)
def test_a_pickle_never_reaches_numpys_own_rebuilding(tmp_path, content):
    path = write_archive(tmp_path / "a.tar.gz", dict.fromkeys(archive.BATCH_MD5, content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=r"data_batch_1: (is not a readable pickle|its pickle names|data: expected)"):
        load_archive(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_bomb_in_a_tar_header_is_not_read(tmp_path, kind):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 30
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1 << 26), compresslevel=1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match="holds more than CIFAR-10 does"):
        load_archive(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("compress", [lzma.compress, bz2.compress, lambda data: data[: len(data) // 2]])
def test_an_archive_of_another_kind_gets_a_line(tmp_path, compress):
    path = write_archive(tmp_path / "a.tar.gz")
    path.write_bytes(compress(gzip.decompress(path.read_bytes())))
    with pytest.raises(SourceError, match=r"cannot be read to its end|holds no|is empty"):
        load_archive(path)


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (member(f"{archive.ARCHIVE_FOLDER}/data_batch_1", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (member(f"{archive.ARCHIVE_FOLDER}/data_batch_1", tarfile.LNKTYPE, "x"), "is a link or a device"),
        (member(f"{archive.ARCHIVE_FOLDER}/disk", tarfile.BLKTYPE), "is a link or a device"),
        (member(f"{archive.ARCHIVE_FOLDER}/pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (member("../data_batch_1"), "is outside cifar-10-batches-py"),
        (member(f"{archive.ARCHIVE_FOLDER}/../../x"), "is outside cifar-10-batches-py"),
        (member("/etc/data_batch_1"), "is outside cifar-10-batches-py"),
        (member("data_batch_1"), "is outside cifar-10-batches-py"),
    ],
    ids=range(8),
)
def test_a_member_that_leaves_the_folder_is_refused(tmp_path, hostile, message):
    path = write_archive(tmp_path / "a.tar.gz", members=[hostile])
    with pytest.raises(SourceError, match=message):
        load_archive(path)


def test_a_huge_member_is_not_read(tmp_path):
    """A tar header that declares 8 GiB, and a gzip stream of zeros after it."""
    info = tarfile.TarInfo(f"{archive.ARCHIVE_FOLDER}/data_batch_1")
    info.size = 8 << 30
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(1 << 20)))
    with pytest.raises(SourceError, match="more than any CIFAR-10 batch"):
        load_archive(path)


@pytest.mark.parametrize(
    ("address", "instead"),
    [
        ("hf://datasets/uoft-cs/cifar10@main/plain_text/train.parquet", "the dataset's name, uoft-cs/cifar10"),
        ("https://huggingface.co/datasets/uoft-cs/cifar10/tree/main", "the dataset's name, uoft-cs/cifar10"),
        ("file:///data/images", "the path, /data/images"),
        ("https://example.org/images.zip", "the path of what you have downloaded from it"),
    ],
)
def test_an_address_says_what_to_give_instead(address, instead):
    with pytest.raises(SourceError, match=re.escape(f"{address}: is an address; give {instead}") + "$"):
        load_images(address)


def test_a_missing_batch_gets_a_line(tmp_path):
    batches = dict.fromkeys(archive.BATCH_MD5, batch())
    del batches["data_batch_4"]
    path = write_archive(tmp_path / "a.tar.gz", batches)
    with pytest.raises(SourceError, match="holds no data_batch_4"):
        load_archive(path)
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    with pytest.raises(SourceError, match="data_batch_4 is missing"):
        load_archive(tmp_path / "unpacked")


# A folder of images


def write_folder(root, classes=("cat", "dog"), count=3, image=picture, suffix=".png"):
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            image(seed=10 * k + i).save(root / name / f"{i}{suffix}")
    return root


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_images(tmp_path, mode):
    folder = write_folder(tmp_path / "pets", image=lambda seed: picture(20, 30, mode, seed))
    (folder / ".hidden").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "cat" / "._0.png").write_text("what a Mac leaves")
    (folder / "cat" / "Thumbs.db").write_text("what Windows leaves")
    splits = load_splits(folder)
    assert list(splits) == ["train"]
    images = splits["train"]
    assert images.pixels.shape == (6, 20, 30, 1 if mode == "L" else 3)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.class_names == ("cat", "dog")
    assert images.provenance.title == "“pets”"
    assert np.array_equal(images.pixels[4], np.asarray(picture(20, 30, mode, 11)).reshape(images.pixels.shape[1:]))


def test_a_folder_with_train_and_test(tmp_path):
    write_folder(tmp_path / "Train", count=4)
    write_folder(tmp_path / "test", count=2)
    assert {split: len(images) for split, images in load_splits(tmp_path).items()} == {"train": 8, "test": 4}


def test_splits_that_do_not_match_get_a_line(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", classes=("cat", "cow"))
    with pytest.raises(
        SourceError, match=r"got 2 classes \(cat, dog\) of .* in train and 2 classes \(cat, cow\) of .* in test"
    ):
        load_splits(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "more/0.png", "0.avif", "0"])
def test_nothing_in_a_class_is_dropped_silently(tmp_path, name):
    write_folder(tmp_path)
    stray = tmp_path / "dog" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(encoded(picture()))
    with pytest.raises(SourceError, match=r"dog/(notes\.txt|more|0\.avif|0): expected only images"):
        load_images(tmp_path)


@pytest.mark.parametrize("kind", ["dangling link", "folder", "loop"])
def test_what_cannot_be_read_gets_a_line(tmp_path, kind):
    write_folder(tmp_path)
    stray = tmp_path / "dog" / "9.png"
    if kind == "folder":
        stray.mkdir()
    else:
        stray.symlink_to(stray if kind == "loop" else "nowhere.png")
    with pytest.raises(SourceError, match=r"9\.png: cannot be read"):
        load_images(tmp_path)


@pytest.mark.parametrize(("ending", "kind"), [(".jpe", "JPEG"), (".apng", "PNG"), (".pnm", "PPM"), (".JPE", "JPEG")])
def test_rarer_endings_of_formats_that_are_read(tmp_path, ending, kind):
    write_folder(tmp_path)
    added = tmp_path / "dog" / f"9{ending}"
    added.write_bytes(encoded(picture(seed=7), kind))
    expected = np.asarray(Image.open(added))
    assert any(np.array_equal(pixels, expected) for pixels in load_images(tmp_path).pixels)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("place", ["9.png", "dog/9.png"])
def test_a_pipe_is_not_waited_for(tmp_path, place, link):
    """Nobody writes to it."""
    write_folder(tmp_path / "pets")
    pipe = tmp_path / "pipe" if link else tmp_path / "pets" / place
    os.mkfifo(pipe)
    if link:
        (tmp_path / "pets" / place).symlink_to(pipe)
    with pytest.raises(SourceError, match=r"9\.png: is a device, pipe or socket"):
        load_images(tmp_path / "pets")


def test_class_names_are_printable(tmp_path):
    os.rename(write_folder(tmp_path) / "dog", os.fsencode(tmp_path) + b"/d\xffg")
    with pytest.raises(SourceError, match="printable"):
        load_images(tmp_path)


def test_image_folders_that_are_none(tmp_path):
    with pytest.raises(SourceError, match="one sub-folder of images per class"):
        load_images(tmp_path)
    write_folder(tmp_path)
    (tmp_path / "eel").mkdir()
    with pytest.raises(SourceError, match="class 'eel' has no images"):
        load_images(tmp_path)
    (tmp_path / "eel" / "0.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"eel/0\.png: is not an image"):
        load_images(tmp_path)


# Parquet


def write_parquet(folder, rows=4, features=None, **columns):
    given = {"img": [{"bytes": encoded(picture(seed=i)), "path": None} for i in range(rows)], "label": [0, 1] * 2}
    kinds = {"img": ImageColumn(), "label": ClassLabel(names=["cat", "dog"])}
    dataset = Dataset.from_dict({**given, **columns}, features=features or Features(kinds))
    folder.mkdir(exist_ok=True)
    DatasetDict({"train": dataset})["train"].to_parquet(folder / "train-00000-of-00001.parquet")
    return folder


def test_a_folder_of_parquet(tmp_path):
    folder = write_parquet(tmp_path / "pets")
    images = load_images(folder)
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.class_names == ("cat", "dog")
    assert np.array_equal(images.pixels[2], np.asarray(picture(seed=2)))
    assert (images.provenance.kind, images.provenance.title) == ("parquet", "“pets”")
    with pytest.raises(SourceError, match="has no split 'validation'"):
        load_images(folder, split="validation")


def test_parquet_of_another_form_gets_a_line(tmp_path):
    plain, listed = (Features({"img": ImageColumn(), "label": kind}) for kind in (Value("int64"), [Value("int64")]))
    cases = [
        ({"label": [0, 1, None, 1]}, r"1 rows have no label"),
        ({"label": [0, -2, 0, 1], "features": plain}, "expected whole numbers from 0"),
        ({"label": [[0], [1], [0], [1]], "features": listed}, "expected whole numbers or texts, got"),
        ({"img": [None] * 4}, "row 0 has no image"),
        ({"img": [{"bytes": b"x", "path": None}] * 4}, "train image 0: is not an image"),
        ({"img": [{"bytes": None, "path": "/etc/passwd"}] * 4}, "row 0 has no image|cannot be loaded"),
    ]
    for number, (columns, message) in enumerate(cases):
        folder = write_parquet(tmp_path / str(number), **columns)
        with pytest.raises(SourceError, match=message):
            load_images(folder)


@pytest.mark.parametrize("numbers", [(1, 2), (0, 5), (3, 30_000_000)])
def test_labels_that_do_not_count_from_0_name_their_classes(tmp_path, numbers, caplog):
    """As MATLAB's do, which start at 1, or such of which some were taken out."""
    caplog.set_level("INFO")
    plain = Features({"img": ImageColumn(), "label": Value("int64")})
    labels = [numbers[1], numbers[0], numbers[1], numbers[0]]
    images = load_images(write_parquet(tmp_path / "pets", label=labels, features=plain))
    assert images.labels.tolist() == [1, 0, 1, 0]
    assert images.class_names == tuple(map(str, numbers))
    assert f"labels are numbers from {numbers[0]} to {numbers[1]}, not 0 to 1" in caplog.text
    one = load_images(tmp_path / "pets", choices=Choices(classes=(str(numbers[1]),)))
    assert one.labels.tolist() == [0, 0]


def test_classes_in_another_order_in_the_test_split(tmp_path):
    folder = write_parquet(tmp_path / "pets")
    other = Features({"img": ImageColumn(), "label": ClassLabel(names=["dog", "cat"])})
    given = {"img": [{"bytes": encoded(picture(seed=i)), "path": None} for i in range(3)], "label": [0, 0, 1]}
    Dataset.from_dict(given, features=other).to_parquet(folder / "test-00000-of-00001.parquet")
    test = load_splits(folder)["test"]
    assert (test.class_names, test.labels.tolist()) == (("cat", "dog"), [1, 1, 0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_images_that_are_cut_off_are_called_so(tmp_path, kind, share):
    (tmp_path / "cat").mkdir()
    path = tmp_path / "cat" / f"a.{kind.lower()}"
    picture(seed=1).resize((64, 64)).save(path, kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(SourceError, match=r"a\.\w+: (is cut off; get|does not decode .*; replace)"):
        load_images(tmp_path)


def test_truncated_parquet_gets_a_line(tmp_path):
    file = write_parquet(tmp_path / "pets") / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(SourceError, match=r"train-00000-of-00001\.parquet: cannot be read .*get it again"):
        load_images(tmp_path / "pets")


# Names and what they claim


@pytest.mark.parametrize(
    "source", ["./nowhere", "/no/such/folder", "no/such/folder", "absent.tar.gz", "~/nowhere-at-all"]
)
def test_a_path_that_is_not_there_gets_a_line(source):
    with pytest.raises(SourceError, match="does not exist"):
        load_images(source)


def test_without_network_the_hub_gets_a_line(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match=r"uoft-cs/cifar10: cannot be loaded .*local path"):
        load_images()


def test_a_hub_that_does_not_answer_gets_a_line_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"uoft-cs/cifar10: cannot be fetched from the Hub .*local path"):
        load_images()
    assert time.monotonic() - start < 15


def test_a_file_that_is_no_archive_gets_a_line(tmp_path):
    (tmp_path / "images.doc").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"is a file: expected \.tar\.gz"):
        load_images(tmp_path / "images.doc")


def test_the_sample_is_read_as_scikit_learn_reads_it(sample):
    digits, test = load_digits(), load_images("sample", split="test")
    is_test = np.arange(1797) % 5 == 4
    for images, rows in ((sample, ~is_test), (test, is_test)):
        assert np.array_equal(images.pixels[..., 0], np.rint(digits.images[rows] * 255 / 16).astype(np.uint8))
        assert np.array_equal(images.labels, digits.target[rows])
    assert sample.class_names == tuple(map(str, digits.target_names))


def test_the_sample(sample):
    test = load_images("sample", split="test")
    assert (sample.pixels.shape, test.pixels.shape) == ((1438, 8, 8, 1), (359, 8, 8, 1))
    assert sample.pixels.max() == 255
    assert not sample.provenance.claims_cifar10


def as_if_on_the_hub(monkeypatch, images):
    """Let every dataset on the Hub have these images, in each of its splits."""
    dataset = hf_dataset.HubDataset({"train": [], "test": []}, None)
    monkeypatch.setattr(hf_dataset, "reach_hub", lambda name, revision: set())
    monkeypatch.setattr(hf_dataset, "read_hub", lambda name, choices: dataset)
    monkeypatch.setattr(
        hf_dataset, "read_dataset", lambda name, split, provenance, choices: replace(images, provenance=provenance)
    )


def test_a_hub_copy_is_checked(monkeypatch, sample):
    """Whatever calls itself uoft-cs/cifar10 must have CIFAR-10's labels and pixels."""
    as_if_on_the_hub(monkeypatch, sample)
    with pytest.raises(ChecksumError, match=r"expected the classes airplane, .* got 0, 1"):
        load_images("uoft-cs/cifar10")
    assert load_images("uoft-cs/cifar10", allow_unverified=True).provenance.title.startswith("an unverified copy")
    assert load_images("someone/digits").provenance.title == "someone/digits"


@pytest.mark.data
def test_the_known_digests_are_those_of_the_originals(short_archive, jpeg_copy, monkeypatch):
    """The JPEG copy has CIFAR-10's labels but other pixels; with the original pixels put back, it passes."""
    for split, batches in (("train", 5), ("test", 1)):
        originals = load_images(short_archive, split=split, allow_unverified=True)
        copy = load_images(jpeg_copy, split=split)
        assert "pixel digest" in compare_with_cifar10(copy, split)
        pixels = copy.pixels.copy()
        for i in range(batches):
            pixels[10_000 * i : 10_000 * i + 1_000] = originals.pixels[1_000 * i : 1_000 * (i + 1)]
        like_cifar10 = LabeledImages(pixels, copy.labels, copy.class_names, copy.provenance)
        assert compare_with_cifar10(like_cifar10, split) is None
        with monkeypatch.context() as patch:
            as_if_on_the_hub(patch, like_cifar10)
            assert load_images(split=split).provenance.is_cifar10


@pytest.mark.data
def test_the_short_archive_is_refused_unless_told(short_archive):
    with pytest.raises(ChecksumError, match="--allow-unverified"):
        load_images(short_archive)
    images = load_images(short_archive, allow_unverified=True)
    assert len(images) == 5_000
    assert not images.provenance.is_cifar10


def test_a_release_is_no_source_but_its_clean_images_are(release, tmp_path):
    """Read as a dataset, a release is its default configuration, which is poisoned."""
    folder = tmp_path / "digits"
    shutil.copytree(release.folder, folder)
    clean = folder / "data" / "clean"
    for part, what in ((folder, "a release"), (folder / "data", "a part of a release")):
        with pytest.raises(SourceError) as caught:
            load_splits(part)
        assert str(caught.value) == (
            f"{part}: is {what} that `cifar10-s build` wrote: expected clean images: take {clean}, its "
            "clean training images without the test split"
        )
    splits = load_splits(clean)
    assert list(splits) == ["train"]
    assert splits["train"].digest() == release.manifest.configurations["clean"].pixels_sha256
    shutil.rmtree(clean)
    with pytest.raises(SourceError, match="take the images that it was built from"):
        load_splits(folder)
