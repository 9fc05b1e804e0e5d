"""Encode pixels as image files, and decode untrusted image files."""

import io
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cifar10_s.common.threads import chunks
from cifar10_s.common.transfers import unfetched
from cifar10_s.data.conversion import FIRST_SIDEWAYS, Conversion, UnlikeError, is_transparent, orientation, upright
from cifar10_s.data.images import part_size
from cifar10_s.data.pictures import without_channel
from cifar10_s.errors import SourceError

EncodedImage = bytes | Path
Shape = tuple[int, int, int]

# What decoders raise on a broken file; Pillow raises some of them when a tag has an unexpected type.
DECODER_ERRORS = (
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
# Formats whose decoders are in wide use; no scripts (EPS), no documents.
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 1 << 26
# A full search for repetitions would take most of the time, and photographs have few besides runs: with run-length
# encoding alone, files are as large as Pillow's, within a few percent.
PNG_LEVEL, PNG_STRATEGY = 6, imagecodecs.PNG.STRATEGY.RLE
# A file that is smaller than this share of its pixels is probably a drawing, which has repetitions.
MAX_DRAWING_SHARE, DRAWING_STRATEGY = 1 / 3, imagecodecs.PNG.STRATEGY.FILTERED
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# The colour type in a PNG's header, by the number of channels.
PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
# Where a PNG's header says how many bits a channel has.
PNG_BIT_DEPTH = 24
# A JPEG without this marker has neither EXIF data nor XMP, and so no orientation; its pixels never contain it.
APP1 = b"\xff\xe1"
# The images as they are.
AS_THEY_ARE = Conversion()


def encode(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Encode (N, H, W, C) uint8 pixels, C from 1 to 4, as N PNG files."""
    return [_encode(np.ascontiguousarray(image)) for image in without_channel(pixels)]


def _encode(image: NDArray[np.uint8]) -> bytes:
    file = bytes(imagecodecs.png_encode(image, level=PNG_LEVEL, strategy=PNG_STRATEGY))
    if len(file) > MAX_DRAWING_SHARE * image.nbytes:
        return file
    filtered = bytes(imagecodecs.png_encode(image, level=PNG_LEVEL, strategy=DRAWING_STRATEGY))
    return min(file, filtered, key=len)


def decode(
    files: Sequence[EncodedImage],
    shape: Shape,
    name: Callable[[int], str],
    conversion: Conversion = AS_THEY_ARE,
) -> Iterator[NDArray[np.uint8]]:
    """Decode image files of a shape (H, W, C), and yield (n, H, W, C) uint8 at a time.

    The pixels are those of Pillow: turned as the EXIF orientation says, without regard to colour profiles, and of an
    animation the first frame.

    Parameters
    ----------
    files
        Contents, or paths to read.
    shape
        See `probe`.
    name
        Returns the name of file i for error messages.
    conversion
        How the images are made alike.

    Raises
    ------
    UnlikeError
        If a file is of another shape.
    SourceError
        If a file is not an image, is broken or too large.
    """
    for part in chunks(len(files), part_size(shape)):
        pixels = np.empty((part.stop - part.start, *shape), np.uint8)
        for row, i in enumerate(range(part.start, part.stop)):
            decode_into(_read(files[i], name(i)), pixels[row], name(i), conversion)
        yield pixels


def probe(file: EncodedImage, name: str, conversion: Conversion = AS_THEY_ARE) -> Shape:
    """Read from its header the shape (H, W, C) that an image gets: C is 1 for greyscale, 3 for colour.

    An image of a mode that needs a conversion counts as colour: `decode` refuses it. Other errors as for `decode`.
    """
    return conversion.shape(*_probe(_read(file, name), name).shape)


def is_unlike(file: EncodedImage, shape: Shape, name: str, conversion: Conversion) -> bool:
    """Return whether `decode` refuses a file because it is of another shape; False if it is not an image."""
    try:
        found = _probe(_read(file, name), name)
    except SourceError:
        return False
    return conversion.shape(*found.shape) != shape or (conversion.mode is None and found.needs_mode)


def decode_into(data: bytes, out: NDArray[np.uint8], name: str, conversion: Conversion = AS_THEY_ARE) -> None:
    """Decode one image file into ``out``, (H, W, C) uint8.

    Raises
    ------
    UnlikeError, SourceError
        See `decode`; the message names the file ``name``.
    """
    try:
        if conversion.resize is not None or not _decode_fast(data, out, name):
            out[...] = _decode_with_pillow(data, out.shape, name, conversion)
    except UnlikeError:
        raise
    except DECODER_ERRORS as error:
        # A mode that only differs is converted; what is broken fails here again, with a line of its own.
        if conversion and conversion.resize is None and _converted(data, out, name, conversion):
            return
        _refuse_unlike(data, out.shape, name, conversion)
        raise SourceError(f"{name}: does not decode ({error}); replace the file") from None


def _decode_fast(data: bytes, out: NDArray[np.uint8], name: str) -> bool:
    """Decode what is usual, and return whether it was; another shape or mode raises an error.

    imagecodecs is several times as fast as Pillow with the same pixels, and releases the interpreter lock; it refuses
    another shape before it decodes. It accepts a truncated JPEG, so one without its end marker is not usual.
    """
    target = without_channel(out)
    if data.startswith(JPEG_START) and data.endswith(JPEG_END):
        if APP1 in data and _orientation(data, name) != 1:
            return False
        imagecodecs.jpeg_decode(data, out=target)
        return True
    if data.startswith(PNG_SIGNATURE):
        if _may_be_turned(data) and _orientation(data, name) != 1:
            return False
        imagecodecs.png_decode(data, out=target)
        return True
    return False


def _converted(data: bytes, out: NDArray[np.uint8], name: str, conversion: Conversion) -> bool:
    """Decode with Pillow what the fast decoder refused; return whether that works."""
    try:
        out[...] = _decode_with_pillow(data, out.shape, name, conversion)
    except UnlikeError:
        raise
    except DECODER_ERRORS:
        return False
    return True


def _refuse_unlike(data: bytes, shape: tuple[int, ...], name: str, conversion: Conversion) -> None:
    """Raise the error of an image that differs from the first; return if it does not."""
    found = _probe(data, name)
    got = conversion.shape(*found.shape)
    needs_mode = conversion.mode is None and (found.needs_mode or got[-1] != shape[-1])
    options = []
    if got[:2] != shape[:2]:
        options.append(f"--resize {min(shape[:2])}")
    if needs_mode:
        options.append("--mode RGB")
    if options:
        described = f"{got[0]}×{got[1]} {found.mode}" if found.needs_mode else _describe(got)
        like = "" if got == shape else " like the images before it"
        raise UnlikeError(f"{name}: expected {_describe(shape)}{like}, got {described}", " ".join(options))


def check_plain_png(data: bytes, shape: Sequence[int], name: str) -> None:
    """Check that a file is a PNG of 8-bit pixels of a shape (H, W, C) without other chunks.

    Readers act on other chunks: an orientation rotates the image, a gamma brightens it.

    Raises
    ------
    SourceError
        If it is not; the message names the file ``name``.
    """
    height, width, channels = shape
    color_type = PNG_COLOR_TYPES[channels]
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, color_type, 0, 0, 0)
    if not (data.startswith(PNG_SIGNATURE) and data[8:29] == header and _is_pixels_alone(data)):
        raise SourceError(f"{name}: expected a PNG of 8-bit {_describe(shape)} and nothing else in it")


def _is_pixels_alone(png: bytes) -> bool:
    """Return whether a PNG has a header, pixels and an end, and nothing else."""
    chunk_types, offset = [], len(PNG_SIGNATURE)
    while offset + 12 <= len(png):
        chunk_types.append(png[offset + 4 : offset + 8])
        offset += 12 + int.from_bytes(png[offset : offset + 4])
    is_plain = chunk_types[:1] == [b"IHDR"] and chunk_types[-1:] == [b"IEND"] and set(chunk_types[1:-1]) == {b"IDAT"}
    return is_plain and offset == len(png)


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
    """Open an image; only its header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
    except Image.DecompressionBombError as error:
        raise SourceError(f"{name}: {error}") from None
    except DECODER_ERRORS as error:
        if why := unfetched(data):
            raise SourceError(f"{name}: is not an image: it {why}") from None
        _refuse_cut_off(error, name)
        reason = "its header is of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise SourceError(f"{name}: is not an image ({reason}): expected one of {', '.join(IMAGE_FORMATS)}") from None
    if image.width * image.height > MAX_PIXELS:
        raise SourceError(
            f"{name}: {image.height}×{image.width} is more than {MAX_PIXELS} pixels, "
            "which looks like a decompression bomb; scale the image down"
        )
    return image


def _refuse_cut_off(error: Exception, name: str) -> None:
    """Raise SourceError if Pillow found that the data of an image ends too early."""
    if "truncated" in str(error).lower():
        raise SourceError(f"{name}: is cut off; get the image again") from None


class _Found(NamedTuple):
    """The shape (H, W, C) of an image, upright; whether it has to be converted to it; its mode in words."""

    shape: Shape
    needs_mode: bool
    mode: str


def _probe(data: bytes, name: str) -> _Found:
    """Read an image's shape and mode from its header."""
    with _open(data, name) as image:
        if image.mode == "F":
            raise SourceError(f"{name}: its levels are floating point, expected whole numbers; save it with 8 bits")
        try:
            sideways = _may_be_turned(data) and orientation(image) >= FIRST_SIDEWAYS
        except DECODER_ERRORS as error:
            _refuse_cut_off(error, name)
            raise SourceError(f"{name}: its EXIF data cannot be read ({error}); replace the file") from None
        height, width = (image.width, image.height) if sideways else (image.height, image.width)
        channels = {"1": 1, "L": 1, "RGB": 3, "P": 3}.get(image.mode)
        mode = f"of mode {image.mode}"
        if data.startswith(PNG_SIGNATURE) and data[PNG_BIT_DEPTH : PNG_BIT_DEPTH + 1] == b"\x10":
            channels, mode = None, "with 16 bits per channel"
        elif is_transparent(image):
            channels, mode = None, f"with transparency (mode {image.mode})"
        return _Found((height, width, channels or 3), channels is None, mode)


def _may_be_turned(data: bytes) -> bool:
    """Return whether an image may have an orientation: fast, since it is asked of every image."""
    if data.startswith(JPEG_START):
        return APP1 in data
    return not (data.startswith(PNG_SIGNATURE) and _is_pixels_alone(data))


def _orientation(data: bytes, name: str) -> int:
    with _open(data, name) as image:
        return orientation(image)


def _decode_with_pillow(data: bytes, shape: tuple[int, ...], name: str, conversion: Conversion) -> NDArray[np.uint8]:
    _refuse_unlike(data, shape, name, conversion)
    with _open(data, name) as image:
        image.load()
        pixels = np.asarray(conversion.apply(upright(image)))
    return pixels.reshape(shape)
