"""Run on a GPU what only a GPU can tell, in order of worth, within a number of seconds; one line of JSON per result.

    python -m speed.gpu_day --images cifar10-jpeg.npz --out gpu-day --seconds 480

a  the search, the sums and the stamped images have the same bits as on a CPU
b  the kernel and the search, against the bandwidth of the device and of the bus
c  training of ResNet-18: plain PyTorch, this package, CUDA graphs, `torch.compile`
d  networks trained on clean, ops, ops-spread-2 and em-ops, by `quick-v1`
e  EM by the full recipe
f  adversarial training on ops and em-ops, by `quick-v1`
g  one run of `paper-v1` on ops

Each step has a number of seconds (`BUDGETS`), and all together have those of ``--seconds``, in which the imports count.
A step that does not fit is cut, or left out and said so. Results are appended to ``OUT/results.jsonl``, and the records
of trained networks to ``OUT/benchmark.jsonl``, as `cifar10-s bench` writes them. What is recorded there is skipped, so
the same command goes on where it was cut. EM goes on from its last round if the cache is still there (CIFAR10_S_CACHE);
other training starts again. The status is 1 if bits differ or something failed.

What the machine needs: torch, triton, NumPy, Pillow, numba, tqdm and filelock. Carry this repository and the images:
one NPZ with ``S_bytes`` (image files, one after another), ``S_ends`` (where each ends) and ``S_labels``, S being
``train`` and ``test``. If it has the name of the folder that a release was built from, the runs have the same ids.
Neither a network nor datasets, msgspec, typer, imagecodecs or kornia are needed. Until EM has run here, the noise of
em-ops is by the reduced recipe.

``--rehearse`` does the same on the CPU with tiny sizes, in seconds, to see that it runs.
"""

import argparse
import io
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cifar10_s.benchmark.outcome import environment, train_run
from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.run_spec import RunSpec
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run
from cifar10_s.common.options import Options
from cifar10_s.common.records import Records, run_id
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.cifar10 import CLASS_NAMES, compare_with_cifar10
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.errors import Cifar10SError, UsageError, one_line
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.learned import Learned, Work
from cifar10_s.methods.registry import METHODS
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.networks.registry import make_network
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import Trainer
from cifar10_s.release.compose import compose, find_shortcut
from cifar10_s.release.recipes import CONFIGURATIONS, DATASET_VERSION, Recipe
from cifar10_s.shortcut.torch_device import DeviceSums, accumulate
from speed.gpu import SIZES, Size, measure_bus, measure_device, wait
from speed.plain import plain_training
from speed.timing import median

# Seconds of each step; what is left of all seconds is the limit too.
BUDGETS = {"a": 30, "b": 40, "c": 60, "d": 380, "e": 900, "f": 1800, "g": 900}
DECODED_AT_A_TIME = 500
# Networks of step d, the most telling first: configuration and strategy.
RUNS = (
    ("clean", "standard"), ("ops", "standard"), ("ops", "cutout"), ("em-ops", "standard"), ("ops-spread-2", "standard"),
    ("ops", "randaugment"), ("clean", "cutout"), ("em-ops", "cutout"), ("ops-spread-2", "cutout"),
    ("em-ops", "randaugment"), ("ops-spread-2", "randaugment"), ("clean", "randaugment"),
)  # fmt: skip
ATTACKED = (("ops", "at"), ("em-ops", "at"))


def _age() -> float:
    """Return for how many seconds this process has run (Linux): the imports are part of what was asked for."""
    began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")


START = time.perf_counter() - _age()


class OutOfTimeError(BaseException):
    """The seconds of a step are over; no Exception, so that no library takes it for a failure of its own."""


