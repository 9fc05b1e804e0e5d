"""Release: build a whole dataset folder, verified before it gets its name; half of one is never left."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets.exceptions import DatasetGenerationError

from cifar10_s.benchmark import Report
from cifar10_s.benchmark.drawing import styled
from cifar10_s.checksums import MANIFEST
from cifar10_s.compose import check_time
from cifar10_s.device import resolve_device
from cifar10_s.errors import BuildError, SourceError, UsageError, unknown
from cifar10_s.form import DATASET_NAME
from cifar10_s.images import Images
from cifar10_s.memory import Memory, memory_limit, parse_size
from cifar10_s.methods import METHODS, Bound, GivenNoise
from cifar10_s.noise_file import read_noise
from cifar10_s.package import describe, of_release, write_release
from cifar10_s.recipes import Recipe, select
from cifar10_s.records import RELEASED, Records
from cifar10_s.search import check_pixels
from cifar10_s.sources import CIFAR10_ON_THE_HUB, open_splits
from cifar10_s.staging import Staging
from cifar10_s.verification import VerifiedRelease, verify

DEFAULT_NAME = "cifar10-s"

logger = logging.getLogger(__name__)


def build(
    source: str | Path = CIFAR10_ON_THE_HUB,
    output: str | Path | None = None,
    *,
    name: str = DEFAULT_NAME,
    configurations: Iterable[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    budget: str = "full",
    noise: Mapping[str, str | Path] | None = None,
    yes: bool = False,
    allow_unverified: bool = False,
    overwrite: bool = False,
    max_shard_size: str = "500MB",
    memory: Memory = None,
    engine: str = "local",
    address: str | None = None,
    records: Iterable[str | Path] = (),
) -> VerifiedRelease:
    """Build a release: search, compose, write, verify, and only then put it in its place.

    Where the folder already holds this very build, it is verified and left as it is.

    Parameters
    ----------
    source, allow_unverified
        See `sources.load_source`.
    output
        The folder to write, by default called as the dataset.
    name
        The dataset's name.
    configurations
        Names of `recipes.RECIPES`, or ``all``; `recipes.STANDARD` by default. ``clean`` always comes with them.
    seed, device
        See `compose.compose`.
    budget
        ``full``, or ``small`` for recipes reduced for a CPU, where a method needs a network.
    noise
        Files with noise to take instead of a method's, by the method's name (see `noise_file.read_noise`).
    yes
        Build though that takes hours.
    overwrite
        Replace what is in the folder, if it is something else.
    max_shard_size
        How large a Parquet shard may be, such as ``500MB``.
    memory
        How much to use at most, such as ``8GB``; by default half of the machine's. Images that do not fit are read
        again for each configuration, and classes whose sums do not fit are searched one group after another.
    engine, address
        See `distributed.start`: with ``ray``, images are read, searched, stamped and encoded on a cluster.
    records
        Files that `bench` wrote; the release holds, and its card shows, what is of its own images.

    Raises
    ------
    UsageError
        For an unknown name, more pixels than images have, noise that does not fit, work that takes hours, or a
        folder that holds something else.
    SourceError
        Where the source, or a file of records, cannot be read.
    BuildError
        Where the disk is full or cannot be written, and nothing is left behind; where another process builds it.
    VerificationError
        Where what was written is not what it should be; nothing is left behind.
    """
    _check_name(name)
    max_shard_bytes = parse_size(max_shard_size, "max_shard_size")
    limit = memory_limit(memory)
    given = Path(name if output is None else output)
    # A link is followed, and `.` has a name: what is replaced is the folder itself.
    output = given.expanduser().resolve()
    noise, recipes = noise or {}, select(configurations, budget=budget)
    _check_noise_is_wanted(noise, recipes)
    device, report = resolve_device(device), _read_report(records)
    staging = Staging(output)
    with _one_line_errors(output):
        staging.recover()
    if not overwrite and _is_taken(output) and not (output / MANIFEST).is_file():
        raise _taken(output)
    opened = open_splits(source, allow_unverified=allow_unverified, engine=engine, address=address)
    splits = {split: images.kept(limit) for split, images in opened.items()}
    if noise:
        recipes = select(configurations, budget=budget, noise=_read_all(noise, splits["train"]))
    for recipe in recipes:
        if recipe.objective is not None:
            check_pixels(recipe.pixels, splits["train"])
    if _is_taken(output) and not overwrite:
        if not _holds(output, describe(splits, recipes, name=name, seed=seed), recipes, report):
            raise _taken(output)
        return verify(given, memory=limit)
    if not yes:
        check_time(recipes, splits["train"], seed=seed, device=device)
    with _one_line_errors(output), staging.held() as folder:
        write_release(
            folder, splits, recipes, name=name, seed=seed, device=device, memory=limit,
            max_shard_bytes=max_shard_bytes, report=report,
        )  # fmt: skip
        verified = verify(folder, memory=limit)
        _put_in_place(staging, overwrite=overwrite)
    return VerifiedRelease(given, verified.manifest, verified.files, verified.images)


def _check_noise_is_wanted(noise: Iterable[str], recipes: list[Recipe]) -> None:
    methods = {recipe.method.name for recipe in recipes if recipe.method is not None}
    for method in noise:
        if method not in methods:
            raise unknown("method for the noise, among those that are built,", method, sorted(methods) or ["none"])


def _read_report(records: Iterable[str | Path]) -> Report | None:
    """Read what was measured, and see that its figures can be drawn, before anything is built."""
    files = list(records)
    if not files:
        return None
    with styled():
        return Report.of(files)


def _read_all(files: Mapping[str, str | Path], images: Images) -> dict[str, GivenNoise]:
    """Read the noise that takes the place of methods' own."""
    shape, given = images.shape[1:], {}
    for name, file in files.items():
        method = METHODS[name]
        bound = method.bound(shape)
        if bound == Bound():
            raise UsageError(f"{name}: has no bound that noise from a file could be held to: leave out its --noise")
        read = read_noise(
            file, shape=shape, images=len(images), classes=len(images.class_names),
            linf=bound.linf, l2=bound.l2_rounded(shape),
        )  # fmt: skip
        if read.one_sided:
            logger.warning("%s: nothing of this noise is below zero: was its negative half lost?", file)
        given[name] = GivenNoise.of(method, file=read.name, sha256=read.sha256, kind=read.kind, levels=read.levels)
    return given


