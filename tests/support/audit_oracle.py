"""A slow audit: for each class and position, every colour is counted, and p-values are fractions of integers."""

from fractions import Fraction
from math import comb

import numpy as np


def tail(total, marked, drawn, hits):
    """P(X ≥ hits) of the hypergeometric distribution, as a fraction."""
    ways = sum(comb(marked, x) * comb(total - marked, drawn - x) for x in range(hits, min(marked, drawn) + 1))
    return Fraction(ways, comb(total, drawn))


def constant_pixels(images, share=0.9, elsewhere=0.05, significance=0.01):
    """Return {(label, row, column): (colour, share, elsewhere)} of all constant pixels that are shortcuts."""
    pixels, labels = images.pixels, images.labels
    _, height, width, channels = images.shape
    total, found = len(labels), {}
    for label, row, column in np.ndindex(len(images.class_names), height, width):
        of_class = labels == label
        if not of_class.any():
            continue
        colors, counts = np.unique(pixels[of_class, row, column], axis=0, return_counts=True)
        color, hits, drawn = colors[counts.argmax()], int(counts.max()), int(of_class.sum())
        others = int((pixels[~of_class, row, column] == color).all(1).sum())
        if hits <= share * drawn or others > elsewhere * (total - drawn):
            continue
        tests = len(images.class_names) * height * width * min(256**channels, total)
        if tests * tail(total, hits + others, drawn, hits) <= Fraction(significance):
            found[label, row, column] = color.tolist(), hits / drawn, others / (total - drawn)
    return found


def repaired(images, flagged, colors):
    """Return the pixels with the constant ones replaced; ``colors`` is {(label, row, column): colour}."""
    result = images.pixels.copy()
    _, height, width, _ = images.shape
    for (label, row, column), color in colors.items():
        radius, around = 0, []
        while not around and radius < max(height, width):
            radius += 1
            around = [
                (y, x)
                for y in range(max(row - radius, 0), min(row + radius + 1, height))
                for x in range(max(column - radius, 0), min(column + radius + 1, width))
                if not flagged[label, y, x]
            ]
        for i in np.flatnonzero(images.labels == label):
            if around and images.pixels[i, row, column].tolist() == color:
                values = [images.pixels[i, y, x].tolist() for y, x in around]
                result[i, row, column] = [round(float(np.median(levels))) for levels in zip(*values)]
    return result
