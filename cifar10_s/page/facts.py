"""Facts: what a release's manifest and recipes say, as texts for the page."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cifar10_s.benchmark import Released
from cifar10_s.benchmark.sheet import EMPTY
from cifar10_s.errors import SourceError, printable
from cifar10_s.shortcut import Shortcut


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is said of one configuration.

    Attributes
    ----------
    name, summary, digest
        As in the manifest.
    measures
        Its size and how visible it is, each by its name.
    recipe
        What decides its pixels, each by its name.
    shortcut
        The pixels that were chosen, where there are any.
    """

    name: str
    summary: str
    digest: str
    measures: Mapping[str, str]
    recipe: Mapping[str, str]
    shortcut: Shortcut | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is said of a release.

    Attributes
    ----------
    name, title, version, default
        As in the manifest.
    source
        The title of its source.
    is_cifar10, claims_cifar10
        Whether the source is CIFAR-10, and whether it only says so.
    lines
        What else the head of the page says, each by its name.
    digests
        The pixel digests of the source's splits, each by its name.
    classes
        Their names.
    reduced
        The configurations that were made on a small budget.
    objectives
        What the search was asked for.
    configurations
        In the manifest's order.
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


def read(released: Released) -> Facts:
    """Read a release's manifest and recipes.

    Raises
    ------
    SourceError
        Where they are not as `build` writes them.
    """
    try:
        return _facts(released, released.manifest)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{released.name}: its manifest or recipes are not as `cifar10-s build` writes them "
            f"({type(error).__name__}: {error}): run `cifar10-s verify` on it"
        ) from None


def _facts(released: Released, manifest: Mapping[str, Any]) -> Facts:
    source, entries = manifest["source"], manifest["configurations"]
    return Facts(
        name=printable(manifest["name"]),
        title=printable(manifest["title"]),
        version=printable(manifest["version"]),
        default=str(manifest["default"]),
        source=printable(source["title"]),
        is_cifar10=bool(source["is_cifar10"]),
        claims_cifar10=bool(source["claims_cifar10"]),
        lines=dict(_lines(manifest)),
        digests={
            f"Pixel digest of the source, {printable(split)} (SHA-256)": str(digest)
            for split, digest in source["pixels_sha256"].items()
        },
        classes=tuple(map(printable, manifest["classes"])),
        reduced=tuple(name for name, entry in entries.items() if entry["budget"] == "small"),
        objectives=tuple(map(str, manifest["objectives"])),
        configurations=tuple(_configuration(released, manifest, name) for name in entries),
    )


def _lines(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    source = manifest["source"]
    checked = f", checked by {printable(source['check'])}" if source["check"] else ""
    yield "Version", f"{printable(manifest['version'])} of {printable(manifest['name'])}"
    yield "Source", f"{printable(source['title'])} ({source['kind']}{checked})"
    size = "×".join(str(int(extent)) for extent in manifest["shape"])
    yield "Images", f"{size} (height × width × channels), {len(manifest['classes'])} classes"
    yield "Made with", f"seed {manifest['seed']}, device {printable(manifest['device'])}"


def _configuration(released: Released, manifest: Mapping[str, Any], name: str) -> Configuration:
    entry, record = manifest["configurations"][name], released.recipe(name)
    shortcut = None if record["shortcut"] is None else Shortcut.from_dict(record["shortcut"])
    if shortcut is not None:
        _check(shortcut, manifest)
    return Configuration(
        name=printable(name),
        summary=printable(entry["summary"]),
        digest=str(entry["pixels_sha256"]),
        measures=dict(_measures(entry)),
        recipe={**dict(_recipe(record["recipe"])), "seed of the release": _text(record["seed"])},
        shortcut=shortcut,
    )


def _check(shortcut: Shortcut, manifest: Mapping[str, Any]) -> None:
    """Refuse pixels that the images do not have."""
    height, width, channels = manifest["shape"]
    fits = (shortcut.positions < (height, width)).all() and shortcut.colors.shape[-1] == channels
    if not fits or len(shortcut.class_names) != len(manifest["classes"]):
        raise ValueError(f"a shortcut of other classes or images than the manifest's {height}×{width}×{channels}")


def _measures(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name what the manifest says of a configuration's images, rounded as on the card."""
    visible, separable = entry["perceptibility"], entry["separability"]
    yield "images", str(int(entry["rows"]))
    yield "ℓ0 mean (most)", _two(visible["l0_mean"], visible["l0_max"], ".4g")
    yield "ℓ2 mean (most)", _two(visible["l2_mean"], visible["l2_max"], ".2f")
    yield "ℓ∞", str(int(visible["linf_max"]))
    yield "PSNR mean (worst), dB", _two(visible["psnr_mean"], visible["psnr_min"], ".1f")
    yield "SSIM mean (worst)", _two(visible["ssim_mean"], visible["ssim_min"], ".4f")
    yield "linear separability, %", EMPTY if separable is None else f"{separable['accuracy']:.1f}"


def _two(mean: float | None, worst: float | None, form: str) -> str:
    return EMPTY if mean is None or worst is None else f"{mean:{form}} ({worst:{form}})"


def _recipe(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the numbers of a recipe, those of its method too."""
    method = settings["method"]
    yield "objective", _text(settings["objective"] or "none")
    yield "pixels a class", _text(settings["pixels"])
    yield "method", "none" if method is None else _text(method["name"])
    for key, value in (method or {}).items():
        if key != "name":
            yield key.replace("_", " "), _text(value)


def _text(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
