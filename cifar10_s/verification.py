"""Verify: reopen a release and check that it is what it says. Nothing here comes from `package`."""

import hashlib
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifar10_s import separability
from cifar10_s.checksums import MANIFEST, SUMS, compare, hash_folder, list_files, read_sums
from cifar10_s.compose import find_shortcut
from cifar10_s.croissant import CROISSANT
from cifar10_s.declarations import (
    CARD,
    check_card,
    check_croissant,
    check_manifest,
    check_noise,
    check_records,
    searched_objectives,
)
from cifar10_s.errors import VerificationError
from cifar10_s.findings import Findings
from cifar10_s.images import Images, PixelDigest, Rows, numbers
from cifar10_s.memory import Memory, memory_limit
from cifar10_s.parallel import progress_bar
from cifar10_s.perceptibility import Perceptibility, measure_parts, per_image
from cifar10_s.recipes import RECIPES, Recipe, recorded
from cifar10_s.records import RELEASED
from cifar10_s.shards import StoredSplit
from cifar10_s.shortcut import Shortcut
from cifar10_s.sources import compare_with_cifar10

MAX_FIGURE_PIXELS = 1 << 25
MARK_BYTES = 16


@dataclass(frozen=True)
class VerifiedRelease:
    """A release that has just verified; `verify` makes it.

    Attributes
    ----------
    folder
        Where it is.
    manifest
        Its ``manifest.json``.
    files
        The SHA-256 of every file, by path.
    images
        How many images were decoded and compared.
    """

    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, str]
    images: int


