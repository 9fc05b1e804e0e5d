"""Image files ↔ pixels, on all cores. Nothing an image file holds is trusted."""

import io
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cifar10_s.errors import SourceError
from cifar10_s.images import part_size
from cifar10_s.parallel import chunks

EncodedImage = bytes | Path
Shape = tuple[int, int, int]

# What decoders raise on a broken file; Pillow also what its own arithmetic on a tag of another type leads to.
BROKEN = (
    ArithmeticError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
# Only formats whose decoders Pillow and imagecodecs keep in constant use; no scripts (EPS), no documents.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 1 << 26
# Of photographs, large ones above all, most of the time would go into the search for repetitions, of which they have
# few but runs: files of the size of Pillow's, a few percent more or less, come of runs alone.
PNG_LEVEL, PNG_STRATEGY = 6, imagecodecs.PNG.STRATEGY.RLE
# A file that is smaller than such a part of its pixels is of a drawing, which may repeat itself.
DRAWING, DRAWING_STRATEGY = 1 / 3, imagecodecs.PNG.STRATEGY.FILTERED
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What a PNG's header calls 8-bit pixels of so many channels.
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def encode(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Encode (N, H, W, C) uint8 pixels, C from 1 to 4, as N PNG files."""
    # A single channel is greyscale: PNG wants (H, W) then.
    images = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return [_encode(np.ascontiguousarray(image)) for image in images]


def _encode(image: NDArray[np.uint8]) -> bytes:
    file = bytes(imagecodecs.png_encode(image, level=PNG_LEVEL, strategy=PNG_STRATEGY))
    if len(file) > DRAWING * image.nbytes:
        return file
    again = bytes(imagecodecs.png_encode(image, level=PNG_LEVEL, strategy=DRAWING_STRATEGY))
    return min(file, again, key=len)


def decode(files: Sequence[EncodedImage], shape: Shape, name: Callable[[int], str]) -> Iterator[NDArray[np.uint8]]:
    """Decode image files of a shape (H, W, C) to (n, H, W, C) uint8 at a time.

    Parameters
    ----------
    files
        Contents, or paths to read.
    shape
        As of `probe`.
    name
        What to call file i in an error.

    Raises
    ------
    SourceError
        Where a file is no image, is broken or too large, or is not of that shape.
    """
    for part in chunks(len(files), part_size(shape)):
        pixels = np.empty((part.stop - part.start, *shape), np.uint8)
        for at, i in enumerate(range(part.start, part.stop)):
            decode_into(_read(files[i], name(i)), pixels[at], name(i))
        yield pixels


def probe(file: EncodedImage, name: str) -> Shape:
    """Tell an image's shape (H, W, C) from its header: C is 1 for greyscale, 3 for colour; errors as for `decode`."""
    return _probe(_read(file, name), name)


def decode_into(data: bytes, out: NDArray[np.uint8], name: str) -> None:
    """Decode one image file into ``out``, (H, W, C) uint8.

    Raises
    ------
    SourceError
        Where it is broken, or not of that shape; ``name`` says which file.
    """
    # imagecodecs is several times as fast as Pillow and lets other threads run; it refuses another shape
    # before it decodes. It forgives a JPEG that breaks off, so one without its end marker goes to Pillow.
    target = out[..., 0] if out.shape[-1] == 1 else out
    try:
        if data.startswith(PNG_SIGNATURE):
            imagecodecs.png_decode(data, out=target)
        elif data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"):
            imagecodecs.jpeg_decode(data, out=target)
        else:
            out[...] = _decode_with_pillow(data, out.shape, name)
    except BROKEN as error:
        got = _probe(data, name)
        if got != out.shape:
            raise SourceError(
                f"{name}: expected {_describe(out.shape)} like the images before it, got {_describe(got)}; "
                "make all images alike"
            ) from None
        if "invalid out." in str(error):
            raise SourceError(
                f"{name}: has transparency, or more than 8 bits a channel: expected 8-bit {_describe(out.shape)}; "
                "convert the images"
            ) from None
        raise SourceError(f"{name}: does not decode ({error}); replace the file") from None


def check_plain_png(data: bytes, shape: Sequence[int], name: str) -> None:
    """Check that a file is a PNG of 8-bit pixels of a shape (H, W, C) and nothing else.

    Readers act on what else a file can hold: an orientation turns the image, a gamma brightens it.

    Raises
    ------
    SourceError
        Where it is not; ``name`` says which file.
    """
    height, width, channels = shape
    color_type = COLOR_TYPES[channels]
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, color_type, 0, 0, 0)
    kinds, at = [], 8
    while at + 12 <= len(data):
        kinds.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    plain = kinds[:1] == [b"IHDR"] and kinds[-1:] == [b"IEND"] and set(kinds[1:-1]) == {b"IDAT"}
    if not (data.startswith(PNG_SIGNATURE) and data[8:29] == header and plain and at == len(data)):
        raise SourceError(f"{name}: expected a PNG of 8-bit {_describe(shape)} and nothing else in it")


def _read(file: EncodedImage, name: str) -> bytes:
    try:
        return file.read_bytes() if isinstance(file, Path) else file
    except OSError as error:
        raise SourceError(f"{name}: cannot be read ({error.strerror}); check the file and its permissions") from None


def _describe(shape: Sequence[int]) -> str:
    height, width, channels = shape
    mode = {1: "greyscale", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    return f"{height}×{width} {mode}"


def _open(data: bytes, name: str) -> Image.Image:
    """Read an image's header only."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise SourceError(f"{name}: {error}") from None
    except BROKEN as error:
        reason = "its header is of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise SourceError(f"{name}: is no image ({reason}): expected one of {', '.join(FORMATS)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise SourceError(
            f"{name}: {image.height}×{image.width} is more than {MAX_PIXELS} pixels, "
            "which looks like a decompression bomb; scale the image down"
        )
    return image


def _probe(data: bytes, name: str) -> Shape:
    """Tell an image's shape from its header."""
    with _open(data, name) as image:
        channels = {"1": 1, "L": 1, "RGB": 3, "P": 3}.get(image.mode)
        if channels is None:
            raise SourceError(f"{name}: expected greyscale or RGB, got mode {image.mode}; convert the images")
        return image.height, image.width, channels


def _decode_with_pillow(data: bytes, shape: tuple[int, ...], name: str) -> NDArray[np.uint8]:
    if _probe(data, name) != shape:
        raise ValueError("another shape")
    with _open(data, name) as image:
        pixels = np.asarray(image.convert("L" if shape[-1] == 1 else "RGB"))
    return pixels.reshape(shape)
