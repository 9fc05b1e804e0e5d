"""The headline of a set of records: how much accuracy the shortcut costs a network."""

from dataclasses import dataclass

from cifar10_s.benchmark.strategies.registry import STANDARD
from cifar10_s.release.layout import CLEAN
from cifar10_s.report.paper_tables import PAPER, TABLE_5
from cifar10_s.report.record_set import RecordSet

# The configuration that a headline is about; if it was not measured, the one on which least is learned.
SHORTCUT = "ops"


@dataclass(frozen=True)
class Headline:
    """A headline, as texts: ``80.5 → 10.3 %``, what that is, and what was published; the last may be empty."""

    numbers: str
    text: str
    published: str = ""


def headline(record_set: RecordSet) -> Headline | None:
    """Return the headline of some records; None if standard training was not measured on ``clean`` and another.

    It is that of the protocol's own network.
    """
    fixed = {"strategy": STANDARD, "network": record_set.network or ""}
    cells = {
        name: record_set.cell({**fixed, "configuration": name}) for name in record_set.names("configuration", fixed)
    }
    means = {name: cell.mean for name, cell in cells.items() if cell.values}
    clean = means.pop(CLEAN, None)
    if clean is None or not means:
        return None
    name = SHORTCUT if SHORTCUT in means else min(means, key=means.__getitem__)
    text = (
        f"Clean test accuracy of the network “{record_set.network}”, trained on the clean images, and on {name} "
        f"(protocol {record_set.protocol}; {record_set.images})."
    )
    return Headline(f"{clean:.1f} → {means[name]:.1f} %", text, _published(record_set, name))


def _published(record_set: RecordSet, name: str) -> str:
    headings = TABLE_5.columns.headings
    if not record_set.is_cifar10 or name not in headings:
        return ""
    before, after = (TABLE_5.published(STANDARD, column) for column in (CLEAN, name))
    return "" if after is None else f"Published for a ResNet-18, {PAPER}: {before:.1f} → {after:.1f} %."
