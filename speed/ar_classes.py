"""How unlike AR's classes are: ``python -m speed.ar_classes SOURCE [SEED …]``.

For each seed: the responses of every class's filters to the noise of each later class (median, and pairs below the
published 10), and how often a linear classifier (LDA) on the responses of all filters to perturbed images names the
class, on images that it has not seen.
"""

import sys
import time

import numpy as np
from numpy.typing import NDArray

import cifar10_s
from cifar10_s.common.options import Options
from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.linear_process import least_responses

Float64Array = NDArray[np.float64]

# Images per half: those that LDA learns from, and those that it is tested on.
HALF = 5_000


def pair_responses(processes: Float64Array, noise: list[Float64Array]) -> Float64Array:
    """Return the mean response of each process to the noise of each later class."""
    return np.array(
        [
            least_responses(earlier[None], of_class, 0.0).mean()
            for label, of_class in enumerate(noise)
            for earlier in processes[:label]
        ]
    )


def features(processes: Float64Array, images: Float64Array) -> Float64Array:
    """Return the summed positive outputs of all filters, (n, K·C): each channel's filters see that channel alone."""
    norms = np.sqrt(np.square(images).sum((1, 2)))
    columns = [
        least_responses(process[None, channel : channel + 1], images[..., channel : channel + 1], 0.0)
        * norms[:, channel]
        for process in processes
        for channel in range(images.shape[-1])
    ]
    return np.stack(columns, axis=1)


def main(source: str, seeds: list[int]) -> None:
    """Print a line for each seed."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    images, method = cifar10_s.load_images(source, allow_unverified=True), Autoregressive()
    shape, classes = images.pixels.shape[1:], len(images.class_names)
    chosen = np.random.default_rng(0).permutation(len(images))[: 2 * HALF]
    for seed in seeds:
        start = time.perf_counter()
        processes = method.processes(classes, shape, seed)
        seconds = time.perf_counter() - start
        random = np.random.default_rng(1)
        noise = [method.run(process, random, 16, shape) for process in processes]
        pairs = pair_responses(processes, noise)
        perturbed = method.perturb(images, Options.resolve(seed=seed, device="cpu"))[chosen].astype(float)
        rows = features(processes, perturbed)
        labels = images.labels[chosen]
        score = LinearDiscriminantAnalysis().fit(rows[:HALF], labels[:HALF]).score(rows[HALF:], labels[HALF:])
        print(
            f"seed {seed}: drawn in {seconds:.1f} s; responses: median {np.median(pairs):.1f}, "
            f"{(pairs < method.threshold(classes, shape)).sum()} of {len(pairs)} below "
            f"{method.threshold(classes, shape):.0f}; LDA {100 * score:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1], [int(seed) for seed in sys.argv[2:]] or [0, 1, 2, 3])
