"""What reading folders of image files costs, against decoding and resizing by the libraries alone."""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cifar10_s
from cifar10_s.common.machine import cores
from cifar10_s.common.threads import chunks, thread_map
from speed.own_images import CLASSES, draw
from speed.timing import least, peak, row

# Files of each kind, and how many a thread of the libraries takes at a time.
SMALL, LARGE, SHARE = 60_000, 20_000, 100
SIDE, RESIZED = 32, 224
# Mixed sizes about that of ImageNet's images, (height, width).
SIZES = ((375, 500), (500, 375), (333, 500), (500, 334), (400, 500), (375, 600), (300, 400), (480, 640))
# Read alone.
ALONE = """
import sys, cifar10_s
images = cifar10_s.open_images(sys.argv[1], choices=cifar10_s.Choices(resize=int(sys.argv[2])))
for _ in images.map_batches(lambda rows, pixels: None): pass
"""


def measure_reading(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    small, large = (count // 50 if quick else count for count in (SMALL, LARGE))
    rows = []
    for kind in ("png", "jpeg"):
        files = write(folder / kind, small, ((SIDE, SIDE),), kind)
        what = f"read {small:,} {kind.upper()}s of {SIDE}×{SIDE} in {CLASSES} folders"
        ours, alone = least([partial(read, folder / kind), partial(on_all_cores, files, decode)], repeats=3)
        rows.append(row(what, ours, "s", limit=alone))
    files = write(folder / "large", large, SIZES, "jpeg")
    what = f"read {large:,} JPEGs of mixed sizes about 500×375, --resize {RESIZED}"
    ours, alone = least(
        [partial(read, folder / "large", RESIZED), partial(on_all_cores, files, decode_and_resize)], repeats=3
    )
    rows += [row(what, ours, "s", limit=alone), row(f"{what}: times the libraries", ours / alone, "x", "1.3 or less")]
    half = write(folder / "half", large // 2, SIZES, "jpeg")[0].parents[1]
    most, fewer = (peak(ALONE, of, str(RESIZED)) for of in (folder / "large", half))
    return [
        *rows,
        row("the same: resident memory at its peak", most / 2**20, "MiB"),
        row("the same: times that of half as many", most / fewer, "x", "1.1 or less"),
    ]


def write(folder: Path, count: int, sizes: Sequence[tuple[int, int]], kind: str) -> list[Path]:
    """Write images of sizes in turn, and return their paths."""
    return list(thread_map(lambda number: draw(folder, number, sizes[number % len(sizes)], kind), range(count)))


def read(folder: Path, resize: int | None = None) -> None:
    """Open a folder and read every image, keeping nothing."""
    images = cifar10_s.open_images(folder, choices=cifar10_s.Choices(resize=resize))
    for _ in images.map_batches(lambda rows, pixels: None):
        pass


def on_all_cores(files: list[Path], decoder: Any) -> None:
    """Decode files on all cores, keeping nothing."""
    parts = chunks(len(files), SHARE)
    shares = [[file for part in parts[core :: cores()] for file in files[part]] for core in range(cores())]
    for _ in thread_map(lambda share: [decoder(file) for file in share] and None, shares):
        pass


def decode(file: Path) -> NDArray[np.uint8]:
    """Decode a file by the fastest library."""
    data = file.read_bytes()
    decoded = imagecodecs.png_decode(data) if file.suffix == ".png" else imagecodecs.jpeg_decode(data)
    return np.asarray(decoded)


def decode_and_resize(file: Path) -> NDArray[np.uint8]:
    """Decode, scale and crop as Pillow alone does."""
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        scale = RESIZED / min(image.size)
        scaled = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = ((length - RESIZED) // 2 for length in scaled.size)
    return np.asarray(scaled.crop((left, top, left + RESIZED, top + RESIZED)))
