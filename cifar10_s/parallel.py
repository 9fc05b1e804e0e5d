"""The machine's cores, and threads over work that releases the interpreter's lock: decoding, encoding, summing."""

import os
import platform
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Give the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Give the processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = re.search(r"^model name\s*: (.+)$", info.read_text() if info.exists() else "", re.MULTILINE)
    return names[1] if names else platform.processor() or platform.machine()


def chunks(total: int, size: int) -> list[slice]:
    """Cut ``range(total)`` into consecutive slices of at most ``size``."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def thread_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function on all cores; results come in order, at most a few ahead of their reader."""
    executor = ThreadPoolExecutor(cores())
    ahead: deque[Future[Result]] = deque()
    try:
        for item in items:
            ahead.append(executor.submit(function, item))
            if len(ahead) > 2 * cores():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def progress_bar(description: str, total: int, unit: str = "image", *, hidden: bool = False) -> "tqdm[Any]":
    """Open a progress bar on standard error: shown on a terminal, silent in a pipe or where it is hidden."""
    from tqdm import tqdm

    return tqdm(desc=description, total=total, unit=unit, unit_scale=True, disable=hidden or None, leave=False)
