"""Render a release as one HTML file that loads nothing and opens from disk."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.files import expand
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.sources.release_folder import check_outside_releases
from cifar10_s.errors import UsageError, VerificationError
from cifar10_s.release.layout import CLEAN
from cifar10_s.release.reader import Release
from cifar10_s.report.page import facts
from cifar10_s.report.page.accuracy import measured_accuracy
from cifar10_s.report.page.galleries import Strip, check_order, examples, gallery
from cifar10_s.report.page.maps import chosen, maps
from cifar10_s.report.page.templates import fill
from cifar10_s.report.report import Report
from cifar10_s.report.text_table import EMPTY_CELL


@dataclass(frozen=True)
class Section:
    """A configuration and its gallery; ``differs`` says whether its images are not the clean ones."""

    configuration: facts.Configuration
    strips: list[Strip | None]
    differs: bool


def render(
    dataset: str | Path,
    *,
    records: Iterable[str | Path] = (),
    network: str | None = None,
    plots: bool = True,
    failures: Sequence[str] = (),
) -> str:
    """Return the page of a release as HTML; the same text for the same release, records and version of matplotlib.

    Parameters
    ----------
    dataset
        A folder that `build` wrote, or the Hub name of such a dataset.
    records
        Files that `bench` wrote; records of other images are left out, and counted.
    network
        As for `formats.render`.
    plots
        Whether to draw plots of the records, which needs matplotlib.
    failures
        What does not verify, which the page says at its top.

    Raises
    ------
    SourceError
        If the dataset is not a release, or a file holds no records, or none is of the release's images.
    UsageError
        If ``network`` is unknown, or matplotlib is needed and not installed.
    """
    release = Release(dataset)
    release_facts = facts.read(release)
    # Records are read before images, so that a wrong argument is reported immediately.
    accuracy = measured_accuracy(records, release, network=network, plots=plots)
    # All other configurations are compared with the clean one.
    release.select([CLEAN])
    clean = release.train(CLEAN)
    chosen_rows = examples(clean, len(release_facts.configurations))
    score_maps = (maps(clean, objective, release_facts.configurations) for objective in release_facts.objectives)
    return fill(
        "page.html",
        script="page.js",
        facts=release_facts,
        failures=failures,
        measures=_measures(release_facts),
        sections=_sections(release, release_facts, clean, chosen_rows),
        clean=gallery(clean, chosen_rows),
        maps=list(filter(None, score_maps)),
        accuracy=accuracy,
        chosen=chosen,
    )


def _measures(release_facts: facts.Facts) -> list[str]:
    """Return the names of the measures that any configuration has."""
    return [
        name
        for name in release_facts.configurations[0].measures
        if any(one.measures[name] != EMPTY_CELL for one in release_facts.configurations)
    ]


def write(
    dataset: str | Path,
    output: str | Path,
    *,
    records: Iterable[str | Path] = (),
    network: str | None = None,
    plots: bool = True,
    allow_unverified: bool = False,
) -> Path:
    """Verify a release, write its page to a file, atomically, and return the path.

    Parameters and errors are those of `render`, and:

    Parameters
    ----------
    allow_unverified
        A folder that does not verify is not an error, but the page says so.

    Raises
    ------
    UsageError
        If the file cannot be written.
    VerificationError
        If a folder does not verify; the page is written, and says so at its top.
    """
    path = expand(output)
    check_outside_releases(path)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise _not_writable(path, "expected the name of a file in a folder that exists and can be written to")
    files = list(records)
    if files:
        # Checked before minutes are spent on the images.
        Report.read(files)
    failures = verification_failures(Release(dataset))
    content = render(dataset, records=files, network=network, plots=plots, failures=failures).encode()
    _replace(path, content)
    if failures and not allow_unverified:
        advice = "it says so at its top; build the release again, or use --allow-unverified"
        raise VerificationError([*failures, f"{path}: the page is of a release that does not verify: {advice}"])
    return path


def verification_failures(release: Release) -> tuple[str, ...]:
    """Verify a release (see `Release.verify`), and return what fails."""
    try:
        release.verify()
    except VerificationError as error:
        return error.failures
    return ()


def _replace(path: Path, content: bytes) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            (Path(folder) / path.name).write_bytes(content)
            (Path(folder) / path.name).replace(path)
    except OSError as error:
        raise _not_writable(path, str(error)) from None


def _not_writable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path}: the page cannot be written there ({reason}): choose another --output")


def _sections(
    release: Release, release_facts: facts.Facts, clean: LabeledImages, chosen_rows: list[NDArray[np.int64]]
) -> list[Section]:
    """Draw all galleries; only the chosen images of each configuration stay in memory."""
    sections = []
    for name, configuration in zip(release.configurations, release_facts.configurations, strict=True):
        images = clean if name == CLEAN else release.train(name)
        check_order(clean, images, name)
        differs = configuration.digest != release.digest(CLEAN)
        sections.append(Section(configuration, gallery(images, chosen_rows), differs))
    return sections
