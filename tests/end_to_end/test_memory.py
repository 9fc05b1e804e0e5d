"""`--memory`: how sizes are parsed, and that a build writes the same bytes whether or not images are in memory."""

import io
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.images import make_images
from support.sources import write_arrays, write_parquet

import cifar10_s
from cifar10_s.builder import dataset_builder as builder
from cifar10_s.cli.app import run
from cifar10_s.common.checksums import SUMS, write_sums
from cifar10_s.common.machine import memory_limit, parse_size, show_size
from cifar10_s.data.codec import encode
from cifar10_s.data.images import LabeledImages, part_size
from cifar10_s.data.sources.splits import open_images
from cifar10_s.data.stream import Stream
from cifar10_s.errors import UsageError, VerificationError
from cifar10_s.shortcut.accumulate import _class_bytes

CONFIGURATIONS = ["ops", "ops-2", "random-pixel", "lsp-ops", "random-samplewise"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (1, 1),
        (1 << 40, 1 << 40),
        ("500MB", 500 * 10**6),
        ("500 mb", 500 * 10**6),
        ("500M", 500 * 10**6),
        (" 1.5GiB ", 3 << 29),
        ("2K", 2000),
        ("2Ki", 2048),
        ("2kib", 2048),
        ("3T", 3 * 10**12),
        ("1TiB", 1 << 40),
        ("7b", 7),
    ],
)
def test_what_is_a_size(text, size):
    assert parse_size(text, "memory") == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "GB", "nonsense", "0", "0GB", "0.1", "-1GB", -1, 0, "1e9", "1,5GB", "1.GB", ".5GB", "1PB", "1IB", "1 I",
     "1  GB", "1GBB", "1GB 2", "٣GB", "nan", "inf", "1\n2", True, "9" * 400 + "GB"],
)  # fmt: skip
def test_what_is_no_size_gets_a_line(text):
    with pytest.raises(UsageError, match=r"^memory: expected a size such as 500MB or 1GiB, got .*$") as caught:
        parse_size(text, "memory")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("limit", ["1000000\n", "max\n", "9223372036854771712\n"])
def test_by_default_half_of_the_container(monkeypatch, tmp_path, limit):
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr("cifar10_s.common.machine.CONTAINER_LIMIT_FILES", [tmp_path / "memory.max", tmp_path / "none"])
    assert memory_limit() == (500_000 if "1000000" in limit else 500 * 4096)


def test_by_default_half_of_the_machine(monkeypatch):
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory_limit() == 500 * 4096
    monkeypatch.setattr("os.sysconf_names", {})
    assert memory_limit() == 4 << 30
    assert memory_limit("1GB") == 10**9


def test_sizes_for_a_reader():
    assert [show_size(size) for size in (0, 999, 999_500, 3 << 29)] == ["0 B", "999 B", "1 MB", "1.61 GB"]


@pytest.mark.parametrize("command", ["search --source sample", "build --source sample", "verify {release}"])
def test_a_size_that_is_none_on_the_command_line(command, release, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    status = run([*command.format(release=release.folder).split(), "--memory", "nonsense"])
    line = "cifar10-s: memory: expected a size such as 500MB or 1GiB, got 'nonsense'\n"
    assert (status, *capfd.readouterr()) == (2, "", line)
    assert not list(tmp_path.iterdir())


# Builds


@pytest.fixture(scope="module")
def clean():
    """Return images sorted by class, as in a folder of images; they have more than two parts."""
    images = make_images(count=2_300, height=6, width=7)
    order = np.argsort(images.labels, kind="stable")
    return LabeledImages(images.pixels[order], images.labels[order], images.class_names)


def write_images(folder, images):
    for row, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
        path = folder / images.class_names[label] / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=0)
    return folder


def write_files(folder, images):
    for number, start in enumerate(range(0, len(images), 900)):
        part = images.take(slice(start, min(start + 900, len(images))))
        write_parquet(folder / f"train-{number}.parquet", part, names=list(images.class_names), group=130)
    return folder


