"""Cell: what the runs of one cell of a table gave, summed up."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What the runs of one cell gave.

    Attributes
    ----------
    values
        The accuracy of each run that ended well, in percent, in the order of the seeds.
    failed
        How many runs failed.
    machines
        What the runs ran on, each machine once, sorted.
    """

    values: tuple[float, ...] = ()
    failed: int = 0
    machines: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """The mean of the values; there must be one."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation (n - 1), None where there are fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None
