"""What docs/spread.md shows of shortcuts: ``python -m speed.spread RELEASE [--train]``.

Writes results/spread-cifar10-jpeg.json, which ``make readme`` shows: how visible each One-Pixel Shortcut of a release
is, and what augmentation leaves of it; the same of `ops-spread-2` searched without one of its precautions at a time,
and of what `ops-patches-2` could be instead. With ``--train``, also what the small network learns from these by
``cpu-v1``, seed 0: some minutes of a core for each number, which is kept as it comes, and not measured again.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from cifar10_s.benchmark.outcome import environment
from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run, train
from cifar10_s.common.files import write_atomically
from cifar10_s.common.options import Options
from cifar10_s.nn.runtime import Runtime
from cifar10_s.release.metrics.perceptibility import Visibility, measure_all
from cifar10_s.release.reader import Release
from cifar10_s.report.record_set import CellStats, RecordSet
from cifar10_s.report.survival_plot import STRATEGIES as TRAINED_WITH
from cifar10_s.report.survival_plot import Point
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.pixel_search import search
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.spread import find_spread
from cifar10_s.shortcut.survival import measure_survival

RESULTS = Path(__file__).resolve().parents[1] / "results" / "spread-cifar10-jpeg.json"
# What the search is not told of, one at a time.
UNAWARE: dict[str, dict[str, Any]] = {
    "of holes": {"hole": (0, 0)},
    "of crops": {"padding": 0},
    "of translations": {"shift": (0, 0)},
    "of solarize": {"inverted": 256},
    "at all": {"hole": (0, 0), "padding": 0, "shift": (0, 0), "inverted": 256},
}
ABLATED_UNDER = ("cutout", "randaugment")
# What could take the place of two patches of 3×3: an objective and a number of pixels.
INSTEAD = {
    "two patches of 2×2": ("patches", 8),
    "18 pixels that the paper's search finds": ("mean-over-variance", 18),
}
INSTEAD_UNDER = ("standard", "cutout", "randaugment-ops", "jpeg-10", "median-3")
# The columns of the table of defences.
COMPARED = (
    "clean", "ops", "ops-4", "ops-spread-2", "ops-patches-2", "em-ops-patches-2", "ops-patches-4", "em-ops-patches-4",
)  # fmt: skip
# The table of defences has every strategy under which one of these was measured.
CHOSEN = ("ops-spread-2", "ops-patches-2", "em-ops-patches-2", "ops-patches-4", "em-ops-patches-4")


def measure(release: Release) -> dict[str, Any]:
    """Return what is known of a release's shortcuts, and of the ablations, without training."""
    clean, shortcuts = release.train("clean"), {}
    for name, entry in release.configurations.items():
        record = release.recipe(name)
        if record.shortcut is not None and record.recipe.method is None:
            shortcuts[name] = _facts(record.shortcut, release.size, entry.perceptibility)
    ablations = {}
    for name, shortcut in _ablations(release):
        seen = measure_all(clean, shortcut.stamp(clean)).summary()
        ablations[name] = {**_facts(shortcut, release.size, seen), "accuracy": {}}
    return {"data": release.manifest.source.title, "shortcuts": shortcuts, "ablations": ablations}


def _ablations(release: Release) -> Iterator[tuple[str, Shortcut]]:
    images, options = release.train("clean"), Options.resolve(device="cpu")
    for name, sizes in UNAWARE.items():
        yield name, find_spread(images, options, augmentation=replace(Augmentation.of(*release.size), **sizes))
    for name, (objective, pixels) in INSTEAD.items():
        yield name, search(images, objective=objective, pixels=pixels, device="cpu")


