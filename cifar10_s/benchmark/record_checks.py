"""Checks of submitted records: plain names, known images, and numbers that a run can reach."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cifar10_s.benchmark.measures.registry import find_measure
from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.record import Record, RunResults
from cifar10_s.benchmark.strategies.registry import find_ours
from cifar10_s.common.own import is_own
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.release.known_pixels import KNOWN_PIXELS
from cifar10_s.release.layout import CLEAN
from cifar10_s.release.recipes import CONFIGURATIONS

MAX_TEXT, MAX_DEPTH = 200, 10
# Names of configurations, strategies, protocols and networks; a colon stands in those of a user's own.
NAME = r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,79}"
SHA256 = r"[0-9a-f]{64}"
MARKUP = "<>&`|"
# Accuracies are sums of floats, which round.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class KnownImages:
    """Pixel digests that records are compared with.

    Attributes
    ----------
    digests
        By the digest of the test images, and by configuration: the digests that are its own.
    """

    digests: Mapping[str, Mapping[str, frozenset[str]]]

    @classmethod
    def of(
        cls, releases: Iterable[tuple[str, Mapping[str, str]]] = (), records: Iterable[Record] = ()
    ) -> "KnownImages":
        """Return those of `KNOWN_PIXELS`, of releases (test digest, digests by configuration), and of our own records.

        Of a configuration that trains a network no digest is known: another machine makes another.
        """
        pairs = [
            (test, name, digest)
            for test, digests in (*KNOWN_PIXELS.items(), *releases)
            for name, digest in digests.items()
        ]
        runs = [record.settings for record in records]
        pairs += [(run.test_sha256, run.configuration, run.pixels_sha256) for run in runs]
        known: dict[str, dict[str, set[str]]] = {}
        for test, name, digest in pairs:
            of_test = known.setdefault(test, {})
            if name in CONFIGURATIONS and CONFIGURATIONS[name].budget is None:
                of_test.setdefault(name, set()).add(digest)
        return cls({test: {name: frozenset(some) for name, some in of_test.items()} for test, of_test in known.items()})

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check the digests of a run's settings; raise ValueError if one is not of the images that it claims."""
        test, name, pixels = settings["test_sha256"], settings["configuration"], settings["pixels_sha256"]
        if test not in self.digests:
            raise ValueError(
                f"settings.test_sha256: expected the digest of known test images, {_some(self.digests)}, got "
                f"{test[:8]}…: name the release with --release"
            )
        known = self.digests[test]
        _one_of(f"settings.pixels_sha256 of {name!r}", pixels, known.get(name, frozenset({pixels})))
        owners = sorted(owner for owner, digests in known.items() if pixels in digests)
        if owners and name not in owners:
            raise ValueError(f"settings.configuration: expected {owners[0]!r}, whose pixels these are, got {name!r}")
        if "clean_sha256" in settings:
            _one_of("settings.clean_sha256", settings["clean_sha256"], known.get(CLEAN, frozenset()))


def check_record(line: Mapping[str, Any], known: KnownImages) -> Record:
    """Return a record from a line that `parse_line` has read, if nothing in it is impossible.

    Raises
    ------
    ValueError
        Saying the first thing that is wrong: the field, expected, got.
    """
    _check_texts(line, "")
    try:
        record = Record.parse(line)
    except SourceError as error:
        raise ValueError(str(error).partition(": ")[2].rpartition(": ")[0]) from None
    settings = record.settings
    names = {
        "configuration": settings.configuration, "strategy": settings.strategy.name, "network": settings.network,
        "protocol.name": settings.protocol.name,
    }  # fmt: skip
    for field, name in names.items():
        check_name(f"settings.{field}", name)
    if not 0 <= record.settings.seed < 1 << 32:
        raise ValueError(f"settings.seed: expected 0 to {(1 << 32) - 1}, got {record.settings.seed}")
    for field in ("pixels_sha256", "test_sha256", "clean_sha256", "weights_sha256"):
        digest = line["settings"].get(field, "0" * 64)
        if not isinstance(digest, str) or not re.fullmatch(SHA256, digest):
            raise ValueError(f"settings.{field}: expected 64 hexadecimal digits, got {str(digest)[:MAX_TEXT]!r}")
    _check_names_of_ours(record)
    _check_measures(record)
    known.check(line["settings"])
    _check_results(record)
    return record


