"""Checks of what a release says of itself, in manifest and card."""

import html
import re
from collections.abc import Mapping
from typing import Any

import yaml

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


def check_card(findings: Findings, manifest: Mapping[str, Any], stored: Mapping[str, StoredSplit]) -> None:
    """Check the YAML by which the Hub and `datasets` find splits, features and sizes, and the digests shown."""
    with findings.reading(CARD):
        text = (findings.folder / CARD).read_text(encoding="utf-8")
        if not text.startswith("---\n") or "\n---\n" not in text:
            raise ValueError("no YAML between two lines ---")
        metadata, body = text[4:].split("\n---\n", 1)
        data = yaml.load(metadata, _PlainLoader)  # noqa: S506 (it is a SafeLoader)
        names, splits = list(manifest["configurations"]), list(manifest["splits"])
        findings.expect(CARD, "title", manifest["title"], data["pretty_name"])
        configs = [_config(name, splits, manifest["default"]) for name in names]
        findings.expect(CARD, "configs", configs, data["configs"])
        findings.expect(CARD, "dataset_info", names, [info["config_name"] for info in data["dataset_info"]])
        for info in data["dataset_info"]:
            _check_info(findings, manifest, stored, info)
        heading = "# " + " ".join(manifest["title"].split())
        if heading not in html.unescape(body).splitlines():
            findings.fail(CARD, f"expected the heading {heading!r}")
        for path in [*manifest["results"]["figures"], *([RELEASED] if manifest["results"]["records"] else [])]:
            if path not in body:
                findings.fail(CARD, f"expected what was measured, {path}")
        for name, entry in {**manifest["configurations"], **manifest["splits"]}.items():
            if entry["pixels_sha256"] not in body:
                findings.fail(CARD, f"expected the pixel digest of {name}, {entry['pixels_sha256']}")
        check_summaries(findings, manifest, body.splitlines())


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


def check_summaries(findings: Findings, manifest: Mapping[str, Any], lines: list[str]) -> None:
    """Check that the card says what each configuration is, and which noise is not as published."""
    for name, entry in manifest["configurations"].items():
        head, summary = f"| `{name}`", f" | {entry['summary']} | {entry['rows']} |"
        if not any(line.startswith((f"{head}{summary}", f"{head} (default){summary}")) for line in lines):
            findings.fail(CARD, f"expected a line on {name}: {entry['summary']}, {entry['rows']} images")
    reduced = [f"`{name}`" for name, entry in manifest["configurations"].items() if entry["budget"] == "small"]
    notice = f"> **Reduced recipe:** {', '.join(reduced)}."
    if reduced and not any(line.startswith(notice) for line in lines):
        findings.fail(CARD, f"expected the notice {notice}")


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


def _check_info(
    findings: Findings, manifest: Mapping[str, Any], stored: Mapping[str, StoredSplit], info: Mapping[str, Any]
) -> None:
    """Check what the card says of one configuration's columns and sizes."""
    name = info["config_name"]
    splits = {"train": stored[f"{name}/train"], **{split: stored[split] for split in manifest["splits"]}}
    classes = {str(label): name for label, name in enumerate(manifest["classes"])}
    sizes = {split: shards.num_bytes for split, shards in splits.items()}
    expected = {
        "config_name": name,
        "features": [
            {"name": "img", "dtype": "image"},
            {"name": "label", "dtype": {"class_label": {"names": classes}}},
        ],
        "splits": [
            {"name": split, "num_bytes": sizes[split], "num_examples": len(shards)} for split, shards in splits.items()
        ],
        "download_size": sum(file.stat().st_size for shards in splits.values() for file in shards.files),
        "dataset_size": sum(sizes.values()),
    }
    for field in expected.keys() | info.keys():
        findings.expect(CARD, f"dataset_info of {name}: {field}", expected.get(field), info.get(field))


def searched_objectives(names: list[str]) -> list[str]:
    """Name the objectives that the configurations' searches use."""
    return [objective for objective in OBJECTIVES if any(RECIPES[name].objective == objective for name in names)]


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, by which a few lines can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


def _config(name: str, splits: list[str], default: str) -> dict[str, Any]:
    """Give the entry of ``configs`` that makes `load_dataset` find a configuration."""
    files = [{"split": "train", "path": f"data/{name}/train-*"}]
    files += [{"split": split, "path": f"data/{split}-*"} for split in splits]
    return {"config_name": name, "data_files": files, **({"default": True} if name == default else {})}
