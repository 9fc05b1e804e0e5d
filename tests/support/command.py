"""The command line in a process of its own, where a network that milliseconds train is in place of ``small``."""

import sys
from pathlib import Path

from torch import nn


class Perceptron(nn.Sequential):
    """One hidden layer, so wide that of 8×8 colour images a checkpoint has 600 KB; batch norm, so that modes matter."""

    def __init__(self, channels, size, classes):
        values = channels * size[0] * size[1]
        super().__init__(nn.Flatten(), nn.Linear(values, 400), nn.BatchNorm1d(400), nn.ReLU(), nn.Linear(400, classes))


def quick_command(prepared=""):
    """Return the beginning of a command line that runs ``prepared`` first."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.command import Perceptron
from cifar10_s.nn.networks.registry import NETWORKS, Network
NETWORKS["small"] = Network(Perceptron, min_side=1)
{prepared}
from cifar10_s.cli.app import main
main()
"""
    return [sys.executable, "-c", code]
