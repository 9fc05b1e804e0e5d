"""Noise that was made elsewhere and replaces the noise of a method."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.data.images import Images, Transform
from cifar10_s.errors import UsageError
from cifar10_s.methods.base import Bound, Method, adding

SAMPLE_WISE, CLASS_WISE = "sample-wise", "class-wise"


@dataclass(frozen=True, kw_only=True)
class GivenNoise(Method):
    """A method's noise, read from a file.

    Attributes
    ----------
    file, sha256
        Name of the file without its folder, and SHA-256 of its bytes.
    kind
        ``sample-wise``, one noise per image, or ``class-wise``, one per class.
    method
        The method that the noise is of, and whose bound it keeps; not recorded, as the configuration's name implies it.
    levels : (N, H, W, C) or (K, H, W, C)
        The noise in levels; not recorded.
    """

    repeatable: ClassVar[bool] = False
    file: str
    sha256: str
    kind: str
    method: Method = field(repr=False)
    levels: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, method: Method, *, file: str, sha256: str, kind: str, levels: NDArray[np.float32] | None = None
    ) -> Self:
        """Return a method whose noise is replaced by that of a file."""
        return cls(
            name=method.name, summary=method.summary, method=method, file=file, sha256=sha256, kind=kind, levels=levels
        )

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return the bound of the method that the noise is of."""
        return self.method.bound(shape)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return {"name": self.name, "file": self.file, "sha256": self.sha256, "kind": self.kind}

    def noise_levels(self, images: Images, options: Options) -> NDArray[Any]:
        """See `Method.noise_levels`; errors as for `transform`."""
        return self._loaded

    def with_noise_levels(self, levels: NDArray[Any]) -> Self:
        """See `Method.with_noise_levels`."""
        return replace(self, levels=levels)

    @property
    def classwise(self) -> bool:
        """Whether there is one noise per class."""
        return self.kind == CLASS_WISE

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`.

        Raises
        ------
        UsageError
            If the noise is not loaded, as in a recipe that was read from a release.
        """
        levels = self._loaded
        index = images.labels if self.classwise else np.arange(len(images))
        return adding(lambda rows: np.asarray(levels[index[rows]], np.float32))

    @property
    def _loaded(self) -> NDArray[Any]:
        if self.levels is None:
            raise UsageError(f"{self.name}: the noise of {self.file} is not loaded: read the file again")
        return self.levels
