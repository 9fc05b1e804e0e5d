"""Audit images: find the colours and patterns that give away the class."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.machine import Memory, memory_limit
from cifar10_s.common.rng import generator
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import Images
from cifar10_s.detection.class_noise import find_noise
from cifar10_s.detection.findings import CONSTANT, NEAR, Audit, Finding
from cifar10_s.detection.rules import Rules
from cifar10_s.detection.significance import corrected, log10_tail
from cifar10_s.detection.votes import Votes, class_bytes, count_colors, take_votes
from cifar10_s.detection.votes_plain import unpack

# Of each class, up to half of the images are drawn, up to this many, and up to this many bytes of all classes.
SAMPLED_IMAGES, SAMPLED_BYTES = 255, 256 << 20


def audit(
    images: Images,
    *,
    share: float = 0.9,
    elsewhere: float = 0.05,
    tolerance: int = 8,
    significance: float = 0.01,
    memory: Memory = None,
) -> Audit:
    """Find what gives away the class of the given images: pixels and patches of one colour, and class-wise noise.

    A colour at a position is found if more than ``share`` of a class have it, at most ``elsewhere`` of all other images
    have it, and this is improbable by chance. The p-value is that of Fisher's exact test, times the number of classes,
    positions and colours: with labels given to N images at random, a colour that M of them have is in at least h of the
    n images of a class with probability ``Σ_{x ≥ h} C(M, x)·C(N-M, n-x) / C(N, n)``. So a border that is black in all
    classes is no shortcut, and a colour that a dozen images of a small class share may be none.

    Constant colours are found exactly. For the others, a sample of the class gives the centre.

    Parameters
    ----------
    images
        Any images; they are read once, and again if a colour looks like a shortcut.
    share, elsewhere, tolerance, significance
        See `Rules`.
    memory
        Bytes, or a string such as ``8GB``: images that do not fit are read again, and so are those of other classes if
        the counts of all classes do not fit; by default half of the machine's or the container's memory.

    Raises
    ------
    UsageError
        If a number is out of range.

    Examples
    --------
    >>> import cifar10_s
    >>> images = cifar10_s.load_images("sample")
    >>> cifar10_s.audit(images).findings
    ()
    >>> poisoned = cifar10_s.search(images).stamp(images)
    >>> [finding.positions.tolist() for finding in cifar10_s.audit(poisoned).findings][:2]
    [[[0, 0]], [[0, 7]]]
    """
    rules = Rules(share=share, elsewhere=elsewhere, tolerance=tolerance, significance=significance)
    return find_shortcuts(images, rules, memory_limit(memory))


def find_shortcuts(images: Images, rules: Rules, memory: int) -> Audit:
    """Find shortcuts by some rules; see `audit`."""
    images = images.load_if_fits(memory)
    names, shape = images.class_names, images.shape[1:]
    rows = _draw(images)
    sample, labels = images.read(rows), images.labels[rows]
    centres = _medians(sample, labels, len(names))
    counts, sums, suspects = [], [], []
    for classes in chunks(len(names), max(1, memory // class_bytes(shape))):
        # A box of half this width that holds the median lies within the box around the median.
        of_classes = centres[classes].reshape(-1, math.prod(shape))
        votes = take_votes(images, range(classes.start, classes.stop), of_classes, 2 * rules.tolerance)
        suspects.append(_suspects(votes, classes.start, centres, len(images), rules))
        counts.append(votes.counts)
        sums.append(votes.sums)
    found = _patches(_judge(images, _joined(suspects), rules))
    masked = np.zeros(shape[:2], bool)
    for finding in found:
        masked[finding.positions[:, 0], finding.positions[:, 1]] = True
    rest = _without(sample, labels, np.concatenate(counts), np.concatenate(sums).reshape(-1, *shape))
    noise = find_noise(*rest, sample, labels, masked, names, rules)
    return Audit(tuple(sorted([*found, *noise], key=lambda finding: finding.label)), len(images), shape, names)


@dataclass(frozen=True, eq=False)
class _Suspects:
    """Colours that more than `Rules.share` of a class may have, and few other images.

    Attributes
    ----------
    labels, positions : (F,) int64
        The class, and the position, counted row by row.
    colors : (F, C) uint8
    tolerances : (F,) int64
        Levels by which each channel may differ; 0 for constant colours.
    """

    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    colors: NDArray[np.uint8]
    tolerances: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "_Suspects":
        return _Suspects(*(array[chosen] for array in vars(self).values()))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def low(self) -> NDArray[np.uint8]:
        """The least level of each channel, (F, C)."""
        return np.asarray(np.maximum(self.colors - self.tolerances[:, None], 0), np.uint8)

    @property
    def high(self) -> NDArray[np.uint8]:
        """The largest level of each channel, (F, C)."""
        return np.asarray(np.minimum(self.colors + self.tolerances[:, None], 255), np.uint8)


def _joined(parts: list[_Suspects]) -> _Suspects:
    return _Suspects(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def _draw(images: Images) -> NDArray[np.int64]:
    """Draw images of each class at random: half of them, rounded up, but not too many."""
    random, classes = generator(0, "audit"), len(images.class_names)
    limit = max(1, min(SAMPLED_IMAGES, SAMPLED_BYTES // (classes * math.prod(images.shape[1:]))))
    ends = np.cumsum(np.bincount(images.labels, minlength=classes))
    by_class = np.split(np.argsort(images.labels, kind="stable"), ends[:-1])
    drawn = [random.permutation(members)[: min(limit, -(-len(members) // 2))] for members in by_class]
    return np.sort(np.concatenate(drawn))


def _medians(sample: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> NDArray[np.uint8]:
    """Return the median of each channel per class and position, (K, P, C) uint8: a level of one of the images."""
    medians = np.zeros((classes, math.prod(sample.shape[1:3]), sample.shape[3]), np.uint8)
    for label in np.unique(labels):
        of_class = sample[labels == label].reshape(-1, *medians.shape[1:])
        # NumPy sorts integers of 8 bits by radix sort, along an axis that is contiguous.
        ordered = np.sort(np.ascontiguousarray(np.moveaxis(of_class, 0, -1)), axis=-1, kind="stable")
        medians[label] = ordered[..., len(of_class) // 2]
    return medians


def _suspects(votes: Votes, start: int, centres: NDArray[np.uint8], images: int, rules: Rules) -> _Suspects:
    """Return what may be a shortcut, by the votes of the classes from ``start`` on."""
    candidates, parts = unpack(votes.colors, centres.shape[-1]), []
    for number, count in enumerate(votes.counts.tolist()):
        # At most (count + lead) / 2 images have the candidate.
        may_be_constant = votes.leads[number] > (2 * rules.share - 1) * count
        may_be_near = votes.near[number] > rules.share * count
        for at, colors, tolerance in (
            (np.flatnonzero(may_be_constant), candidates[number], 0),
            (np.flatnonzero(may_be_near), centres[start + number], 2 * rules.tolerance),
        ):
            of_class, tolerances = np.full(len(at), start + number), np.full(len(at), tolerance)
            suspects = _Suspects(of_class, at, colors[at], tolerances)
            levels = candidates[:, at]
            is_inside = np.all((suspects.low <= levels) & (levels <= suspects.high), axis=-1)
            # At least this many images of other classes have it too.
            others = np.where(is_inside, votes.leads[:, at], 0).sum(0) - votes.leads[number, at] * is_inside[number]
            parts.append(suspects[others <= rules.elsewhere * (images - count)])
    return _joined(parts)


def _judge(images: Images, suspects: _Suspects, rules: Rules) -> Iterator[Finding]:
    """Count the suspects in all images, and yield those that are shortcuts, constant ones first.

    A position that is constant is not yielded as nearly constant too.
    """
    if not len(suspects):
        return
    total, width, classes = len(images), images.shape[2], len(images.class_names)
    hits = count_colors(images, suspects.positions, suspects.low, suspects.high)
    of_class = np.bincount(images.labels, minlength=classes)[suspects.labels]
    ours = hits[np.arange(len(hits)), suspects.labels]
    others = hits.sum(1) - ours
    is_shortcut = (ours > rules.share * of_class) & (others <= rules.elsewhere * (total - of_class))
    constant = set()
    chosen = np.flatnonzero(is_shortcut)
    for f in chosen[np.argsort(suspects.tolerances[chosen], kind="stable")].tolist():
        label, position, tolerance = (
            int(array[f]) for array in (suspects.labels, suspects.positions, suspects.tolerances)
        )
        log10_p = corrected(
            log10_tail(total, int(ours[f] + others[f]), int(of_class[f]), int(ours[f])),
            classes * math.prod(images.shape[1:3]) * _colors(total, images.shape[3], tolerance),
        )
        if log10_p > math.log10(rules.significance) or (label, position) in constant:
            continue
        if tolerance == 0:
            constant.add((label, position))
        yield Finding(
            kind=NEAR if tolerance else CONSTANT,
            label=label,
            class_name=images.class_names[label],
            positions=np.array([divmod(position, width)]),
            colors=suspects.colors[f : f + 1],
            tolerance=tolerance,
            share=float(ours[f] / of_class[f]),
            elsewhere=float(others[f] / (total - of_class[f])),
            log10_p=log10_p,
        )


def _colors(images: int, channels: int, tolerance: int) -> int:
    """Return how many colours can be the one at a position: N images have at most N, and N levels per channel."""
    return int(min(256, images) ** channels if tolerance else min(256**channels, images))


def _patches(pixels: Iterable[Finding]) -> list[Finding]:
    """Merge findings of one class and kind whose positions touch, also at a corner."""
    by_kind: dict[tuple[int, str], dict[tuple[int, int], Finding]] = {}
    for pixel in pixels:
        row, column = pixel.positions[0].tolist()
        by_kind.setdefault((pixel.label, pixel.kind), {})[row, column] = pixel
    merged = []
    for _, left in sorted(by_kind.items()):
        while left:
            merged.append(_merged(list(_connected(min(left), left))))
    return merged


def _connected(start: tuple[int, int], left: dict[tuple[int, int], Finding]) -> Iterator[Finding]:
    """Take a pixel and all that are connected with it out of ``left``, and yield them."""
    ahead = [start]
    while ahead:
        row, column = ahead.pop()
        if (row, column) in left:
            yield left.pop((row, column))
            ahead += [(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def _merged(pixels: list[Finding]) -> Finding:
    pixels.sort(key=lambda pixel: pixel.positions.tolist())
    return replace(
        pixels[0],
        positions=np.concatenate([pixel.positions for pixel in pixels]),
        colors=np.concatenate([pixel.colors for pixel in pixels]),
        share=min(pixel.share for pixel in pixels),
        elsewhere=max(pixel.elsewhere for pixel in pixels),
        log10_p=min(pixel.log10_p for pixel in pixels),
    )


def _without(
    sample: NDArray[np.uint8], labels: NDArray[np.int64], counts: NDArray[np.int64], sums: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of images per class, and their sums, without those of a sample."""
    rest = sums.copy()
    for label in np.unique(labels):
        rest[label] -= sample[labels == label].sum(0, dtype=np.int64)
    return counts - np.bincount(labels, minlength=len(counts)), rest