def write_shards(folder, images):
    for number, start in enumerate(range(0, len(images), 700)):
        rows = slice(start, start + 700)
        write_arrays(folder, images.pixels[rows], images.labels[rows], name=str(number), classes=images.class_names)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory, clean):
    """Write the same images into three kinds of folder, all with the same name."""
    root = tmp_path_factory.mktemp("sources")
    writers = {"images": write_images, "parquet": write_files, "arrays": write_shards}
    return {kind: write(root / kind / "pets", clean) for kind, write in writers.items()}


@pytest.fixture(scope="module")
def little(clean):
    """Return memory for the sums of one class, but not for the images."""
    size = _class_bytes(clean)
    assert size < 3 * clean.pixels.size
    return size


def build(source, output, **options):
    """Build with shards so small that there are several."""
    cifar10_s.build(source, output, configurations=CONFIGURATIONS, device="cpu", max_shard_size="150kB", **options)
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory, sources, little):
    """Build each source without ever loading its images."""
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "load", None)
        return {kind: build(source, root / kind, memory=little) for kind, source in sources.items()}


def sums(folder):
    return (folder / SUMS).read_text().splitlines()


@pytest.mark.parametrize("kind", ["images", "parquet", "arrays"])
def test_a_build_with_nothing_in_memory_has_the_same_bytes(kind, sources, built, tmp_path):
    assert sums(build(sources[kind], tmp_path / "x", memory="1GB")) == sums(built[kind])


def test_the_same_pixels_are_the_same_data_wherever_they_are_from(built):
    data = [[line for line in sums(folder) if "  data/" in line] for folder in built.values()]
    assert data[0] == data[1] == data[2]
    assert len(data[0]) > len(CONFIGURATIONS)


def test_the_sources_are_the_images(sources, clean):
    assert {open_images(source).digest() for source in sources.values()} == {clean.digest()}


def test_a_release_verifies_with_nothing_in_memory(built, little, monkeypatch):
    monkeypatch.setattr(Stream, "load", None)
    assert cifar10_s.verify(built["arrays"], memory=little).images == (2 + len(CONFIGURATIONS)) * 2_300


@pytest.mark.parametrize("name", ["clean", "ops", "lsp-ops", "random-samplewise"])
def test_a_changed_row_is_found_with_nothing_in_memory(built, little, name, tmp_path, monkeypatch):
    """The row is not in the first shard."""
    folder = shutil.copytree(built["images"], tmp_path / "x")
    shard = sorted(folder.glob(f"data/{name}/train-*.parquet"))[1]
    table = pq.read_table(shard)
    images, row = table["img"].to_pylist(), 5
    pixels = np.asarray(Image.open(io.BytesIO(images[row]["bytes"]))).copy()
    pixels[2:4] ^= 64
    images[row]["bytes"] = encode(pixels[None])[0]
    pq.write_table(table.set_column(0, table.schema.field(0), pa.array(images, table.schema.field(0).type)), shard)
    write_sums(folder)
    monkeypatch.setattr(Stream, "load", None)
    with pytest.raises(VerificationError) as caught:
        cifar10_s.verify(folder, memory=little)
    # A changed clean image changes what is expected of the configurations made from it.
    where = rf"data/{name}/{shard.name}: row {row}" if name != "clean" else r"data/ops/train-.*: row \d+"
    assert [line for line in caught.value.failures if re.match(f"{where}: (1 image is|this and)", line)]


def test_row_groups_do_not_depend_on_the_parts_they_come_in():
    files, rng = [b"x" * size for size in range(1, 100)], np.random.default_rng(0)
    expected = list(builder._gather([files], 10, 500))
    assert [len(group) for group in expected] == [40, 20, 10, 10, 10, 9]
    for _ in range(20):
        cuts = np.sort(rng.integers(0, 100, 6))
        parts = [files[a:b] for a, b in zip([0, *cuts], [*cuts, 99])]
        assert list(builder._gather(parts, 10, 500)) == expected


def test_parts_are_those_of_images_in_memory(clean):
    """Otherwise, releases built in memory before would have other bytes now."""
    assert [len(part) for part in clean.map_batches(lambda rows, pixels: pixels)] == [1000, 1000, 300]
    assert part_size(clean.shape[1:]) == 1000
