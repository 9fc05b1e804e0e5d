"""Verify: reopen a release and check that it is what it says. Nothing here comes from `package`."""

import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from cifar10_s.checksums import MANIFEST, SUMS, compare, hash_folder, list_files, read_sums
from cifar10_s.compose import find_shortcut
from cifar10_s.errors import Cifar10SError, VerificationError
from cifar10_s.images import LabeledImages, PixelDigest
from cifar10_s.norms import CHUNK, Norms, measure
from cifar10_s.parallel import chunks, progress_bar
from cifar10_s.provenance import Provenance
from cifar10_s.recipes import DEFAULTS, RECIPES
from cifar10_s.search import OBJECTIVES
from cifar10_s.shards import RowGroup, StoredSplit
from cifar10_s.shortcut import Shortcut
from cifar10_s.sources import compare_with_cifar10

CARD = "README.md"
MANIFEST_FIELDS = (
    "classes", "configurations", "default", "device", "format", "libraries", "name", "objectives", "seed", "shape",
    "source", "splits", "title", "version",
)  # fmt: skip
ENTRY_FIELDS = ("norms", "pixels_sha256", "rows", "summary")
KINDS = ("archive", "hub", "images", "memory", "parquet", "sample")
MAX_FIGURE_PIXELS = 1 << 25
# What reading a file of another form than expected can raise.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError,
    Image.DecompressionBombError, yaml.YAMLError,
)  # fmt: skip


@dataclass(frozen=True)
class VerifiedRelease:
    """A release that has just verified; `verify` makes it.

    Attributes
    ----------
    folder
        Where it is.
    manifest
        Its ``manifest.json``.
    files
        The SHA-256 of every file, by path.
    images
        How many images were decoded and compared.
    """

    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, str]
    images: int


