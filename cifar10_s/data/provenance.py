"""Where images came from, and whether they may be called CIFAR-10."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# The title of images that were compared with CIFAR-10's checksums.
CIFAR10 = "CIFAR-10"
# The dataset on the Hub that claims to be CIFAR-10.
HUB_NAME = "uoft-cs/cifar10"
# The kind of images that come from no source of `sources.registry.SOURCES`.
MEMORY = "memory"
# The kinds whose names are not only those of files and folders.
NAMED = (MEMORY, "sample", "hub", "archive", "cifar-10-binary", "cifar-100", "cifar-100-binary")
# The choices that make the images or labels other than the source's own.
CHANGING = frozenset({"label_column", "classes", "limit", "resize", "mode"})


def names_cifar10(text: str) -> bool:
    """Return whether a name or title claims CIFAR-10, in any spelling; CIFAR-100 does not."""
    return re.search(r"cifar[-_. ]*10(?!\d)", text, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Provenance:
    """Where images came from.

    Attributes
    ----------
    kind
        A key of `sources.registry.SOURCES`, or `MEMORY`.
    name
        The name that is published: a Hub name, or the last part of a path.
    claims_cifar10
        Whether the source claims to be CIFAR-10.
    check
        Which parts equal CIFAR-10 by checksum, in words; None if nothing was compared or equal.
    choices
        What was chosen of the source (`sources.choices.Choices.given`), by name; empty if nothing was.
    splits
        The source's own names of the splits ``train`` and ``test``, unless they are these.
    left_out
        The source's splits that were not taken.
    """

    kind: str = MEMORY
    name: str = "an array in memory"
    claims_cifar10: bool = False
    check: str | None = None
    choices: Mapping[str, str | int] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def is_cifar10(self) -> bool:
        """Whether these images are CIFAR-10, verified by checksum, and nothing else was chosen of it."""
        return self.claims_cifar10 and self.check is not None and not self._changes

    @property
    def _changes(self) -> dict[str, str | int]:
        """What makes the images or labels other than the source's own."""
        chosen = {name: value for name, value in self.choices.items() if name in CHANGING}
        return chosen | {f"{role}_split": name for role, name in self.splits.items()}

    @property
    def title(self) -> str:
        """The name of the images in titles and sentences."""
        if self.is_cifar10:
            return CIFAR10
        if self.claims_cifar10 and self.check is not None:
            changes = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._changes.items())
            return f"{CIFAR10} ({changes})"
        if self.claims_cifar10:
            return f"an unverified copy of CIFAR-10 ({self.name})"
        return self.name if self.kind in NAMED else f"“{self.name}”"

    def release_title(self, *, shortcut: bool) -> str:
        """Return the title of a dataset made from these images, with or without a shortcut that was searched.

        It is CIFAR-10-S only if they are verified CIFAR-10.
        """
        if not shortcut:
            return f"Unlearnable versions of {self.title}"
        return "CIFAR-10-S" if self.is_cifar10 else f"One-Pixel Shortcut on {self.title}"
