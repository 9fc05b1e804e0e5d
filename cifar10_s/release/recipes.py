"""Recipes of all configurations that a release can contain."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cifar10_s.common.own import own_names, own_path
from cifar10_s.errors import UsageError, unknown
from cifar10_s.methods.base import Method
from cifar10_s.methods.foreign import ForeignMethod
from cifar10_s.methods.from_file import CLASS_WISE, SAMPLE_WISE, GivenNoise
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.own import Origin, load_method
from cifar10_s.methods.registry import METHODS
from cifar10_s.release.layout import CLEAN
from cifar10_s.shortcut.shortcut import JOINT, PATCHES, SPREAD
from cifar10_s.shortcut.spread import FOUR_PATCHES, PATCH_PIXELS

# SemVer of the published pixels: a change of the pixels of a configuration is a new major version.
DATASET_VERSION = "1.0.0"
# Date of that version. Builds record it instead of their own date, so that the same source gives the same bytes.
DATASET_DATE = "2026-11-27"


@dataclass(frozen=True)
class Recipe:
    """How a configuration is made from clean images.

    Attributes
    ----------
    name
        Name of the configuration.
    summary
        Description for the card: one sentence without a full stop.
    objective
        How the pixels of the shortcut are chosen: a name of `pixel_search.SEARCHES`, or None without a shortcut.
    pixels
        Number of pixels per class; 0 without a shortcut.
    method
        The method whose perturbation is applied first, or None.
    base
        Name of the configuration with the same method but without a shortcut, if there are both.
    origin
        Where the method is from, if it is a user's own.
    """

    name: str
    summary: str
    objective: str | None = None
    pixels: int = 0
    method: Method | None = None
    base: str | None = None
    origin: Origin | None = None

    def settings(self) -> dict[str, Any]:
        """Return everything that the pixels depend on, for the record."""
        origin = {} if self.origin is None else asdict(self.origin)
        return {
            "configuration": self.name,
            "method": None if self.method is None else {**self.method.settings(), **origin},
            "objective": self.objective,
            "pixels": self.pixels,
        }

    @property
    def budget(self) -> str | None:
        """``full`` or ``small`` if the method trains a network, otherwise None."""
        return self.method.budget if isinstance(self.method, Learned | ForeignMethod) else None

    def reduced(self) -> "Recipe":
        """Return the recipe reduced for a CPU; it is unchanged if its method trains no network."""
        if self.budget is None:
            return self
        method = self.method.small() if isinstance(self.method, Learned) else self.method
        return replace(self, method=method, summary=f"{self.summary}; reduced recipe")


# The shortcuts that every method is combined with, by what follows the method's name: a summary, objective and pixels.
_WITH = {
    "-ops": ("One-Pixel Shortcut", "mean-over-variance", 1),
    "-ops-spread-2": ("two pixels per class that survive augmentation", SPREAD, 2),
    "-ops-patches-2": ("two patches per class that survive augmentation and smoothing", PATCHES, PATCH_PIXELS),
    "-ops-patches-4": ("four patches per class that survive augmentation and smoothing", PATCHES, FOUR_PATCHES),
}


def _alone(method: Method) -> Recipe:
    return Recipe(method.name, method.summary, method=method)


def _with(suffix: str, method: Method) -> Recipe:
    """Return the configuration of a method with the shortcut of a suffix."""
    shortcut, objective, pixels = _WITH[suffix]
    summary = f"{method.summary.split(':')[0]}, and {shortcut}"
    return Recipe(method.name + suffix, summary, objective, pixels, method, base=method.name)


def of_method(method: Method, origin: Origin | None = None) -> list[Recipe]:
    """Return all configurations of a method, first the method alone."""
    recipes = [_alone(method), *(_with(suffix, method) for suffix in _WITH)]
    return [replace(recipe, origin=origin) for recipe in recipes]


# The summaries are part of each manifest and card: another word in them is another file, so they change only with a
# new version of the dataset.
CONFIGURATIONS: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(CLEAN, "the unchanged images, to compare with"),
        Recipe("ops", "One-Pixel Shortcut as in the paper (Eq. 2)", "mean-over-variance", 1),
        Recipe("ops-2", "One-Pixel Shortcut with two pixels per class", "mean-over-variance", 2),
        Recipe("ops-3", "One-Pixel Shortcut with three pixels per class", "mean-over-variance", 3),
        Recipe("ops-4", "One-Pixel Shortcut with four pixels per class", "mean-over-variance", 4),
        Recipe("ops-std", "One-Pixel Shortcut with the objective of the authors' code", "mean-over-std", 1),
        Recipe("random-pixel", "control: a random position and colour per class, not searched", "random", 1),
        *(recipe for method in METHODS.values() for recipe in (_alone(method), _with("-ops", method))),
        Recipe("ops-spread-2", "two pixels per class that survive augmentation", SPREAD, 2),
        Recipe("ops-spread-3", "three pixels per class that survive augmentation", SPREAD, 3),
        Recipe("ops-spread-4", "four pixels per class that survive augmentation", SPREAD, 4),
        *(_with("-ops-spread-2", method) for method in METHODS.values()),
        Recipe("ops-patches-2", _WITH["-ops-patches-2"][0], PATCHES, PATCH_PIXELS),
        *(_with("-ops-patches-2", method) for method in METHODS.values()),
        Recipe("ops-patches-4", _WITH["-ops-patches-4"][0], PATCHES, FOUR_PATCHES),
        *(_with("-ops-patches-4", method) for method in METHODS.values()),
    )
}

# The words by which summaries of methods say the kind of their noise; without them, it is one noise per image.
_PER_IMAGE, _PER_CLASS = "one per image", "one per class"
# By the kind of noise from a file: words of a summary that are wrong for it, and their replacements.
_KINDS = {SAMPLE_WISE: (_PER_CLASS, _PER_IMAGE), CLASS_WISE: (_PER_IMAGE, _PER_CLASS)}

FULL, SMALL = "full", "small"
BUDGETS: tuple[str, ...] = (FULL, SMALL)

# Built by default: what takes minutes, and EM, which is part of CIFAR-10-S. Spread and patches do not fit small images.
STANDARD = tuple(
    name
    for name, recipe in CONFIGURATIONS.items()
    if (not isinstance(recipe.method, Learned) or recipe.method.name == "em") and recipe.objective not in JOINT
)
ALL = "all"

# The default configuration of a release is the first of these that it contains. EM with OPS is CIFAR-10-S itself.
_DEFAULTS = ("em-ops", "ops")


def default_of(names: Iterable[str]) -> str:
    """Return the default configuration of a release: without EM with OPS and OPS, the first that is not ``clean``.

    Examples
    --------
    >>> default_of(["clean", "lsp", "ar"]), default_of(["clean", "ops", "lsp"]), default_of(["clean"])
    ('lsp', 'ops', 'clean')
    """
    perturbed = [name for name in names if name != CLEAN]
    return next((name for name in (*_DEFAULTS, *perturbed) if name in perturbed), CLEAN)


def select(
    names: Iterable[str] | None, *, budget: str = FULL, noise: Mapping[str, GivenNoise] | None = None
) -> list[Recipe]:
    """Return recipes by name, in the table's order, then users' own; ``clean`` is always among them.

    Parameters
    ----------
    names
        Names of `CONFIGURATIONS`, or ``all``; by default `STANDARD`. A user's own method is named by its path,
        ``package.module:name``, or by its entry point, and has twins as the others have, ``package.module:name-ops``.
    budget
        One of `BUDGETS`; ``small`` reduces the recipes of methods that train a network.
    noise
        Noise from files that replaces that of methods, by the method's name.

    Raises
    ------
    UsageError
        If a name or the budget is unknown, ``names`` is empty, or a user's own method cannot be taken.
    """
    named = list(STANDARD if names is None else names)
    requested = set(named)
    if not requested:
        raise UsageError(f"no configuration is named: expected some of {', '.join(CONFIGURATIONS)}")
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    own = list(_own([name for name in named if name not in CONFIGURATIONS and name != ALL]))
    recipes = [recipe for name, recipe in CONFIGURATIONS.items() if {name, ALL} & requested or name == CLEAN]
    return [_variant(recipe, budget, noise or {}) for recipe in (*recipes, *own)]


def find_recipe(name: str, *, budget: str = FULL) -> Recipe:
    """Return the recipe of one configuration, by a name that `select` takes.

    Raises
    ------
    UsageError
        As for `select`, and if the name is ``all``.
    """
    if name == ALL:
        raise unknown("configuration", name, [*CONFIGURATIONS, *own_names("method")])
    return select([name], budget=budget)[-1]


def own_configurations(name: str) -> list[str]:
    """Return the names by which the configurations of a user's own method are asked for, given its path or name."""
    return [name + suffix for suffix in ("", *_WITH)]