@dataclass(frozen=True)
class Scale:
    """How much of everything there is: on a GPU, or in the rehearsal.

    Attributes
    ----------
    device, network
        Where and what is trained.
    quick, paper
        The protocols of the runs.
    images
        Images of a split that are taken, from the first; None for all.
    shapes
        Shapes of random images whose sums are compared, besides the images themselves.
    sizes, copied
        What step b measures on.
    steps, plain_images
        Training steps that are timed, after a fifth as many, and the images of the plain loop with a `DataLoader`.
    backend
        Of `torch.compile`.
    """

    device: str = "cuda"
    network: str = "resnet-18"
    quick: Protocol = PROTOCOLS["quick-v1"]
    paper: Protocol = PROTOCOLS["paper-v1"]
    images: int | None = None
    shapes: tuple[tuple[int, ...], ...] = ((1000, 33, 31, 3), (1000, 28, 28, 1), (300, 7, 5, 4), (200, 224, 224, 3))
    sizes: tuple[Size, ...] = SIZES
    copied: int = 1 << 30
    steps: int = 100
    plain_images: int = 6_400
    backend: str = "inductor"

    def method(self, method: Learned) -> Learned:
        """Return a method's recipe at this scale."""
        return method


class Rehearsal(Scale):
    """The tiny sizes."""

    def method(self, method: Learned) -> Learned:
        """Return a recipe of seconds."""
        # With its own budget, so that the full and the reduced recipe are two.
        tiny = replace(method.small(), network=self.network, steps=1, budget=method.budget)
        return replace(tiny, max_rounds=2, train_batches=1) if isinstance(tiny, ErrorMinimizing) else tiny


_TINY = replace(PROTOCOLS["cpu-v1"], name="rehearsal", epochs=1)
REHEARSAL = Rehearsal(
    device="cpu", network="lenet-5", quick=_TINY, paper=replace(_TINY, name="rehearsal-of-paper", epochs=2), images=128,
    shapes=((40, 5, 4, 3), (40, 3, 3, 1)), sizes=((200, 8, 3, 10),), copied=1 << 16, steps=2, plain_images=128,
    backend="eager",
)  # fmt: skip


@dataclass(eq=False)
class Data:
    """The images, decoded when they are first needed, and the configurations made of them."""

    file: Path
    scale: Scale

    @cached_property
    def train(self) -> LabeledImages:
        """The clean training images."""
        return self._read("train")

    @cached_property
    def test(self) -> LabeledImages:
        """The clean test images."""
        return self._read("test")

    def _read(self, split: str) -> LabeledImages:
        images, count = read_images(self.file, split), self.scale.images
        return replace(images, pixels=images.pixels[:count], labels=images.labels[:count])

    @property
    def title(self) -> str:
        """The name of the images in records."""
        return self.train.provenance.title

    @cached_property
    def _made(self) -> dict[str, LabeledImages]:
        return {}

    def made(self, recipe: Recipe) -> LabeledImages:
        """Return the training images of a recipe."""
        key = json.dumps(recipe.settings(), sort_keys=True)
        if key not in self._made:
            self._made[key] = compose(recipe, self.train, Options.resolve(device=self.scale.device)).images.load()
        return self._made[key]


