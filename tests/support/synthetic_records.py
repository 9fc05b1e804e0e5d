"""Records as the benchmark writes them, without the benchmark."""

from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.record import Record
from cifar10_s.common.records import run_id
from cifar10_s.report.record_set import RecordSet

SOURCE = "CIFAR-10"
# The network of the published tables, with our shorter protocol.
RESNET = {"protocol": "quick-v1", "network": "resnet-18"}


def record_set(lines, **options):
    """Return the record set of some lines."""
    return RecordSet(map(Record.parse, lines), **options)


def record(
    configuration="clean", strategy="standard", *, seed=0, protocol="cpu-v1", network="small", source=SOURCE,
    final=50.0, curve=None, pixels="00", test="ff", settings=None, **results,
):  # fmt: skip
    """Return a record, of a failed run if ``final`` is None; ``settings`` extend those of protocol and strategy."""
    known = PROTOCOLS[protocol].settings() if protocol in PROTOCOLS else {"name": protocol, "network": network}
    added = settings or {}
    of_run = {
        "source": source,
        "configuration": configuration,
        "pixels_sha256": pixels,
        "test_sha256": test,
        "strategy": {"name": strategy, "draws": 1, **added.get("strategy", {})},
        "protocol": {**known, **added.get("protocol", {})},
        "network": network,
        "seed": seed,
    }
    on_test = [float(value) for value in curve or [final or 0.0]]
    measured = {
        "final": on_test[-1],
        "peak": max(on_test),
        "last_5_mean": sum(on_test[-5:]) / len(on_test[-5:]),
        "train_final": 100.0,
        "test_accuracy": on_test,
        "train_accuracy": [min(100.0, value + 20) for value in on_test],
    }
    failed = final is None
    return {
        "id": run_id(of_run),
        "settings": of_run,
        "status": "failed" if failed else "done",
        "results": {"reason": "the loss is no number"} if failed else {**measured, **results},
        "environment": {"device": "a machine", "precision": "float32", "torch": "2", "cores": 2},
    }
