"""Keep freed memory in the process: training frees and takes the same hundreds of megabytes in every step."""

import ctypes
import sys
from functools import cache

# Parameters of glibc's `mallopt` (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
# As the threshold: the heap's end is never given back, however much of it is free.
NEVER = -1


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next allocation, and return whether it does; once per process.

    By default glibc takes large arrays from the system and gives them back when they are freed, and the system clears
    each page again at its first use. That takes 13 to 25 % of a training step on a CPU. From here on the process keeps
    the memory of its peak until it ends. No result changes. Where the C library is another one, nothing happens.

    Examples
    --------
    >>> from cifar10_s.common.allocator import keep_freed_memory
    >>> keep_freed_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    # musl has no mallopt, or one that does nothing.
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return all([library.mallopt(M_MMAP_MAX, 0), library.mallopt(M_TRIM_THRESHOLD, NEVER)])
