"""Options of most tests: the CPU."""

from cifar10_s.common.options import Options


def on_cpu(seed=0, memory=None):
    return Options.resolve(seed=seed, device="cpu", memory=memory)
