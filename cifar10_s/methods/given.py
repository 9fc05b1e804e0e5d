"""Given: noise that was made elsewhere, in the place of what a method would make."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import Change, Images
from cifar10_s.methods.method import Bound, Method, adding


@dataclass(frozen=True, kw_only=True)
class GivenNoise(Method):
    """A method's noise, read from a file.

    Attributes
    ----------
    file, sha256
        The file's own name, and the SHA-256 of its bytes.
    kind
        ``sample-wise`` or ``class-wise``.
    method
        The method whose noise it is, and whose bound it keeps; the configuration's name says which.
    levels
        The noise, (N, H, W, C) or (K, H, W, C) in levels; it and the method are no part of the record.
    """

    file: str
    sha256: str
    kind: str
    method: Method = field(repr=False)
    levels: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls, method: Method, *, file: str, sha256: str, kind: str, levels: NDArray[np.float32] | None = None
    ) -> Self:
        """Put a file's noise in the place of a method's."""
        return cls(
            name=method.name, summary=method.summary, method=method, file=file, sha256=sha256, kind=kind, levels=levels
        )

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Give that of the method whose noise it is."""
        return self.method.bound(shape)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return {"name": self.name, "file": self.file, "sha256": self.sha256, "kind": self.kind}

    def change(self, images: Images, *, seed: int, device: str) -> Change:
        """See `Method.change`.

        Raises
        ------
        UsageError
            Where the noise itself was not kept, as in a recipe that was read back.
        """
        if self.levels is None:
            raise UsageError(f"{self.name}: its noise is not here: expected that of {self.file}, read again")
        levels = self.levels
        index = images.labels if self.kind == "class-wise" else np.arange(len(images))
        return adding(lambda rows: np.asarray(levels[index[rows]], np.float32))
