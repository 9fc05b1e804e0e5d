"""Distributed: the same work on a Ray cluster (extra ``distributed``). No result depends on where it was done.

Ray Data spreads the work and does it again where a machine is lost. Every machine must reach the images by the same
path or URL, and have this package.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import BuildError, Cifar10SError, UsageError, unknown
from cifar10_s.images import Images, LabeledImages, Result, part_size
from cifar10_s.parallel import chunks
from cifar10_s.stream import Stream


@dataclass(frozen=True)
class MemoryBlock:
    """Images that are sent with the work."""

    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        yield self.pixels[rows]


@dataclass(frozen=True)
class RayMapper:
    """Applies functions on a cluster, to which `connect` has connected.

    Attributes
    ----------
    workers, beside
        See `stream.Mapper`.
    has_gpus
        Whether the cluster has any.
    ordered
        Whether the results come in the order of the items, or as they are done.
    cpus, gpus
        What an item takes of the cluster.
    """

    workers: int
    beside: int = 1
    has_gpus: bool = False
    ordered: bool = True
    cpus: float = 1
    gpus: float = 0

    def device(self, name: str) -> str:
        """Turn ``auto`` into what the cluster has; of GPUs, a task sees only the one that is its own."""
        if name == "auto":
            return "cuda" if self.has_gpus else "cpu"
        return "cuda" if name.startswith("cuda:") else name

    def __call__(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        """See `stream.Mapper`.

        Raises
        ------
        BuildError
            Where the cluster fails; what the function raises of this package's errors is raised here.
        """
        import ray.data
        from ray import cloudpickle

        packed = [{"item": pickle.dumps(item)} for item in items]
        if not packed:
            return
        work = _Work(cloudpickle.dumps(function))  # type: ignore[no-untyped-call]
        with _one_line_errors():
            data = ray.data.from_items(packed, override_num_blocks=len(packed))
            data.context.execution_options.preserve_order = self.ordered
            data.context.enable_progress_bars = False
            for row in data.map(work, num_cpus=self.cpus, num_gpus=self.gpus).iter_rows():
                result = pickle.loads(row["result"])  # noqa: S301 (our own workers wrote it)
                if isinstance(result, Cifar10SError):
                    raise result
                yield result


@dataclass(frozen=True)
class _Work:
    """What Ray runs: our own errors are results, as Ray would wrap them in its own."""

    function: bytes

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result = pickle.loads(self.function)(pickle.loads(row["item"]))  # noqa: S301 (from the driver)
        except Cifar10SError as error:
            result = error
        return {"result": pickle.dumps(result)}


PATIENCE_SECONDS = 5.0
ENGINES = ("local", "ray")


def start(engine: str, address: str | None = None) -> RayMapper | None:
    """Give what spreads the work by an engine's name; None for ``local``.

    Raises
    ------
    UsageError
        For an unknown name, an address without a cluster; and as for `connect`.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if engine == "ray":
        return connect(address)
    if address is not None:
        raise UsageError("address: is that of a Ray cluster: expected engine ray with it, got local")
    return None


def connect(address: str | None = None) -> RayMapper:
    """Connect to a Ray cluster.

    Parameters
    ----------
    address
        The cluster's, such as ``auto`` or ``10.0.0.1:6379``; by default that of ``$RAY_ADDRESS``, or else a cluster
        of this machine alone, which is started.

    Raises
    ------
    UsageError
        Where Ray is not installed, or no cluster is to be reached.
    """
    try:
        import ray.data
    except ImportError:
        raise UsageError("engine: Ray is not installed: install cifar10-s[distributed]") from None
    # Ray tells its makers of every use, and puts its own in the place of print, unless somebody says no.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")
    try:
        if not ray.is_initialized():
            _reach(address or os.environ.get("RAY_ADDRESS", ""))
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"address: no Ray cluster is reached at {address or 'RAY_ADDRESS'}, or it refuses us ({_brief(error)}): "
            "start one with `ray start --head`, or name none, there or by --address, to use this machine alone"
        ) from None
    # Ray's plans and progress stay off standard error, where ours are shown.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    beside = max((int(node["Resources"].get("CPU", 1)) for node in nodes if node["Alive"]), default=1)
    return RayMapper(max(1, int(resources.get("CPU", 1))), max(1, beside), has_gpus=resources.get("GPU", 0) >= 1)


def _reach(address: str) -> None:
    """Knock at a cluster's door: Ray itself would wait at a closed one for as long as nobody stops it."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_SECONDS).close()


def distribute(images: Images, mapper: RayMapper | None) -> Images:
    """Give the same images, whose parts are read and changed on a cluster, if there is one."""
    if mapper is None:
        return images
    if isinstance(images, Stream):
        return replace(images, mapper=mapper)
    loaded: LabeledImages = images.load()
    blocks = [MemoryBlock(loaded.pixels[part]) for part in chunks(len(loaded), part_size(loaded.shape[1:]))]
    return Stream(tuple(blocks), loaded.shape[1:], loaded.labels, loaded.class_names, loaded.provenance, mapper=mapper)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    import ray

    try:
        yield
    except ray.exceptions.ObjectStoreFullError as error:
        raise BuildError(
            f"Ray: the object store is full ({_brief(error)}): start Ray with a larger --object-store-memory"
        ) from None
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError) as error:
        raise BuildError(f"Ray: a worker was lost ({_brief(error)}): give it more memory or fewer CPUs") from None
    except ray.exceptions.RayError as error:
        raise BuildError(f"Ray: {_brief(error)}; nothing half-done is left: run the same command again") from None


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
