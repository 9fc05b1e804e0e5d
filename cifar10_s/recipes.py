"""Recipes: the table of the configurations that a release can hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cifar10_s.errors import UsageError, unknown
from cifar10_s.methods import METHODS, Method

# SemVer of the published pixels: other pixels under a configuration's name are a new major version.
DATASET_VERSION = "0.2.0"


@dataclass(frozen=True)
class Recipe:
    """How one configuration is made from clean images.

    Attributes
    ----------
    name
        The configuration's name.
    summary
        What it is, for the card: one sentence without a full stop.
    objective
        How the shortcut's pixels are chosen: a name of `search.OBJECTIVES`, ``random``, or None for none.
    pixels
        How many pixels each class gets; 0 for none.
    method
        The method whose perturbation goes on first: a name of `methods.METHODS`, or None for none.
    """

    name: str
    summary: str
    objective: str | None = None
    pixels: int = 0
    method: str | None = None

    def settings(self) -> dict[str, Any]:
        """Give all that decides the pixels, for the record."""
        return {
            "configuration": self.name,
            "method": None if self.method is None else METHODS[self.method].settings(),
            "objective": self.objective,
            "pixels": self.pixels,
        }


def _of_method(method: Method) -> tuple[Recipe, Recipe]:
    """Give the two configurations of a method: alone, and with OPS."""
    with_ops = f"{method.summary.split(':')[0]}, and One-Pixel Shortcut"
    return (
        Recipe(method.name, method.summary, method=method.name),
        Recipe(f"{method.name}-ops", with_ops, "mean-over-variance", 1, method.name),
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("clean", "the unchanged images, to compare with"),
        Recipe("ops", "One-Pixel Shortcut as in the paper (Eq. 2)", "mean-over-variance", 1),
        Recipe("ops-2", "One-Pixel Shortcut with two pixels a class", "mean-over-variance", 2),
        Recipe("ops-3", "One-Pixel Shortcut with three pixels a class", "mean-over-variance", 3),
        Recipe("ops-4", "One-Pixel Shortcut with four pixels a class", "mean-over-variance", 4),
        Recipe("ops-std", "One-Pixel Shortcut with the objective of the authors' code", "mean-over-std", 1),
        Recipe("random-pixel", "control: a random position and colour a class, not searched", "random", 1),
        *(recipe for method in METHODS.values() for recipe in _of_method(method)),
    )
}

# The default configuration of a release is the first of these that it holds.
DEFAULTS = ("ops", "clean")


def select(names: Iterable[str] | None) -> list[Recipe]:
    """Look up recipes, in the table's order; None means all. ``clean`` always comes with them.

    Raises
    ------
    UsageError
        For an unknown name, or none.
    """
    wanted = set(RECIPES if names is None else names)
    if not wanted:
        raise UsageError(f"no configuration is named: expected some of {', '.join(RECIPES)}")
    for name in sorted(wanted - set(RECIPES)):
        raise unknown("configuration", name, RECIPES)
    return [recipe for name, recipe in RECIPES.items() if name in wanted | {"clean"}]
