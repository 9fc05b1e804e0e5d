"""The cores, memory and devices of this machine."""

import ctypes
import math
import os
import platform
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from cifar10_s.errors import UsageError, one_line

UNIT_BYTES = {
    "": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40,
}  # fmt: skip
# The memory of a machine that does not report it.
ASSUMED_MEMORY_BYTES = 8 << 30
# The memory limit of a container (Linux, cgroups version 2 and 1).
CONTAINER_LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

# What torch was built for, in its file of versions, such as ``cuda: Optional[str] = '12.8'``; and CUDA's driver.
BUILT_FOR = re.compile(r"^(cuda|hip)\b[^=\n]*= *(\S+)", re.MULTILINE)
CUDA_DRIVER = "libcuda.so.1"

# Bytes, or a string such as ``8GB``; None for half of the machine's or the container's memory.
Memory = str | int | None


def cores() -> int:
    """Return the number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the name of the processor, or its architecture if the system does not report the name."""
    info = Path("/proc/cpuinfo")
    found = re.search(
        r"^model name\s*: (.+)$",
        info.read_text(encoding="utf-8", errors="replace") if info.exists() else "",
        re.MULTILINE,
    )
    return found[1] if found else platform.processor() or platform.machine()


def resolve_device(device: str) -> str:
    """Resolve ``auto`` to ``cuda`` or ``cpu``, and check that the device is present.

    Raises
    ------
    UsageError
        If the device is unknown or absent.
    """
    if device == "cpu" or (device == "auto" and _cannot_have_cuda()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # each kind of absent device raises its own
        raise UsageError(
            f"device {device!r} is not available ({one_line(error)}): expected auto, cpu or a torch device present here"
        ) from None
    return device


def _cannot_have_cuda() -> bool:
    """Return whether `torch.cuda.is_available` would say no, as far as that is known without importing torch.

    It says no if torch was built without CUDA and ROCm, of which its file of versions tells, or if there is no driver,
    whose library the CUDA runtime loads by this name on Linux. Importing torch takes longer than many a search.
    """
    if "torch" in sys.modules:
        return False
    found = find_spec("torch")
    versions = Path(found.origin).with_name("version.py") if found and found.origin else None
    if versions is None or not versions.is_file():
        return False
    built_for = dict(BUILT_FOR.findall(versions.read_text(encoding="utf-8")))
    if built_for.keys() != {"cuda", "hip"} or built_for["hip"] != "None":
        return False
    return built_for["cuda"] == "None" or (sys.platform == "linux" and not _loads(CUDA_DRIVER))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def free_memory(device: str) -> int:
    """Return the free bytes of a CUDA device; other devices share the machine's memory, which counts as unlimited."""
    if not device.startswith("cuda"):
        return sys.maxsize
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0])


def memory_limit(memory: Memory = None) -> int:
    """Return the memory limit in bytes.

    Raises
    ------
    UsageError
        If ``memory`` is not a size.
    """
    if memory is not None:
        return parse_size(memory, "memory")
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ())
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else ASSUMED_MEMORY_BYTES
    # Without a limit, version 2 reads "max", and version 1 a number larger than any memory.
    limits = [path.read_text().strip() for path in map(Path, CONTAINER_LIMIT_FILES) if path.is_file()]
    return min([machine, *(int(limit) for limit in limits if limit.isdecimal())]) // 2


def parse_size(size: str | int, name: str) -> int:
    """Return the bytes of a size such as ``500MB`` or ``1.5GiB``.

    Raises
    ------
    UsageError
        If it is not a size; the message names the option ``name``.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?I?)B?", str(size).strip().upper(), re.ASCII)
    parsed = float(found[1]) * UNIT_BYTES[found[2]] if found and found[2] in UNIT_BYTES else 0
    if not 1 <= parsed < math.inf:
        raise UsageError(f"{name}: expected a size such as 500MB or 1GiB, got {size!r:.80}")
    return int(parsed)


def show_size(count: int) -> str:
    """Return a number of bytes with three digits and a unit, in powers of 1000.

    Examples
    --------
    >>> show_size(999), show_size(134_217_728), show_size(3_600_000_000)
    ('999 B', '134 MB', '3.6 GB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = next((power for power in range(len(units)) if count < 999.5 * 1000**power), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
