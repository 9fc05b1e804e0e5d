"""The plain ways that the bench compares with; the plain search is an oracle of the tests too."""

from itertools import product
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Image
from numpy.typing import NDArray
from PIL.Image import fromarray


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
    columns = {"img": [fromarray(image) for image in pixels], "label": labels}
    dataset = Dataset.from_dict(columns).cast_column("img", Image()).cast_column("label", ClassLabel(names=names))
    dataset.to_parquet(path)
