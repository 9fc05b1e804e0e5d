"""Harnesses: for each reader, good inputs to start from, and a function that passes it any bytes.

An input is a line that says where its bytes go (a kind, a suffix or a file name), and these bytes.
"""

import contextlib
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save as save_safetensors
from scipy.io import savemat
from support.synthetic_records import record

import cifar10_s
from cifar10_s.common import checksums
from cifar10_s.common import threads as parallel
from cifar10_s.common.checksums import SUMS, write_sums
from cifar10_s.common.records import run_id
from cifar10_s.data.codec import encode
from cifar10_s.data.sources import cifar10_archive as archive
from cifar10_s.methods.noise_file import read_noise
from cifar10_s.release import reader as released
from cifar10_s.release import shards
from cifar10_s.release.layout import CARD, MANIFEST
from cifar10_s.release.reader import Release
from cifar10_s.release.shards import COLUMNS, StoredSplit
from cifar10_s.release.verification import verifier as verification
from cifar10_s.report.report import Report

SHAPE, CLASSES = (6, 5, 3), ("cat", "dog")
FIGURE = "figures/random-classwise-ops.png"
SUFFIXES = (".png", ".jpg", ".bmp", ".gif", ".tif", ".webp", ".ppm")
FEATURES = {"img": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}


@dataclass(frozen=True)
class Harness:
    """A reader under test.

    Attributes
    ----------
    seeds
        Prepares a folder, and yields good inputs.
    read
        Passes an input to the reader, in that folder.
    """

    seeds: Callable[[Path], Iterator[bytes]]
    read: Callable[[bytes, Path], object]


def split(data: bytes) -> tuple[str, bytes]:
    """Split an input into its line and its bytes."""
    line, _, content = data.partition(b"\n")
    return line.decode("utf-8", "replace"), content


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


# The original archive: the whole file, or the pickle of one batch in the unpacked folder.


