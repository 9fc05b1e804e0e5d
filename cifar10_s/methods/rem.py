"""REM: robust error-minimising noise (Fu et al., Robust Unlearnable Examples, ICLR 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.adversary import Adversary
from cifar10_s.augment import CropAndFlip
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.work import Work
from cifar10_s.pgd import pgd, uniform_noise
from cifar10_s.training import Trainer

# Training steps a round.
ROUND = 50


@dataclass(frozen=True, kw_only=True)
class RobustErrorMinimizing(Learned):
    """Noise that minimises the error against an adversary, seen through random crops and flips.

    Attributes
    ----------
    adversary_epsilon, adversary_step, adversary_steps
        ℓ∞ bound and step in levels, and the number of steps of the adversary, which starts at random.
    random_start
        Whether each descent of the noise starts at random within its bound, rather than where it was.
    samples
        Crops and flips over which each step of the noise is averaged (expectation over transformation).
    train_steps
        Training batches in all; the noise of a batch is made anew before the network learns from it.
    decay_every
        Training batches after which the learning rate is divided by ten, each time.
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
        """See `Learned.rounds`: fifty training steps are a round, and then a block of images is one."""
        trainer = work.trainer()
        training = -(-self.train_steps // ROUND)
        order = work.batches(work.done * ROUND)
        for number in range(work.done, training):
            wrong = [
                self._train(work, trainer, at, next(order))
                for at in range(number * ROUND, min((number + 1) * ROUND, self.train_steps))
            ]
            yield f"training error {torch.cat(wrong).float().mean():.1%}"
        blocks = work.blocks()
        for number in range(max(work.done - training, 0), blocks):
            for part in work.block(number):
                index = torch.arange(part.start, part.stop, device=work.engine.device)
                work.noise[part] = self._descend(work, trainer.frozen(), index, "last", str(part.start)).half()
            if number + 1 < blocks:
                yield f"last pass, {(number + 1) / blocks:.0%} of the images"

    def _train(self, work: Work, trainer: Trainer, number: int, index: Tensor) -> Tensor:
        """Make the noise of a batch anew and learn from it under attack; gives which images were wrong."""
        names = "train", str(number)
        work.noise[index] = self._descend(work, trainer.frozen(), index, *names).half()
        seen = work.crop_and_flip(work.pixels[index].float() + work.noise[index].float(), *names)
        attacked = self._attack(work, trainer.frozen(), seen, work.labels[index], work.random("attack", *names))
        rate = self.learning_rate * 0.1 ** (number // self.decay_every)
        logits = trainer.step(attacked, work.labels[index], rate)
        work.count(len(index))
        return logits.argmax(1) != work.labels[index]

    def _descend(self, work: Work, net: nn.Module, index: Tensor, *names: str) -> Tensor:
        """Give the noise of some images after its steps down the loss under attack."""
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
        """Give the gradient at images that are cropped and flipped, and then attacked."""
        view = CropAndFlip.draw(random, levels)
        seen = view(levels)
        adversary = self._attack(work, net, seen, labels, random) - seen

        def attacked(levels: Tensor) -> Tensor:
            return view(levels) + adversary

        work.count(len(levels))
        return work.engine.input_gradient(net, levels, labels, attacked)

    def _attack(
        self, work: Work, net: nn.Module, levels: Tensor, labels: Tensor, random: np.random.Generator
    ) -> Tensor:
        """Give images attacked within the adversary's bound, from a random start."""
        adversary = Adversary(epsilon=self.adversary_epsilon, step=self.adversary_step, steps=self.adversary_steps)
        work.count(len(levels) * adversary.steps)
        return adversary.attack(work.engine, net, levels, labels, adversary.random_start(levels, random))

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        a_descent = self.steps * self.samples * (1 + self.adversary_steps)
        a_batch = min(self.batch, count)
        return self.train_steps * a_batch * (a_descent + self.adversary_steps + 1) + count * a_descent

    def small(self) -> Self:
        """Give a recipe of a small network, fewer steps of all kinds, and one view."""
        return replace(
            self, budget="small", network="small", steps=4, step=2.0, samples=1, adversary_steps=2,
            adversary_step=2.0, train_steps=1000, decay_every=400,
        )  # fmt: skip
