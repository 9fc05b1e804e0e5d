"""Networks, one family a file, for small images: input (B, C, H, W) float, output (B, K) logits."""

from cifar10_s.nets.network import Network
from cifar10_s.nets.registry import NETWORKS, make, network_for
from cifar10_s.nets.small import SmallNet

__all__ = ["NETWORKS", "Network", "SmallNet", "make", "network_for"]
