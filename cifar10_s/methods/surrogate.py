"""Surrogate: what TAP, SEP and HYPO share. A network learns the clean images; noise then follows its gradients."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import torch
from torch import Tensor, nn

from cifar10_s.augment import CropAndFlip
from cifar10_s.errors import UsageError
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.work import Work
from cifar10_s.pgd import pgd
from cifar10_s.training import Trainer, multistep


@dataclass(frozen=True, kw_only=True)
class Surrogate(Learned):
    """Noise by descent against networks that were trained on the clean images.

    Attributes
    ----------
    epochs
        Of the training on clean images, with crop and flip.
    milestones
        Shares of the epochs after which the learning rate is divided by ten.
    snapshots
        At how many evenly spaced epochs the network is kept; gradients are averaged over them.
    offset
        The noise moves images of class y towards class (y + offset) mod K.
    away
        Whether it moves them away from that class instead.
    augment
        Whether the descent sees the images through a crop and flip, another at each step.
    """

    epochs: int = 40
    milestones: tuple[float, ...] = (0.375, 0.625, 0.875)
    snapshots: int = 1
    offset: int = 0
    away: bool = False
    augment: bool = False

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`: an epoch is a round, and then a block of images is one."""
        classes = len(work.images.class_names)
        if self.offset and self.offset % classes == 0:
            raise UsageError(
                f"{self.name}: with {classes} classes, its target (y + {self.offset}) mod {classes} is the image's own "
                "class: take another method"
            )
        trainer = work.trainer()
        kept = work.keep("snapshots", nn.ModuleList(work.network("network") for _ in range(self.snapshots)))
        for epoch in range(work.done, self.epochs):
            error = self._train(work, trainer, epoch)
            for number, snapshot in enumerate(kept):
                if epoch + 1 == (number + 1) * self.epochs // self.snapshots:
                    snapshot.load_state_dict(trainer.net.state_dict())
            yield f"training error on clean images {error:.1%}"
        kept.eval().requires_grad_(False)
        blocks = work.blocks()
        for number in range(max(work.done - self.epochs, 0), blocks):
            for part in work.block(number):
                work.noise[part] = self._perturb(work, kept, part).half()
            if number + 1 < blocks:
                moved = self._moved(work, kept, number)
                yield f"{(number + 1) / blocks:.0%} of the images, {moved:.0%} of the last taken as meant"

    def _train(self, work: Work, trainer: Trainer, epoch: int) -> float:
        """Train for an epoch; gives the training error."""
        size = min(self.batch, len(work.labels))
        batches = len(work.labels) // size
        rate = multistep(self.learning_rate, epoch / self.epochs, self.milestones)
        wrong = torch.zeros((), device=work.engine.device)
        for number, index in enumerate(islice(work.batches(epoch * batches), batches)):
            levels = work.crop_and_flip(work.pixels[index], str(epoch), str(number))
            logits = trainer.step(levels, work.labels[index], rate)
            wrong += (logits.argmax(1) != work.labels[index]).sum()
            work.count(size)
        return float(wrong) / (batches * size)

    def _targets(self, work: Work, part: slice) -> Tensor:
        return (work.labels[part] + self.offset) % len(work.images.class_names)

    def _perturb(self, work: Work, kept: nn.ModuleList, part: slice) -> Tensor:
        """Give the noise of some images."""
        targets, random = self._targets(work, part), work.random("view", str(part.start))

        def gradient(levels: Tensor) -> Tensor:
            view = CropAndFlip.draw(random, levels) if self.augment else None
            work.count(len(levels) * len(kept))
            total = torch.zeros_like(levels)
            for net in kept:
                total += work.engine.input_gradient(net, levels, targets, view)
            return -total if self.away else total

        pixels = work.pixels[part].float()
        start = torch.zeros_like(pixels)
        return pgd(pixels, start, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)

    @torch.inference_mode()
    def _moved(self, work: Work, kept: nn.ModuleList, block: int) -> float:
        """Give the share of a block's images that the last network takes for what the noise is to make of them."""
        reached = [
            work.engine.logits(kept[-1], work.pixels[part].float() + work.noise[part].float()).argmax(1)
            == self._targets(work, part)
            for part in work.block(block)
        ]
        share = float(torch.cat(reached).float().mean())
        return 1 - share if self.away else share

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        return count * (self.epochs + self.steps * self.snapshots)

    def small(self) -> Self:
        """Give a recipe of a small network, fewer epochs, and fewer and longer steps."""
        return replace(
            self, budget="small", network="small", epochs=10, snapshots=min(self.snapshots, 3),
            steps=min(self.steps, 20), step=max(self.step, 1.0),
        )  # fmt: skip
