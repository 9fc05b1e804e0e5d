"""Measure speed as ratios to yardsticks in the same run; prints a table and saves it under results/.

python -m speed [--source SOURCE] [--only PART] [--quick]
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

import cifar10_s
from cifar10_s.builder.dataset_builder import OnePixelShortcutBuilder
from cifar10_s.common.machine import cores, processor
from cifar10_s.common.options import Options
from cifar10_s.data.codec import encode
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.data.sources.splits import load_splits
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.registry import METHODS
from cifar10_s.nn.runtime import Runtime
from cifar10_s.release.recipes import CONFIGURATIONS
from speed import limits
from speed.commands import measure_commands
from speed.kernels import measure_kernels
from speed.learning import measure_compiled, measure_released, measure_step, measure_strategies, measure_training
from speed.own_images import measure_own
from speed.plain import plain_parquet, plain_search
from speed.reading import measure_reading
from speed.saving import report
from speed.scale import measure_scale
from speed.searching import contents
from speed.synthetic import synthetic
from speed.timing import extra_memory, median, once, row

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("speed", "scale", "commands", "own", "reading")
# These make their own images.
GENERATED = {"own": measure_own, "reading": measure_reading}


def main() -> None:
    """Run every measurement of a part, or of all, and save the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="measure on this source's training images instead of synthetic ones")
    parser.add_argument("--only", choices=PARTS, help="measure one part")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images, not saved: to see that it runs")
    options = parser.parse_args()
    quick = options.quick
    datasets.disable_progress_bars()
    asked = PARTS if options.only is None else (options.only,)
    for part in GENERATED.keys() & set(asked):
        with tempfile.TemporaryDirectory() as scratch:
            report(part, GENERATED[part](Path(scratch), quick=quick), "generated, seed 0", save=not quick)
    if options.only in GENERATED:
        return
    images = synthetic(5_000 if quick else 50_000) if options.source is None else cifar10_s.load_images(options.source)
    data = "synthetic, seed 0" if options.source is None else images.provenance.title
    size = "×".join(map(str, images.pixels.shape[1:]))
    print(f"\n{len(images)} images of {size} in memory ({data}), {cores()} cores, {processor()}\n")
    if "speed" in asked:
        report("speed", measure_speed(images, options.source, quick=quick), data, save=not quick)
    if "scale" in asked:
        with tempfile.TemporaryDirectory() as scratch:
            rows, growth = measure_scale(images, Path(scratch), quick=quick)
        report("scale", rows, data, save=not quick, growth=growth)
    if "commands" in asked:
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(options.source or Path(scratch, "source"))
            if options.source is None:
                write_png_source(images, source)
            report("commands", measure_commands(source, Path(scratch), quick=quick), data, save=not quick)


def measure_speed(images: LabeledImages, source: str | None, *, quick: bool) -> list[dict[str, Any]]:
    """Measure every part of the package on images that fit into memory."""
    runtime = Runtime.on(Options.resolve().device)
    return [
        *([] if source is None else measure_source(source)),
        *measure_search(images),
        *measure_kernels(quick=quick),
        *measure_growth([1_000, 5_000] if quick else [10_000, 50_000, 500_000]),
        *measure_methods(images),
        *measure_step(images, runtime),
        *measure_training(images, runtime),
        *measure_strategies(images),
        *measure_compiled(images, runtime),
        *measure_files(images),
    ]


def measure_source(source: str) -> list[dict[str, Any]]:
    """Time reading and decoding a source, with what the library caches of it already there."""
    splits = load_splits(source)
    seconds = median(lambda: load_splits(source), repeats=3)
    files = [file for path in sorted(Path(source).rglob("*.parquet")) for file in contents(path)]
    limit = limits.decoding(files) if files else None
    return [row(f"load the source, {sum(map(len, splits.values())):,} images", seconds, "s", "6 or less", limit)]