def verify(folder: str | Path, *, memory: Memory = None) -> VerifiedRelease:
    """Check every file and every image of a release; what is missing is an error.

    Parameters
    ----------
    folder
        Where it is.
    memory
        How much to use at most (see `memory.memory_limit`): clean images that do not fit are read again for each
        configuration.

    Raises
    ------
    VerificationError
        Naming every file that fails, and how.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VerificationError([f"{folder}: is not a folder: expected a release that `cifar10-s build` wrote"])
    verification = _Verification(folder, memory_limit(memory))
    verification.run(
        (verification.check_sums,),
        (verification.check_layout,),
        (verification.check_figures, verification.check_images, verification.check_croissant),
        (verification.check_card,),
    )
    return VerifiedRelease(folder, verification.manifest, verification.files, verification.images)


def check_listing(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """Check a release by what it says of itself and the names of its files, of which it may have no more.

    Parameters
    ----------
    folder
        Where ``manifest.json`` and ``croissant.json`` are.
    files
        The SHA-256 of every file that the release has, by path.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    VerificationError
        Naming every file that is missing or too many, and what is wrong with these two.
    """
    verification = _Verification(folder, memory=0)
    verification.files = dict(files)
    verification.run((verification.check_layout,), (verification.check_croissant,))
    return verification.manifest


class _Verification(Findings):
    """One run over a release; its steps add to the findings."""

    def __init__(self, folder: Path, memory: int) -> None:
        super().__init__(folder)
        self.memory = memory
        self.files: dict[str, str] = {}
        self.manifest: dict[str, Any] = {}
        self.stored: dict[str, StoredSplit] = {}
        self.images = 0
        self.marks: dict[str, NDArray[np.uint8]] = {}

    def run(self, *stages: Sequence[Callable[[], None]]) -> None:
        """Do the checks; each stage rests on those before it.

        Raises
        ------
        VerificationError
            Naming all that a stage has found.
        """
        for checks in stages:
            for check in checks:
                check()
            if self.failures:
                raise VerificationError(self.failures)

    def check_sums(self) -> None:
        """Compare every file with SHA256SUMS."""
        if not (self.folder / SUMS).is_file():
            self.fail(SUMS, f"is missing from {self.folder}: expected a release that `cifar10-s build` wrote")
            return
        for name in list_files(self.folder)[1]:
            self.fail(name, "is no plain file")
        self.files = hash_folder(self.folder)
        with self.reading(SUMS):
            self.failures += compare(read_sums(self.folder), self.files)

    def check_layout(self) -> None:
        """Check that the manifest can be read, and that exactly the files are there that it calls for."""
        with self.reading(MANIFEST):
            self.manifest = self.read_json(MANIFEST)
            names, splits = list(self.manifest["configurations"]), list(self.manifest["splits"])
            check_manifest(self, self.manifest)
            shards = {split: self._find_shards(split) for split in [f"{name}/train" for name in names] + splits}
            expected = {CARD, CROISSANT, MANIFEST, *(file for found in shards.values() for file in found)}
            expected |= {f"recipes/{name}.json" for name in names} | {f"figures/{name}.png" for name in names}
            expected |= {f"figures/scores-{objective}.png" for objective in searched_objectives(names)}
            results = self.manifest["results"]
            expected |= {*results["figures"], *([RELEASED] if results["records"] else [])}
            for name in sorted(expected - self.files.keys()):
                self.fail(name, "is missing")
            for name in sorted(self.files.keys() - expected):
                self.fail(name, "is no part of a release")
            self.stored = {
                split: StoredSplit(
                    [self.folder / file for file in found],
                    tuple(self.manifest["shape"]),
                    tuple(self.manifest["classes"]),
                )
                for split, found in shards.items()
            }

    def _find_shards(self, split: str) -> list[str]:
        pattern = re.compile(rf"data/{re.escape(split)}-\d{{5}}-of-\d{{5}}\.parquet")
        found = sorted(file for file in self.files if pattern.fullmatch(file))
        expected = [f"data/{split}-{i:05d}-of-{len(found):05d}.parquet" for i in range(len(found))]
        if not found or found != expected:
            self.fail(f"data/{split}-*.parquet", f"expected shards 0 to n-1 of n, got {found}")
        return found

    def check_card(self) -> None:
        """Check what the card says to the Hub, to `datasets` and to a reader, and the records beneath it."""
        check_records(self, self.manifest)
        recipes = {name: self.read_json(f"recipes/{name}.json") for name in self.manifest["configurations"]}
        shortcuts = {name: recipe["shortcut"] for name, recipe in recipes.items() if recipe["shortcut"] is not None}
        check_card(self, self.manifest, self.stored, shortcuts)

    def check_croissant(self) -> None:
        """Check what the release says to machines."""
        check_croissant(self, self.manifest, self.files)

    def check_figures(self) -> None:
        """Check that every figure is a picture."""
        for name in self.files:
            if name.startswith("figures/"):
                with self.reading(name), _opened(self.folder / name) as image:
                    if image.width * image.height > MAX_FIGURE_PIXELS:
                        raise ValueError(f"{image.width}×{image.height} is too large for a figure")
                    image.load()

    def check_images(self) -> None:
        """Decode every image and compare it with what manifest and recipes say."""
        with self.reading(MANIFEST):
            names = ["clean/train", *self.manifest["splits"]]
            source = {name.split("/")[-1]: self.stored[name].stream().kept(self.memory) for name in names}
            clean = source["train"]
            self.images += sum(map(len, source.values()))
            self._check_source(source)
            # In the table's order, in which a method comes before its twin with pixels.
            names = [name for name in RECIPES if name in self.manifest["configurations"]]
            recipes, shortcuts = {name: RECIPES[name] for name in names}, dict[str, Shortcut | None]()
            for name in names:
                with self.reading(f"recipes/{name}.json"):
                    recipes[name], shortcuts[name] = self._check_recipe(name, clean)
            for name, recipe in recipes.items():
                with self.reading(MANIFEST):
                    self._check_configuration(recipe, clean, shortcuts.get(name), shortcuts.get(f"{name}-ops"))

    def _check_source(self, source: Mapping[str, Images]) -> None:
        """Check the clean splits, and that nothing is called CIFAR-10 that is not."""
        digests = {split: images.digest() for split, images in source.items()}
        self.expect(MANIFEST, "source: pixel digests", digests, self.manifest["source"]["pixels_sha256"])
        for split, entry in self.manifest["splits"].items():
            self.expect(f"data/{split}", "rows", entry["rows"], len(source[split]))
            self.expect(f"data/{split}", "pixel digest", entry["pixels_sha256"], digests[split])
        if self.manifest["source"]["is_cifar10"]:
            for split, images in source.items():
                failure = compare_with_cifar10(images, split)
                if failure is not None:
                    self.fail(MANIFEST, f"the {split} split is said to be CIFAR-10: {failure}")

    def _check_recipe(self, name: str, clean: Images) -> tuple[Recipe, Shortcut | None]:
        """Check that the recipe is one of ours, and the recorded shortcut what the search finds on the clean images."""
        file, seed = f"recipes/{name}.json", self.manifest["seed"]
        record = self.read_json(file)
        recipe = recorded(name, record["recipe"]["method"])
        check_noise(self, file, recipe.method)
        found = find_shortcut(recipe, clean, seed=seed, device="cpu", memory=self.memory)
        self.expect(file, "fields", ["recipe", "seed", "shortcut"], sorted(record))
        self.expect(file, "recipe", recipe.settings(), record["recipe"])
        self.expect(file, "seed", seed, record["seed"])
        self.expect(file, "shortcut", None if found is None else found.to_dict(), record["shortcut"])
        return recipe, None if record["shortcut"] is None else Shortcut.from_dict(record["shortcut"])

    def _check_configuration(
        self, recipe: Recipe, clean: Images, shortcut: Shortcut | None, twin: Shortcut | None
    ) -> None:
        """Check one configuration's rows, labels, pixels, digest and measures; ``twin`` is what its twin has on it."""
        name, entry = recipe.name, self.manifest["configurations"][recipe.name]
        for field in ("summary", "budget"):
            self.expect(MANIFEST, f"{field} of {name}", getattr(recipe, field), entry[field])
        where, stored = f"data/{name}/train", self.stored[f"{name}/train"]
        self.expect(where, "rows", entry["rows"], len(stored))
        self.expect(where, "rows", len(clean), len(stored))
        if len(clean) != len(stored):
            return
        for row in np.flatnonzero(stored.labels != clean.labels)[:1]:
            expected, got = clean.labels[row], stored.labels[row]
            self.fail_at(stored.name(row), f"expected label {expected}, as in data/clean, got {got}")
        digest = PixelDigest(clean.shape, stored.labels)
        parts: list[_Examined] = []
        chosen, kept = separability.choose(clean), []
        with progress_bar(f"verify {name}", len(stored)) as bar:
            for rows, pixels, examined in stored.stream().map(partial(_examine, recipe, clean, shortcut, twin)):
                digest.update(pixels)
                parts.append(examined)
                kept.append(pixels[chosen[rows]])
                self.images += len(pixels)
                bar.update(len(pixels))
        self._fail_images(
            stored, [row for part in parts for row in part.wrong], "not what the recipe makes of the clean ones"
        )
        self._fail_images(
            stored, [row for part in parts for row in part.beyond], "further from the clean ones than the method goes"
        )
        self._check_twin(recipe, stored, np.concatenate([part.marks for part in parts]))
        self.expect(where, "pixel digest", entry["pixels_sha256"], digest.hexdigest())
        perceptibility = reduce(add, (part.perceptibility for part in parts), Perceptibility())
        self._check_perceptibility(name, entry["perceptibility"], perceptibility.to_dict())
        separable = separability.measure(clean.read(np.flatnonzero(chosen)), np.concatenate(kept), clean.labels[chosen])
        self._check_separability(name, entry["separability"], separable)

    def _fail_images(self, stored: StoredSplit, rows: Sequence[int], what: str) -> None:
        """Fail for some rows, if there are any; the first is named."""
        if len(rows):
            images = "1 image is" if len(rows) == 1 else f"this and {len(rows) - 1} more images are"
            self.fail_at(stored.name(rows[0]), f"{images} {what}")

    def _check_twin(self, recipe: Recipe, stored: StoredSplit, marks: NDArray[np.uint8]) -> None:
        """Check that a method's images with pixels are those without, but for the pixels."""
        self.marks[recipe.name] = marks
        base = recipe.name.removesuffix("-ops")
        if base != recipe.name and base in self.marks:
            rows = np.flatnonzero((self.marks.pop(base) != marks).any(1)).tolist()
            self._fail_images(stored, rows, f"not that of {base} with the recipe's pixels")

    def _check_perceptibility(self, name: str, recorded: Mapping[str, Any], measured: Mapping[str, Any]) -> None:
        """Compare measures; sums of floats may differ by their order in the last recorded digit."""
        same = recorded.keys() == measured.keys() and all(
            type(recorded[key]) is type(value) and (value is None or math.isclose(recorded[key], value, abs_tol=2e-6))
            for key, value in measured.items()
        )
        if not same:
            self.fail(MANIFEST, f"perceptibility of {name}: expected {dict(measured)}, got {dict(recorded)}")

    def _check_separability(
        self, name: str, recorded: Mapping[str, Any] | None, measured: separability.Separability | None
    ) -> None:
        """Compare accuracies as closely as machines agree on them, and the rest exactly."""
        expected = None if measured is None else measured.to_dict()
        if measured is not None and recorded and measured.agrees(recorded.get("accuracy")):
            expected = {**measured.to_dict(), "accuracy": recorded["accuracy"]}
        self.expect(MANIFEST, f"separability of {name}", expected, recorded)


