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
        "Hub's layout, a folder or zip with one folder of images per class, another form of docs/your-images.md, or "
        "'sample' (scikit-learn's digits).",
    ),
]
SourceConfig = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a source with several configurations: the one to read."),
]
ImageColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of a table with several columns of images: the one to read.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a table with several columns of labels: the one to read, as fine_label."),
]
TrainSplit = Annotated[
    str | None, typer.Option(metavar="NAME", help="The source's name of the split to train on.  [default: train]")
]
TestSplit = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The source's name of the split to test on, or none.  [default: test, otherwise the validation split]",
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
    str | None, typer.Option(metavar="NAME", help="Of a dataset on the Hub: the branch, tag or commit to read.")
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
        "--allow-unverified", help="Take what claims to be CIFAR-10 or CIFAR-100 even if its checksum differs."
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 …; without a network, the result is the same bits on each.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="How much memory to use at most, such as 8GB: images that do not fit are read again when they are "
        "needed.  [default: half of the machine's, or the container's]"
    ),
]
MaxShardSize = Annotated[str, typer.Option(help="How large a Parquet shard may be.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")]
Seed = Annotated[int, typer.Option(help="For methods and controls; the search itself uses no randomness.", min=0)]
Engine = Annotated[str, typer.Option(help="local, or ray: spread the work over a Ray cluster (extra 'distributed').")]
Address = Annotated[
    str | None,
    typer.Option(
        help="The Ray cluster's, such as auto or 10.0.0.1:6379.  [default: $RAY_ADDRESS, otherwise this machine]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="Where the Hub is.  [default: $HF_ENDPOINT, or huggingface.co]")
]
About = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML",
        help="What you say of your dataset: title, authors, licence, contact, homepage, citation, terms "
        "(docs/publish.md).",
    ),
]
DatasetVersion = Annotated[
    str | None,
    typer.Option(
        metavar="X.Y.Z",
        help="Other pixels: X. More configurations: Y. Words, figures, results: Z.  [default: 1.0.0, or that it has]",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(help="Whose cells, in tables whose rows are not networks.  [default: the paper's, otherwise each]"),
]


class _Say(logging.Handler):
    """Pass the log's messages on."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._say(record.getMessage())


@contextmanager
def what_is_taken(say: Callable[[str], object]) -> Iterator[None]:
    """Pass on what the sources say that they take, instead of printing it with the errors."""
    logger, handler = logging.getLogger("cifar10_s.data.sources.splits"), _Say(say)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def takes_choices(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose what to take of a source; it gets their values as ``choices``."""

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
