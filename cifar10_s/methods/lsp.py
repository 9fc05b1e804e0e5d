"""LSP: linearly separable perturbations (Yu et al., Availability Attacks Create Shortcuts, KDD 2022)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.rng import generator
from cifar10_s.data.images import Images, Transform
from cifar10_s.methods.base import Bound, Method, adding, in_pieces, scale_to


@dataclass(frozen=True, kw_only=True)
class LinearlySeparable(Method):
    """A Gaussian cluster per class and a sample of it per image, each value spread over a patch.

    Attributes
    ----------
    grid
        Patches per side: 4 patches have 8×8 pixels on 32×32 images.
    class_separation
        Distance of the clusters in standard deviations.
    epsilon
        Root mean square of the noise in levels: ℓ2 = √(H·W·C)·ε/255, which is 1.304 on 32×32×3 images.
    """

    name: str = "lsp"
    summary: str = "linearly separable perturbations (LSP): a Gaussian cluster per class, spread over patches"
    grid: int = 4
    class_separation: float = 10.0
    epsilon: float = 6.0

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return an ℓ2 bound of √(H·W·C)·ε/255."""
        return Bound(l2=math.sqrt(math.prod(shape)) * self.epsilon / 255)

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`; runs on the CPU. The samples, 4·grid²·C bytes per image, stay in memory."""
        _, height, width, channels = images.shape
        values = self._samples(images, options.seed).reshape(-1, self.grid, self.grid, channels)
        rows, columns = (np.arange(size) * self.grid // size for size in (height, width))
        l2 = self.bound(images.shape[1:]).l2
        return in_pieces(adding(lambda part: scale_to(values[part][:, rows][:, :, columns], l2)))

    def _samples(self, images: Images, seed: int) -> NDArray[np.float32]:
        """Draw a sample for each image from its class's cluster, (N, grid·grid·C)."""
        from sklearn.datasets import make_classification

        classes, channels = len(images.class_names), images.shape[-1]
        size = self.grid * self.grid * channels
        # As many samples per class as the largest class has images, so that all have enough.
        largest = int(np.bincount(images.labels, minlength=classes).max())
        samples, labels = make_classification(
            n_samples=classes * largest, n_features=size, n_informative=size, n_redundant=0, n_classes=classes,
            n_clusters_per_class=1, class_sep=self.class_separation, flip_y=0.0,
            random_state=int(generator(seed, self.name).integers(2**32)),
        )  # fmt: skip
        chosen = np.empty((len(images), size), np.float32)
        for label in range(classes):
            of_class = np.flatnonzero(images.labels == label)
            chosen[of_class] = samples[labels == label][: len(of_class)]
        return chosen
