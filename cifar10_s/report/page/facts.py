"""The texts of a release's page, from its manifest and recipes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cifar10_s.errors import SourceError, one_line, printable
from cifar10_s.release.manifest import ConfigurationEntry, Manifest
from cifar10_s.release.reader import Release
from cifar10_s.release.recipe_record import RecipeSettings
from cifar10_s.release.recipes import SMALL
from cifar10_s.report.text_table import EMPTY_CELL
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.survival import AUGMENTATIONS, measure_survival


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the page says about a configuration.

    Attributes
    ----------
    name, summary, digest
        As in the manifest.
    measures
        The number and the perceptibility of its images, by name.
    recipe
        The settings that decide its pixels, by name.
    shortcut
        The shortcut of the configuration; None if it has none.
    """

    name: str
    summary: str
    digest: str
    measures: Mapping[str, str]
    recipe: Mapping[str, str]
    shortcut: Shortcut | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the page says about a release.

    Attributes
    ----------
    name, title, version, default
        As in the manifest.
    source
        The title of its source.
    is_cifar10, claims_cifar10
        Whether the source is verified CIFAR-10, and whether it claims to be CIFAR-10.
    lines
        Further lines of the page's header, by name.
    digests
        The pixel digests of the source's splits, by name.
    classes
        The class names.
    reduced
        The configurations that were made with the small budget.
    objectives
        The objectives of the search.
    configurations
        The configurations in the manifest's order.
    """

    name: str
    title: str
    version: str
    default: str
    source: str
    is_cifar10: bool
    claims_cifar10: bool
    lines: Mapping[str, str]
    digests: Mapping[str, str]
    classes: tuple[str, ...]
    reduced: tuple[str, ...]
    objectives: tuple[str, ...]
    configurations: tuple[Configuration, ...]


def read(release: Release) -> Facts:
    """Read the facts from a release's manifest and recipes.

    Raises
    ------
    SourceError
        If these are not as `build` writes them.
    """
    try:
        return _facts(release, release.manifest)
    except (LookupError, ValueError, RecursionError) as error:
        raise SourceError(
            f"{release.name}: its manifest or recipes are not as `cifar10-s build` writes them "
            f"({one_line(error)}): run `cifar10-s verify` on it"
        ) from None


def _facts(release: Release, manifest: Manifest) -> Facts:
    source, entries = manifest.source, manifest.configurations
    return Facts(
        name=printable(manifest.name),
        title=printable(manifest.title),
        version=printable(manifest.version),
        default=manifest.default,
        source=printable(source.title),
        is_cifar10=source.is_cifar10,
        claims_cifar10=source.claims_cifar10,
        lines=dict(_lines(manifest)),
        digests={
            f"Pixel digest of the source, {printable(split)} (SHA-256)": digest
            for split, digest in source.pixels_sha256.items()
        },
        classes=tuple(map(printable, manifest.classes)),
        reduced=tuple(name for name, entry in entries.items() if entry.budget == SMALL),
        objectives=manifest.objectives,
        configurations=tuple(_configuration(release, manifest, name) for name in entries),
    )


def _lines(manifest: Manifest) -> Iterator[tuple[str, str]]:
    source = manifest.source
    checked = f", checked by {printable(source.check)}" if source.check else ""
    yield "Version", f"{printable(manifest.version)} of {printable(manifest.name)}"
    yield "Source", f"{printable(source.title)} ({source.kind}{checked})"
    size = "×".join(str(extent) for extent in manifest.shape)
    yield "Images", f"{size} (height × width × channels), {len(manifest.classes)} classes"
    yield "Made with", f"seed {manifest.seed}, device {printable(manifest.device)}"


def _configuration(release: Release, manifest: Manifest, name: str) -> Configuration:
    entry, record = manifest.configurations[name], release.recipe(name)
    if record.shortcut is not None:
        _check(record.shortcut, manifest)
    return Configuration(
        name=printable(name),
        summary=printable(entry.summary),
        digest=entry.pixels_sha256,
        measures={**dict(_measures(entry)), **dict(_survival(record.shortcut, manifest))},
        recipe={**dict(_recipe(record.recipe)), "seed of the release": _text(record.seed)},
        shortcut=record.shortcut,
    )


def _check(shortcut: Shortcut, manifest: Manifest) -> None:
    """Check that a shortcut is of the manifest's classes and images."""
    height, width, channels = manifest.shape
    fits = (shortcut.positions < (height, width)).all() and shortcut.colors.shape[-1] == channels
    if not fits or len(shortcut.class_names) != len(manifest.classes):
        raise ValueError(f"a shortcut of other classes or images than the manifest's {height}×{width}×{channels}")


def _measures(entry: ConfigurationEntry) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a configuration's measures, rounded as on the card."""
    visible, separable = entry.perceptibility, entry.separability
    yield "images", str(entry.rows)
    yield "ℓ0 mean (most)", _mean_and_worst(visible.l0_mean, visible.l0_max, ".4g")
    yield "ℓ2 mean (most)", _mean_and_worst(visible.l2_mean, visible.l2_max, ".2f")
    yield "ℓ∞", str(visible.linf_max)
    yield "PSNR mean (worst), dB", _mean_and_worst(visible.psnr_mean, visible.psnr_min, ".1f")
    yield "SSIM mean (worst)", _mean_and_worst(visible.ssim_mean, visible.ssim_min, ".4f")
    yield "linear separability, %", EMPTY_CELL if separable is None else f"{separable.accuracy:.1f}"


def _survival(shortcut: Shortcut | None, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what augmentation leaves of the pixels, rounded as on the card."""
    found = {} if shortcut is None else measure_survival(shortcut, manifest.shape[:2])
    for name in AUGMENTATIONS:
        left = found.get(name)
        text = EMPTY_CELL if left is None else f"{100 * left.lost_share:.1f}, {100 * left.accuracy:.1f}"
        yield f"{name}: lost, told, %", text


def _mean_and_worst(mean: float | None, worst: float | None, form: str) -> str:
    return EMPTY_CELL if mean is None or worst is None else f"{mean:{form}} ({worst:{form}})"


def _recipe(settings: RecipeSettings) -> Iterator[tuple[str, str]]:
    """Yield the names and values of a recipe's settings, and of its method's."""
    method = settings.method
    yield "objective", settings.objective or "none"
    yield "pixels per class", _text(settings.pixels)
    yield "method", "none" if method is None else _text(method["name"])
    for key, value in (method or {}).items():
        if key != "name":
            yield key.replace("_", " "), _text(value)


def _text(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
