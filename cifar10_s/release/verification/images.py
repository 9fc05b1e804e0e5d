"""Check every image of a release against its manifest and recipes."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.progress import progress_bar, step
from cifar10_s.data.cifar10 import compare_with_cifar10
from cifar10_s.data.images import Images, LabeledImages, Rows, Transform, row_numbers, values_sha256
from cifar10_s.methods.base import Method
from cifar10_s.release.compose import drawn, find_shortcut
from cifar10_s.release.layout import CLEAN, DATA, MANIFEST, TRAIN, recipe_path, split_path
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.metrics.perceptibility import Visibility, per_image
from cifar10_s.release.metrics.separability import Separability
from cifar10_s.release.metrics.survey import Survey, Surveyed, Surveyor
from cifar10_s.release.recipe_record import RecipeRecord, read_recipe
from cifar10_s.release.recipe_table import recipes_in
from cifar10_s.release.recipes import Recipe
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.metadata import check_noise
from cifar10_s.shortcut.shortcut import Shortcut

MARK_BYTES = 16


class ImageChecks:
    """The checks of a release's images.

    Parameters
    ----------
    failures
        Collects the failures found; it knows the release's folder.
    manifest
        The release's manifest.
    stored
        The files of each split, by `layout.split_path`.
    options
        The device of the search, and the memory to use at most: clean images that do not fit are read again for each
        configuration. The seed is that of the manifest.
    """

    def __init__(
        self, failures: Failures, manifest: Manifest, stored: Mapping[str, StoredSplit], options: Options
    ) -> None:
        self.failures, self.manifest, self.stored, self.options = failures, manifest, stored, options
        self.images = 0
        self.marks: dict[str, NDArray[np.uint8]] = {}
        self.redone: dict[Method, Transform | None] = {}

    def run(self) -> int:
        """Run all checks, and return the number of images that were decoded and compared."""
        with self.failures.reading(MANIFEST):
            source = {split: self._open(CLEAN, split) for split in (TRAIN, *self.manifest.splits)}
            self.images += sum(map(len, source.values()))
            self._check_source(source)
            self._check_configurations(source[TRAIN])
        return self.images

    def _open(self, configuration: str, split: str) -> Images:
        return self.stored[split_path(configuration, split)].stream().load_if_fits(self.options.memory)

    def _check_source(self, source: Mapping[str, Images]) -> None:
        """Check the clean splits, and that they are CIFAR-10 if the release says so."""
        digests = {split: images.digest() for split, images in source.items()}
        self.failures.expect(MANIFEST, "source: pixel digests", digests, dict(self.manifest.source.pixels_sha256))
        for split, entry in self.manifest.splits.items():
            where = split_path(CLEAN, split)
            self.failures.expect(where, "rows", entry.rows, len(source[split]))
            self.failures.expect(where, "pixel digest", entry.pixels_sha256, digests[split])
            self._check_columns(self.stored[where], where, split)
        if self.manifest.source.is_cifar10:
            for split, images in source.items():
                failure = compare_with_cifar10(images, split)
                if failure is not None:
                    self.failures.add(MANIFEST, f"the {split} split is declared to be CIFAR-10, and is not: {failure}")

    def _check_columns(self, stored: StoredSplit, where: str, split: str) -> None:
        """Check the labels of other kinds."""
        for name, column in self.manifest.columns.items():
            expected = column.values_sha256.get(split)
            self.failures.expect(where, f"SHA-256 of {name}", expected, values_sha256(stored.values(name)))

    def _check_configurations(self, clean: Images) -> None:
        # In the order of the table, where a method comes before its twin with pixels.
        recipes = recipes_in(self.manifest)
        shortcuts = dict[str, Shortcut | None]()
        for name in recipes:
            with self.failures.reading(recipe_path(name)):
                recipes[name], shortcuts[name] = self._check_recipe(recipes[name], clean)
        twins = {name: dict[str, Shortcut | None]() for name in recipes}
        for name, recipe in recipes.items():
            if recipe.base in twins:
                twins[recipe.base][name] = shortcuts.get(name)
        # One core measures the separability of what has been read, while the others go on.
        with ThreadPoolExecutor(1) as executor:
            separable = dict[str, Future[Separability | None]]()
            for number, (name, recipe) in enumerate(recipes.items(), 1):
                with self.failures.reading(MANIFEST), step(number, len(recipes), name):
                    survey = self._check_configuration(recipe, clean, shortcuts.get(name), twins[name])
                    if survey is not None:
                        separable[name] = executor.submit(survey.separability)
            for name, measured in separable.items():
                self._check_separability(name, self.manifest.configurations[name].separability, measured.result())

    def _check_recipe(self, known: Recipe, clean: Images) -> tuple[Recipe, Shortcut | None]:
        """Check that the recipe is known, and that the search on the clean images finds the recorded shortcut."""
        name, seed = known.name, self.manifest.seed
        file = recipe_path(name)
        recorded = read_recipe((self.failures.folder / file).read_bytes())
        recipe = recorded.built(known, self.manifest.configurations[name].budget)
        check_noise(self.failures, file, recipe.method)
        options = replace(self.options, seed=seed)
        found = find_shortcut(recipe, clean, options)
        expected = RecipeRecord.of(recipe, seed, found, drawn(recipe, clean, options))
        self.failures.compare(file, expected.to_dict(), self.failures.read_json(file))
        return recipe, recorded.shortcut

    def _check_configuration(
        self, recipe: Recipe, clean: Images, shortcut: Shortcut | None, twins: Mapping[str, Shortcut | None]
    ) -> Survey | None:
        """Check one configuration's rows, labels, pixels, digest and perceptibility.

        Its separability, which takes one core a second, is for the caller to check, unless there is nothing to compare
        with. ``twins`` are the shortcuts that its twins in the release stamp on the same images, by the twins' names.
        """
        return self._check_pixels(recipe, clean, shortcut, twins) if self._check_rows(recipe, clean) else None

    def _check_rows(self, recipe: Recipe, clean: Images) -> bool:
        """Check a configuration's entry and labels, and return whether it has as many images as there are."""
        name, entry = recipe.name, self.manifest.configurations[recipe.name]
        for field in ("summary", "budget"):
            self.failures.expect(
                MANIFEST, f"configurations.{name}.{field}", getattr(recipe, field), getattr(entry, field)
            )
        where = split_path(name, TRAIN)
        stored = self.stored[where]
        self.failures.expect(where, "rows", entry.rows, len(stored))
        self.failures.expect(where, "rows", len(clean), len(stored))
        if len(clean) != len(stored):
            return False
        for row in np.flatnonzero(stored.labels != clean.labels)[:1]:
            expected, got = clean.labels[row], stored.labels[row]
            self.failures.add_at(stored.name(row), f"expected label {expected}, as in {DATA}/{CLEAN}, got {got}")
        self._check_columns(stored, where, TRAIN)
        return True

    def _check_pixels(
        self, recipe: Recipe, clean: Images, shortcut: Shortcut | None, twins: Mapping[str, Shortcut | None]
    ) -> Survey:
        """Compare a configuration's images with the clean ones, and check its digest and perceptibility."""
        name, entry = recipe.name, self.manifest.configurations[recipe.name]
        where = split_path(name, TRAIN)
        stored, parts = self.stored[where], list[_Examined]()
        survey = Survey(clean, stored.labels)
        examine = partial(_examine, survey.surveyor, recipe, self._redo(recipe, clean), clean, shortcut, twins)
        with progress_bar("verify", len(stored)) as bar:
            for surveyed, examined in (clean if name == CLEAN else stored.stream()).map_batches(examine):
                survey.add(surveyed)
                parts.append(examined)
                self.images += len(surveyed.pixels)
                bar.update(len(surveyed.pixels))
        self._fail_images(
            stored, [row for part in parts for row in part.wrong], "not what the recipe makes of the clean images"
        )
        self._fail_images(
            stored,
            [row for part in parts for row in part.beyond],
            "further from the clean images than the method's bound",
        )
        if recipe.base in self.manifest.configurations:
            self._check_twin(recipe, stored, np.concatenate([part.marks[name] for part in parts]))
        for twin in twins:
            self.marks[twin] = np.concatenate([part.marks[twin] for part in parts])
        self.failures.expect(where, "pixel digest", entry.pixels_sha256, survey.digest())
        self._check_visibility(name, entry.perceptibility, survey.perceptibility.summary())
        return survey

    def _redo(self, recipe: Recipe, clean: Images) -> Transform | None:
        """Return what the method does to the clean images, if the recipe has all that it drew.

        In memory, it is done once for all the method's recipes.
        """
        method = recipe.method
        if method is None or not method.draws:
            return None
        if method not in self.redone:
            change = method.transform(clean, replace(self.options, seed=self.manifest.seed))
            if change is not None and isinstance(clean, LabeledImages):
                change = partial(_read, clean.with_transform(change))
            self.redone[method] = change
        return self.redone[method]

    def _fail_images(self, stored: StoredSplit, rows: Sequence[int], what: str) -> None:
        """Add a failure for ``rows``, if there are any; it names the first."""
        if len(rows):
            images = "1 image is" if len(rows) == 1 else f"this and {len(rows) - 1} more images are"
            self.failures.add_at(stored.name(rows[0]), f"{images} {what}")

    def _check_twin(self, recipe: Recipe, stored: StoredSplit, marks: NDArray[np.uint8]) -> None:
        """Check that a method's images with pixels differ from those without in these pixels only."""
        if recipe.name in self.marks:
            rows = np.flatnonzero((self.marks.pop(recipe.name) != marks).any(1)).tolist()
            self._fail_images(stored, rows, f"not that of {recipe.base} with the recipe's pixels")

    def _check_visibility(self, name: str, recorded: Visibility, measured: Visibility) -> None:
        """Compare metrics; the order in which floats are summed may change the last recorded digit."""
        for field, expected in asdict(measured).items():
            got = getattr(recorded, field)
            if expected != got and (None in (expected, got) or not math.isclose(expected, got, abs_tol=2e-6)):
                self.failures.expect(MANIFEST, f"configurations.{name}.perceptibility.{field}", expected, got)

    def _check_separability(self, name: str, recorded: Separability | None, measured: Separability | None) -> None:
        """Compare accuracies up to cross-machine rounding, and everything else exactly."""
        if measured is not None and recorded is not None and measured.agrees(recorded.accuracy):
            measured = replace(measured, accuracy=recorded.accuracy)
        expected, got = (None if found is None else asdict(found) for found in (measured, recorded))
        self.failures.compare(MANIFEST, expected, got, f"configurations.{name}.separability")


