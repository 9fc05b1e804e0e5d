"""The metrics that tables can show, by name."""

from dataclasses import dataclass

from cifar10_s.benchmark.measures.registry import MEASURES, find_measure
from cifar10_s.benchmark.record import Record
from cifar10_s.errors import SourceError, UsageError, unknown

# Only runs with an adversary have this result.
ROBUST_FIELD = "robust_accuracy"


@dataclass(frozen=True)
class Metric:
    """An accuracy of a run.

    Attributes
    ----------
    field
        The field of `RunResults` that holds it, in percent.
    title
        Its name in captions.
    is_optional
        Whether a finished run may lack it.
    is_robust
        Whether the test images are attacked.
    """

    field: str
    title: str
    is_optional: bool = False
    is_robust: bool = False

    def is_of(self, record: Record) -> bool:
        """Return whether runs like this have the metric."""
        return self.field != ROBUST_FIELD or record.settings.strategy.adversary is not None

    def value(self, record: Record) -> float | None:
        """Return the accuracy of a finished run; None if it is optional and missing.

        Raises
        ------
        SourceError
            If it is required and missing.
        """
        value: float | None = getattr(record.results, self.field)
        if value is None and not self.is_optional:
            raise SourceError(f"run {record.id}: is done, but has no result {self.field!r}: correct or remove its line")
        return value


@dataclass(frozen=True)
class Measured(Metric):
    """What `bench --measure` measured; ``field`` is the name of the measure."""

    is_optional: bool = True
    is_robust: bool = True

    def value(self, record: Record) -> float | None:
        """Return what was measured of a finished run; None if it was not."""
        return record.results.measures.get(self.field)

    def is_of(self, record: Record) -> bool:
        """Return whether the run measured it, or would have, had it not failed."""
        return any(measure.name == self.field for measure in record.settings.measures)


FINAL, PEAK = "final", "peak"
ROBUST = "robust"
METRICS: dict[str, Metric] = {
    FINAL: Metric("final", "accuracy after the last epoch"),
    PEAK: Metric("peak", "best accuracy of all epochs"),
    "last-5-mean": Metric("last_5_mean", "mean accuracy of the last five epochs"),
    ROBUST: Metric(
        ROBUST_FIELD,
        "accuracy under PGD-20 within 8/255, after the last epoch of adversarial training",
        is_optional=True,
        is_robust=True,
    ),
}


def find_metric(name: str) -> Metric:
    """Look up a metric: a name of `METRICS`, or of a measure of `bench`.

    Raises
    ------
    UsageError
        If there is no such metric.
    """
    if name in METRICS:
        return METRICS[name]
    try:
        return Measured(name, find_measure(name).summary + ", after the last epoch")
    except UsageError:
        raise unknown("measure", name, [*METRICS, *MEASURES]) from None
