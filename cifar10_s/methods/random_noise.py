"""Random noise: the control of every other method."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import Change, Images
from cifar10_s.methods.method import CHUNK, Bound, Method, adding, by_chunk
from cifar10_s.seeds import generator


@dataclass(frozen=True, kw_only=True)
class ClasswiseNoise(Method):
    """One draw of U(-ε, ε) a class, added to all its images."""

    name: str = "random-classwise"
    summary: str = "uniform random noise, one a class: a control"
    epsilon: int = 8

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ∞ of ε levels."""
        return Bound(linf=self.epsilon)

    def change(self, images: Images, *, seed: int, device: str) -> Change:
        """See `Method.change`; runs on the CPU."""
        shape, labels = (len(images.class_names), *images.shape[1:]), images.labels
        noise = generator(seed, self.name).uniform(-self.epsilon, self.epsilon, shape).astype(np.float32)
        return adding(lambda rows: noise[labels[rows]])


@dataclass(frozen=True, kw_only=True)
class SamplewiseNoise(Method):
    """A draw of U(-ε, ε) an image."""

    name: str = "random-samplewise"
    summary: str = "uniform random noise, one an image: a control"
    epsilon: int = 8

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ∞ of ε levels."""
        return Bound(linf=self.epsilon)

    def change(self, images: Images, *, seed: int, device: str) -> Change:
        """See `Method.change`; runs on the CPU."""
        shape = (CHUNK, *images.shape[1:])

        def draw(chunk: int) -> NDArray[np.float32]:
            uniform = generator(seed, self.name, str(chunk)).random(shape, dtype=np.float32)
            return np.asarray((2 * uniform - 1) * self.epsilon, np.float32)

        return adding(lambda rows: by_chunk(rows, draw))
