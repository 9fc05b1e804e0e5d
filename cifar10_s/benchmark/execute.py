"""Execute runs, here or on a cluster, and return their records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from cifar10_s.benchmark.evaluations import evaluations
from cifar10_s.benchmark.outcome import environment, train_run
from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.run_spec import RunSpec
from cifar10_s.benchmark.strategies.registry import STANDARD
from cifar10_s.benchmark.train import Run
from cifar10_s.common.records import Records
from cifar10_s.data.cluster import Cluster
from cifar10_s.nn.runtime import Runtime
from cifar10_s.release.layout import CLEAN
from cifar10_s.release.reader import Release


def run_here(
    specs: Mapping[str, RunSpec], release: Release, records: Records, device: str, bar: Any
) -> Iterator[tuple[RunSpec, Record | None]]:
    """Execute runs, given by id, one after another; append and yield their records, None if a run did not fit."""
    runtime = Runtime.on(device)
    for identity, spec in specs.items():
        with records.claimed(identity) as is_ours:
            # Another process may have finished the run since the grid began.
            if not is_ours or identity in records.done():
                bar.update(spec.cost)
                continue
            bar.set_postfix_str(f"{spec.configuration}, {spec.strategy.name}, {spec.network}, seed {spec.seed}")
            record = _run(identity, spec, release, runtime, bar.update)
            if record is not None:
                records.append(record.line)
        yield spec, record


def run_on_cluster(
    specs: Mapping[str, RunSpec], release: Release, records: Records, device: str, bar: Any, cluster: Cluster
) -> Iterator[tuple[RunSpec, Record | None]]:
    """Execute runs as tasks on a cluster; append and yield their records as they end, None if a run did not fit."""
    in_any_order = replace(cluster, ordered=False, gpus=0 if device == "cpu" else 1)
    with ExitStack() as claims:
        claimed = [identity for identity in specs if claims.enter_context(records.claimed(identity))]
        done = records.done()
        left = [(identity, specs[identity]) for identity in claimed if identity not in done]
        bar.update(sum(spec.cost for spec in specs.values()) - sum(spec.cost for _, spec in left))
        for spec, record in in_any_order(partial(_run_task, release, device), left):
            if record is not None:
                records.append(record.line)
            bar.update(spec.cost)
            yield spec, record


def _run_task(release: Release, device: str, task: tuple[str, RunSpec]) -> tuple[RunSpec, Record | None]:
    identity, spec = task
    return spec, _run(identity, spec, release, Runtime.on(device), lambda cost: None)


def _run(
    identity: str, spec: RunSpec, release: Release, runtime: Runtime, advance: Callable[[int], object]
) -> Record | None:
    """Execute one run and return its record, or None if it does not fit into the device's memory."""
    limit = spec.protocol.per_class
    run = Run(
        release.train(spec.configuration).first_per_class(limit), release.test(), spec.protocol, spec.strategy,
        spec.network, spec.seed, measures=spec.measures, weights=spec.weights,
        clean=release.train(CLEAN).first_per_class(limit) if spec.strategy.needs_clean else None,
        # Only for this strategy does the paper report more than the accuracy on test images.
        evaluations=partial(evaluations, release, spec.configuration, limit)
        if spec.strategy.name == STANDARD else dict,
    )  # fmt: skip
    done = 0

    def on_epoch(times: Sequence[float]) -> None:
        nonlocal done
        cost = spec.epoch_cost + (0 if done else spec.pretraining_cost)
        done += cost
        advance(cost)

    try:
        status, results = train_run(run, runtime, on_epoch)
    except torch.OutOfMemoryError:
        return None
    if status == "failed":
        advance(spec.cost - done)
    return Record.parse(
        {
            "id": identity,
            "settings": spec.settings(release),
            "status": status,
            "results": results,
            "environment": environment(runtime, dataset_version=release.manifest.version),
        }
    )
