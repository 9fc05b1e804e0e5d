"""A method outside this package, as a release declares it: checked without being imported."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.data.images import Images, LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.methods.base import Bound, Method
from cifar10_s.methods.own import Origin


@dataclass(frozen=True, kw_only=True)
class ForeignMethod(Method):
    """A user's own method in a release that somebody else may have built.

    Its bound and its name are what the release declares. Its code is never run, as a release is untrusted.

    Attributes
    ----------
    path
        Where it is found, ``package.module:name``.
    linf, l2
        See `Bound`; ``l2`` is None without one.
    recorded
        Its name and parameters, as its recipe records them.
    kept
        What it drew for the classes, as its recipe records it.
    """

    path: str
    linf: int
    l2: float | None
    recorded: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] | None = None

    def as_recorded(self, record: Mapping[str, Any], kept: Mapping[str, Any] | None) -> tuple[Self, Origin]:
        """Return the method with the parameters of its recipe's record, and its origin.

        Raises
        ------
        ValueError
            If the record is of another method.
        """
        own = dict(record)
        path, digest, name = own.pop("path", None), own.pop("module_sha256", None), own.get("name")
        if (name, path) != (self.name, self.path):
            raise ValueError(f"recipe.method: expected {self.name} of {self.path}, got {name!r:.50} of {path!r:.50}")
        return replace(self, recorded=own, kept=kept), Origin(self.path, digest)

    @property
    def budget(self) -> str | None:
        """``full`` or ``small`` if the record says so: the method trains a network."""
        budget = self.recorded.get("budget")
        return budget if isinstance(budget, str) else None

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """See `Method.bound`."""
        return Bound(linf=self.linf, l2=math.inf if self.l2 is None else self.l2)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return dict(self.recorded)

    def perturb(self, images: LabeledImages, options: Options) -> NDArray[np.uint8]:
        """Refuse: the code is not this package's.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(
            f"{self.name}: is made by {self.path}, which a release does not make this package run: take a release with "
            f"its images, or build it by -c {self.path} where you trust it"
        )

    def drawn(self, images: Images, options: Options) -> dict[str, Any] | None:
        """See `Method.drawn`."""
        return None if self.kept is None else dict(self.kept)
