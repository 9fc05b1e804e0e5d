"""The sizes of common augmentations: crop and flip, Cutout, and the operations of RandAugment.

The sizes are shares of the image's sides, as in the benchmark's strategies, which the tests compare with these.
"""

from dataclasses import dataclass

from cifar10_s.errors import UsageError

# Black pixels that random crops add on each side, as a share of the shorter side: 4 of 32.
PADDING_SHARE = 1 / 8
# The sides of Cutout's hole, as a share of the image's: 16 of 32.
HOLE_SHARE = 1 / 2
# RandAugment with N = 2 and M = 9 of 30: the strength of each operation is 0.3 of the full one.
STRENGTH = 9 / 30
# A translation at that strength, as a share of the side: 4 of 32.
SHIFT_SHARE = STRENGTH * 150 / 331
# Levels from here on are inverted by solarize at that strength: those within 0.3 · 256 of 256.
INVERTED = 180


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The sizes, in pixels, of the augmentations that make views of an image.

    Attributes
    ----------
    padding
        Crops move the image by up to this many rows and columns, each move being equally likely.
    hole
        Rows and columns of a hole, whose centre is any pixel; 0 and 0 for no hole.
    shift
        Rows and columns by which a translation of RandAugment moves the image.
    inverted
        The lowest level that solarize inverts; 256 if it inverts none.

    Raises
    ------
    UsageError
        If a number is negative, or `inverted` is not from 1 to 256.

    Examples
    --------
    >>> from cifar10_s.shortcut.augmentation import Augmentation
    >>> Augmentation.of(32, 32)
    Augmentation(padding=4, hole=(16, 16), shift=(4, 4), inverted=180)
    """

    padding: int
    hole: tuple[int, int]
    shift: tuple[int, int]
    inverted: int = INVERTED

    def __post_init__(self) -> None:
        numbers = (self.padding, *self.hole, *self.shift)
        if min(numbers) < 0:
            raise UsageError(f"augmentation: expected padding, hole and shift of 0 or more, got {numbers}")
        if not 1 <= self.inverted <= 256:
            raise UsageError(f"augmentation: expected the lowest inverted level from 1 to 256, got {self.inverted}")

    @classmethod
    def of(cls, height: int, width: int) -> "Augmentation":
        """Return the sizes that the benchmark's strategies have for images of this size."""
        return cls(
            padding=max(1, round(PADDING_SHARE * min(height, width))),
            hole=(max(1, int(HOLE_SHARE * height)), max(1, int(HOLE_SHARE * width))),
            shift=(round(SHIFT_SHARE * height), round(SHIFT_SHARE * width)),
        )
