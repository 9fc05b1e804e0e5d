"""Users' own networks and protocols by path, from Python and on the command line."""

import json
from dataclasses import replace

import pytest
from torch import nn
from typer.testing import CliRunner

from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol, find_protocol
from cifar10_s.cli.app import app
from cifar10_s.common.own import is_own
from cifar10_s.errors import UsageError
from cifar10_s.nn.networks.registry import NETWORKS, Network, make_network, network_for


class Net(nn.Module):
    def __init__(self, channels, size, classes):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Dropout(), nn.Linear(channels * size[0] * size[1], classes), nn.BatchNorm1d(classes)
        )

    def forward(self, images):
        return self.layers(images)


def narrow(channels, size, classes):
    return Net(channels, size, 3)


def wordy(channels, size, classes):
    return "no module\nat all"


MADE, LARGE, NUMBER = Net(3, (4, 4), 2), Network(Net, min_side=8), 5
FAST = Protocol(name="fast", network=f"{__name__}:Net", epochs=1, batch=64, learning_rate=0.01)


@pytest.mark.parametrize("name", ["a:b", "a.b:c", "a:b:c"])
def test_paths(name):
    assert is_own(name)


@pytest.mark.parametrize("name", ["a", "a:", ":b", ":", "", "resnet-18"])
def test_what_is_no_path(name):
    assert not is_own(name)


def test_a_network_is_built_and_left_as_it_was():
    net = make_network(f"{__name__}:Net", channels=3, size=(4, 5), classes=2)
    assert isinstance(net, Net)
    assert net.training
    assert int(net.layers[3].num_batches_tracked) == 0
    assert isinstance(make_network(f"{__name__}:LARGE", channels=3, size=(8, 8), classes=2), Net)
    assert network_for("small", (4, 4)) is NETWORKS["small"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "resnet",
            r"unknown network 'resnet' \(did you mean resnet-18\?\): expected one of small, .*, your own as",
        ),
        ("no.such.module:Net", "network 'no.such.module:Net': no.such.module does not import"),
        (f"{__name__}:absent", "defines no 'absent'"),
        (f"{__name__}:NUMBER", "expected a function .channels, .height, width., classes. → module.*, got int"),
        (f"{__name__}:MADE", "expected a function .*, got Net"),
        (f"{__name__}:LARGE", "needs images of at least 8×8 pixels, got 4×4"),
        (f"{__name__}:narrow", r"expected logits of shape \(B, 2\) for B images, got shape \(2, 3\) for 2"),
        (f"{__name__}:wordy", "raised AttributeError: .*: expected a function .channels"),
        ("builtins:print", "raised AttributeError"),
    ],
)
def test_what_is_no_network_gets_one_line(name, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        make_network(name, channels=3, size=(4, 4), classes=2)
    assert "\n" not in str(caught.value)


def test_a_protocol_is_found_by_its_path():
    assert find_protocol("cpu-v1") is PROTOCOLS["cpu-v1"]
    assert find_protocol(f"{__name__}:FAST") == replace(FAST, name=f"{__name__}:FAST")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "slow",
            "unknown protocol 'slow': expected one of paper-v1, quick-v1, cpu-v1, smoke-v1, your own as "
            "package.module:name",
        ),
        (f"{__name__}:absent", "protocol '.*': .* defines no 'absent'"),
        (f"{__name__}:NUMBER", "expected a Protocol, got int"),
    ],
)
def test_what_is_no_protocol_gets_one_line(name, reason):
    with pytest.raises(UsageError, match=reason):
        find_protocol(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"optimizer": "adam"},
            r"unknown optimizer of protocol 'fast' 'adam' \(did you mean adamw\?\): expected one of sgd, adamw",
        ),
        ({"schedule": "cosine"}, "unknown schedule of protocol 'fast' 'cosine': expected one of multistep, one-cycle"),
        ({"epochs": 0}, "epochs: expected a whole number from 1, got 0"),
        ({"batch": -1}, "batch: expected a whole number from 1, got -1"),
        ({"warmup": 1.0}, "warmup: expected a share from 0, below 1, got 1.0"),
    ],
)
def test_a_protocol_s_numbers_are_checked(changes, reason):
    with pytest.raises(UsageError, match=reason):
        replace(FAST, **changes)


MODULE = """
from torch import nn
from cifar10_s import Protocol

def net(channels, size, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))

fast = Protocol(name="fast", network="own_of_folder:net", epochs=2, batch=64, learning_rate=0.01)
"""


def test_both_on_the_command_line(release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_of_folder.py").write_text(MODULE)
    command = ["bench", str(release.folder), "-c", "ops", "--protocol", "own_of_folder:fast", "--device", "cpu"]
    done = CliRunner().invoke(app, [*command, "--network", "own_of_folder:net", "--network", "small", "--json"])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["settings"]["network"] for record in records] == ["own_of_folder:net", "small"]
    protocol = records[0]["settings"]["protocol"]
    assert (protocol["name"], protocol["network"], protocol["epochs"]) == ("own_of_folder:fast", "own_of_folder:net", 2)
    assert all(record["status"] == "done" for record in records)
    again = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(again.stdout) == records[0]
    shown = CliRunner().invoke(app, ["tables", "bench.jsonl", "--table", "grid"])
    assert "own_of_folder:net" in shown.stdout.replace("\\", "")
