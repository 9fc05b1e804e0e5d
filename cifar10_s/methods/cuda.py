"""CUDA: convolution-based unlearnable datasets (Sadasivan et al., CVPR 2023)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.rng import generator
from cifar10_s.data.images import Images, Rows, Transform, to_uint8
from cifar10_s.methods.base import Bound, Method, in_pieces


@dataclass(frozen=True, kw_only=True)
class ClasswiseConvolution(Method):
    """A random blur per class, the same for all channels; each image is then scaled to the full range.

    Attributes
    ----------
    blur
        Weights are drawn from U(0, blur), except a random one, which is 1.
    size
        Width and height of the filter, odd.
    """

    name: str = "cuda"
    summary: str = "convolution-based unlearnable data (CUDA): a random blur per class, without a norm bound"
    blur: float = 0.3
    size: int = 3

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return no bound: the method has none."""
        return Bound()

    def transform(self, images: Images, options: Options) -> Transform:
        """See `Method.transform`; runs on the CPU."""
        filters, labels = self._filters(len(images.class_names), options.seed), images.labels

        def blur(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            blurred = self._convolve(pixels, filters[labels[rows]])
            largest = blurred.max((1, 2, 3), keepdims=True)
            # A black image stays black.
            return to_uint8(255 * blurred / np.where(largest > 0, largest, 1))

        return in_pieces(blur)

    def _filters(self, classes: int, seed: int) -> NDArray[np.float32]:
        """Draw each class's filter, (K, size, size)."""
        random = generator(seed, self.name)
        filters = random.uniform(0, self.blur, (classes, self.size * self.size))
        filters[np.arange(classes), random.integers(self.size * self.size, size=classes)] = 1
        return filters.reshape(classes, self.size, self.size).astype(np.float32)

    def _convolve(self, pixels: NDArray[np.uint8], filters: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convolve each image with its own filter, with zero padding."""
        edge = self.size // 2
        padded = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        _, height, width, _ = pixels.shape
        total = np.zeros(pixels.shape, np.float32)
        for dy in range(self.size):
            for dx in range(self.size):
                total += filters[:, dy, dx, None, None, None] * padded[:, dy : dy + height, dx : dx + width]
        return total