def read_images(file: Path, split: str) -> LabeledImages:
    """Decode a split of an NPZ of image files; it is called CIFAR-10 only if it is, and otherwise by the file's name.

    Raises
    ------
    UsageError
        If the file cannot be read so.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            blob, ends, labels = (arrays[f"{split}_{name}"] for name in ("bytes", "ends", "labels"))
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(
            f"{file}: expected an NPZ with {split}_bytes, {split}_ends and {split}_labels, got {one_line(error)}"
        ) from None
    starts = np.concatenate([[0], ends[:-1]])

    def decode(part: slice) -> NDArray[np.uint8]:
        files = (io.BytesIO(blob[a:b].tobytes()) for a, b in zip(starts[part], ends[part], strict=True))
        return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])

    pixels = np.concatenate(list(thread_map(decode, chunks(len(ends), DECODED_AT_A_TIME))))
    images = LabeledImages(pixels, labels.astype(np.int64), CLASS_NAMES, Provenance("parquet", file.stem))
    if compare_with_cifar10(images, split) is None:
        return replace(
            images, provenance=Provenance("parquet", file.stem, claims_cifar10=True, check="images and labels")
        )
    return images


class Day:
    """The results so far, the time that is left, and the images.

    Parameters
    ----------
    out
        The folder of the results.
    data, scale
        The images, and how much of everything.
    seconds
        The seconds of all steps, from the start of the process.
    """

    def __init__(self, out: Path, data: Data, scale: Scale, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.data, self.scale, self.deadline = data, scale, START + seconds
        self.file, self.records = out / "results.jsonl", Records(out / "benchmark.jsonl")
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        self.lines = [line for line in map(_parsed, lines) if line is not None]
        self.failed = False

    @cached_property
    def runtime(self) -> Runtime:
        """Device and precision."""
        return Runtime.on(self.scale.device)

    @property
    def left(self) -> float:
        """The seconds that are left, of the step or of all."""
        return self.deadline - time.perf_counter()

    def add(self, step: str, what: str, **values: Any) -> None:
        """Append a result, in one piece: a process that is cut leaves no half of it but at the end of the file."""
        line = {"step": step, "what": what, **values}
        text = json.dumps({**line, "at": round(time.perf_counter() - START, 1)}, ensure_ascii=False)
        begin = "" if not self.file.is_file() or self.file.read_bytes()[-1:] in (b"", b"\n") else "\n"
        with self.file.open("a", encoding="utf-8") as file:
            file.write(f"{begin}{text}\n")
        self.lines.append(line)
        print(text, flush=True)

    def has(self, step: str, what: str) -> bool:
        """Whether a result is there; what failed or was left out is tried again."""
        return any(line["step"] == step and line["what"] == what and not _is_missing(line) for line in self.lines)

    def do(self, step: str, what: str, function: Callable[[], Mapping[str, Any]]) -> None:
        """Add what a function returns, unless it is there; what fails is said, and the day goes on."""
        if self.has(step, what):
            return
        try:
            values = function()
        except LeftOutError as reason:
            self.add(step, what, left_out=str(reason))
        except Exception as error:  # a kernel, a compiler or a library can raise anything
            self.failed = True
            self.add(step, what, failed=one_line(error))
        else:
            self.failed |= values.get("same") is False
            self.add(step, what, **values)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Raise OutOfTimeError in the context after so many seconds, or when those of all steps are over."""

        def ring(*_: object) -> None:
            raise OutOfTimeError

        whole, self.deadline = self.deadline, min(self.deadline, time.perf_counter() + seconds)
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
        try:
            yield
        finally:
            self.deadline = whole
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class LeftOutError(Exception):
    """Why something is not done: it does not fit into the time, or something is not here."""


