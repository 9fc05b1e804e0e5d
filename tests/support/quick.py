"""Which tests do quick work: the others have the marker ``work``, and `make test-quick` leaves them out."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from types import CodeType, FunctionType
from typing import Any

# What builds a release or reads all of CIFAR-10, trains a network, or starts a process, a browser or a Hub.
FIXTURES = {"hub", "jpeg_copy", "release", "short_archive", "tiny"}
NAMES = {
    "DVae", "Popen", "Run", "apply", "bench", "browse", "build", "load_dataset", "noise", "outcome", "perturb", "push",
    "ray", "renew", "subprocess", "train_run", "violations", "write_site",
}  # fmt: skip


def works(item: Any) -> bool:
    """Return whether a test uses one of `FIXTURES`, or if it, its fixtures or the tests' helpers use one of `NAMES`."""
    definitions = item._fixtureinfo.name2fixturedefs
    own = [one.func for name in item.fixturenames for one in definitions.get(name, ()) if not name.startswith("_")]
    return not FIXTURES.isdisjoint(item.fixturenames) or any(map(_works, [item.function, *own]))


@cache
def _works(function: Callable[..., Any]) -> bool:
    return not NAMES.isdisjoint(_names(function, set()))


def _names(function: Callable[..., Any], seen: set[CodeType]) -> Iterator[str]:
    """Yield the names that a function uses, and those that the functions of the tests that it calls use."""
    function = getattr(function, "__wrapped__", function.func if isinstance(function, partial) else function)
    if not isinstance(function, FunctionType) or "tests" not in function.__code__.co_filename.split("/"):
        return
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if code not in seen:
            seen.add(code)
            yield from code.co_names
            codes += [part for part in code.co_consts if isinstance(part, CodeType)]
            for name in code.co_names:
                yield from _names(function.__globals__.get(name), seen)
