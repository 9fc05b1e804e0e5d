"""What is freed stays in the process: faults of pages are counted, which a busy machine does not change."""

import subprocess
import sys

import pytest

from cifar10_s.common import allocator

IS_GLIBC = sys.platform.startswith("linux") and allocator.keep_freed_memory()
# As in training: several arrays of 20 MB are made and freed in turn, 100 MB a turn, each page written once.
FAULTS = """
import resource
import torch

def turns(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        kept = [torch.ones(5_000_000) for _ in range(5)]
        del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{first}
turns(2)
print(turns(4))
"""


def faults(first):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not IS_GLIBC, reason="needs glibc")
def test_a_cpus_runtime_keeps_freed_memory():
    assert faults("") > 1_000
    # Where the system puts the heap is random, and now and then something is in its way.
    assert min(faults("from cifar10_s.nn.runtime import Runtime; Runtime.on('cpu')") for _ in range(3)) < 100


def test_elsewhere_nothing_happens(monkeypatch):
    keep = allocator.keep_freed_memory.__wrapped__
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # another C library
    assert not keep()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not keep()
