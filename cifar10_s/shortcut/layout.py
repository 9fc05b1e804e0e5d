"""Where the pixels of a shortcut that survives augmentation can be: in pairs and bands (see `spread`)."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from cifar10_s.errors import UsageError
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.shortcut import SPREAD
from cifar10_s.shortcut.survival import pixel_survival

# More rows or columns than any image has.
_ENOUGH = 1 << 40


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a shortcut can be; see `arrange` and `arrange_pairs`.

    Attributes
    ----------
    bands
        The rows of each band, all of one number.
    units
        The places of each unit, at least one: tuples of a row's number in its band, and a left column x. A unit is a
        pair, with its right pixel at W - 1 - x; if n is odd, the last unit is either pixel of one.
    parts
        The unit of each part of a class's mark. All parts are in one band, unless a unit occurs twice: then each is
        in a band of its own.
    pixels
        The number of pixels, or patches, per class.
    patch
        The side of the patches that take the place of pixels, or 1. A patch is at the place of its upper left pixel.
    """

    bands: tuple[range, ...]
    units: tuple[tuple[tuple[int, int], ...], ...]
    parts: tuple[int, ...]
    pixels: int
    patch: int = 1


def arrange(height: int, width: int, pixels: int, augmentation: Augmentation, patch: int = 1) -> Layout:
    """Return where the pixels, or patches, of a class can be, so that augmentation leaves some, and does not mix bands.

    The first pair is never lost. So are the others, if there are as many places; if not, they are nearer to the middle.
    Of patches with sides longer than 1, one pair is supported: more could overlap (but see `arrange_pairs`).

    Raises
    ------
    UsageError
        If so many pixels do not fit.
    """
    padding, size = augmentation.padding, f"{height}×{width}"
    if pixels < 2:
        lost = 1 - pixel_survival((height, width), augmentation).max()
        raise UsageError(
            f"pixels: expected at least 2 per class with the objective {SPREAD}, got {pixels}: one alone is lost in "
            f"{lost:.1%} of the views or more; ask for 2, or for another objective"
        )
    if not _has_room(height, width, augmentation, patch):
        room = "two places" if patch == 1 else f"room for two patches of {patch}×{patch}"
        raise UsageError(
            f"images of {size} have no {room} that survive crops of padding {padding}, translations by "
            f"{augmentation.shift[0]} and a hole {augmentation.hole[1]} wide: expected at least "
            f"{_smallest(height, width, augmentation, patch, _has_room)}; use larger images, or another objective"
        )
    margin, more, (rows, far) = _margin(augmentation), patch - 1, _room(height, width, augmentation, patch)
    number = (rows + 2 * padding) // (2 * padding + patch)
    thickness = (rows - (number - 1) * 2 * padding) // number
    bands = tuple(
        range(start, start + thickness) for start in (margin + i * (thickness + 2 * padding) for i in range(number))
    )
    # The band that is nearest to the lower side may be as far from it as the first is from the upper one.
    wanted = -(-pixels // 2)
    columns = range(padding, max(far, padding - 1 + -(-wanted // thickness)) + 1)
    if columns.stop > width // 2:
        most = 2 * thickness * (width // 2 - padding)
        raise UsageError(f"pixels: {size} images have room for at most {most} per class, got {pixels}")
    places = [(row, column) for column in columns for row in range(thickness - more)]
    units = tuple(tuple(places[unit::wanted]) for unit in range(wanted))
    return Layout(bands, units, tuple(range(wanted)), pixels, patch)


def arrange_pairs(height: int, width: int, augmentation: Augmentation, patch: int) -> Layout:
    """Return where the patches of two pairs can be, whose distance tells which bands they are in.

    The bands of rows are at 0, 1 and 3 on a ruler from padding to padding: any two are 1, 2 or 3 units apart. So a
    translation that leaves both pairs leaves what tells the class.

    Raises
    ------
    UsageError
        If so many patches do not fit.
    """
    if not _has_room_for_pairs(height, width, augmentation, patch):
        smallest = _smallest(height, width, augmentation, patch, _has_room_for_pairs)
        raise UsageError(
            f"images of {height}×{width} have no room for two pairs of patches of {patch}×{patch} that survive crops "
            f"of padding {augmentation.padding} and a hole {augmentation.hole[1]} wide: expected at least {smallest}; "
            "use larger images, smaller patches, or another objective"
        )
    padding, unit = augmentation.padding, _unit(height, augmentation, patch)
    bands = tuple(range(start, start + patch) for start in (padding, padding + unit, padding + 3 * unit))
    _, far = _room(height, width, augmentation, patch)
    places = tuple((0, column) for column in range(padding, far + 1))
    return Layout(bands, (places,), (0, 0), 4, patch)


def _unit(height: int, augmentation: Augmentation, patch: int) -> int:
    """Return the rows between the first two of three bands."""
    return (height - 2 * augmentation.padding - patch) // 3


def _has_room_for_pairs(height: int, width: int, augmentation: Augmentation, patch: int) -> bool:
    """Return whether the bands do not touch, and no hole hides both patches of a pair."""
    _, far = _room(height, width, augmentation, patch)
    return _unit(height, augmentation, patch) > patch and far >= augmentation.padding


def _room(height: int, width: int, augmentation: Augmentation, patch: int) -> tuple[int, int]:
    """Return the number of rows that no crop or translation loses, and the last left column of a pair."""
    # Even without a hole, the places of a pair are not the same column.
    apart = max(1, augmentation.hole[1])
    return height - 2 * _margin(augmentation), (width - 1 - apart) // 2 - (patch - 1)


def _margin(augmentation: Augmentation) -> int:
    return augmentation.padding + augmentation.shift[0]


def _has_room(height: int, width: int, augmentation: Augmentation, patch: int) -> bool:
    rows, far = _room(height, width, augmentation, patch)
    return rows >= patch and far >= augmentation.padding


def _smallest(
    height: int,
    width: int,
    augmentation: Augmentation,
    patch: int,
    has_room: Callable[[int, int, Augmentation, int], bool],
) -> str:
    """Return the size that images need: the usual augmentation grows with them, and any other does not."""
    if augmentation == Augmentation.of(height, width):
        sides = count(min(height, width))
        side = next(side for side in sides if has_room(side, side, Augmentation.of(side, side), patch))
        return f"{side}×{side}"
    # What is enough along one side does not depend on the other.
    rows = next(rows for rows in count(height) if has_room(rows, _ENOUGH, augmentation, patch))
    columns = next(columns for columns in count(width) if has_room(_ENOUGH, columns, augmentation, patch))
    return f"{rows}×{columns}"
