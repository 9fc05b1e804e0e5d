# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Add a method
#
# A method makes perturbed images from clean ones. It is a frozen dataclass: its fields are the numbers of its recipe,
# `bound` declares how far an image may be changed, and `perturb` changes them. This one makes each class lighter and
# darker in a pattern of its own.

# %%
from dataclasses import dataclass

import numpy as np

import cifar10_s
from cifar10_s.common.options import Options
from cifar10_s.common.rng import generator
from cifar10_s.methods.base import Bound, Method, add_noise


@dataclass(frozen=True, kw_only=True)
class Tiles(Method):
    """Tiles of 2×2 pixels, each ε levels lighter or darker, drawn once per class."""

    name: str = "tiles"
    summary: str = "tiles: a pattern of light and dark per class"
    epsilon: int = 24

    def bound(self, shape):
        """Return ε levels in ℓ∞."""
        return Bound(linf=self.epsilon)

    def perturb(self, images, options):
        """See `Method.perturb`."""
        _, height, width, channels = images.shape
        size = (len(images.class_names), -(-height // 2), -(-width // 2), channels)
        tiles = generator(options.seed, self.name).choice([-self.epsilon, self.epsilon], size)
        noise = tiles.repeat(2, 1).repeat(2, 2)[:, :height, :width].astype(np.float32)
        return add_noise(images, lambda part: noise[images.labels[part]])


# %% [markdown]
# A release records its settings:

# %%
Tiles().settings()

# %% [markdown]
# ## Try it

# %%
images = cifar10_s.load_images("sample")
perturbed = images.with_pixels(Tiles().perturb(images, Options.resolve(seed=0)))
perturbed

# %% [markdown]
# It keeps its bound, and the same seed makes the same images:

# %%
levels = np.abs(perturbed.pixels.astype(int) - images.pixels)
again = images.with_pixels(Tiles().perturb(images, Options.resolve(seed=0)))
print("largest change:", levels.max(), "levels of", Tiles().epsilon)
print("same again:", again.digest() == perturbed.digest())

# %% [markdown]
# The pixel goes on top, as in every `-ops` configuration. The search always sees the clean images:

# %%
both = cifar10_s.search(images).stamp(perturbed)
both

# %% [markdown]
# ## Build a dataset of it
#
# Save the class as a module, `mine.py`, and name it by its path: `cifar10-s build -c mine:Tiles -c mine:Tiles-ops`.
# [Add a method](../add-a-method.md) explains what a release records of it, how others verify the release without your
# code, and how to offer the class in a package. To get your results into the tables, [hand them in](../submit.md).
