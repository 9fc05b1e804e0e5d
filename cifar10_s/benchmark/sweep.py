"""Sweep: a grid of configuration × strategy × network × seed, cell by cell; what is recorded is not done again."""

import logging
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from cifar10_s.benchmark.analysis import CLEAN, evaluations
from cifar10_s.benchmark.dilution import Dilution
from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.released import Released
from cifar10_s.benchmark.strategies import PLAIN, Strategy, find
from cifar10_s.benchmark.train import DivergedError, Run, train
from cifar10_s.device import resolve_device
from cifar10_s.distributed import RayMapper, start
from cifar10_s.engine import Engine
from cifar10_s.errors import BuildError, UsageError, VerificationError, unknown
from cifar10_s.nets import network_for
from cifar10_s.parallel import cores, processor, progress_bar
from cifar10_s.records import Records, run_id

logger = logging.getLogger(__name__)

# More are a mistake: a list of all runs is made first.
MOST_SEEDS = 1000
# Epochs at the end whose mean test accuracy is recorded besides the last and the best.
LAST = 5


@dataclass(frozen=True)
class Cell:
    """One run of a grid, before its images are read."""

    configuration: str
    strategy: Strategy
    protocol: Protocol
    network: str
    seed: int

    @property
    def epoch_cost(self) -> int:
        """What an epoch takes, in epochs of standard training: each step of an attack is one more."""
        adversary = self.strategy.adversary
        return self.strategy.draws * (1 if adversary is None else 1 + adversary.steps)

    @property
    def cost(self) -> int:
        """What the run takes, in epochs of standard training."""
        return self.protocol.epochs * self.epoch_cost

    def settings(self, released: Released) -> dict[str, Any]:
        """Give all that decides the result, but for the machine."""
        return {
            "source": released.title,
            "configuration": self.configuration,
            "pixels_sha256": released.digest(self.configuration),
            "test_sha256": released.test_digest,
            **({"clean_sha256": released.digest(CLEAN)} if self.strategy.needs_clean else {}),
            "strategy": self.strategy.settings(),
            "protocol": self.protocol.settings(),
            "network": self.network,
            "seed": self.seed,
        }


