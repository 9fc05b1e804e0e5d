"""NoiseFile: the noise of a method that people already have, read from a file that nobody vouches for."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.array_files import ArrayFile, open_array
from cifar10_s.checksums import hash_file
from cifar10_s.errors import UsageError
from cifar10_s.parallel import chunks, thread_map

# torch puts channels first; it and its kin are read so where a shape is both.
CHANNELS_FIRST = (".pt", ".pth", ".safetensors")
# How far noise may go over its bound, in levels. Rounding takes it away again; half a level it might round up.
TOLERANCE = 0.499
# Values that a task converts at once.
CHUNK = 1 << 18

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64")
# A shape of one noise, and the order of axes, with that of the noises, that puts channels last.
_Form = tuple[tuple[int, ...], tuple[int, ...]]
_READ_AS = {
    "unit": "read as x in [0, 1] and times 255, since no value is above 1",
    "levels": "read as levels, since it holds integers or values above 1",
}


@dataclass(frozen=True, eq=False)
class NoiseFile:
    """Noise to add to a training set.

    Attributes
    ----------
    name
        The file's name, without its folder.
    sha256
        Of the file's bytes.
    kind
        ``sample-wise``, one noise an image in the images' order, or ``class-wise``, one a class.
    unit
        What the file's numbers were: ``levels``, or ``unit`` for x in [0, 1].
    levels : (N, H, W, C) or (K, H, W, C) float32
        The noise in levels, signed, not rounded, and less than half a level over the bound.
    one_sided
        Whether nothing is below zero. Noise of a method that goes both ways is not; one that was clamped to 0-255,
        as the official loader of EM does, is.
    """

    name: str
    sha256: str
    kind: str
    unit: str
    levels: NDArray[np.float32]
    one_sided: bool


def read_noise(
    path: str | Path, *, shape: tuple[int, ...], images: int, classes: int, linf: int, l2: float = math.inf
) -> NoiseFile:
    """Read noise from ``.pt``, ``.pth``, ``.npy``, ``.npz`` or ``.safetensors``; see `array_files.open_array`.

    The array is (N, C, H, W) or (N, H, W, C) of signed numbers, N images or K classes; greyscale may be (N, H, W).
    Where H = W = C, files of torch and safetensors have channels first and NumPy's last. Integers are levels;
    so are floats of which any goes beyond ±1. Floats within ±1 are for x in [0, 1].

    Memory: the levels, and the file's own numbers where they cannot be memory-mapped (``.npz``, bfloat16).

    Parameters
    ----------
    path
        The file; it is not trusted.
    shape
        The images' (H, W, C).
    images, classes
        How many there are.
    linf
        The method's ℓ∞ bound, in levels.
    l2
        Its Euclidean bound, x in [0, 1], that the noise keeps when it is rounded to whole levels.

    Raises
    ------
    UsageError
        Where the noise is not made for these images, not signed, not finite, zero or over the bound.
    SourceError
        Where the file cannot be read, or could run code.
    """
    path = Path(path)
    array = open_array(path)
    _check_type(array)
    kind, axes = _match(array, shape, {"sample-wise": images, "class-wise": classes})
    levels, lowest, highest = _convert(array.load(), axes, shape)
    reach = np.maximum(highest, -lowest)
    each = "image" if kind == "sample-wise" else "class"
    _check_finite(path, each, reach)
    unit = "unit" if array.dtype in _FLOATS and reach.max() <= 1 else "levels"
    if unit == "unit":
        levels *= 255
        reach *= 255
    _check_reach(path, each, reach, linf, unit)
    _check_norm(path, each, levels, l2, unit)
    return NoiseFile(path.name, hash_file(path), kind, unit, levels, bool(lowest.min() >= 0))


def _check_type(array: ArrayFile) -> None:
    if array.dtype.startswith("uint"):
        raise UsageError(
            f"{array.path}: holds {array.dtype}: expected signed numbers, since noise goes both ways; as unsigned "
            "levels it has lost its negative half, as in the official loader of EM: save it as float32 or int16"
        )
    if array.dtype not in _FLOATS + _INTEGERS:
        raise UsageError(f"{array.path}: holds {array.dtype}: expected one of {', '.join(_FLOATS + _INTEGERS)}")


def _match(array: ArrayFile, shape: tuple[int, ...], counts: dict[str, int]) -> tuple[str, tuple[int, ...]]:
    """Tell from a declared shape its kind, and the order of axes that puts channels last."""
    forms = _forms(shape, channels_first=array.path.suffix.lower() in CHANNELS_FIRST)
    kinds = [kind for kind, count in counts.items() if array.shape[:1] == (count,)]
    axes = forms.get(array.shape[1:])
    if not kinds or axes is None:
        images, classes = (" or ".join(str((count, *form)) for form in forms) for count in counts.values())
        raise UsageError(
            f"{array.path}: expected the shape {images}, one noise an image, or {classes}, one a class, "
            f"got {str(array.shape)[:200]}; take noise that was made for these images"
        )
    if len(kinds) > 1:
        raise UsageError(
            f"{array.path}: {array.shape[0]} noises for as many images and as many classes: it cannot be told "
            "which are meant; expected more images than classes"
        )
    return kinds[0], axes


def _forms(shape: tuple[int, ...], *, channels_first: bool) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Give the forms that a noise of an (H, W, C) image can have."""
    height, width, channels = shape
    first: _Form = ((channels, height, width), (0, 2, 3, 1))
    last: _Form = ((height, width, channels), (0, 1, 2, 3))
    grey: list[_Form] = [((height, width), (0, 1, 2))] if channels == 1 else []
    # Of two that are the same shape, the later one stays.
    return dict([*grey, last, first] if channels_first else [*grey, first, last])


