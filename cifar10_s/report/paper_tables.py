"""The tables of accuracies that papers published, as data, with the names that our records use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cifar10_s.data.provenance import CIFAR10

PAPER = "Wu et al. (ICLR 2023)"


@dataclass(frozen=True)
class Substitute:
    """The experiment of ours that stands beside a published number if that experiment was not measured."""

    name: str
    difference: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The rows or the columns of a table.

    Attributes
    ----------
    varies
        What differs along it: ``configuration``, ``strategy``, ``network``, or ``evaluation`` (the images that a
        trained network is evaluated on, if not the clean test images).
    headings
        The heading in the table, by our name of the published experiment.
    notes
        What a reader has to know about the published numbers, a sentence each, by the same names.
    substitutes
        Our nearest experiment, by the same names, for those that were not measured.
    """

    varies: str
    headings: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)
    substitutes: Mapping[str, Substitute] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of accuracies.

    Attributes
    ----------
    name
        The name by which users choose it.
    caption
        Where it is from and what it shows: a sentence without a full stop.
    rows, columns
        The layout.
    fixed
        The name on each axis that does not vary, the same for all cells.
    values
        The published accuracies in percent, by the name of the row, in the order of the columns; None for an empty
        cell. Empty for a table that nobody published.
    images
        The dataset of the published accuracies.
    """

    name: str
    caption: str
    rows: Axis
    columns: Axis
    fixed: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    images: str = CIFAR10

    def published(self, row: str, column: str) -> float | None:
        """Return the published accuracy of a cell in percent; None if it is empty or nobody published the table."""
        if not self.values:
            return None
        return dict(zip(self.columns.headings, self.values[row], strict=True))[column]

    def coordinates(self, row: str, column: str) -> dict[str, str]:
        """Return the coordinates of a cell's records (see `RecordSet.cell`)."""
        return {**self.fixed, self.rows.varies: row, self.columns.varies: column}


# What a published experiment was, if ours of that name is another.
_PAPER_OBJECTIVE = (
    "The paper states mean over variance (Eq. 2), ours here; its published code searches mean over standard deviation, "
    "our ops-std."
)
_CODE_OBJECTIVE = "Measured with the objective of the authors' published code; the published numbers are those of OPS."
_SIGMA = "The published blur has σ = 0.1, which changes nothing; ours has kernel 3."
_AUTHORS_RANDAUGMENT = Substitute(
    "randaugment",
    "Measured with torchvision's RandAugment (14 operations, each applied); the authors' applies each of two of 15 "
    "operations with probability ½.",
)
_AUTHORS_CUTOUT = Substitute("cutout", "Measured with a grey hole; the authors' is black.")

TRAINED_ON = {"clean": "Clean", "em": "EM", "ops": "OPS"}
TRAINED_ON_BOTH = {**TRAINED_ON, "ops-std": "OPS (mean/std)"}
# Of a column with OPS as the paper has it, and the same with the objective of the authors' code.
OBJECTIVE_NOTES = {"ops": _PAPER_OBJECTIVE, "ops-std": _CODE_OBJECTIVE}

# The first three rows are the images of a configuration; in the last two, each perturbation is added to a random image
# and keeps its label.
TABLE_1 = Table(
    name="1",
    caption=f"Table 1 of {PAPER}: accuracy (%) on the images of the row, trained on those of the column",
    rows=Axis(
        varies="evaluation",
        headings={
            "clean": "Clean training images",
            "em": "EM training images",
            "ops": "OPS training images",
            "em-shuffled": "Shuffled EM",
            "ops-shuffled": "Shuffled OPS",
        },
    ),
    columns=Axis(varies="configuration", headings=TRAINED_ON, notes={"ops": _PAPER_OBJECTIVE}),
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
        headings={
            "lenet-5": "LeNet-5",
            "cvt-7-4": "CVT-7-4",
            "cct-7-3x1": "CCT-7-3×1",
            "densenet-121": "DenseNet-121",
            "resnet-18": "ResNet-18",
            "wrn-28-10": "WRN-28-10",
        },
    ),
    columns=Axis(varies="configuration", headings=TRAINED_ON_BOTH, notes=OBJECTIVE_NOTES),
    fixed={"strategy": "standard"},
    values={
        "lenet-5": (70.27, 26.98, 22.19, None),
        "cvt-7-4": (87.46, 27.60, 18.21, None),
        "cct-7-3x1": (88.98, 27.06, 17.95, None),
        "densenet-121": (94.10, 23.72, 11.45, None),
        "resnet-18": (94.01, 19.58, 15.56, None),
        "wrn-28-10": (96.08, 23.96, 12.76, None),
    },
)

