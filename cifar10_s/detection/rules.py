"""What counts as a shortcut: the numbers of the audit."""

from dataclasses import dataclass

from cifar10_s.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The numbers that decide what the audit reports.

    Attributes
    ----------
    share
        More than this share of a class, or of each of several, has a colour at one position, from 0.5 to less than 1.
    elsewhere
        At most this share of the images of all other classes has it there, from 0 to less than 1.
    tolerance
        Colours are nearly the same if each channel is at most this many levels from a common one, 0 to 127.
    significance
        The largest p-value, after Bonferroni's correction, greater than 0 and less than 1.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    share: float = 0.9
    elsewhere: float = 0.05
    tolerance: int = 8
    significance: float = 0.01

    def __post_init__(self) -> None:
        ranges = {"share": 0.5 <= self.share < 1, "elsewhere": 0 <= self.elsewhere < 1}
        ranges |= {"tolerance": 0 <= self.tolerance <= 127, "significance": 0 < self.significance < 1}
        expected = {
            "share": "a number from 0.5 to less than 1", "elsewhere": "a number from 0 to less than 1",
            "tolerance": "0 to 127 levels", "significance": "a number greater than 0 and less than 1",
        }  # fmt: skip
        for name, holds in ranges.items():
            if not holds:
                raise UsageError(f"{name}: expected {expected[name]}, got {getattr(self, name)}")