def check_name(field: str, name: str) -> None:
    """Check that a name is plain; raise ValueError if it is not."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{field}: expected up to 80 of the letters A-Z a-z 0-9 . _ : + -, got {name[:MAX_TEXT]!r}")


def check_text(field: str, text: str) -> None:
    """Check that a text is short, printable and without markup; raise ValueError if it is not."""
    if len(text) > MAX_TEXT or not text.isprintable() or set(text) & set(MARKUP):
        raise ValueError(
            f"{field}: expected up to {MAX_TEXT} printable letters and none of {MARKUP}, got {text[:80]!r}"
        )


def _check_texts(value: Any, field: str, depth: int = 0) -> None:
    """Check every text of a line, with the names of its fields."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{field}: is nested too deeply")
    if isinstance(value, str):
        check_text(field, value)
    elif isinstance(value, Mapping):
        for name, one in value.items():
            check_text(f"{field or 'record'}: name of a field", name)
            _check_texts(one, f"{field}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for one in value:
            _check_texts(one, field, depth + 1)


def _check_names_of_ours(record: Record) -> None:
    """Check that whatever bears one of our names is ours; names of others are not looked up."""
    protocol, strategy = record.settings.protocol.name, record.settings.strategy.name
    if protocol in PROTOCOLS:
        ours = PROTOCOLS[protocol].for_network(record.settings.network).settings()
        _same_settings("protocol", ours, record.all_settings("protocol"))
    if is_own(strategy):
        return
    found = find_ours(strategy)
    if found is None:
        raise ValueError(
            f"settings.strategy.name: expected one of ours or your own as package.module:name, got {strategy!r}"
        )
    _same_settings("strategy", found.settings(), record.all_settings("strategy"))


def _check_measures(record: Record) -> None:
    """Check that each measure is one of ours, with our settings, and that no other is in the results."""
    names = [measure.name for measure in record.settings.measures]
    for name, theirs in zip(names, record.line["settings"].get("measures", ()), strict=True):
        try:
            ours = find_measure(name).settings()
        except UsageError as error:
            raise ValueError(f"settings.measures: {error}") from None
        _same_settings("measures", ours, theirs)
    if more := sorted(record.results.measures.keys() - set(names)):
        raise ValueError(f"results.measures: expected those of the settings, {names}, got {more[0]!r}")


def _same_settings(part: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    if json.loads(json.dumps(ours)) != theirs:
        fields = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"settings.{part}: expected the settings of our {ours['name']!r}, got others ({', '.join(fields)[:80]}): "
            "call yours by another name"
        )


def _check_results(record: Record) -> None:
    results, epochs = record.results, record.all_settings("protocol").get("epochs")
    if record.status not in ("done", "failed"):
        raise ValueError(f"status: expected 'done' or 'failed', got {record.status!r}")
    if not record.is_done:
        return
    for curve in ("test_accuracy", "train_accuracy"):
        values = getattr(results, curve)
        if not values or len(values) != epochs:
            raise ValueError(f"results.{curve}: expected a number for each of {epochs} epochs, got {len(values)}")
    if not all(0 <= distance < math.inf for distance in results.parameter_distance):
        raise ValueError("results.parameter_distance: expected numbers of 0 or more")
    for field, expected in _summary(results).items():
        got = getattr(results, field)
        if got is None or abs(got - expected) > TOLERANCE:
            raise ValueError(f"results.{field}: expected {expected:.6g}, as test_accuracy has it, got {got}")


def _summary(results: RunResults) -> dict[str, float]:
    """Return what follows from the accuracy by epoch."""
    last = results.test_accuracy[-5:]
    return {"final": last[-1], "peak": max(results.test_accuracy), "last_5_mean": sum(last) / len(last)}


def _one_of(field: str, digest: str, known: Iterable[str]) -> None:
    if digest not in set(known):
        raise ValueError(
            f"{field}: expected {_some(known)}, as is known, got {digest[:8]}…: images of your own need a name of "
            "their own"
        )


def _some(digests: Iterable[str]) -> str:
    return " or ".join(f"{digest[:8]}…" for digest in sorted(digests)[:3]) or "none"
