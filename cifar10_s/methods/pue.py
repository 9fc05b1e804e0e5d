"""PUE: provably unlearnable examples (Wang et al., Provably Unlearnable Data Examples, NDSS 2025)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, Self

import torch
from torch import Tensor, nn

from cifar10_s.methods.em import ErrorMinimizingClasswise
from cifar10_s.methods.learned import Work
from cifar10_s.nn.pgd import pgd
from cifar10_s.nn.trainer import Trainer
from cifar10_s.nn.weight_noise import weight_noise


class _LeastError:
    """The smallest training error of all rounds so far, as a checkpoint holds it."""

    def __init__(self) -> None:
        self.error = 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"error": self.error}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.error = state_dict["error"]


@dataclass(frozen=True, kw_only=True)
class ProvablyUnlearnable(ErrorMinimizingClasswise):
    """Class-wise error-minimising noise for all networks near the one that is trained, not for that one alone.

    Until the training error is small, this is class-wise EM. From then on, both parts of a round see the network with
    Gaussian noise on its weights, of each deviation in turn. Training takes one step per deviation, along the gradient
    averaged over draws of the weights and divided by the number of deviations. Each step of the noise becomes one step
    per deviation, along the gradient summed over draws. The recipe is that of the authors' code with the numbers of its
    README, but for a limit to the rounds, and one draw instead of many, which are the same, at deviation 0.

    Attributes
    ----------
    start_error
        Training error below which, in any round before, the weights get noise.
    deviations
        Standard deviations of the noise on the weights, in turn; 0 needs one draw.
    noise_draws
        Draws of the weights per step of the noise on the images.
    train_draws
        Draws of the weights per training step.
    """

    name: str = "pue"
    summary: str = "provably unlearnable examples (PUE), one per class: easy for all networks whose weights are near"
    batch: int = 128
    subset_batch: int = 128
    train_batches: int = 20
    start_error: float = 0.5
    deviations: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
    noise_draws: int = 10
    train_draws: int = 100

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`."""
        work.keep("least error", _LeastError())
        yield from super().rounds(work)

    def _deviations(self, work: Work) -> tuple[float, ...]:
        least: _LeastError = work.kept("least error")
        return self.deviations if least.error < self.start_error else (0.0,)

    def _learn(self, work: Work, trainer: Trainer, levels: Tensor, labels: Tensor, *names: str) -> None:
        random, deviations = work.device_random("weights", *names), self._deviations(work)
        for deviation in deviations:
            draws = self.train_draws if deviation else 1
            loss = partial(_share_of_cross_entropy, draws * len(deviations))
            for _ in range(draws):
                with weight_noise(trainer.net, deviation, random):
                    trainer.add_gradient(levels, labels, loss)
                work.count(len(levels))
            trainer.update(self.learning_rate)

    def _descend(self, work: Work, net: nn.Module, index: Any, *names: str) -> Tensor:
        labels, steps, deviations = work.labels[index], count(), self._deviations(work)
        random = work.device_random("weights", *names)

        def gradient(levels: Tensor) -> Tensor:
            step = next(steps)
            deviation, view = deviations[step % len(deviations)], self._view(work, *names, str(step))
            total = torch.zeros_like(levels)
            for _ in range(self.noise_draws if deviation else 1):
                with weight_noise(net, deviation, random):
                    total += work.runtime.input_gradient(net, levels, labels, view)
                work.count(len(levels))
            return total

        pixels, noise = work.pixels[index].float(), self._noise(work, index)
        return pgd(pixels, noise, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps * len(deviations))

    def _error(self, work: Work, net: nn.Module) -> float:
        error, least = super()._error(work, net), work.kept("least error")
        least.error = min(least.error, error)
        return error

    def _round_passes(self, count: int) -> int:
        learned = self._passes_per_image(self.train_draws) * self.train_batches * min(self.batch, count)
        return learned + (self._passes_per_image(self.noise_draws) * self.steps + 1) * self._measured(count)

    def _passes_per_image(self, draws: int) -> int:
        """Return the number of passes of an image through all deviations, with so many draws each."""
        return sum(draws if deviation else 1 for deviation in self.deviations)

    def small(self) -> Self:
        """Return a recipe with a small network, crop and flip, fewer rounds, and fewer deviations and draws."""
        return replace(
            self, budget="small", network="small", train_batches=20, max_rounds=20, augment=True,
            deviations=(0.0, 0.125, 0.25), noise_draws=2, train_draws=2,
        )  # fmt: skip


def _share_of_cross_entropy(parts: int, logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels) / parts