def _facts(shortcut: Shortcut, size: tuple[int, int], seen: Visibility | None) -> dict[str, Any]:
    left = {
        name: None if found is None else {"lost": 100 * found.lost_share, "told": 100 * found.accuracy}
        for name, found in measure_survival(shortcut, size).items()
    }
    if seen is None:
        raise SystemExit("this release says nothing of how visible its shortcuts are: build it anew")
    return {"l0": seen.l0_mean, "l2": seen.l2_mean, "psnr": seen.psnr_mean, "ssim": seen.ssim_mean, "left": left}


def train_ablations(release: Release, measured: dict[str, Any]) -> None:
    """Train on each ablation that has no accuracy yet, and write each number as it comes."""
    runtime = Runtime.on(Options.resolve(device="cpu").device)
    measured["environment"] = environment(runtime, dataset_version=release.manifest.version)
    clean, test, protocol = release.train("clean"), release.test(), PROTOCOLS["cpu-v1"]
    for name, shortcut in _ablations(release):
        images = shortcut.stamp(clean)
        for strategy in INSTEAD_UNDER if name in INSTEAD else ABLATED_UNDER:
            accuracy = measured["ablations"][name]["accuracy"]
            if strategy not in accuracy:
                run = Run(
                    train=images, test=test, protocol=protocol, strategy=STRATEGIES[strategy], network="small", seed=0
                )
                *_, last = train(run, runtime)
                accuracy[strategy] = last["test_accuracy"]
                _write(measured)


def _write(measured: dict[str, Any]) -> None:
    text = json.dumps(measured, indent=2, ensure_ascii=False) + "\n"
    write_atomically(RESULTS, lambda file: file.write(text.encode()))


def _read() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def points(record_set: RecordSet) -> list[Point]:
    """Return what is left of each measured shortcut, against what was learned from it."""
    return [
        Point(name, augmentation, left["told"], cell.mean)
        for name, facts in _read()["shortcuts"].items()
        for augmentation, left in facts["left"].items()
        if (cell := _cell(record_set, name, TRAINED_WITH[augmentation])).values and left is not None
    ]


def tables(record_set: RecordSet) -> list[str]:
    """Return the tables of docs/spread.md in Markdown: shortcuts, defences, patches, ablations."""
    measured = _read()
    found = (
        _shortcuts(measured, record_set), _defences(record_set), _instead(measured, record_set),
        _ablated(measured, record_set),
    )  # fmt: skip
    return ["\n".join(lines) + "\n" for lines in found]


def _shortcuts(measured: dict[str, Any], record_set: RecordSet) -> list[str]:
    """Return the table of what is seen, what is left, and what was learned."""
    lines = [
        "| configuration | ℓ0 | ℓ2 | PSNR | SSIM | crop and flip: lost, told | **accuracy** | Cutout: lost, told "
        "| **accuracy** | RandAugment: lost, told | **accuracy** | OPS authors' |",
        f"| --- |{' --: |' * 11}",
    ]
    for name, facts in measured["shortcuts"].items():
        cells = []
        for augmentation, left in facts["left"].items():
            cells += [_left(left), _accuracy(record_set, name, TRAINED_WITH[augmentation])]
        lines.append(_row(f"`{name}`", facts, [*cells, _accuracy(record_set, name, "randaugment-ops")]))
    return lines


def _defences(record_set: RecordSet) -> list[str]:
    """Return the table of all strategies under which one of `CHOSEN` was measured."""
    shown = [one for name in COMPARED for one in _measured(record_set, name)]
    lines = [f"| strategy | {' | '.join(f'`{name}`' for name in shown)} |", f"| --- |{' --: |' * len(shown)}"]
    chosen = (one for name in CHOSEN for one in _measured(record_set, name))
    strategies = (record_set.names("strategy", {"configuration": name}) for name in chosen)
    for strategy in dict.fromkeys(chain.from_iterable(strategies)):
        cells = [_accuracy(record_set, name, strategy) for name in shown]
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    return lines


def _measured(record_set: RecordSet, configuration: str) -> list[str]:
    """Return the names under which a configuration was measured: several if EM's noise is of several processors."""
    names = record_set.variants_of(configuration)
    return [name for name in names if record_set.runs({"configuration": name})]


