"""``python -m fuzz [READER …] --seconds S --inputs N``: guided by coverage if atheris is installed, otherwise random.

Inputs that make a reader fail are saved in ``found/READER``. Commit them to ``fuzz/corpus/READER`` with the fix.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

HERE = Path(__file__).resolve().parents[1]
READERS = (
    "archive", "parquet", "parquet-source", "images", "arrays", "forms",
    "manifest", "recipe", "card", "figure", "noise", "records",
)  # fmt: skip
# The package itself, and the parsers that it uses and that are written in Python.
INSTRUMENTED = ["cifar10_s", "tarfile", "pickle", "pickletools", "zipfile", "gzip", "yaml", "PIL"]
COMPILED = [
    "cifar10_s.shortcut.cpu_kernel",
    "cifar10_s.release.metrics.norm_kernel",
    "cifar10_s.release.metrics.ssim_kernel",
]
MEMORY = "/dev/shm"  # if present: each input is written to a file


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        # One process per reader: libFuzzer does not return, and a broken reader must not affect others.
        print("guided by coverage" if atheris else "at random: atheris is not installed", flush=True)
        limits = [f"--{name}={getattr(options, name)}" for name in ("seconds", "inputs", "seed")]
        statuses = [
            subprocess.run([sys.executable, "-m", "fuzz", "--inside", reader, *limits], cwd=HERE).returncode
            for reader in options.readers or READERS
        ]
        return int(any(statuses) or any((HERE / "found").glob("*/*")))
    return fuzz(options.readers[0], options)


def fuzz(reader: str, options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as scratch:
        folder = Path(scratch).resolve()
        os.environ.update(CIFAR10_S_CACHE=f"{folder}/cache", HF_HOME=f"{folder}/home", HF_HUB_OFFLINE="1")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if atheris is None:
            return _at_random(reader, folder, options)
        with atheris.instrument_imports(include=INSTRUMENTED, exclude=COMPILED):
            checked = _prepare(reader, folder)
        return _by_coverage(reader, checked, folder, options)


def _prepare(reader: str, folder: Path):
    from datasets import disable_progress_bars

    from fuzz.harnesses import HARNESSES
    from fuzz.loop import Checked

    disable_progress_bars()
    return Checked(HARNESSES[reader], folder)


def _at_random(reader: str, folder: Path, options: argparse.Namespace) -> int:
    from fuzz.loop import inputs

    checked, start = _prepare(reader, folder), time.monotonic()
    for data in inputs(checked.seeds, random.Random(options.seed)):
        checked.collect(data, HERE / "found" / reader)
        if checked.count >= options.inputs or time.monotonic() - start > options.seconds:
            break
    return _report(reader, checked, start)


def _by_coverage(reader: str, checked, folder: Path, options: argparse.Namespace) -> int:
    from fuzz.loop import mutate

    start, seeds, found = time.monotonic(), folder / "seeds", HERE / "found" / reader
    seeds.mkdir()
    found.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(checked.seeds):
        (seeds / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        checked.collect(data, found)
        if checked.count >= options.inputs or time.monotonic() - start > options.seconds:
            status = _report(reader, checked, start)
            shutil.rmtree(folder)
            os._exit(status)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return mutate(data, rng, lambda part: atheris.Mutate(part, max_size))[:max_size]

    atheris.Setup(
        [sys.argv[0], str(seeds), f"-seed={options.seed + 1}", f"-artifact_prefix={found}/",
         "-rss_limit_mb=6000", "-malloc_limit_mb=2000", "-timeout=60", "-max_len=65536", "-verbosity=0"],
        one, custom_mutator=mutator,
    )  # fmt: skip
    atheris.Fuzz()
    return 0


def _report(reader: str, checked, start: float) -> int:
    took = time.monotonic() - start
    print(f"{reader}: {checked.count} inputs in {took:.0f} s, {len(checked.found)} ways to fail", flush=True)
    return bool(checked.found)


if __name__ == "__main__":
    sys.exit(main())
