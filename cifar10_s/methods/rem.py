"""REM: robust error-minimising noise (Fu et al., Robust Unlearnable Examples, ICLR 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.methods.learned import Learned, Work
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.pgd import Adversary, pgd, uniform_noise
from cifar10_s.nn.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class RobustErrorMinimizing(Learned):
    """Noise that minimises the adversarial training error under random crops and flips.

    Attributes
    ----------
    adversary_epsilon, adversary_step, adversary_steps
        ℓ∞ bound and step size in levels, and number of steps of the adversary, which starts at random.
    random_start
        Whether each descent of the noise starts at random within the bound, instead of from the current noise.
    samples
        Crops and flips over which each step of the noise is averaged (expectation over transformation).
    train_steps
        Total number of training batches; the noise of a batch is updated before the network is trained on it.
    decay_every
        Training batches after each of which the learning rate is divided by ten.
    """

    name: str = "rem"
    summary: str = "robust error-minimising noise (REM): minimises the error against an adversary"
    step: float = 1.6
    steps: int = 10
    adversary_epsilon: float = 4.0
    adversary_step: float = 0.8
    adversary_steps: int = 10
    random_start: bool = True
    samples: int = 5
    train_steps: int = 5000
    decay_every: int = 2000

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`: first a round is ``round_size.steps`` training steps, then a block of images."""
        trainer, size = work.trainer(), work.round_size.steps
        training = -(-self.train_steps // size)
        order = work.batches(work.done * size)
        for number in range(work.done, training):
            wrong = [
                self._train(work, trainer, at, next(order))
                for at in range(number * size, min((number + 1) * size, self.train_steps))
            ]
            yield f"training error {torch.cat(wrong).float().mean():.1%}"
        blocks = work.blocks()
        for number in range(max(work.done - training, 0), blocks):
            for part in work.block(number):
                index = torch.arange(part.start, part.stop, device=work.runtime.device)
                work.noise[part] = self._descend(work, trainer.frozen(), index, "last", str(part.start)).half()
            if number + 1 < blocks:
                yield f"last pass, {(number + 1) / blocks:.0%} of the images"

    def _train(self, work: Work, trainer: Trainer, number: int, index: Tensor) -> Tensor:
        """Update the noise of a batch, then train on it under attack; return which images were misclassified."""
        names = "train", str(number)
        work.noise[index] = self._descend(work, trainer.frozen(), index, *names).half()
        seen = work.crop_and_flip(work.pixels[index].float() + work.noise[index].float(), *names)
        attacked = self._attack(work, trainer.frozen(), seen, work.labels[index], work.random("attack", *names))
        rate = self.learning_rate * 0.1 ** (number // self.decay_every)
        logits = trainer.step(attacked, work.labels[index], rate)
        work.count(len(index))
        return logits.argmax(1) != work.labels[index]

    def _descend(self, work: Work, net: nn.Module, index: Tensor, *names: str) -> Tensor:
        """Return the noise of images after gradient descent on the loss under attack."""
        random, labels = work.random("noise", *names), work.labels[index]

        def gradient(levels: Tensor) -> Tensor:
            total = torch.zeros_like(levels)
            for _ in range(self.samples):
                total += self._gradient_under_attack(work, net, levels, labels, random)
            return total

        pixels = work.pixels[index].float()
        start = work.noise[index].float()
        if self.random_start:
            start = uniform_noise(pixels, self.epsilon, work.random("start", *names))
        return pgd(pixels, start, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)

    def _gradient_under_attack(
        self, work: Work, net: nn.Module, levels: Tensor, labels: Tensor, random: np.random.Generator
    ) -> Tensor:
        """Return the gradient at images that are cropped and flipped, then attacked."""
        view = CropAndFlip.draw(random, levels)
        seen = view(levels)
        adversary = self._simulated(work, net, seen, labels, random) - seen

        def attacked(levels: Tensor) -> Tensor:
            return view(levels) + adversary

        work.count(len(levels))
        return work.runtime.input_gradient(net, levels, labels, attacked)

    def _simulated(
        self, work: Work, net: nn.Module, levels: Tensor, labels: Tensor, random: np.random.Generator
    ) -> Tensor:
        """Return what the noise is made against."""
        return self._attack(work, net, levels, labels, random)

    @property
    def _simulated_steps(self) -> int:
        """Passes that `_simulated` takes."""
        return self.adversary_steps

    def _attack(
        self, work: Work, net: nn.Module, levels: Tensor, labels: Tensor, random: np.random.Generator
    ) -> Tensor:
        """Return images attacked within the adversary's bound, from a random start."""
        adversary = Adversary(epsilon=self.adversary_epsilon, step=self.adversary_step, steps=self.adversary_steps)
        work.count(len(levels) * adversary.steps)
        return adversary.attack(work.runtime, net, levels, labels, adversary.random_start(levels, random))

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        per_descent = self.steps * self.samples * (1 + self._simulated_steps)
        batch = min(self.batch, count)
        return self.train_steps * batch * (per_descent + self.adversary_steps + 1) + count * per_descent

    def small(self) -> Self:
        """Return a recipe with a small network, fewer steps of all kinds, and one crop and flip per step."""
        return replace(
            self, budget="small", network="small", steps=4, step=2.0, samples=1, adversary_steps=2,
            adversary_step=2.0, train_steps=1000, decay_every=400,
        )  # fmt: skip
