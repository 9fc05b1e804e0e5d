"""AR: autoregressive perturbations (Sandoval-Segura et al., NeurIPS 2022)."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Float64Array
from cifar10_s.common.options import Options
from cifar10_s.common.rng import generator
from cifar10_s.common.threads import thread_map
from cifar10_s.data.images import Images, Transform
from cifar10_s.errors import UsageError
from cifar10_s.methods.base import CHUNK_IMAGES, Bound, Method, adding, by_chunk, scale_to
from cifar10_s.methods.linear_process import (
    BORDER,
    WINDOW,
    LinearProcess,
    draw_filters,
    least_responses,
    run_each,
)

# Coefficients per class, channel, row and column.
Coefficients = tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]

logger = logging.getLogger(__name__)

# Runs of a process before it is accepted, and reruns of noise that is out of range, each from another start.
PROBES, RETRIES = 16, 100
# Filters per channel that are drawn together, and batches of them after which less response is asked for.
BATCH, BATCHES = 2_000, 250
# Shares of the published response that are asked for, one after another.
LENIENCE = tuple(0.8**n for n in range(11))
# Candidates are tried on images of at most this side: the authors' figures are for it.
TRIED_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Autoregressive(Method):
    """A random linear process per class, run from a random start for each image.

    Attributes
    ----------
    l2
        ℓ2 norm of an image's noise, x in [0, 1]. This norm and those below are for 32×32×3 values; for other sizes
        they grow with the square root of the number of values.
    margin
        Rows and columns of the start that are dropped.
    min_norm, max_norm
        Range of the noise's norm before scaling. Processes that leave it die out or diverge, and are drawn again.
    min_response
        Least response of every earlier class's filters to the noise of a class, as in the authors' code (see
        `linear_process.least_responses`); for 32×32 images of at most 10 classes. See `threshold` for others.
    recorded
        The processes of all classes as a release records them, instead of drawn ones; not part of the settings.
    """

    draws: ClassVar[bool] = True
    name: str = "ar"
    summary: str = "autoregressive perturbations (AR): a random linear process per class"
    l2: float = 1.0
    margin: int = 4
    min_norm: float = 0.5
    max_norm: float = 50.0
    min_response: float = 10.0
    recorded: Coefficients | None = field(default=None, repr=False)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return {name: value for name, value in super().settings().items() if name != "recorded"}

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return an ℓ2 bound of 1.0 for 32×32×3 images."""
        return Bound(l2=self.l2 * _scale(shape))

    def threshold(self, classes: int, shape: tuple[int, ...]) -> float:
        """Return the least response for a number of classes and images of (H, W, C).

        The authors ask for 10 with 10 classes and for 3 with 100. Between and beyond it falls by 0.3 for each factor
        of 10; with fewer than 10 classes it is 10. A response is a sum over positions of noise whose norm is 1: it
        grows as (H - 2)·(W - 2)/√(H·W). Of larger images it is measured on the first 32 rows and columns.
        """
        height, width = (min(side, TRIED_SIDE) for side in shape[:2])
        positions = (height - BORDER) * (width - BORDER) / math.sqrt(height * width)
        fewer = 0.3 ** math.log10(max(classes, 10) / 10)
        return float(self.min_response * fewer * positions / (30 * 30 / 32))

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`; runs on the CPU."""
        shape, labels = images.shape[1:], images.labels
        l2, processes = self.bound(shape).l2, self.processes(len(images.class_names), shape, options.seed)

        def draw(chunk: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            random = generator(options.seed, self.name, "noise", str(chunk))
            of_chunk = labels[chunk * CHUNK_IMAGES : (chunk + 1) * CHUNK_IMAGES]
            noise = np.empty((len(of_chunk), *shape), np.float32)
            for label in np.unique(of_chunk):
                members = np.flatnonzero(of_chunk == label)
                noise[members] = scale_to(self._noise(processes[label], random, len(members), shape), l2)
            return noise[rows]

        return adding(lambda rows: by_chunk(rows, draw))

    def processes(self, classes: int, shape: tuple[int, ...], seed: int) -> Float64Array:
        """Return the coefficients, (K, C, 3, 3), of each class's process: those recorded, or drawn.

        A process is accepted if it neither dies out nor diverges, and the filters of every class before it respond to
        its noise by at least `threshold`. If `BATCHES` draws do not give enough of them, less is asked for, and a
        warning says so.

        Raises
        ------
        UsageError
            If there is no such process for images of this size, or those recorded are of other images.
        """
        if self.recorded is None:
            return _draw_processes(self, classes, shape, seed)
        processes = np.array(self.recorded)
        if processes.shape != (classes, shape[-1], WINDOW, WINDOW):
            raise UsageError(
                f"{self.name}: the recorded processes are {processes.shape}, expected {classes} classes, {shape[-1]} "
                f"channels and {WINDOW}×{WINDOW} coefficients: take those of a release with such images"
            )
        return processes

    def drawn(self, images: Images, options: Options) -> dict[str, Any]:
        """See `Method.drawn`: the processes, as nested lists."""
        return {"processes": self.processes(len(images.class_names), images.shape[1:], options.seed).tolist()}

    def with_drawn(self, drawn: Any) -> Self:
        """See `Method.with_drawn`."""
        try:
            processes = np.asarray(drawn["processes"])
        except (KeyError, TypeError, ValueError):
            raise ValueError("drawn: expected processes, four levels of numbers, got something else") from None
        if processes.ndim != 4 or processes.shape[2:] != (WINDOW, WINDOW) or processes.dtype != np.float64:
            raise ValueError(f"drawn: expected processes of {WINDOW}×{WINDOW} coefficients, got {processes.shape}")
        if not (np.isfinite(processes).all() and not processes[..., -1, -1].any()):
            raise ValueError("drawn: expected finite coefficients, the last of each filter 0, got others")
        coefficients = tuple(tuple(tuple(map(tuple, taps)) for taps in of_class) for of_class in processes.tolist())
        return replace(self, recorded=coefficients)

    def candidates(self, seed: int, batch: int, shape: tuple[int, ...]) -> tuple[Float64Array, Float64Array]:
        """Return processes, (m, C, 3, 3), and a run of each, (m, H, W, C), whose norm is in range.

        The channels are independent: a process is made of one filter per channel that does not diverge.
        """
        random, (height, width, channels) = generator(seed, self.name, "processes", str(batch)), shape
        kept = []
        for _ in range(channels):
            filters = draw_filters(random, BATCH)
            # A larger value alone is beyond the greatest norm.
            noise, bounded = run_each(
                filters, random, height + self.margin, width + self.margin, self.max_norm * _scale(shape)
            )
            kept.append((filters[bounded], noise[bounded, self.margin :, self.margin :]))
        count = min(len(filters) for filters, _ in kept)
        processes = np.stack([filters[:count] for filters, _ in kept], axis=1)
        probes = np.stack([noise[:count] for _, noise in kept], axis=-1)
        sound = self.in_range(probes)
        return processes[sound], probes[sound]

    def run(
        self, process: Float64Array, random: np.random.Generator, count: int, shape: tuple[int, ...]
    ) -> Float64Array:
        """Run a process from ``count`` random starts; return (count, H, W, C)."""
        height, width, channels = shape[0] + self.margin, shape[1] + self.margin, shape[2]
        rows = random.standard_normal((channels, BORDER, width, count))
        columns = random.standard_normal((channels, height - BORDER, BORDER, count))
        values = LinearProcess(process, width).run(rows, columns)
        return values[:, self.margin :, self.margin :].transpose(3, 1, 2, 0)

    def _noise(
        self, process: Float64Array, random: np.random.Generator, count: int, shape: tuple[int, ...]
    ) -> Float64Array:
        """Return noise for ``count`` images; those whose norm is out of range are run from another start.

        Raises
        ------
        UsageError
            If no start leads to a norm in range.
        """
        noise = self.run(process, random, count, shape)
        for _ in range(RETRIES):
            bad = np.flatnonzero(~self.in_range(noise))
            if not len(bad):
                return noise
            noise[bad] = self.run(process, random, len(bad), shape)
        raise UsageError(f"{self.name}: a process left its range in {RETRIES} starts: use another seed")

    def in_range(self, noise: Float64Array) -> NDArray[np.bool_]:
        """Return whether the norm of each image of noise, (n, H, W, C), is between the least and the greatest."""
        norms, scale = _norms(noise), _scale(noise.shape[1:])
        return np.asarray((norms >= self.min_norm * scale) & (norms <= self.max_norm * scale))

    def is_sound(self, probe: Float64Array) -> bool:
        """Return whether noise is in range, and not concentrated in one channel or one half of the image."""
        if not self.in_range(probe).all():
            return False
        energy = np.square(probe).mean(0)
        channels = energy.sum((0, 1))
        rows, columns = energy.sum((1, 2)), energy.sum((0, 2))
        halves = [half.sum() for part in (rows, columns) for half in np.array_split(part, 2)]
        return bool(channels.min() > 0.05 * channels.max() and min(halves) > 0.05 * energy.sum())


@lru_cache(maxsize=16)
def _draw_processes(method: Autoregressive, classes: int, shape: tuple[int, ...], seed: int) -> Float64Array:
    """Draw the processes of a method; see `Autoregressive.processes`. Several configurations share them."""
    height, width, channels = shape
    if min(height, width) < WINDOW:
        raise UsageError(f"{method.name}: expected images of at least {WINDOW}×{WINDOW} pixels, got {height}×{width}")
    random, published = generator(seed, method.name, "processes"), method.threshold(classes, shape)
    tried = (min(height, TRIED_SIDE), min(width, TRIED_SIDE), channels)
    chosen = np.empty((0, channels, WINDOW, WINDOW))
    for number, share in enumerate(LENIENCE):
        least, batches = share * published, range(number * BATCHES, (number + 1) * BATCHES)
        for batch in thread_map(lambda batch: method.candidates(seed, batch, tried), batches):
            for process in _accepted(method, *batch, chosen, random, shape, least):
                chosen = np.concatenate([chosen, process[None]])
                if len(chosen) == classes:
                    if least < published:
                        logger.warning(
                            "%s: the %d processes are less unlike than published (least response %.2f, not %.2f): "
                            "images of %d×%d×%d are too small for more", method.name, classes, least, published, *shape,
                        )  # fmt: skip
                    return chosen
    raise UsageError(
        f"{method.name}: no process found for class {len(chosen)} of images of shape {shape}: use larger images or "
        "fewer classes"
    )


def _accepted(
    method: Autoregressive, processes: Float64Array, probes: Float64Array, chosen: Float64Array,
    random: np.random.Generator, shape: tuple[int, ...], least: float,
) -> Iterator[Float64Array]:  # fmt: skip
    """Yield the candidates of a batch that are accepted, each beside the chosen ones and those yielded before."""
    unlike = least_responses(chosen, probes, least) >= least
    for at, process in enumerate(processes):
        if unlike[at] and _is_accepted(method, process, chosen, random, shape, least):
            yield process
            chosen = np.concatenate([chosen, process[None]])
            unlike &= least_responses(process[None], probes, least) >= least


def _is_accepted(
    method: Autoregressive, process: Float64Array, chosen: Float64Array, random: np.random.Generator,
    shape: tuple[int, ...], least: float,
) -> bool:  # fmt: skip
    """Return whether a candidate is sound on images of the given shape, and the chosen ones respond to it."""
    probe = method.run(process, random, PROBES, shape)
    if not method.is_sound(probe):
        return False
    tried = probe[:, :TRIED_SIDE, :TRIED_SIDE]
    return all(least_responses(one[None], tried, 0.0).mean() >= least for one in chosen)


def _norms(noise: Float64Array) -> Float64Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.square(noise, dtype=np.float64).sum((1, 2, 3))))


def _scale(shape: tuple[int, ...]) -> float:
    return math.sqrt(math.prod(shape) / 3072)
