"""Write images as a folder of Parquet files in the Hub's layout, which is a source and loads with `datasets`."""

import shutil
from pathlib import Path

from datasets.exceptions import DatasetGenerationError

from cifar10_s.builder.dataset_builder import OnePixelShortcutBuilder
from cifar10_s.common.files import expand
from cifar10_s.common.options import Options
from cifar10_s.common.staging import Staging
from cifar10_s.data.images import Images
from cifar10_s.data.sources.release_folder import check_outside_releases
from cifar10_s.errors import BuildError, UsageError, root_cause
from cifar10_s.release.layout import CLEAN, DATA, SHARD_SUFFIX, TRAIN, shard_path
from cifar10_s.release.recipes import CONFIGURATIONS


def check_is_free(output: Path) -> None:
    """Check that nothing is at a path, and that it is outside every release.

    Raises
    ------
    UsageError
        If something is there, or it is inside a release.
    """
    check_outside_releases(output)
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output}: already exists: expected a new folder to write; choose another")


def write_folder(images: Images, output: Path, options: Options, *, max_shard_size: str = "500MB") -> None:
    """Write images as the training split of a new folder: ``data/train-*.parquet``, columns ``img`` and ``label``.

    Raises
    ------
    UsageError
        If something is at this path.
    BuildError
        If the folder cannot be written; nothing is left behind.
    """
    output = expand(output).absolute()
    check_is_free(output)
    staging = Staging(output)
    try:
        staging.recover()
        with staging.held() as folder:
            _write(images, folder, options, max_shard_size)
            staging.put_in_place()
    except FileExistsError:
        check_is_free(output)
        raise
    except (OSError, DatasetGenerationError) as error:
        cause = root_cause(error)
        if not isinstance(cause, OSError):
            raise
        raise BuildError(f"{output}: could not be written ({cause}); free some space, or choose another") from error


def _write(images: Images, folder: Path, options: Options, max_shard_size: str) -> None:
    scratch, data = folder / ".scratch", folder / DATA
    builder = OnePixelShortcutBuilder(
        recipe=CONFIGURATIONS[CLEAN], splits={TRAIN: images}, options=options, cache_dir=str(scratch)
    )
    builder.download_and_prepare(str(scratch / "out"), file_format="parquet", max_shard_size=max_shard_size)
    shards = sorted((scratch / "out").glob(f"*-{TRAIN}*{SHARD_SUFFIX}"))
    data.mkdir()
    for number, shard in enumerate(shards):
        shard.rename(data / Path(shard_path(CLEAN, TRAIN, number, len(shards))).name)
    shutil.rmtree(scratch)
