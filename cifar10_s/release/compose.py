"""Make the images of a configuration from a recipe and the clean images."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.data.images import Images, Rows, Transform
from cifar10_s.errors import Cifar10SError, UsageError, one_line
from cifar10_s.methods.base import Method
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.own import Origin
from cifar10_s.release.recipes import Recipe
from cifar10_s.shortcut.pixel_search import SEARCHES
from cifar10_s.shortcut.shortcut import Shortcut

# What takes longer is done only if the user confirms it.
PATIENCE_HOURS = 2.0


@dataclass(frozen=True, eq=False)
class Composition:
    """The training images of a configuration, and the shortcut on them, if any."""

    recipe: Recipe
    images: Images
    shortcut: Shortcut | None


def check_fit(recipe: Recipe, images: Images) -> None:
    """Raise UsageError if the images have no room for the shortcut of a recipe, or its method cannot perturb them."""
    if recipe.method is not None:
        with _one_line_errors(recipe.origin):
            recipe.method.check(images)
    if recipe.objective is not None:
        SEARCHES[recipe.objective].check(images, recipe.pixels)


def find_shortcut(recipe: Recipe, clean: Images, options: Options) -> Shortcut | None:
    """Return the shortcut of a recipe for these clean images, or None if it has none."""
    if recipe.objective is None:
        return None
    return SEARCHES[recipe.objective].find(clean, options, recipe.pixels)


def perturb(recipe: Recipe, clean: Images, options: Options) -> Images:
    """Return the images that a recipe's method makes of clean ones, rounded to the nearest level; without one, these.

    Images that are not in memory are perturbed when they are read, unless the method needs all of them: then they are
    loaded.
    """
    if recipe.method is None:
        return clean
    with _one_line_errors(recipe.origin):
        return _perturbed(recipe.method, recipe.origin, clean, options)


def drawn(recipe: Recipe, clean: Images, options: Options) -> dict[str, Any] | None:
    """Return what a recipe's method draws for the classes of clean images (`Method.drawn`); None if nothing."""
    if recipe.method is None:
        return None
    with _one_line_errors(recipe.origin):
        made = recipe.method.drawn(clean, options)
        json.dumps(made, allow_nan=False)  # raises if the record cannot hold it
        return made


def compose(recipe: Recipe, clean: Images, options: Options, perturbed: Images | None = None) -> Composition:
    """Return the images of a configuration, and its shortcut.

    The search runs on the clean images. The perturbation of the method, if any, is applied first; the pixels are
    stamped last, and are exact.

    Parameters
    ----------
    recipe
        The recipe of the configuration.
    clean
        Clean training images.
    options
        Seed, device and memory.
    perturbed
        What `perturb` makes of the clean images, if it is known, as it is the same for all recipes with a method.
    """
    shortcut = find_shortcut(recipe, clean, options)
    images = perturb(recipe, clean, options) if perturbed is None else perturbed
    if shortcut is not None:
        images = shortcut.stamp(images)
    return Composition(recipe, images, shortcut)


def _perturbed(method: Method, origin: Origin | None, clean: Images, options: Options) -> Images:
    change = method.transform(clean, options)
    if change is not None:
        return clean.with_transform(change if origin is None else _checking(change, origin))
    loaded = clean.load()
    pixels = method.perturb(loaded, options)
    if origin is not None:
        _check_pixels(pixels, loaded.pixels.shape, origin)
    return loaded.with_pixels(pixels)


def _checking(change: Transform, origin: Origin) -> Transform:
    """Return a user's own transform, whose errors are one line and whose result is checked."""

    def checked(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with _one_line_errors(origin):
            changed = change(rows, pixels)
        _check_pixels(changed, pixels.shape, origin)
        return changed

    return checked


def _check_pixels(pixels: Any, shape: tuple[int, ...], origin: Origin) -> None:
    got = f"{pixels.dtype} of {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
    if got != f"uint8 of {shape}":
        raise UsageError(f"method {origin.path!r}: expected pixels uint8 of {shape}, got {got}")


@contextmanager
def _one_line_errors(origin: Origin | None) -> Iterator[None]:
    """Turn what a user's own method raises into one line."""
    try:
        yield
    except Cifar10SError:
        raise
    except Exception as error:
        if origin is None:
            raise
        raise UsageError(f"method {origin.path!r}: raised {one_line(error)}") from error


def check_time(
    recipes: Iterable[Recipe], clean: Images, options: Options, *, limit_hours: float = PATIENCE_HOURS
) -> None:
    """Check that the methods take little time on this device; what is cached or checkpointed takes none.

    Raises
    ------
    UsageError
        If they may take more than ``limit_hours`` in total; the message has the time of each method, at most and, if
        that is less, usually.
    """
    methods = {one.method.name: (one.method, one.origin) for one in recipes if isinstance(one.method, Learned)}
    if not methods:
        return
    images, seconds = clean.load(), dict[str, tuple[float, float]]()
    for name, (method, origin) in methods.items():
        with _one_line_errors(origin):
            seconds[name] = method.seconds_left(images, options)
    if sum(most for _, most in seconds.values()) / 3600 > limit_hours:
        each = ", ".join(f"{name} {_times(usual / 3600, most / 3600)}" for name, (usual, most) in seconds.items())
        raise UsageError(
            f"this would take a long time on this device (at most {each}): pass --yes to build anyway, --budget small "
            "for recipes reduced for a CPU, or -c for other configurations"
        )


def _times(usual: float, most: float) -> str:
    return _duration(most) if usual == most else f"{_duration(most)} (usually {_duration(usual)})"


def _duration(hours: float) -> str:
    return f"{hours / 24:.1f} days" if hours > 48 else f"{hours:.1f} hours"
