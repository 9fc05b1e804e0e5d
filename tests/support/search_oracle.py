"""The search as the paper defines it: one candidate after another, in exact fractions, from the images."""

from fractions import Fraction
from itertools import product
from math import inf


def score_squared_or_plain(objective, values, channels):
    """Score one candidate from S's channel deviations (a list of tuples of levels); monotone in the real score.

    Return the square for ``mean-over-std``, so that it stays a fraction.
    """
    if objective == "mean-over-std":
        pooled = [Fraction(v, 255) for row in values for v in row]
        mean, variance = moments(pooled)
        return divide(mean * mean, variance)
    sums = [Fraction(sum(row), 255) for row in values]
    if objective == "mean-over-variance":
        return divide(*moments(sums))
    mean, variance = moments([s / channels for s in sums])
    return mean - variance


def moments(values):
    mean = sum(values, Fraction(0)) / len(values)
    return mean, sum((v - mean) ** 2 for v in values) / len(values)


def divide(numerator, denominator):
    if denominator:
        return numerator / denominator
    return inf if numerator else Fraction(0)


def search(images, objective, pixels):
    """Return for each class a list of (row, column, colour, score); raise LookupError if no candidate is left."""
    _, height, width, channels = images.pixels.shape
    taken, found = set(), []
    for label in range(len(images.class_names)):
        members = images.pixels[images.labels == label].astype(int)
        candidates = []
        for row, column, color in product(range(height), range(width), product((0, 255), repeat=channels)):
            values = [tuple(abs(int(x) - c) for x, c in zip(image[row, column], color)) for image in members]
            score = score_squared_or_plain(objective, values, channels)
            total = sum(map(sum, values))
            candidates.append(((score, total, -row, -column, tuple(-c for c in color)), (row, column, color)))
        candidates.sort(reverse=True)
        chosen = []
        for rank, (row, column, color) in candidates:
            free = (row, column, color) not in taken and all((row, column) != (r, c) for r, c, *_ in chosen)
            if free and len(chosen) < pixels:
                taken.add((row, column, color))
                chosen.append((row, column, color, rank[0]))
        if len(chosen) < pixels:
            raise LookupError(label)
        found.append(chosen)
    return found
