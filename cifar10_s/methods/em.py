"""EM: error-minimising noise (Huang et al., Unlearnable Examples, ICLR 2021)."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from cifar10_s.methods.learned import Learned
from cifar10_s.methods.work import Work
from cifar10_s.pgd import pgd

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ErrorMinimizing(Learned):
    """Noise an image, and a network on the noised images, that take turns in making the training error smaller.

    Attributes
    ----------
    train_batches
        Batches on which the network learns in each round.
    stop_error
        The training error on the noised images, at most, with which the work ends.
    max_rounds
        Rounds after which it ends all the same.
    augment
        Whether network and noise see the images through crops and flips; the published recipe does without.
    """

    name: str = "em"
    summary: str = "error-minimising noise (EM), one an image: images made too easy to learn from"
    clip: float | None = 5.0
    train_batches: int = 10
    stop_error: float = 0.01
    max_rounds: int = 100
    augment: bool = False

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`."""
        trainer = work.trainer()
        order = work.batches(work.done * self.train_batches)
        for number in range(work.done, self.max_rounds):
            for batch, index in enumerate(islice(order, self.train_batches)):
                levels = self._view(work, "train", str(number), str(batch))(self._noised(work, index))
                trainer.step(levels, work.labels[index], self.learning_rate)
                work.count(len(index))
            self._perturb(work, trainer.frozen(), number)
            error = self._error(work, trainer.frozen())
            if error <= self.stop_error:
                return
            if number + 1 < self.max_rounds:
                yield f"training error {error:.1%}"
        logger.warning(
            "%s: ended after %d rounds with a training error of %.1f %%", self.name, self.max_rounds, 100 * error
        )

    def _parts(self, work: Work) -> list[Any]:
        """Give the images on which noise and training error are measured, in parts: slices or (B,) indices."""
        return work.parts()

    def _noise(self, work: Work, index: Any) -> Tensor:
        return work.noise[index].float()

    def _noised(self, work: Work, index: Any) -> Tensor:
        return work.pixels[index].float() + self._noise(work, index)

    def _view(self, work: Work, *names: str) -> Callable[[Tensor], Tensor]:
        return lambda levels: work.crop_and_flip(levels, *names) if self.augment else levels

    def _descend(self, work: Work, net: nn.Module, index: Any, *names: str) -> Tensor:
        """Give the noise of some images after its steps down the loss."""
        labels, steps = work.labels[index], count()

        def gradient(levels: Tensor) -> Tensor:
            work.count(len(levels))
            return work.engine.input_gradient(net, levels, labels, self._view(work, *names, str(next(steps))))

        pixels, noise = work.pixels[index].float(), self._noise(work, index)
        return pgd(pixels, noise, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)

    def _perturb(self, work: Work, net: nn.Module, number: int) -> None:
        for part in self._parts(work):
            work.noise[part] = self._descend(work, net, part, "noise", str(number), str(part.start)).half()

    @torch.inference_mode()
    def _error(self, work: Work, net: nn.Module) -> float:
        """Give the share of noised images that the network gets wrong."""
        parts = self._parts(work)
        wrong = [work.engine.logits(net, self._noised(work, part)).argmax(1) != work.labels[part] for part in parts]
        work.count(sum(map(len, wrong)))
        return float(torch.cat(wrong).float().mean())

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        return self.max_rounds * (
            self.train_batches * min(self.batch, count) + (self.steps + 1) * self._measured(count)
        )

    def _measured(self, count: int) -> int:
        return count

    def small(self) -> Self:
        """Give a recipe of a small network, fewer and longer steps, more training between them, crop and flip."""
        return replace(
            self, budget="small", network="small", step=2.0, steps=4, train_batches=40, max_rounds=12, augment=True
        )


@dataclass(frozen=True, kw_only=True)
class ErrorMinimizingClasswise(ErrorMinimizing):
    """The same with one noise a class: in each round the mean of where a step takes it for each of its images.

    Attributes
    ----------
    share
        The share of the images, the same in all rounds, on which noise and training error are measured.
    subset_batch
        Images of a batch of these; after each, a class's noise is the mean of where its images' steps lead.
    """

    classwise: ClassVar[bool] = True
    name: str = "em-classwise"
    summary: str = "error-minimising noise (EM), one a class: images made too easy to learn from"
    steps: int = 1
    stop_error: float = 0.1
    share: float = 0.2
    subset_batch: int = 512

    def _parts(self, work: Work) -> list[Any]:
        subset = work.random("subset").permutation(len(work.labels))[: self._measured(len(work.labels))]
        return list(torch.split(torch.from_numpy(subset).to(work.engine.device), self.subset_batch))

    def _measured(self, count: int) -> int:
        return max(1, round(self.share * count))

    def _noise(self, work: Work, index: Any) -> Tensor:
        return work.noise[work.labels[index]].float()

    def _perturb(self, work: Work, net: nn.Module, number: int) -> None:
        for at, part in enumerate(self._parts(work)):
            labels, moved = work.labels[part], self._descend(work, net, part, "noise", str(number), str(at))
            total = torch.zeros_like(work.noise, dtype=torch.float32).index_add_(0, labels, moved)
            counts = torch.bincount(labels, minlength=len(total)).view(-1, 1, 1, 1)
            # A class without an image in the batch keeps what it has.
            work.noise.copy_(torch.where(counts > 0, total / counts.clamp(min=1), work.noise))

    def small(self) -> Self:
        """Give a recipe of a small network and longer steps."""
        return replace(self, budget="small", network="small", step=2.0, train_batches=20, max_rounds=30, augment=True)
