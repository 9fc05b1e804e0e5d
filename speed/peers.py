"""Time the search and the build beside other programs on the same arrays, if you have cloned them.

python -m speed.peers [CLONE ...] [--source SOURCE] [--quick]

A clone is a folder of the authors' program (github.com/cychomatica/One-Pixel-Shotcut), of APBench
(github.com/lafeat/apbench) or of the Adversarial Robustness Toolbox (github.com/Trusted-AI). Their code runs here, in a
process of its own, with the libraries of this environment; the record has the commit. Each search is compared with ours
by the same objective.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

import cifar10_s
from cifar10_s.builder.dataset_builder import OnePixelShortcutBuilder
from cifar10_s.common.options import Options
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.release.recipes import CONFIGURATIONS
from speed.plain import plain_parquet
from speed.saving import report
from speed.synthetic import synthetic
from speed.timing import least, once, python, row

# Each prints, as JSON, the seconds of the search and, per class, the row, the column and the colour that it chose.
# The folder is argument 1; arrays are in the file of argument 2.
HEAD = """
import json, sys, time
from types import SimpleNamespace
import datasets
import numpy as np
sys.path.insert(0, sys.argv[1])
arrays = np.load(sys.argv[2])
pixels, labels = arrays["pixels"], arrays["labels"]
"""
TAIL = """
seconds = time.perf_counter() - start
chosen = []
for label in range(labels.max() + 1):
    before, after = pixels[labels == label] / 255, stamped[labels == label]
    places = np.argwhere((np.abs(after - before) > 1e-6).any((0, 3)))
    chosen.append([[*map(int, place), *np.rint(255 * after[0][tuple(place)]).astype(int).tolist()] for place in places])
print("\\n" + json.dumps([seconds, chosen]))
"""
PIXEL_SEARCH = """
from {module} import pixel_search
start = time.perf_counter()
stamped = pixels / 255 + pixel_search(SimpleNamespace(data=pixels, targets=labels))
"""
POISON = """
from art.attacks.poisoning.one_pixel_shortcut_attack import OnePixelShortcutAttack
levels = (pixels / 255).astype(np.float32)
start = time.perf_counter()
stamped = OnePixelShortcutAttack().poison(levels, labels)[0]
"""


@dataclass(frozen=True)
class Peer:
    """Another program: its name, a file that only it has, its objective by our name, and how its search is called."""

    name: str
    file: str
    objective: str
    call: str


PEERS = (
    Peer("the authors' program", "perturb.py", "mean-over-std", PIXEL_SEARCH.format(module="perturb")),
    Peer("APBench", "attack/ops_poisons.py", "mean-over-std", PIXEL_SEARCH.format(module="attack.ops_poisons")),
    Peer("ART", "art/attacks/poisoning/one_pixel_shortcut_attack.py", "mean-minus-variance", POISON),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", nargs="*", type=Path, help="folders of other programs")
    parser.add_argument("--source", help="images of this source instead of synthetic ones")
    parser.add_argument("--quick", action="store_true", help="500 images, not saved: to see that it runs")
    options = parser.parse_args(arguments)
    datasets.disable_progress_bars()
    peers = {clone: find_peer(clone) for clone in options.clones}
    images = synthetic(50_000) if options.source is None else cifar10_s.load_images(options.source)
    images = images.take(slice(0, 500)) if options.quick else images
    data = "synthetic, seed 0" if options.source is None else images.provenance.title
    versions = {peer.name: commit(clone) for clone, peer in peers.items()}
    with tempfile.TemporaryDirectory() as scratch:
        rows = [line for clone, peer in peers.items() for line in search_rows(peer, clone, images, Path(scratch))]
        rows += build_rows(images, Path(scratch))
    report("peers", rows, data, save=not options.quick, peers=versions)


def find_peer(clone: Path) -> Peer:
    """Return whose clone a folder is.

    Raises
    ------
    UsageError
        If it is of none of them.
    """
    for peer in PEERS:
        if (clone / peer.file).is_file():
            return peer
    expected = ", ".join(f"{peer.file} ({peer.name})" for peer in PEERS)
    raise UsageError(f"{clone}: expected a clone with one of {expected}, found none of these files")


def commit(clone: Path) -> str:
    """Return the commit of a clone, or that it is unknown."""
    line = ["git", "-C", str(clone.resolve()), "rev-parse", "HEAD"]
    done = subprocess.run(line, capture_output=True, text=True)  # noqa: S603 (git's own command, on the user's folder)
    return done.stdout.strip() if done.returncode == 0 else "unknown: not a clone by git"


def search_rows(peer: Peer, clone: Path, images: LabeledImages, scratch: Path) -> list[dict[str, Any]]:
    """Return the rows of a peer's search, and of ours by the same objective."""
    arrays = scratch / "images.npz"
    np.savez(arrays, pixels=images.pixels, labels=images.labels)
    printed = python("-c", f"{HEAD}{peer.call}{TAIL}", clone.resolve(), arrays)
    theirs, chosen = json.loads(printed.splitlines()[-1])
    shortcut = cifar10_s.search(images, objective=peer.objective, device="cpu")
    (ours,) = least([lambda: cifar10_s.search(replace(images), objective=peer.objective, device="cpu")])
    own = np.concatenate([shortcut.positions, shortcut.colors], -1).tolist()
    same = sum(theirs == ours for theirs, ours in zip(chosen, own, strict=True))
    return [
        row(f"search by {peer.objective}: {peer.name}", theirs, "s"),
        row(f"search by {peer.objective}: this package, in memory", ours, "s"),
        row(f"search by {peer.objective}: times as fast as {peer.name}", theirs / ours, "x"),
        row(f"search by {peer.objective}: classes of {len(own)} with the same pixel and colour", same, ""),
    ]


def build_rows(images: LabeledImages, scratch: Path) -> list[dict[str, Any]]:
    """Return the rows of writing a configuration as Parquet: by `datasets` alone, and by this package."""
    poisoned = cifar10_s.search(images, device="cpu").stamp(images)
    names = list(images.class_names)
    plain = once(lambda: plain_parquet(poisoned.pixels, poisoned.labels, names, scratch / "plain.parquet"))
    builder = OnePixelShortcutBuilder(
        recipe=CONFIGURATIONS["ops"],
        splits={"train": replace(images)},
        options=Options.resolve(device="cpu"),
        cache_dir=str(scratch / "cache"),
    )
    ours = once(lambda: builder.download_and_prepare(str(scratch / "ours"), file_format="parquet"))
    return [
        row("write stamped images as Parquet: `datasets` alone", plain, "s"),
        row("search, stamp and write them: this package", ours, "s"),
        row("times as fast as `datasets` alone", plain / ours, "x"),
    ]


if __name__ == "__main__":
    main()
