"""AR: autoregressive perturbations (Sandoval-Segura et al., NeurIPS 2022)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages, to_uint8
from cifar10_s.methods.method import CHUNK, Bound, Method, scale_to
from cifar10_s.parallel import chunks, thread_map
from cifar10_s.seeds import generator

Float64Array = NDArray[np.float64]

# A value follows from the 3×3 window that ends in it: two rows above, two columns beside.
WINDOW, BORDER = 3, 2
PROBES = 16
DRAWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Autoregressive(Method):
    """A random linear process a class, run from a random start for each image.

    Attributes
    ----------
    l2
        Norm of an image's noise, x in [0, 1]. This and the norms below are those of 32×32×3 values; for other
        sizes they grow with the root of their number.
    margin
        Rows and columns of the start that are dropped.
    min_norm, max_norm
        A process whose noise leaves this range before scaling dies out or diverges, and is drawn again.
    min_response
        A process must leave at least this share of another class's noise unexplained, or is drawn again.
    """

    name: str = "ar"
    summary: str = "autoregressive perturbations (AR): a random linear process a class"
    l2: float = 1.0
    margin: int = 4
    min_norm: float = 0.5
    max_norm: float = 50.0
    min_response: float = 0.1

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ2 of 1.0 on 32×32×3 images."""
        return Bound(l2=self.l2 * _scale(shape))

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """See `Method.perturb`; runs on the CPU."""
        shape = images.pixels.shape[1:]
        l2 = self.bound(shape).l2
        processes = self.processes(len(images.class_names), shape, seed)
        pixels = np.empty_like(images.pixels)

        def work(task: tuple[int, slice]) -> None:
            label, part = task
            members = np.flatnonzero(images.labels == label)[part]
            random = generator(seed, self.name, str(label), str(part.start))
            noise = scale_to(self._noise(processes[label], random, len(members), shape), l2)
            pixels[members] = to_uint8(noise + images.pixels[members])

        counts = np.bincount(images.labels, minlength=len(processes))
        tasks = [(label, part) for label, count in enumerate(counts) for part in chunks(count, CHUNK)]
        for _ in thread_map(work, tasks):
            pass
        return pixels

    def processes(self, classes: int, shape: tuple[int, ...], seed: int) -> list[Float64Array]:
        """Draw each class's coefficients, (C, 3, 3): sound alone, and blind to the other classes' noise.

        Raises
        ------
        UsageError
            Where images of this size leave no such process to be found.
        """
        random = generator(seed, self.name, "processes")
        chosen: list[Float64Array] = []
        probes: list[Float64Array] = []
        for label in range(classes):
            for _ in range(DRAWS):
                process = self._draw(random, shape[-1])
                probe = self._run(process, random, PROBES, shape)
                if self._is_sound(probe) and all(
                    self._response(process, other) > self.min_response
                    and self._response(mine, probe) > self.min_response
                    for mine, other in zip(chosen, probes, strict=True)
                ):
                    chosen.append(process)
                    probes.append(probe)
                    break
            else:
                raise UsageError(
                    f"{self.name}: no process was found for class {label} of images of shape {shape} in {DRAWS} draws: "
                    "expected larger images or fewer classes"
                )
        return chosen

    def _draw(self, random: np.random.Generator, channels: int) -> Float64Array:
        coefficients = random.standard_normal((channels, WINDOW, WINDOW))
        coefficients[:, -1, -1] = 0
        return np.asarray(coefficients / coefficients.sum((1, 2), keepdims=True))

    def _run(
        self, process: Float64Array, random: np.random.Generator, count: int, shape: tuple[int, ...]
    ) -> Float64Array:
        """Run a process over ``count`` random starts in raster order; gives (count, H, W, C).

        Only a start's first two rows and columns enter. A row follows from the two above it and its own first two
        values by one matrix: within a row the recursion is a triangular system.
        """
        height, width, channels = (
            size + extra for size, extra in zip(shape, (self.margin, self.margin, 0), strict=True)
        )
        values = np.empty((channels, height, width, count))
        values[:, :BORDER] = random.standard_normal((channels, BORDER, width, count))
        values[:, BORDER:, :BORDER] = random.standard_normal((channels, height - BORDER, BORDER, count))
        with np.errstate(over="ignore", invalid="ignore"):
            above, beside = _row_matrices(process, width)
            for y in range(BORDER, height):
                rows = values[:, y - BORDER : y].reshape(channels, BORDER * width, count)
                values[:, y, BORDER:] = above @ rows + beside @ values[:, y, :BORDER]
        return values[:, self.margin :, self.margin :].transpose(3, 1, 2, 0)

    def _noise(
        self, process: Float64Array, random: np.random.Generator, count: int, shape: tuple[int, ...]
    ) -> Float64Array:
        """Make the noise of some images; one whose start leads out of range gets another start.

        Raises
        ------
        UsageError
            Where none is found.
        """
        noise = self._run(process, random, count, shape)
        for _ in range(DRAWS):
            bad = np.flatnonzero(~self._in_range(noise))
            if not len(bad):
                return noise
            noise[bad] = self._run(process, random, len(bad), shape)
        raise UsageError(f"{self.name}: a process leaves its range again and again: take another seed")

    def _in_range(self, noise: Float64Array) -> NDArray[np.bool_]:
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.square(noise, dtype=np.float64).sum((1, 2, 3)))
        scale = _scale(noise.shape[1:])
        return np.asarray((norms >= self.min_norm * scale) & (norms <= self.max_norm * scale))

    def _is_sound(self, probe: Float64Array) -> bool:
        """Tell whether noise is in range, and neither one channel nor one corner of the image has all of it."""
        if not self._in_range(probe).all():
            return False
        energy = np.square(probe, dtype=np.float64).mean(0)
        channels = energy.sum((0, 1))
        rows, columns = energy.sum((1, 2)), energy.sum((0, 2))
        halves = [half.sum() for part in (rows, columns) for half in np.array_split(part, 2)]
        return bool(channels.min() > 0.05 * channels.max() and min(halves) > 0.05 * energy.sum())

    def _response(self, process: Float64Array, noise: Float64Array) -> float:
        """Give the share of a noise, (count, H, W, C), that a process does not explain; 0 for its own."""
        _, height, width, _ = noise.shape
        inner = noise[:, WINDOW - 1 :, WINDOW - 1 :]
        predicted = np.zeros_like(inner)
        for dy in range(WINDOW):
            for dx in range(WINDOW):
                predicted += process[:, dy, dx] * noise[:, dy : height - WINDOW + 1 + dy, dx : width - WINDOW + 1 + dx]
        return float(np.linalg.norm(inner - predicted) / np.linalg.norm(inner))


