"""Recipes: the table of the configurations that a release can hold."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cifar10_s.errors import UsageError, unknown
from cifar10_s.methods import METHODS, GivenNoise, Learned, Method

# SemVer of the published pixels: other pixels under a configuration's name are a new major version.
DATASET_VERSION = "0.3.0"
# The day of that version. A build says this, not its own day: the same source gives the same bytes.
DATASET_DATE = "2026-11-22"


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
        The method whose perturbation goes on first, or None for none.
    """

    name: str
    summary: str
    objective: str | None = None
    pixels: int = 0
    method: Method | None = None

    def settings(self) -> dict[str, Any]:
        """Give all that decides the pixels, for the record."""
        return {
            "configuration": self.name,
            "method": None if self.method is None else self.method.settings(),
            "objective": self.objective,
            "pixels": self.pixels,
        }

    @property
    def budget(self) -> str | None:
        """``full`` or ``small`` where the method needs a network, else None."""
        return self.method.budget if isinstance(self.method, Learned) else None

    def reduced(self) -> "Recipe":
        """Give the recipe reduced for a CPU; one without a network stays as it is."""
        if not isinstance(self.method, Learned):
            return self
        return replace(self, method=self.method.small(), summary=f"{self.summary}; reduced recipe")


def _of_method(method: Method) -> tuple[Recipe, Recipe]:
    """Give the two configurations of a method: alone, and with OPS."""
    with_ops = f"{method.summary.split(':')[0]}, and One-Pixel Shortcut"
    return (
        Recipe(method.name, method.summary, method=method),
        Recipe(f"{method.name}-ops", with_ops, "mean-over-variance", 1, method),
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

BUDGETS: tuple[str, ...] = ("full", "small")

# Built where nothing else is asked for: what takes minutes, and EM, of which CIFAR-10-S is made.
STANDARD = tuple(
    name for name, recipe in RECIPES.items() if not isinstance(recipe.method, Learned) or recipe.method.name == "em"
)
ALL = "all"

# The default configuration of a release is the first of these that it holds. EM and OPS together are CIFAR-10-S proper.
DEFAULTS = ("em-ops", "ops", "clean")


def select(
    names: Iterable[str] | None, *, budget: str = "full", noise: Mapping[str, GivenNoise] | None = None
) -> list[Recipe]:
    """Look up recipes, in the table's order. ``clean`` always comes with them.

    Parameters
    ----------
    names
        Names of the table, or ``all``; None means `STANDARD`.
    budget
        One of `BUDGETS`; ``small`` reduces the recipes of the methods that need a network.
    noise
        Noise to take instead of a method's, by the method's name.

    Raises
    ------
    UsageError
        For an unknown name, or none.
    """
    given, wanted = noise or {}, set(STANDARD if names is None else names)
    if not wanted:
        raise UsageError(f"no configuration is named: expected some of {', '.join(RECIPES)}")
    for name in sorted(wanted - set(RECIPES) - {ALL}):
        raise unknown("configuration", name, [*RECIPES, ALL])
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    recipes = [recipe for name, recipe in RECIPES.items() if {name, ALL} & wanted or name == "clean"]
    return [_with_noise(recipe, given) or (recipe.reduced() if budget == "small" else recipe) for recipe in recipes]


def _with_noise(recipe: Recipe, given: Mapping[str, GivenNoise]) -> Recipe | None:
    if recipe.method is None or recipe.method.name not in given:
        return None
    return replace(recipe, method=given[recipe.method.name], summary=f"{recipe.summary}; noise from a file")


def recorded(name: str, method: Any) -> Recipe:
    """Give the recipe of a configuration as it was built: full, reduced, or with noise from a file.

    Parameters
    ----------
    name
        A name of the table.
    method
        The recorded settings of its method; what is no such record gives the table's own recipe.
    """
    recipe = RECIPES[name]
    variants = [recipe, recipe.reduced()]
    if recipe.method is not None and isinstance(method, dict) and "sha256" in method:
        file, sha256, kind = (str(method[key]) for key in ("file", "sha256", "kind"))
        given = GivenNoise.of(recipe.method, file=file, sha256=sha256, kind=kind)
        variants += filter(None, [_with_noise(recipe, {given.name: given})])
    settings = json.dumps(method, sort_keys=True)
    return next(
        (variant for variant in variants if json.dumps(variant.settings()["method"], sort_keys=True) == settings),
        recipe,
    )
