"""What TAP, SEP, HYPO and DUNE share: a network is trained on the clean images, then noise follows its gradients."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.data.images import Images
from cifar10_s.errors import UsageError
from cifar10_s.methods.learned import Learned, Work
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.pgd import pgd
from cifar10_s.nn.trainer import multistep


@dataclass(frozen=True, kw_only=True)
class Surrogate(Learned):
    """Noise made by gradient descent through networks trained on the clean images.

    Attributes
    ----------
    epochs
        Epochs of training on the clean images, with crop and flip.
    milestones
        Shares of the epochs after which the learning rate is divided by ten.
    snapshots
        Number of evenly spaced epochs at which the network is kept; gradients are summed over these networks.
    offset
        The noise moves images of class y towards class (y + offset) mod K.
    away
        Whether it moves them away from that class instead.
    gaussian_start
        Whether the descent starts from N(0, ε²), clipped to the bound, instead of the clean image.
    restarts
        Descents per image, of which the one with the best loss is kept.
    augment
        Whether each step of the descent uses a random crop and flip of the images.
    """

    epochs: int = 40
    milestones: tuple[float, ...] = (0.375, 0.625, 0.875)
    snapshots: int = 1
    offset: int = 0
    away: bool = False
    gaussian_start: bool = False
    restarts: int = 1
    augment: bool = False

    def check(self, images: Images) -> None:
        """See `Method.check`: the target must not be the image's own class, either."""
        super().check(images)
        classes = len(images.class_names)
        if self.offset and self.offset % classes == 0:
            raise UsageError(
                f"{self.name}: with {classes} classes, its target (y + {self.offset}) mod {classes} is the image's own "
                "class: use another method"
            )

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Learned.rounds`: first a round is an epoch of training, then a block of images."""
        trainer = work.trainer()
        kept = work.keep("snapshots", nn.ModuleList(work.network("network") for _ in range(self.snapshots)))
        for epoch in range(work.done, self.epochs):
            rate = multistep(self.learning_rate, epoch / self.epochs, self.milestones)
            error = work.train_epoch(
                trainer, epoch, rate, lambda index, *names: work.crop_and_flip(work.pixels[index], *names)
            )
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
                yield f"{(number + 1) / blocks:.0%} of the images, {moved:.0%} of the last block on target"

    def _targets(self, work: Work, part: slice | Tensor) -> Tensor:
        return (work.labels[part] + self.offset) % len(work.images.class_names)

    def _perturb(self, work: Work, kept: nn.ModuleList, part: slice) -> Tensor:
        """Return the noise of a part of the images."""
        targets, random = self._targets(work, part), work.random("view", str(part.start))

        def gradient(levels: Tensor) -> Tensor:
            view = CropAndFlip.draw(random, levels) if self.augment else None
            work.count(len(levels) * len(kept))
            total = torch.zeros_like(levels)
            for net in kept:
                total += work.runtime.input_gradient(net, levels, targets, view)
            return -total if self.away else total

        pixels = work.pixels[part].float()
        kept_noise, kept_loss = torch.zeros_like(pixels), torch.full((len(pixels),), torch.inf, device=pixels.device)
        for number in range(self.restarts):
            start = self._start(work, pixels, str(part.start), str(number))
            noise = pgd(pixels, start, gradient, epsilon=self.epsilon, step=self.step, steps=self.steps)
            if self.restarts == 1:
                return noise
            loss = self._loss(work, kept, pixels + noise, targets)
            better = loss < kept_loss
            kept_loss = torch.where(better, loss, kept_loss)
            kept_noise = torch.where(better[:, None, None, None], noise, kept_noise)
        return kept_noise

    def _start(self, work: Work, pixels: Tensor, *names: str) -> Tensor:
        if not self.gaussian_start:
            return torch.zeros_like(pixels)
        drawn = work.random("start", *names).standard_normal(tuple(pixels.shape), dtype=np.float32)
        return (torch.from_numpy(drawn).to(pixels.device) * self.epsilon).clamp(-self.epsilon, self.epsilon)

    @torch.inference_mode()
    def _loss(self, work: Work, kept: nn.ModuleList, levels: Tensor, targets: Tensor) -> Tensor:
        """Return what the descent decreases, summed over the networks, (B,), on images that are not augmented."""
        work.count(len(levels) * len(kept))
        losses = [
            nn.functional.cross_entropy(work.runtime.logits(net, levels), targets, reduction="none") for net in kept
        ]
        total = torch.stack(losses).sum(0)
        return -total if self.away else total

    @torch.inference_mode()
    def _moved(self, work: Work, kept: nn.ModuleList, block: int) -> float:
        """Return the share of a block's images that the last network classifies as intended."""
        reached = [
            work.runtime.logits(kept[-1], work.pixels[part].float() + work.noise[part].float()).argmax(1)
            == self._targets(work, part)
            for part in work.block(block)
        ]
        share = float(torch.cat(reached).float().mean())
        return 1 - share if self.away else share

    def passes(self, count: int) -> int:
        """See `Learned.passes`."""
        compared = self.restarts if self.restarts > 1 else 0
        return count * (self.epochs + self.restarts * self.steps * self.snapshots + compared * self.snapshots)

    def small(self) -> Self:
        """Return a recipe with a small network, fewer epochs, fewer and larger steps, and no restarts."""
        return replace(
            self, budget="small", network="small", epochs=10, snapshots=min(self.snapshots, 3),
            steps=min(self.steps, 20), step=max(self.step, 1.0), restarts=1,
        )  # fmt: skip
