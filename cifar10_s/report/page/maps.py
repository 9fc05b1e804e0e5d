"""Score maps of the search, per objective and class, with the score of every position."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.pictures import png, rgb
from cifar10_s.report.figures import colormap
from cifar10_s.report.page.facts import Configuration
from cifar10_s.report.text_table import EMPTY_CELL
from cifar10_s.shortcut.objectives import candidate_colors
from cifar10_s.shortcut.pixel_search import best_colors
from cifar10_s.shortcut.shortcut import Shortcut

# The index of a candidate colour, of which there are at most 2⁴, as one hexadecimal digit.
HEX_DIGITS = np.array(list("0123456789abcdef"))


@dataclass(frozen=True)
class ClassMap:
    """The map of one class.

    Attributes
    ----------
    src
        The PNG, as a data URI, with one pixel per position.
    chosen
        The (row, column) pairs that the search chose.
    description
        The chosen pixels, in words.
    css_color
        The colour of the first chosen pixel, in CSS.
    low, high
        The least and the largest score.
    """

    src: str
    chosen: tuple[tuple[int, int], ...]
    description: str
    css_color: str
    low: str
    high: str


@dataclass(frozen=True)
class Maps:
    """The maps of one objective.

    Attributes
    ----------
    objective
        The objective's name.
    configuration
        The configuration whose pixels are ringed.
    classes
        A map per class.
    data
        What the page's script reads: height, width; the names of the candidate colours and their CSS; per class the
        scores (float32, little-endian, row by row, in base64) and the best colours (a hexadecimal digit per position).
    """

    objective: str
    configuration: str
    classes: tuple[ClassMap, ...]
    data: dict[str, Any]


def maps(clean: LabeledImages, objective: str, configurations: Iterable[Configuration]) -> Maps | None:
    """Draw the maps of an objective; the pixels of its first configuration, which has the fewest, are ringed.

    Return None if no configuration has that objective.
    """
    shortcuts = ((one.name, one.shortcut) for one in configurations if one.shortcut)
    name, shortcut = next((pair for pair in shortcuts if pair[1].objective == objective), ("", None))
    if shortcut is None:
        return None
    scores, colors = best_colors(clean, Options.resolve(device="cpu"), objective=objective)
    return Maps(
        objective,
        name,
        tuple(_class_map(scores[label], shortcut, label) for label in range(len(scores))),
        _data(scores, colors),
    )


def _class_map(scores: NDArray[np.float64], shortcut: Shortcut, label: int) -> ClassMap:
    pixels = chosen(shortcut, label)
    return ClassMap(
        src=png(colormap(scores)),
        chosen=tuple((int(row), int(column)) for row, column in shortcut.positions[label]),
        description="; ".join(
            f"row {row}, column {column}, score {score}, colour {color}" for row, column, color, score in pixels
        ),
        css_color=_css(shortcut.colors[label, 0]),
        low=number(scores.min()),
        high=number(scores.max()),
    )


def chosen(shortcut: Shortcut, label: int) -> list[tuple[str, str, str, str]]:
    """Return the rows, columns, colour and score of each pixel or patch of a class."""
    return [(mark.rows, mark.columns, color_name(mark.color), number(mark.score)) for mark in shortcut.marks(label)]


def color_name(color: NDArray[np.uint8]) -> str:
    """Return a colour of C channels as text."""
    return f"({', '.join(map(str, color.tolist()))})"


def _css(color: NDArray[np.uint8]) -> str:
    return f"rgb({', '.join(map(str, rgb(color).tolist()))})"


def number(value: float) -> str:
    """Return a score as text, with four significant digits."""
    return "infinite" if np.isinf(value) else EMPTY_CELL if np.isnan(value) else f"{value:.4g}"


def _data(scores: NDArray[np.float64], colors: NDArray[np.uint8]) -> dict[str, Any]:
    candidates = candidate_colors(colors.shape[-1])
    # Each channel is 0 or 255, and candidates count up in binary.
    indices = (colors != 0) @ (1 << np.arange(colors.shape[-1])[::-1])
    return {
        "height": scores.shape[1],
        "width": scores.shape[2],
        "colors": [color_name(color) for color in candidates],
        "css": list(map(_css, candidates)),
        "classes": [
            {
                "scores": base64.b64encode(class_scores.astype("<f4").tobytes()).decode(),
                "best": "".join(HEX_DIGITS[best.ravel()]),
            }
            for class_scores, best in zip(scores, indices, strict=True)
        ],
    }
