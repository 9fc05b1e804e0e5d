"""HYPO: hypocritical perturbations (Tao et al., Better Safe Than Sorry, NeurIPS 2021)."""

from dataclasses import dataclass

from cifar10_s.methods.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class Hypocritical(Surrogate):
    """Noise that makes a network trained on clean images more confident in the true class.

    The numbers are those of APBench, whose tables are compared with. The authors' own network is VGG-16, and their
    bound an ℓ2 norm of 0.5: of that recipe, ``Hypocritical(network="vgg-16")`` has the network only.
    """

    name: str = "hypo"
    summary: str = "hypocritical perturbations (HYPO): images that a network trained on clean ones is surer of"
    steps: int = 100
