"""Run networks on a device in the precision that suits it: levels go in, logits and gradients come out."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10_s.common.allocator import keep_freed_memory

Network = TypeVar("Network", bound=nn.Module)

# `Runtime.max_chunk` on a GPU.
CUDA_CHUNK_IMAGES = 1000


@dataclass(frozen=True)
class Runtime:
    """A device, and the precision of networks on it.

    Images are (B, H, W, C) levels 0-255 throughout: permuted to (B, C, H, W), they are in channels-last memory format,
    in which convolutions are fastest on both kinds of device.

    Attributes
    ----------
    device
        A torch device.
    bfloat16
        Whether networks run in bfloat16 (automatic mixed precision); true if the device multiplies it natively.
    max_chunk
        The number of 32×32 images that are processed at a time if no gradient of the weights is needed; of larger
        images, as many as take the same memory.
    threads
        The number of CPU threads that compute noise, whatever the number of cores: other numbers give other
        last bits.
    """

    device: torch.device
    bfloat16: bool
    max_chunk: int = 125
    threads: int = 2

    @classmethod
    def on(cls, device: str) -> "Runtime":
        """Choose the precision and the size of chunks for a device.

        On a CPU the process keeps the memory that it frees from here on, in a worker of a cluster too: see
        `allocator.keep_freed_memory`.
        """
        kind = torch.device(device)
        if kind.type == "cuda":
            return cls(kind, torch.cuda.is_bf16_supported(including_emulation=False), max_chunk=CUDA_CHUNK_IMAGES)
        keep_freed_memory()
        return cls(kind, _cpu_bfloat16())

    def chunk(self, images: Tensor) -> int:
        """Return the number of (N, H, W, C) images to process at a time if no gradient of the weights is needed."""
        return max(1, min(self.max_chunk, self.max_chunk * 32 * 32 // (images.shape[1] * images.shape[2])))

    @contextmanager
    def deterministic(self) -> Iterator[None]:
        """Use deterministic algorithms within the context; those of a CPU are deterministic anyway."""
        if self.device.type == "cpu":
            yield
            return
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        # Otherwise cuBLAS may sum in another order each time; CUDA reads the variable when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])

    @contextmanager
    def fixed_threads(self) -> Iterator[None]:
        """Use `threads` CPU threads within the context: how sums are split among threads decides their last bits."""
        if self.device.type != "cpu":
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def place(self, net: Network) -> Network:
        """Move a network to the device, with channels-last filters."""
        return net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def put(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return images and their labels as tensors on the device; on a CPU, contiguous arrays share their memory."""
        levels = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        return levels, torch.from_numpy(labels).to(self.device)

    def autocast(self) -> torch.autocast:
        """Run networks in the device's precision within the context."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def logits(self, net: nn.Module, levels: Tensor) -> Tensor:
        """Run a network on (B, H, W, C) levels, scaled to about -2…2, and return (B, K) float32 logits."""
        inputs = ((levels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
        with self.autocast():
            logits: Tensor = net(inputs)
        return logits.float()

    def input_gradient(
        self, net: nn.Module, levels: Tensor, labels: Tensor, view: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return the gradient of the summed cross-entropy with respect to the images, (B, H, W, C).

        ``view`` transforms the images before the network sees them.
        """
        levels = levels.detach().float().requires_grad_()
        seen = levels if view is None else view(levels)
        loss = nn.functional.cross_entropy(self.logits(net, seen), labels, reduction="sum")
        return torch.autograd.grad(loss, levels)[0]


def _cpu_bfloat16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
