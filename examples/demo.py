"""The whole path on the built-in sample (8×8 handwritten digits): search, build, verify, load, train.

python examples/demo.py [folder]
"""

import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from torch import Tensor

import cifar10_s
from cifar10_s.nets import SmallNet

EPOCHS, BATCH, SEED = 5, 64, 0


def main(folder: Path) -> None:
    """Run the five steps and say what each does."""
    print("1. Search: for each digit, the pixel and grey level that its images have least")
    shortcut = cifar10_s.search(cifar10_s.load_source("sample"))
    for entry in shortcut.to_dict()["classes"]:
        pixel = entry["pixels"][0]
        print(f"   digit {entry['name']}: row {pixel['row']}, column {pixel['column']} becomes {pixel['color'][0]}")

    release = folder / "digits-s"
    print(f"2. Build: the sample's configurations into {release}; EM by its reduced recipe, made for a CPU")
    cifar10_s.build("sample", release, name="digits-s", budget="small", overwrite=release.exists())

    print("3. Verify: reopen every file and image")
    verified = cifar10_s.verify(release)
    print(f"   {len(verified.files)} files, {verified.images} images, all as recorded")

    print("4. Load with the stock `datasets` and train a small network on each, a few seconds")
    test = tensors(release, "clean", "test")
    accuracy = {name: train(tensors(release, name, "train"), test) for name in ("clean", "random-pixel", "ops")}
    print("5. Accuracy in %                 training images   clean test images")
    for name, (on_train, on_test) in accuracy.items():
        print(f"   trained on {name:14}      {on_train:10.1f}        {on_test:10.1f}")
    print(f"The network trained on `ops` has learned the pixel, little of the digit. See it: {release}/figures/ops.png")


def tensors(release: Path, configuration: str, split: str) -> tuple[Tensor, Tensor]:
    """Load a split as (N, 1, 8, 8) images in [0, 1] and (N,) labels."""
    data = datasets.load_dataset(str(release), configuration, split=split, cache_dir=str(release.parent / "cache"))
    pixels = np.stack([np.asarray(image) for image in data["img"]])
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.tensor(data["label"])


def train(train_set: tuple[Tensor, Tensor], test_set: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Train a small network and give its accuracy on both sets, in percent."""
    torch.manual_seed(SEED)
    images, labels = train_set
    net = SmallNet(images.shape[1], (images.shape[2], images.shape[3]), int(labels.max()) + 1)
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
    """Give the accuracy in percent."""
    images, labels = data
    return 100 * float((net.eval()(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    datasets.disable_progress_bars()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
