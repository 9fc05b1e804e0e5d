"""Given: noise that was made elsewhere, in the place of what a method would make."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages
from cifar10_s.methods.method import Bound, Method, add_noise
from cifar10_s.noise_file import NoiseFile


@dataclass(frozen=True, kw_only=True)
class GivenNoise(Method):
    """A method's noise, read from a file.

    Attributes
    ----------
    file, sha256
        The file's own name, and the SHA-256 of its bytes.
    kind
        ``sample-wise`` or ``class-wise``.
    linf
        The method's ℓ∞ bound in levels, which the noise keeps.
    levels
        The noise, (N, H, W, C) or (K, H, W, C) in levels; no part of the record.
    """

    file: str
    sha256: str
    kind: str
    linf: int
    levels: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, method: Method, noise: NoiseFile, linf: int) -> Self:
        """Put a file's noise in the place of a method's."""
        return cls(
            name=method.name, summary=method.summary, file=noise.name, sha256=noise.sha256,
            kind=noise.kind, linf=linf, levels=noise.levels,
        )  # fmt: skip

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ∞ of the method whose noise it is."""
        return Bound(linf=self.linf)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return {key: value for key, value in super().settings().items() if key != "levels"}

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """See `Method.perturb`.

        Raises
        ------
        UsageError
            Where the noise itself was not kept, as in a recipe that was read back.
        """
        if self.levels is None:
            raise UsageError(f"{self.name}: its noise is not here: expected that of {self.file}, read again")
        levels = self.levels
        index = images.labels if self.kind == "class-wise" else np.arange(len(images))
        return add_noise(images, lambda part: np.asarray(levels[index[part]], np.float32))
