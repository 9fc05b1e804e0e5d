"""Published: the accuracies that papers report, as data, under the names that our records use."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PAPER = "Wu et al. (ICLR 2023)"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The rows or the columns of a table.

    Attributes
    ----------
    varies
        What differs along it: ``configuration``, ``strategy``, ``network``, or ``evaluation`` (the images that a
        trained network is measured on, where they are not the clean test images).
    heads
        Our names, each with how the table writes it.
    """

    varies: str
    heads: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of accuracies.

    Attributes
    ----------
    name
        What it is asked for by.
    caption
        Where it is from and what it shows: a sentence without a full stop.
    rows, columns
        Its layout.
    fixed
        What is the same in all its cells, by what an axis could vary.
    values
        By the name of a row, the published accuracies in percent in the order of the columns, None where the table
        has none; empty for a table that nobody published.
    """

    name: str
    caption: str
    rows: Axis
    columns: Axis
    fixed: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)

    def published(self, row: str, column: str) -> float | None:
        """Give a published accuracy in percent, None where there is none."""
        return dict(zip(self.columns.heads, self.values[row], strict=True))[column]

    def coordinates(self, row: str, column: str) -> dict[str, str]:
        """Give what a record must be of to belong to a cell."""
        return {**self.fixed, self.rows.varies: row, self.columns.varies: column}


TRAINED_ON = {"clean": "Clean", "em": "EM", "ops": "OPS"}

# The first three are the images that a configuration is made of; in the last two each perturbation keeps its label,
# but sits on a random image.
TABLE_1 = Table(
    name="1",
    caption=f"Table 1 of {PAPER}: accuracy (%) on the images of the row, trained on those of the column",
    rows=Axis(
        varies="evaluation",
        heads={
            "clean": "Clean training images",
            "em": "EM training images",
            "ops": "OPS training images",
            "em-shuffled": "Shuffled EM",
            "ops-shuffled": "Shuffled OPS",
        },
    ),
    columns=Axis(varies="configuration", heads=TRAINED_ON),
    fixed={"strategy": "standard"},
    values={
        "clean": (99.96, 25.16, 15.48),
        "em": (94.00, 99.99, None),
        "ops": (99.52, None, 99.97),
        "em-shuffled": (9.97, 48.97, None),
        "ops-shuffled": (9.82, None, 72.43),
    },
)

TABLE_2 = Table(
    name="2",
    caption=f"Table 2 of {PAPER}: clean test accuracy (%) of other networks",
    rows=Axis(
        varies="network",
        heads={
            "lenet-5": "LeNet-5",
            "cvt-7-4": "CVT-7-4",
            "cct-7-3x1": "CCT-7-3×1",
            "densenet-121": "DenseNet-121",
            "resnet-18": "ResNet-18",
            "wrn-28-10": "WRN-28-10",
        },
    ),
    columns=Axis(varies="configuration", heads=TRAINED_ON),
    fixed={"strategy": "standard"},
    values={
        "lenet-5": (70.27, 26.98, 22.19),
        "cvt-7-4": (87.46, 27.60, 18.21),
        "cct-7-3x1": (88.98, 27.06, 17.95),
        "densenet-121": (94.10, 23.72, 11.45),
        "resnet-18": (94.01, 19.58, 15.56),
        "wrn-28-10": (96.08, 23.96, 12.76),
    },
)

TABLE_3 = Table(
    name="3",
    caption=f"Table 3 of {PAPER}: clean test accuracy (%) of WRN-28-k, from 0.37 M to 145.84 M parameters",
    rows=Axis(varies="network", heads={f"wrn-28-{k}": f"WRN-28-{k}" for k in (1, 2, 4, 8, 16, 20)}),
    columns=Axis(varies="configuration", heads={"ops": "OPS"}),
    fixed={"strategy": "standard"},
    values={
        "wrn-28-1": (21.20,),
        "wrn-28-2": (14.74,),
        "wrn-28-4": (21.75,),
        "wrn-28-8": (18.01,),
        "wrn-28-16": (15.36,),
        "wrn-28-20": (18.04,),
    },
)

TABLE_5 = Table(
    name="5",
    caption=f"Table 5 of {PAPER}: clean test accuracy (%) of ResNet-18 by training strategy",
    rows=Axis(
        varies="strategy",
        heads={
            "standard": "Standard",
            "mixup": "Mixup",
            "cutout": "Cutout",
            "randaugment": "RandAugment",
            "at": "AT",
            "at-mixup": "AT + Mixup",
            "at-cutout": "AT + Cutout",
            "at-randaugment": "AT + RandAugment",
        },
    ),
    columns=Axis(varies="configuration", heads={**TRAINED_ON, "em-ops": "CIFAR-10-S"}),
    fixed={"network": "resnet-18"},
    values={
        "standard": (94.01, 19.58, 15.56, 16.67),
        "mixup": (94.75, 38.18, 33.13, 23.23),
        "cutout": (94.77, 25.83, 61.68, 24.38),
        "randaugment": (94.91, 51.66, 71.18, 39.62),
        "at": (82.72, 83.02, 11.08, 10.61),
        "at-mixup": (87.90, 86.71, 10.97, 13.77),
        "at-cutout": (84.58, 84.24, 24.60, 23.78),
        "at-randaugment": (85.50, 85.06, 44.86, 46.23),
    },
)

TABLE_6 = Table(
    name="6",
    caption=f"Table 6 of {PAPER}: clean test accuracy (%) of ResNet-18 with n pixels a class",
    rows=Axis(
        varies="strategy",
        heads={"standard": "Standard", "mixup": "Mixup", "cutout": "Cutout", "randaugment": "RandAugment"},
    ),
    columns=Axis(
        varies="configuration",
        heads={"clean": "n = 0", "ops": "n = 1", "ops-2": "n = 2", "ops-3": "n = 3", "ops-4": "n = 4"},
    ),
    fixed={"network": "resnet-18"},
    values={
        "standard": (94.01, 15.56, 15.24, 9.74, 9.71),
        "mixup": (94.75, 33.13, 9.99, 9.94, 10.02),
        "cutout": (94.77, 61.68, 39.99, 25.42, 20.15),
        "randaugment": (94.91, 71.18, 46.45, 34.66, 33.51),
    },
)

# Its column AVATAR is left out: that defence needs a trained diffusion model, and no strategy of ours stands for it.
APBENCH = Table(
    name="apbench",
    caption="The APBench leaderboard: clean test accuracy (%) of ResNet-18, without its column AVATAR",
    rows=Axis(
        varies="configuration",
        heads={name: name.upper() for name in ("em", "rem", "tap", "lsp", "ar", "ops")},
    ),
    columns=Axis(
        varies="strategy",
        heads={
            "standard": "Standard",
            "cutout": "Cutout",
            "cutmix": "CutMix",
            "mixup": "Mixup",
            "gaussian-blur-3": "Gaussian blur",
            "bit-depth-2": "Bit depth",
            "grayscale": "Grayscale",
            "jpeg-10": "JPEG",
            "ueraser-max": "UEraser-max",
            "at": "AT",
        },
    ),
    fixed={"network": "resnet-18"},
    values={
        "em": (20.78, 18.79, 22.28, 31.14, 14.71, 37.94, 92.03, 80.72, 93.61, 82.51),
        "rem": (17.47, 21.96, 26.22, 43.07, 21.80, 58.60, 92.27, 85.44, 92.43, 77.46),
        "tap": (6.27, 9.88, 14.21, 15.46, 7.88, 70.75, 11.01, 84.08, 79.05, 79.92),
        "lsp": (13.06, 14.96, 17.69, 18.77, 18.61, 53.86, 64.70, 80.14, 92.83, 81.38),
        "ar": (11.74, 10.95, 12.60, 14.15, 13.83, 36.14, 35.17, 84.75, 90.12, 81.15),
        "ops": (14.69, 52.98, 64.72, 49.27, 13.38, 37.32, 19.88, 78.48, 77.99, 14.95),
    },
)

TABLES: dict[str, Table] = {table.name: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_5, TABLE_6, APBENCH)}
