"""What a billion images would take, computed from measured rates: the table of docs/scale.md."""

from collections.abc import Mapping
from typing import Any

from cifar10_s.data.stream import PARTITIONS_PER_WORKER
from cifar10_s.shortcut.moments import channel_pairs
from speed.own_images import IMAGES, SIDE

TOTAL, CLASSES, CHANNELS = 1_000_000_000, 1_000, 3
# Machines, the cores of each, the bytes of a file: the mean of those that `own_images` draws.
MACHINES, CORES, FILE_BYTES = (1, 16, 256), 16, 13_800
# Of 64 bits, per class.
MOMENTS_BYTES = 8 * SIDE * SIDE * (CHANNELS + len(channel_pairs(CHANNELS)))


def table(record: Mapping[str, Any]) -> str:
    """Return the table in Markdown, from the record of own images."""
    here, on_ray = record["rows"][0], next(row for row in record["rows"] if "on Ray" in row["what"])
    decoding = IMAGES / here["limit"] / record["cores"]
    lines = [
        "| machines of 16 cores | search | of which decoding alone | each machine reads | sums sent to the driver |",
        f"| --: |{' --: |' * 4}",
    ]
    for machines in MACHINES:
        workers, is_alone = machines * CORES, machines == 1
        rate = IMAGES / (here if is_alone else on_ray)["value"] / record["cores"]
        took = TOTAL / rate / workers
        read = TOTAL * FILE_BYTES / machines / took
        # A partition has the sums of its own classes; images are in the order of their classes.
        sent = 0 if is_alone else (CLASSES + PARTITIONS_PER_WORKER * workers) * MOMENTS_BYTES
        lines.append(
            f"| {machines} | {_hours(took)} | {_hours(TOTAL / decoding / workers)} | {read / 1e6:.0f} MB/s "
            f"| {sent / 1e9:.1f} GB |"
        )
    return "\n".join(lines) + "\n"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
