"""A slow audit: for each class and position, every colour is counted, and p-values are fractions of integers."""

from fractions import Fraction
from math import comb

import numpy as np


def tail(total, marked, drawn, hits):
    """P(X ≥ hits) of the hypergeometric distribution, as a fraction."""
    ways = sum(comb(marked, x) * comb(total - marked, drawn - x) for x in range(hits, min(marked, drawn) + 1))
    return Fraction(ways, comb(total, drawn))


def constant_pixels(images, share=0.9, elsewhere=0.05, significance=0.01):
    """Return {(label, row, column): (colour, share, elsewhere, also)} of all constant pixels that are shortcuts."""
    pixels, labels = images.pixels, images.labels
    _, height, width, channels = images.shape
    total, found = len(labels), {}
    for label, row, column in np.ndindex(len(images.class_names), height, width):
        of_class = labels == label
        if not of_class.any():
            continue
        colors, counts = np.unique(pixels[of_class, row, column], axis=0, return_counts=True)
        color, own = colors[counts.argmax()], counts.max() / of_class.sum()
        if own <= share:
            continue
        has = (pixels[:, row, column] == color).all(1)
        sharing = [k for k in np.unique(labels) if has[labels == k].sum() > share * (labels == k).sum()]
        if has[~of_class].sum() <= elsewhere * (~of_class).sum():
            sharing = [label]
        of_these = np.isin(labels, sharing)
        hits, drawn, others = int(has[of_these].sum()), int(of_these.sum()), int(has[~of_these].sum())
        if others > elsewhere * (total - drawn) or len(sharing) > max(1, len(np.unique(labels)) / 2):
            continue
        classes = len(images.class_names)
        sets = comb(classes, len(sharing)) * max(1, classes // 2)
        tests = sets * height * width * min(256**channels, total)
        if tests * tail(total, hits + others, drawn, hits) <= Fraction(significance):
            also = tuple(k for k in sharing if k != label)
            found[label, row, column] = color.tolist(), own, others / (total - drawn), also
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
