# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Read the results
#
# `bench` trains networks on a release under a *protocol*, whose numbers never change, and appends one record per run to
# a file. All tables and plots are made from records. This tutorial trains on scikit-learn's handwritten digits, in
# seconds; for CIFAR-10, see [the results](../results.md).

# %%
import tempfile
from pathlib import Path

from IPython.display import Image, Markdown, display

import cifar10_s

place = Path(tempfile.mkdtemp())
cifar10_s.build("sample", place / "digits-s", name="digits-s", configurations=["ops"])
records = cifar10_s.bench(place / "digits-s", place / "results.jsonl", configurations=["clean", "ops"])
len(records)

# %% [markdown]
# ## Tables
#
# Each cell is the clean test accuracy after the last epoch, with the best of all epochs in brackets.

# %%
report = cifar10_s.Report.read(place / "results.jsonl")
display(Markdown("\n\n".join(report.tables())))

# %% [markdown]
# Why does `ops` cost so little here? The protocol trains with random crops and flips, which move the pixel or cut it
# off in most views of images this small, and digits of 8×8 pixels are nearly as easy to learn. On CIFAR-10 (JPEG copy),
# the same protocol measures 80.5 % on `clean` and 10.3 % on `ops`.
#
# As a data frame:

# %%
report.frame()

# %% [markdown]
# ## A record
#
# A record has the settings of its run, the accuracies of each epoch, and the environment. Its id is a hash of the
# settings, so that a run is never repeated.

# %%
record = records[0]
print(f"run {record.id}: {record.settings.configuration}, {record.settings.strategy.name}, seed {record.settings.seed}")
print("test accuracy by epoch:", ", ".join(f"{accuracy:.1f}" for accuracy in record.results.test_accuracy))
print(record.environment)

# %% [markdown]
# ## Plots

# %%
plots = report.plot(place / "plots")
curves = next(plot for plot in plots if "curves" in plot.name)
Image(curves)

# %% [markdown]
# Next: [the benchmark](../benchmark.md) describes protocols, strategies, and what else can be measured.
