"""The command that audits any dataset: ``audit``."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli.options import Address, AllowUnverified, Engine, Json, Memory, takes_choices
from cifar10_s.cli.tables import echo_table, echo_title
from cifar10_s.errors import SourceError, UsageError

if TYPE_CHECKING:
    from cifar10_s.data.images import Images
    from cifar10_s.data.sources.choices import Choices
    from cifar10_s.detection.findings import Audit


@takes_choices
def audit_command(
    choices: "Choices",
    source: Annotated[
        str,
        typer.Argument(
            help="Images of any source, as for `search`; a folder that `build` wrote, or such a dataset on the Hub, "
            "with --configuration."
        ),
    ],
    configuration: Annotated[
        str | None, typer.Option("--configuration", "-c", help="The configuration, if the source is a release.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split to audit, if the source is not a release.")] = "train",
    share: Annotated[
        float, typer.Option(help="Report a colour that more than this share of a class has at one position …")
    ] = 0.9,
    elsewhere: Annotated[
        float,
        typer.Option(
            help="… and at most this share of the images of the classes that do not share it; up to half may."
        ),
    ] = 0.05,
    tolerance: Annotated[int, typer.Option(help="Also report colours up to this many levels from a common one.")] = 8,
    significance: Annotated[float, typer.Option(help="The largest p-value, corrected for all tests.")] = 0.01,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write a picture of each finding to this folder, as PNG.")
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            metavar="OUTPUT",
            help="Write the images to this new folder, with the pixels that were found replaced by the median of "
            "their neighbours: Parquet in the Hub's layout.",
        ),
    ] = None,
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    allow_unverified: AllowUnverified = False,
    as_json: Json = False,
) -> None:
    """Report whether, where and how the images of a class carry a shortcut; status 1 if any does, 0 if none.

    It finds pixels and patches of one colour that a class, or some classes, share and others lack, and noise that all
    images of a class share. It does not find noise that differs from image to image.

    Example: cifar10-s audit cifar10-s --configuration ops --figures findings

    Example: cifar10-s audit path/to/images --clean recovered
    """
    from cifar10_s import audit

    if clean is not None:
        from cifar10_s.builder.parquet_folder import check_is_free, write_folder
        from cifar10_s.common.files import expand

        clean = expand(clean)
        check_is_free(clean)
    images = _open(
        source, configuration, split, choices, allow_unverified=allow_unverified, engine=engine, address=address
    )
    audited = audit(
        images, share=share, elsewhere=elsewhere, tolerance=tolerance, significance=significance, memory=memory
    )
    for path in _draw(images, audited, figures) if figures is not None else ():
        typer.echo(f"wrote {path}", err=True)
    if clean is not None:
        from cifar10_s.common.options import Options

        write_folder(audited.repair(images), clean, Options.resolve(device="cpu", memory=memory))
        typer.echo(f"wrote {clean}", err=True)
    if as_json:
        typer.echo(audited.to_json())
    else:
        _show(source, configuration, audited)
    if audited.findings:
        raise typer.Exit(1)


def _open(
    source: str,
    configuration: str | None,
    split: str,
    choices: "Choices",
    *,
    allow_unverified: bool,
    engine: str,
    address: str | None,
) -> "Images":
    """Open a split of a source, or a configuration of a release, by its name or by the folder of its shards."""
    from cifar10_s import open_images
    from cifar10_s.data.sources.release_folder import DATA, is_release

    folder = Path(source).resolve()
    if configuration is None and folder.parent.name == DATA and is_release(folder.parent.parent):
        source, configuration = str(folder.parent.parent), folder.name
    if configuration is not None or is_release(folder):
        if split != "train":
            raise UsageError(
                "--split: of a release the training images are audited, as the test images are clean: leave it out"
            )
        return _open_release(source, configuration, choices, engine, address)
    return open_images(
        source, split=split, choices=choices, allow_unverified=allow_unverified, engine=engine, address=address
    )


def _open_release(
    source: str, configuration: str | None, choices: "Choices", engine: str, address: str | None
) -> "Images":
    """Open a configuration of a release."""
    from cifar10_s import Release
    from cifar10_s.data.cluster import Cluster, distribute
    from cifar10_s.data.sources.choices import option

    release = Release(source)
    if configuration is None:
        names = ", ".join(release.configurations)
        raise SourceError(f"{source}: is a release: expected --configuration, one of {names}")
    release.select([configuration])
    for name in choices.given():
        raise UsageError(f"{option(name)}: a release is audited as it is: leave it out")
    return distribute(release.train(configuration), Cluster.of(engine, address))


def _draw(images: "Images", audited: "Audit", folder: Path) -> Iterable[Path]:
    from cifar10_s.common.files import expand
    from cifar10_s.data.sources.release_folder import check_outside_releases
    from cifar10_s.report.figures import finding_picture

    folder = expand(folder)
    check_outside_releases(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("finding-[0-9][0-9][0-9].png"):
        earlier.unlink()
    for number, finding in enumerate(audited.findings, 1):
        path = folder / f"finding-{number:03d}.png"
        finding_picture(images, finding).save(path)
        yield path


def _show(source: str, configuration: str | None, audited: "Audit") -> None:
    from cifar10_s.detection.findings import HEADINGS

    of = source if configuration is None else f"{source} ({configuration})"
    size, classes, count = "×".join(map(str, audited.shape)), len(audited.class_names), len(audited.findings)
    head = f"{of}: {audited.images} images of {size} in {classes} {'class' if classes == 1 else 'classes'}"
    none = "no shortcut found" if classes > 1 else "no other class to compare with, so none is found"
    echo_title(f"{head}: {f'{count} found' if count else none}", "red" if count else "green")
    echo_table([finding.row() for finding in audited.findings], headings=HEADINGS)


COMMANDS: dict[str, Callable[..., None]] = {"audit": audit_command}
