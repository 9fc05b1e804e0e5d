"""Progress bars on a terminal and in a notebook; nothing in a pipe or a log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_step: ContextVar[str] = ContextVar("step", default="")


@contextmanager
def step(number: int, total: int, name: str) -> Iterator[None]:
    """Let the bars that begin inside show which step of a longer task they belong to, such as ``2/4 ops: encode``."""
    before = _step.set(f"{number}/{total} {name}: ")
    try:
        yield
    finally:
        _step.reset(before)


def progress_bar(description: str, total: int, unit: str = "image", *, hidden: bool = False) -> "tqdm[Any]":
    """Return a progress bar, shown on a terminal or in a notebook unless it is ``hidden``.

    Parameters
    ----------
    description
        What is done; the `step` stands before it.
    total
        Number of units.
    unit
        Name of a unit.
    hidden
        Whether the bar is not shown.
    """
    from tqdm.auto import tqdm

    # tqdm takes a notebook for a pipe: None would hide the bar there.
    shown = {} if _in_notebook() else {"disable": None}
    when = {"disable": True} if hidden else shown
    return tqdm(desc=_step.get() + description, total=total, unit=unit, unit_scale=True, leave=False, **when)


def _in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config
