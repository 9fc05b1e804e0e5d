"""CUDA: convolution-based unlearnable datasets (Sadasivan et al., CVPR 2023)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import Change, Images, Rows, to_uint8
from cifar10_s.methods.method import Bound, Method
from cifar10_s.seeds import generator


@dataclass(frozen=True, kw_only=True)
class ClasswiseConvolution(Method):
    """A random blur a class, the same on all channels; each image is then scaled to its full range.

    Attributes
    ----------
    blur
        The weights are U(0, blur), but one at random, which is 1.
    size
        The filter's side, odd.
    """

    name: str = "cuda"
    summary: str = "convolution-based unlearnable data (CUDA): a random blur a class, without a norm bound"
    blur: float = 0.3
    size: int = 3

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Give none: the method has no norm bound."""
        return Bound()

    def change(self, images: Images, *, seed: int, device: str) -> Change:
        """See `Method.change`; runs on the CPU."""
        filters, labels = self._filters(len(images.class_names), seed), images.labels

        def blur(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            blurred = self._convolve(pixels, filters[labels[rows]])
            largest = blurred.max((1, 2, 3), keepdims=True)
            # A black image stays black.
            return to_uint8(255 * blurred / np.where(largest > 0, largest, 1))

        return blur

    def _filters(self, classes: int, seed: int) -> NDArray[np.float32]:
        """Draw each class's filter, (K, size, size)."""
        random = generator(seed, self.name)
        filters = random.uniform(0, self.blur, (classes, self.size * self.size))
        filters[np.arange(classes), random.integers(self.size * self.size, size=classes)] = 1
        return filters.reshape(classes, self.size, self.size).astype(np.float32)

    def _convolve(self, pixels: NDArray[np.uint8], filters: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply to each image its own filter, with zeros around it."""
        edge = self.size // 2
        padded = np.pad(pixels, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        _, height, width, _ = pixels.shape
        total = np.zeros(pixels.shape, np.float32)
        for dy in range(self.size):
            for dx in range(self.size):
                total += filters[:, dy, dx, None, None, None] * padded[:, dy : dy + height, dx : dx + width]
        return total
