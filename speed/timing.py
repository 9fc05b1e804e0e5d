"""Timing: rows of the table, and how times and memory are taken."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 7
# Prints how much memory the process has taken at most.
PEAK = """
lines = open("/proc/self/status").read().splitlines()
print(1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
"""


def row(what: str, value: float, unit: str, must: str | None = None, limit: float | None = None) -> dict[str, Any]:
    """Make one line of the table; the ``limit`` is what the machine can do at best, in the same unit."""
    line = {"what": what, "value": value, "unit": unit, **({"must": must} if must else {})}
    if limit is None:
        return line
    return {**line, "limit": limit, "share": value / limit if unit.endswith("/s") else limit / value}


def percent(share: float) -> str:
    """Return a share in per cent, whole from 10 % on."""
    return f"{100 * share:.{'0f' if share >= 0.1 else '2g'}} %"


def within(what: str, seconds: float, limit: float, times: float) -> dict[str, Any]:
    """Make a line of what must take at most so many times its limit, both in seconds; the picture marks how many."""
    return {**row(what, seconds, "s", f"{times:g} x at best, or less", limit), "times": times}


def command(*arguments: str | Path, fine: Sequence[int] = (0,)) -> None:
    """Run ``cifar10-s`` in a process of its own, as a user does; its status must be one of ``fine``."""
    python("-m", "cifar10_s", *arguments, fine=fine)


def python(*arguments: str | Path, fine: Sequence[int] = (0,)) -> str:
    """Run Python in a process of its own, and return what it prints; modules stay compiled, as installed ones are."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    line = [sys.executable, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)  # noqa: S603 (our own commands)
    if done.returncode not in fine:
        raise SystemExit(f"{' '.join(map(str, arguments))}: status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def peak(code: str, *arguments: str | Path) -> int:
    """Run code in a Python of its own, and return its resident memory at the peak in bytes (Linux)."""
    return int(python("-c", code + PEAK, *arguments))


def time_of_commands() -> float:
    """Return the processor time of all commands so far in seconds: a busy machine hardly changes it."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def once(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time one call in seconds."""
    start = clock()
    function()
    return clock() - start


def median(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of some calls in seconds, after one that is not counted."""
    function()
    return float(np.median([once(function) for _ in range(repeats)]))


def least(
    functions: Sequence[Callable[[], object]],
    repeats: int = REPEATS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the least times of some functions, which take turns: what others take of the machine only adds to them."""
    for function in functions:
        function()
    turns = [[once(function, clock) for function in functions] for _ in range(repeats)]
    return [float(seconds) for seconds in np.min(turns, axis=0)]


def extra_memory(function: Callable[[], object]) -> int:
    """Return the bytes by which a call raises the resident memory at its peak (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


def resident(what: str) -> int:
    """Read one of the process's memory figures in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(what))