def _scale(shape: tuple[int, ...]) -> float:
    return math.sqrt(math.prod(shape) / 3072)


def _row_matrices(process: Float64Array, width: int) -> tuple[Float64Array, Float64Array]:
    """Give the matrices, one a channel, that make a row's values from the two rows above and its first two values.

    With A and B for the rows above and G for the row itself, u = A·a + B·b + G·(l, u), so that
    u = (I - G_u)⁻¹ (A·a + B·b + G_l·l). That inverse holds the row recursion's answers to one impulse.
    """
    unknown = width - BORDER
    diagonal = np.arange(unknown)
    bands = np.zeros((len(process), WINDOW, unknown, width))
    for row in range(WINDOW):
        for offset in range(WINDOW):
            if (row, offset) != (WINDOW - 1, WINDOW - 1):
                bands[:, row, diagonal, diagonal + offset] = process[:, row, offset, None]
    inverse = np.zeros((len(process), unknown, unknown))
    answer = np.zeros((unknown + BORDER, len(process)))
    answer[BORDER] = 1
    for n in range(unknown):
        if n:
            answer[n + BORDER] = process[:, -1, 0] * answer[n] + process[:, -1, 1] * answer[n + 1]
        inverse[:, diagonal[n:], diagonal[: unknown - n]] = answer[n + BORDER][:, None]
    above = inverse @ np.concatenate([bands[:, row] for row in range(BORDER)], axis=-1)
    return above, inverse @ bands[:, -1, :, :BORDER]
