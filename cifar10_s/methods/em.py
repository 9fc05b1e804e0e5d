"""EM: error-minimising noise (Huang et al., Unlearnable Examples, ICLR 2021)."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from cifar10_s.methods.learned import Learned, Work
from cifar10_s.nn.pgd import pgd
from cifar10_s.nn.trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ErrorMinimizing(Learned):
    """Noise per image and a network on the noised images, optimised in turns to minimise the training error.

    Attributes
    ----------
    train_batches
        Batches on which the network is trained in each round.
    stop_error
        Training error on the noised images at or below which the optimisation stops.
    max_rounds
        Rounds after which it stops in any case.
    augment
        Whether network and noise are trained on random crops and flips; in the published recipe they are not.
    usual_rounds
        Rounds after which the authors' log reaches ``stop_error``; for the estimate of the time only.
    """

    usual_rounds: ClassVar[int | None] = 10
    name: str = "em"
    batch: int = 512
    summary: str = "error-minimising noise (EM), one per image: images made too easy to learn from"
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
                self._learn(work, trainer, levels, work.labels[index], "train", str(number), str(batch))
            self._perturb(work, trainer.frozen(), number)
            error = self._error(work, trainer.frozen())
            if error <= self.stop_error:
                return
            if number + 1 < self.max_rounds:
                yield f"training error {error:.1%}"
        logger.warning(
            "%s: ended after %d rounds with a training error of %.1f %%", self.name, self.max_rounds, 100 * error
        )

    def _learn(self, work: Work, trainer: Trainer, levels: Tensor, labels: Tensor, *_: str) -> None:
        """Train on a batch; the names are its own."""
        trainer.step(levels, labels, self.learning_rate)
        work.count(len(levels))

    def _parts(self, work: Work) -> list[Any]:
        """Return the images on which noise and training error are computed, in parts: slices or (B,) indices."""
        return work.parts()

    def _noise(self, work: Work, index: Any) -> Tensor:
        return work.noise[index].float()

    def _noised(self, work: Work, index: Any) -> Tensor:
        return work.pixels[index].float() + self._noise(work, index)

    def _view(self, work: Work, *names: str) -> Callable[[Tensor], Tensor]:
        return lambda levels: work.crop_and_flip(levels, *names) if self.augment else levels

    def _descend(self, work: Work, net: nn.Module, index: Any, *names: str) -> Tensor:
        """Return the noise of images after gradient descent on the loss."""
        labels, steps = work.labels[index], count()

        def gradient(levels: Tensor) -> Tensor:
            work.count(len(levels))
            return work.runtime.input_gradient(net, levels, labels, self._view(work, *names, str(next(steps))))

        pixels, noise = work.pixels[index].float(), self._noise(work, index)
        return pgd(pixels, noise, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)

    def _perturb(self, work: Work, net: nn.Module, number: int) -> None:
        for part in self._parts(work):
            work.noise[part] = self._descend(work, net, part, "noise", str(number), str(part.start)).half()

    @torch.inference_mode()
    def _error(self, work: Work, net: nn.Module) -> float:
        """Return the share of noised images that the network misclassifies."""
        parts = self._parts(work)
        wrong = [work.runtime.logits(net, self._noised(work, part)).argmax(1) != work.labels[part] for part in parts]
        work.count(sum(map(len, wrong)))
        return float(torch.cat(wrong).float().mean())

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        return self.max_rounds * self._round_passes(count)

    def usual_passes(self, count: int) -> int:
        """See `Learned.usual_passes`."""
        usual = self.max_rounds if self.usual_rounds is None else min(self.usual_rounds, self.max_rounds)
        return usual * self._round_passes(count)

    def _round_passes(self, count: int) -> int:
        return self.train_batches * min(self.batch, count) + (self.steps + 1) * self._measured(count)

    def _measured(self, count: int) -> int:
        return count

    def small(self) -> Self:
        """Return a recipe with a small network, fewer and larger steps, more training between them, crop and flip."""
        return replace(
            self, budget="small", network="small", batch=128, step=2.0, steps=4, train_batches=40, max_rounds=12,
            augment=True,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ErrorMinimizingClasswise(ErrorMinimizing):
    """The same with one noise per class.

    Attributes
    ----------
    share
        Share of the images, the same in all rounds, on which noise and training error are computed.
    subset_batch
        Batch size of these images. After each batch, the noise of a class is the mean of what the steps for its images
        make of it.
    """

    classwise: ClassVar[bool] = True
    usual_rounds: ClassVar[int | None] = None
    name: str = "em-classwise"
    summary: str = "error-minimising noise (EM), one per class: images made too easy to learn from"
    steps: int = 1
    stop_error: float = 0.1
    share: float = 0.2
    subset_batch: int = 512

    def _parts(self, work: Work) -> list[Any]:
        subset = work.random("subset").permutation(len(work.labels))[: self._measured(len(work.labels))]
        return list(torch.split(torch.from_numpy(subset).to(work.runtime.device), self.subset_batch))

    def _measured(self, count: int) -> int:
        return max(1, round(self.share * count))

    def _noise(self, work: Work, index: Any) -> Tensor:
        return work.noise[work.labels[index]].float()

    def _perturb(self, work: Work, net: nn.Module, number: int) -> None:
        for at, part in enumerate(self._parts(work)):
            labels, moved = work.labels[part], self._descend(work, net, part, "noise", str(number), str(at))
            total = torch.zeros_like(work.noise, dtype=torch.float32).index_add_(0, labels, moved)
            counts = torch.bincount(labels, minlength=len(total)).view(-1, 1, 1, 1)
            # The noise of a class without images in the batch does not change.
            work.noise.copy_(torch.where(counts > 0, total / counts.clamp(min=1), work.noise))

    def small(self) -> Self:
        """Return a recipe with a small network, larger steps, fewer rounds, crop and flip."""
        return replace(
            self, budget="small", network="small", batch=128, step=2.0, train_batches=20, max_rounds=30, augment=True
        )
