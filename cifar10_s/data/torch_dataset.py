"""Images in memory as a map-style dataset for PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from cifar10_s.data.pictures import to_pil


class ImageDataset(Dataset[tuple[Any, int]]):
    """A map-style dataset: an image and its label, by number.

    Parameters
    ----------
    pixels : (N, H, W, C) uint8
    labels : (N,) int64
    classes
        Names of the classes, in order of label.
    transform
        Takes a PIL image, as torchvision's transforms do; by default, an image is a (C, H, W) float32 tensor from 0
        to 1.

    Examples
    --------
    >>> import cifar10_s
    >>> image, label = cifar10_s.load_images("sample").to_torch()[0]
    >>> image.shape, label
    (torch.Size([1, 8, 8]), 0)
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        classes: Sequence[str],
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        self.pixels, self.transform = pixels, transform
        self.classes, self.targets = list(classes), labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        pixels, label = self.pixels[number], self.targets[number]
        if self.transform is None:
            return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), np.float32) / 255), label
        return self.transform(to_pil(pixels)), label
