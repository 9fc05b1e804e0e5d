"""HYPO: hypocritical perturbations (Tao et al., Better Safe Than Sorry, NeurIPS 2021)."""

from dataclasses import dataclass

from cifar10_s.methods.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class Hypocritical(Surrogate):
    """Noise that makes a network trained on clean images surer of what it knows."""

    name: str = "hypo"
    summary: str = "hypocritical perturbations (HYPO): images that a network trained on clean ones is surer of"
    steps: int = 100
