"""Random noise: the control of every other method."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import LabeledImages
from cifar10_s.methods.method import CHUNK, Bound, Method, add_noise
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

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """See `Method.perturb`; runs on the CPU."""
        shape = (len(images.class_names), *images.pixels.shape[1:])
        noise = generator(seed, self.name).uniform(-self.epsilon, self.epsilon, shape).astype(np.float32)
        return add_noise(images, lambda part: noise[images.labels[part]])


@dataclass(frozen=True, kw_only=True)
class SamplewiseNoise(Method):
    """A draw of U(-ε, ε) an image."""

    name: str = "random-samplewise"
    summary: str = "uniform random noise, one an image: a control"
    epsilon: int = 8

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ∞ of ε levels."""
        return Bound(linf=self.epsilon)

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """See `Method.perturb`; runs on the CPU."""

        def noise(part: slice) -> NDArray[np.float32]:
            random = generator(seed, self.name, str(part.start // CHUNK))
            uniform = random.random(images.pixels[part].shape, dtype=np.float32)
            return np.asarray((2 * uniform - 1) * self.epsilon, np.float32)

        return add_noise(images, noise)