def measure_search(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare the search with the plain loop and with one pass that only sums the bytes."""
    words = images.pixels.reshape(-1).view(np.uint64)
    cifar10_s.search(images, device="cpu")  # compiles the kernel
    # Each time on images that nothing is remembered of.
    extra = extra_memory(lambda: cifar10_s.search(replace(images), device="cpu"))
    ours = median(lambda: cifar10_s.search(replace(images), device="cpu"))
    one_pass = median(lambda: words.sum())
    plain = once(lambda: plain_search(images.pixels, images.labels))
    return [
        row("search", 1e3 * ours, "ms", limit=1e3 * limits.reading(images.pixels)),
        row("one pass that sums the bytes as 64-bit words", 1e3 * one_pass, "ms"),
        row("plain loop over the candidates", plain, "s"),
        row("search: times as fast as the plain loop", plain / ours, "x", "300 or more"),
        row("search: time, in passes over the data", ours / one_pass, "x", "6 or less"),
        row("search: extra memory at the peak", extra / 2**20, "MiB", "under 64"),
    ]


def measure_growth(counts: list[int]) -> list[dict[str, Any]]:
    """Show that the cost is linear in the number of images."""
    rows = []
    for count in counts:
        images = synthetic(count)
        seconds = median(lambda: cifar10_s.search(replace(images), device="cpu"))  # noqa: B023
        limit = 1e9 * limits.reading(images.pixels) / count
        rows.append(row(f"search, {count:,} images: time per image", 1e9 * seconds / count, "ns", limit=limit))
    return rows


def measure_methods(images: LabeledImages) -> list[dict[str, Any]]:
    """Time each model-free method on all images."""
    limit, rows, options = limits.copying(images.pixels), [], Options.resolve(device="cpu")
    for name, method in METHODS.items():
        if not isinstance(method, Learned):
            seconds = once(lambda: method.perturb(images, options))  # noqa: B023
            rows.append(row(f"{name}: perturb", seconds, "s", "10 or less", limit))
    return rows


def measure_files(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare building a configuration with the plain way; time decoding and verifying."""
    names, count = list(images.class_names), len(images)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        poisoned = cifar10_s.search(images, device="cpu").stamp(images)
        plain = once(lambda: plain_parquet(poisoned.pixels, poisoned.labels, names, folder / "plain.parquet"))
        plain_bytes = (folder / "plain.parquet").stat().st_size

        def build() -> None:
            builder = OnePixelShortcutBuilder(
                recipe=CONFIGURATIONS["ops"],
                splits={"train": images},
                options=Options.resolve(device="cpu"),
                cache_dir=str(folder / "cache"),
            )
            builder.download_and_prepare(str(folder / "ours"), file_format="parquet")

        ours = once(build)
        our_bytes = sum(file.stat().st_size for file in (folder / "ours").glob("*.parquet"))
        files = [file for part in images.map_batches(lambda rows, pixels: encode(pixels)) for file in part]
        stream = stream_files(files, images.labels, images.class_names, images.provenance)
        decode, codec, coding = median(stream.load, repeats=3), limits.decoding(files), limits.encoding(images)
        release = folder / "release"
        write_png_source(images, folder / "source")
        cifar10_s.build(folder / "source", release, configurations=["ops"], device="cpu")
        verified = cifar10_s.verify(release)
        verify = median(lambda: cifar10_s.verify(release), repeats=3)
        reading = measure_released(release, folder / "cache", codec)
    return [
        row("build a configuration, search and stamp included", count / ours, "images/s", limit=count / coding),
        row("the plain way with `datasets` alone", count / plain, "images/s"),
        row("build: times as fast as the plain way", plain / ours, "x", "2.5 or more"),
        row("build: bytes per image, relative to the plain way", our_bytes / plain_bytes, "x", "1 or less"),
        row("decode 60,000 PNG images", 60_000 * decode / count, "s", "6 or less", 60_000 * codec / count),
        row("verify", verified.images / verify, "images/s", "15,000 or more", count / codec),
        *reading,
    ]


def write_png_source(images: LabeledImages, folder: Path) -> None:
    """Write a folder of Parquet to build from."""
    folder.mkdir()
    plain_parquet(images.pixels, images.labels, list(images.class_names), folder / "train-00000-of-00001.parquet")


if __name__ == "__main__":
    main()
