"""Form: what JSON that somebody else wrote must look like before it is used."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Leaf:
    """A single value: what it is called in a message, and whether a value is one."""

    name: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Each:
    """Fields with names of the file's own choice, or the values of a list, each of one form.

    Attributes
    ----------
    of
        The form of each value.
    names
        What the names of fields must match; None for a list.
    """

    of: "Form"
    names: re.Pattern[str] | None = None


# A dictionary has the fields that must be there; others may be beside them.
Form = dict[str, Any] | Each | Leaf

# What the Hub takes as the name of a dataset, without its namespace; in ASCII.
DATASET_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
# What can be a branch there: plain parts, and nothing that git or the Hub takes for something else.
BRANCH_NAME = (
    r"(?!refs/|HEAD\Z|v\d+\.\d+\.\d+\Z|[0-9a-fA-F]{40}\Z|.*\.\.|.*\.lock(?:/|\Z))"
    r"\w[\w.-]*(?:/\w[\w.-]*)*(?<!\.)"
)
# In Python, true is a number; in JSON it is none.
TEXT = Leaf("text", lambda value: isinstance(value, str))
WHOLE = Leaf("a whole number", lambda value: type(value) is int)
NUMBER = Leaf("a number", lambda value: type(value) in (int, float))
SHA256 = Leaf("a SHA-256", lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)))
TEXTS, NUMBERS = Each(TEXT), Each(NUMBER)
ANY_NAME = re.compile(".*", re.DOTALL)
# One that is part of a file's name: it leads nowhere else.
PLAIN_NAME = re.compile(r"\w[\w-]*", re.ASCII)


def misfit(value: object, form: Form, where: str = "") -> str | None:
    """Say where a value is not of a form, what was expected and what came; None where it fits."""
    if isinstance(form, Leaf):
        return None if form.fits(value) else _wrong(where, form.name, value)
    if isinstance(form, Each) and form.names is None:
        if not isinstance(value, list):
            return _wrong(where, "a list", value)
        return _first(misfit(one, form.of, f"{where}[{number}]") for number, one in enumerate(value))
    if not isinstance(value, dict):
        return _wrong(where, "fields", value)
    if isinstance(form, Each):
        return _first(
            misfit(one, form.of, _join(where, name))
            if form.names is None or form.names.fullmatch(name)
            else _wrong(where, f"names that match {form.names.pattern}", name)
            for name, one in value.items()
        )
    return _first(
        misfit(value[name], of, _join(where, name)) if name in value else f"{_join(where, name)}: is missing"
        for name, of in form.items()
    )


def _first(found: Any) -> str | None:
    return next((what for what in found if what is not None), None)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}".removeprefix(".")


def _wrong(where: str, expected: str, got: object) -> str:
    return f"{where or 'the whole'}: expected {expected}, got {got!r:.80}"
