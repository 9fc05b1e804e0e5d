"""Provenance: where images came from, and whether they may be called CIFAR-10."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """Where images came from.

    Attributes
    ----------
    kind
        ``hub``, ``archive``, ``arrays``, ``parquet``, ``images``, ``sample`` or ``memory``.
    name
        What a stranger is told: a Hub name, the last part of a path.
    claims_cifar10
        Whether the source says that it is CIFAR-10.
    check
        What was compared with CIFAR-10's true checksums and found equal; None if nothing was.
    """

    kind: str = "memory"
    name: str = "an array in memory"
    claims_cifar10: bool = False
    check: str | None = None

    @property
    def is_cifar10(self) -> bool:
        """Whether these images are CIFAR-10, checked."""
        return self.claims_cifar10 and self.check is not None

    @property
    def title(self) -> str:
        """How the images are called in titles and sentences."""
        if self.is_cifar10:
            return "CIFAR-10"
        if self.claims_cifar10:
            return f"an unverified copy of CIFAR-10 ({self.name})"
        return f"“{self.name}”" if self.kind in ("arrays", "images", "parquet") else self.name

    @property
    def release_title(self) -> str:
        """How a dataset made from these images is called: CIFAR-10-S only where they are CIFAR-10, checked."""
        return "CIFAR-10-S" if self.is_cifar10 else f"One-Pixel Shortcut on {self.title}"
