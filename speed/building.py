"""How long a user waits for building and verifying, beside encoding and decoding the same images once."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cifar10_s
from cifar10_s.common.options import Options
from cifar10_s.common.threads import thread_map
from cifar10_s.data.images import LabeledImages
from cifar10_s.methods.registry import METHODS
from cifar10_s.release.layout import CLEAN, TRAIN, stored_shards
from cifar10_s.release.shards import StoredSplit
from speed import limits
from speed.own_images import CLASSES, SIDE, draw
from speed.searching import contents
from speed.timing import command, once, row, within

# What is made without training a network, and the images of each class if a tenth is enough.
CONFIGURATIONS = (
    "ops", "ops-2", "ops-std", "random-pixel", "lsp", "lsp-ops", "ar", "ar-ops", "cuda", "cuda-ops",
)  # fmt: skip
QUICK_EACH = 500
OWN, OWN_QUICK = 4_000, 400


def measure_building(source: Path, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of commands that write and verify a release."""
    return [*release_rows(source, folder, quick), *own_rows(folder, quick)]


def release_rows(source: Path, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of a release of all configurations that need no training."""
    release, limit = folder / "release", ("--limit", str(QUICK_EACH)) if quick else ()
    chosen = [option for name in CONFIGURATIONS for option in ("-c", name)]
    build = partial(command, "build", "--source", source, "--output", release, "--device", "cpu", *limit, *chosen)
    seconds = once(build)
    images = training(release, CLEAN)
    drawing = once(lambda: METHODS["ar"].drawn(images, Options.resolve(device="cpu")))
    verify = once(partial(command, "verify", release))
    encoding, decoding = codec(release, (CLEAN, *CONFIGURATIONS))
    what = f"of {1 + len(CONFIGURATIONS)} configurations of {len(images):,} images"
    return [
        within(f"`build` {what}, verified, without drawing AR's processes", seconds - drawing, encoding + decoding, 2),
        row("the same: drawing AR's processes", drawing, "s"),
        within(f"`verify` {what}", verify, decoding, 1.5),
    ]


def own_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of a folder of large JPEGs, built here and on Ray."""
    count, own, release = OWN_QUICK if quick else OWN, folder / "own", folder / "own-s"
    files = list(thread_map(lambda number: draw(own, number), range(count)))
    build = ("build", "--source", own, "--name", "own-s", "-c", "ops", "--device", "cpu")
    here = once(partial(command, *build, "--output", release))
    on_ray = once(partial(command, *build, "--output", folder / "ray", "--engine", "ray"))
    reading = limits.decoding([file.read_bytes() for file in files])
    encoding, decoding = codec(release, (CLEAN, "ops"))
    what = f"of {count:,} JPEGs of {SIDE}×{SIDE}×3 in {CLASSES} classes"
    return [
        within(f"`build` of `ops` {what}, verified", here, reading + encoding + decoding, 1.5),
        within("the same on Ray on this machine, beside the plain run", on_ray, here, 1.15),
    ]


def codec(release: Path, configurations: Sequence[str]) -> tuple[float, float]:
    """Return the seconds that encoding and decoding the training images of a release takes on all cores."""
    encoding, decoding = 0.0, 0.0
    for name in configurations:
        shards = stored_shards(release, name, TRAIN)
        decoding += limits.decoding([file for shard in shards for file in contents(shard)])
        encoding += limits.encoding(training(release, name))
    return encoding, decoding


def training(release: Path, configuration: str) -> LabeledImages:
    """Return the training images of a configuration, without the cache of `Release`."""
    opened = cifar10_s.Release(release)
    shards = stored_shards(release, configuration, TRAIN)
    return StoredSplit(shards, opened.shape, opened.class_names, opened.manifest.column_names).stream().load()
