"""The positions and colours of a shortcut: stamped on images, written to JSON and read from it."""

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import ImagesT, Rows
from cifar10_s.data.pictures import rgb
from cifar10_s.data.thumbnails import Rings
from cifar10_s.errors import UsageError, one_line

# The objectives by which all classes choose together (`spread`): by the second, the pixels of a class are two or four
# square patches, each with one colour and score.
JOINT = SPREAD, PATCHES = "spread", "patches"


def patch_side(pixels: int) -> int:
    """Return the side of the two or four square patches that have so many pixels together; 0 if none have."""
    for number in (2, 4):
        side = math.isqrt(max(pixels, 0) // number)
        if pixels == number * side**2:
            return side
    return 0


class Mark(NamedTuple):
    """A pixel or a patch of a class, as tables show it: rows and columns such as ``8`` or ``8-10``."""

    rows: str
    columns: str
    color: NDArray[np.uint8]
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Shortcut:
    """The pixels of a one-pixel shortcut (paper, Eq. 1): n positions and colours for each of K classes.

    Attributes
    ----------
    objective
        How they were chosen: a name of `pixel_search.SEARCHES`.
    positions : (K, n, 2) int64
        Row and column.
    colors : (K, n, C) uint8
        0 or 255 in each channel; by the objectives of `JOINT`, other levels, too.
    scores : (K, n) float64
        Score by the objective; infinite if the pixel is the same in all images of the class.
    class_names
        Names of the K classes.

    Examples
    --------
    >>> import cifar10_s
    >>> images = cifar10_s.load_images("sample")
    >>> shortcut = cifar10_s.search(images)
    >>> shortcut.to_dict()["classes"][3]["pixels"][0]["color"]
    [255]
    >>> int((shortcut.stamp(images).pixels != images.pixels).sum(axis=(1, 2, 3)).max())
    1
    """

    objective: str
    positions: NDArray[np.int64]
    colors: NDArray[np.uint8]
    scores: NDArray[np.float64]
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join([self._title(), *self.lines()])

    def _title(self) -> str:
        classes, pixels, _ = self.positions.shape
        return f"Shortcut({self.objective}, {classes} classes, pixels per class: {pixels})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: a row per pixel or patch of each class, with its colour."""
        from cifar10_s.common.html import html_table

        rows = [
            (name, mark.rows, mark.columns, _swatch(mark.color), f"{mark.score:.4g}")
            for label, name in enumerate(self.class_names)
            for mark in self.marks(label)
        ]
        return html_table(self._title(), ("class", "row", "column", "colour", "score"), rows)

    def lines(self) -> list[str]:
        """Return a table as text: a line per pixel or patch of each class."""
        marks = [(name, mark) for label, name in enumerate(self.class_names) for mark in self.marks(label)]
        names = max(len(name) for name, _ in marks)
        digits = max(3, *(len(text) for _, mark in marks for text in (mark.rows, mark.columns)))
        return [
            f"{name:{names}}  row {mark.rows:>{digits}}  column {mark.columns:>{digits}}  "
            f"colour {mark.color.tolist()}  score {mark.score:.4g}"
            for name, mark in marks
        ]

    def marks(self, label: int) -> list[Mark]:
        """Return the pixels of a class as tables show them; by the objective ``patches``, its patches."""
        side = max(1, patch_side(self.positions.shape[1])) if self.objective == PATCHES else 1
        first = label, slice(None, None, side**2)
        marks = []
        for at, color, score in zip(self.positions[first], self.colors[first], self.scores[first], strict=True):
            rows, columns = (str(start) if side == 1 else f"{start}-{start + side - 1}" for start in at.tolist())
            marks.append(Mark(rows, columns, color, float(score)))
        return marks

    def stamp(self, images: ImagesT) -> ImagesT:
        """Return the images with the pixels of their class set (paper, Eq. 3); nothing else changes.

        Raises
        ------
        UsageError
            If the images have other classes or channels, or are too small for a position.
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

        stamped = images.with_transform(put)
        stamped.keep(Rings(self.positions))
        return stamped

    def to_dict(self) -> dict[str, Any]:
        """Return the shortcut as a JSON object; infinite scores, which JSON lacks, are null."""
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
        """Return `to_dict` as one line of strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Shortcut":
        """Return the shortcut that `to_dict` was called on.

        Raises
        ------
        UsageError
            If a field is missing or of another type.
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
            raise UsageError(f"not a shortcut: {one_line(error)}") from None


def _swatch(color: NDArray[np.uint8]) -> str:
    """Return a colour in HTML: a square of it, and its levels."""
    from markupsafe import Markup

    style = (
        f"display:inline-block;width:1em;height:1em;border:1px solid gray;background:rgb{tuple(rgb(color).tolist())}"
    )
    return Markup('<span style="{}"></span> {}').format(style, color.tolist())


def _exact(values: Any, dtype: Any, ndim: int) -> Any:
    """Return an array of integers; raise ValueError for values that would be rounded or wrapped."""
    array = np.array(values)
    if array.ndim != ndim or array.dtype.kind != "i" or array.min() < 0 or array.max() > np.iinfo(dtype).max:
        raise ValueError(f"expected {ndim} levels of non-negative {np.dtype(dtype)} numbers, got {values!r:.80}")
    return array.astype(dtype)
