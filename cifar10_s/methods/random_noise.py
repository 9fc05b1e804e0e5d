"""Uniform random noise: the control for every other method."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.rng import generator, skip_floats
from cifar10_s.data.images import Images, Transform
from cifar10_s.methods.base import Bound, Method, adding, by_chunk


@dataclass(frozen=True, kw_only=True)
class ClasswiseNoise(Method):
    """One draw of U(-ε, ε) per class, added to all its images."""

    name: str = "random-classwise"
    summary: str = "uniform random noise, one per class: a control"
    epsilon: int = 8

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return an ℓ∞ bound of ε levels."""
        return Bound(linf=self.epsilon)

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`; runs on the CPU."""
        shape, labels = (len(images.class_names), *images.shape[1:]), images.labels
        noise = generator(options.seed, self.name).uniform(-self.epsilon, self.epsilon, shape).astype(np.float32)
        return adding(lambda rows: noise[labels[rows]])


@dataclass(frozen=True, kw_only=True)
class SamplewiseNoise(Method):
    """One draw of U(-ε, ε) per image."""

    name: str = "random-samplewise"
    summary: str = "uniform random noise, one per image: a control"
    epsilon: int = 8

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return an ℓ∞ bound of ε levels."""
        return Bound(linf=self.epsilon)

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`; runs on the CPU."""
        shape = images.shape[1:]

        def draw(chunk: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
            # Of large images, a part is less than a chunk.
            first, random = int(rows.min()), generator(options.seed, self.name, str(chunk))
            skip_floats(random, first * math.prod(shape))
            uniform = random.random((int(rows.max()) + 1 - first, *shape), dtype=np.float32)
            return np.asarray((2 * uniform[rows - first] - 1) * self.epsilon, np.float32)

        return adding(lambda rows: by_chunk(rows, draw))
