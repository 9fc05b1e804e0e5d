"""Select the records that may be compared: of one protocol, on the images of one source."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.common.records import run_id
from cifar10_s.data.provenance import CIFAR10
from cifar10_s.errors import UsageError, printable, unknown
from cifar10_s.nn.networks.registry import NETWORKS
from cifar10_s.release.recipes import CONFIGURATIONS
from cifar10_s.report.metrics import find_metric

# The names that tables put first, in this order, by axis.
NAMES_BY_AXIS: dict[str, Iterable[str]] = {"configuration": CONFIGURATIONS, "strategy": STRATEGIES, "network": NETWORKS}
# Stands for the test images among the names of configurations.
TEST_IMAGES = "test"
# The digits of a pixel digest that tell two sets of pixels under one configuration's name apart.
SHOWN_DIGITS = 8
# Copies of CIFAR-10 beside which published numbers may stand, by the pixel digest of their test images.
COPIES_OF_CIFAR10 = {
    "0547cc31918806cfbe43148255e0722b32db43ad8381fe43f9ac71e994633bc6": "CIFAR-10 (JPEG copy)",
}


@dataclass(frozen=True)
class CellStats:
    """The accuracies of the runs in one cell of a table.

    Attributes
    ----------
    values
        The accuracy of each run that is done, in percent, in the order of the seeds.
    peak
        The mean of the best accuracies of all epochs; None if no run recorded it.
    failed
        The number of runs that failed.
    machines
        The distinct environments of the runs, sorted.
    """

    values: tuple[float, ...] = ()
    peak: float | None = None
    failed: int = 0
    machines: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a value nor a failed run."""
        return not self.values and not self.failed

    @property
    def mean(self) -> float:
        """The mean of the values, of which there must be at least one."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation (n - 1); None for fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class RecordSet:
    """The records that may be in one table: of one protocol, one source, one set of test images.

    A configuration that was measured with several sets of pixels becomes as many, ``em 30d96e8c`` and ``em bbf04e34``:
    learned noise is not the same bits on every kind of processor, and a mean of both would be meaningless.

    Parameters
    ----------
    records
        Records of one or several files; copies count once.
    protocol
        The protocol's name; records of other protocols are left out.
    source
        The title of the images' source; may be None if all records are of one source.
    pixels
        The first digits of the pixel digest to keep, by configuration (or ``test``, for the test images; needed if
        there are records of several).

    Attributes
    ----------
    protocol, source, pixels
        As given, or found.
    records : list
        The selected records, sorted by seed; they differ only in the coordinates of cells and in seeds.
    variants : dict
        The names of configurations with several sets of pixels, by digest, by the configuration's own name.

    Raises
    ------
    UsageError
        If no record is of the protocol or source, or records of several sources, test images or settings would be
        mixed.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        protocol: str,
        source: str | None = None,
        pixels: Mapping[str, str] | None = None,
    ) -> None:
        selected = _select(_without_copies(records), "protocol", protocol, _protocol)
        self.protocol = protocol
        self.source = source or _only_source(selected, protocol)
        selected = _select(selected, "source", self.source, _source)
        self.pixels = dict(pixels or {})
        for name, beginning in self.pixels.items():
            selected = _select_pixels(selected, name, beginning)
        _refuse_two_tests(selected)
        _refuse_two_settings(selected)
        self.variants = _variants(selected)
        self.records = [_named(record, self.variants) for record in selected]

    def names(self, axis: str, coordinates: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """Return the names that occur on an axis (``configuration``, ``strategy``, ``network``), in tables' order.

        ``coordinates`` narrows the records as for `runs`.
        """
        names = {record.settings.coordinates[axis] for record in self.runs(coordinates)}
        first = [variant for name in NAMES_BY_AXIS[axis] for variant in self.variants_of(name)]
        return [name for name in first if name in names] + sorted(names.difference(first))

    def variants_of(self, configuration: str) -> tuple[str, ...]:
        """Return the names under which a configuration's records are here: its own, or one per set of pixels."""
        return tuple(self.variants.get(configuration, {"": configuration}).values())

    @property
    def images(self) -> str:
        """The title of the source; if it is a known copy of CIFAR-10, also which."""
        copy = COPIES_OF_CIFAR10.get(self.records[0].settings.test_sha256) if self.records else None
        return self.source if copy is None else f"{copy}, {self.source}"

    @property
    def is_cifar10(self) -> bool:
        """Whether published numbers may stand beside these; so also if there are no records."""
        return not self.records or self.source == CIFAR10 or self.images != self.source

    @property
    def network(self) -> str | None:
        """The protocol's own network; None if there are no records."""
        return self.records[0].settings.protocol.network if self.records else None

    def runs(self, coordinates: Mapping[str, str]) -> list[Record]:
        """Return the records of a cell, including failed runs; ``coordinates`` has a name for each fixed axis."""
        fixed = {axis: name for axis, name in coordinates.items() if axis != "evaluation"}
        return [record for record in self.records if fixed.items() <= record.settings.coordinates.items()]

    def cell(self, coordinates: Mapping[str, str], measure: str = "final") -> CellStats:
        """Summarise the runs of a cell.

        Parameters
        ----------
        coordinates
            ``configuration``, ``strategy`` and ``network``; also ``evaluation``, a key of `RunResults.evaluations`, for
            the accuracy on other images than the clean test images.
        measure
            A name that `find_metric` knows; ignored for an evaluation.

        Raises
        ------
        UsageError
            If the measure is unknown.
        SourceError
            If a run that is done lacks the measure; one that lacks an optional one is left out.
        """
        metric = find_metric(measure)
        runs = _without_repeats(record for record in self.runs(coordinates) if metric.is_of(record))
        done, evaluation = [record for record in runs if record.is_done], coordinates.get("evaluation")
        values = [
            metric.value(record) if evaluation is None else record.results.evaluations.get(evaluation)
            for record in done
        ]
        peaks = [record.results.peak for record in done if record.results.peak is not None]
        return CellStats(
            peak=statistics.fmean(peaks) if peaks else None,
            values=tuple(value for value in values if value is not None),
            failed=len(runs) - len(done),
            machines=tuple(sorted({str(record.environment) for record in runs})),
        )


def protocols_and_sources(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Return the (protocol, source) pairs that occur: protocols in the order of `PROTOCOLS`, sources sorted."""
    pairs = {(_protocol(record), _source(record)) for record in records}
    first = list(PROTOCOLS)
    return sorted(pairs, key=lambda pair: (first.index(pair[0]) if pair[0] in first else len(first), pair))


def _protocol(record: Record) -> str:
    return record.settings.protocol.name


def _source(record: Record) -> str:
    return record.settings.source


def _without_copies(records: Iterable[Record]) -> list[Record]:
    """Drop copies, and sort, so that the order of lines and files does not matter."""
    by_id: dict[str, Record] = {}
    for record in records:
        if by_id.setdefault(record.id, record).line != record.line:
            raise UsageError(f"run {record.id} is recorded twice with different results: keep one of the lines")
    return sorted(by_id.values(), key=lambda record: (record.settings.seed, record.id))


def _without_repeats(records: Iterable[Record]) -> list[Record]:
    """Keep one of the runs that differ only in what was measured of them besides the accuracy; one that is done."""
    by_settings: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: not record.is_done):
        settings = {name: value for name, value in record["settings"].items() if name != "measures"}
        by_settings.setdefault(run_id(settings), record)
    return list(by_settings.values())


def _select(records: list[Record], kind: str, name: str, name_of: Callable[[Record], str]) -> list[Record]:
    """Return the records of one protocol or source; if there are no records at all, that is no error."""
    selected = [record for record in records if name_of(record) == name]
    if records and not selected:
        raise unknown(kind, name, sorted(set(map(name_of, records))))
    return selected


def _only_source(records: list[Record], protocol: str) -> str:
    sources = sorted(set(map(_source, records)))
    if len(sources) > 1:
        raise UsageError(
            f"the records of protocol {protocol!r} are on images of several sources, {_list(sources)}: "
            "expected one: name it as source"
        )
    return sources[0] if sources else "none"


def _list(names: Iterable[str]) -> str:
    """Return names, which may be anybody's, for an error."""
    return ", ".join(map(printable, names))


def _digest(record: Record, name: str) -> str | None:
    """Return the digest of the named configuration's images, or of the test images; None if the run has none such."""
    if name == TEST_IMAGES:
        return record.settings.test_sha256
    return record.settings.pixels_sha256 if record.settings.configuration == name else None


def _digests(records: list[Record], name: str) -> list[str]:
    return sorted({digest for record in records if (digest := _digest(record, name)) is not None})


def _select_pixels(records: list[Record], name: str, beginning: str) -> list[Record]:
    """Drop the records of a configuration's images with other pixel digests."""
    digests = _digests(records, name)
    matching = [digest for digest in digests if digest.startswith(beginning)]
    if digests and len(matching) != 1:
        raise UsageError(f"pixels of {name!r}: expected the beginning of one of {_list(digests)}, got {beginning!r}")
    return [record for record in records if _digest(record, name) in (None, *matching)]


def _refuse_two_tests(records: list[Record]) -> None:
    """Check that all runs were tested on the same images."""
    digests = _digests(records, TEST_IMAGES)
    if len(digests) > 1:
        raise UsageError(
            f"{TEST_IMAGES!r} has records with {len(digests)} pixel digests, {_list(digests)}: expected one: "
            f"pick it as pixels, {TEST_IMAGES}=ITS-BEGINNING"
        )


def _variants(records: list[Record]) -> dict[str, dict[str, str]]:
    """Return the names of configurations with several sets of pixels, by digest, by the configuration's own name."""
    configurations = sorted({record.settings.configuration for record in records})
    digests = {configuration: _digests(records, configuration) for configuration in configurations}
    return {configuration: _variant_names(configuration, ones) for configuration, ones in digests.items() if ones[1:]}


def _variant_names(configuration: str, digests: list[str]) -> dict[str, str]:
    # Records are untrusted, and may have digests that begin alike.
    is_enough = len({digest[:SHOWN_DIGITS] for digest in digests}) == len(digests)
    return {digest: f"{configuration} {digest[:SHOWN_DIGITS] if is_enough else digest}" for digest in digests}


def _named(record: Record, variants: Mapping[str, Mapping[str, str]]) -> Record:
    """Return the record under the name of its variant, if its configuration has several."""
    settings = record.settings
    names = variants.get(settings.configuration)
    if names is None:
        return record
    return replace(record, settings=replace(settings, configuration=names[settings.pixels_sha256]))


def _refuse_two_settings(records: list[Record]) -> None:
    """Check that protocols and strategies of one name have the same settings: a mean of both would be meaningless.

    A protocol may have other settings for another network (`protocols.NETWORK_SETTINGS`).
    """
    for part in ("protocol", "strategy"):
        first: dict[tuple[str, str], Record] = {}
        for record in records:
            settings = record.all_settings(part)
            network = record.settings.network if part == "protocol" else ""
            other = first.setdefault((settings["name"], network), record)
            if other.all_settings(part) != settings:
                raise UsageError(
                    f"{part} {settings['name']!r}: runs {other.id} and {record.id} have different settings under "
                    "its name: expected the same: pass files that hold only one of the two"
                )
