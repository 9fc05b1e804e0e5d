"""The benchmark: train networks on released configurations under a pinned protocol, and measure them."""

from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.released import Released
from cifar10_s.benchmark.strategies import STRATEGIES, Adversary, Strategy
from cifar10_s.benchmark.sweep import bench

__all__ = ["PROTOCOLS", "STRATEGIES", "Adversary", "Protocol", "Released", "Strategy", "bench"]
