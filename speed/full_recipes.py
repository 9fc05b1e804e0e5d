"""Run the full recipes of the methods that need a network on a few images, to see them run; a line of JSON each.

    python -m speed.full_recipes --source ../shared/data/cifar10-jpeg --images 100

With the published networks and numbers, on the first images of each class; only REM's 5,000 training steps are cut
(--rem-steps), which take days on a CPU. It shows that the recipes run, and what a pass costs; not that the noise
bites, for which a hundred images are too few.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from cifar10_s.benchmark.outcome import environment
from cifar10_s.common.options import Options
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.sources.splits import load_images
from cifar10_s.methods.learned import Learned, Work
from cifar10_s.methods.registry import METHODS
from cifar10_s.methods.rem import RobustErrorMinimizing
from cifar10_s.nn.runtime import Runtime
from cifar10_s.release.metrics.perceptibility import measure_all
from cifar10_s.release.recipes import DATASET_VERSION

RESULTS = Path(__file__).resolve().parents[1] / "results" / "full-recipes.jsonl"


def main() -> None:
    """Run each method and save what it reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--images", type=int, default=100, help="how many, as many of each class")
    parser.add_argument("--rem-steps", type=int, default=2)
    parser.add_argument("--method", action="append", choices=[m.name for m in learned()], help="default: all")
    options = parser.parse_args()
    images, runtime = load_images(options.source), Runtime.on(Options.resolve().device)
    images = images.first_per_class(options.images // len(images.class_names))
    for method in learned():
        if options.method and method.name not in options.method:
            continue
        if isinstance(method, RobustErrorMinimizing):
            method = replace(method, train_steps=options.rem_steps)
        record = {
            "method": method.settings(),
            "images": len(images),
            "pixels_sha256": images.digest(),
            "source": images.provenance.title,
            **run(method, images, runtime),
            "environment": environment(runtime, dataset_version=DATASET_VERSION),
        }
        with RESULTS.open("a") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        print(f"{method.name}: {record['seconds']:.0f} s, {record['rounds']} rounds, {record['reached']}", flush=True)


def learned() -> list[Learned]:
    """Return the methods that need a network."""
    return [method for method in METHODS.values() if isinstance(method, Learned)]


def run(method: Learned, images: LabeledImages, runtime: Runtime) -> dict[str, Any]:
    """Make the noise, without the cache, and say what each round reached."""
    work, start = Work(method, images, runtime, seed=0), time.perf_counter()
    reached = list(method.rounds(work))
    seconds = time.perf_counter() - start
    index = images.labels if method.classwise else np.arange(len(images))
    noise = work.levels()[index].astype(np.int16)
    perturbed = images.with_pixels(np.clip(images.pixels + noise, 0, 255).astype(np.uint8))
    return {
        "rounds": len(reached) + 1,
        "reached": reached[-1] if reached else "",
        "seconds": round(seconds, 1),
        "passes": work.passed,
        "passes_per_second": round(work.passed / seconds, 1),
        "perceptibility": asdict(measure_all(images, perturbed).summary()),
    }


if __name__ == "__main__":
    main()
