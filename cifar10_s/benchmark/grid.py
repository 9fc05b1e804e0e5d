"""Execute a grid of runs, configuration × strategy × network × seed; recorded runs are not repeated."""

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path

from cifar10_s.benchmark.execute import run_here, run_on_cluster
from cifar10_s.benchmark.measures.registry import Measure, find_measure
from cifar10_s.benchmark.protocols import Protocol, find_protocol
from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.run_spec import RunSpec
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.dilution import Dilution
from cifar10_s.benchmark.strategies.registry import find_strategy
from cifar10_s.benchmark.weights import Weights
from cifar10_s.common.options import Options
from cifar10_s.common.progress import progress_bar
from cifar10_s.common.records import Records, run_id
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.sources.release_folder import check_outside_releases
from cifar10_s.errors import BuildError, UsageError, VerificationError
from cifar10_s.nn.networks.registry import make_network, network_for, recorded_name
from cifar10_s.release.layout import CLEAN
from cifar10_s.release.reader import Release

logger = logging.getLogger(__name__)

# More are probably a mistake: all runs are listed before the first starts.
MAX_SEEDS = 1000


def bench(
    dataset: str | Path,
    records: str | Path,
    *,
    configurations: Iterable[str] | None = None,
    strategies: Iterable[str] = ("standard",),
    protocol: str | None = None,
    networks: Iterable[str] | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    measures: Iterable[str] = (),
    measure_limit: int | None = None,
    weights: str | Path | None = None,
    seeds: int = 1,
    device: str = "auto",
    engine: str = "local",
    address: str | None = None,
    allow_unverified: bool = False,
    on_record: Callable[[Record], object] | None = None,
) -> list[Record]:
    """Execute the runs of a grid, record each as it ends, and return the records of all, earlier ones included.

    A run is skipped if the file holds its record, or if another process is executing it. A run that was killed starts
    again from its beginning.

    Parameters
    ----------
    dataset
        A folder that `build` wrote, or the Hub name of such a dataset.
    records
        A file of JSON Lines, which records are appended to.
    configurations
        Names of the release's configurations; all by default.
    strategies
        Names of `STRATEGIES`, or of your own (see `find_strategy`).
    protocol
        A name of `PROTOCOLS`, or your own (see `find_protocol`); by default ``quick-v1`` on a GPU, ``cpu-v1`` on a CPU.
    networks
        Names of `NETWORKS`, or of your own (see `network_for`); by default the protocol's own.
    epochs, limit
        Other epochs than the protocol's, and how many training images of each class to use, the first ones; the
        protocol's name then is another, such as ``custom-cpu-v1-epochs-2``.
    measures, measure_limit
        What else to measure of each network, names of `MEASURES` (see `find_measure`), and on how many test images. A
        run with measures has another id, and is trained anew.
    weights
        What training starts from, but for the classifier: a file of weights, or ``namespace/name[@revision]`` on the
        Hub (see `Weights`); by default random weights.
    seeds
        The number of seeds, which are 0 to seeds - 1; at most 1,000.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
    engine, address
        See `Cluster.of`: with ``ray``, each run is a task of the cluster, with a GPU if the device is one.
    allow_unverified
        Skip the verification of a folder.
    on_record
        Called with each record as its run ends.

    Raises
    ------
    UsageError
        If a name is unknown, or a strategy does not apply to these images.
    SourceError
        If the release, the records or the weights cannot be read, or the weights do not fit a network.
    VerificationError
        If a folder fails verification, which comes before the first run.
    BuildError
        If runs did not fit into the device's memory; the others are recorded.

    Examples
    --------
    >>> import cifar10_s
    >>> records = cifar10_s.bench("digits-s", "records.jsonl", configurations=["clean"], protocol="cpu-v1")
    >>> records[0].settings.strategy.name, records[0].status
    ('standard', 'done')
    """
    if measure_limit is not None and not measures:
        raise UsageError("measure limit: there is nothing to measure on so many images: name a measure, or no limit")
    cluster = Cluster.of(engine, address)
    release, file = Release(dataset), Records(records)
    release.check_has_images()
    device = Options.resolve(device=device).device if cluster is None else cluster.device(device)
    specs = _specs(
        release,
        find_protocol(protocol or ("cpu-v1" if device == "cpu" else "quick-v1")),
        configurations=configurations,
        strategies=strategies,
        networks=networks,
        changes={"epochs": epochs, "per_class": limit},
        measures=[find_measure(name).limited(measure_limit) for name in dict.fromkeys(measures)],
        weights=None if weights is None else Weights.read(weights),
        seeds=seeds,
    )
    check_outside_releases(file.path)
    file.check_writable()
    specs_by_id = {run_id(spec.settings(release)): spec for spec in specs}
    done = file.done()
    pending = {identity: spec for identity, spec in specs_by_id.items() if identity not in done}
    if pending and not allow_unverified:
        _verify(release)
    too_large = _run_all(pending, release, file, device, cluster, on_record)
    recorded = [Record.parse(line) for line in file.read() if line["id"] in specs_by_id]
    elsewhere = len(specs_by_id) - len({record.id for record in recorded}) - len(too_large)
    if elsewhere > 0:
        logger.warning(
            "%d of %d runs are being executed by another process that shares the records: run again to check that they "
            "are recorded",
            elsewhere,
            len(specs_by_id),
        )
    if too_large:
        raise BuildError(
            f"{len(too_large)} of {len(pending)} runs did not fit into the memory of {device} and are not recorded "
            f"({too_large[0].network} on {too_large[0].configuration}, {too_large[0].strategy.name}, …): "
            "take a smaller network or another device"
        )
    return recorded


