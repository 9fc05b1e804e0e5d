"""Checks of what a release says of itself, in manifest and card."""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from cifar10_s.card import SplitSize, render
from cifar10_s.checksums import MANIFEST
from cifar10_s.croissant import CROISSANT, describe
from cifar10_s.findings import Findings, brief
from cifar10_s.form import DATASET_NAME, SHA256
from cifar10_s.methods import GivenNoise, Method
from cifar10_s.provenance import Provenance
from cifar10_s.recipes import DEFAULTS, RECIPES
from cifar10_s.records import RELEASED, Records
from cifar10_s.search import OBJECTIVES
from cifar10_s.shards import StoredSplit

CARD = "README.md"
# What a card shows of the records.
MEASURED = re.compile(r"## What networks learn from them\n.*?\n(?=## Dataset creation\n)", re.DOTALL)
MANIFEST_FIELDS = (
    "classes", "configurations", "date", "default", "device", "format", "libraries", "name", "objectives", "results",
    "seed", "shape", "source", "splits", "title", "version",
)  # fmt: skip
ENTRY_FIELDS = ("budget", "perceptibility", "pixels_sha256", "rows", "separability", "summary")
NOISE_KINDS = ("sample-wise", "class-wise")
KINDS = ("archive", "arrays", "hub", "images", "memory", "parquet", "sample")


