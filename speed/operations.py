"""Which operation takes the mark: ``python -m speed.operations RELEASE CONFIGURATION``.

Trains the small network for three epochs of ``cpu-v1`` under the RandAugment of OPS's authors: the shortcut is learned
by then, the content hardly. Prints the accuracy on 4,000 training images after each operation alone, at weak, middle
and full strength: where it is low, the operation takes the mark, and the network has to learn something else.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.strategies.ops_randaugment import OpsRandAugment, operations
from cifar10_s.benchmark.strategies.randaugment import operate
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run, train
from cifar10_s.common.options import Options
from cifar10_s.data.images import LabeledImages
from cifar10_s.nn.runtime import Runtime
from cifar10_s.release.reader import Release

EPOCHS, SHOWN = 3, 4_000
# Magnitudes of nine, as `OpsRandAugment` draws them.
STRENGTHS = ((1, 3), (4, 6), (7, 9))


def after_each(images: LabeledImages) -> dict[str, LabeledImages]:
    """Return images after each operation but cutout, which is a strategy of its own, by operation and magnitudes."""
    augmentation, random = OpsRandAugment(), np.random.default_rng(0)
    table, levels = operations(augmentation.fill), torch.from_numpy(images.pixels).float()
    changed = {}
    for number, name in enumerate(table):
        for least, largest in STRENGTHS if name != "cutout" else ():
            signs, drawn = random.choice((-1.0, 1.0), len(images)), np.full(len(images), number)
            strengths = signs * random.integers(least, largest + 1, len(images)) / augmentation.of
            seen = operate(levels, drawn, strengths, augmentation.limits, table, fill=augmentation.fill)
            pixels = seen.numpy().astype(np.uint8)
            changed[f"{name} {least}–{largest}"] = replace(images, pixels=pixels)
    return changed


def main(folder: str, configuration: str) -> None:
    """Train, and print a line for each operation."""
    release, runtime = Release(folder), Runtime.on(Options.resolve(device="cpu").device)
    images = release.train(configuration)
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:SHOWN])
    protocol = replace(PROTOCOLS["cpu-v1"], name="operations", epochs=EPOCHS)
    run = Run(
        train=images, test=release.test(), protocol=protocol, strategy=STRATEGIES["randaugment-ops"], network="small",
        seed=0, evaluations=lambda: after_each(images.take(chosen)),
    )  # fmt: skip
    *_, last = train(run, runtime)
    print(f"clean test images: {last['test_accuracy']:.2f}, training views: {last['train_accuracy']:.2f}")
    for name, accuracy in last["evaluations"].items():
        print(f"{name:>18} {accuracy:6.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
