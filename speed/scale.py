"""What the search costs beyond memory: growth with the number of images, against reading, decoding, and on Ray."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import cifar10_s
from cifar10_s.common.threads import thread_map
from cifar10_s.data.images import LabeledImages
from speed.plain import plain_parquet
from speed.timing import least, once, peak, row

# A search alone.
ALONE = 'import sys, cifar10_s; cifar10_s.search(cifar10_s.open_images(sys.argv[1]), device="cpu")'
# Images of raw shards, and of Parquet; a shard, and what is read of it at a time.
COUNTS, ON_RAY, SHARD, BUFFER = (10_000, 50_000, 100_000, 300_000, 1_000_000), 500_000, 50_000, 4 << 20


def measure_scale(images: LabeledImages, folder: Path, *, quick: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of the table, and the growth: images, seconds of the search, seconds of reading the bytes."""
    counts = [count // 20 for count in COUNTS] if quick else list(COUNTS)
    raw = [write_raw(images, folder / str(count), count) for count in counts]
    *seconds, on_all_cores = least(
        [*(partial(way, source) for way in (search, read) for source in raw), partial(read_on_all_cores, raw[-1])]
    )
    growth: dict[str, Any] = {"images": counts, "search": seconds[: len(raw)], "read": seconds[len(raw) :]}
    rows = [*raw_rows(growth, raw[-1], on_all_cores), *parquet_rows(images, folder, quick=quick)]
    return rows, growth


def raw_rows(growth: dict[str, Any], largest: Path, limit: float) -> list[dict[str, Any]]:
    """Return the rows on raw shards, of which the most are searched once more in a process of their own."""
    counts, seconds, reading = growth["images"], growth["search"], growth["read"]
    slope, start = np.polyfit(counts, seconds, 1, w=1 / np.array(seconds))
    off = max(abs(1 - got / (start + slope * count)) for got, count in zip(seconds, counts, strict=True))
    resident = peak(ALONE, largest)
    what = f"search of {counts[-1]:,} images in raw shards"
    return [
        row(what, seconds[-1], "s", limit=limit),
        row("reading these bytes, one thread", reading[-1], "s"),
        row(f"{what}: times reading, one thread", seconds[-1] / reading[-1], "x", "2 or less"),
        row(f"{what}: resident memory at its peak", resident / 2**20, "MiB", "under 600"),
        *(
            row(f"search of {count:,} images in raw shards: time per image", 1e9 * got / count, "ns")
            for count, got in zip(counts, seconds, strict=True)
        ),
        row("the same: off the straight line that fits best, at most", 100 * off, "%", "15 or less"),
    ]


def parquet_rows(images: LabeledImages, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows on Parquet with PNGs."""
    count = len(images) * max(1, (ON_RAY // 20 if quick else ON_RAY) // len(images))
    source = folder / "parquet"
    source.mkdir()
    first = source / f"train-00000-of-{count // len(images):05}.parquet"
    plain_parquet(images.pixels, images.labels, list(images.class_names), first)
    for number in range(1, count // len(images)):
        first.with_name(first.name.replace("00000-of", f"{number:05}-of")).hardlink_to(first)
    here = once_more(lambda: search(source))
    decoding = once_more(lambda: decode(source))
    on_ray = once_more(lambda: search(source, engine="ray"))
    what = f"search of {count:,} PNGs in Parquet"
    return [
        row(what, here, "s", limit=decoding),
        row(f"{what}: times decoding", here / decoding, "x", "1.2 or less"),
        row(f"{what}, on Ray on this machine", on_ray, "s", limit=decoding),
        row(f"{what}: on Ray, times the plain run", on_ray / here, "x", "1.5 or less"),
    ]


def once_more(function: Callable[[], object]) -> float:
    """Time a call after one that is not counted."""
    function()
    return once(function)


def write_raw(images: LabeledImages, folder: Path, count: int) -> Path:
    """Write a folder of arrays with so many images, the given ones again and again."""
    folder.mkdir()
    for number, start in enumerate(range(0, count, SHARD)):
        index = np.arange(start, min(start + SHARD, count)) % len(images)
        np.save(folder / f"{number:05}.pixels.npy", images.pixels[index])
        np.save(folder / f"{number:05}.labels.npy", images.labels[index])
    return folder


def search(source: Path, engine: str = "local") -> None:
    """Search a source, opened anew: nothing of it is remembered."""
    cifar10_s.search(cifar10_s.open_images(source, engine=engine), device="cpu")


def decode(source: Path) -> None:
    """Decode a source on all cores, and do nothing with it."""
    for _ in cifar10_s.open_images(source).map_batches(lambda rows, pixels: None):
        pass


def read(source: Path) -> None:
    """Read the pixels' bytes as fast as one thread can: into the same place again and again."""
    for file in sorted(source.glob("*.pixels.npy")):
        read_file(file)


def read_on_all_cores(source: Path) -> None:
    """Read them as fast as all cores can."""
    for _ in thread_map(read_file, sorted(source.glob("*.pixels.npy"))):
        pass


def read_file(file: Path) -> None:
    """Read a file's bytes."""
    buffer = bytearray(BUFFER)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass
