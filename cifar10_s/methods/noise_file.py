"""Read the noise of a method from an untrusted file, and check that it fits the images and the method's bound."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.checksums import hash_file
from cifar10_s.common.files import expand
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.array_files.base import ArrayFile
from cifar10_s.data.array_files.registry import open_array
from cifar10_s.data.images import Images
from cifar10_s.errors import UsageError
from cifar10_s.methods.poisoned_file import are_images, check_unscaled, subtract

# torch puts channels first, and so does REM; in these files ambiguous shapes are read that way.
CHANNELS_FIRST = (".pt", ".pth", ".safetensors", ".pkl", ".pickle")
# How far noise may exceed its bound, in levels: less than half a level, so that rounding restores the bound.
TOLERANCE_LEVELS = 0.499
# Standard deviations by which images in [0, 1] are normalised are between these: 0.198 of SVHN, 0.308 of MNIST.
LEAST_DEVIATION, LARGEST_DEVIATION = 0.17, 0.33
# Values that a task converts at a time.
CHUNK_VALUES = 1 << 18

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64")
# Shape of one noise, and the order of the axes of all noises that puts channels last.
_Form = tuple[tuple[int, ...], tuple[int, ...]]
_READ_AS = {
    "unit": "read as x in [0, 1] and multiplied by 255, since no value is above 1",
    "levels": "read as levels, since it holds integers or values above 1",
}


@dataclass(frozen=True, eq=False)
class NoiseFile:
    """Noise to add to a training set.

    Attributes
    ----------
    name
        Name of the file, without its folder.
    sha256
        SHA-256 of the file.
    kind
        ``sample-wise``, one noise per image in the order of the images, or ``class-wise``, one per class.
    unit
        Unit of the numbers in the file: ``levels``, or ``unit`` for x in [0, 1].
    levels : (N, H, W, C) or (K, H, W, C) float32
        The noise in levels, signed, not rounded, less than half a level over the bound.
    one_sided
        Whether no value is negative. If the method's noise has both signs, it was clamped to 0-255, as by the official
        loader of EM.
    of_images
        Whether the file holds perturbed images, and the noise is what differs from the clean ones.
    """

    name: str
    sha256: str
    kind: str
    unit: str
    levels: NDArray[np.float32]
    one_sided: bool
    of_images: bool


def read_noise(
    path: str | Path,
    *,
    shape: tuple[int, ...],
    images: int,
    classes: int,
    linf: int,
    l2: float = math.inf,
    clean: Images | None = None,
) -> NoiseFile:
    """Read noise from ``.pt``, ``.pth``, ``.npy``, ``.npz``, ``.safetensors``, ``.pkl`` or ``.pickle``.

    The array has the shape (N, C, H, W) or (N, H, W, C) for N images, or the same with K for K classes; greyscale may
    be (N, H, W). If H = W = C, files of torch and safetensors have channels first and those of NumPy last. Integers
    are levels, and so are floats if any is beyond ±1; otherwise floats are for x in [0, 1].

    A file of perturbed images is taken too, uint8 or in [0, 1] or 0-255: their noise is what differs from the clean
    images. So NTGA is published, and others are. If each array has its class beside it, as DUNE's do, they may be
    sorted by class.

    It takes the memory of the levels, and of the file's array if it cannot be memory-mapped (``.npz``, bfloat16).

    Parameters
    ----------
    path
        The file, untrusted.
    shape
        (H, W, C) of the images.
    images, classes
        Number of images and of classes.
    linf
        ℓ∞ bound of the method, in levels.
    l2
        ℓ2 bound of the method, x in [0, 1], for noise rounded to whole levels.
    clean
        The images that the noise is for; without them, a file of perturbed images is refused, and so is one noise per
        image with its class.

    Raises
    ------
    UsageError
        If the noise does not fit the images, or is unsigned, not finite, zero or over the bound.
    SourceError
        If the file cannot be read, or could run code.
    """
    path = expand(path)
    array = open_array(path)
    may_be_images = clean is not None and array.dtype == "uint8"
    if not may_be_images:
        _check_type(array)
    kind, axes = _match(array, shape, {"sample-wise": images, "class-wise": classes})
    order = array.order if kind == "sample-wise" else None
    if array.labels is not None:
        labels = np.empty(0, np.int64) if clean is None else clean.labels
        order = _order_of(path, array.labels, labels if kind == "sample-wise" else np.arange(classes))
    levels, lowest, highest = _convert(array.load(), axes, shape, order)
    reach = np.maximum(highest, -lowest)
    each = "image" if kind == "sample-wise" else "class"
    _check_finite(path, each, reach)
    unit = "unit" if array.dtype in _FLOATS and reach.max() <= 1 else "levels"
    if unit == "unit":
        levels *= 255
        reach *= 255
    scale = 255 if unit == "unit" else 1
    of_images = clean is not None and kind == "sample-wise" and are_images(lowest * scale, highest * scale)
    if clean is not None and of_images:
        subtract(path, levels, clean, linf + TOLERANCE_LEVELS)
        lowest, unit = levels.min((1, 2, 3)), "levels"
        reach = np.abs(levels).max((1, 2, 3)).astype(np.float64)
    elif may_be_images:
        _check_type(array)
    elif clean is not None and kind == "sample-wise":
        check_unscaled(path, levels, clean)
    _check_reach(path, each, reach, linf, unit, levels)
    _check_norm(path, each, levels, l2, unit)
    return NoiseFile(path.name, hash_file(path), kind, unit, levels, bool(lowest.min() >= 0), of_images)


def _order_of(path: Path, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the image that each row of a file is for: rows of a class are for its images, in order.

    Parameters
    ----------
    path
        The file, for the message.
    rows : (N,)
        The labels of its rows.
    labels : (N,)
        The labels of the images; 0 to K - 1 if there is one row per class.
    """
    if not np.array_equal(np.sort(rows), np.sort(labels)):
        raise UsageError(
            f"{path}: its classes have other numbers of images than yours: use a file made for these images"
        )
    order = np.empty(len(labels), np.int64)
    order[np.argsort(rows, kind="stable")] = np.argsort(labels, kind="stable")
    return order


