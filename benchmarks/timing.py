"""Timing: rows of the bench's table, and how times and memory are taken."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 7


def row(what: str, value: float, unit: str, must: str | None = None, limit: float | None = None) -> dict[str, Any]:
    """Make one line of the table; the ``limit`` is what the machine can do at best, in the same unit."""
    line = {"what": what, "value": value, "unit": unit, **({"must": must} if must else {})}
    if limit is None:
        return line
    return {**line, "limit": limit, "share": value / limit if unit.endswith("/s") else limit / value}


def once(function: Callable[[], object]) -> float:
    """Time one call in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def median(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Give the median time of some calls in seconds, after one that is not counted."""
    function()
    return float(np.median([once(function) for _ in range(repeats)]))


def least(functions: Sequence[Callable[[], object]], repeats: int = REPEATS) -> list[float]:
    """Give the least times of some functions, which take turns: what others take of the machine only adds to them."""
    for function in functions:
        function()
    turns = [[once(function) for function in functions] for _ in range(repeats)]
    return [float(seconds) for seconds in np.min(turns, axis=0)]


def extra_memory(function: Callable[[], object]) -> int:
    """Give the bytes by which a call raises the resident memory at its peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


def resident(what: str) -> int:
    """Read one of the process's memory figures in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))