def verify(folder: str | Path) -> VerifiedRelease:
    """Check every file and every image of a release; what is missing is an error.

    Raises
    ------
    VerificationError
        Naming every file that fails, and how.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VerificationError([f"{folder}: is not a folder: expected a release that `cifar10-s build` wrote"])
    verification = _Verification(folder)
    stages = (
        (verification.check_sums,),
        (verification.check_layout,),
        (verification.check_card, verification.check_figures, verification.check_images),
    )
    for checks in stages:
        for check in checks:
            check()
        # Each stage rests on those before it.
        if verification.failures:
            raise VerificationError(verification.failures)
    return VerifiedRelease(folder, verification.manifest, verification.files, verification.images)


class _Verification:
    """One run over a release; its steps add to ``failures``, a line each, the file's path first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.files: dict[str, str] = {}
        self.manifest: dict[str, Any] = {}
        self.stored: dict[str, StoredSplit] = {}
        self.images = 0

    def fail(self, file: str, what: str) -> None:
        self.failures.append(f"{file}: {what}")

    def fail_at(self, where: str, what: str) -> None:
        """Fail at a place that begins with this folder's path."""
        self.fail(where.removeprefix(f"{self.folder}/"), what)

    def expect(self, file: str, what: str, expected: object, got: object) -> None:
        """Compare as JSON does: 1, 1.0 and true are three things."""
        if _as_json(expected) != _as_json(got):
            self.fail(file, f"{what}: expected {_brief(expected)}, got {_brief(got)}")

    @contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Make a failure of whatever a file of another form leads to."""
        try:
            yield
        except Cifar10SError as error:
            # The errors of shards name the file themselves.
            message = str(error).removeprefix(f"{self.folder}/")
            self.failures.append(message if message.startswith("data/") else f"{file}: {message}")
        except MALFORMED as error:
            self.fail(file, f"is not of the expected form ({type(error).__name__}: {error})")

    def read_json(self, file: str) -> Any:
        return json.loads((self.folder / file).read_text(encoding="utf-8"))

    def check_sums(self) -> None:
        """Compare every file with SHA256SUMS."""
        if not (self.folder / SUMS).is_file():
            self.fail(SUMS, f"is missing from {self.folder}: expected a release that `cifar10-s build` wrote")
            return
        for name in list_files(self.folder)[1]:
            self.fail(name, "is no plain file")
        self.files = hash_folder(self.folder)
        with self.reading(SUMS):
            self.failures += compare(read_sums(self.folder), self.files)

    def check_layout(self) -> None:
        """Check that the manifest can be read, and that exactly the files are there that it calls for."""
        with self.reading(MANIFEST):
            self.manifest = self.read_json(MANIFEST)
            names, splits = list(self.manifest["configurations"]), list(self.manifest["splits"])
            self._check_manifest(names, splits)
            shards = {split: self._find_shards(split) for split in [f"{name}/train" for name in names] + splits}
            expected = {CARD, MANIFEST, *(file for found in shards.values() for file in found)}
            expected |= {f"recipes/{name}.json" for name in names} | {f"figures/{name}.png" for name in names}
            expected |= {f"figures/scores-{objective}.png" for objective in _objectives(names)}
            for name in sorted(expected - self.files.keys()):
                self.fail(name, "is missing")
            for name in sorted(self.files.keys() - expected):
                self.fail(name, "is no part of a release")
            self.stored = {
                split: StoredSplit(
                    [self.folder / file for file in found],
                    tuple(self.manifest["shape"]),
                    tuple(self.manifest["classes"]),
                )
                for split, found in shards.items()
            }

    def _check_manifest(self, names: list[str], splits: list[str]) -> None:
        """Check what the manifest says of the release as a whole; its numbers are checked with the images."""
        manifest = self.manifest
        self.expect(MANIFEST, "fields", sorted(MANIFEST_FIELDS), sorted(manifest))
        self.expect(MANIFEST, "format", 1, manifest["format"])
        for name in names:
            if name not in RECIPES:
                self.fail(MANIFEST, f"unknown configuration {name!r}: was it made by another version?")
            self.expect(MANIFEST, f"fields of {name}", sorted(ENTRY_FIELDS), sorted(manifest["configurations"][name]))
        if "clean" not in names:
            self.fail(MANIFEST, "expected a configuration 'clean', with which the others are compared")
        if splits not in ([], ["test"]):
            self.fail(MANIFEST, f"splits: expected test or none, got {_brief(splits)}")
        self.expect(MANIFEST, "objectives", _objectives(names), manifest["objectives"])
        self.expect(MANIFEST, "default", next(name for name in DEFAULTS if name in names), manifest["default"])
        forms = {"version": r"\d+\.\d+\.\d+", "name": r"[A-Za-z0-9][\w.-]*", "device": r"[\w:]+"}
        for field, form in forms.items():
            if not re.fullmatch(form, manifest[field], re.ASCII):
                self.fail(MANIFEST, f"{field}: expected {form}, got {_brief(manifest[field])}")
        if type(manifest["seed"]) is not int or not all(isinstance(v, str) for v in manifest["libraries"].values()):
            self.fail(MANIFEST, "expected a whole number as seed and a version for each library")
        self._check_provenance()

    def _check_provenance(self) -> None:
        """Check that the release is called what its source allows."""
        source = dict(self.manifest["source"])
        fields: dict[str, Any] = {field: source.get(field) for field in ("kind", "name", "claims_cifar10", "check")}
        provenance = Provenance(**fields)
        expected = {**fields, "title": provenance.title, "is_cifar10": provenance.is_cifar10}
        source.pop("pixels_sha256")
        self.expect(MANIFEST, "source", expected, source)
        self.expect(MANIFEST, "title", provenance.release_title, self.manifest["title"])
        if provenance.kind not in KINDS or type(provenance.claims_cifar10) is not bool:
            self.fail(MANIFEST, f"source: expected one of the kinds {', '.join(KINDS)}, got {_brief(provenance.kind)}")

    def _find_shards(self, split: str) -> list[str]:
        pattern = re.compile(rf"data/{re.escape(split)}-\d{{5}}-of-\d{{5}}\.parquet")
        found = sorted(file for file in self.files if pattern.fullmatch(file))
        expected = [f"data/{split}-{i:05d}-of-{len(found):05d}.parquet" for i in range(len(found))]
        if not found or found != expected:
            self.fail(f"data/{split}-*.parquet", f"expected shards 0 to n-1 of n, got {found}")
        return found

    def check_card(self) -> None:
        """Check the YAML by which the Hub and `datasets` find splits, features and sizes, and the digests shown."""
        with self.reading(CARD):
            text = (self.folder / CARD).read_text(encoding="utf-8")
            if not text.startswith("---\n") or "\n---\n" not in text:
                raise ValueError("no YAML between two lines ---")
            metadata, body = text[4:].split("\n---\n", 1)
            data = yaml.load(metadata, _PlainLoader)  # noqa: S506 (it is a SafeLoader)
            names, splits = list(self.manifest["configurations"]), list(self.manifest["splits"])
            self.expect(CARD, "title", self.manifest["title"], data["pretty_name"])
            configs = [_config(name, splits, self.manifest["default"]) for name in names]
            self.expect(CARD, "configs", configs, data["configs"])
            self.expect(CARD, "dataset_info", names, [info["config_name"] for info in data["dataset_info"]])
            for info in data["dataset_info"]:
                self._check_info(info)
            if f"# {self.manifest['title']}" not in html.unescape(body).splitlines():
                self.fail(CARD, f"expected the heading # {self.manifest['title']}")
            for name, entry in {**self.manifest["configurations"], **self.manifest["splits"]}.items():
                if entry["pixels_sha256"] not in body:
                    self.fail(CARD, f"expected the pixel digest of {name}, {entry['pixels_sha256']}")

    def _check_info(self, info: Mapping[str, Any]) -> None:
        """Check what the card says of one configuration's columns and sizes."""
        name = info["config_name"]
        stored = {"train": self.stored[f"{name}/train"]}
        stored |= {split: self.stored[split] for split in self.manifest["splits"]}
        classes = {str(label): name for label, name in enumerate(self.manifest["classes"])}
        sizes = {split: shards.num_bytes() for split, shards in stored.items()}
        expected = {
            "config_name": name,
            "features": [
                {"name": "img", "dtype": "image"},
                {"name": "label", "dtype": {"class_label": {"names": classes}}},
            ],
            "splits": [
                {"name": split, "num_bytes": sizes[split], "num_examples": len(shards)}
                for split, shards in stored.items()
            ],
            "download_size": sum(file.stat().st_size for shards in stored.values() for file in shards.files),
            "dataset_size": sum(sizes.values()),
        }
        for field in expected.keys() | info.keys():
            self.expect(CARD, f"dataset_info of {name}: {field}", expected.get(field), info.get(field))

    def check_figures(self) -> None:
        """Check that every figure is a picture."""
        for name in self.files:
            if name.startswith("figures/"):
                with self.reading(name), Image.open(self.folder / name, formats=("PNG",)) as image:
                    if image.width * image.height > MAX_FIGURE_PIXELS:
                        raise ValueError(f"{image.width}×{image.height} is too large for a figure")
                    image.load()

    def check_images(self) -> None:
        """Decode every image and compare it with what manifest and recipes say."""
        with self.reading(MANIFEST):
            clean = self.stored["clean/train"].load()
            source = {
                "train": clean,
                **{split: self.stored[split].load() for split in self.manifest["splits"]},
            }
            self.images += sum(map(len, source.values()))
            self._check_source(source)
            for name, entry in self.manifest["configurations"].items():
                shortcut = None
                with self.reading(f"recipes/{name}.json"):
                    shortcut = self._check_recipe(name, clean)
                self._check_configuration(name, entry, clean, shortcut)

    def _check_source(self, source: Mapping[str, LabeledImages]) -> None:
        """Check the clean splits, and that nothing is called CIFAR-10 that is not."""
        digests = {split: images.digest() for split, images in source.items()}
        self.expect(MANIFEST, "source: pixel digests", digests, self.manifest["source"]["pixels_sha256"])
        for split, entry in self.manifest["splits"].items():
            self.expect(f"data/{split}", "rows", entry["rows"], len(source[split]))
            self.expect(f"data/{split}", "pixel digest", entry["pixels_sha256"], digests[split])
        if self.manifest["source"]["is_cifar10"]:
            for split, images in source.items():
                failure = compare_with_cifar10(images, split)
                if failure is not None:
                    self.fail(MANIFEST, f"the {split} split is said to be CIFAR-10: {failure}")

    def _check_recipe(self, name: str, clean: LabeledImages) -> Shortcut | None:
        """Check that the recorded shortcut is what the search finds on the clean images."""
        file = f"recipes/{name}.json"
        record, recipe, seed = self.read_json(file), RECIPES[name], self.manifest["seed"]
        found = find_shortcut(recipe, clean, seed=seed, device="cpu")
        self.expect(file, "fields", ["recipe", "seed", "shortcut"], sorted(record))
        self.expect(file, "recipe", recipe.settings(), record["recipe"])
        self.expect(file, "seed", seed, record["seed"])
        self.expect(file, "shortcut", None if found is None else found.to_dict(), record["shortcut"])
        return None if record["shortcut"] is None else Shortcut.from_dict(record["shortcut"])

    def _check_configuration(
        self, name: str, entry: Mapping[str, Any], clean: LabeledImages, shortcut: Shortcut | None
    ) -> None:
        """Check one configuration's rows, labels, pixels, digest and norms."""
        where, stored = f"data/{name}/train", self.stored[f"{name}/train"]
        self.expect(where, "rows", entry["rows"], len(stored))
        self.expect(where, "rows", len(clean), len(stored))
        if len(clean) != len(stored):
            return
        for row in np.flatnonzero(stored.labels != clean.labels)[:1]:
            expected, got = clean.labels[row], stored.labels[row]
            self.fail_at(stored.name(row), f"expected label {expected}, as in data/clean, got {got}")
        digest = PixelDigest(clean.pixels.shape, stored.labels)
        wrong: list[int] = []
        norms = Norms()

        def examine(group: RowGroup, pixels: NDArray[np.uint8]) -> tuple[Norms, list[int]]:
            expected = _stamped(clean.pixels[group.part], clean.labels[group.part], shortcut)
            differs = np.flatnonzero((pixels != expected).any((1, 2, 3))) + group.start
            parts = (measure(clean.pixels[group.part][c], pixels[c]) for c in chunks(group.rows, CHUNK))
            return reduce(add, parts, Norms()), differs.tolist()

        with progress_bar(f"verify {name}", len(stored)) as bar:
            for group, pixels, (of_group, differs) in stored.map_groups(examine):
                digest.update(pixels)
                norms, wrong = norms + of_group, wrong + differs
                self.images += group.rows
                bar.update(group.rows)
        if wrong:
            images = "1 image is" if len(wrong) == 1 else f"this and {len(wrong) - 1} more images are"
            self.fail_at(stored.name(wrong[0]), f"{images} not what the recipe makes of the clean ones")
        self.expect(where, "pixel digest", entry["pixels_sha256"], digest.hexdigest())
        self._check_norms(name, entry["norms"], norms.to_dict())

    def _check_norms(self, name: str, recorded: Mapping[str, float], measured: Mapping[str, float]) -> None:
        """Compare norms; sums of floats may differ by their order in the last recorded digit."""
        same = recorded.keys() == measured.keys() and all(
            math.isclose(recorded[key], measured[key], abs_tol=2e-6) for key in measured
        )
        if not same:
            self.fail(MANIFEST, f"norms of {name}: expected {dict(measured)}, got {dict(recorded)}")


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _objectives(names: list[str]) -> list[str]:
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


def _stamped(clean: NDArray[np.uint8], labels: NDArray[np.int64], shortcut: Shortcut | None) -> NDArray[np.uint8]:
    """Give what a chunk of images must be: the clean ones, but for the recipe's pixels."""
    expected = clean.copy()
    if shortcut is not None:
        for label in np.unique(labels):
            for (row, column), color in zip(shortcut.positions[label], shortcut.colors[label], strict=True):
                expected[labels == label, row, column] = color
    return expected