@dataclass(frozen=True)
class _Examined:
    """The result of examining consecutive images.

    Attributes
    ----------
    wrong, beyond
        Rows that differ from what the recipe makes, and rows beyond the method's bound.
    marks
        (rows, 16) uint8: hashes of the images as each of its twins must have them, and as a twin has them, by the
        twin's name.
    """

    wrong: list[int]
    beyond: list[int]
    marks: dict[str, NDArray[np.uint8]]


def _examine(
    surveyor: Surveyor,
    recipe: Recipe,
    redo: Transform | None,
    clean: Images,
    shortcut: Shortcut | None,
    twins: Mapping[str, Shortcut | None],
    rows: Rows,
    pixels: NDArray[np.uint8],
) -> tuple[Surveyed, _Examined]:
    """Compare consecutive images with the clean ones; all but a method's own perturbation is known exactly.

    What ``redo`` makes of the clean images is known to a level: another machine may round the other way.
    """
    before, labels, index = clean.read(rows), clean.labels[rows], row_numbers(rows)
    without = before if recipe.method is None else pixels
    wrong = (pixels != _stamped(without, labels, shortcut)).any((1, 2, 3))
    if redo is not None:
        made = _stamped(redo(rows, before), labels, shortcut)
        wrong |= (np.abs(pixels.astype(np.int16) - made) > 1).any((1, 2, 3))
    beyond = np.zeros(len(pixels), bool)
    if recipe.method is not None:
        bound, shape = recipe.method.bound(before.shape[1:]), before.shape[1:]
        _, l2, linf = per_image(before, _unstamped(pixels, before, labels, shortcut))
        beyond = (l2 > bound.l2_rounded(shape) + 1e-9) | (linf > bound.linf)
    own = {} if recipe.base is None else {recipe.name: None}
    marks = {name: _marks(_stamped(pixels, labels, stamp)) for name, stamp in {**own, **twins}.items()}
    examined = _Examined(index[wrong].tolist(), index[beyond].tolist(), marks)
    return surveyor(rows, before, pixels), examined


