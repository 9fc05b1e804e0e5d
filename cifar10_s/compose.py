"""Compose: a recipe and clean images → the configuration's images."""

from collections.abc import Iterable
from dataclasses import dataclass

from cifar10_s.errors import UsageError
from cifar10_s.images import Images
from cifar10_s.memory import Memory
from cifar10_s.methods import Learned
from cifar10_s.recipes import Recipe
from cifar10_s.search import random_pixels, search
from cifar10_s.shortcut import Shortcut

# Work that takes longer is done only on demand.
PATIENCE_HOURS = 2.0


@dataclass(frozen=True, eq=False)
class Composition:
    """A configuration's training images, and the shortcut that is on them."""

    recipe: Recipe
    images: Images
    shortcut: Shortcut | None


def find_shortcut(
    recipe: Recipe, clean: Images, *, seed: int = 0, device: str = "auto", memory: Memory = None
) -> Shortcut | None:
    """Give the shortcut that a recipe puts on these images, if it puts one."""
    if recipe.objective is None:
        return None
    if recipe.objective == "random":
        return random_pixels(clean, pixels=recipe.pixels, seed=seed, device=device, memory=memory)
    return search(clean, objective=recipe.objective, pixels=recipe.pixels, device=device, memory=memory)


def compose(
    recipe: Recipe, clean: Images, *, seed: int = 0, device: str = "auto", memory: Memory = None
) -> Composition:
    """Make a configuration.

    The search runs on the clean images; a method's perturbation goes on first, rounded to nearest; the pixel is
    stamped last and is exact.

    Parameters
    ----------
    recipe
        What to make.
    clean
        Clean training images; of those that are not in memory, the parts are made when they are read. A method that
        needs all of them loads them.
    seed
        For methods and controls; the search uses no chance.
    device, memory
        See `search.search`.
    """
    shortcut = find_shortcut(recipe, clean, seed=seed, device=device, memory=memory)
    images = clean
    if recipe.method is not None:
        change = recipe.method.change(clean, seed=seed, device=device)
        if change is not None:
            images = clean.derive(change)
        else:
            loaded = clean.load()
            images = loaded.with_pixels(recipe.method.perturb(loaded, seed=seed, device=device))
    if shortcut is not None:
        images = shortcut.stamp(images)
    return Composition(recipe, images, shortcut)


def check_time(recipes: Iterable[Recipe], clean: Images, *, seed: int = 0, device: str = "auto") -> None:
    """Refuse work that takes long on this device; what is done already, or half done, counts as much.

    Raises
    ------
    UsageError
        With the time that each method would take.
    """
    methods = {recipe.method.name: recipe.method for recipe in recipes if isinstance(recipe.method, Learned)}
    if not methods:
        return
    images = clean.load()
    hours = {name: method.seconds_left(images, seed=seed, device=device) / 3600 for name, method in methods.items()}
    if sum(hours.values()) > PATIENCE_HOURS:
        each = ", ".join(f"{name} {_duration(time)}" for name, time in hours.items())
        raise UsageError(
            f"this takes long on this device: at most {each}; build with --yes to do it all the same, with --budget "
            "small for recipes reduced for a CPU, or with -c for other configurations"
        )


def _duration(hours: float) -> str:
    return f"{hours / 24:.1f} days" if hours > 48 else f"{hours:.1f} hours"
