"""TAP: targeted adversarial poisoning (Fowl et al., Adversarial Examples Make Strong Poisons, NeurIPS 2021)."""

from dataclasses import dataclass

from cifar10_s.methods.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class TargetedPoison(Surrogate):
    """Adversarial examples of a network trained on clean images, towards the next class.

    As in the authors' code, the descent starts from clipped Gaussian noise. By default that code makes eight sets of
    noise, and keeps the one with the least mean loss; this makes one, as that code does with ``--restarts 1``.
    """

    name: str = "tap"
    summary: str = "targeted adversarial poisoning (TAP): images that a network takes for the next class"
    step: float = 0.4
    steps: int = 250
    offset: int = 1
    gaussian_start: bool = True
    augment: bool = True


@dataclass(frozen=True, kw_only=True)
class UntargetedPoison(TargetedPoison):
    """The same, away from the image's own class; less reliable, according to its authors.

    Each image keeps the best of eight descents; the authors' code keeps the best of eight sets of noise for all images.
    """

    name: str = "tap-untargeted"
    summary: str = "untargeted adversarial poisoning (TAP): images that a network takes for any other class"
    offset: int = 0
    away: bool = True
    restarts: int = 8