def archive_seeds(folder: Path) -> Iterator[bytes]:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [3, 9]}
    (folder / archive.ARCHIVE_FOLDER).mkdir()
    for name in archive.BATCH_MD5:
        (folder / archive.ARCHIVE_FOLDER / name).write_bytes(pickle.dumps(batch, protocol=2))
    for mode in ("w", "w:gz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as tar:
            tar.add(folder / archive.ARCHIVE_FOLDER, archive.ARCHIVE_FOLDER)
        yield b"tar\n" + stream.getvalue()
    for protocol in (0, 2, 4, 5):
        yield b"batch\n" + pickle.dumps(batch, protocol=protocol)


def read_archive(data: bytes, folder: Path) -> None:
    kind, content = split(data)
    path = folder / ("a.tar" if kind == "tar" else f"{archive.ARCHIVE_FOLDER}/data_batch_3")
    path.write_bytes(content)
    cifar10_s.load_images(path if kind == "tar" else folder / archive.ARCHIVE_FOLDER, allow_unverified=True)


# Shards: a whole file, the `datasets` features in its schema, or one image in it.


def table(image: bytes | None = None, metadata: bytes | None = None) -> pa.Table:
    features = json.dumps({"info": {"features": FEATURES}}).encode()
    fields = [pa.field(*column) for column in COLUMNS]
    files = [encode(picture(i)[None])[0] for i in range(3)] + [encode(picture(3)[None])[0] if image is None else image]
    columns = [[{"bytes": file, "path": None} for file in files], [0, 1, 1, 0]]
    schema = pa.schema(fields, {"huggingface": features if metadata is None else metadata})
    return pa.Table.from_pydict(dict(zip(("img", "label"), columns, strict=True)), schema)


def as_parquet(content: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, **options)
    return sink.getvalue().to_pybytes()


def parquet_seeds(folder: Path) -> Iterator[bytes]:
    yield b"file\n" + as_parquet(table())
    yield b"file\n" + as_parquet(table(), compression="none", row_group_size=2)
    yield b"features\n" + json.dumps({"info": {"features": FEATURES}}).encode()
    yield b"image\n" + encode(picture()[None])[0]


def shard(data: bytes) -> bytes:
    kind, content = split(data)
    if kind == "features":
        return as_parquet(table(metadata=content))
    return as_parquet(table(image=content)) if kind == "image" else content


def read_parquet(data: bytes, folder: Path) -> None:
    path = folder / "train-00000-of-00001.parquet"
    path.write_bytes(shard(data))
    stored = StoredSplit([path], SHAPE, CLASSES)
    stored.stream().load()
    _ = stored.num_bytes


def read_parquet_source(data: bytes, folder: Path) -> None:
    """Read the same as a source, through the `datasets` library."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/train-00000-of-00001.parquet").write_bytes(shard(data))
    cifar10_s.load_images(folder / "data")


# A folder of images: the name and the content of a file.


def image_seeds(folder: Path) -> Iterator[bytes]:
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
        Image.fromarray(picture()).save(folder / "images" / name / "0.png")
    for suffix in SUFFIXES:
        stream = io.BytesIO()
        Image.fromarray(picture(1)).save(stream, Image.registered_extensions()[suffix])
        yield f"1{suffix}\n".encode() + stream.getvalue()
    for mode in ("1", "P", "RGBA", "CMYK", "I;16"):
        stream = io.BytesIO()
        Image.fromarray(picture(1)).convert("L" if mode == "I;16" else mode).save(stream, "TIFF")
        yield b"1.tif\n" + stream.getvalue()


def read_images(data: bytes, folder: Path) -> None:
    name, content = split(data)
    path = folder / "images" / CLASSES[1] / name.replace("/", "").replace("\0", "")[:80]
    try:
        path.write_bytes(content)
    except (OSError, UnicodeEncodeError):
        return
    try:
        cifar10_s.load_images(folder / "images")
    finally:
        path.unlink()


# Forms of one file: the file's path, and its content.


def write_forms(folder: Path) -> Iterator[Path]:
    """Write a source of each form, and yield the files of which others are tried, alone or in a folder of their own."""
    pixels, labels = np.stack([picture(i) for i in range(4)]), np.array([0, 1, 1, 0], np.uint8)
    for name in ("idx", "idx-gz", "saved", "csv", "jsonl", "cifar-100-python", "cifar-100-binary"):
        (folder / name).mkdir()
    named = [(f"{number}.png", label, data) for number, (label, data) in enumerate(zip(labels, encode(pixels)))]
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, label, data in named:
            archive.writestr(f"{CLASSES[label]}/{name}", data)
    yield folder / "a.zip"
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(folder / name, mode) as tar:
            for file, label, data in named:
                for suffix, content in ((".png", data), (".cls", b"%d" % label), (".json", b'{"caption": "x"}')):
                    info = tarfile.TarInfo(file.replace(".png", suffix))
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        yield folder / name
    np.savez_compressed(folder / "a.npz", train_images=pixels, train_labels=labels[:, None])
    yield folder / "a.npz"
    savemat(folder / "train_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": labels[:, None]}, do_compression=True)
    yield folder / "train_32x32.mat"
    images = b"\0\0\x08\x03" + struct.pack(">3I", 4, 6, 5) + pixels[..., 0].tobytes()
    for name, suffix, content in (("idx", "", images), ("idx-gz", ".gz", gzip.compress(images))):
        path = folder / name / "train-labels-idx1-ubyte"
        path.write_bytes(b"\0\0\x08\x01\0\0\0\x04" + labels.tobytes())
        path = folder / name / f"train-images-idx3-ubyte{suffix}"
        path.write_bytes(content)
        yield path
    rows = table()
    with pa.ipc.new_stream(folder / "saved/data.arrow", rows.schema) as writer:
        writer.write_table(rows, max_chunksize=2)
    yield folder / "saved/data.arrow"
    (folder / "saved/state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}], "_split": None}))
    yield folder / "saved/state.json"
    objects = [{"file_name": name, "label": int(label)} for name, label, _ in named]
    for kind, lines in (
        ("csv", ["file_name,label,text", *(f"{name},{CLASSES[label]},x" for name, label, _ in named)]),
        ("jsonl", map(json.dumps, objects)),
    ):
        for name, _, data in named:
            (folder / kind / name).write_bytes(data)
        (folder / kind / f"metadata.{kind}").write_text("\n".join(lines))
        yield folder / kind / f"metadata.{kind}"
    names = {"fine_label_names": [f"x{i}" for i in range(100)], "coarse_label_names": [f"y{i}" for i in range(20)]}
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [3, 9], b"coarse_labels": [1, 2]}
    for name, content in (("train", batch), ("meta", names)):
        (folder / "cifar-100-python" / name).write_bytes(pickle.dumps(content, protocol=2))
        yield folder / "cifar-100-python" / name
    for name, listed in names.items():
        (folder / "cifar-100-binary" / f"{name}.txt").write_text("\n".join(listed))
    (folder / "cifar-100-binary/train.bin").write_bytes(bytes(2 * 3074))
    yield folder / "cifar-100-binary/train.bin"


def form_seeds(folder: Path) -> Iterator[bytes]:
    for path in list(write_forms(folder)):
        yield f"{path.relative_to(folder)}\n".encode() + path.read_bytes()


def read_form(data: bytes, folder: Path) -> None:
    name, content = split(data)
    forms = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    if name not in forms:
        return
    path = forms[name]
    before = path.read_bytes()
    path.write_bytes(content)
    label = "fine_label" if path.parent.name.startswith("cifar-100") else None
    try:
        source = path if path.parent == folder else path.parent
        cifar10_s.load_images(source, choices=cifar10_s.Choices(label_column=label), allow_unverified=True)
    finally:
        path.write_bytes(before)


# A folder of arrays: one of its files.


def array_seeds(folder: Path) -> Iterator[bytes]:
    pixels, labels = np.stack([picture(i) for i in range(4)]), np.array([0, 1, 1, 0])
    (folder / "arrays").mkdir()
    for name, kinds in (
        ("a.pixels.npy", (np.asfortranarray(pixels), pixels)),
        ("a.labels.npy", (labels.astype(np.int8), labels.astype(">u2"), labels)),
    ):
        for values in kinds:
            np.save(folder / "arrays" / name, values)
            yield f"{name}\n".encode() + (folder / "arrays" / name).read_bytes()
    (folder / "arrays/classes.txt").write_text("\n".join(CLASSES))
    yield b"classes.txt\n" + "\n".join(CLASSES).encode()


def read_arrays(data: bytes, folder: Path) -> None:
    name, content = split(data)
    path = folder / "arrays" / name
    if name not in ("a.pixels.npy", "a.labels.npy", "classes.txt"):
        return
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        cifar10_s.load_images(folder / "arrays")
    finally:
        path.write_bytes(before)


# Files of a release, one replaced: the verifier, and what the benchmark reads. Some inputs are only the card's YAML, or
# the chunks of a figure, whose checksums are then made valid.


def release_seeds(folder: Path, names: tuple[str, ...]) -> Iterator[bytes]:
    for part, count in (("train", 4), ("test", 1)):
        for name in CLASSES:
            (folder / "source" / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(picture(i)).save(folder / "source" / part / name / f"{i}.png")
    cifar10_s.build(
        folder / "source", folder / "x", name="x", device="cpu",
        configurations=["random-classwise-ops"], noise={"random-classwise": _class_wise(folder / "noise.npy")},
    )  # fmt: skip
    for figure in (folder / "x/figures").iterdir():
        Image.fromarray(picture()).save(figure)  # small, because every input decodes it
    write_sums(folder / "x")
    for name in names:
        content = (folder / "x" / name).read_bytes()
        yield f"{name}\n".encode() + content
        if name == CARD:
            head = content.split(b"\n---\n")[0].removeprefix(b"---\n")
            yield b"yaml\n" + head
        if name == FIGURE:
            yield from (b"chunks\n" + figure for figure in _figures())


def _figures() -> Iterator[bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b")
    text.add_text("c", "d" * 99, zip=True)
    text.add_itxt("e", "f", zip=True)
    for mode in ("RGB", "P", "LA", "1", "I;16"):
        image = Image.fromarray(picture()).convert("L" if mode == "I;16" else mode).convert(mode)
        for options in ({}, {"pnginfo": text, "icc_profile": b"g" * 99, "dpi": (72, 72), "exif": b"Exif\0\0MM\0*"}):
            stream = io.BytesIO()
            image.save(stream, "PNG", **options)
            yield stream.getvalue()


def _class_wise(path: Path) -> Path:
    np.save(path, np.full((2, *SHAPE), 3, np.int8) * np.array([1, -1], np.int8)[:, None, None, None])
    return path


def read_release(data: bytes, folder: Path) -> None:
    name, content = split(data)
    path = folder / "x" / {"yaml": CARD, "chunks": FIGURE}.get(name, name)
    if len(name.encode()) > 100 or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return
    before = path.read_bytes()
    if name == "yaml":
        content = b"---\n%b\n---\n%b" % (content, before.split(b"\n---\n", 1)[1])
    if name == "chunks":
        content = _with_checksums(content)
    path.write_bytes(content)
    try:
        with _other_files_cached(path):
            if name != SUMS:
                write_sums(folder / "x")
            _each(lambda: cifar10_s.verify(folder / "x"), lambda: _read_released(folder / "x"))
    finally:
        path.write_bytes(before)


def _with_checksums(png: bytes) -> bytes:
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        parts += [png[at:end], zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")]
        at = end + 4
    return b"".join(parts) + png[at:]


@contextlib.contextmanager
def _other_files_cached(exchanged: Path) -> Iterator[None]:
    """Read the other files only once, and start no threads: both would take most of the time of every input."""
    with contextlib.ExitStack() as stack:
        for part, name, function in (
            (checksums, "list_files", _list_files),
            (verification, "list_files", _list_files),
            (checksums, "hash_file", lambda path: (HASH_FILE if path == exchanged else _hash_file)(path)),
            (shards, "_column", _column),
            (released, "_from_cache", _from_cache),
            (parallel, "ThreadPoolExecutor", _NoThreads),
        ):
            stack.enter_context(patch.object(part, name, function))
        if exchanged.name != MANIFEST and exchanged.parent.name != "recipes":  # the checks of images depend on these
            stack.enter_context(patch.object(verification._Verification, "check_images", lambda self, options: None))
        yield


HASH_FILE, FROM_CACHE = checksums.hash_file, released._from_cache
_list_files, _hash_file, _column = cache(checksums.list_files), cache(HASH_FILE), cache(shards._column)
_images = {}


def _from_cache(path: Path, names: tuple[str, ...]) -> object:
    """Remember images, but not their absence: they may exist the next time."""
    if (path, names) not in _images and (images := FROM_CACHE(path, names)) is not None:
        _images[path, names] = images
    return _images.get((path, names))


class _NoThreads(Executor):
    """A thread pool without threads."""

    def __init__(self, workers: int) -> None:
        pass

    def submit(self, function: Callable, /, *arguments: object) -> Future:
        future = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


def _read_released(folder: Path) -> None:
    released = Release(folder)
    for name in released.select(None):
        _each(lambda name=name: released.recipe(name), lambda name=name: released.train(name), released.test)


def _each(*calls: Callable[[], object]) -> None:
    """Make every call, even if another raises one of the package's errors; raise the first error at the end."""
    errors = []
    for call in calls:
        try:
            call()
        except cifar10_s.Cifar10SError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def files_of_a_release(*names: str) -> Harness:
    return Harness(lambda folder: release_seeds(folder, names), read_release)


# Noise: a suffix and a file; or a pickle, in a zip whose checksums are valid.


def noise_seeds(folder: Path) -> Iterator[bytes]:
    levels = np.random.default_rng(0).integers(-8, 9, (4, *SHAPE)).astype(np.float32)
    tensor = torch.from_numpy(levels)
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, noise=levels, labels=np.arange(4))
        yield b".npz\n" + stream.getvalue()
    for dtype in (np.float32, np.int8, ">f4", object):
        stream = io.BytesIO()
        np.save(stream, levels.astype(dtype))
        yield b".npy\n" + stream.getvalue()
    yield b".safetensors\n" + save_safetensors({"noise": tensor, "other": tensor[:1].clone()})
    for content in (tensor, {"delta": tensor, "epsilon": 8}, [torch.nn.Parameter(tensor)]):
        stream = io.BytesIO()
        torch.save(content, stream)
        yield b".pt\n" + stream.getvalue()
        with zipfile.ZipFile(stream) as saved:
            yield b"pickle\n" + saved.read("archive/data.pkl")
    (folder / "base.pt").write_bytes(stream.getvalue())


