# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Poison your own images
#
# Any labelled images of one size will do: a folder with one folder of images per class, a zip of it, Parquet, arrays
# ([all sources](../your-images.md)). To have some, this tutorial first writes a folder of PNG files.

# %%
import tempfile
from pathlib import Path

from PIL import Image

import cifar10_s

place = Path(tempfile.mkdtemp())
digits = cifar10_s.load_images("sample")
for number, (pixels, label) in enumerate(digits):
    of_class = place / "images" / f"digit-{label}"
    of_class.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0]).save(of_class / f"{number:04d}.png")

# %% [markdown]
# ## Search
#
# For each class, the search finds the position and colour that differ most, and most evenly, from the images of the
# class. It uses no randomness: the same images give the same pixels on every machine.

# %%
images = cifar10_s.load_images(place / "images")
shortcut = cifar10_s.search(images)
shortcut

# %% [markdown]
# A score is infinite if the pixel is the same in all images of the class, as on the black border of these digits.
#
# ## Stamp
#
# `stamp` returns new images; yours stay unchanged.

# %%
poisoned = shortcut.stamp(images)
poisoned

# %% [markdown]
# ## Build a dataset
#
# `build` does all of this and writes a folder that `datasets` loads, with a card, checksums and a record of how it was
# made. It is verified before it gets its name.

# %%
built = cifar10_s.build(place / "images", place / "mine-s", name="mine-s", configurations=["ops", "ops-2"])
cifar10_s.Release(place / "mine-s")

# %% [markdown]
# ## Find a shortcut, and remove it
#
# `audit` reports whether images carry a shortcut, of this kind or another, and `repair` removes the pixels that it
# found.

# %%
found = cifar10_s.audit(poisoned)
found

# %%
repaired = found.repair(poisoned)
print("findings in the repaired images:", len(cifar10_s.audit(repaired).findings))
print("pixels as before the attack: %.1f %%" % (100 * (repaired.pixels == images.pixels).mean()))

# %% [markdown]
# Next: [publish a dataset](../publish.md), [verify one](../verification.md), or
# [measure what networks learn from it](read_results.py).
