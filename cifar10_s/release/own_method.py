"""A method outside this package, as the manifest of a release declares it."""

from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from cifar10_s.methods.foreign import ForeignMethod
from cifar10_s.methods.own import SUMMARY


@dataclass(frozen=True, kw_only=True)
class OwnMethod:
    """A user's own method, and what its images are checked against.

    Attributes
    ----------
    path
        Where it is found, ``package.module:name``; `verify` does not import it.
    summary
        See `Method`.
    linf, l2
        Bound on the perturbation of these images, see `Bound`; ``l2`` is None without one.
    """

    path: Annotated[str, Meta(pattern=r"\A[\w.]{1,200}:[\w.]{1,100}\Z")]
    summary: Annotated[str, Meta(pattern=rf"\A{SUMMARY}\Z")]
    linf: Annotated[int, Meta(ge=0, le=255)]
    l2: Annotated[float, Meta(ge=0)] | None

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"ℓ∞ {self.linf}" + ("" if self.l2 is None else f", ℓ2 {self.l2:g}")

    @property
    def unchecked(self) -> str:
        """What `verify` does not check of its configurations."""
        return (
            f"that the noise is what {self.path}, which is not part of this package and was not run, or the file in "
            f"its place makes; its images are held against the bound that is declared, {self.bound}"
        )

    def as_method(self, name: str) -> ForeignMethod:
        """Return the method by its name, without the parameters, which its recipes have."""
        return ForeignMethod(name=name, **asdict(self))