def _check_type(array: ArrayFile) -> None:
    if array.dtype.startswith("uint"):
        raise UsageError(
            f"{array.path}: holds {array.dtype}: expected signed numbers, since noise goes both ways; as unsigned "
            "levels it has lost its negative half, as in the official loader of EM: save it as float32 or int16"
        )
    if array.dtype not in _FLOATS + _INTEGERS:
        raise UsageError(f"{array.path}: holds {array.dtype}: expected one of {', '.join(_FLOATS + _INTEGERS)}")


def _match(array: ArrayFile, shape: tuple[int, ...], counts: dict[str, int]) -> tuple[str, tuple[int, ...]]:
    """Return the kind of noise by its shape, and the order of axes that puts channels last."""
    forms = _forms(shape, channels_first=array.path.suffix.lower() in CHANNELS_FIRST)
    kinds = [kind for kind, count in counts.items() if array.shape[:1] == (count,)]
    axes = forms.get(array.shape[1:])
    if not kinds or axes is None:
        images, classes = (" or ".join(str((count, *form)) for form in forms) for count in counts.values())
        raise UsageError(
            f"{array.path}: expected the shape {images}, one noise per image, or {classes}, one per class, "
            f"got {str(array.shape)[:200]}; use noise made for these images"
        )
    if len(kinds) > 1:
        raise UsageError(
            f"{array.path}: {array.shape[0]} noises for the same number of images and of classes can be sample-wise or "
            "class-wise: expected more images than classes"
        )
    return kinds[0], axes


