"""Map functions over items in threads; decoding, encoding and summing release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cifar10_s.common.machine import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks(total: int, size: int) -> list[slice]:
    """Cut ``range(total)`` into consecutive slices of at most ``size``."""
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], *, few: bool = False) -> Iterator[Result]:
    """Apply a function on all cores, and yield the results in order; only a few are computed ahead.

    If the items take less time than starting threads (``few``), apply it here, one after another.
    """
    if few:
        yield from map(function, items)
        return
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
