"""Work on a Ray cluster (extra ``distributed``), with the same results as on one machine.

Ray Data distributes the work, and repeats it if a machine is lost. Every machine must have this package, and must reach
the images by the same path or URL.
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

from cifar10_s.common.extras import require
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import Images, LabeledImages, Result, part_size
from cifar10_s.data.stream import Mapper, Stream
from cifar10_s.errors import BuildError, Cifar10SError, UsageError, one_line, unknown

CONNECT_TIMEOUT_SECONDS = 5.0
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that `connect` has connected to; as a `stream.Mapper`, it applies functions there.

    Attributes
    ----------
    workers, workers_per_node
        See `stream.Mapper`.
    has_gpus
        Whether the cluster has any GPU.
    ordered
        Whether results come in the order of the items, rather than in that of completion.
    cpus, gpus
        The CPUs and GPUs that an item needs.
    """

    workers: int
    workers_per_node: int = 1
    has_gpus: bool = False
    ordered: bool = True
    cpus: float = 1
    gpus: float = 0

    @classmethod
    def of(cls, engine: str, address: str | None = None) -> "Cluster | None":
        """Connect to the cluster that a caller names; return None for the engine ``local``.

        Parameters
        ----------
        engine
            A name of `ENGINES`.
        address
            See `connect`.

        Raises
        ------
        UsageError
            If the engine is unknown, or an address is given without engine ``ray``; and as for `connect`.
        """
        if engine not in ENGINES:
            raise unknown("engine", engine, ENGINES)
        if engine == "ray":
            return cls.connect(address)
        if address is not None:
            raise UsageError("address: only a Ray cluster has one: expected engine ray, got local")
        return None

    @classmethod
    def connect(cls, address: str | None = None) -> "Cluster":
        """Connect to a Ray cluster.

        Parameters
        ----------
        address
            The address of the cluster, such as ``auto`` or ``10.0.0.1:6379``; by default ``$RAY_ADDRESS``, and
            without it a new cluster on this machine alone.

        Raises
        ------
        UsageError
            If Ray is not installed, or no cluster can be reached.
        """
        _connect(address)
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        cpus = [int(node["Resources"].get("CPU", 1)) for node in nodes if node["Alive"]]
        return cls(
            workers=max(1, int(resources.get("CPU", 1))),
            workers_per_node=max([1, *cpus]),
            has_gpus=resources.get("GPU", 0) >= 1,
        )

    def device(self, name: str) -> str:
        """Resolve ``auto`` to a device of the cluster; a task sees only its own GPU."""
        if name == "auto":
            return "cuda" if self.has_gpus else "cpu"
        return "cuda" if name.startswith("cuda:") else name

    def __call__(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        """See `stream.Mapper`.

        Raises
        ------
        BuildError
            If the cluster fails; this package's errors that the function raises are raised here too.
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
    """The function that Ray runs: it returns our own errors, since Ray would wrap what is raised in its own."""

    function: bytes

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result = pickle.loads(self.function)(pickle.loads(row["item"]))  # noqa: S301 (from the driver)
        except Cifar10SError as error:
            result = error
        return {"result": pickle.dumps(result)}


def _connect(address: str | None) -> None:
    ray = require("ray", extra="distributed", what="the engine ray")
    require("ray.data", extra="distributed", what="the engine ray")

    # By default, Ray sends usage statistics, and replaces `print`.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_TQDM_PATCH_PRINT", "0")
    try:
        if not ray.is_initialized():
            _reach(address or os.environ.get("RAY_ADDRESS", ""))
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"address: no Ray cluster is reached at {address or 'RAY_ADDRESS'}, or it refuses us ({one_line(error)}): "
            "start one with `ray start --head`, or name none, there or by --address, to use this machine alone"
        ) from None
    # Ray would log its plans and progress to standard error.
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _reach(address: str) -> None:
    """Check that a cluster accepts connections: Ray itself would wait for an absent one without end."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()


def distribute(images: Images, cluster: Cluster | None) -> Images:
    """Return the images, read and transformed on the cluster if there is one."""
    if cluster is None:
        return images
    if isinstance(images, Stream):
        return replace(images, mapper=cluster)
    return in_blocks(images.load(), part_size(images.shape[1:]), cluster)


@dataclass(frozen=True)
class MemoryBlock:
    """Images that are sent with the work."""

    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        yield self.pixels[rows]


def in_blocks(images: LabeledImages, size: int, mapper: Mapper) -> Stream:
    """Return images in memory as a stream of blocks of at most ``size`` images, each sent with the work."""
    blocks = tuple(MemoryBlock(images.pixels[part]) for part in chunks(len(images), size))
    return Stream(
        blocks, images.shape[1:], images.labels, images.class_names, images.provenance, mapper=mapper,
        other_labels=images.other_labels,
    )  # fmt: skip


@contextmanager
def _one_line_errors() -> Iterator[None]:
    import ray

    try:
        yield
    except ray.exceptions.ObjectStoreFullError as error:
        raise BuildError(
            f"Ray: the object store is full ({one_line(error)}): start Ray with a larger --object-store-memory"
        ) from None
    except (ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError) as error:
        raise BuildError(f"Ray: a worker was lost ({one_line(error)}): give it more memory or fewer CPUs") from None
    except ray.exceptions.RayError as error:
        raise BuildError(f"Ray: {one_line(error)}; no partial output is left: run the same command again") from None
