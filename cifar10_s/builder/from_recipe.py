"""Make a whole release from one of recipes alone, and the images that it was built from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar10_s.builder.order import Order
from cifar10_s.builder.pipeline import check_claims, read_report
from cifar10_s.common.files import expand
from cifar10_s.common.machine import Memory, parse_size
from cifar10_s.common.options import Options
from cifar10_s.common.typed_json import convert
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.images import Images
from cifar10_s.data.provenance import HUB_NAME
from cifar10_s.data.sources.choices import NO_CHOICES, NONE, SPECIAL, Choices, option
from cifar10_s.data.sources.registry import special_choices
from cifar10_s.data.sources.splits import open_splits
from cifar10_s.errors import SourceError, UsageError, printable
from cifar10_s.hub.verification import fetch_recipe
from cifar10_s.release.layout import MANIFEST, RESULTS, TEST, TRAIN, recipe_path
from cifar10_s.release.manifest import Manifest, OtherColumn
from cifar10_s.release.recipe_record import read_recipe
from cifar10_s.release.recipe_table import recipes_in
from cifar10_s.release.recipes import Recipe
from cifar10_s.release.stored_noise import read_noise
from cifar10_s.release.verification.verifier import Verified

# The choices that decide which images there are; the others say where a source has them, which each source may
# have elsewhere.
DECIDING = frozenset({"classes", "limit", "resize", "mode"})


def apply(
    recipe: str | Path,
    source: str | Path = HUB_NAME,
    output: str | Path | None = None,
    *,
    choices: Choices = NO_CHOICES,
    device: str = "auto",
    allow_unverified: bool = False,
    overwrite: bool = False,
    max_shard_size: str = "500MB",
    memory: Memory = None,
    engine: str = "local",
    address: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Verified:
    """Make the release that ``build(..., recipe_only=True)`` described, from the images that it was built from.

    The pixels of every split and configuration must have the recorded digests; otherwise nothing is written. No network
    is trained: noise that a network made is in the recipe. Results that the recipe has are in the release, too.

    Parameters
    ----------
    recipe
        A folder, or ``<namespace>/<name>[@<revision>]`` on the Hub.
    source, allow_unverified
        The images; see `load_images`.
    output
        The folder to write; by default the recorded name of the dataset.
    choices
        How to read this source, if it offers more than one thing. What was chosen when the recipe was made is chosen
        again; ``classes``, ``limit``, ``resize`` and ``mode`` can only be repeated.
    device, overwrite, max_shard_size, memory, engine, address
        See `build`.
    endpoint, token
        Of the Hub; see `verify`.

    Raises
    ------
    UsageError
        If the recipe has its images, a choice contradicts it, what its makers say of it is not allowed of this source,
        or the output folder holds something else.
    SourceError
        If the source cannot be read, or has other images than the recipe was made from.
    VerificationError
        If the recipe does not verify.
    BuildError
        If a configuration gets other pixels, or the disk is full; nothing is left behind.
    HubError
        If the Hub cannot be reached, or has no such dataset.

    Examples
    --------
    >>> import cifar10_s
    >>> digits = {"name": "digits-s", "configurations": ["ops"]}
    >>> made = cifar10_s.build("sample", "digits-recipe", **digits, recipe_only=True)
    >>> applied = cifar10_s.apply("digits-recipe", "sample", "digits-again")
    >>> applied.images, applied.manifest.pixels == made.manifest.pixels
    (4673, True)
    """
    options = Options.resolve(device=device, memory=memory)
    max_shard_bytes = parse_size(max_shard_size, "max_shard_size")
    folder, manifest = fetch_recipe(recipe, replace(options, device="cpu"), endpoint=endpoint, token=token)
    order = Order(
        folder=expand(manifest.name if output is None else output),
        name=manifest.name,
        options=replace(options, seed=manifest.seed),
        max_shard_bytes=max_shard_bytes,
        overwrite=overwrite,
        version=manifest.version,
        attribution=manifest.attribution,
        expected=manifest,
        inputs=(str(source), str(recipe)),
    )
    order.check_place()
    opened = open_splits(
        source,
        choices=_chosen(manifest, choices, special_choices(source)),
        allow_unverified=allow_unverified,
        cluster=Cluster.of(engine, address),
    )
    check_claims(order.attribution, opened[TRAIN].provenance)
    splits = {split: images.load_if_fits(options.memory) for split, images in opened.items()}
    _check_images(source, splits, manifest)
    report = read_report([folder / RESULTS] if manifest.results.records else [])
    # Without a limit of time: nothing is trained.
    return order.carry_out(splits, _recipes(folder, manifest), report, yes=True)


def _chosen(manifest: Manifest, given: Choices, special: frozenset[str]) -> Choices:
    """Return what was chosen for the recipe, and what is given besides.

    Parameters
    ----------
    manifest
        That of the recipe.
    given
        What is chosen now.
    special
        The special choices that the source takes: it may be of another kind than that of the recipe.

    Raises
    ------
    UsageError
        If what is given would make other images.
    SourceError
        If what is recorded cannot be chosen.
    """
    recorded = manifest.source.choices
    for name, value in given.given().items():
        if name in DECIDING and value != recorded.get(name):
            was = f"with {recorded[name]}" if name in recorded else "without it"
            raise UsageError(f"{option(name)}: the recipe was made {was}, got {value}; leave it out")
    chosen: dict[str, Any] = {name: value for name, value in recorded.items() if name not in SPECIAL - special}
    if "classes" in chosen:
        chosen["classes"] = str(chosen["classes"]).split(",")
    try:
        again = convert(chosen, Choices, "source.choices")
    except ValueError as error:
        raise SourceError(f"{MANIFEST}: {error}") from None
    return replace(again, **{name: getattr(given, name) for name in given.given()})


def _check_images(source: str | Path, splits: Mapping[str, Images], manifest: Manifest) -> None:
    """Check, before anything is made, that these are the images that the recipe was made from.

    Raises
    ------
    SourceError
        If they are not; the message says in what they differ.
    """
    recorded = manifest.source.pixels_sha256
    if splits.keys() != recorded.keys():
        advice = "give a source that has them" if TEST in recorded else f"choose --test-split {NONE}"
        raise _differs(source, "the splits", ", ".join(recorded), ", ".join(splits), f"; {advice}")
    train = splits[TRAIN]
    if train.shape[1:] != manifest.shape:
        raise _differs(source, "images of", *("×".join(map(str, one)) for one in (manifest.shape, train.shape[1:])))
    if train.class_names != manifest.classes:
        raise _differs(source, "the classes", *(", ".join(names) for names in (manifest.classes, train.class_names)))
    for split, images in splits.items():
        if images.digest() != recorded[split]:
            raise _differs(source, f"{split} images of the pixel digest", recorded[split], images.digest())
    for name, column in manifest.columns.items():
        labels = {split: images.other_labels.get(name) for split, images in splits.items()}
        found = {split: of for split, of in labels.items() if of is not None}
        if found.keys() != splits.keys() or OtherColumn.of(found) != column:
            raise _differs(source, "the column", name, "none, or another")


def _differs(source: str | Path, what: str, expected: str, got: str, advice: str = "") -> SourceError:
    return SourceError(
        f"{source}: holds other images than the recipe was made from: expected {what} {printable(expected):.200}, got "
        f"{printable(got):.200}{advice}"
    )


def _recipes(folder: Path, manifest: Manifest) -> list[Recipe]:
    """Return the recipes as they were built, with the noise that is in the folder."""
    recipes, noise = [], {}
    for name, listed in recipes_in(manifest).items():
        record = read_recipe((folder / recipe_path(name)).read_bytes())
        recipe = record.built(listed, manifest.configurations[name].budget)
        method = recipe.method
        if method is not None and not method.repeatable:
            if method.name not in noise:
                noise[method.name] = method.with_noise_levels(read_noise(folder, method, manifest))
            recipe = replace(recipe, method=noise[method.name])
        recipes.append(recipe)
    return recipes