def _specs(
    release: Release,
    protocol: Protocol,
    *,
    configurations: Iterable[str] | None,
    strategies: Iterable[str],
    networks: Iterable[str] | None,
    changes: Mapping[str, int | None],
    measures: Iterable[Measure],
    weights: Weights | None,
    seeds: int,
) -> list[RunSpec]:
    """Check the names of a grid, and return its runs, ordered by seed."""
    if not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"seeds: expected 1 to {MAX_SEEDS}, got {seeds}")
    networks = [recorded_name(name) for name in ([protocol.network] if networks is None else networks)]
    for network in networks:
        network_for(network, release.size)
        if weights is not None:
            size, channels, classes = release.size, release.shape[2], len(release.manifest.classes)
            weights.put_into(make_network(network, channels=channels, size=size, classes=classes))
    for measure in measures:
        measure.check(len(release.manifest.classes), release.size)
    names = release.select(configurations)
    found = _find_strategies(strategies, release, names, protocol.customised(**changes).per_class)
    protocols = {network: protocol.for_network(network).customised(**changes) for network in networks}
    return [
        RunSpec(configuration, strategy, protocols[network], network, seed, tuple(measures), weights)
        for seed, network, strategy, configuration in product(range(seeds), networks, found, names)
    ]


def _find_strategies(
    names: Iterable[str], release: Release, configurations: Iterable[str], per_class: int | None
) -> list[Strategy]:
    """Look up strategies by name, and check that the release, or so many of its images per class, are enough."""
    most = float("inf") if per_class is None else per_class * len(release.manifest.classes)
    strategies = list(map(find_strategy, names))
    for strategy in strategies:
        if strategy.needs_clean and CLEAN not in release.configurations:
            raise UsageError(
                f"strategy {strategy.name!r} needs the configuration {CLEAN!r}, which {release.name} does not hold: "
                "build it too"
            )
        if isinstance(strategy.prepare, Dilution):
            for configuration in configurations:
                strategy.prepare.check(int(min(release.rows(configuration), most)))
    return strategies


def _verify(release: Release) -> None:
    try:
        release.verify()
    except VerificationError as error:
        advice = "build it again, or use it nevertheless with --allow-unverified"
        raise VerificationError([*error.failures, f"{release.name}: does not verify: {advice}"]) from None


def _run_all(
    specs: Mapping[str, RunSpec],
    release: Release,
    file: Records,
    device: str,
    cluster: Cluster | None,
    on_record: Callable[[Record], object] | None,
) -> list[RunSpec]:
    """Execute runs, given by id, and return those that did not fit into the device's memory."""
    with progress_bar("bench", sum(spec.cost for spec in specs.values()), unit="standard epoch") as bar:
        if cluster is None:
            runs = run_here(specs, release, file, device, bar)
        else:
            runs = run_on_cluster(specs, release, file, device, bar, cluster)
        too_large = []
        for spec, record in runs:
            if record is None:
                too_large.append(spec)
            elif on_record is not None:
                bar.clear()  # the record is printed on a line of its own
                on_record(record)
    return too_large
