"""Shortcut: for each class, which pixels get which colour."""

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import ImagesT, Rows


@dataclass(frozen=True, eq=False)
class Shortcut:
    """The pixels of a one-pixel shortcut (paper, Eq. 1): n positions and colours for each of K classes.

    Attributes
    ----------
    objective
        How they were chosen: a name of `search.OBJECTIVES`, or ``random``.
    positions : (K, n, 2) int64
        Row and column.
    colors : (K, n, C) uint8
        0 or 255 in each channel.
    scores : (K, n) float64
        What the objective gives for each; infinite where the pixel is the same in all images of the class.
    class_names
        The K names.
    """

    objective: str
    positions: NDArray[np.int64]
    colors: NDArray[np.uint8]
    scores: NDArray[np.float64]
    class_names: tuple[str, ...]

    def stamp(self, images: ImagesT) -> ImagesT:
        """Give the images of each class that class's pixels (paper, Eq. 3); nothing else changes.

        Raises
        ------
        UsageError
            Where the images have other classes or channels, or are too small for a position.
        """
        _, height, width, channels = images.shape
        if images.class_names != self.class_names:
            raise UsageError(
                f"shortcut of {len(self.class_names)} classes {self.class_names[:3]}… "
                f"cannot go on images of {len(images.class_names)} classes {images.class_names[:3]}…"
            )
        if channels != self.colors.shape[-1] or np.any(self.positions.max((0, 1)) >= (height, width)):
            raise UsageError(
                f"shortcut with {self.colors.shape[-1]} channels and positions up to "
                f"{tuple(self.positions.max((0, 1)).tolist())} cannot go on images of {height}×{width}×{channels}"
            )
        labels = images.labels

        def put(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            stamped, of_class = pixels.copy(), labels[rows]
            y, x = np.moveaxis(self.positions[of_class], -1, 0)
            stamped[np.arange(len(stamped))[:, None], y, x] = self.colors[of_class]
            return stamped

        return images.derive(put)

    def to_dict(self) -> dict[str, Any]:
        """Give the shortcut as JSON has it; an infinite score, which JSON cannot say, is null."""
        return {
            "objective": self.objective,
            "classes": [
                {"label": label, "name": name, "pixels": self._pixels(label)}
                for label, name in enumerate(self.class_names)
            ],
        }

    def _pixels(self, label: int) -> list[dict[str, Any]]:
        return [
            {
                "row": int(row),
                "column": int(column),
                "color": color.tolist(),
                "score": float(score) if math.isfinite(score) else None,
            }
            for (row, column), color, score in zip(
                self.positions[label], self.colors[label], self.scores[label], strict=True
            )
        ]

    def to_json(self) -> str:
        """Give `to_dict` as one line of strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Shortcut":
        """Read what `to_dict` gave.

        Raises
        ------
        UsageError
            Where a field is missing or of another kind.
        """
        try:
            pixels = [entry["pixels"] for entry in data["classes"]]
            return cls(
                objective=str(data["objective"]),
                positions=_exact([[(p["row"], p["column"]) for p in row] for row in pixels], np.int64, 3),
                colors=_exact([[p["color"] for p in row] for row in pixels], np.uint8, 3),
                scores=np.array(
                    [[math.inf if p["score"] is None else float(p["score"]) for p in row] for row in pixels]
                ),
                class_names=tuple(str(entry["name"]) for entry in data["classes"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"not a shortcut: {type(error).__name__}: {error}") from None


def _exact(values: Any, dtype: Any, ndim: int) -> Any:
    """Make an array of integers, refusing what does not fit rather than rounding or wrapping it."""
    array = np.array(values)
    if array.ndim != ndim or array.dtype.kind != "i" or array.min() < 0 or array.max() > np.iinfo(dtype).max:
        raise ValueError(f"expected {ndim} levels of non-negative {np.dtype(dtype)} numbers, got {values!r:.80}")
    return array.astype(dtype)
