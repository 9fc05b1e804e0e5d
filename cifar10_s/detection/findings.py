"""What the audit found, and the images without it."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.html import html_table
from cifar10_s.data.images import ImagesT, Rows, to_uint8
from cifar10_s.detection.significance import show_p
from cifar10_s.errors import UsageError, printable

CONSTANT, NEAR, NOISE = "constant", "near-constant", "noise"
# The columns of `Finding.row`.
HEADINGS = ("class", "what", "where", "colour", "of class", "of others", "p-value")


@dataclass(frozen=True, eq=False)
class Finding:
    """A shortcut: something that most images of a class have, and few of the classes that do not share it.

    Attributes
    ----------
    kind
        ``constant``: one colour at a position. ``near-constant``: a colour up to ``tolerance`` levels from one.
        ``noise``: a pattern of single pixels that is added to the images of the class.
    label, class_name
        The class.
    positions : (n, 2) int64
        Row and column; several if adjacent positions form a patch, none for noise.
    colors : (n, C) uint8
        The colour of each.
    tolerance
        Levels by which each channel may differ; 0 for constant colours.
    share
        Share of the class's images that have it; of a patch, the least of its pixels. For noise see `class_noise`.
    elsewhere
        Share of the images of all other classes, without those of ``also``, that have it; of a patch, the largest.
    log10_p
        log10 of the p-value, after Bonferroni's correction (see `pixel_audit`); of a patch, the least.
    amplitude
        Root mean square of the noise's pattern in levels; None for colours.
    also
        Labels of the other classes that have the same colours at the same positions: the mark tells this set of classes
        from the others. Empty if it tells the class.
    """

    kind: str
    label: int
    class_name: str
    positions: NDArray[np.int64]
    colors: NDArray[np.uint8]
    tolerance: int
    share: float
    elsewhere: float
    log10_p: float
    amplitude: float | None = None
    also: tuple[int, ...] = ()

    def carried_by(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
        """Yield which of the images, (n, H, W, C), carry the finding, (n,), for each of its positions."""
        for (row, column), color in zip(self.positions, self.colors, strict=True):
            distances = np.abs(pixels[:, row, column].astype(np.int16) - color)
            yield (labels == self.label) & (distances <= self.tolerance).all(1)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a JSON object; a p-value of 0 gives null, since JSON lacks its logarithm."""
        return {
            "kind": self.kind,
            "label": self.label,
            "class": self.class_name,
            "pixels": [
                {"row": int(row), "column": int(column), "color": color.tolist()}
                for (row, column), color in zip(self.positions, self.colors, strict=True)
            ],
            "tolerance": self.tolerance,
            "share": self.share,
            "elsewhere": self.elsewhere,
            "log10_p": self.log10_p if math.isfinite(self.log10_p) else None,
            "amplitude": self.amplitude,
            "also": list(self.also),
        }

    def row(self) -> tuple[str, ...]:
        """Return the finding as the cells of a table with the columns `HEADINGS`."""
        shares = f"{100 * self.share:.4g} %", f"{100 * self.elsewhere:.2g} %"
        return printable(self.class_name), *self._what(), *shares, show_p(self.log10_p)

    def _what(self) -> tuple[str, str, str]:
        """Return what was found, where, and in which colour."""
        if self.amplitude is not None:
            return f"noise of {self.amplitude:.1f} levels", "everywhere", "—"
        count = len(self.positions)
        what = f"{self.kind} {'pixel' if count == 1 else f'patch of {count}'}"
        what += f", in {len(self.also) + 1} classes" if self.also else ""
        colors = {tuple(color) for color in self.colors.tolist()}
        color = str(list(colors.pop())) if len(colors) == 1 else f"{len(colors)} colours"
        (top, left), (bottom, right) = self.positions.min(0).tolist(), self.positions.max(0).tolist()
        return what, f"row {_span(top, bottom)}, column {_span(left, right)}", color


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """The result of `audit`.

    Attributes
    ----------
    findings
        What was found, by class; within a class in order of kind and position.
    images
        Number of images that were read.
    shape
        (H, W, C) of the images.
    class_names
        Names of the K classes.

    Examples
    --------
    >>> import cifar10_s
    >>> images = cifar10_s.load_images("sample")
    >>> poisoned = cifar10_s.search(images).stamp(images)
    >>> found = cifar10_s.audit(poisoned)
    >>> len(found.findings), found.findings[0].kind, found.findings[0].share
    (10, 'constant', 1.0)
    >>> recovered = found.repair(poisoned)
    >>> cifar10_s.audit(recovered).findings
    ()
    """

    findings: tuple[Finding, ...]
    images: int
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        """Return size and number of findings on one line, such as ``Audit(1438×8×8×1, 10 classes, findings: 10)``."""
        size = "×".join(map(str, (self.images, *self.shape)))
        return f"Audit({size}, {len(self.class_names)} classes, findings: {len(self.findings)})"

    def _repr_html_(self) -> str:
        """Return a table of the findings, for notebooks."""
        return html_table(repr(self), HEADINGS, [finding.row() for finding in self.findings])

    @cached_property
    def flagged(self) -> NDArray[np.bool_]:
        """The positions that findings name, per class: (K, H, W)."""
        flagged = np.zeros((len(self.class_names), *self.shape[:2]), bool)
        for finding in self.findings:
            flagged[finding.label, finding.positions[:, 0], finding.positions[:, 1]] = True
        return flagged

    def repair(self, images: ImagesT) -> ImagesT:
        """Return the images without the pixels that carry a finding; noise stays.

        Such a pixel becomes the median of its neighbours, per channel, that no finding of its class names: of the 3×3
        window around it, or of the next larger one that has any. An image that does not have the finding's colour is
        left as it is.

        Raises
        ------
        UsageError
            If the images have other classes or another size.
        """
        if images.class_names != self.class_names or images.shape[1:] != self.shape:
            raise UsageError(
                f"an audit of images of {'×'.join(map(str, self.shape))} in {len(self.class_names)} classes cannot "
                f"repair images of {'×'.join(map(str, images.shape[1:]))} in {len(images.class_names)} classes"
            )
        labels = images.labels
        windows = [[self._neighbours(f.label, *position) for position in f.positions] for f in self.findings]

        def without(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            repaired, of_part = pixels.copy(), labels[rows]
            for finding, of_finding in zip(self.findings, windows, strict=True):
                carried = finding.carried_by(pixels, of_part)
                for (row, column), (y, x), carries in zip(finding.positions, of_finding, carried, strict=True):
                    if len(y) and carries.any():
                        repaired[carries, row, column] = to_uint8(np.median(pixels[carries][:, y, x], axis=1))
            return repaired

        return images.with_transform(without)

    def _neighbours(self, label: int, row: int, column: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows and columns of the neighbours that replace a pixel; none if all positions are flagged."""
        for radius in range(1, max(self.shape[:2])):
            top, left = max(row - radius, 0), max(column - radius, 0)
            window = self.flagged[label, top : row + radius + 1, left : column + radius + 1]
            if not window.all():
                y, x = np.nonzero(~window)
                return y + top, x + left
        return np.empty(0, np.int64), np.empty(0, np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as a JSON object."""
        return {
            "images": self.images,
            "shape": list(self.shape),
            "classes": list(self.class_names),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_json(self) -> str:
        """Return `to_dict` as one line of strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)
