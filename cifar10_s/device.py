"""Device: where the numbers are crunched, by the names that torch gives."""

import sys

from cifar10_s.errors import UsageError


def resolve_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` or ``cpu``, and refuse a device that is not there."""
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # each kind of absent device raises its own
        reason = " ".join(str(error).split())[:100]
        raise UsageError(
            f"device {device!r} is not to be had ({reason}): expected auto, cpu or a torch device present here"
        ) from None
    return device


def free_memory(device: str) -> int:
    """Give the bytes that are free on a CUDA device; those of others are the machine's own, and count as endless."""
    if not device.startswith("cuda"):
        return sys.maxsize
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0])
