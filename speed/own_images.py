"""What a user's own images cost: a generated folder of large JPEGs, searched and built here and on Ray."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import cifar10_s
from cifar10_s.common.threads import thread_map
from cifar10_s.data.cluster import ENGINES
from speed import limits
from speed.scale import ALONE
from speed.timing import once, peak, row

IMAGES, CLASSES, SIDE = 20_000, 100, 224


def measure_own(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of the table; both ways must give the same files."""
    count = IMAGES // 50 if quick else IMAGES
    files = list(thread_map(lambda number: draw(folder / "own", number), range(count)))
    codec = limits.decoding([file.read_bytes() for file in files])
    own = folder / "own"
    options: dict[str, Any] = {"name": "own-s", "configurations": ["ops"], "device": "cpu"}
    builds, seconds = [], {}
    for engine in ENGINES:
        stream = cifar10_s.open_images(own, engine=engine)
        seconds["search", engine] = once(lambda: cifar10_s.search(stream, device="cpu"))  # noqa: B023
        start = time.perf_counter()
        builds.append(cifar10_s.build(own, folder / engine, **options, engine=engine))
        seconds["build", engine] = time.perf_counter() - start
    if builds[0].files != builds[1].files:
        raise SystemExit(
            "own images: expected the same files from here and from Ray, got others: compare their SHA256SUMS"
        )
    memory = peak(ALONE, own)
    what = f"{count:,} JPEGs of {SIDE}×{SIDE}×3 in {CLASSES} classes"
    return [
        row(f"search of {what}", seconds["search", "local"], "s", limit=codec),
        row("the same: resident memory at its peak", memory / 2**20, "MiB"),
        row("the same on Ray on this machine", seconds["search", "ray"], "s", limit=codec),
        row(f"build and verify `ops` of {what}", seconds["build", "local"], "s"),
        row("the same on Ray on this machine", seconds["build", "ray"], "s"),
        row("on Ray: times the plain run", seconds["build", "ray"] / seconds["build", "local"], "x"),
    ]


def draw(folder: Path, number: int, size: tuple[int, int] = (SIDE, SIDE), kind: str = "jpg") -> Path:
    """Write one image, smooth with a little noise, as compressible as photographs, into the folder of its class."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(16, 240, (12, 12, 3), dtype=np.uint8))
    smooth: NDArray[np.uint8] = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
    file = folder / f"class-{number % CLASSES:03}" / f"{number:05}.{kind}"
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = random.integers(-8, 9, smooth.shape, dtype=np.int8)
    Image.fromarray(np.clip(smooth + noise.astype(np.int16), 0, 255).astype(np.uint8)).save(file, quality=90)
    return file
