"""How probable it is that a class has a property this often by chance."""

import math

_LN10 = math.log(10)


def log10_tail(total: int, marked: int, drawn: int, hits: int) -> float:
    """Return log10 P(X ≥ hits), X hypergeometric: of ``total`` images ``marked`` have a property, ``drawn`` are chosen.

    This is the p-value of Fisher's exact test, one-sided: the probability that at least ``hits`` of the images of a
    class have the property if labels are given to the images at random. The sum is exact up to rounding. It is a
    logarithm, since the probability itself is often below the smallest float.

    Examples
    --------
    >>> from cifar10_s.detection.significance import log10_tail
    >>> round(10 ** log10_tail(4, 2, 2, 2), 6)
    0.166667
    """
    highest = min(marked, drawn)
    if hits <= max(0, drawn + marked - total):
        return 0.0
    if hits > highest:
        return -math.inf
    terms = [_ln_choose(marked, x) + _ln_choose(total - marked, drawn - x) for x in range(hits, highest + 1)]
    largest = max(terms)
    ln = largest + math.log(math.fsum(math.exp(term - largest) for term in terms)) - _ln_choose(total, drawn)
    return min(0.0, ln / _LN10)


def corrected(log10_p: float, tests: int) -> float:
    """Return log10 of a p-value after Bonferroni's correction for a number of tests; at most 0."""
    return min(0.0, log10_p + math.log10(tests))


def _ln_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def show_p(log10_p: float) -> str:
    """Return a p-value as text, such as ``2e-4515``; 1 if it is rounded to that."""
    if log10_p == -math.inf:
        return "0"
    exponent = math.floor(log10_p)
    mantissa = round(10 ** (log10_p - exponent))
    if mantissa == 10:
        mantissa, exponent = 1, exponent + 1
    return str(mantissa) if exponent >= 0 else f"{mantissa}e{exponent}"
