"""Read untrusted JSON as dataclasses; what does not fit is one line that names the field."""

import json
import re
import reprlib
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def read(text: bytes, kind: type[T]) -> T:
    """Read JSON in UTF-8 as a dataclass; errors as for `convert`, and ValueError if it is not JSON."""
    try:
        data = json.loads(text.decode())
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return convert(data, kind)


def convert(data: object, kind: type[T], place: str = "") -> T:
    """Convert decoded JSON to a dataclass; fields that the dataclass does not have are ignored.

    Parameters
    ----------
    data
        Dictionaries, lists, strings, numbers.
    kind
        The dataclass.
    place
        The name of the data in messages.

    Raises
    ------
    ValueError
        If a field is missing or of another type; one line: the field, expected, got.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        message = str(error)
    raise ValueError(_explain(data, kind, message, place))


def dump(data: object) -> str:
    """Return data as the JSON of a release's files: indented, not escaped to ASCII, with a line break at the end."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _explain(data: Any, kind: Any, message: str, place: str) -> str:
    """Return ``field: expected …, got …`` for a message of msgspec."""
    reason, _, path = message.partition(" - at `")
    steps, value = _locate(data, kind, message)
    missing = re.fullmatch("Object missing required field `(.*)`", reason)
    field = ".".join(filter(None, [place, *steps, missing[1] if missing else None])) or "the whole"
    if missing:
        return f"{field}: is missing"
    expected = reason.partition(", got")[0].replace("`", "")
    if path.startswith("key"):
        expected, value = expected.replace("str", "names", 1), steps[-1]
    return f"{field}: {expected[:1].lower()}{expected[1:]}, got {reprlib.repr(value)}"


def _locate(data: Any, kind: Any, message: str) -> tuple[list[str], Any]:
    """Return the path to the value that a message is about, and the value.

    msgspec does not say which key of a mapping it means: it is the one that alone causes the same message.
    """
    path: list[Any] = []
    here = data
    place = message.partition(" - at `")[2]
    for name, number in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place + ("[...]" if place.startswith("key") else "")):
        step: Any = name or number
        if number == "...":
            step = next(one for one in here if _refusal(_with_only(data, path, one), kind) == message)
            data = _with_only(data, path, step)
        elif number:
            step = int(number)
        path.append(step)
        here = here[step]
    return [str(step)[:80] for step in path], here


def _with_only(data: Any, path: list[Any], name: str) -> Any:
    """Copy data with a single key in the mapping at a path."""
    if not path:
        return {name: data[name]}
    copy = data.copy()
    copy[path[0]] = _with_only(data[path[0]], path[1:], name)
    return copy


def _refusal(data: Any, kind: Any) -> str | None:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return None