TABLE_3 = Table(
    name="3",
    caption=f"Table 3 of {PAPER}: clean test accuracy (%) of WRN-28-k, from 0.37 M to 145.84 M parameters",
    rows=Axis(varies="network", headings={f"wrn-28-{k}": f"WRN-28-{k}" for k in (1, 2, 4, 8, 16, 20)}),
    columns=Axis(varies="configuration", headings={"ops": "OPS", "ops-std": "OPS (mean/std)"}, notes=OBJECTIVE_NOTES),
    fixed={"strategy": "standard"},
    values={
        "wrn-28-1": (21.20, None),
        "wrn-28-2": (14.74, None),
        "wrn-28-4": (21.75, None),
        "wrn-28-8": (18.01, None),
        "wrn-28-16": (15.36, None),
        "wrn-28-20": (18.04, None),
    },
)

TABLE_5 = Table(
    name="5",
    caption=f"Table 5 of {PAPER}: clean test accuracy (%) of ResNet-18 by training strategy",
    rows=Axis(
        varies="strategy",
        headings={
            "standard": "Standard",
            "mixup": "Mixup",
            "cutout-black": "Cutout",
            "randaugment-ops": "RandAugment",
            "at": "AT",
            "at-mixup-ops": "AT + Mixup",
            "at-cutout-black": "AT + Cutout",
            "at-randaugment-ops": "AT + RandAugment",
        },
        substitutes={
            "cutout-black": _AUTHORS_CUTOUT,
            "randaugment-ops": _AUTHORS_RANDAUGMENT,
            "at-mixup-ops": Substitute("at-mixup", "Measured mixing first, then attacking; the authors attack first."),
            "at-cutout-black": replace(_AUTHORS_CUTOUT, name="at-cutout"),
            "at-randaugment-ops": replace(_AUTHORS_RANDAUGMENT, name="at-randaugment"),
        },
    ),
    columns=Axis(
        varies="configuration",
        headings={**TRAINED_ON_BOTH, "em-ops": "CIFAR-10-S"},
        notes={**OBJECTIVE_NOTES, "em-ops": "EM under our ops, mean over variance."},
    ),
    fixed={"network": "resnet-18"},
    values={
        "standard": (94.01, 19.58, 15.56, None, 16.67),
        "mixup": (94.75, 38.18, 33.13, None, 23.23),
        "cutout-black": (94.77, 25.83, 61.68, None, 24.38),
        "randaugment-ops": (94.91, 51.66, 71.18, None, 39.62),
        "at": (82.72, 83.02, 11.08, None, 10.61),
        "at-mixup-ops": (87.90, 86.71, 10.97, None, 13.77),
        "at-cutout-black": (84.58, 84.24, 24.60, None, 23.78),
        "at-randaugment-ops": (85.50, 85.06, 44.86, None, 46.23),
    },
)

