"""Memory: sizes as people write them, and how much of it to use."""

import math
import os
import re
from pathlib import Path

from cifar10_s.errors import UsageError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# Where the system does not tell what it has.
ASSUMED = 8 << 30
# Where a container's limit stands (Linux, cgroups version 2 and 1).
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# Bytes, or a text such as ``8GB``; None for half of the machine's, or of the container's.
Memory = str | int | None


def memory_limit(memory: Memory = None) -> int:
    """Give the bytes of memory to use at most.

    Raises
    ------
    UsageError
        Where the text says no size.
    """
    if memory is not None:
        return parse_size(memory, "memory")
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ())
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else ASSUMED
    # Without a limit, version 2 says "max", and version 1 a number that no machine has.
    limits = [path.read_text().strip() for path in map(Path, LIMITS) if path.is_file()]
    return min([machine, *(int(limit) for limit in limits if limit.isdecimal())]) // 2


def parse_size(size: str | int, what: str) -> int:
    """Give the bytes that a text such as ``500MB`` or ``1.5GiB`` says.

    Raises
    ------
    UsageError
        Where it says none; ``what`` is the size of what.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?I?)B?", str(size).strip().upper(), re.ASCII)
    parsed = float(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else 0
    if not 1 <= parsed < math.inf:
        raise UsageError(f"{what}: expected a size such as 500MB or 1GiB, got {size!r:.80}")
    return int(parsed)


def show_size(count: int) -> str:
    """Say a size for a reader."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
