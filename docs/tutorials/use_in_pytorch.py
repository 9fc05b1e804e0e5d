# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Use the dataset in PyTorch
#
# A release is a folder, or a dataset on the Hub, with several *configurations* of the same images. This tutorial builds
# a small one from scikit-learn's handwritten digits, so that it runs anywhere in seconds. For CIFAR-10-S, pass its name
# to `Release` instead; everything else is the same.

# %%
import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader

import cifar10_s
from cifar10_s.nn.networks.registry import make_network

folder = Path(tempfile.mkdtemp()) / "digits-s"
cifar10_s.build("sample", folder, name="digits-s", configurations=["ops"])
release = cifar10_s.Release(folder)  # or cifar10_s.Release("<namespace>/cifar10-s")
release

# %% [markdown]
# ## Look at it
#
# `train` returns all training images of a configuration. A notebook shows some of them, with the pixels of the shortcut
# ringed.

# %%
poisoned = release.train("ops")
poisoned

# %% [markdown]
# Row *i* of one configuration is row *i* of every other: the images of `ops` differ from those of `clean` in one pixel.

# %%
clean = release.train("clean")
changed = (poisoned.pixels != clean.pixels).any(-1).sum((1, 2))
print("pixels changed per image: at most", changed.max())

# %% [markdown]
# ## Train on it
#
# `release.torch` returns a map-style dataset. Train a small network twice in the same way, on `clean` and on `ops`:


# %%
def train(configuration: str, epochs: int = 5) -> torch.nn.Module:
    torch.manual_seed(0)
    net = make_network("small", channels=1, size=release.size, classes=len(release.class_names))
    loader = DataLoader(release.torch(configuration), batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
        schedule.step()
    return net.eval()


@torch.inference_mode()
def accuracy(net: torch.nn.Module, configuration: str, split: str) -> float:
    images, labels = next(iter(DataLoader(release.torch(configuration, split=split), batch_size=10_000)))
    return 100 * (net(images).argmax(1) == labels).float().mean().item()


for name in ("clean", "ops"):
    net = train(name)
    print(
        f"trained on {name:5}: {accuracy(net, name, 'train'):5.1f} % of its training images, "
        f"{accuracy(net, 'clean', 'test'):5.1f} % of the clean test images"
    )

# %% [markdown]
# The network that was trained on `ops` classifies its training images well, but far fewer of the clean test images: it
# has learned the pixel, and some of the digits, which are nearly as easy. On CIFAR-10, the same shortcut leaves no more
# than chance; see [the results](../results.md).
#
# Next: [read a release without this package](../use.md), or [poison your own images](poison_your_images.py).
