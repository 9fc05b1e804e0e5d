"""Options that several commands share."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

Source = Annotated[
    str,
    typer.Option(
        help="Clean images: a Hub dataset name, cifar-10-python.tar.gz or its folder, a folder of Parquet in the "
        "Hub's layout, a folder or zip with one folder of images per class, any other form in docs/your-images.md, or "
        "'sample' (scikit-learn's digits).",
    ),
]
SourceConfig = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The configuration to read, if the source has several."),
]
ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The column of images, if there are several.")]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column of labels, if there are several, such as fine_label."),
]
TrainSplit = Annotated[
    str | None, typer.Option(metavar="NAME", help="The split to train on, by its name in the source.  [default: train]")
]
TestSplit = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The split to test on, by its name in the source, or none.  [default: test, or else the validation split]",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(metavar="NAME,…", help="The classes to take: names, numbers from 0, or ranges such as 0:100."),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", help="Take at most the first N images per class and split.", min=1)
]
Resize = Annotated[
    int | None,
    typer.Option(
        metavar="S",
        help="Scale the shorter side of each image to S pixels, antialiased, and cut out the centre square.",
        min=1,
    ),
]
Mode = Annotated[
    str | None,
    typer.Option(metavar="RGB|L", help="Convert all images to colour or to greyscale; transparency becomes white."),
]
Revision = Annotated[
    str | None, typer.Option(metavar="NAME", help="The branch, tag or commit to read, if the source is on the Hub.")
]
# The fields of `Choices` and their options, by the options' names.
CHOICES: dict[str, tuple[str, Any]] = {
    "source_config": ("config", SourceConfig),
    "image_column": ("image_column", ImageColumn),
    "label_column": ("label_column", LabelColumn),
    "train_split": ("train_split", TrainSplit),
    "test_split": ("test_split", TestSplit),
    "classes": ("classes", Classes),
    "limit": ("limit", Limit),
    "resize": ("resize", Resize),
    "mode": ("mode", Mode),
    "revision": ("revision", Revision),
}
AllowUnverified = Annotated[
    bool,
    typer.Option(
        "--allow-unverified", help="Accept a source that claims to be CIFAR-10 or CIFAR-100 but has other checksums."
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 …; if no network is trained, the result is the same bits on each.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory to use at most, such as 8GB; images that do not fit are read again when they are needed.  "
        "[default: half of the machine's or the container's]"
    ),
]
MaxShardSize = Annotated[str, typer.Option(help="Maximum size of a Parquet shard.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the contents of the output folder.")]
Seed = Annotated[
    int, typer.Option(help="The seed of methods and controls; the search itself uses no randomness.", min=0)
]
Engine = Annotated[str, typer.Option(help="local, or ray to use a Ray cluster (extra 'distributed').")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Address of the Ray cluster, such as auto or 10.0.0.1:6379.  [default: $RAY_ADDRESS, or else this machine]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="URL of the Hub.  [default: $HF_ENDPOINT, or huggingface.co]")
]
About = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML",
        help="A file that describes your dataset: title, authors, licence, contact, homepage, citation, terms "
        "(docs/publish.md).",
    ),
]
DatasetVersion = Annotated[
    str | None,
    typer.Option(
        metavar="X.Y.Z",
        help="The dataset's version: raise X for other pixels, Y for more configurations, Z for other text, figures or "
        "results.  [default: 1.0.0; for renew, unchanged]",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(help="The network whose accuracies to show.  [default: that of the table's paper, or else each]"),
]


class _Say(logging.Handler):
    """Passes log messages to a function."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._say(record.getMessage())


@contextmanager
def what_is_taken(say: Callable[[str], object]) -> Iterator[None]:
    """Pass the sources' lines on what they read to ``say``, instead of printing them with the errors."""
    logger, handler = logging.getLogger("cifar10_s.data.sources.splits"), _Say(say)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def takes_choices(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select part of a source to a command, which gets their values as ``choices``."""

    @wraps(command)
    def with_options(**values: Any) -> None:
        from cifar10_s.data.sources.choices import Choices

        given = {name: values.pop(option) for option, (name, _) in CHOICES.items()}
        if given["classes"] is not None:
            given["classes"] = tuple(given["classes"].split(","))
        command(choices=Choices(**given), **values)

    own = [parameter for parameter in signature(command).parameters.values() if parameter.name != "choices"]
    options = [
        Parameter(option, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)
        for option, (_, annotation) in CHOICES.items()
    ]
    # Typer reads both.
    with_options.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in (*own, *options)}
    return with_options