def _forms(shape: tuple[int, ...], *, channels_first: bool) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes that noise for an (H, W, C) image can have, and for each the order of axes."""
    height, width, channels = shape
    first: _Form = ((channels, height, width), (0, 2, 3, 1))
    last: _Form = ((height, width, channels), (0, 1, 2, 3))
    grey: list[_Form] = [((height, width), (0, 1, 2))] if channels == 1 else []
    # If two shapes are equal, the later one wins.
    return dict([*grey, last, first] if channels_first else [*grey, first, last])


def _convert(
    array: NDArray[Any], axes: tuple[int, ...], shape: tuple[int, ...], order: NDArray[Any] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the numbers as (…, H, W, C) float32 in the images' order, and the lowest and highest of each noise."""
    levels = np.empty((len(array), *shape), np.float32)
    # float64, as the lowest integer of a type cannot be negated in that type.
    lowest, highest = np.empty(len(array)), np.empty(len(array))

    def work(part: slice) -> None:
        values = array[part]
        with np.errstate(all="ignore"):
            rows = part if order is None else order[part]
            lowest[rows] = values.reshape(len(values), -1).min(1)
            highest[rows] = values.reshape(len(values), -1).max(1)
            levels[rows] = values.transpose(axes).reshape(-1, *shape)

    for _ in thread_map(work, chunks(len(array), max(1, CHUNK_VALUES // math.prod(shape)))):
        pass
    return levels, lowest, highest


def _check_finite(path: Path, each: str, reach: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(reach))
    if len(bad):
        raise UsageError(
            f"{path}: {len(bad)} of {len(reach)} noises have NaN or infinite values, first that of {each} {bad[0]}: "
            "expected finite numbers; generate the noise again"
        )


def _check_reach(
    path: Path, each: str, reach: NDArray[np.float64], linf: int, unit: str, levels: NDArray[np.float32]
) -> None:
    worst = int(reach.argmax())
    if reach[worst] == 0:
        raise UsageError(f"{path}: all its values are 0: expected noise; was the right array saved?")
    if reach[worst] < 0.5:
        raise UsageError(
            f"{path}: its values, {_READ_AS[unit]}, reach {reach[worst]:.3g} levels: expected at least half a level, "
            "or rounding leaves nothing; was it divided by 255 twice?"
        )
    if reach[worst] > linf + TOLERANCE_LEVELS:
        raise UsageError(
            f"{path}: the noise of {each} {worst}, {_READ_AS[unit]}, reaches {reach[worst]:.6g} levels: expected at "
            f"most {linf}, the method's bound; {_seems_scaled(levels, linf)}name the method that made it, or generate "
            "it within the bound"
        )


def _seems_scaled(levels: NDArray[np.float32], linf: int) -> str:
    """Return what to do if noise exceeds its bound as if it was made for normalised images; empty if not."""
    ratios = np.abs(levels).max((0, 1, 2)) / linf
    deviations = 1 / np.maximum(ratios, np.finfo(np.float32).tiny)
    times = ", ".join(f"{ratio:.3g}" for ratio in ratios)
    if ((deviations > LEAST_DEVIATION) & (deviations < LARGEST_DEVIATION)).all():
        divisors = ", ".join(f"{deviation:.3g}" for deviation in deviations)
        return (
            f"its channels reach {times} times the bound, as noise for normalised images does, which was divided by a "
            f"standard deviation ({divisors}): multiply each channel by its own; otherwise "
        )
    if np.allclose(ratios, 2, rtol=0.02):
        return "it reaches twice the bound, as noise for images in [-1, 1] does: divide it by 2; otherwise "
    return ""


def _check_norm(path: Path, each: str, levels: NDArray[np.float32], l2: float, unit: str) -> None:
    if l2 == math.inf:
        return
    norms = np.empty(len(levels))

    def work(part: slice) -> None:
        norms[part] = np.sqrt(np.square(np.rint(levels[part]), dtype=np.float64).sum((1, 2, 3))) / 255

    for _ in thread_map(work, chunks(len(levels), max(1, CHUNK_VALUES // math.prod(levels.shape[1:])))):
        pass
    worst = int(norms.argmax())
    if norms[worst] > l2 + 1e-9:
        raise UsageError(
            f"{path}: the noise of {each} {worst}, {_READ_AS[unit]}, has the Euclidean norm {norms[worst]:.4g}, x in "
            f"[0, 1]: expected at most {l2:.4g}, the method's bound; name the method that made it, or generate it "
            "within the bound"
        )
