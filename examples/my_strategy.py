"""Your own strategies, compared with `standard` on the built-in sample (8×8 handwritten digits).

python examples/my_strategy.py [folder]

This takes half a minute. Crops by 4 pixels are harsh on 8×8 images, and the epochs are few: the example shows how to
write a strategy, not which strategy is good.

To use a strategy on your own release, run this in the root of this repository:

cifar10-s bench cifar10-s -s standard -s examples.my_strategy:noise
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import cifar10_s
from cifar10_s import Strategy
from cifar10_s.benchmark.grid import bench
from cifar10_s.data.images import LabeledImages


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Add noise to each batch. The fields of a frozen dataclass are recorded; a plain function works too."""

    deviation: float = 16.0

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (B, H, W, C) levels 0-255 and (B, K) targets; all randomness comes from ``random``."""
        noise = torch.from_numpy(random.standard_normal(tuple(levels.shape), dtype=np.float32)).to(levels.device)
        return (levels + self.deviation * noise).clamp(0, 255), targets


def two_levels(images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator) -> LabeledImages:
    """Make all training images black and white, once; ``clean`` is None unless the strategy needs it."""
    return images.with_pixels(np.where(images.pixels < 128, np.uint8(0), np.uint8(255)))


# An augmentation alone is a strategy. A defence, or both together, needs a `Strategy`:
noise = GaussianNoise()
two_levels_and_noise = Strategy(
    name="two-levels-and-noise", summary="black and white, then noise", prepare=two_levels, augment=noise
)


def main(folder: Path) -> None:
    """Build the sample with and without OPS, train with each strategy, and print the test accuracy."""
    release = folder / "digits-s"
    cifar10_s.build("sample", release, name="digits-s", configurations=["clean", "ops"], overwrite=release.exists())
    names = ["standard", f"{Path(__file__).stem}:noise", f"{Path(__file__).stem}:two_levels_and_noise"]
    for record in bench(release, folder / "bench.jsonl", strategies=names, device="cpu"):
        settings, results = record["settings"], record["results"]
        print(f"{settings['strategy']['name']:35} {settings['configuration']:6} test {results['final']:5.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
