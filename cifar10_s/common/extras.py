"""Optional dependencies: imported when they are needed; if one is missing, the error names the extra to install."""

from importlib import import_module
from typing import Any

from cifar10_s.errors import UsageError


def require(module: str, *, extra: str, what: str) -> Any:
    """Import a module that an extra of this package installs, and return it.

    Parameters
    ----------
    module
        Its full name, such as ``kornia.enhance``.
    extra
        The extra that installs it.
    what
        What it is needed for, such as ``plots``.

    Raises
    ------
    UsageError
        If it does not import.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"{package} is needed for {what}, and does not import ({error}): pip install 'cifar10-s[{extra}]'"
        ) from None