def _check_name(name: str) -> None:
    if not re.fullmatch(DATASET_NAME, name, re.ASCII):
        raise UsageError(f"name: expected a dataset name of letters, digits, '-', '_' and '.', got {name!r}")


def _is_taken(output: Path) -> bool:
    return output.exists() and not (output.is_dir() and not any(output.iterdir()))


def _taken(output: Path) -> UsageError:
    return UsageError(
        f"{output}: holds something else than this build; choose another --output, or --overwrite to replace it"
    )


def _holds(output: Path, description: Mapping[str, Any], recipes: list[Recipe], report: Report | None) -> bool:
    """Tell whether a folder's manifest, recipes and records say what this build would say."""

    def read(file: str) -> Any:
        return json.loads((output / file).read_text(encoding="utf-8"))

    try:
        manifest = read(MANIFEST)
        return (
            list(manifest["configurations"]) == [recipe.name for recipe in recipes]
            and all(manifest[key] == value for key, value in description.items())
            and all(read(f"recipes/{recipe.name}.json")["recipe"] == recipe.settings() for recipe in recipes)
            and Records(output / RELEASED).read() == list(of_release(report, manifest).records if report else ())
        )
    except (OSError, ValueError, LookupError, TypeError, SourceError):
        return False


@contextmanager
def _one_line_errors(output: Path) -> Iterator[None]:
    """Say of a disk that is full or cannot be written what to do about it."""
    try:
        yield
    except (OSError, DatasetGenerationError) as error:
        cause = _root_cause(error)
        if not isinstance(cause, OSError):
            raise
        raise BuildError(
            f"{output}: could not be written ({cause}); what was unfinished is removed; free some space or choose "
            "another --output"
        ) from error


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _put_in_place(staging: Staging, *, overwrite: bool) -> None:
    """Give a finished folder its name; nothing that had it before is lost, unless it is to be overwritten."""
    if overwrite and _is_taken(staging.output):
        staging.replace()
        return
    try:
        staging.put_in_place()
    except FileExistsError:
        raise _taken(staging.output) from None
