"""What a format found in a source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cifar10_s.data.images import Images
from cifar10_s.errors import SourceError


class UnlabelledError(SourceError):
    """A split without labels, as test splits often are."""


@dataclass(frozen=True)
class Found:
    """The splits of a source.

    Attributes
    ----------
    splits
        A function that opens the split, by the source's own name of it. It raises `UnlabelledError` if the split has
        no labels.
    places
        Where each split is, in words, for the line that says what was taken.
    notes
        What else was decided, in words.
    """

    splits: Mapping[str, Callable[[], Images]]
    places: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