def _opened(figure: Path) -> Image.Image:
    """Open a picture, of which no more than the header is read; its size is for the caller to judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(figure, formats=("PNG",))


@dataclass(frozen=True)
class _Examined:
    """What was found in some images: their measures; rows that are wrong, or too far from the clean ones; and marks.

    Of a method's images, a mark is the hash of what its twin must have: (rows, 16) uint8; of others there are none.
    """

    perceptibility: Perceptibility
    wrong: list[int]
    beyond: list[int]
    marks: NDArray[np.uint8]


def _examine(
    recipe: Recipe,
    clean: Images,
    shortcut: Shortcut | None,
    twin: Shortcut | None,
    rows: Rows,
    pixels: NDArray[np.uint8],
) -> tuple[Rows, NDArray[np.uint8], _Examined]:
    """Compare consecutive images with the clean ones: all but a method's own perturbation is known exactly."""
    before, labels, index = clean.read(rows), clean.labels[rows], numbers(rows)
    without = before if recipe.method is None else pixels
    wrong = (pixels != _stamped(without, labels, shortcut)).any((1, 2, 3))
    beyond = np.zeros(len(pixels), bool)
    if recipe.method is not None:
        bound, shape = recipe.method.bound(before.shape[1:]), before.shape[1:]
        _, l2, linf = per_image(before, _unstamped(pixels, before, labels, shortcut))
        beyond = (l2 > bound.l2_rounded(shape) + 1e-9) | (linf > bound.linf)
    marks = _marks(pixels[:0] if recipe.method is None else _stamped(pixels, labels, twin))
    measured = measure_parts(before, pixels)
    return rows, pixels, _Examined(measured, index[wrong].tolist(), index[beyond].tolist(), marks)


