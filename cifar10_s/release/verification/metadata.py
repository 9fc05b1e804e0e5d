"""Check the metadata of a release: manifest, card, Croissant and records."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

from cifar10_s.common.records import Records
from cifar10_s.data.provenance import MEMORY
from cifar10_s.data.sources.registry import SOURCES
from cifar10_s.methods.base import Method
from cifar10_s.methods.from_file import CLASS_WISE, SAMPLE_WISE, GivenNoise
from cifar10_s.release.card import render, split_sizes, without_results
from cifar10_s.release.croissant import describe
from cifar10_s.release.layout import (
    CARD,
    CLEAN,
    CROISSANT,
    MANIFEST,
    RESULTS,
    TEST,
    is_results_figure,
    results_figure_path,
)
from cifar10_s.release.manifest import DATASET_NAME, FORMAT, VERSION, Manifest, Results, Source
from cifar10_s.release.recipe_table import own_method_failures, recipes_in
from cifar10_s.release.recipes import default_of
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.verification.failures import Failures, brief
from cifar10_s.shortcut.objectives import SEARCHED
from cifar10_s.shortcut.shortcut import Shortcut

NOISE_KINDS = (SAMPLE_WISE, CLASS_WISE)
# Images in memory come from no source of the table.
KINDS = (*SOURCES, MEMORY)


def check_manifest(failures: Failures, manifest: Manifest, data: Any) -> None:
    """Check the manifest's fields about the release as a whole; its metrics and digests are checked with the images.

    Parameters
    ----------
    failures
        Collects the failures found.
    manifest
        The manifest as parsed.
    data
        The JSON that it was parsed from, which must have the same fields and values.
    """
    failures.compare(MANIFEST, manifest.to_dict(), data)
    names, splits = list(manifest.configurations), list(manifest.splits)
    failures.expect(MANIFEST, "format", FORMAT, manifest.format)
    known = recipes_in(manifest)
    for failure in own_method_failures(manifest):
        failures.add(MANIFEST, failure)
    if manifest.recipe_only and manifest.own_methods:
        failures.add(MANIFEST, "own_methods: expected none in a release without images: nobody else can make theirs")
    for name in names:
        if name not in known:
            failures.add(MANIFEST, f"unknown configuration {name!r}: was it made by another version?")
    if CLEAN not in names:
        failures.add(MANIFEST, f"expected a configuration {CLEAN!r}, with which the others are compared")
    if splits not in ([], [TEST]):
        failures.add(MANIFEST, f"splits: expected {TEST} or none, got {brief(splits)}")
    _check_results(failures, manifest.results)
    failures.expect(MANIFEST, "objectives", searched_objectives(manifest), manifest.objectives)
    failures.expect(MANIFEST, "default", default_of(names), manifest.default)
    forms = {
        "version": VERSION,
        "date": r"\d{4}-\d\d-\d\d",
        "name": DATASET_NAME,
        "device": r"[\w:]+",
    }
    for field, form in forms.items():
        if not re.fullmatch(form, getattr(manifest, field), re.ASCII):
            failures.add(MANIFEST, f"{field}: expected {form}, got {brief(getattr(manifest, field))}")
    _check_provenance(failures, manifest)


def _check_results(failures: Failures, results: Results) -> None:
    """Check the manifest's fields about the benchmark results."""
    if results.figures and not results.records:
        failures.add(MANIFEST, f"results: expected no figures without records, got {brief(results.figures)}")
    for path in results.figures:
        if not is_results_figure(path):
            failures.add(MANIFEST, f"results: expected {results_figure_path('*', '*')}, got {brief(path)}")


def check_records(failures: Failures, manifest: Manifest) -> None:
    """Check that the records are complete, as many as the manifest says, and of the release's own images."""
    if not manifest.results.records:
        return
    with failures.reading(RESULTS):
        records = Records(failures.folder / RESULTS).read()
        failures.expect(RESULTS, "records", manifest.results.records, len(records))
        for number, record in enumerate(records, 1):
            settings = record["settings"]
            name = settings["configuration"]
            expected = [manifest.pixels.get(name), manifest.test_pixels]
            got = [settings["pixels_sha256"], settings["test_sha256"]]
            failures.expect(RESULTS, f"line {number}: pixel digests of {name} and of the test images", expected, got)


def _check_provenance(failures: Failures, manifest: Manifest) -> None:
    """Check that the release has the title that its source calls for."""
    source, provenance = manifest.source, manifest.source.provenance
    failures.compare(MANIFEST, asdict(Source.of(provenance, source.pixels_sha256)), asdict(source), "source")
    title = manifest.attribution.title or provenance.release_title(shortcut=bool(manifest.objectives))
    failures.expect(MANIFEST, "title", title, manifest.title)
    with failures.reading(f"{MANIFEST}: attribution"):
        manifest.attribution.check_form()
        manifest.attribution.check_claims(provenance)
    if provenance.kind not in KINDS:
        failures.add(MANIFEST, f"source.kind: expected one of {', '.join(KINDS)}, got {brief(provenance.kind)}")


def check_card(
    failures: Failures,
    manifest: Manifest,
    stored: Mapping[str, StoredSplit],
    shortcuts: Mapping[str, Shortcut],
) -> None:
    """Check that the card is, byte for byte, the one rendered from manifest, recipes and files.

    The tables of benchmark results are left out: they are made from the records, which `check_records` checks.

    Parameters
    ----------
    failures
        Collects the failures found.
    manifest
        The manifest, already checked.
    stored
        The files of each split, by `layout.split_path`; none of a release without images.
    shortcuts
        The shortcut of each configuration that has one.
    """
    with failures.reading(CARD):
        sizes = {} if manifest.recipe_only else split_sizes(manifest, stored)
        text = (failures.folder / CARD).read_bytes().decode()
        results = manifest.results
        for path in [*results.figures, *([RESULTS] if results.records else [])]:
            if path not in text:
                failures.add(CARD, f"expected its results to mention {path}, got no such path")
        got = without_results(text)
        expected = without_results(render(manifest, sizes, shortcuts))
        for expected_line, line in zip_longest(expected.split("\n"), got.split("\n")):
            if line != expected_line:
                failures.add(CARD, f"expected {brief(repr(expected_line))}, got {brief(repr(line))}")
                break


def check_croissant(failures: Failures, manifest: Manifest, files: Mapping[str, str]) -> None:
    """Check that ``croissant.json`` is the one made from the manifest and the files' digests, field by field."""
    with failures.reading(CROISSANT):
        failures.compare(CROISSANT, describe(manifest, files), failures.read_json(CROISSANT))


def check_noise(failures: Failures, file: str, method: Method | None) -> None:
    """Check a recipe's record of the file that its noise was read from, if it was."""
    if not isinstance(method, GivenNoise):
        return
    if method.kind not in NOISE_KINDS:
        failures.add(file, f"noise: kind: expected {' or '.join(NOISE_KINDS)}, got {brief(method.kind)}")
    if not re.fullmatch("[0-9a-f]{64}", method.sha256):
        failures.add(file, f"noise: sha256: expected 64 hexadecimal digits, got {brief(method.sha256)}")
    if not re.fullmatch(r"[^/\\]+", method.file) or not method.file.isprintable() or method.file in (".", ".."):
        failures.add(file, f"noise: file: expected a file name without a folder, got {brief(ascii(method.file))}")


def searched_objectives(manifest: Manifest) -> list[str]:
    """Return the objectives that the configurations of a release search by, in the order of the table."""
    used = {recipe.objective for recipe in recipes_in(manifest).values()}
    return [objective for objective in SEARCHED if objective in used]
