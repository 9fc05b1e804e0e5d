"""Read the configurations of a release, from a folder or the Hub, each as one array that is decoded once."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
from filelock import FileLock

from cifar10_s.common import typed_json
from cifar10_s.common.files import cache_folder, expand, write_atomically
from cifar10_s.common.html import html_table
from cifar10_s.common.options import Options
from cifar10_s.common.transfers import IS_POINTER, how_to_get, is_pointer
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.thumbnails import Rings
from cifar10_s.errors import SourceError, look_up, one_line, unknown
from cifar10_s.release.layout import (
    CLEAN,
    MANIFEST,
    SHARD_SUFFIX,
    TEST,
    TRAIN,
    recipe_path,
    shard_pattern,
    split_path,
    stored_shards,
)
from cifar10_s.release.manifest import read_manifest
from cifar10_s.shortcut.shortcut import Shortcut

if TYPE_CHECKING:
    from cifar10_s.data.torch_dataset import ImageDataset
    from cifar10_s.release.recipe_record import RecipeRecord


@dataclass(frozen=True)
class _Stamp:
    """The one field of a recipe that can be read without importing the methods, and so torch."""

    shortcut: dict[str, Any] | None


class Release:
    """A release, read by configuration.

    Parameters
    ----------
    where
        A folder that `build` wrote, or the name of a dataset on the Hub that `push` made from one.

    Raises
    ------
    SourceError
        If ``where`` is not a release.

    Examples
    --------
    >>> import cifar10_s
    >>> release = cifar10_s.Release("digits-s")
    >>> release.train("ops").shape
    (1438, 8, 8, 1)
    """

    def __init__(self, where: str | Path) -> None:
        # Records and messages have the name as it was given, but for a home folder, which other code need not know.
        self.name = str(expand(where)) if str(where).startswith("~") else str(where)
        self.folder = Path(self.name) if Path(self.name).is_dir() else _from_hub(self.name, [MANIFEST])
        try:
            self.manifest = read_manifest((self.folder / MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            if is_pointer(self.folder / MANIFEST):
                raise SourceError(f"{self.folder / MANIFEST}: {IS_POINTER}") from None
            raise SourceError(
                f"{where}: is not a release ({MANIFEST}: {one_line(error)}): expected a folder that `cifar10-s build` "
                "wrote, or the name of such a dataset on the Hub"
            ) from None
        self.title, self.configurations = self.manifest.source.title, self.manifest.configurations
        self.class_names, self.shape = self.manifest.classes, self.manifest.shape

    def __repr__(self) -> str:
        """Return name, version and size on one line."""
        shape = "×".join(map(str, self.shape))
        manifest = self.manifest
        return (
            f"Release({manifest.name!r} {manifest.version}, {len(self.configurations)} configurations, images {shape}, "
            f"{len(self.class_names)} classes)"
        )

    def _repr_html_(self) -> str:
        """Return a table of the configurations, for notebooks."""
        rows = [
            (
                f"{name} (default)" if name == self.manifest.default else name,
                entry.summary,
                f"{entry.rows:,}",
                f"{entry.pixels_sha256[:16]}…",
            )
            for name, entry in self.configurations.items()
        ]
        return html_table(repr(self), ("configuration", "what it is", "training images", "pixel digest"), rows)

    def verify(self) -> None:
        """Verify a local folder; on the Hub, only the images that are read are checked, against their digests.

        Raises
        ------
        VerificationError
            Naming every file that fails, and how.
        """
        from cifar10_s.release.verification.verifier import verify_folder

        if Path(self.name).is_dir():
            verify_folder(self.name, Options.resolve(device="cpu"))

    def check_has_images(self) -> None:
        """Check that this release has images.

        Raises
        ------
        SourceError
            If it has only recipes; the message says how to make its images.
        """
        if self.manifest.recipe_only:
            raise SourceError(
                f"{self.name}: has recipes and no images; make them of the images that it was built from: "
                f"cifar10-s apply {self.name} --source …"
            )

    def select(self, names: Iterable[str] | None) -> list[str]:
        """Return the names of configurations, all of them if ``names`` is None.

        Raises
        ------
        UsageError
            If the release does not have one of them.
        """
        selected = list(self.configurations if names is None else names)
        for name in selected:
            if name not in self.configurations:
                raise unknown("configuration", name, self.configurations)
        return selected

    def rows(self, configuration: str) -> int:
        """Return the number of training images of a configuration."""
        return self.configurations[configuration].rows

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.shape[0], self.shape[1]

    def digest(self, configuration: str) -> str:
        """Return the pixel digest of the training images of a configuration.

        Raises
        ------
        UsageError
            If there is no such configuration.
        """
        return look_up("configuration", configuration, self.configurations).pixels_sha256

    @property
    def test_digest(self) -> str:
        """The pixel digest of the clean test images.

        Raises
        ------
        SourceError
            If the release has none.
        """
        digest = self.manifest.test_pixels
        if digest is None:
            raise SourceError(f"{self.name}: has no test split; build it from a source that has one")
        return digest

    def recipe(self, configuration: str) -> "RecipeRecord":
        """Return the recipe that the release records for a configuration.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        from cifar10_s.release.recipe_record import read_recipe  # its methods import torch

        path = recipe_path(configuration)
        if not (Path(self.name).is_dir() or (self.folder / path).is_file()):
            self.folder = _from_hub(self.name, [MANIFEST, recipe_path("*")])
        try:
            return read_recipe((self.folder / path).read_bytes())
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self.name}: {path} cannot be read ({one_line(error)}); fetch or build it again"
            ) from None

    def train(self, configuration: str) -> LabeledImages:
        """Return the training images of a configuration."""
        images = self._read(configuration, TRAIN, self.digest(configuration))
        # For notebooks alone: a recipe that is still on the Hub, or broken, does not matter here.
        with suppress(OSError, ValueError):
            stamp = typed_json.read((self.folder / recipe_path(configuration)).read_bytes(), _Stamp).shortcut
            shortcut = None if stamp is None else Shortcut.from_dict(stamp)
            if shortcut is not None and shortcut.class_names == self.class_names:
                images.keep(Rings(shortcut.positions))
        return images

    def test(self) -> LabeledImages:
        """Return the clean test images."""
        return self._read(CLEAN, TEST, self.test_digest)

    def torch(
        self, configuration: str, split: str = TRAIN, transform: Callable[[PIL.Image.Image], Any] | None = None
    ) -> "ImageDataset":
        """Return a split as a map-style dataset for PyTorch; see `ImageDataset`.

        Parameters
        ----------
        configuration
            Its name; the test images are the same in all.
        split
            ``train`` or ``test``.
        transform
            Takes a PIL image; by default, an image is a (C, H, W) float32 tensor from 0 to 1.

        Raises
        ------
        UsageError
            If there is no such configuration or split.
        SourceError
            If the images are not those of the manifest.

        Examples
        --------
        >>> import cifar10_s
        >>> dataset = cifar10_s.Release("digits-s").torch("ops")
        >>> len(dataset), dataset[0][0].dtype
        (1438, torch.float32)
        """
        (configuration,) = self.select([configuration])
        if split not in (TRAIN, TEST):
            raise unknown("split", split, (TRAIN, TEST))
        images = self.train(configuration) if split == TRAIN else self.test()
        return images.to_torch(transform)

    def _read(self, configuration: str, split: str, digest: str) -> LabeledImages:
        """Return a split from the cache; otherwise decode it and check its digest.

        Raises
        ------
        SourceError
            If there are no images, or they are not those of the manifest.
        """
        self.check_has_images()
        path = split_path(configuration, split)
        names, cached = self.class_names, cache_folder() / "images" / f"{digest}.npz"
        images = _from_cache(cached, names)
        if images is None or images.digest() != digest:
            images = self._decode(configuration, split)
            if images.digest() != digest:
                raise SourceError(
                    f"{self.name}: the images of {path} are not those of its manifest: expected pixel digest "
                    f"{digest}, got {images.digest()}; fetch or build it again"
                )
            _to_cache(cached, images)
        return images

    def _decode(self, configuration: str, split: str) -> LabeledImages:
        from cifar10_s.release.shards import StoredSplit

        if not Path(self.name).is_dir():
            self.folder = _from_hub(self.name, [MANIFEST, shard_pattern(configuration, split)])
        files = stored_shards(self.folder, configuration, split)
        if not files:
            pattern = shard_pattern(configuration, split, SHARD_SUFFIX)
            how = how_to_get(self.folder) if Path(self.name).is_dir() else ""
            advice = how or "fetch or build it again"
            raise SourceError(f"{self.name}: expected {pattern}, as in its manifest, got none; {advice}")
        for file in filter(is_pointer, files):
            raise SourceError(f"{file}: {IS_POINTER}")
        return StoredSplit(files, self.shape, self.class_names, self.manifest.column_names).stream().load()


def _from_cache(path: Path, names: tuple[str, ...]) -> LabeledImages | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return LabeledImages(stored["pixels"], stored["labels"], names)
    except Exception:  # a broken file can raise anything
        return None


def _to_cache(path: Path, images: LabeledImages) -> None:
    """Cache images, unless the disk is full or another process is caching them."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), blocking=False):
            write_atomically(path, lambda file: np.savez(file, pixels=images.pixels, labels=images.labels))


def _from_hub(name: str, patterns: list[str]) -> Path:
    """Download some files of a dataset on the Hub into its cache, and return the folder."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # the type depends on the HTTP library
        raise SourceError(
            f"{name}: expected a local folder or a dataset on the Hub, got neither ({one_line(error)}); check the name"
        ) from None
