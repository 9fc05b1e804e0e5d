"""Users' own methods: found by path, and checked before anything is built."""

import json
import re
from dataclasses import dataclass
from typing import Any

from cifar10_s.common.own import load_own, module_sha256
from cifar10_s.errors import UsageError, one_line, printable
from cifar10_s.methods.base import Bound, Method

# Names of folders, of YAML and of the Hub, and a text that a table of the card holds as it is; to be matched in ASCII.
NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
MAX_NAME = 40
SUMMARY = r"[\w .,:;()'“”×±ℓ∞-]{1,200}"
# Fields of the recipe's record that are not the method's own.
RESERVED = frozenset({"path", "module_sha256", "sha256"})


@dataclass(frozen=True)
class Origin:
    """Where a user's own method is from, as its recipe records it.

    Attributes
    ----------
    path
        ``package.module:name``.
    module_sha256
        SHA-256 of the file that defines its class; None if there is no such file.
    """

    path: str
    module_sha256: str | None


def load_method(path: str) -> tuple[Method, Origin]:
    """Import a user's own method: a class that is made without arguments, or an object of one.

    Parameters
    ----------
    path
        ``package.module:name``, in a module that is installed or in the current folder.

    Raises
    ------
    UsageError
        If it does not import, is no `Method`, or its name, summary or numbers cannot be recorded.
    """
    own = load_own("method", path)
    try:
        method = _made(own)
    except Exception as error:  # a user's class can raise anything
        raise UsageError(
            f"method {path!r}: raised {one_line(error)}: expected a class of methods that is made without arguments, "
            "or an object of one"
        ) from error
    if not isinstance(method, Method):
        got = f"the class {own.__name__}" if isinstance(own, type) else type(own).__name__
        raise UsageError(f"method {path!r}: expected a Method, or a class of methods, got {got}")
    reason = name_reason(method.name) or _summary_reason(method.summary) or _settings_reason(method)
    if reason is not None:
        raise UsageError(f"method {path!r}: {reason}")
    return method, Origin(path, module_sha256(type(method)))


def _made(own: Any) -> Any:
    is_class: bool = isinstance(own, type) and issubclass(own, Method)
    return own() if is_class else own


def name_reason(name: str) -> str | None:
    """Return why a method cannot have a name, or None if it can: its configurations are folders named after it."""
    plain = isinstance(name, str) and len(name) <= MAX_NAME and re.fullmatch(NAME, name, re.ASCII)
    if not plain or re.search(r"-ops($|-)", name) or name in ("all", "test", "train"):
        return (
            f"name: expected up to {MAX_NAME} lower-case letters and digits, with single '-' between them, no -ops, "
            f"and not all, test or train, got {printable(repr(name))}"
        )
    return None


def _summary_reason(summary: str) -> str | None:
    if isinstance(summary, str) and re.fullmatch(SUMMARY, summary):
        return None
    return (
        f"summary: expected one line of 1 to 200 letters, digits, spaces and .,:;()'-, got {printable(repr(summary))}"
    )


def _settings_reason(method: Method) -> str | None:
    """Return why the numbers of a method cannot be recorded, or None if they can."""
    try:
        settings = method.settings()
        if not isinstance(settings, dict):
            return f"its fields: settings() returned {type(settings).__name__}: expected a dict of numbers and texts"
        if json.loads(json.dumps(settings, allow_nan=False)) != settings:
            return "its fields: expected numbers, texts, lists and None, which JSON gives back as they are"
    except Exception as error:  # a user's method can raise anything
        return f"its fields: expected numbers, texts, lists and None, got what JSON cannot hold ({one_line(error)})"
    taken = sorted(RESERVED & settings.keys())
    return f"its fields: {taken[0]!r} is a name that the record uses for something else" if taken else None


def declared_bound(method: Method, path: str, shape: tuple[int, ...]) -> Bound:
    """Return the bound that a user's own method declares for images of (H, W, C).

    Raises
    ------
    UsageError
        If it declares none.
    """
    try:
        bound = method.bound(shape)
    except Exception as error:  # a user's method can raise anything
        raise UsageError(f"method {path!r}: bound: raised {one_line(error)}") from error
    if not (isinstance(bound, Bound) and isinstance(bound.linf, int) and 0 <= bound.linf <= 255 and bound.l2 >= 0):
        raise UsageError(f"method {path!r}: bound: expected a Bound of linf 0-255 and l2 from 0, got {bound!r:.100}")
    return bound