TABLE_6 = Table(
    name="6",
    caption=f"Table 6 of {PAPER}: clean test accuracy (%) of ResNet-18 with n pixels per class",
    rows=Axis(
        varies="strategy",
        headings={
            "standard": "Standard", "mixup": "Mixup", "cutout-black": "Cutout", "randaugment-ops": "RandAugment",
        },
        substitutes={"cutout-black": _AUTHORS_CUTOUT, "randaugment-ops": _AUTHORS_RANDAUGMENT},
    ),
    columns=Axis(
        varies="configuration",
        headings={"clean": "n = 0", "ops": "n = 1", "ops-2": "n = 2", "ops-3": "n = 3", "ops-4": "n = 4"},
        notes=dict.fromkeys(("ops", "ops-2", "ops-3", "ops-4"), _PAPER_OBJECTIVE),
    ),
    fixed={"network": "resnet-18"},
    values={
        "standard": (94.01, 15.56, 15.24, 9.74, 9.71),
        "mixup": (94.75, 33.13, 9.99, 9.94, 10.02),
        "cutout-black": (94.77, 61.68, 39.99, 25.42, 20.15),
        "randaugment-ops": (94.91, 71.18, 46.45, 34.66, 33.51),
    },
)  # fmt: skip

# APBench searches mean over standard deviation, as the authors' code does.
_LEADERBOARD = {"em": "EM", "rem": "REM", "tap": "TAP", "lsp": "LSP", "ar": "AR", "ops-std": "OPS"}

