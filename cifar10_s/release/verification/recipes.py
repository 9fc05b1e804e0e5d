"""Check the recipes of a release without images, as far as possible."""

from collections.abc import Iterable, Mapping

from cifar10_s.errors import SourceError
from cifar10_s.methods.base import Method
from cifar10_s.release.layout import CLEAN, MANIFEST, TRAIN, noise_path, recipe_path
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.recipe_record import RecipeRecord, read_recipe
from cifar10_s.release.recipe_table import recipes_in
from cifar10_s.release.recipes import Recipe
from cifar10_s.release.stored_noise import read_noise
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.metadata import check_noise
from cifar10_s.shortcut.shortcut import Shortcut


def read_recipes(failures: Failures, manifest: Manifest) -> dict[str, Recipe]:
    """Return the recipes of a release by configuration, as they were built; a failure for each that cannot be read."""
    recipes = {}
    for name, recipe in recipes_in(manifest).items():
        with failures.reading(recipe_path(name)):
            record = read_recipe((failures.folder / recipe_path(name)).read_bytes())
            recipes[name] = record.built(recipe, manifest.configurations[name].budget)
    return recipes


def unrepeatable(recipes: Iterable[Recipe]) -> dict[str, Method]:
    """Return the methods of recipes whose noise a release without images keeps, by name."""
    methods = (recipe.method for recipe in recipes if recipe.method is not None)
    return {method.name: method for method in methods if not method.repeatable}


def check_recipes(failures: Failures, manifest: Manifest, recipes: Mapping[str, Recipe]) -> None:
    """Check recipes, noise, and what the manifest says of them; pixels, metrics and the search are not checked."""
    source = dict(manifest.source.pixels_sha256)
    digests = {TRAIN: manifest.pixels.get(CLEAN), **{name: one.pixels_sha256 for name, one in manifest.splits.items()}}
    failures.expect(MANIFEST, "source: pixel digests", digests, source)
    for name, recipe in recipes.items():
        entry = manifest.configurations[name]
        for field, expected in (
            ("summary", recipe.summary), ("budget", recipe.budget), ("rows", manifest.configurations[CLEAN].rows)
        ):  # fmt: skip
            failures.expect(MANIFEST, f"configurations.{name}.{field}", expected, getattr(entry, field))
        with failures.reading(recipe_path(name)):
            _check_recipe(failures, manifest, recipe)
    for name, method in unrepeatable(recipes.values()).items():
        with failures.reading(noise_path(name)):
            read_noise(failures.folder, method, manifest)


def _check_recipe(failures: Failures, manifest: Manifest, recipe: Recipe) -> None:
    file = recipe_path(recipe.name)
    record = read_recipe((failures.folder / file).read_bytes())
    check_noise(failures, file, recipe.method)
    expected = RecipeRecord.of(recipe, manifest.seed, record.shortcut, record.drawn)
    failures.compare(file, expected.to_dict(), failures.read_json(file))
    _check_shortcut(manifest, recipe, record.shortcut)


def _check_shortcut(manifest: Manifest, recipe: Recipe, shortcut: Shortcut | None) -> None:
    """Check that a shortcut is the recipe's in kind and number, and fits the images.

    Raises
    ------
    SourceError
        If it is not.
    """
    height, width, channels = manifest.shape
    expected = (recipe.objective, recipe.pixels) if recipe.objective else (None, 0)
    got = (None, 0) if shortcut is None else (shortcut.objective, shortcut.positions.shape[1])
    if expected != got:
        raise SourceError(f"shortcut: expected objective and pixels per class {expected}, got {got}")
    if shortcut is None:
        return
    fits = shortcut.colors.shape == (len(manifest.classes), recipe.pixels, channels)
    if not fits or shortcut.class_names != manifest.classes or (shortcut.positions >= (height, width)).any():
        raise SourceError("shortcut: does not fit the classes and the size of the images in the manifest")
