"""p-values against fractions of integers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import audit_oracle as oracle

from cifar10_s.detection.significance import corrected, log10_tail, show_p


@settings(max_examples=300, deadline=None)
@given(data=st.data(), total=st.integers(1, 300))
def test_the_tail_is_that_of_the_integers(data, total):
    marked, drawn = (data.draw(st.integers(0, total)) for _ in "ab")
    hits = data.draw(st.integers(0, drawn))
    exact = oracle.tail(total, marked, drawn, hits)
    got = log10_tail(total, marked, drawn, hits)
    if exact == 0:
        assert got == -math.inf
    else:
        assert got == pytest.approx(math.log10(exact.numerator) - math.log10(exact.denominator), abs=1e-9)


def test_a_tail_below_the_smallest_float():
    total, drawn = 50_000, 5_000
    exact = oracle.tail(total, drawn, drawn, drawn)
    assert log10_tail(total, drawn, drawn, drawn) == pytest.approx(-math.log10(exact.denominator), abs=1e-6)
    assert log10_tail(total, drawn, drawn, drawn) < -7_000


def test_a_correction_is_at_most_one():
    assert corrected(-3, 100) == pytest.approx(-1)
    assert corrected(-3, 10**6) == 0


@pytest.mark.parametrize(
    ("log10_p", "text"), [(0, "1"), (-math.inf, "0"), (-7048.1, "8e-7049"), (math.log10(0.0996), "1e-1"), (-2, "1e-2")]
)
def test_a_p_value_as_text(log10_p, text):
    assert show_p(log10_p) == text
