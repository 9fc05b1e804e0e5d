"""Untrusted JSON becomes a dataclass, or one line: the field, what was expected, what came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import pytest
from msgspec import Meta

from cifar10_s.common.typed_json import convert, dump, read

Name = Annotated[str, Meta(pattern=r"(?a)\A\w+\Z")]


@dataclass(frozen=True)
class Part:
    size: Annotated[int, Meta(ge=0)]
    of: Mapping[Name, int]


@dataclass(frozen=True)
class Whole:
    title: str
    parts: Mapping[Name, Part]
    more: tuple[Part, ...]
    share: float | None


def good():
    return {
        "title": "x",
        "parts": {"a": {"size": 1, "of": {"p": 1}}, "b": {"size": 2, "of": {"p": 1, "q": 2}}},
        "more": [{"size": 1, "of": {"p": 1}}],
        "share": 0.5,
    }


def test_other_fields_are_left_out():
    data = good()
    data["new"] = data["parts"]["a"]["new"] = [1]
    expected = Part(1, {"p": 1})
    assert convert(data, Whole) == Whole("x", {"a": expected, "b": Part(2, {"p": 1, "q": 2})}, (expected,), 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("title"), "title: is missing"),
        (lambda d: d.update(title=None), "title: expected str, got None"),
        (lambda d: d.update(share="1"), "share: expected float | null, got '1'"),
        (lambda d: d.update(share=True), "share: expected float | null, got True"),
        (lambda d: d.update(share=10**400), "share: number out of range, got 1"),
        (lambda d: d.update(parts=[]), "parts: expected object, got []"),
        (lambda d: d["parts"].update(a=3), "parts.a: expected object, got 3"),
        (lambda d: d["parts"]["b"].pop("of"), "parts.b.of: is missing"),
        (lambda d: d["parts"]["b"].update(size=True), "parts.b.size: expected int, got True"),
        (lambda d: d["parts"]["b"].update(size=1.0), "parts.b.size: expected int, got 1.0"),
        (lambda d: d["parts"]["b"].update(size=-1), "parts.b.size: expected int >= 0, got -1"),
        (lambda d: d["parts"]["b"]["of"].update(q="x"), "parts.b.of.q: expected int, got 'x'"),
        (lambda d: d["parts"]["b"]["of"].update({"../x": 1}), "parts.b.of.../x: expected names matching regex"),
        (lambda d: d["parts"].update({"é": {}}), "parts.é: expected names matching regex"),
        (lambda d: d["parts"].update({"a\n": {}}), "parts.a\n: expected names matching regex"),
        (lambda d: d["more"].append({"size": 1}), "more.1.of: is missing"),
        (lambda d: d["more"].append({"size": 1, "of": {"p": 1, "q": []}}), "more.1.of.q: expected int, got []"),
    ],
    ids=range(17),
)
@pytest.mark.parametrize("later", [{}, {"share": []}], ids=["alone", "another later"])
def test_the_first_misfit_is_named(change, message, later):
    """Whatever else is wrong after it; missing fields are reported last."""
    data = good()
    change(data)
    if message.startswith(("share", "title: is missing")):
        later = {}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is looked at below)
        convert(data | later, Whole)
    assert str(caught.value).startswith(message)


def test_the_same_misfit_of_two_names_is_the_first_s():
    data = good()
    for part in data["parts"].values():
        part["of"]["p"] = None
    with pytest.raises(ValueError, match=r"^parts\.a\.of\.p: expected int, got None$"):
        convert(data, Whole)


@pytest.mark.parametrize("data", [None, [], 3, "x"])
def test_what_is_no_object(data):
    with pytest.raises(ValueError, match=r"^the whole: expected object, got "):
        convert(data, Whole)
    with pytest.raises(ValueError, match=r"^recipe\.method: expected object, got "):
        convert(data, Whole, "recipe.method")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, "{}".encode("utf-16"), b"null", b'{"title": 1}'])
def test_what_is_no_such_json_gets_a_line(text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (any: it must be a line)
        read(text, Whole)
    assert "\n" not in str(caught.value)


def test_a_message_stays_short():
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (its length is looked at)
        convert({"title": ["x" * 10**6] * 100, "n" * 10**6: 1}, Whole)
    assert len(str(caught.value)) < 500


def test_what_is_dumped_is_read():
    assert read(dump(good()).encode(), Whole) == convert(good(), Whole)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"share": float("nan")})
