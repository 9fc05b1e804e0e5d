"""Page: a release → one HTML file, which loads nothing and opens from a disk."""

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cifar10_s.benchmark import Released
from cifar10_s.errors import UsageError, printable
from cifar10_s.images import LabeledImages
from cifar10_s.page import facts
from cifar10_s.page.galleries import Strip, check_order, examples, gallery
from cifar10_s.page.maps import chosen, maps
from cifar10_s.page.results import results

HERE = Path(__file__).parent
CLEAN = "clean"


@dataclass(frozen=True)
class Section:
    """A configuration and its gallery; ``differs`` where its images are not the clean ones."""

    configuration: facts.Configuration
    strips: list[Strip | None]
    differs: bool


def render(
    where: str | Path, *, records: Iterable[str | Path] = (), network: str | None = None, plots: bool = True
) -> str:
    """Write the page of a release; the same text for the same release, records and version of matplotlib.

    Parameters
    ----------
    where
        A folder that `build` wrote, or the Hub's name of such a dataset.
    records
        Files that `bench` wrote; what they hold of other images is left out, and counted.
    network
        As for `tables.render`.
    plots
        Whether to draw plots of the records, which takes matplotlib.

    Raises
    ------
    SourceError
        For what is no release, and for files that hold no records, or none of the release's images.
    UsageError
        Where the records need a ``network`` named, or matplotlib is not installed.
    """
    released = Released(where)
    of_release = facts.read(released)
    # What takes no time first: a mistake in what was asked for is told at once.
    measured = results(records, released, network=network, plots=plots)
    # The other configurations are shown beside it.
    released.select([CLEAN])
    clean = released.train(CLEAN)
    places = examples(clean, len(of_release.configurations))
    script = _file("page.js")
    return _template().render(
        facts=of_release,
        sections=_sections(released, of_release, clean, places),
        clean=gallery(clean, places),
        maps=[found for name in of_release.objectives if (found := maps(clean, name, of_release.configurations))],
        results=measured,
        style=_file("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        chosen=chosen,
    )


def write(
    where: str | Path,
    output: str | Path,
    *,
    records: Iterable[str | Path] = (),
    network: str | None = None,
    plots: bool = True,
) -> Path:
    """Write the page of a release to a file, which is replaced when all is done; gives its path.

    Parameters and errors are as of `render`, and:

    Raises
    ------
    UsageError
        Where the file cannot be written.
    """
    path = Path(output)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise _not_writable(path, "expected the name of a file in a folder that is there and can be written to")
    content = render(where, records=records, network=network, plots=plots).encode()
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
            (Path(beside) / path.name).write_bytes(content)
            (Path(beside) / path.name).replace(path)
    except OSError as error:
        raise _not_writable(path, str(error)) from None
    return path


def _not_writable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path}: the page cannot be written there ({reason}): choose another --output")


def _sections(
    released: Released, of_release: facts.Facts, clean: LabeledImages, places: list[NDArray[np.int64]]
) -> list[Section]:
    """Draw all galleries; of each configuration's images, only those few are kept."""
    sections = []
    for name, configuration in zip(released.configurations, of_release.configurations, strict=True):
        images = clean if name == CLEAN else released.train(name)
        check_order(clean, images, name)
        differs = configuration.digest != released.digest(CLEAN)
        sections.append(Section(configuration, gallery(images, places), differs))
    return sections


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["plain"] = printable
    return environment.get_template("page.html")


def _file(name: str) -> Markup:
    """Read a file of ours that stands in the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704 (none of it comes from outside)
