"""Read and write the record of a recipe, ``recipes/<configuration>.json``: settings, seed and chosen pixels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from cifar10_s.common import typed_json
from cifar10_s.methods.foreign import ForeignMethod
from cifar10_s.methods.from_file import GivenNoise
from cifar10_s.release.recipes import SMALL, Recipe, with_noise
from cifar10_s.shortcut.shortcut import Shortcut


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """Everything that the pixels of a configuration depend on; see `Recipe.settings`.

    Attributes
    ----------
    configuration, objective, pixels
        See `Recipe`.
    method
        Name and parameters of the method, or the file whose noise replaced the method's.
    """

    configuration: str
    method: Mapping[str, Any] | None
    objective: str | None
    pixels: int

    @classmethod
    def of(cls, recipe: Recipe) -> "RecipeSettings":
        """Return the settings of a recipe."""
        return cls(**recipe.settings())


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """Record of noise from a file; see `GivenNoise`."""

    file: str
    sha256: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class RecipeRecord:
    """How a configuration of a release was made.

    Attributes
    ----------
    recipe
        Settings of the recipe.
    seed
        Seed of methods and controls.
    shortcut
        The chosen pixels, or None without a shortcut.
    drawn
        What the method drew for the classes (`Method.drawn`), or None if it records nothing.
    """

    recipe: RecipeSettings
    seed: int
    shortcut: Shortcut | None
    drawn: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, recipe: Recipe, seed: int, shortcut: Shortcut | None, drawn: Mapping[str, Any] | None = None
    ) -> "RecipeRecord":
        """Return the record of a recipe that was built with a seed."""
        return cls(recipe=RecipeSettings.of(recipe), seed=seed, shortcut=shortcut, drawn=drawn)

    def built(self, recipe: Recipe, budget: str | None) -> Recipe:
        """Return a recipe in the recorded variant: full, reduced, or with noise from a file.

        A method that records what it draws has that of the record, one outside this package its parameters too.

        Parameters
        ----------
        recipe
            The recipe of the table (`recipes_in`).
        budget
            The budget in the manifest: ``small`` for a reduced recipe.

        Raises
        ------
        ValueError
            If a field of the record of noise, or of what a method drew, is missing or of another type.
        """
        method = self.recipe.method
        if isinstance(recipe.method, ForeignMethod):
            declared, origin = recipe.method.as_recorded(method or {}, self.drawn)
            recipe = replace(recipe, method=declared, origin=origin)
        if recipe.method is not None and method is not None and "sha256" in method:
            noise = typed_json.convert(method, NoiseSettings, "recipe.method")
            return with_noise(recipe, GivenNoise.of(recipe.method, **asdict(noise)))
        if recipe.method is not None and recipe.method.draws:
            return replace(recipe, method=recipe.method.with_drawn(self.drawn))
        return recipe.reduced() if budget == SMALL else recipe

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return {
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "shortcut": None if self.shortcut is None else self.shortcut.to_dict(),
            **({} if self.drawn is None else {"drawn": dict(self.drawn)}),
        }

    def to_json(self) -> str:
        """Return the text of the file."""
        return typed_json.dump(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class _Written:
    """The fields of the file, with the shortcut as a JSON object."""

    recipe: RecipeSettings
    seed: int
    shortcut: dict[str, Any] | None
    drawn: dict[str, Any] | None = None


def read_recipe(text: bytes) -> RecipeRecord:
    """Read the record of a recipe; unknown fields are ignored.

    Parameters
    ----------
    text
        Bytes of a file in ``recipes/``, untrusted.

    Raises
    ------
    ValueError
        If it is not JSON, or a field is missing or of another type; the message names the field.
    """
    written = typed_json.read(text, _Written)
    shortcut = None if written.shortcut is None else Shortcut.from_dict(written.shortcut)
    return RecipeRecord(recipe=written.recipe, seed=written.seed, shortcut=shortcut, drawn=written.drawn)