def _parsed(line: str) -> dict[str, Any] | None:
    """Read a line of the results; None for half a line, which a killed process leaves."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None


def _is_missing(line: Mapping[str, Any]) -> bool:
    return "failed" in line or "left_out" in line or "cut" in line


# Step a: the same bits.


def same_bits(day: Day) -> None:
    """Compare the device's results with the CPU's, in the order of their worth."""
    for recipe in (CONFIGURATIONS["ops"], CONFIGURATIONS["ops-2"], CONFIGURATIONS["ops-std"]):
        day.do("a", f"search and stamp, {recipe.name}", partial(_same_search, day, recipe))
    images = day.data.train
    day.do("a", "sums of the images", partial(_same_sums, day, images.pixels, images.labels))
    for shape in day.scale.shapes:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        labels = random.integers(0, 7, len(pixels))
        day.do("a", f"sums of {'×'.join(map(str, shape))}", partial(_same_sums, day, pixels, labels))
    spread = CONFIGURATIONS["ops-spread-2"]  # the last, as its search takes the longest
    day.do("a", f"search and stamp, {spread.name}", partial(_same_search, day, spread))


def _same_search(day: Day, recipe: Recipe) -> dict[str, Any]:
    found = []
    for device in ("cpu", day.scale.device):
        clean = replace(day.data.train)  # nothing is remembered of it
        shortcut = find_shortcut(recipe, clean, Options.resolve(device=device))
        assert shortcut is not None  # noqa: S101
        found.append((shortcut.to_json(), shortcut.stamp(clean).digest()))
    return {"same": found[0] == found[1], "pixels_sha256": found[1][1], "source": day.data.title}


def _same_sums(day: Day, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Compare the sums on the device with those on the CPU, both added in pieces."""
    height, width, channels = pixels.shape[1:]
    classes, shape = int(labels.max()) + 1, (height, width, channels)

    def total(device: str) -> list[bytes]:
        sums = DeviceSums(shape, classes, device)
        for part in chunks(len(pixels), 997):
            sums.add(pixels[part], labels[part])
        moments = sums.moments()
        return [array.tobytes() for array in (moments.counts, moments.sums, moments.products)]

    expected, got = total("cpu"), total(day.scale.device)
    kernel = day.scale.device == "cpu" or _is_kernel_plain(day, pixels, labels, classes)
    return {"same": expected == got and kernel, "sums_same": expected == got, "kernel_same": kernel}