def check_manifest(findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Check what the manifest says of the release as a whole; its numbers are checked with the images."""
    names, splits = list(manifest["configurations"]), list(manifest["splits"])
    findings.expect(MANIFEST, "fields", sorted(MANIFEST_FIELDS), sorted(manifest))
    findings.expect(MANIFEST, "format", 1, manifest["format"])
    for name in names:
        if name not in RECIPES:
            findings.fail(MANIFEST, f"unknown configuration {name!r}: was it made by another version?")
        findings.expect(MANIFEST, f"fields of {name}", sorted(ENTRY_FIELDS), sorted(manifest["configurations"][name]))
    if "clean" not in names:
        findings.fail(MANIFEST, "expected a configuration 'clean', with which the others are compared")
    if splits not in ([], ["test"]):
        findings.fail(MANIFEST, f"splits: expected test or none, got {brief(splits)}")
    _check_results(findings, manifest["results"])
    findings.expect(MANIFEST, "objectives", searched_objectives(names), manifest["objectives"])
    findings.expect(MANIFEST, "default", next((name for name in DEFAULTS if name in names), None), manifest["default"])
    forms = {
        "version": r"\d+\.\d+\.\d+",
        "date": r"\d{4}-\d\d-\d\d",
        "name": DATASET_NAME,
        "device": r"[\w:]+",
    }
    for field, form in forms.items():
        if not re.fullmatch(form, manifest[field], re.ASCII):
            findings.fail(MANIFEST, f"{field}: expected {form}, got {brief(manifest[field])}")
    if type(manifest["seed"]) is not int or not all(isinstance(v, str) for v in manifest["libraries"].values()):
        findings.fail(MANIFEST, "expected a whole number as seed and a version for each library")
    _check_provenance(findings, manifest)


def _check_results(findings: Findings, results: Mapping[str, Any]) -> None:
    """Check what the manifest says of the records of the release and their figures."""
    findings.expect(MANIFEST, "fields of results", ["figures", "records"], sorted(results))
    figures, count = results["figures"], results["records"]
    if type(count) is not int or count < 0 or (figures and not count):
        findings.fail(
            MANIFEST, f"results: expected a number of records, and figures only of some, got {brief(results)}"
        )
    for path in figures:
        if not re.fullmatch(r"figures/results-[a-z0-9-]+\.png", path, re.ASCII):
            findings.fail(MANIFEST, f"results: expected figures/results-*.png, got {brief(path)}")


def check_records(findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Check that the records are whole, as many as said, and of the release's own images."""
    if not manifest["results"]["records"]:
        return
    with findings.reading(RELEASED):
        records = Records(findings.folder / RELEASED).read()
        findings.expect(RELEASED, "records", manifest["results"]["records"], len(records))
        for number, record in enumerate(records, 1):
            settings = record["settings"]
            of = settings["configuration"]
            expected = [manifest["configurations"].get(of), *manifest["splits"].values()]
            digests = [entry and entry["pixels_sha256"] for entry in expected]
            got = [settings["pixels_sha256"], settings["test_sha256"]]
            findings.expect(RELEASED, f"line {number}: pixel digests of {of} and of the test images", digests, got)


def _check_provenance(findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Check that the release is called what its source allows."""
    source = dict(manifest["source"])
    fields: dict[str, Any] = {field: source.get(field) for field in ("kind", "name", "claims_cifar10", "check")}
    provenance = Provenance(**fields)
    expected = {**fields, "title": provenance.title, "is_cifar10": provenance.is_cifar10}
    source.pop("pixels_sha256")
    findings.expect(MANIFEST, "source", expected, source)
    findings.expect(MANIFEST, "title", provenance.release_title, manifest["title"])
    if provenance.kind not in KINDS or type(provenance.claims_cifar10) is not bool:
        findings.fail(MANIFEST, f"source: expected one of the kinds {', '.join(KINDS)}, got {brief(provenance.kind)}")


def check_card(
    findings: Findings, manifest: Mapping[str, Any], stored: Mapping[str, StoredSplit], shortcuts: Mapping[str, Any]
) -> None:
    """Check that the card says what manifest, recipes and files call for, to the byte.

    The tables of what was measured are left out: they come of the records, and these are checked to be of these images.

    Parameters
    ----------
    manifest
        As it was checked.
    stored
        The files of each split.
    shortcuts
        For each configuration with a shortcut, what its recipe says of it.
    """
    with findings.reading(CARD):
        text = (findings.folder / CARD).read_bytes().decode()
        for path in [*manifest["results"]["figures"], *([RELEASED] if manifest["results"]["records"] else [])]:
            if path not in text:
                findings.fail(CARD, f"expected what was measured, {path}")
        got = MEASURED.sub("", text, 1) if manifest["results"]["records"] else text
        expected = render(manifest, split_sizes(manifest, stored), shortcuts)
        for line, other in zip_longest(expected.split("\n"), got.split("\n")):
            if line != other:
                findings.fail(CARD, f"expected {brief(repr(line))}, got {brief(repr(other))}")
                break


def split_sizes(manifest: Mapping[str, Any], stored: Mapping[str, StoredSplit]) -> dict[str, dict[str, SplitSize]]:
    """Give the sizes of each configuration's splits; all share those that are clean."""
    sizes = {
        split: SplitSize(len(shards), shards.num_bytes, sum(file.stat().st_size for file in shards.files))
        for split, shards in stored.items()
    }
    return {
        name: {"train": sizes[f"{name}/train"], **{split: sizes[split] for split in manifest["splits"]}}
        for name in manifest["configurations"]
    }


def check_croissant(findings: Findings, manifest: Mapping[str, Any], files: Mapping[str, str]) -> None:
    """Check that ``croissant.json`` says what manifest and digests of the files call for, field by field."""
    with findings.reading(CROISSANT):
        _compare(findings, "the whole", describe(manifest, files), findings.read_json(CROISSANT))


def _compare(findings: Findings, where: str, expected: Any, got: Any) -> None:
    """Compare as deep as both have the same fields and as many values, to name the least that differs."""
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        for key, value in expected.items():
            _compare(findings, key if where == "the whole" else f"{where}.{key}", value, got[key])
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for number, value in enumerate(expected):
            _compare(findings, f"{where}[{number}]", value, got[number])
    else:
        findings.expect(CROISSANT, where, expected, got)


def check_noise(findings: Findings, file: str, method: Method | None) -> None:
    """Check what a recipe says of the file that its noise was read from."""
    if not isinstance(method, GivenNoise):
        return
    if method.kind not in NOISE_KINDS:
        findings.fail(file, f"noise: kind: expected {' or '.join(NOISE_KINDS)}, got {brief(method.kind)}")
    if not SHA256.fits(method.sha256):
        findings.fail(file, f"noise: sha256: expected 64 hexadecimal digits, got {brief(method.sha256)}")
    if not re.fullmatch(r"[^/\\]+", method.file) or not method.file.isprintable() or method.file in (".", ".."):
        findings.fail(file, f"noise: file: expected a name without its folder, got {brief(ascii(method.file))}")


def searched_objectives(names: list[str]) -> list[str]:
    """Name the objectives that the configurations' searches use."""
    return [objective for objective in OBJECTIVES if any(RECIPES[name].objective == objective for name in names)]
