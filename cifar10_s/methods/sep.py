"""SEP: self-ensemble protection (Chen et al., Training Checkpoints Are Good Data Protectors, ICLR 2023)."""

from dataclasses import dataclass

from cifar10_s.methods.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class SelfEnsemble(Surrogate):
    """Adversarial examples of thirty checkpoints of a network's training, towards class y + 5.

    The bound of 8/255 is that of the published tables (Image Shortcut Squeezing), with steps of 1/255. The authors'
    README steps by 2/255: ``SelfEnsemble(step=2.0)``.
    """

    name: str = "sep"
    summary: str = "self-ensemble protection (SEP): adversarial to many checkpoints of a network's training"
    step: float = 1.0
    steps: int = 30
    epochs: int = 120
    milestones: tuple[float, ...] = (0.625, 0.75)
    snapshots: int = 30
    offset: int = 5
