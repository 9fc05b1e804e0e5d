"""TAP: targeted adversarial poisoning (Fowl et al., Adversarial Examples Make Strong Poisons, NeurIPS 2021)."""

from dataclasses import dataclass

from cifar10_s.methods.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class TargetedPoison(Surrogate):
    """Adversarial examples of a network trained on clean images: towards the next class."""

    name: str = "tap"
    summary: str = "targeted adversarial poisoning (TAP): images that a network takes for the next class"
    step: float = 0.4
    steps: int = 250
    offset: int = 1
    augment: bool = True


@dataclass(frozen=True, kw_only=True)
class UntargetedPoison(TargetedPoison):
    """The same away from the image's own class; brittle, as its authors say."""

    name: str = "tap-untargeted"
    summary: str = "untargeted adversarial poisoning (TAP): images that a network takes for any other class"
    offset: int = 0
    away: bool = True
