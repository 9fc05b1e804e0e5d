"""Measured: the records of one protocol on one source's images, nothing mixed that must not be."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from cifar10_s.benchmark.cell import Cell
from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.strategies import STRATEGIES
from cifar10_s.errors import SourceError, UsageError, unknown
from cifar10_s.nets import NETWORKS
from cifar10_s.recipes import RECIPES

Record = Mapping[str, Any]

# Measures by name: where a record has them, and how a caption calls them.
MEASURES: dict[str, tuple[str, str]] = {
    "final": ("final", "accuracy after the last epoch"),
    "peak": ("peak", "best accuracy of all epochs"),
    "last-5-mean": ("last_5_mean", "mean accuracy of the last five epochs"),
    "robust": ("robust_accuracy", "accuracy under PGD-20 within 8/255, after the last epoch of adversarial training"),
}
# The measure that only runs with an adversary have.
ROBUST = "robust"
KNOWN: dict[str, Mapping[str, object]] = {"configuration": RECIPES, "strategy": STRATEGIES, "network": NETWORKS}
TEST = "test"


class Measured:
    """The records that may stand in one table: of one protocol, one source, one set of pixels a configuration.

    Parameters
    ----------
    records
        As from `Records.read`, of one or several files; a record that comes twice counts once.
    protocol
        The protocol's name; the records of other protocols are left out.
    source
        The title of the images' source; None where the records are of one source.
    pixels
        By the name of a configuration (or ``test``, for the test images), how the pixel digest begins that is meant,
        where the records are of several; the records of the others are left out.

    Attributes
    ----------
    protocol, source, pixels
        As given, or found.
    records : list
        What is left, sorted by seed; settings other than those of cells and seeds are the same in all.

    Raises
    ------
    UsageError
        For a protocol or source that no record is of, and where what must be one is several.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        protocol: str,
        source: str | None = None,
        pixels: Mapping[str, str] | None = None,
    ) -> None:
        every = _once(records)
        self.protocol = protocol
        left = _named(every, "protocol", protocol, _protocol)
        self.source = source or _only_source(left, protocol)
        left = _named(left, "source", self.source, _source)
        self.pixels = dict(pixels or {})
        for name, start in self.pixels.items():
            left = _picked(left, name, start)
        _refuse_two_pixels(left)
        _refuse_two_settings(left)
        self.records = left

    def names(self, what: str, where: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        """Name the ``configuration``, ``strategy`` or ``network`` of records, each once, in our tables' order.

        ``where`` names what they must be of, as for `runs`.
        """
        found, known = {_coordinates(record)[what] for record in self.runs(where)}, KNOWN[what]
        return [name for name in known if name in found] + sorted(found.difference(known))

    @property
    def network(self) -> str | None:
        """The protocol's own network."""
        return str(self.records[0]["settings"]["protocol"]["network"]) if self.records else None

    def runs(self, where: Mapping[str, str]) -> list[Record]:
        """Give the records of a cell, those of failed runs too; ``where`` names what they must be of."""
        wanted = {key: name for key, name in where.items() if key != "evaluation"}
        return [record for record in self.records if wanted.items() <= _coordinates(record).items()]

    def cell(self, where: Mapping[str, str], measure: str = "final") -> Cell:
        """Sum up the runs of a cell.

        Parameters
        ----------
        where
            ``configuration``, ``strategy`` and ``network``; ``evaluation`` too where the accuracy is not that on the
            clean test images: a key of the optional ``results["evaluations"]``.
        measure
            A name of `MEASURES`; an evaluation has but one.

        Raises
        ------
        UsageError
            For an unknown measure.
        SourceError
            For a run that is done and has no such result; one without ``robust`` is left out.
        """
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES)
        runs = [
            record for record in self.runs(where) if measure != ROBUST or "adversary" in record["settings"]["strategy"]
        ]
        done = [record for record in runs if record["status"] == "done"]
        values = [_value(record, where.get("evaluation"), measure) for record in done]
        return Cell(
            values=tuple(value for value in values if value is not None),
            failed=len(runs) - len(done),
            machines=tuple(sorted(set(map(_machine, runs)))),
        )


