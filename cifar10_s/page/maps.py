"""Maps: what the search sees, for each objective and class, with the numbers behind every pixel."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.benchmark.sheet import EMPTY
from cifar10_s.figures import colormap, rgb
from cifar10_s.images import LabeledImages
from cifar10_s.page.facts import Configuration
from cifar10_s.page.galleries import png
from cifar10_s.search import best_colors, candidate_colors
from cifar10_s.shortcut import Shortcut

# A sign for each candidate colour: at most 2⁴.
DIGITS = np.array(list("0123456789abcdef"))


@dataclass(frozen=True)
class ClassMap:
    """The map of one class.

    Attributes
    ----------
    src
        The address of its PNG, one pixel a position.
    chosen
        The (row, column) pairs that the search took.
    text
        What it took, in words.
    shown
        The first colour of these, as CSS writes it.
    low, high
        The least and the largest score.
    """

    src: str
    chosen: tuple[tuple[int, int], ...]
    text: str
    shown: str
    low: str
    high: str


@dataclass(frozen=True)
class Maps:
    """The maps of one objective.

    Attributes
    ----------
    objective
        Its name.
    configuration
        Whose pixels are ringed.
    classes
        A map a class.
    data
        What the page's script looks numbers up in: height, width; the names of the candidate colours and how they are
        shown; for each class its scores (float32, little-endian, row by row, in base64) and a sign for each position's
        best colour.
    """

    objective: str
    configuration: str
    classes: tuple[ClassMap, ...]
    data: dict[str, Any]


def maps(clean: LabeledImages, objective: str, configurations: Iterable[Configuration]) -> Maps | None:
    """Draw an objective's maps; those of its first configuration, which has the fewest pixels, are ringed.

    None where no configuration is of that objective.
    """
    found = ((one.name, one.shortcut) for one in configurations if one.shortcut and one.shortcut.objective == objective)
    name, shortcut = next(found, ("", None))
    if shortcut is None:
        return None
    scores, colors = best_colors(clean, objective=objective, device="cpu")
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
        text="; ".join(
            f"row {row}, column {column}, score {score}, colour {color}" for row, column, color, score in pixels
        ),
        shown=_css(shortcut.colors[label, 0]),
        low=number(scores.min()),
        high=number(scores.max()),
    )


def chosen(shortcut: Shortcut, label: int) -> list[tuple[int, int, str, str]]:
    """Give the row, column, colour and score of each pixel of a class."""
    return [
        (int(row), int(column), color_name(color), number(score))
        for (row, column), color, score in zip(
            shortcut.positions[label], shortcut.colors[label], shortcut.scores[label], strict=True
        )
    ]


def color_name(color: NDArray[np.uint8]) -> str:
    """Write a colour of C channels."""
    return f"({', '.join(map(str, color.tolist()))})"


def _css(color: NDArray[np.uint8]) -> str:
    return f"rgb({', '.join(map(str, rgb(color).tolist()))})"


def number(value: float) -> str:
    """Write a score to four digits."""
    return "infinite" if np.isinf(value) else EMPTY if np.isnan(value) else f"{value:.4g}"


def _data(scores: NDArray[np.float64], colors: NDArray[np.uint8]) -> dict[str, Any]:
    candidates = candidate_colors(colors.shape[-1])
    # Each channel is 0 or 255, and candidates count up in binary.
    places = (colors != 0) @ (1 << np.arange(colors.shape[-1])[::-1])
    return {
        "height": scores.shape[1],
        "width": scores.shape[2],
        "colors": [color_name(color) for color in candidates],
        "shown": list(map(_css, candidates)),
        "classes": [
            {
                "scores": base64.b64encode(of_class.astype("<f4").tobytes()).decode(),
                "best": "".join(DIGITS[best.ravel()]),
            }
            for of_class, best in zip(scores, places, strict=True)
        ],
    }
