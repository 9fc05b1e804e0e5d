"""Files of submitted records, on the images of CIFAR-10 (JPEG copy)."""

import json
from copy import deepcopy

from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.common.records import run_id
from cifar10_s.release.known_pixels import KNOWN_PIXELS
from support.synthetic_records import record

SOURCE = "“cifar10-jpeg”"
(TEST,) = KNOWN_PIXELS
PIXELS = KNOWN_PIXELS[TEST]
SUBMITTER = {
    "name": "Two-Pixel Wonder",
    "paper": "https://arxiv.org/abs/2205.12141",
    "code": "https://example.org/code",
    "contact": "someone@example.org",
}


def submitted(configuration="two-pixel-wonder", *, pixels="ab" * 32, final=12.0, **changes):
    """Return a record that can be handed in: of the protocol's number of epochs, ending at ``final``."""
    curve = [*([20.0] * (PROTOCOLS["cpu-v1"].epochs - 1)), final]
    return record(configuration, curve=curve, pixels=pixels, test=TEST, source=SOURCE, **changes)


def changed(line, *path, value):
    """Return a record with another value at a path, and the id of its settings."""
    line = deepcopy(line)
    here = line
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    if path[0] != "id":
        line["id"] = run_id(line["settings"])
    return line


def written(path, lines, submitter=SUBMITTER):
    """Write a file of submitted records; lines that are bytes are written as they are."""
    header = [] if submitter is None else [{"submission": submitter}]
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (*header, *lines)]
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    return path
