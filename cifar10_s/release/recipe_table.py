"""The recipes of a release's configurations: those of the table, and those of methods outside this package."""

import math
from collections.abc import Iterable

from cifar10_s.methods.own import declared_bound, name_reason
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.own_method import OwnMethod
from cifar10_s.release.recipes import CONFIGURATIONS, Recipe, of_method


def recipes_in(manifest: Manifest) -> dict[str, Recipe]:
    """Return the recipes of a release's configurations by name: those of `CONFIGURATIONS`, then those of own methods.

    A configuration that neither has is left out. Own methods are without their parameters; see `RecipeRecord.built`.
    """
    methods = (own.as_method(name) for name, own in manifest.own_methods.items())
    own = {recipe.name: recipe for method in methods for recipe in of_method(method)}
    # A release cannot replace a configuration of this package by its own.
    table = {**CONFIGURATIONS, **{name: recipe for name, recipe in own.items() if name not in CONFIGURATIONS}}
    return {name: recipe for name, recipe in table.items() if name in manifest.configurations}


def own_method_failures(manifest: Manifest) -> list[str]:
    """Return what is wrong with the names of a manifest's own methods, a line for each that is wrong."""
    failures = []
    for name, own in manifest.own_methods.items():
        configurations = {recipe.name for recipe in of_method(own.as_method(name))}
        reason = name_reason(name)
        if reason is None and configurations & set(CONFIGURATIONS):
            reason = "expected a name that no configuration of this package has"
        if reason is None and not configurations & set(manifest.configurations):
            reason = "expected a configuration that is made by it, got none"
        if reason is not None:
            failures.append(f"own_methods.{name}: {reason}")
    return failures


def declare(recipes: Iterable[Recipe], shape: tuple[int, ...]) -> dict[str, OwnMethod]:
    """Return users' own methods among those of recipes, by name, with their bounds for images of (H, W, C)."""
    own = {}
    for recipe in recipes:
        if recipe.origin is not None and recipe.method is not None:
            bound = declared_bound(recipe.method, recipe.origin.path, shape)
            own[recipe.method.name] = OwnMethod(
                path=recipe.origin.path,
                summary=recipe.method.summary,
                linf=bound.linf,
                l2=None if math.isinf(bound.l2) else float(bound.l2),
            )
    return own
