"""The benchmark: train networks on released configurations under a pinned protocol, and measure them."""

from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.released import Released
from cifar10_s.benchmark.report import Report
from cifar10_s.benchmark.strategies import STRATEGIES, Adversary, Strategy
from cifar10_s.benchmark.sweep import bench
from cifar10_s.benchmark.tables import render

__all__ = ["PROTOCOLS", "STRATEGIES", "Adversary", "Protocol", "Released", "Report", "Strategy", "bench", "render"]
