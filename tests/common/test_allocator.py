"""What is freed stays in the process: faults of pages are counted, which a busy machine does not change."""

import subprocess
import sys

import pytest

from cifar10_s.common import allocator

IS_GLIBC = sys.platform.startswith("linux") and allocator.keep_freed_memory()
# As in training: several arrays are made and freed in turn, each page written once. They are of 40 MB, since glibc
# itself keeps those of up to 32 MB once it has seen a few. How many turns it takes until every array has its place is
# chance.
FAULTS = """
import resource
import torch

def turn():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(10_000_000) for _ in range(3)]
    del kept
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{first}
print(min(turn() for _ in range(12)))
"""


def faults(first):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not IS_GLIBC, reason="needs glibc")
def test_a_cpus_runtime_keeps_freed_memory():
    assert faults("") > 1_000
    assert faults("from cifar10_s.nn.runtime import Runtime; Runtime.on('cpu')") < 100


def test_elsewhere_nothing_happens(monkeypatch):
    keep = allocator.keep_freed_memory.__wrapped__
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # another C library
    assert not keep()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not keep()
