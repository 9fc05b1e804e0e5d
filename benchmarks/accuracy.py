"""Train the small network on configurations and measure it on clean test images; a line of JSON a run.

    python benchmarks/accuracy.py --source ../shared/data/cifar10-jpeg clean ops random-pixel

A run that the results hold already is not done again. Short and for a CPU: it shows that a shortcut works, and is
not the paper's protocol.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from bench import processor
from torch import Tensor, nn
from tqdm import tqdm

from cifar10_s.compose import compose
from cifar10_s.images import LabeledImages
from cifar10_s.nets import SmallNet
from cifar10_s.parallel import cores
from cifar10_s.recipes import select
from cifar10_s.sources import load_splits

RESULTS = Path(__file__).resolve().parents[1] / "results" / "accuracy.jsonl"
BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, PADDING = 128, 0.1, 0.9, 5e-4, 4


def main() -> None:
    """Run what is not done yet and save each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", nargs="+")
    parser.add_argument("--source", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    splits = load_splits(options.source)
    recipes = {recipe.name: recipe for recipe in select(options.configurations)}
    RESULTS.touch()
    done = [json.loads(line)["settings"] for line in RESULTS.read_text().splitlines()]
    for seed in range(options.seeds):
        for name in options.configurations:
            images = compose(recipes[name], splits["train"], device="cpu").images
            settings = {
                "configuration": name,
                "pixels_sha256": images.digest(),
                "source": splits["train"].provenance.title,
                "network": "SmallNet",
                "strategy": "crop with padding 4, flip",
                "optimizer": "SGD, one-cycle",
                "epochs": options.epochs,
                "batch": BATCH,
                "learning_rate": LEARNING_RATE,
                "momentum": MOMENTUM,
                "weight_decay": WEIGHT_DECAY,
                "seed": seed,
            }
            if settings not in done:
                save({"settings": settings, **train(images, splits["test"], options.epochs, seed)})


def train(images: LabeledImages, test: LabeledImages, epochs: int, seed: int) -> dict[str, Any]:
    """Train a network and give its accuracy on the test images after each epoch, in percent."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    pixels, labels = as_tensors(images)
    padded = nn.functional.pad(pixels, (PADDING,) * 4)
    net = SmallNet(pixels.shape[1], (pixels.shape[2], pixels.shape[3]), len(images.class_names))
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1)
    on_test, on_train = [], 0.0
    with tqdm(total=steps, disable=None, leave=False) as bar:
        for _ in range(epochs):
            right = 0
            net.train()
            for batch in torch.split(torch.randperm(len(labels))[: steps // epochs * BATCH], BATCH):
                logits = net(crop_and_flip(padded[batch], pixels.shape[2:]))
                loss = nn.functional.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                right += int((logits.argmax(1) == labels[batch]).sum())
                bar.update()
            on_train = 100 * right / (steps // epochs * BATCH)
            on_test.append(measure(net, test))
    return {
        "test_accuracy": on_test,
        "train_accuracy": on_train,
        "seconds": time.perf_counter() - start,
        "processor": processor(),
        "cores": cores(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def as_tensors(images: LabeledImages) -> tuple[Tensor, Tensor]:
    """Give (N, C, H, W) uint8 and (N,) int64 tensors."""
    return torch.from_numpy(images.pixels).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(images.labels)


def normalize(pixels: Tensor) -> Tensor:
    """Turn levels into floats about zero."""
    return ((pixels.float() / 255 - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def crop_and_flip(padded: Tensor, size: torch.Size) -> Tensor:
    """Cut each padded image, (B, C, H + 8, W + 8), to its size at a random place, and mirror half of them."""
    count, channels = padded.shape[:2]
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1))
    rows = (top + torch.arange(size[0]))[:, None, :, None]
    columns = left + torch.arange(size[1])
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))[:, None, None, :]
    cut = padded[torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None], rows, columns]
    return normalize(cut)


@torch.inference_mode()
def measure(net: nn.Module, test: LabeledImages) -> float:
    """Give the accuracy in percent."""
    pixels, labels = as_tensors(test)
    net.eval()
    right = [
        int((net(normalize(part)).argmax(1) == of_part).sum())
        for part, of_part in zip(torch.split(pixels, 1000), torch.split(labels, 1000), strict=True)
    ]
    return 100 * sum(right) / len(labels)


def save(record: dict[str, Any]) -> None:
    """Append a run's record."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
    settings = record["settings"]
    print(
        f"{settings['configuration']:20} seed {settings['seed']}: test {record['test_accuracy'][-1]:.1f} %", flush=True
    )


if __name__ == "__main__":
    main()