def _is_kernel_plain(day: Day, pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> bool:
    """Compare the kernel itself with plain torch on the device: `DeviceSums` goes on without a kernel that fails."""
    from cifar10_s.shortcut import triton_kernel

    rows = torch.from_numpy(pixels.reshape(len(pixels), -1)).to(day.scale.device)
    ordered, order = torch.sort(torch.from_numpy(labels).to(day.scale.device))
    starts = torch.searchsorted(ordered, torch.arange(classes + 1, device=rows.device))
    totals = []
    for add in (triton_kernel.accumulate, accumulate):
        sums = torch.zeros((classes, rows.shape[1]), dtype=torch.int64, device=rows.device)
        products = torch.zeros((classes, pixels.shape[-1], rows.shape[1]), dtype=torch.int64, device=rows.device)
        add(rows, order, starts, sums, products)
        totals.append((sums, products))
    return all(torch.equal(*pair) for pair in zip(*totals, strict=True))


# Step b: bandwidth.


def bandwidth(day: Day) -> None:
    """Measure the search of the images against the bus, then the kernel against the device's memory."""
    images, device = day.data.train, day.scale.device

    def search() -> dict[str, Any]:
        options = Options.resolve(device=device)
        seconds = median(lambda: find_shortcut(CONFIGURATIONS["ops"], replace(images), options), repeats=5)
        bus = measure_bus(device, day.scale.copied)
        rate = images.pixels.nbytes / seconds
        return {"value": rate / 1e9, "unit": "GB/s", "limit": bus / 1e9, "share": rate / bus, "seconds": seconds}

    day.do("b", f"search of {len(images):,} images in memory", search)
    if day.has("b", "all sizes"):
        return

    def rows() -> dict[str, Any]:
        for line in measure_device(device, day.scale.sizes, day.scale.copied):
            if not day.has("b", line["what"]):
                day.add("b", **line)
        return {}

    day.do("b", "all sizes", rows)


# Step c: training.

# Takes levels and labels, and trains by one step; returns the logits.
Step = Callable[[Tensor, Tensor], Tensor]
RATE = 0.05


def throughput(day: Day) -> None:
    """Time the ways to train, and record which is best; each way ends with a loss, which shows that it trains."""
    ways: dict[str, Callable[[Day], Step]] = {
        "plain PyTorch": _plain_step,
        "this package": _own_step,
        "CUDA graph": _graphed_step,
        "torch.compile": partial(_compiled_step, mode=None),
        "torch.compile, reduce-overhead": partial(_compiled_step, mode="reduce-overhead"),
    }
    for name, make in ways.items():
        for suffix, deterministic in (("", True), (", any algorithm", False)):
            # Two of them tell what determinism costs.
            if deterministic or name in ("this package", "CUDA graph"):
                day.do("c", name + suffix, partial(_time_way, day, make, deterministic=deterministic))
    day.do("c", "DataLoader over PIL images, float32", partial(_time_script, day))
    timed = [line for line in day.lines if line["step"] == "c" and "value" in line and "way" not in line]
    if timed:
        best = max(timed, key=lambda line: float(line["value"]))
        day.do("c", f"best of {len(timed)}", lambda: {"way": best["what"], **{k: best[k] for k in ("value", "unit")}})


def _network(day: Day) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, height, width, channels = day.data.train.shape
        classes = len(day.data.train.class_names)
        return make_network(day.scale.network, channels=channels, size=(height, width), classes=classes)


def _trainer(day: Day) -> Trainer:
    quick = day.scale.quick
    return Trainer(day.runtime, _network(day), momentum=quick.momentum, weight_decay=quick.weight_decay)


def _time_way(day: Day, make: Callable[[Day], Step], *, deterministic: bool) -> dict[str, Any]:
    """Time steps on batches that are drawn, cropped and flipped as in the benchmark's loop."""
    batch, steps = day.scale.quick.batch, day.scale.steps
    images = day.data.train
    pixels = torch.from_numpy(images.pixels).to(day.runtime.device)
    labels = torch.from_numpy(images.labels).to(day.runtime.device)
    random = np.random.default_rng(0)

    def advance(step: Step, count: int) -> Tensor:
        for _ in range(count):
            index = torch.from_numpy(random.integers(0, len(labels), batch)).to(labels.device)
            levels, targets = CropAndFlip.draw(random, pixels[index])(pixels[index]).float(), labels[index]
            logits = step(levels, targets)
        return nn.functional.cross_entropy(logits, targets)

    with ExitStack() as stack:
        if deterministic:
            stack.enter_context(day.runtime.deterministic())
        start = time.perf_counter()
        step = make(day)
        advance(step, max(2, steps // 5))
        wait(day.scale.device)
        began = time.perf_counter()
        loss = advance(step, steps)
        wait(day.scale.device)
    seconds = time.perf_counter() - began
    return {
        "value": steps * batch / seconds, "unit": "images/s", "network": day.scale.network, "batch": batch,
        "precision": "bfloat16" if day.runtime.bfloat16 else "float32",
        "loss": float(loss), "start_seconds": round(began - start, 1),
    }  # fmt: skip


def _plain_step(day: Day) -> Step:
    """Make the step of a first script: images on the device, mixed precision, PyTorch's own order and optimiser."""
    net = _network(day).to(day.runtime.device)
    optimizer = torch.optim.SGD(net.parameters(), RATE, 0.9, weight_decay=5e-4)

    def step(levels: Tensor, labels: Tensor) -> Tensor:
        net.train()
        inputs = ((levels / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).contiguous()
        with torch.autocast(day.runtime.device.type, torch.bfloat16, enabled=day.runtime.bfloat16):
            logits: Tensor = net(inputs)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return logits.detach()

    return step


def _own_step(day: Day) -> Step:
    trainer = _trainer(day)
    return lambda levels, labels: trainer.step(levels, labels, RATE)


def _compiled_step(day: Day, *, mode: str | None) -> Step:
    trainer = _trainer(day)
    # Of the backends only inductor knows modes.
    compiled: Any = torch.compile(
        trainer.net, backend=day.scale.backend, mode=mode if day.scale.backend == "inductor" else None
    )
    trainer.net = compiled
    return lambda levels, labels: trainer.step(levels, labels, RATE)


def _graphed_step(day: Day) -> Step:
    """Record forward and backward once as a CUDA graph, and replay it for each batch; the optimiser follows."""
    if day.runtime.device.type != "cuda":
        raise LeftOutError("needs CUDA")
    trainer = _trainer(day)
    net, optimizer = trainer.net.train().requires_grad_(True), trainer.optimizer
    _, height, width, channels = day.data.train.shape
    levels = torch.zeros((day.scale.quick.batch, height, width, channels), device=day.runtime.device)
    labels = torch.zeros(day.scale.quick.batch, dtype=torch.int64, device=day.runtime.device)
    for group in optimizer.param_groups:
        group["lr"] = RATE

    def passes() -> Tensor:
        logits = day.runtime.logits(net, levels)
        nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        return logits

    kept = {name: value.clone() for name, value in net.state_dict().items()}
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            passes()
    torch.cuda.current_stream().wait_stream(side)
    net.load_state_dict(kept)  # the running means have seen black images
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = passes()

    def step(batch: Tensor, of_batch: Tensor) -> Tensor:
        levels.copy_(batch)
        labels.copy_(of_batch)
        graph.replay()
        optimizer.step()
        return logits.detach()

    return step


def _time_script(day: Day) -> dict[str, Any]:
    images, count = day.data.train, day.scale.plain_images
    net = _network(day).to(day.runtime.device)
    start = time.perf_counter()
    plain_training(net, images.pixels[:count], images.labels[:count])
    wait(day.scale.device)
    return {"value": count / (time.perf_counter() - start), "unit": "images/s", "network": day.scale.network}


# Steps d, f and g: networks.


def networks(day: Day, step: str, runs: tuple[tuple[str, str], ...], protocol: Protocol) -> None:
    """Train networks, as many as the time holds."""
    for configuration, strategy in runs:
        recipe = _recipe(day, configuration)
        budget = "" if recipe is None or recipe.budget is None else f" ({recipe.budget} recipe)"
        what = f"{configuration}{budget}, {strategy}, {protocol.name}"
        day.do(step, what, partial(_run, day, recipe, strategy, protocol))


def _recipe(day: Day, configuration: str) -> Recipe | None:
    """Return the recipe of a configuration: with EM's noise by the full recipe only if it is in the cache."""
    recipe = CONFIGURATIONS.get(configuration)
    if recipe is None or not isinstance(recipe.method, Learned):
        return recipe
    full = day.scale.method(recipe.method)
    if full.checkpoint(day.data.train, 0, day.runtime).result() is not None:
        return replace(recipe, method=full)
    return replace(recipe, method=day.scale.method(recipe.method.small()))


@dataclass(frozen=True)
class Digests:
    """What the settings of a run say of its images."""

    title: str
    train: LabeledImages
    clean: LabeledImages
    test: LabeledImages

    def digest(self, configuration: str) -> str:
        """Return the digest of the training images."""
        return (self.clean if configuration == "clean" else self.train).digest()

    @property
    def test_digest(self) -> str:
        """The digest of the test images."""
        return self.test.digest()


def _run(day: Day, recipe: Recipe | None, strategy: str, protocol: Protocol) -> dict[str, Any]:
    """Train and record; after the first epoch it is known whether the others fit."""
    if recipe is None:
        raise LeftOutError("there is no such configuration")
    images, data = day.data.made(recipe), day.data
    spec = RunSpec(recipe.name, STRATEGIES[strategy], protocol, day.scale.network, seed=0)
    settings = spec.settings(Digests(data.title, images, data.train, data.test))
    identity = run_id(settings)
    if identity in day.records.done():
        return {"id": identity}
    run = Run(images, data.test, protocol, spec.strategy, spec.network, spec.seed)

    def on_epoch(times: Sequence[float]) -> None:
        # The first epoch is the slowest, and an attacked network is attacked once more at the end.
        needed = (times[-1] - times[-2]) * (protocol.epochs - len(times) + 1)
        if needed > day.left:
            raise LeftOutError(f"{needed:.0f} s more were needed, {day.left:.0f} s were left")

    status, results = train_run(run, day.runtime, on_epoch)
    day.records.append(
        {
            "id": identity, "settings": settings, "status": status, "results": results,
            "environment": environment(day.runtime, dataset_version=DATASET_VERSION),
        }
    )  # fmt: skip
    told = ("reason", "final", "robust_accuracy", "train_final", "seconds", "images_per_second")
    return {"id": identity, **{name: results[name] for name in told if name in results}}


# Step e: EM.


def full_em(day: Day) -> None:
    """Make EM's noise by the full recipe; each round is added with its seconds and its training error."""
    method = day.scale.method(METHODS["em"])  # type: ignore[arg-type]
    assert isinstance(method, ErrorMinimizing)  # noqa: S101

    class Told(ErrorMinimizing):
        """EM that tells its rounds; it has the same settings, and so the same checkpoint."""

        def rounds(self, work: Work) -> Iterator[str]:
            start = time.perf_counter()
            for reached in super().rounds(work):
                day.add("e", f"round {work.done + 1}", seconds=time.perf_counter() - start, reached=reached)
                yield reached
                start = time.perf_counter()
            day.add("e", f"round {work.done + 1}", seconds=time.perf_counter() - start, reached="the end")

    told = Told(**{field.name: getattr(method, field.name) for field in fields(method)})

    def make() -> dict[str, Any]:
        noise = told.noise(day.data.train, Options.resolve(device=day.scale.device))
        perturbed = day.data.made(replace(CONFIGURATIONS["em"], method=method))
        return {"linf": int(np.abs(noise).max()), "pixels_sha256": perturbed.digest(), "budget": method.budget}

    day.do("e", "EM by the full recipe", make)


STEPS: dict[str, Callable[[Day], None]] = {
    "a": same_bits,
    "b": bandwidth,
    "c": throughput,
    "d": lambda day: networks(day, "d", RUNS, day.scale.quick),
    "e": full_em,
    "f": lambda day: networks(day, "f", ATTACKED, day.scale.quick),
    "g": lambda day: networks(day, "g", (("ops", "standard"),), day.scale.paper),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="an NPZ of image files")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--steps", default=",".join(STEPS), help="default: all")
    parser.add_argument("--seconds", type=float, default=480, help="of all steps, default 480")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args(arguments)
    steps = [name for name in options.steps.split(",") if name]
    if set(steps) - set(STEPS):
        parser.error(f"--steps: expected some of {','.join(STEPS)}, got {options.steps}")
    scale = REHEARSAL if options.rehearse else Scale()
    if scale.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device: see that it runs with --rehearse")
    # cuBLAS reads it when it starts, which may be before `Runtime.deterministic` sets it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        return run_steps(Day(options.out, Data(options.images, scale), scale, options.seconds), steps)
    except Cifar10SError as error:
        print(f"gpu_day: {error}", file=sys.stderr)
        return error.exit_status


def run_steps(day: Day, steps: list[str]) -> int:
    """Run the steps that are asked for; return 1 if bits differ or something failed."""
    day.add(
        "day",
        "machine",
        **environment(day.runtime, dataset_version=DATASET_VERSION),
        host=platform.platform(),
        steps=steps,
    )
    for name in steps:
        start = time.perf_counter()
        if day.left < 1:
            day.add(name, "step", left_out="no time was left")
            continue
        try:
            with day.within(BUDGETS[name]):
                STEPS[name](day)
        except OutOfTimeError:
            day.add(name, "step", cut=f"after {time.perf_counter() - start:.0f} s: run it again to go on")
    day.add("day", "end", seconds=round(time.perf_counter() - START, 1), failed=day.failed)
    return int(day.failed)


if __name__ == "__main__":
    sys.exit(main())