def groups(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Name the (protocol, source) pairs that records are of: protocols in their table's order, sources sorted."""
    pairs = {(_protocol(record), _source(record)) for record in records}
    known = list(PROTOCOLS)
    return sorted(pairs, key=lambda pair: (known.index(pair[0]) if pair[0] in known else len(known), pair))


def _protocol(record: Record) -> str:
    return str(record["settings"]["protocol"]["name"])


def _source(record: Record) -> str:
    return str(record["settings"]["source"])


def _coordinates(record: Record) -> dict[str, str]:
    """Give what decides in which cell of which table a run stands."""
    settings = record["settings"]
    return {
        "configuration": settings["configuration"],
        "strategy": settings["strategy"]["name"],
        "network": settings["network"],
    }


def _machine(record: Record) -> str:
    environment = record["environment"]
    parts = [environment.get("device"), environment.get("precision"), f"torch {environment.get('torch')}"]
    return ", ".join(str(part) for part in parts if part)


def _once(records: Iterable[Record]) -> list[Record]:
    """Drop copies, and sort, so that the order of lines and files decides nothing."""
    kept: dict[str, Record] = {}
    for record in records:
        if kept.setdefault(record["id"], record) != record:
            raise UsageError(f"run {record['id']} is recorded twice with different results: give one of the two files")
    return sorted(kept.values(), key=lambda record: (record["settings"]["seed"], record["id"]))


def _named(records: list[Record], what: str, name: str, of: Callable[[Record], str]) -> list[Record]:
    """Give the records of one protocol or source; no records at all are no mistake."""
    left = [record for record in records if of(record) == name]
    if records and not left:
        raise unknown(what, name, sorted(set(map(of, records))))
    return left


def _only_source(records: list[Record], protocol: str) -> str:
    sources = sorted(set(map(_source, records)))
    if len(sources) > 1:
        raise UsageError(
            f"the records of protocol {protocol!r} are on images of several sources, {', '.join(sources)}: "
            "expected one: name it as source"
        )
    return sources[0] if sources else "none"


def _digest(record: Record, name: str) -> str | None:
    """Give the digest of a configuration's images, or of the test images; None for a run of another configuration."""
    settings = record["settings"]
    if name == TEST:
        return str(settings["test_sha256"])
    return str(settings["pixels_sha256"]) if settings["configuration"] == name else None


def _digests(records: list[Record], name: str) -> list[str]:
    return sorted({digest for record in records if (digest := _digest(record, name)) is not None})


def _picked(records: list[Record], name: str, start: str) -> list[Record]:
    """Give the records without those of the configuration's other pixels."""
    digests = _digests(records, name)
    fitting = [digest for digest in digests if digest.startswith(start)]
    if digests and len(fitting) != 1:
        raise UsageError(f"pixels of {name!r}: expected the beginning of one of {', '.join(digests)}, got {start!r}")
    return [record for record in records if _digest(record, name) in (None, *fitting)]


def _refuse_two_pixels(records: list[Record]) -> None:
    """Refuse runs of one name on other images."""
    for name in (TEST, *sorted({record["settings"]["configuration"] for record in records})):
        digests = _digests(records, name)
        if len(digests) > 1:
            raise UsageError(
                f"{name!r} has records with {len(digests)} pixel digests, {', '.join(digests)}: expected one: "
                f"pick it as pixels, {name}=ITS-BEGINNING"
            )


def _refuse_two_settings(records: list[Record]) -> None:
    """Refuse runs by one name whose numbers differ: their mean would be of neither.

    A protocol may have other numbers for another network (`protocols.OWN`).
    """
    for what in ("protocol", "strategy"):
        first: dict[tuple[str, str], Record] = {}
        for record in records:
            settings = record["settings"][what]
            network = record["settings"]["network"] if what == "protocol" else ""
            other = first.setdefault((settings["name"], network), record)
            if other["settings"][what] != settings:
                raise UsageError(
                    f"{what} {settings['name']!r}: runs {other['id']} and {record['id']} have different settings under "
                    "its name: expected the same: give files that hold but one of the two"
                )


def _value(record: Record, evaluation: str | None, measure: str) -> float | None:
    """Give the accuracy of a run that is done; None where that evaluation, or that attack, was not made."""
    results, key = record["results"], MEASURES[measure][0]
    if evaluation is not None:
        value = results.get("evaluations", {}).get(evaluation)
        return None if value is None else float(value)
    if measure == ROBUST and key not in results:
        return None
    if key not in results:
        raise SourceError(f"run {record['id']}: is done, but has no result {key!r}: mend or remove its line")
    return float(results[key])
