"""Make images alike while they are decoded: one size, one mode."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifar10_s.data.pictures import to_pil
from cifar10_s.errors import SourceError, UsageError

# The modes that images can be converted to, with the number of channels.
MODES = {"RGB": 3, "L": 1}
# More than any network takes; it bounds the memory that one image needs.
MAX_SIDE = 1 << 12
# An image that is scaled before it is cropped may have this many pixels.
MAX_SCALED_PIXELS = 1 << 28
# How an image is turned upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# EXIF's number of the orientation; orientations from 5 on swap height and width.
ORIENTATION, FIRST_SIDEWAYS = 274, 5


class UnlikeError(SourceError):
    """An image of another size or mode than the first: ``what`` it is, and the ``options`` that would take it."""

    def __init__(self, what: str, options: str) -> None:
        super().__init__(what, options)
        self.what, self.options = what, options

    def __str__(self) -> str:
        return f"{self.what}; make all images alike, or take them with {self.options}"

    def counted(self, unlike: int, total: int) -> SourceError:
        """Return the error that also says how many images differ."""
        return SourceError(f"{self.what} ({unlike:,} of {total:,} images differ); take them with {self.options}")


@dataclass(frozen=True)
class Conversion:
    """How images are made alike; by default they are taken as they are.

    Attributes
    ----------
    resize
        Scale the shorter side to this many pixels, bilinear and antialiased, and cut out the centre square.
    mode
        ``RGB`` or ``L``: transparency is composited on white, and of 16 bits per channel the upper 8 are taken.

    Raises
    ------
    UsageError
        If the size or the mode is none of these.
    """

    resize: int | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.resize is not None and not 1 <= self.resize <= MAX_SIDE:
            raise UsageError(f"--resize: expected 1 to {MAX_SIDE} pixels, got {self.resize}")
        if self.mode is not None and self.mode not in MODES:
            raise UsageError(f"--mode: expected {' or '.join(MODES)}, got {self.mode!r}")

    def __bool__(self) -> bool:
        return self.resize is not None or self.mode is not None

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Return the shape (H, W, C) that an image of a shape gets."""
        if self.resize is not None:
            height = width = self.resize
        return height, width, channels if self.mode is None else MODES[self.mode]

    def apply(self, image: Image.Image) -> Image.Image:
        """Return an upright image converted, with the mode ``RGB`` or ``L``.

        Raises
        ------
        ValueError
            If Pillow cannot convert its mode.
        """
        image = to_mode(image, self.mode or ("L" if image.mode in ("1", "L") else "RGB"))
        return image if self.resize is None else to_square(image, self.resize)

    def apply_to_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert (n, H, W, C) uint8 pixels, C from 1 to 4; raise SourceError if they are too long to be scaled."""
        images = list(map(to_pil, pixels))
        shape = len(pixels), *self.shape(*pixels.shape[1:])
        # Two or four channels stay as they are, unless there is a mode.
        has_mode = pixels.shape[-1] in MODES.values() or self.mode is not None
        try:
            done = [self.apply(image) if has_mode else to_square(image, self.resize or 0) for image in images]
        except ValueError as error:
            raise SourceError(f"images: {error}") from None
        return np.stack([np.asarray(image) for image in done]).reshape(shape)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in mode ``RGB`` or ``L``; transparency is composited on white."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    image = _eight_bits(image)
    if is_transparent(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image has an alpha channel or a transparent colour."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return the upper 8 of 16 bits, as Pillow itself reads colours of 16 bits; other images stay as they are.

    In images of 32 bits, which may have levels of any range, the levels must have 8 bits. Pillow reads Netpbm files of
    16 bits in the same mode.
    """
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.int64)
    bits = 16 if image.mode != "I" or image.format == "PPM" else 8
    if levels.min() < 0 or levels.max() >= 1 << bits:
        raise ValueError(f"expected levels of at most {bits} bits, got {levels.min()} to {levels.max()}")
    return Image.fromarray((levels >> (bits - 8)).astype(np.uint8))


def to_square(image: Image.Image, side: int) -> Image.Image:
    """Scale the shorter side to ``side`` and cut out the centre: the usual transform for evaluation.

    Raises
    ------
    ValueError
        If the scaled image would have more than `MAX_SCALED_PIXELS`.
    """
    width, height = image.size
    short = min(width, height)
    scaled = max(side, side * width // short), max(side, side * height // short)
    if math.prod(scaled) > MAX_SCALED_PIXELS:
        raise ValueError(f"{height}×{width} is too long to be scaled to a shorter side of {side}")
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (round((length - side) / 2) for length in scaled)
    return image if scaled == (side, side) else image.crop((left, top, left + side, top + side))


def orientation(image: Image.Image) -> int:
    """Return an image's EXIF orientation, 1 to 8; if its decoder applies the orientation, the image is loaded first."""
    if image.getexif().get(ORIENTATION, 1) == 1:
        return 1
    image.load()
    found = image.getexif().get(ORIENTATION, 1)
    return found if found in TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """Return an image rotated and flipped as its EXIF orientation says."""
    turn = TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)
