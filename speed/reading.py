"""What reading folders of image files costs, against decoding and resizing by the libraries alone."""

import io
import subprocess
import sys
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
from speed.timing import least, row

# Files of each kind, and how many a thread of the libraries takes at a time.
SMALL, LARGE, SHARE = 60_000, 20_000, 100
CLASSES, SIDE, RESIZED = 100, 32, 224
# Mixed sizes about that of ImageNet's images, (height, width).
SIZES = ((375, 500), (500, 375), (333, 500), (500, 334), (400, 500), (375, 600), (300, 400), (480, 640))
# Read in a process of its own, which prints its memory at the peak.
RESIDENT = """
import sys, cifar10_s
images = cifar10_s.open_images(sys.argv[1], choices=cifar10_s.Choices(resize=int(sys.argv[2])))
for _ in images.map_batches(lambda rows, pixels: None): pass
lines = open("/proc/self/status").read().splitlines()
print(1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
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
    most, fewer = resident(folder / "large"), resident(half)
    return [
        *rows,
        row("the same: resident memory at its peak", most / 2**20, "MiB"),
        row("the same: times that of half as many", most / fewer, "x", "1.1 or less"),
    ]


def write(folder: Path, count: int, sizes: Sequence[tuple[int, int]], kind: str) -> list[Path]:
    """Write smooth images with a little noise, as compressible as photographs, and return their paths."""
    return list(thread_map(lambda number: _write(folder, number, sizes[number % len(sizes)], kind), range(count)))


def _write(folder: Path, number: int, size: tuple[int, int], kind: str) -> Path:
    random = np.random.default_rng(number)
    height, width = size
    coarse = Image.fromarray(random.integers(16, 240, (12, 12, 3), dtype=np.uint8))
    smooth: NDArray[np.uint8] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    noise = random.integers(-8, 9, smooth.shape, dtype=np.int8).astype(np.int16)
    file = folder / f"class-{number % CLASSES:03}" / f"{number:05}.{kind}"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(file, quality=90)
    return file


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


def resident(folder: Path) -> int:
    """Return the resident memory, in bytes, that reading a folder takes at its peak."""
    command = [sys.executable, "-c", RESIDENT, str(folder), str(RESIZED)]
    return int(subprocess.check_output(command))  # noqa: S603 (our own text)
