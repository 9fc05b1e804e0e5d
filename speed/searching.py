"""How long a user waits for a search: its start, image files, large images, and arrays from the disk."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import cifar10_s
from cifar10_s.common.threads import thread_map
from cifar10_s.data.codec import encode
from speed import limits
from speed.own_images import CLASSES, SIDE, draw
from speed.scale import ALONE, read_on_all_cores, write_raw
from speed.timing import command, least, once, peak, python, row, time_of_commands, within

# Seconds that the search of the sample may take beyond what loading the two libraries takes.
BEYOND_LIBRARIES = 0.3
# Times a command takes its turn; large images, of which so many differ; and images in arrays.
REPEATS, LARGE, DISTINCT, RAW = 3, 20_000, 1_000, 2_000_000


def measure_searching(source: Path, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of commands that only read."""
    return [*start_rows(quick), *parquet_rows(source, folder), *large_rows(folder, quick), *raw_rows(folder, quick)]


def start_rows(quick: bool) -> list[dict[str, Any]]:
    """Return the rows of what a user waits for before anything large is read: one core's work, as processor time."""
    help_, version, sample, audit, libraries = least(
        [
            partial(command, "--help"),
            partial(command, "--version"),
            partial(command, "search", "--source", "sample"),
            partial(command, "audit", "sample", fine=(0, 1)),
            partial(python, "-c", "import numpy, pyarrow"),
        ],
        repeats=1 if quick else REPEATS,
        clock=time_of_commands,
    )
    return [
        row("`cifar10-s --help`: processor time", help_, "s", "0.25 or less"),
        row("`cifar10-s --version`: processor time", version, "s", "0.25 or less"),
        within("`cifar10-s search --source sample`: processor time", sample, libraries + BEYOND_LIBRARIES, 1),
        row("`cifar10-s audit sample`: processor time", audit, "s"),
    ]


def parquet_rows(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a source of Parquet as it is, and as PNG if it is of another format."""
    sources = {kind_of(source): source}
    if "PNG" not in sources:
        sources["PNG"] = as_png(source, folder / "png")
    rows = []
    for kind, path in sources.items():
        files = [file for shard in train_shards(path) for file in contents(shard)]
        rows.append(against_decoding(f"`cifar10-s search` of {len(files):,} {kind}s in Parquet", path, files, 1.2))
    return rows


def large_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the row of a folder of large JPEGs; they are drawn once, and linked as often as needed."""
    count, distinct = (LARGE // 10, DISTINCT // 10) if quick else (LARGE, DISTINCT)
    own = folder / "own"
    drawn = list(thread_map(partial(draw, own), range(distinct)))
    for number in range(distinct, count):
        file = drawn[number % distinct]
        file.with_name(f"{number:05}.jpg").hardlink_to(file)
    files = [drawn[number % distinct].read_bytes() for number in range(count)]
    what = f"`cifar10-s search` of {count:,} JPEGs of {SIDE}×{SIDE}×3 in {CLASSES} classes"
    return [against_decoding(what, own, files, 1.3)]


def raw_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of arrays, which are read from the disk if the system's cache can be emptied of them."""
    count = RAW // 10 if quick else RAW
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (10_000, 32, 32, 3), np.uint8)
    images = cifar10_s.LabeledImages(pixels, random.integers(0, 10, len(pixels)), tuple("abcdefghij"))
    raw = write_raw(images, folder / "raw", count)

    def cold(function: Callable[[], object]) -> float:
        forget(raw)
        return once(function)

    taken = [(cold(lambda: command("search", "--source", raw)), cold(lambda: read_on_all_cores(raw))) for _ in range(2)]
    searching, reading = (min(seconds) for seconds in zip(*taken, strict=True))
    resident = peak(ALONE, raw)
    what = f"`cifar10-s search` of {count:,} images of 32×32×3 in arrays on the disk"
    return [
        within(f"{what}", searching, reading, 1.3),
        row(f"{what}: resident memory at its peak", resident / 2**20, "MiB", "under 600"),
    ]


def against_decoding(what: str, source: Path, files: list[bytes], times: float) -> dict[str, Any]:
    """Return the row of a search, beside decoding its files on all cores."""
    taken = [(once(partial(command, "search", "--source", source)), limits.decoding(files)) for _ in range(REPEATS)]
    searching, decoding = (min(seconds) for seconds in zip(*taken, strict=True))
    return within(f"{what}", searching, decoding, times)


def forget(folder: Path) -> None:
    """Ask the system to drop a folder's files from its cache, so that they are read from the disk (Linux)."""
    os.sync()
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train_shards(source: Path) -> list[Path]:
    """Return the Parquet files of the training split."""
    return sorted(file for file in source.rglob("*.parquet") if file.name.startswith("train"))


def contents(shard: Path) -> Iterator[bytes]:
    """Yield the image files in a file of Parquet."""
    for column in pq.read_table(shard).columns:
        if str(column.type).startswith("struct"):
            yield from (file["bytes"] for file in column.to_pylist())


def kind_of(source: Path) -> str:
    """Return the format of a source's images."""
    return "PNG" if next(contents(train_shards(source)[0])).startswith(b"\x89PNG") else "JPEG"


def as_png(source: Path, folder: Path) -> Path:
    """Write the training images of a source of Parquet as PNG, and return the folder."""
    images = cifar10_s.load_images(source)
    files = [file for part in images.map_batches(lambda rows, pixels: encode(pixels)) for file in part]
    folder.mkdir()
    column = pa.array(
        [{"bytes": file, "path": None} for file in files], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    pq.write_table(
        pa.table({"img": column, "label": images.labels}), folder / "train-00000-of-00001.parquet", row_group_size=1_000
    )
    return folder
