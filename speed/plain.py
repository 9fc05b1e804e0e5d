"""The plain ways that `make speed` compares with; the plain search is an oracle of the tests too."""

import random
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageOps
from PIL.Image import fromarray
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


def plain_search(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Walk the candidates one by one (paper, Algorithm 1 with Eq. 2), as the published implementation does.

    ``pixels`` (N, H, W, C) uint8; gives each class's (row, column, colour).
    """
    taken: list[tuple[int, int, tuple[int, ...]]] = []
    for label in range(int(labels.max()) + 1):
        members = pixels[labels == label].astype(np.float32) / 255
        best = -1.0
        chosen: tuple[int, int, tuple[int, ...]] = (0, 0, ())
        for row, column in np.ndindex(*members.shape[1:3]):
            for color in product((0, 255), repeat=members.shape[3]):
                if (row, column, color) in taken:
                    continue
                deviation = np.abs(members[:, row, column] - np.array(color, np.float32) / 255).sum(1)
                score = float(deviation.mean() / deviation.var())
                if score > best:
                    best, chosen = score, (row, column, color)
        taken.append(chosen)
    return taken


def plain_parquet(pixels: NDArray[np.uint8], labels: NDArray[np.int64], names: list[str], path: Path) -> None:
    """Write a configuration as one would with `datasets` alone."""
    import datasets  # a GPU day has no such library

    columns = {"img": [fromarray(image) for image in pixels], "label": labels}
    dataset = datasets.Dataset.from_dict(columns).cast_column("img", datasets.Image())
    dataset.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(path)


def plain_arrays(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read the training images of a configuration as docs/use.md does, with `datasets` and Pillow alone."""
    import datasets

    rows: Any = datasets.load_dataset(str(folder), name, split="train").with_format("arrow")[:]
    files = rows["img"].combine_chunks().field("bytes").to_pylist()
    decode: Any = PngImageFile
    pixels = np.empty((len(files), *np.shape(decode(BytesIO(files[0])))), np.uint8)
    for i, file in enumerate(files):
        pixels[i] = decode(BytesIO(file))
    return pixels


def decoded_arrays(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read the training images of a configuration as `datasets` decodes them."""
    import datasets

    train: Any = datasets.load_dataset(str(folder), name, split="train")
    return np.stack([np.asarray(image) for image in train["img"]])


class PlainImages(Dataset[tuple[Tensor, int]]):
    """Crop and flip PIL images one by one."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        self.images, self.labels = [fromarray(image) for image in pixels], labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = ImageOps.expand(self.images[index], 4)
        top, left = random.randint(0, 8), random.randint(0, 8)
        image = image.crop((left, top, left + image.width - 8, top + image.height - 8))
        image = ImageOps.mirror(image) if random.random() < 0.5 else image
        levels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return (levels - 0.5) / 0.25, int(self.labels[index])


def plain_training(net: nn.Module, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Train for an epoch the way a first script does: PIL images, `DataLoader` with workers, float32, contiguous."""
    device = next(net.parameters()).device
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4)
    for images, of_batch in DataLoader(PlainImages(pixels, labels), batch_size=128, shuffle=True, num_workers=2):
        loss = nn.functional.cross_entropy(net(images.to(device)), of_batch.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def plain_pgd(net: nn.Module, pixels: NDArray[np.uint8], labels: NDArray[np.int64], steps: int) -> Tensor:
    """Take signed steps of noise down a loss the way a first script does: float32, `DataLoader`, contiguous."""
    device = next(net.parameters()).device
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()
    noise = torch.zeros_like(images)
    data = TensorDataset(torch.arange(len(labels)), images, torch.from_numpy(labels))
    for index, batch, of_batch in DataLoader(data, batch_size=128):
        batch, of_batch, delta = batch.to(device), of_batch.to(device), noise[index].to(device)
        for _ in range(steps):
            delta = delta.requires_grad_()
            inputs = ((batch + delta).clamp(0, 1) - 0.5) / 0.25
            gradient = torch.autograd.grad(nn.functional.cross_entropy(net(inputs), of_batch), delta)[0]
            delta = (delta.detach() - 0.8 / 255 * gradient.sign()).clamp(-8 / 255, 8 / 255)
        noise[index] = delta.cpu()
    return noise
