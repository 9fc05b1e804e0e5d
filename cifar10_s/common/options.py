"""The seed, device and memory that a caller chooses once, resolved."""

from dataclasses import dataclass
from typing import Self

from cifar10_s.common.machine import Memory, memory_limit, resolve_device
from cifar10_s.common.rng import check_seed


@dataclass(frozen=True)
class Options:
    """A seed, a device and a memory limit; `resolve` makes them from what a caller chooses.

    Attributes
    ----------
    seed
        An integer from 0, for methods and controls; the search uses no randomness.
    device
        ``cpu``, or a torch device that is present.
    memory
        The memory limit in bytes.
    """

    seed: int
    device: str
    memory: int

    @classmethod
    def resolve(cls, *, seed: int = 0, device: str = "auto", memory: Memory = None) -> Self:
        """Resolve what the caller of a public function chooses; each such function does this once.

        Parameters
        ----------
        seed
            An integer from 0.
        device
            ``cpu``, a torch device such as ``cuda`` or ``cuda:1``, or ``auto``: CUDA if available, otherwise the CPU.
        memory
            Bytes, or a string such as ``8GB``; by default half of the machine's or the container's memory.

        Raises
        ------
        UsageError
            If the seed is negative, the device is unknown or absent, or the memory is not a size.
        """
        check_seed(seed)
        return cls(seed, resolve_device(device), memory_limit(memory))
