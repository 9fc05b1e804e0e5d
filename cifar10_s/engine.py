"""Engine: how a network meets images on a device. Levels go in; logits, losses and gradients come out."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

# Images of 32×32 at a time where no gradient of the weights is taken; of larger ones, as many as take that memory.
CUDA_CHUNK, CPU_CHUNK = 1000, 125
# Threads by which noise is made on a CPU, whatever it has: another number gives other bits.
CPU_THREADS = 2


@dataclass(frozen=True)
class Engine:
    """A device and the precision that networks run in there.

    Images are (B, H, W, C) levels 0-255 throughout: as (B, C, H, W) they are in channels-last order, which the
    convolutions of both kinds of device prefer.

    Attributes
    ----------
    device
        A torch device.
    bfloat16
        Whether networks run in bfloat16 (automatic mixed precision): where the device multiplies it natively.
    """

    device: torch.device
    bfloat16: bool

    @classmethod
    def on(cls, device: str) -> "Engine":
        """Choose the precision for a device."""
        kind = torch.device(device)
        return cls(
            kind, torch.cuda.is_bf16_supported(including_emulation=False) if kind.type == "cuda" else _cpu_bfloat16()
        )

    def chunk(self, images: Tensor) -> int:
        """Give how many of (N, H, W, C) images to take at a time where no gradient of the weights is taken."""
        most = CUDA_CHUNK if self.device.type == "cuda" else CPU_CHUNK
        return max(1, min(most, most * 32 * 32 // (images.shape[1] * images.shape[2])))

    @contextmanager
    def deterministic(self) -> Iterator[None]:
        """Have every operation give the same bits each time, inside; on the CPU they do anyway."""
        if self.device.type == "cpu":
            yield
            return
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        # Without it, cuBLAS may sum in another order each time; it is read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])

    @contextmanager
    def same_threads(self) -> Iterator[None]:
        """Have the CPU cut sums into as many parts on every machine, inside: a network's training depends on it."""
        if self.device.type != "cpu":
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(CPU_THREADS)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def place(self, net: Network) -> Network:
        """Move a network to the device, its filters in the order that fits."""
        return net.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def logits(self, net: nn.Module, levels: Tensor) -> Tensor:
        """Run a network on (B, H, W, C) levels, scaled to about -2…2; gives (B, K) float32."""
        inputs = ((levels.float() / 255 - 0.5) / 0.25).permute(0, 3, 1, 2)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits: Tensor = net(inputs)
        return logits.float()

    def input_gradient(
        self, net: nn.Module, levels: Tensor, labels: Tensor, view: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Give the gradient of the summed cross-entropy at the images, (B, H, W, C), seen through a ``view`` if any."""
        levels = levels.detach().float().requires_grad_()
        seen = levels if view is None else view(levels)
        loss = nn.functional.cross_entropy(self.logits(net, seen), labels, reduction="sum")
        return torch.autograd.grad(loss, levels)[0]


def _cpu_bfloat16() -> bool:
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
