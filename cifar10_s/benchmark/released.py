"""Released: the configurations of a released folder or of a dataset on the Hub, each one array, decoded once."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock

from cifar10_s.cache import cache_folder, write_whole
from cifar10_s.errors import SourceError, unknown
from cifar10_s.form import PLAIN_NAME, SHA256, TEXT, TEXTS, WHOLE, Each, Form, Leaf, misfit
from cifar10_s.images import LabeledImages

MANIFEST = "manifest.json"
SHAPE = Leaf(
    "height, width and channels", lambda value: isinstance(value, list) and [type(size) for size in value] == [int] * 3
)
# What is read here of a release's manifest.
FORM: Form = {
    "source": {"title": TEXT},
    "classes": TEXTS,
    "shape": SHAPE,
    "configurations": Each({"pixels_sha256": SHA256, "rows": WHOLE}, PLAIN_NAME),
    "splits": Each({"pixels_sha256": SHA256}, PLAIN_NAME),
}


class Released:
    """A release, read by configuration.

    Parameters
    ----------
    where
        A folder that `build` wrote, or the Hub's name of a dataset that was made from one.

    Raises
    ------
    SourceError
        Where there is no release.
    """

    def __init__(self, where: str | Path) -> None:
        self.name = str(where)
        self.folder = Path(where) if Path(where).is_dir() else _from_hub(str(where), [MANIFEST])
        try:
            self.manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            wrong = misfit(self.manifest, FORM)
        except (OSError, ValueError, RecursionError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong is not None:
            raise SourceError(
                f"{where}: is no release ({MANIFEST}: {wrong}): expected a folder that `cifar10-s build` wrote, or the "
                "name of such a dataset on the Hub"
            )
        self.title, self.configurations = self.manifest["source"]["title"], self.manifest["configurations"]
        self.class_names, self.shape = tuple(self.manifest["classes"]), tuple(self.manifest["shape"])
        test = self.manifest["splits"].get("test")
        self._test_digest = None if test is None else str(test["pixels_sha256"])

    def verify(self) -> None:
        """Check a whole folder; of what the Hub gives, only the images that are read are checked, by their digests.

        Raises
        ------
        VerificationError
            Naming every file that fails, and how.
        """
        from cifar10_s.verification import verify

        if Path(self.name).is_dir():
            verify(self.name)

    def select(self, names: Iterable[str] | None) -> list[str]:
        """Look up configurations; None means all.

        Raises
        ------
        UsageError
            For one that the release does not hold.
        """
        wanted = list(self.configurations if names is None else names)
        for name in wanted:
            if name not in self.configurations:
                raise unknown("configuration", name, self.configurations)
        return wanted

    def rows(self, configuration: str) -> int:
        """Give the number of a configuration's training images."""
        return int(self.configurations[configuration]["rows"])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.shape[0], self.shape[1]

    def digest(self, configuration: str) -> str:
        """Give the pixel digest of a configuration's training images."""
        return str(self.configurations[configuration]["pixels_sha256"])

    @property
    def test_digest(self) -> str:
        """The pixel digest of the clean test images.

        Raises
        ------
        SourceError
            Where the release has none.
        """
        if self._test_digest is None:
            raise SourceError(f"{self.name}: is a release without a test split: build it from a source that has one")
        return self._test_digest

    def recipe(self, configuration: str) -> dict[str, Any]:
        """Give what the release says of how a configuration was made.

        Raises
        ------
        SourceError
            Where it says nothing that can be read.
        """
        path = f"recipes/{configuration}.json"
        if not (Path(self.name).is_dir() or (self.folder / path).is_file()):
            self.folder = _from_hub(self.name, [MANIFEST, "recipes/*.json"])
        try:
            return dict(json.loads((self.folder / path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise SourceError(
                f"{self.name}: {path} cannot be read ({type(error).__name__}: {error}): fetch or build it again"
            ) from None

    def train(self, configuration: str) -> LabeledImages:
        """Give a configuration's training images."""
        return self._read(f"{configuration}/train", self.digest(configuration))

    def test(self) -> LabeledImages:
        """Give the clean test images."""
        return self._read("test", self.test_digest)

    def _read(self, split: str, digest: str) -> LabeledImages:
        """Read a split from the cache, else decode it and check its digest.

        Raises
        ------
        SourceError
            Where the images are not those of the manifest.
        """
        names, cached = self.class_names, cache_folder() / "images" / f"{digest}.npz"
        images = _from_cache(cached, names)
        if images is None or images.digest() != digest:
            images = self._decode(split, names)
            if images.digest() != digest:
                raise SourceError(
                    f"{self.name}: the images of {split} are not those of its manifest: expected pixel digest "
                    f"{digest}, got {images.digest()}: fetch or build it again"
                )
            _to_cache(cached, images)
        return images

    def _decode(self, split: str, names: tuple[str, ...]) -> LabeledImages:
        from cifar10_s.shards import StoredSplit

        if not Path(self.name).is_dir():
            self.folder = _from_hub(self.name, [MANIFEST, f"data/{split}-*"])
        files = sorted((self.folder / "data").glob(f"{split}-*.parquet"))
        if not files:
            raise SourceError(f"{self.name}: holds no data/{split}-*.parquet, of which its manifest speaks")
        return StoredSplit(files, self.shape, names).stream().load()


def _from_cache(path: Path, names: tuple[str, ...]) -> LabeledImages | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return LabeledImages(stored["pixels"], stored["labels"], names)
    except (OSError, ValueError, LookupError, EOFError, BadZipFile):
        return None


def _to_cache(path: Path, images: LabeledImages) -> None:
    """Keep images for the next time, unless there is no room for them or another process is doing it."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), blocking=False):
            write_whole(path, lambda file: np.savez(file, pixels=images.pixels, labels=images.labels))


def _from_hub(name: str, patterns: list[str]) -> Path:
    """Fetch some files of a dataset on the Hub into its cache; gives the folder."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # what a connection or a name raises depends on the library beneath
        raise SourceError(
            f"{name}: is neither a folder here nor a dataset that the Hub gives ({' '.join(str(error).split())[:200]})"
        ) from None
