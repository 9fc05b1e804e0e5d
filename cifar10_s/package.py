"""Package: clean images and recipes → the files of a release."""

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s import card, croissant, figures, perceptibility, separability
from cifar10_s.benchmark import Report
from cifar10_s.builder import ROW_GROUP_BYTES, OnePixelShortcutBuilder
from cifar10_s.checksums import MANIFEST, hash_folder, write_sums
from cifar10_s.compose import Composition
from cifar10_s.device import resolve_device
from cifar10_s.images import Images, PixelDigest, Rows
from cifar10_s.measurements import write_measurements
from cifar10_s.recipes import DATASET_DATE, DATASET_VERSION, DEFAULTS, Recipe
from cifar10_s.search import OBJECTIVES, score_maps
from cifar10_s.shards import StoredSplit

LIBRARIES = ("datasets", "imagecodecs", "numba", "numpy", "pillow", "pyarrow", "scikit-learn", "torch")


def describe(splits: Mapping[str, Images], recipes: Sequence[Recipe], *, name: str, seed: int) -> dict[str, Any]:
    """Give what is known of a release before it is made: the first part of its manifest."""
    train = splits["train"]
    source = train.provenance
    names = [recipe.name for recipe in recipes]
    return {
        "format": 1,
        "name": name,
        "version": DATASET_VERSION,
        "date": DATASET_DATE,
        "title": source.release_title,
        "source": {
            **asdict(source),
            "title": source.title,
            "is_cifar10": source.is_cifar10,
            "pixels_sha256": {split: images.digest() for split, images in splits.items()},
        },
        "classes": list(train.class_names),
        "shape": list(train.shape[1:]),
        "seed": seed,
        "default": next(default for default in DEFAULTS if default in names),
        "objectives": [name for name in OBJECTIVES if any(recipe.objective == name for recipe in recipes)],
    }


def write_release(
    folder: Path,
    splits: Mapping[str, Images],
    recipes: Sequence[Recipe],
    *,
    name: str,
    seed: int,
    device: str,
    memory: int,
    max_shard_bytes: int,
    report: Report | None = None,
) -> None:
    """Write a release into an empty folder.

    Parameters
    ----------
    folder
        Where to.
    splits
        Clean images: ``train``, and ``test`` where there is one.
    recipes
        The configurations, ``clean`` among them.
    name
        The dataset's name.
    seed, device, memory
        See `compose.compose`.
    max_shard_bytes
        How large a Parquet shard may be.
    report
        What was measured; of it, the release shows what is of its own images.

    Raises
    ------
    UsageError
        Where there is something to show, and matplotlib is not installed.
    """
    manifest = {
        **describe(splits, recipes, name=name, seed=seed),
        "device": resolve_device(device),
        "libraries": _versions(),
        "splits": {split: _facts(images) for split, images in splits.items() if split != "train"},
        "configurations": {},
    }
    sizes: dict[str, dict[str, card.SplitSize]] = {}
    shortcuts: dict[str, Any] = {}
    (folder / "recipes").mkdir()
    (folder / "figures").mkdir()
    for recipe in recipes:
        composition, sizes[recipe.name] = _write_configuration(
            folder, splits, recipe, seed=seed, device=device, memory=memory, max_shard_bytes=max_shard_bytes
        )
        manifest["configurations"][recipe.name] = _entry(recipe, splits["train"], composition.images)
        if composition.shortcut is not None:
            shortcuts[recipe.name] = composition.shortcut.to_dict()
        _write_json(folder / f"recipes/{recipe.name}.json", recipe_record(composition, seed))
        _draw(folder / "figures", splits["train"], composition, memory)
    # The test split was written once, with `clean`; every configuration's card entry counts it.
    for split in sizes["clean"].keys() - {"train"}:
        for of_configuration in sizes.values():
            of_configuration[split] = sizes["clean"][split]
    manifest["results"], measurements = _write_results(folder, manifest, report)
    _write_json(folder / MANIFEST, manifest)
    _write_json(folder / croissant.CROISSANT, croissant.describe(manifest, hash_folder(folder)))
    (folder / "README.md").write_text(card.render(manifest, sizes, shortcuts, measurements), encoding="utf-8")
    write_sums(folder)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{library: importlib.metadata.version(library) for library in LIBRARIES},
    }