def _convert(
    array: NDArray[Any], axes: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Give the numbers as they are in (…, H, W, C) float32, and the lowest and highest of each noise."""
    levels = np.empty((len(array), *shape), np.float32)
    # float64: in its own type, the sign of the lowest integer cannot be turned.
    lowest, highest = np.empty(len(array)), np.empty(len(array))

    def work(part: slice) -> None:
        values = array[part]
        with np.errstate(all="ignore"):
            lowest[part] = values.reshape(len(values), -1).min(1)
            highest[part] = values.reshape(len(values), -1).max(1)
            levels[part] = values.transpose(axes).reshape(-1, *shape)

    for _ in thread_map(work, chunks(len(array), max(1, CHUNK // math.prod(shape)))):
        pass
    return levels, lowest, highest


def _check_finite(path: Path, each: str, reach: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(reach))
    if len(bad):
        raise UsageError(
            f"{path}: the noise of {len(bad)} of {len(reach)} has values that are NaN or infinite, that of {each} "
            f"{bad[0]} first: expected finite numbers; make the noise again"
        )


def _check_reach(path: Path, each: str, reach: NDArray[np.float64], linf: int, unit: str) -> None:
    worst = int(reach.argmax())
    if reach[worst] == 0:
        raise UsageError(f"{path}: all its values are 0: expected noise; was the right array saved?")
    if reach[worst] < 0.5:
        raise UsageError(
            f"{path}: its values, {_READ_AS[unit]}, reach {reach[worst]:.3g} levels: expected at least half a level, "
            "or rounding leaves nothing; was it divided by 255 twice?"
        )
    if reach[worst] > linf + TOLERANCE:
        raise UsageError(
            f"{path}: the noise of {each} {worst}, {_READ_AS[unit]}, reaches {reach[worst]:.6g} levels: expected at "
            f"most {linf}, the method's bound; name the method that it is of, or make it again within the bound"
        )


def _check_norm(path: Path, each: str, levels: NDArray[np.float32], l2: float, unit: str) -> None:
    if l2 == math.inf:
        return
    norms = np.empty(len(levels))

    def work(part: slice) -> None:
        norms[part] = np.sqrt(np.square(np.rint(levels[part]), dtype=np.float64).sum((1, 2, 3))) / 255

    for _ in thread_map(work, chunks(len(levels), max(1, CHUNK // math.prod(levels.shape[1:])))):
        pass
    worst = int(norms.argmax())
    if norms[worst] > l2 + 1e-9:
        raise UsageError(
            f"{path}: the noise of {each} {worst}, {_READ_AS[unit]}, has the Euclidean norm {norms[worst]:.4g}, x in "
            f"[0, 1]: expected at most {l2:.4g}, the method's bound; name the method that it is of, or make it again "
            "within the bound"
        )
