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
from cifar10_s.detection.votes import Votes, class_bytes, count_colors, joined, take_votes
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

    A colour at a position is found if more than ``share`` of a class have it, or of each of up to half of the classes,
    at most ``elsewhere`` of the images of all others have it, and this is improbable by chance. The p-value is that of
    Fisher's exact test, times the number of sets of so many classes, of sizes that a set can have, of positions, and of
    colours: with labels given to N images at random, a colour that M of them have is in at least h of the n images of
    these classes with probability ``Σ_{x ≥ h} C(M, x)·C(N-M, n-x) / C(N, n)``. So a border that is black in all classes
    is not a shortcut, and a colour that a dozen images of a small class share may be none.

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
    # A box of half this width that holds the median lies within the box around the median.
    votes = joined(
        take_votes(
            images, range(part.start, part.stop), centres[part].reshape(-1, math.prod(shape)), 2 * rules.tolerance
        )
        for part in chunks(len(names), max(1, memory // class_bytes(shape)))
    )
    found = _patches(_judge(images, _suspects(votes, centres, rules), rules))
    masked = np.zeros(shape[:2], bool)
    for finding in found:
        masked[finding.positions[:, 0], finding.positions[:, 1]] = True
    rest = _without(sample, labels, votes.counts, votes.sums.reshape(-1, *shape))
    noise = find_noise(*rest, sample, labels, masked, names, rules)
    return Audit(tuple(sorted([*found, *noise], key=lambda finding: finding.label)), len(images), shape, names)


@dataclass(frozen=True, eq=False)
class _Suspects:
    """Colours that more than `Rules.share` of a class may have, and that some classes may lack.

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

    def where(self, number: int) -> tuple[int, int, int]:
        """Return class, position and tolerance of one suspect."""
        return int(self.labels[number]), int(self.positions[number]), int(self.tolerances[number])

    @property
    def low(self) -> NDArray[np.uint8]:
        """The least level of each channel, (F, C)."""
        return np.asarray(np.maximum(self.colors - self.tolerances[:, None], 0), np.uint8)

    @property
    def high(self) -> NDArray[np.uint8]:
        """The largest level of each channel, (F, C)."""
        return np.asarray(np.minimum(self.colors + self.tolerances[:, None], 255), np.uint8)


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


def _suspects(votes: Votes, centres: NDArray[np.uint8], rules: Rules) -> _Suspects:
    """Return what may be a shortcut, by the votes of all classes."""
    candidates, counts, parts = unpack(votes.colors, centres.shape[-1]), votes.counts[:, None], []
    # At most (count + lead) / 2 images have the candidate, and no other colour is in more than half of them.
    may_be_constant = votes.leads > (2 * rules.share - 1) * counts
    may_be_near = votes.near > rules.share * counts
    for label in np.flatnonzero(votes.counts).tolist():
        for at, colors, tolerance in (
            (np.flatnonzero(may_be_constant[label]), candidates[label], 0),
            (np.flatnonzero(may_be_near[label]), centres[label], 2 * rules.tolerance),
        ):
            of_class, tolerances = np.full(len(at), label), np.full(len(at), tolerance)
            suspects = _Suspects(of_class, at, colors[at], tolerances)
            levels = candidates[:, at]
            is_inside = np.all((suspects.low <= levels) & (levels <= suspects.high), axis=-1)
            # At least this many images of each class have it.
            least = np.where(is_inside, votes.leads[:, at], 0)
            must_lack = np.zeros_like(is_inside) if tolerance else ~(is_inside & may_be_constant[:, at])
            parts.append(suspects[_may_be_rare(least, must_lack, counts, label, rules)])
    return _Suspects(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def _may_be_rare(
    least: NDArray[np.int32], must_lack: NDArray[np.bool_], counts: NDArray[np.int64], label: int, rules: Rules
) -> NDArray[np.bool_]:
    """Return which of A colours of a class may be rare in all others, or in those that do not share them, (A,).

    Parameters
    ----------
    least : (K, A)
        At least so many images of each class have the colour.
    must_lack : (K, A)
        Whether a class cannot be one of those that share it.
    counts : (K, 1)
        Number of images per class.
    label
        The class.
    rules
        What is rare.
    """
    # How many more images of each class may have the colour.
    room = rules.elsewhere * counts - least
    is_other = (counts > 0) & (np.arange(len(counts))[:, None] != label)
    lacks = (must_lack | (room >= 0)) & is_other
    may_be_of_some = lacks.any(0) & (np.where(lacks, room, 0).sum(0) >= 0)
    may_be_of_some &= _is_mark((least > rules.share * counts).sum(0), counts)
    return np.asarray(may_be_of_some | (np.where(is_other, room, 0).sum(0) >= 0))


def _is_mark(sharing: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether so few classes share a colour that it is not the background, which a mark of the others covers."""
    return np.asarray(2 * sharing <= max(2, int((counts > 0).sum())))


def _judge(images: Images, suspects: _Suspects, rules: Rules) -> Iterator[Finding]:
    """Count the suspects in all images, and yield those that are shortcuts, constant ones first.

    A position that is constant is not yielded as nearly constant too.
    """
    if not len(suspects):
        return
    hits = count_colors(images, suspects.positions, suspects.low, suspects.high)
    counts, constant = np.bincount(images.labels, minlength=len(images.class_names)), set()
    sharing = _sharing(hits, suspects.labels, counts, rules)
    ours, drawn = np.where(sharing, hits, 0).sum(1), np.where(sharing, counts, 0).sum(1)
    others, left = hits.sum(1) - ours, len(images) - drawn
    is_shortcut = sharing.any(1) & _is_mark(sharing.sum(1), counts) & (others <= rules.elsewhere * left)
    chosen = np.flatnonzero(is_shortcut)
    for f in chosen[np.argsort(suspects.tolerances[chosen], kind="stable")].tolist():
        label, position, tolerance = suspects.where(f)
        labels = np.flatnonzero(sharing[f]).tolist()
        log10_p = corrected(
            log10_tail(len(images), int(ours[f] + others[f]), int(drawn[f]), int(ours[f])),
            _tests(images, len(labels), tolerance),
        )
        if log10_p > math.log10(rules.significance) or (label, position) in constant:
            continue
        if tolerance == 0:
            constant.add((label, position))
        yield Finding(
            kind=NEAR if tolerance else CONSTANT,
            label=label,
            class_name=images.class_names[label],
            positions=np.array([divmod(position, images.shape[2])]),
            colors=suspects.colors[f : f + 1],
            tolerance=tolerance,
            share=float(hits[f, label] / counts[label]),
            elsewhere=float(others[f] / left[f]),
            log10_p=log10_p,
            also=tuple(other for other in labels if other != label),
        )


def _sharing(
    hits: NDArray[np.int64], labels: NDArray[np.int64], counts: NDArray[np.int64], rules: Rules
) -> NDArray[np.bool_]:
    """Return which classes share each suspect with its own class, (F, K); none if too few of its own class have it.

    If it is rare in all others together, its own class has it alone, even if a small class has it too.
    """
    shares, is_own = hits > rules.share * counts, np.arange(len(counts)) == labels[:, None]
    is_alone = hits.sum(1) - hits[is_own] <= rules.elsewhere * (counts.sum() - counts[labels])
    return np.asarray(np.where(is_alone[:, None], is_own, shares) & shares[is_own][:, None])


def _tests(images: Images, size: int, tolerance: int) -> int:
    """Return by how much the p-value of a colour that ``size`` classes share is multiplied.

    There are so many sets of classes, positions, and colours at one: N images have at most N, and N levels per channel.
    Each possible size of a set has an equal part of the p-value.
    """
    (total, height, width, channels), classes = images.shape, len(images.class_names)
    colors = min(256, total) ** channels if tolerance else min(256**channels, total)
    return math.comb(classes, size) * max(1, classes // 2) * height * width * int(colors)


def _patches(pixels: Iterable[Finding]) -> list[Finding]:
    """Merge findings of one kind and of the same classes whose positions touch, also at a corner."""
    by_kind: dict[tuple[int, str, tuple[int, ...]], dict[tuple[int, int], Finding]] = {}
    for pixel in pixels:
        row, column = pixel.positions[0].tolist()
        by_kind.setdefault((pixel.label, pixel.kind, pixel.also), {})[row, column] = pixel
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
