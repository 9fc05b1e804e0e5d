"""Limits: what the machine can do at best, measured in the same run. All are seconds."""

from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from cifar10_s.common.machine import cores
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.codec import PNG_SIGNATURE, encode
from cifar10_s.data.images import LabeledImages
from cifar10_s.nn.runtime import Runtime
from speed.timing import median

# Bytes that a core is given at a time; files, likewise; and the side of the matrices that are multiplied.
PART, FILES, SIDE = 1 << 20, 500, 2_048


def reading(pixels: NDArray[np.uint8]) -> float:
    """Return the seconds that reading the bytes from memory once takes on all cores."""
    words = pixels.reshape(-1).view(np.uint64)
    return _over(chunks(len(words), PART // 8), lambda part: words[part].sum())


def copying(pixels: NDArray[np.uint8]) -> float:
    """Return the seconds that reading the bytes and writing others takes on all cores."""
    source, target = pixels.reshape(-1), np.empty(pixels.size, np.uint8)
    return _over(chunks(len(source), PART), lambda part: np.copyto(target[part], source[part]))


def decoding(files: Sequence[bytes]) -> float:
    """Return the seconds that the codec alone takes on all cores; nothing is kept."""
    decoders = {True: imagecodecs.png_decode, False: imagecodecs.jpeg_decode}
    return _over(
        chunks(len(files), FILES), lambda part: [decoders[file.startswith(PNG_SIGNATURE)](file) for file in files[part]]
    )


def encoding(images: LabeledImages) -> float:
    """Return the seconds that the codec alone takes on all cores; nothing is kept."""
    return _over(chunks(len(images), FILES), lambda part: encode(images.pixels[part]))


def arithmetic(function: Callable[[], object], runtime: Runtime) -> float:
    """Return the seconds that the multiplications of a function take at the rate of large matrices."""
    with FlopCounterMode(display=False) as counter:
        function()
    kind = torch.bfloat16 if runtime.bfloat16 else torch.float32
    matrix = torch.ones((SIDE, SIDE), dtype=kind, device=runtime.device)
    rate = 2 * SIDE**3 / median(lambda: float((matrix @ matrix)[0, 0]))
    return float(counter.get_total_flops()) / rate


def _over(parts: list[slice], function: Callable[[slice], object]) -> float:
    """Time a function over all parts; each core has its own, one after another, so that nothing is handed around."""
    shares = [parts[core :: cores()] for core in range(cores())]

    def work(share: list[slice]) -> None:
        for part in share:
            function(part)

    return median(lambda: list(thread_map(work, shares)), repeats=3)