# Its column AVATAR is left out: that defence needs a trained diffusion model, and we have no such strategy.
APBENCH = Table(
    name="apbench",
    caption="The APBench leaderboard: clean test accuracy (%) of ResNet-18, without its column AVATAR",
    rows=Axis(
        varies="configuration",
        headings=_LEADERBOARD,
        notes={
            **dict.fromkeys(("em", "rem"), "The published noise is made with PGD-5 in steps of 1.6/255."),
            "ops-std": "The published search is mean over standard deviation, our ops-std.",
        },
    ),
    columns=Axis(
        varies="strategy",
        headings={
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
        notes={"gaussian-blur-3": _SIGMA, "ueraser-max": "The published adds JPEG for TAP and AR."},
    ),
    fixed={"network": "resnet-18"},
    values={
        "em": (20.78, 18.79, 22.28, 31.14, 14.71, 37.94, 92.03, 80.72, 93.61, 82.51),
        "rem": (17.47, 21.96, 26.22, 43.07, 21.80, 58.60, 92.27, 85.44, 92.43, 77.46),
        "tap": (6.27, 9.88, 14.21, 15.46, 7.88, 70.75, 11.01, 84.08, 79.05, 79.92),
        "lsp": (13.06, 14.96, 17.69, 18.77, 18.61, 53.86, 64.70, 80.14, 92.83, 81.38),
        "ar": (11.74, 10.95, 12.60, 14.15, 13.83, 36.14, 35.17, 84.75, 90.12, 81.15),
        "ops-std": (14.69, 52.98, 64.72, 49.27, 13.38, 37.32, 19.88, 78.48, 77.99, 14.95),
    },
)

_UNKNOWN_OBJECTIVE = {"ops-std": "Which objective the published search has is not stated; measured with ops-std."}

ISS = Table(
    name="iss",
    caption="Image Shortcut Squeezing: clean test accuracy (%) of ResNet-18",
    rows=Axis(
        varies="configuration",
        headings={"clean": "Clean", "em": "EM", "rem": "REM", "tap": "TAP", "sep": "SEP", "lsp": "LSP", "ar": "AR",
                  "ops-std": "OPS"},
        notes=_UNKNOWN_OBJECTIVE,
    ),
    columns=Axis(varies="strategy", headings={"standard": "None", "grayscale": "Grayscale", "jpeg-10": "JPEG-10"}),
    fixed={"network": "resnet-18"},
    values={
        "clean": (94.68, 92.41, 85.38),
        "em": (21.05, 93.01, 81.50),
        "rem": (25.44, 92.84, 81.50),
        "tap": (8.17, 9.11, 83.87),
        "sep": (3.85, 3.57, 84.37),
        "lsp": (19.07, 82.47, 83.01),
        "ar": (13.28, 34.04, 85.15),
        "ops-std": (36.55, 42.44, 82.53),
    },
)  # fmt: skip

# Of its purifiers, D-VAE is here, for OPS. The others need a generator that was trained on clean images.
BRIDGEPURE = Table(
    name="bridgepure",
    caption="BridgePure (NeurIPS 2025), five seeds: clean test accuracy (%) of ResNet-18, of its purifiers only D-VAE",
    rows=Axis(varies="configuration", headings=_LEADERBOARD, notes=_UNKNOWN_OBJECTIVE),
    columns=Axis(
        varies="strategy",
        headings={"standard": "None", "at": "PGD-AT", "d-vae": "D-VAE", "add-500": "500 clean images added"},
    ),
    fixed={"network": "resnet-18"},
    values={
        "em": (23.79, 83.86, None, None),
        "rem": (20.96, 85.47, None, None),
        "tap": (9.51, 81.82, None, None),
        "lsp": (13.85, 83.46, None, None),
        "ar": (13.52, 81.78, None, None),
        "ops-std": (13.67, 9.60, 89.48, 54.0),
    },
)

BRIDGEPURE_100 = Table(
    name="bridgepure-cifar100",
    caption="BridgePure (NeurIPS 2025) on CIFAR-100: clean test accuracy (%) of ResNet-18, of its purifiers only D-VAE",
    rows=Axis(varies="configuration", headings={"ops-std": "OPS"}, notes=_UNKNOWN_OBJECTIVE),
    columns=Axis(varies="strategy", headings={"standard": "None", "at": "PGD-AT", "d-vae": "D-VAE"}),
    fixed={"network": "resnet-18"},
    values={"ops-std": (12.18, 7.59, 62.83)},
    images="CIFAR-100",
)

CUDA = Table(
    name="cuda",
    caption="Sadasivan et al. (CVPR 2023), CUDA: clean test accuracy (%) of ResNet-18",
    rows=Axis(varies="configuration", headings={"cuda": "CUDA"}),
    columns=Axis(
        varies="strategy",
        headings={
            "standard": "ERM", "at": "AT, ε = 8/255", "grayscale": "Grayscale", "mixup": "Mixup", "cutout": "Cutout",
            "cutmix": "CutMix",
        },
    ),
    fixed={"network": "resnet-18"},
    values={"cuda": (18.48, 32.85, 20.12, 25.53, 25.80, 26.93)},
)  # fmt: skip

PIL = Table(
    name="pil",
    caption="Liu et al. (ICLR 2026), PIL: clean test accuracy (%) of ResNet-18",
    rows=Axis(varies="configuration", headings={"pil": "PIL"}),
    columns=Axis(varies="strategy", headings={"standard": "None"}),
    fixed={"network": "resnet-18"},
    values={"pil": (12.77,)},
)

DUNE = Table(
    name="dune",
    caption="Wang et al. (ICML 2026), DUNE: clean test accuracy (%) of ResNet-18",
    rows=Axis(
        varies="configuration",
        headings={"sem": "SEM", "dune": "DUNE"},
        notes={"dune": "Ours is without the penalty for LPIPS."},
    ),
    columns=Axis(
        varies="strategy",
        headings={"standard": "None", "grayscale": "Grayscale", "jpeg-10": "JPEG-10", "at": "AT"},
    ),
    fixed={"network": "resnet-18"},
    values={"sem": (15.94, None, 81.58, 32.43), "dune": (13.26, 10.18, 28.88, 24.96)},
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        TABLE_1, TABLE_2, TABLE_3, TABLE_5, TABLE_6, APBENCH, ISS, BRIDGEPURE, BRIDGEPURE_100, CUDA, PIL, DUNE,
    )
}  # fmt: skip