def bench(
    dataset: str | Path,
    records: str | Path,
    *,
    configurations: Iterable[str] | None = None,
    strategies: Iterable[str] = ("standard",),
    protocol: str | None = None,
    networks: Iterable[str] | None = None,
    seeds: int = 1,
    device: str = "auto",
    engine: str = "local",
    address: str | None = None,
    allow_unverified: bool = False,
    on_record: Callable[[Mapping[str, Any]], object] | None = None,
) -> list[dict[str, Any]]:
    """Run a grid and record each run as it ends; gives the records of the grid, those that were there included.

    A run is skipped that the records hold, or that another process is at. One that was killed is done again from
    its beginning.

    Parameters
    ----------
    dataset
        A released folder, or the Hub's name of one.
    records
        A file of JSON Lines, added to.
    configurations
        Names of the release's configurations; all by default.
    strategies
        Names of `strategies.STRATEGIES`, or of a user's own (see `strategies.find`).
    protocol
        A name of `protocols.PROTOCOLS`; by default ``quick-v1`` on a GPU, else ``cpu-v1``.
    networks
        Names of `nets.NETWORKS`; by default the protocol's own.
    seeds
        How many: 0 to seeds - 1; at most 1,000.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
    engine, address
        See `distributed.start`: with ``ray``, each run is a task of the cluster, with a GPU where the device is one.
    allow_unverified
        Measure on a folder that is not verified first.
    on_record
        Is given each record as its run ends here.

    Raises
    ------
    UsageError
        For an unknown name, or a strategy that cannot be done to these images.
    SourceError
        Where the release or the records cannot be read.
    VerificationError
        Where a folder does not verify; it is checked before the first run.
    BuildError
        Where runs did not fit into the device's memory; the others are recorded.
    """
    mapper = start(engine, address)
    released, kept = Released(dataset), Records(records)
    device = resolve_device(device) if mapper is None else mapper.device(device)
    chosen = protocol or ("cpu-v1" if device == "cpu" else "quick-v1")
    if chosen not in PROTOCOLS:
        raise unknown("protocol", chosen, PROTOCOLS)
    if not 1 <= seeds <= MOST_SEEDS:
        raise UsageError(f"seeds: expected 1 to {MOST_SEEDS}, got {seeds}")
    nets = [PROTOCOLS[chosen].network] if networks is None else list(networks)
    for net in nets:
        network_for(net, released.size)
    names = released.select(configurations)
    cells = [
        Cell(configuration, strategy, PROTOCOLS[chosen].of(net), net, seed)
        for seed, net, strategy, configuration in product(
            range(seeds), nets, _find_all(strategies, released, names), names
        )
    ]
    kept.check_writable()
    wanted = {run_id(cell.settings(released)): cell for cell in cells}
    done = kept.done()
    left = {identity: cell for identity, cell in wanted.items() if identity not in done}
    if left and not allow_unverified:
        _verify(released)
    with progress_bar("bench", sum(cell.cost for cell in left.values()), unit="standard epoch") as bar:
        if mapper is None:
            runs = _run_here(left, released, kept, device, bar)
        else:
            runs = _run_there(left, released, kept, device, bar, mapper)
        too_large = []
        for cell, record in runs:
            if record is None:
                too_large.append(cell)
            elif on_record is not None:
                bar.clear()  # what is written now has its line to itself
                on_record(record)
    recorded = [record for record in kept.read() if record["id"] in wanted]
    away = len(wanted) - len({record["id"] for record in recorded}) - len(too_large)
    if away > 0:
        logger.warning(
            "%d of %d runs are with another process that shares the records: run again to see that they are there",
            away,
            len(wanted),
        )
    if too_large:
        raise BuildError(
            f"{len(too_large)} of {len(left)} runs did not fit into the memory of {device} and are not recorded "
            f"({too_large[0].network} on {too_large[0].configuration}, {too_large[0].strategy.name}, …): "
            "take a smaller network or another device"
        )
    return recorded


def _verify(released: Released) -> None:
    try:
        released.verify()
    except VerificationError as error:
        way_out = "build it again, or measure on it all the same with --allow-unverified"
        raise VerificationError([*error.failures, f"{released.name}: does not verify: {way_out}"]) from None


def _find_all(names: Iterable[str], released: Released, configurations: Iterable[str]) -> list[Strategy]:
    """Look up strategies, and that the release has what they need."""
    strategies = list(map(find, names))
    for strategy in strategies:
        if strategy.needs_clean and CLEAN not in released.configurations:
            raise UsageError(
                f"strategy {strategy.name!r} needs the configuration {CLEAN!r}, which {released.name} does not hold: "
                "build it too"
            )
        if isinstance(strategy.prepare, Dilution):
            for configuration in configurations:
                strategy.prepare.check(released.rows(configuration))
    return strategies


def _run_here(
    cells: Mapping[str, Cell], released: Released, records: Records, device: str, bar: Any
) -> Iterator[tuple[Cell, dict[str, Any] | None]]:
    """Run cells, given by the ids of their runs, one after another; see `_run`."""
    engine = Engine.on(device)
    for identity, cell in cells.items():
        with records.claimed(identity) as mine:
            # Another process may have ended it since the grid began.
            if not mine or identity in records.done():
                bar.update(cell.cost)
                continue
            bar.set_postfix_str(f"{cell.configuration}, {cell.strategy.name}, {cell.network}, seed {cell.seed}")
            record = _run(identity, cell, released, engine, bar.update)
            if record is not None:
                records.append(record)
        yield cell, record


