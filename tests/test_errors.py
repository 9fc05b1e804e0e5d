"""Texts of errors: one line, printable, of a bounded length."""

import pytest

from cifar10_s.errors import one_line, printable, root_cause


def test_printable_text_is_one_line_without_control_characters():
    assert printable("a\n  b\x1b[2J\ud800c") == "a b?[2J?c"


@pytest.mark.parametrize(
    ("error", "limit", "expected"),
    [
        (OSError(28, "No space left\non device"), 300, "OSError: [Errno 28] No space left on device"),
        (KeyError("a\tb"), 300, r"KeyError: 'a\tb'"),
        (RuntimeError(), 300, "RuntimeError"),
        (ValueError("\x1b[2Jred"), 300, "ValueError: ?[2Jred"),
        (ValueError("x" * 1000), 20, "ValueError: " + "x" * 8),
    ],
)
def test_an_error_becomes_one_line(error, limit, expected):
    assert one_line(error, limit) == expected


def test_the_root_cause_is_the_first_error_of_the_chain():
    first, second, third = ValueError("1"), OSError("2"), RuntimeError("3")
    third.__cause__, second.__cause__ = second, first
    assert root_cause(third) is root_cause(first) is first