def _instead(measured: dict[str, Any], record_set: RecordSet) -> list[str]:
    """Return the table of what could take the place of two patches of 3×3."""
    lines = [
        f"| per class | ℓ0 | ℓ2 | PSNR | SSIM | {' | '.join(f'`{one}`' for one in INSTEAD_UNDER)} |",
        f"| --- |{' --: |' * (4 + len(INSTEAD_UNDER))}",
    ]
    built = ("two pixels", "ops-spread-2"), ("two patches of 3×3", "ops-patches-2"), ("four of 3×3", "ops-patches-4")
    for label, name in built:
        accuracies = [_accuracy(record_set, name, one) for one in INSTEAD_UNDER]
        lines.append(_row(f"{label} (`{name}`)", measured["shortcuts"][name], accuracies))
    for label in INSTEAD:
        facts = measured["ablations"][label]
        lines.append(_row(label, facts, [_percent(facts["accuracy"].get(one)) for one in INSTEAD_UNDER]))
    return lines


def _row(label: str, facts: dict[str, Any], accuracies: list[str]) -> str:
    """Return a row of a table: how visible a shortcut is, and accuracies."""
    seen = f"{facts['l0']:.0f}", f"{facts['l2']:.2f}", f"{facts['psnr']:.1f}", f"{facts['ssim']:.3f}"
    return f"| {' | '.join([label, *seen, *accuracies])} |"


def _ablated(measured: dict[str, Any], record_set: RecordSet) -> list[str]:
    """Return the table of the search without one of its precautions at a time."""
    lines = [
        "| the search knows | ℓ2 | Cutout: lost, told | **accuracy** | RandAugment: lost, told | **accuracy** |",
        f"| --- |{' --: |' * 5}",
    ]
    own = {one: _accuracy(record_set, "ops-spread-2", one) for one in ABLATED_UNDER}
    rows = {"all (`ops-spread-2`)": (measured["shortcuts"]["ops-spread-2"], own)}
    for name in UNAWARE:
        facts = measured["ablations"][name]
        accuracy = {one: _percent(facts["accuracy"].get(one)) for one in ABLATED_UNDER}
        rows[f"nothing {name}"] = facts, accuracy
    for name, (facts, accuracy) in rows.items():
        left = facts["left"]
        cells = [_left(left["Cutout"]), accuracy["cutout"], _left(left["RandAugment"]), accuracy["randaugment"]]
        lines.append(f"| {name} | {facts['l2']:.2f} | {' | '.join(cells)} |")
    return lines


def _left(left: dict[str, float] | None) -> str:
    return "—" if left is None else f"{left['lost']:.1f}, {left['told']:.1f}"


def _cell(record_set: RecordSet, configuration: str, strategy: str) -> CellStats:
    return record_set.cell({"configuration": configuration, "strategy": strategy, "network": "small"})


def _accuracy(record_set: RecordSet, configuration: str, strategy: str) -> str:
    """Return the mean of a cell, with the deviation if there are several seeds."""
    cell = _cell(record_set, configuration, strategy)
    if not cell.values:
        return "—"
    return f"{cell.mean:.2f}" + ("" if cell.deviation is None else f" ± {cell.deviation:.2f}")


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def main() -> None:
    """Measure, and keep the accuracies that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--train", action="store_true")
    chosen = parser.parse_args()
    release, before = Release(chosen.release), _read() if RESULTS.exists() else {}
    measured = {**before, **measure(release)}
    for name, facts in before.get("ablations", {}).items():
        if name in measured["ablations"] and facts["left"] == measured["ablations"][name]["left"]:
            measured["ablations"][name]["accuracy"] = facts["accuracy"]
    _write(measured)
    if chosen.train:
        train_ablations(release, measured)


if __name__ == "__main__":
    main()
