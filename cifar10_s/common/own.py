"""Users' own methods, strategies, networks and protocols: found by path or entry point, without a change here."""

import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cifar10_s.common.checksums import hash_file
from cifar10_s.errors import UsageError, one_line

# What lists of valid names say of them.
OWN = "your own as package.module:name"
# The groups of entry points by which installed packages offer their own, by kind.
GROUPS = {
    "method": "cifar10_s.methods",
    "strategy": "cifar10_s.strategies",
    "network": "cifar10_s.networks",
    "protocol": "cifar10_s.protocols",
}


def is_own(name: str) -> bool:
    """Return whether a name is a path, ``package.module:name``."""
    module, _, attribute = name.partition(":")
    return bool(module and attribute)


def installed(what: str) -> dict[str, str]:
    """Return the paths of a kind (a key of `GROUPS`) that installed packages offer, by the names of entry points.

    Nothing is imported.
    """
    points = sorted(entry_points(group=GROUPS[what]), key=lambda point: (point.name, point.value))
    return {point.name: point.value.partition("[")[0].strip() for point in points}


def own_path(what: str, name: str) -> str | None:
    """Return the path that a name stands for: the name itself, or that of the entry point of this name, or None."""
    return name if is_own(name) else installed(what).get(name)


def own_names(what: str) -> list[str]:
    """Return what lists of valid names end with: the names of entry points, and the form of a path."""
    return [*installed(what), OWN]


def load_own(what: str, path: str) -> Any:
    """Import what a path names, from a module that is installed or in the current folder.

    Parameters
    ----------
    what
        The kind of thing, for error messages, such as ``strategy``.
    path
        A path, ``package.module:name``.

    Raises
    ------
    UsageError
        If the module does not import, or lacks the name.
    """
    module, _, attribute = path.partition(":")
    # The current folder is searched too, as with ``python -m``.
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    try:
        loaded = import_module(module)
    except (Exception, SystemExit) as error:  # a user's module can raise anything, and end as a script does
        raise UsageError(
            f"{what} {path!r}: {module} does not import ({one_line(error)}): expected a module that is "
            "installed or in the current folder"
        ) from error
    if not hasattr(loaded, attribute):
        raise UsageError(f"{what} {path!r}: {module} defines no {attribute!r}: check the name")
    return getattr(loaded, attribute)


def module_sha256(kind: type) -> str | None:
    """Return the SHA-256 of the file that defines a user's class; None for this package's, or without a file."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if file is None or kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return None
    try:
        return hash_file(Path(file))
    except OSError:  # such as a module in an archive
        return None
