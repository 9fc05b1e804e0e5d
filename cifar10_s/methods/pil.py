"""PIL: perturbation-induced linearisation (ICLR 2026)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from cifar10_s.methods.learned import Learned, Work
from cifar10_s.nn.pgd import project, uniform_noise


@dataclass(frozen=True, kw_only=True)
class InducedLinearization(Learned):
    """Noise that alone tells a linear classifier the class, and leaves it nothing else to see in the image.

    The classifier is trained on the clean images. The noise starts from U(-ε, ε) and descends
    share · CE(f(δ), y) + (1 - share) · KL(uniform ‖ f(x - δ)); the image becomes x - δ. Momentum and weight decay are
    those of the other methods.

    Attributes
    ----------
    epochs
        Epochs of training on the clean images, without augmentation.
    share
        Weight of the class in the noise alone; the rest is that of no class in the image without it.
    """

    name: str = "pil"
    summary: str = "perturbation-induced linearisation (PIL): noise that a linear classifier reads instead of the image"
    network: str = "linear"
    batch: int = 512
    learning_rate: float = 0.003
    steps: int = 30
    epochs: int = 30
    share: float = 0.9

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`: first a round is an epoch of training, then a block of images."""
        trainer = work.trainer()
        for epoch in range(work.done, self.epochs):
            error = work.train_epoch(trainer, epoch, self.learning_rate, lambda index, *_: work.pixels[index])
            yield f"training error on clean images {error:.1%}"
        blocks = work.blocks()
        for number in range(max(work.done - self.epochs, 0), blocks):
            for part in work.block(number):
                work.noise[part] = self._perturb(work, trainer.frozen(), part).half()
            if number + 1 < blocks:
                yield f"{(number + 1) / blocks:.0%} of the images"

    def _perturb(self, work: Work, net: nn.Module, part: slice) -> Tensor:
        """Return what is added to a part of the images: -δ, within 0-255."""
        pixels, labels = work.pixels[part].float(), work.labels[part]
        delta = uniform_noise(pixels, self.epsilon, work.random("start", str(part.start)))
        for _ in range(self.steps):
            slope = self._gradient(work, net, pixels, delta, labels)
            delta = (delta - self.step * slope.sign()).clamp(-self.epsilon, self.epsilon)
            work.count(2 * len(pixels))
        return project(-delta, pixels, self.epsilon)

    def _gradient(self, work: Work, net: nn.Module, pixels: Tensor, delta: Tensor, labels: Tensor) -> Tensor:
        delta = delta.detach().requires_grad_()
        alone = nn.functional.cross_entropy(work.runtime.logits(net, delta), labels, reduction="sum")
        # The divergence from the uniform distribution is this but for a constant.
        without = -work.runtime.logits(net, pixels - delta).log_softmax(1).mean(1).sum()
        return torch.autograd.grad(self.share * alone + (1 - self.share) * without, delta)[0]

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        return count * (self.epochs + 2 * self.steps)

    def small(self) -> Self:
        """Return a recipe with fewer epochs, and fewer and larger steps."""
        return replace(self, budget="small", epochs=10, steps=10, step=2.0)
