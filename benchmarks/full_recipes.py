"""Run the full recipes of the methods that need a network on a few images, to see them run; a line of JSON each.

    python benchmarks/full_recipes.py --source ../shared/data/cifar10-jpeg --images 100

With the published networks and numbers, on the first images of each class; only REM's 5,000 training steps are cut
(--rem-steps), which take days on a CPU. It shows that the recipes run, and what a pass costs; not that the noise
bites, for which a hundred images are too few.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cifar10_s.benchmark.sweep import environment
from cifar10_s.device import resolve_device
from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.methods import METHODS, Learned
from cifar10_s.methods.rem import RobustErrorMinimizing
from cifar10_s.methods.work import Work
from cifar10_s.perceptibility import measure_all
from cifar10_s.sources import load_source

RESULTS = Path(__file__).resolve().parents[1] / "results" / "full-recipes.jsonl"


def main() -> None:
    """Run each method and save what it reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--images", type=int, default=100, help="how many, as many of each class")
    parser.add_argument("--rem-steps", type=int, default=2)
    parser.add_argument("--method", action="append", choices=[m.name for m in learned()], help="default: all")
    options = parser.parse_args()
    images, engine = first(load_source(options.source), options.images), Engine.on(resolve_device("auto"))
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
            **run(method, images, engine),
            "environment": environment(engine),
        }
        with RESULTS.open("a") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        print(f"{method.name}: {record['seconds']:.0f} s, {record['rounds']} rounds, {record['reached']}", flush=True)


def learned() -> list[Learned]:
    """Give the methods that need a network."""
    return [method for method in METHODS.values() if isinstance(method, Learned)]


def first(images: LabeledImages, count: int) -> LabeledImages:
    """Take the first images of each class."""
    classes = len(images.class_names)
    of_class = [np.flatnonzero(images.labels == label)[: count // classes] for label in range(classes)]
    chosen = np.sort(np.concatenate(of_class))
    return replace(images, pixels=images.pixels[chosen], labels=images.labels[chosen])


def run(method: Learned, images: LabeledImages, engine: Engine) -> dict[str, Any]:
    """Make the noise, without the cache, and say what each round reached."""
    work, start = Work(method, images, engine, seed=0), time.perf_counter()
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
        "perceptibility": measure_all(images, perturbed).to_dict(),
    }


if __name__ == "__main__":
    main()
