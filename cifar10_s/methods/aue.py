"""AUE: augmented unlearnable examples (Wang et al., Efficient Availability Attacks, NeurIPS 2024)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn

from cifar10_s.methods.learned import Learned, Work
from cifar10_s.nn.contrastive_view import ContrastiveView
from cifar10_s.nn.pgd import pgd

# The learning rate at which the authors' cosine would end.
LAST_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class AugmentedErrorMinimizing(Learned):
    """Error-minimising noise made under the views of contrastive learning, so that it hinders that learning too.

    Each epoch trains the network on the noised images, then moves the noise down its loss; each batch and each step
    sees other views. The learning rate falls along a cosine.

    Attributes
    ----------
    epochs
        Number of epochs.
    strength
        Of the views, 0 to 1; see `ContrastiveView.draw`.
    """

    name: str = "aue"
    summary: str = "augmented error-minimising noise (AUE): easy under the views of contrastive learning"
    steps: int = 5
    weight_decay: float = 1e-4
    epochs: int = 60
    strength: float = 0.6

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`: a round is an epoch."""
        trainer = work.trainer()
        for epoch in range(work.done, self.epochs):
            error = work.train_epoch(
                trainer, epoch, self._rate(epoch), lambda index, *names: self._seen(work, index, *names)
            )
            for part in work.parts():
                work.noise[part] = self._descend(work, trainer.frozen(), part, str(epoch)).half()
            if epoch + 1 < self.epochs:
                yield f"training error {error:.1%}"

    def _rate(self, epoch: int) -> float:
        return LAST_RATE + (self.learning_rate - LAST_RATE) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def _seen(self, work: Work, index: Tensor, *names: str) -> Tensor:
        """Return views of noised images."""
        levels = work.pixels[index].float() + work.noise[index].float()
        return ContrastiveView.draw(work.random("train", *names), levels, self.strength)(levels)

    def _descend(self, work: Work, net: nn.Module, part: slice, *names: str) -> Tensor:
        """Return the noise of a part of the images after gradient descent on the loss of their views."""
        labels, random = work.labels[part], work.random("noise", *names, str(part.start))

        def gradient(levels: Tensor) -> Tensor:
            work.count(len(levels))
            return work.runtime.input_gradient(net, levels, labels, ContrastiveView.draw(random, levels, self.strength))

        pixels, noise = work.pixels[part].float(), work.noise[part].float()
        return pgd(pixels, noise, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        return count * self.epochs * (1 + self.steps)

    def small(self) -> Self:
        """Return a recipe with a small network, fewer epochs, and fewer and larger steps."""
        return replace(self, budget="small", network="small", epochs=12, steps=3, step=2.0)
