"""What a record says of a run besides its settings: results, speed and environment."""

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from cifar10_s.benchmark.train import Run, train
from cifar10_s.common.machine import cores, processor
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import DivergedError

# The number of last epochs whose mean test accuracy is recorded.
MEAN_EPOCHS = 5


def train_run(run: Run, runtime: Runtime, on_epoch: Callable[[Sequence[float]], object]) -> tuple[str, dict[str, Any]]:
    """Train a network, and return the status of the run and its results.

    Parameters
    ----------
    run, runtime
        See `train`.
    on_epoch
        Called after each epoch with the times at which training began and each epoch ended; what it raises ends the
        run.

    Raises
    ------
    UsageError, OutOfMemoryError
        See `train`.
    """
    epochs, times = list[dict[str, Any]](), [time.perf_counter()]
    status, reason = "done", {}
    try:
        with runtime.deterministic():
            for epoch in train(run, runtime):
                epochs.append(epoch)
                times.append(time.perf_counter())
                on_epoch(times)
    except DivergedError as error:
        status, reason = "failed", {"reason": str(error)}
    first = 1 if run.strategy.pretrain or run.strategy.purify else 0  # the first epoch comes after them
    seconds = round(time.perf_counter() - times[0], 2)
    return status, {**reason, **_summary(epochs), "seconds": seconds, **_speed(len(run.train), times[first:])}


def _summary(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the measurements of all epochs; accuracies are in percent."""
    if not epochs:
        return {}
    test_accuracy, train_accuracy, parameter_distance = (
        [epoch[key] for epoch in epochs] for key in ("test_accuracy", "train_accuracy", "parameter_distance")
    )
    return {
        "final": test_accuracy[-1],
        "peak": max(test_accuracy),
        "last_5_mean": float(np.mean(test_accuracy[-MEAN_EPOCHS:])),
        "train_final": train_accuracy[-1],
        "test_accuracy": test_accuracy,
        "train_accuracy": train_accuracy,
        "parameter_distance": parameter_distance,
        **{key: value for key, value in epochs[-1].items() if key in ("robust_accuracy", "evaluations", "measures")},
    }


def _speed(images: int, times: list[float]) -> dict[str, float]:
    """Return the training speed from the times at which epochs of so many images began, and the last one ended.

    The last epoch counts only if it is the only one, since it has more evaluations.
    """
    counted = times[:-1] if len(times) > 2 else times
    if len(counted) < 2:
        return {}
    return {"images_per_second": round((len(counted) - 1) * images / (counted[-1] - counted[0]), 1)}


def environment(runtime: Runtime, *, dataset_version: str | None) -> dict[str, Any]:
    """Return what results may depend on besides their settings: hardware, precision, versions; and the date."""
    on_gpu = runtime.device.type == "cuda"
    return {
        "cifar10_s": _version("cifar10-s"),
        "commit": _commit(),
        "dataset_version": dataset_version,
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(runtime.device) if on_gpu else processor(),
        "cores": cores(),
        "precision": "bfloat16" if runtime.bfloat16 else "float32",
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "kornia": _version("kornia"),
        "python": platform.python_version(),
    }


@cache
def _commit() -> str | None:
    """Return the commit of this code; None if it does not lie in a git repository of its own."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    with suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    return None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
