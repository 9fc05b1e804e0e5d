"""How the search grows on a cluster, simulated on this machine: ``python -m speed.cluster``.

Ray starts several nodes, as processes of this machine. Reading is simulated: a block waits as long as a core would read
and decode its images, and then makes them up, so that there can be more workers than cores. Blocks are unlike, as
real ones are: some are empty, some large, some slow. Writes results/cluster-simulated.json, whose figures and pictures
``make readme`` puts into docs/scale.md.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.machine import cores, processor
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.stream import Stream
from cifar10_s.report.plot_style import COLORS, DPI, WIDTH_PIXELS, page_svg, styled
from cifar10_s.shortcut.pixel_search import search

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cluster-simulated.json"
# Seconds that a core takes for an image; (H, W, C); classes; images of a usual block.
PER_IMAGE, SHAPE, CLASSES, BLOCK = 2e-4, (32, 32, 3), 10, 500
# One block of so many is empty, has four times the images, takes four times as long for each.
EMPTY, LARGE, SLOW, TIMES = 10, 15, 16, 4
WORKERS, COUNTS = (1, 2, 4, 8, 16), (40_000, 80_000, 160_000, 320_000, 640_000)
OF_WORKERS, OF_COUNTS, CPUS_PER_NODE = 160_000, 8, 4
STORE_BYTES = 200 << 20
# Seconds that the pictures name.
TICKS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class SimulatedBlock:
    """Images that come after as long as a core would take for them."""

    number: int
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def seconds(self) -> float:
        """How long a core takes for all of them."""
        return PER_IMAGE * self.count * (TIMES if self.number % SLOW == 1 else 1)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        time.sleep(self.seconds * len(rows) / max(self.count, 1))
        page = np.random.default_rng(self.number).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
        yield page[rows % len(page)]


def images(count: int, mapper: Cluster | None = None) -> Stream:
    """Return so many images in unlike blocks, in the order of their classes as folders are."""
    blocks: list[SimulatedBlock] = []
    left = count
    while left:
        number = len(blocks)
        size = 0 if number % EMPTY == 3 else min(left, BLOCK * (TIMES if number % LARGE == 5 else 1))
        blocks.append(SimulatedBlock(number, size))
        left -= size
    labels = np.arange(count) * CLASSES // count
    names = tuple(f"class {number}" for number in range(CLASSES))
    return Stream(tuple(blocks), SHAPE, labels, names, Provenance(), mapper=mapper)


@contextmanager
def cluster(workers: int) -> Iterator[tuple[Any, Cluster]]:
    """Start nodes with so many CPUs in all, and their workers; yield Ray's cluster, and ours."""
    import ray
    from ray import cluster_utils

    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for start in range(0, workers, CPUS_PER_NODE):
            cpus = min(CPUS_PER_NODE, workers - start)
            made.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)
        made.wait_for_nodes()
        mapper = Cluster.connect(made.address)
        timed_search(images(2 * workers * BLOCK, mapper))  # the workers import this package
        yield made, mapper
    finally:
        ray.shutdown()
        made.shutdown()  # type: ignore[no-untyped-call]


def timed_search(stream: Stream) -> tuple[float, Any]:
    """Return the seconds that a search takes, and what it finds."""
    start = time.perf_counter()
    found = search(stream, device="cpu")
    return time.perf_counter() - start, found.to_dict()


def at_best(count: int, workers: int) -> float:
    """Return the seconds that so many workers need to read so many images, if none ever waits."""
    return sum(block.seconds for block in images(count).blocks if isinstance(block, SimulatedBlock)) / workers


def measure() -> dict[str, Any]:
    """Measure the time by workers and by images, and that with a node lost halfway; all find the same pixels."""
    expected = {count: timed_search(images(count))[1] for count in {OF_WORKERS, COUNTS[0]}}
    by_workers, by_images = [], []
    for workers in WORKERS:
        with cluster(workers) as (made, mapper):
            seconds, found = timed_search(images(OF_WORKERS, mapper))
            _check(found == expected[OF_WORKERS])
            by_workers.append(seconds)
            if workers == OF_COUNTS:
                for count in COUNTS:
                    seconds, found = timed_search(images(count, mapper))
                    _check(count not in expected or found == expected[count])
                    by_images.append(seconds)
                lost = _lose_a_node(made, mapper, halfway=by_images[COUNTS.index(OF_WORKERS)] / 2)
                _check(lost.pop("found") == expected[OF_WORKERS])
    return {
        "processor": processor(), "cores": cores(), "by workers": by_workers, "by images": by_images, **lost,
    }  # fmt: skip


def _lose_a_node(made: Any, mapper: Cluster, halfway: float) -> dict[str, Any]:
    doomed = made.list_all_nodes()[-1]
    killer = threading.Timer(halfway, lambda: made.remove_node(doomed, allow_graceful=False))
    killer.start()
    seconds, found = timed_search(images(OF_WORKERS, mapper))
    killer.join()
    return {"a node lost": seconds, "found": found}


def _check(is_fine: bool) -> None:
    if not is_fine:
        raise SystemExit("the cluster found other pixels than one machine: expected the same")


def table(measured: dict[str, Any]) -> str:
    """Return the seconds in Markdown, beside those that no worker can do better than."""
    lines = ["| images | workers | search | at best | times |", f"| --: |{' --: |' * 4}"]
    of_workers = [(OF_WORKERS, workers, one) for workers, one in zip(WORKERS, measured["by workers"], strict=True)]
    of_images = [(count, OF_COUNTS, one) for count, one in zip(COUNTS, measured["by images"], strict=True)]
    lost = (OF_WORKERS, OF_COUNTS, measured["a node lost"])
    for count, workers, seconds in (*of_workers, *of_images, lost):
        best = at_best(count, workers)
        note = f", {CPUS_PER_NODE} of them lost halfway" if (count, workers, seconds) == lost else ""
        lines.append(f"| {count:,} | {workers}{note} | {seconds:.1f} s | {best:.1f} s | {seconds / best:.2f} |")
    return "\n".join(lines) + "\n"


def draw(measured: dict[str, Any]) -> dict[str, bytes]:
    """Return the pictures as SVG: seconds against workers, and against images, each beside its limit."""
    best = [at_best(OF_WORKERS, workers) for workers in WORKERS]
    of_images = [at_best(count, OF_COUNTS) for count in COUNTS]
    return {
        "workers": _picture(WORKERS, measured["by workers"], best, f"workers; {OF_WORKERS:,} images"),
        "images": _picture(COUNTS, measured["by images"], of_images, f"images; {OF_COUNTS} workers"),
    }


@styled()
def _picture(along: tuple[int, ...], seconds: list[float], best: list[float], what: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_PIXELS / DPI, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.loglog(along, seconds, "o-", color=COLORS[0], label="search on the simulated cluster")
    axes.loglog(along, best, "s--", color=COLORS[1], label="simulated reading, if no worker ever waits")
    axes.set_xticks(along, [f"{one:,}" for one in along])
    ticks = [tick for tick in TICKS if min(best) / 2 <= tick <= 2 * max(seconds)]
    axes.set_yticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set(xlabel=what, ylabel="seconds")
    axes.legend()
    return page_svg(figure)


def main() -> None:
    """Measure, and write the record."""
    RESULTS.write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Workers cannot import what is defined in a module of this name.
    from speed.cluster import main as run

    run()