def _own(names: Iterable[str]) -> Iterator[Recipe]:
    """Yield the recipes of users' own methods, by method in the order in which these are named first."""
    wanted: dict[str, set[str]] = {}
    for name in names:
        path, suffix = _split(name)
        wanted.setdefault(path, set()).add(suffix)
    taken = dict.fromkeys(CONFIGURATIONS, "this package")
    for path, suffixes in wanted.items():
        method, origin = load_method(path)
        recipes = of_method(method, origin)
        for recipe in recipes:
            if recipe.name in taken:
                raise UsageError(
                    f"method {path!r}: name: {recipe.name!r} is a configuration of {taken[recipe.name]}: choose another"
                )
        taken |= {recipe.name: path for recipe in recipes}
        yield from (recipe for recipe in recipes if recipe.name.removeprefix(method.name) in suffixes)


def _split(name: str) -> tuple[str, str]:
    """Split the name of a user's own configuration into the path of its method, and the suffix of its twin."""
    for suffix in sorted(("", *_WITH), key=len, reverse=True):
        if name.endswith(suffix) and (path := own_path("method", name.removesuffix(suffix))):
            return path, suffix
    raise unknown("configuration", name, [*CONFIGURATIONS, ALL, *own_names("method")])


def _variant(recipe: Recipe, budget: str, noise: Mapping[str, GivenNoise]) -> Recipe:
    if recipe.method is not None and recipe.method.name in noise:
        return with_noise(recipe, noise[recipe.method.name])
    return recipe.reduced() if budget == SMALL else recipe


def is_of_other_kind(noise: GivenNoise) -> bool:
    """Return whether noise is one per class, and its method's own one per image, or the reverse."""
    is_per_class = _PER_CLASS in noise.method.summary
    return noise.kind == (SAMPLE_WISE if is_per_class else CLASS_WISE)


def with_noise(recipe: Recipe, noise: GivenNoise) -> Recipe:
    """Return the recipe with noise from a file instead of its method's own.

    Its summary says whether the noise is one per class or one per image, if the method's own is of the other kind.
    """
    if not is_of_other_kind(noise):
        return replace(recipe, method=noise, summary=f"{recipe.summary}; noise from a file")
    wrong, right = _KINDS[noise.kind]
    summary = recipe.summary.replace(wrong, right)
    kind = "" if right in summary else f", {right}"
    return replace(recipe, method=noise, summary=f"{summary}; noise from a file{kind}")
