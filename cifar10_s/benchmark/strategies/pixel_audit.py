"""Remove from the images the pixels that an audit finds."""

from dataclasses import dataclass, field

import numpy as np

from cifar10_s.common.machine import memory_limit
from cifar10_s.data.images import LabeledImages
from cifar10_s.detection.pixel_audit import find_shortcuts
from cifar10_s.detection.rules import Rules


@dataclass(frozen=True, kw_only=True)
class PixelAudit:
    """Replaces the pixels that give away the class by the median of their neighbours (see `cifar10_s.audit`).

    Attributes
    ----------
    rules
        What counts as a shortcut.
    """

    rules: Rules = field(default_factory=Rules)

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Return the repaired images."""
        return find_shortcuts(images, self.rules, memory_limit()).repair(images)
