"""Typed records of the benchmark's runs, checked, since their lines are untrusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import msgspec

from cifar10_s.common import typed_json
from cifar10_s.errors import SourceError, printable

# An accuracy.
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


@dataclass(frozen=True, kw_only=True)
class RecordedStrategy:
    """The strategy of a run.

    Attributes
    ----------
    name
        The name of the strategy.
    adversary
        The settings of the adversary; None if it has none.
    """

    name: str
    adversary: Any = None


@dataclass(frozen=True, kw_only=True)
class RecordedProtocol:
    """The protocol of a run.

    Attributes
    ----------
    name, network
        The name of the protocol, and the network that it trains if none is named.
    """

    name: str
    network: str


@dataclass(frozen=True, kw_only=True)
class RecordedMeasure:
    """What was measured of a run besides its accuracy.

    Attributes
    ----------
    name
        The name of the measure.
    """

    name: str


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What decided the results of a run, except the machine.

    Attributes
    ----------
    source
        The title of the images' source.
    configuration, strategy, protocol, network, seed
        What the network was trained on, and how.
    pixels_sha256, test_sha256
        The pixel digests of the training images and of the clean test images.
    measures
        What was measured besides the accuracy.
    weights_sha256
        The digest of the weights that training started from; None for random weights.
    """

    source: str
    configuration: str
    pixels_sha256: str
    test_sha256: str
    strategy: RecordedStrategy
    protocol: RecordedProtocol
    network: str
    seed: int
    measures: tuple[RecordedMeasure, ...] = ()
    weights_sha256: str | None = None

    @property
    def coordinates(self) -> dict[str, str]:
        """The configuration, strategy and network, which decide the cell of a table that the run belongs to.

        A network that started from given weights is another one.
        """
        network = self.network if self.weights_sha256 is None else f"{self.network} from {self.weights_sha256[:8]}"
        return {"configuration": self.configuration, "strategy": self.strategy.name, "network": network}


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """The results of a run; failed runs and older versions may lack some.

    Attributes
    ----------
    final, peak, last_5_mean
        Accuracy on the clean test images, in percent; None if not recorded.
    robust_accuracy
        Accuracy on attacked test images, in percent; None if not measured.
    reason
        Why a failed run failed.
    test_accuracy, train_accuracy, parameter_distance
        Accuracy in percent, and the distance of the weights from the initial ones, after each epoch; empty if not
        recorded.
    evaluations
        Accuracy in percent on other images, by their name.
    measures
        What was measured after the last epoch, in percent, by the name of the measure.

    Raises
    ------
    ValueError
        If the lists per epoch differ in length.
    """

    final: Percent | None = None
    peak: Percent | None = None
    last_5_mean: Percent | None = None
    robust_accuracy: Percent | None = None
    reason: str | None = None
    test_accuracy: tuple[Percent, ...] = ()
    train_accuracy: tuple[Percent, ...] = ()
    parameter_distance: tuple[float, ...] = ()
    evaluations: dict[str, Percent] = field(default_factory=dict)
    measures: dict[str, Percent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by_epoch = (self.test_accuracy, self.train_accuracy, self.parameter_distance)
        if len({len(values) for values in by_epoch if values}) > 1:
            raise ValueError("Expected lists per epoch of equal length")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The environment of a run.

    Attributes
    ----------
    device, precision, torch
        The name of the processor or GPU, the precision of the network, the version of torch; None if not recorded.
    """

    device: str | None = None
    precision: str | None = None
    torch: str | None = None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.device, self.precision, self.torch and f"torch {self.torch}")))


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run of the benchmark.

    Attributes
    ----------
    id
        The hash of all settings.
    settings, results, environment
        The fields that tables and plots read.
    status
        ``done`` or ``failed``.
    line
        The whole line of the file as JSON values, including fields that are not read here.
    """

    id: str
    settings: RunSettings
    status: str
    results: RunResults
    environment: Environment
    line: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, line: Mapping[str, Any]) -> "Record":
        """Convert one of the lines that `Records.read` returns; fields that are not read here may hold anything.

        Raises
        ------
        SourceError
            If a field is missing or of another type.
        """
        try:
            return replace(typed_json.convert(line, cls), line=line)
        except ValueError as error:
            raise SourceError(f"run {line['id']}: {printable(str(error))}: correct or remove its line") from None

    def __getitem__(self, name: str) -> Any:
        """Return a field of the line as JSON values, such as ``record["settings"]``."""
        return self.line[name]

    @property
    def is_done(self) -> bool:
        """Whether the run finished successfully."""
        return self.status == "done"

    def all_settings(self, part: str) -> Mapping[str, Any]:
        """Return all settings of the ``protocol`` or the ``strategy``, including those that are not read here."""
        settings: Mapping[str, Any] = self.line["settings"][part]
        return settings