def _run_there(
    cells: Mapping[str, Cell], released: Released, records: Records, device: str, bar: Any, mapper: RayMapper
) -> Iterator[tuple[Cell, dict[str, Any] | None]]:
    """Run cells on a cluster, each a task; they are recorded here as they come."""
    spread = replace(mapper, ordered=False, gpus=0 if device == "cpu" else 1)
    with ExitStack() as claims:
        mine = [identity for identity in cells if claims.enter_context(records.claimed(identity))]
        left = [(identity, cells[identity]) for identity in mine if identity not in records.done()]
        bar.update(sum(cell.cost for cell in cells.values()) - sum(cell.cost for _, cell in left))
        for cell, record in spread(partial(_run_task, released, device), left):
            if record is not None:
                records.append(record)
            bar.update(cell.cost)
            yield cell, record


def _run_task(released: Released, device: str, task: tuple[str, Cell]) -> tuple[Cell, dict[str, Any] | None]:
    identity, cell = task
    return cell, _run(identity, cell, released, Engine.on(device), lambda cost: None)


def _run(
    identity: str, cell: Cell, released: Released, engine: Engine, tick: Callable[[int], object]
) -> dict[str, Any] | None:
    """Do one cell; gives its record, or None where it does not fit into the device's memory."""
    run = Run(
        released.train(cell.configuration), released.test(), cell.protocol, cell.strategy, cell.network, cell.seed,
        clean=released.train(CLEAN) if cell.strategy.needs_clean else None,
        # Of these networks alone the paper tells more than the accuracy on test images.
        evaluations=partial(evaluations, released, cell.configuration) if cell.strategy.name == PLAIN else dict,
    )  # fmt: skip
    epochs: list[dict[str, Any]] = []
    times, status, reason = [time.perf_counter()], "done", {}
    try:
        with engine.deterministic():
            for epoch in train(run, engine):
                epochs.append(epoch)
                times.append(time.perf_counter())
                tick(cell.epoch_cost)
    except torch.OutOfMemoryError:
        return None
    except DivergedError as error:
        status, reason = "failed", {"reason": str(error)}
        tick(cell.cost - len(epochs) * cell.epoch_cost)
    seconds = time.perf_counter() - times[0]
    return {
        "id": identity,
        "settings": cell.settings(released),
        "status": status,
        "results": {**reason, **_results(epochs), "seconds": round(seconds, 2), **_speed(run, times)},
        "environment": environment(engine),
    }


def _results(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum up what was measured after each epoch, accuracies in percent."""
    if not epochs:
        return {}
    on_test = [epoch["test_accuracy"] for epoch in epochs]
    last = {key: value for key, value in epochs[-1].items() if key in ("robust_accuracy", "evaluations")}
    return {
        "final": on_test[-1],
        "peak": max(on_test),
        "last_5_mean": float(np.mean(on_test[-LAST:])),
        "train_final": epochs[-1]["train_accuracy"],
        "test_accuracy": on_test,
        "train_accuracy": [epoch["train_accuracy"] for epoch in epochs],
        "parameter_distance": [epoch["parameter_distance"] for epoch in epochs],
        **last,
    }


def _speed(run: Run, times: list[float]) -> dict[str, float]:
    """Give the speed of the epochs but the last, which holds what is measured at the end, unless it is the only one."""
    counted = times[:-1] if len(times) > 2 else times
    if len(counted) < 2:
        return {}
    return {"images_per_second": round((len(counted) - 1) * len(run.train) / (counted[-1] - counted[0]), 1)}


def environment(engine: Engine) -> dict[str, Any]:
    """Give what a result may depend on besides its settings."""
    on_gpu = engine.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(engine.device) if on_gpu else processor(),
        "cores": cores(),
        "precision": "bfloat16" if engine.bfloat16 else "float32",
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "kornia": _kornia_version(),
        "python": platform.python_version(),
    }


def _kornia_version() -> str | None:
    try:
        return version("kornia")
    except PackageNotFoundError:
        return None
