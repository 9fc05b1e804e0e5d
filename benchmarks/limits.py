"""Limits: what the machine can do at best, measured in the same run. All are seconds."""

from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from timing import median
from torch.utils.flop_counter import FlopCounterMode

from cifar10_s.codec import PNG_SIGNATURE, encode
from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.parallel import chunks, cores, thread_map

# Bytes that a core is given at a time; files, likewise; and the side of the matrices that are multiplied.
PART, FILES, SIDE = 1 << 20, 500, 2_048


def reading(pixels: NDArray[np.uint8]) -> float:
    """Give what reading the bytes from memory once takes on all cores."""
    words = pixels.reshape(-1).view(np.uint64)
    return _over(chunks(len(words), PART // 8), lambda part: words[part].sum())


def copying(pixels: NDArray[np.uint8]) -> float:
    """Give what reading the bytes and writing others takes on all cores."""
    source, target = pixels.reshape(-1), np.empty(pixels.size, np.uint8)
    return _over(chunks(len(source), PART), lambda part: np.copyto(target[part], source[part]))


def decoding(files: Sequence[bytes]) -> float:
    """Give what the codec alone takes on all cores; nothing is kept."""
    decoders = {True: imagecodecs.png_decode, False: imagecodecs.jpeg_decode}
    return _over(
        chunks(len(files), FILES), lambda part: [decoders[file.startswith(PNG_SIGNATURE)](file) for file in files[part]]
    )


def encoding(images: LabeledImages) -> float:
    """Give what the codec alone takes on all cores; nothing is kept."""
    return _over(chunks(len(images), FILES), lambda part: encode(images.pixels[part]))


def arithmetic(function: Callable[[], object], engine: Engine) -> float:
    """Give what the multiplications of a function's networks take at the rate of those of large matrices."""
    with FlopCounterMode(display=False) as counter:
        function()
    kind = torch.bfloat16 if engine.bfloat16 else torch.float32
    matrix = torch.ones((SIDE, SIDE), dtype=kind, device=engine.device)
    rate = 2 * SIDE**3 / median(lambda: float((matrix @ matrix)[0, 0]))
    return float(counter.get_total_flops()) / rate


def _over(parts: list[slice], function: Callable[[slice], object]) -> float:
    """Time a function over all parts; each core has its own, one after another, so that nothing is handed around."""
    shares = [parts[core :: cores()] for core in range(cores())]

    def work(share: list[slice]) -> None:
        for part in share:
            function(part)

    return median(lambda: list(thread_map(work, shares)), repeats=3)
