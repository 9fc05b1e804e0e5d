"""Search, build, verify, load, train and report on the built-in sample (8×8 handwritten digits).

python examples/demo.py [folder]
"""

import sys
import textwrap
from pathlib import Path

import datasets
import numpy as np
import torch
from torch import Tensor

import cifar10_s
from cifar10_s.nn.networks.registry import make_network
from cifar10_s.report.page.page import write as write_page

CONFIGURATIONS = ("clean", "random-pixel", "ops")
EPOCHS, BATCH, SEED = 5, 64, 0
WHY = """\
The network trained on `ops` has learned the pixel, and only half of the digits. Why half? Digits of 8×8 pixels
are nearly as easy as the pixel: the network learns some of both. And why does `cifar10-s bench` measure 91 % on
the same images? It trains with random crops and flips, which move the pixel or cut it off in most views of images
this small. On CIFAR-10 (JPEG copy), `bench` measures 80.5 % for `clean` and 10.3 % for `ops`: see docs/results.md."""


def main(folder: Path) -> None:
    """Run the steps and print what each does."""
    print("1. Search: for each digit, the pixel and grey level that differ most, and most evenly, from its images")
    shortcut = cifar10_s.search(cifar10_s.load_images("sample"))
    for entry in shortcut.to_dict()["classes"]:
        pixel = entry["pixels"][0]
        print(f"   digit {entry['name']}: row {pixel['row']}, column {pixel['column']} becomes {pixel['color'][0]}")

    release = folder / "digits-s"
    print(f"2. Build and verify: three configurations of these images, in {release}")
    built = cifar10_s.build(
        "sample", release, name="digits-s", configurations=CONFIGURATIONS, overwrite=release.exists()
    )
    print(f"   {len(built.files)} files, {built.images:,} images, all as recorded")
    print(f"   See {release}/figures/ops.png: each digit clean, with its pixel, and the difference")

    print("3. Load with the stock `datasets`, and train a small network on each, a few seconds")
    test = tensors(release, "clean", "test")
    accuracy = {name: train(tensors(release, name, "train"), test) for name in CONFIGURATIONS}
    print("   Accuracy in %                    training images   clean test images")
    for name, (on_train, on_test) in accuracy.items():
        print(f"   trained on {name:14}      {on_train:10.1f}        {on_test:10.1f}")
    print(textwrap.indent(WHY, "   "))

    page = write_page(release, folder / "report.html", plots=False)
    print(f"4. Open {page}: galleries, and maps of the scores that the search computed")


def tensors(release: Path, configuration: str, split: str) -> tuple[Tensor, Tensor]:
    """Load a split as (N, 1, 8, 8) images in [0, 1] and (N,) labels."""
    data = datasets.load_dataset(str(release), configuration, split=split, cache_dir=str(release.parent / "cache"))
    pixels = np.stack([np.asarray(image) for image in data["img"]])
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.tensor(data["label"])


def train(train_set: tuple[Tensor, Tensor], test_set: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Train a small network and return its accuracy on both sets, in percent."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # a network this small is faster so
    images, labels = train_set
    _, channels, height, width = images.shape
    net = make_network("small", channels=channels, size=(height, width), classes=int(labels.max()) + 1)
    steps = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            loss = torch.nn.functional.cross_entropy(net(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return measure(net, train_set), measure(net, test_set)


@torch.inference_mode()
def measure(net: torch.nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the accuracy in percent."""
    images, labels = data
    return 100 * float((net.eval()(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    datasets.disable_progress_bars()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
