"""The table of measures, and finding a measure by name."""

import re

from cifar10_s.benchmark.measures.auto_attack import NORMS, AutoAttack
from cifar10_s.benchmark.measures.base import Measure
from cifar10_s.errors import unknown

__all__ = ["MEASURES", "Measure", "find_measure"]

MEASURES: dict[str, Measure] = {
    "autoattack": AutoAttack(name="autoattack", summary="robust accuracy under AutoAttack within ℓ∞ 8/255"),
}
_NUMBERED = "autoattack-N-E for any norm N of linf, l2, l1 and bound E in levels"
_PATTERN = rf"autoattack-({'|'.join(NORMS)})-([0-9]{{1,6}}(?:\.[0-9]{{1,6}})?)"
_LIMITED = r"(.+)-on-([1-9][0-9]{0,8})"


def find_measure(name: str) -> Measure:
    """Look up a measure: a name of `MEASURES`, or one that says its numbers.

    Raises
    ------
    UsageError
        If there is no such measure.

    Examples
    --------
    >>> find_measure("autoattack-l2-127.5-on-1000").summary
    'robust accuracy under AutoAttack within ℓ2 127.5/255'
    """
    if limited := re.fullmatch(_LIMITED, name, re.ASCII):
        return find_measure(limited[1]).limited(int(limited[2]))
    if name in MEASURES:
        return MEASURES[name]
    found = re.fullmatch(_PATTERN, name, re.ASCII)
    if found is None or not float(found[2]):
        raise unknown("measure", name, [*MEASURES, _NUMBERED])
    norm, epsilon = found.groups()
    sign = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}[norm]
    summary = f"robust accuracy under AutoAttack within {sign} {epsilon}/255"
    return AutoAttack(name=name, summary=summary, norm=norm, epsilon=float(epsilon))