def _marks(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash each image."""
    hashes = [hashlib.blake2b(image.data, digest_size=MARK_BYTES).digest() for image in np.ascontiguousarray(pixels)]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, MARK_BYTES)


def _stamped(pixels: NDArray[np.uint8], labels: NDArray[np.int64], shortcut: Shortcut | None) -> NDArray[np.uint8]:
    """Give images with the recipe's pixels on them."""
    expected = pixels.copy()
    for at, color in _places(labels, shortcut):
        expected[at] = color
    return expected


def _unstamped(
    pixels: NDArray[np.uint8], clean: NDArray[np.uint8], labels: NDArray[np.int64], shortcut: Shortcut | None
) -> NDArray[np.uint8]:
    """Give images with the clean ones' pixels where the recipe's were."""
    restored = pixels.copy()
    for at, _ in _places(labels, shortcut):
        restored[at] = clean[at]
    return restored


def _places(labels: NDArray[np.int64], shortcut: Shortcut | None) -> Iterator[tuple[Any, NDArray[np.uint8]]]:
    """Give where each pixel of the recipe is, as an index into the images, and its colour."""
    if shortcut is not None:
        for label in np.unique(labels):
            for (row, column), color in zip(shortcut.positions[label], shortcut.colors[label], strict=True):
                yield (labels == label, row, column), color