def _write_results(
    folder: Path, manifest: Mapping[str, Any], report: Report | None
) -> tuple[dict[str, Any], list[card.Measurement]]:
    """Write what was measured on these images; gives what manifest and card say of it."""
    if report is not None:
        report = of_release(report, manifest)
    if report is None or not report.records:
        return {"records": 0, "figures": []}, []
    measurements = write_measurements(folder, report)
    figures = [path for measurement in measurements for path in measurement.figures]
    return {"records": len(report.records), "figures": figures}, measurements


def of_release(report: Report, manifest: Mapping[str, Any]) -> Report:
    """Keep of a report what was measured on the images of a manifest."""
    pixels = {name: entry["pixels_sha256"] for name, entry in manifest["configurations"].items()}
    return report.on(pixels, manifest["splits"].get("test", {}).get("pixels_sha256"))


def recipe_record(composition: Composition, seed: int) -> dict[str, Any]:
    """Give what ``recipes/<configuration>.json`` says: what was done."""
    shortcut = composition.shortcut
    return {
        "recipe": composition.recipe.settings(),
        "seed": seed,
        "shortcut": None if shortcut is None else shortcut.to_dict(),
    }


def _facts(images: Images) -> dict[str, Any]:
    return {"rows": len(images), "pixels_sha256": images.digest()}


def _entry(recipe: Recipe, clean: Images, perturbed: Images) -> dict[str, Any]:
    """Give a configuration's entry: what it is, how visible its perturbations are, how well they tell the class."""
    separable = separability.measure_all(clean, perturbed)
    digest, measured = _survey(clean, perturbed)
    return {
        "summary": recipe.summary,
        "budget": recipe.budget,
        "rows": len(perturbed),
        "pixels_sha256": digest,
        "perceptibility": measured.to_dict(),
        "separability": None if separable is None else separable.to_dict(),
    }


def _survey(clean: Images, perturbed: Images) -> tuple[str, perceptibility.Perceptibility]:
    """Hash and measure perturbed images in one pass."""

    def measure(
        rows: Rows, before: NDArray[np.uint8], after: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], perceptibility.Perceptibility]:
        return after, perceptibility.measure_parts(before, after)

    digest, measured = PixelDigest(perturbed.shape, perturbed.labels), perceptibility.Perceptibility()
    for pixels, of_part in perturbed.map_beside(clean, measure, what="measure"):
        digest.update(pixels)
        measured += of_part
    return digest.hexdigest(), measured


def _write_configuration(
    folder: Path,
    splits: Mapping[str, Images],
    recipe: Recipe,
    *,
    seed: int,
    device: str,
    memory: int,
    max_shard_bytes: int,
) -> tuple[Composition, dict[str, card.SplitSize]]:
    """Write a configuration's Parquet files; the splits other than ``train`` only with ``clean``."""
    wanted = splits if recipe.name == "clean" else {"train": splits["train"]}
    scratch = folder / ".scratch"
    builder = OnePixelShortcutBuilder(
        recipe=recipe,
        splits=wanted,
        seed=seed,
        device=device,
        memory=memory,
        row_group_bytes=min(ROW_GROUP_BYTES, max_shard_bytes),
        cache_dir=str(scratch),
    )
    # Made before the library writes: what goes wrong in it then keeps its own error.
    composition = builder.composition
    builder.download_and_prepare(str(scratch / "out"), file_format="parquet", max_shard_size=max_shard_bytes)
    sizes = {}
    for split in wanted:
        target = folder / "data" / (recipe.name if split == "train" else "")
        target.mkdir(parents=True, exist_ok=True)
        shards = sorted((scratch / "out").glob(f"*-{split}*.parquet"))
        for number, shard in enumerate(shards):
            shard.rename(target / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
        files = sorted(target.glob(f"{split}-*.parquet"))
        stored = StoredSplit(files, wanted[split].shape[1:], wanted[split].class_names)
        file_bytes = sum(file.stat().st_size for file in files)
        sizes[split] = card.SplitSize(len(stored), stored.num_bytes, file_bytes)
    shutil.rmtree(scratch)
    return composition, sizes


def _draw(folder: Path, clean: Images, composition: Composition, memory: int) -> None:
    recipe, shortcut = composition.recipe, composition.shortcut
    figures.gallery(clean, composition.images, recipe.name, shortcut).save(folder / f"{recipe.name}.png")
    if shortcut is None or recipe.objective not in OBJECTIVES:
        return
    # One map an objective: that of its first recipe, which has the fewest pixels.
    target = folder / f"scores-{recipe.objective}.png"
    if not target.exists():
        maps = score_maps(clean, objective=recipe.objective, device="cpu", memory=memory, classes=figures.MAX_CLASSES)
        figures.score_map(maps, shortcut).save(target)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