def _read(images: Images, rows: Rows, before: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.read(rows)


def _marks(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a hash of each image, (N, 16) uint8."""
    hashes = [hashlib.blake2b(image.data, digest_size=MARK_BYTES).digest() for image in np.ascontiguousarray(pixels)]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, MARK_BYTES)


def _stamped(pixels: NDArray[np.uint8], labels: NDArray[np.int64], shortcut: Shortcut | None) -> NDArray[np.uint8]:
    """Return a copy of the images with the shortcut's pixels set."""
    expected = pixels.copy()
    for at, color in _places(labels, shortcut):
        expected[at] = color
    return expected


def _unstamped(
    pixels: NDArray[np.uint8], clean: NDArray[np.uint8], labels: NDArray[np.int64], shortcut: Shortcut | None
) -> NDArray[np.uint8]:
    """Return a copy of the images with the shortcut's pixels reset to those of the clean images."""
    restored = pixels.copy()
    for at, _ in _places(labels, shortcut):
        restored[at] = clean[at]
    return restored


def _places(labels: NDArray[np.int64], shortcut: Shortcut | None) -> Iterator[tuple[Any, NDArray[np.uint8]]]:
    """Yield an index into the images and the colour for each class and pixel of the shortcut."""
    if shortcut is not None:
        for label in np.unique(labels):
            for (row, column), color in zip(shortcut.positions[label], shortcut.colors[label], strict=True):
                yield (labels == label, row, column), color