def read_noise_file(data: bytes, folder: Path) -> None:
    kind, content = split(data)
    path = folder / f"noise{kind if kind in ('.npz', '.npy', '.safetensors') else '.pt'}"
    if kind == "pickle":
        with zipfile.ZipFile(folder / "base.pt") as base, zipfile.ZipFile(path, "w") as made:
            for member in base.namelist():
                made.writestr(member, content if member.endswith("data.pkl") else base.read(member))
    else:
        path.write_bytes(content)
    read_noise(path, shape=SHAPE, images=4, classes=2, linf=8)


# Records: a file of lines, or one record, whose id is made valid.


def record_seeds(folder: Path) -> Iterator[bytes]:
    made = [record(), record("ops", "mixup", final=None), record("em-ops", seed=1, evaluations={"ops": 3.0})]
    yield b"lines\n" + b"".join(json.dumps(one).encode() + b"\n" for one in made)
    for one in made:
        yield b"record\n" + json.dumps(one).encode()


def read_records(data: bytes, folder: Path) -> None:
    kind, content = split(data)
    if kind == "record":
        try:
            one = json.loads(content)
            one["id"] = run_id(one["settings"])
            content = b"".join(json.dumps(line).encode() + b"\n" for line in (record("ops"), one))
        except (ValueError, TypeError, LookupError, RecursionError):
            pass
    (folder / "records.jsonl").write_bytes(content)
    report = Report.read(folder / "records.jsonl")
    _each(report.tables, lambda: report.tables(format="latex"))


HARNESSES = {
    "archive": Harness(archive_seeds, read_archive),
    "parquet": Harness(parquet_seeds, read_parquet),
    "parquet-source": Harness(parquet_seeds, read_parquet_source),
    "images": Harness(image_seeds, read_images),
    "arrays": Harness(array_seeds, read_arrays),
    "forms": Harness(form_seeds, read_form),
    "manifest": files_of_a_release("manifest.json"),
    "recipe": files_of_a_release("recipes/random-classwise-ops.json"),
    "card": files_of_a_release("README.md", "croissant.json", "SHA256SUMS"),
    "figure": files_of_a_release(FIGURE),
    "noise": Harness(noise_seeds, read_noise_file),
    "records": Harness(record_seeds, read_records),
}
