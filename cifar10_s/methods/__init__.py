"""The existing unlearnable methods, each in a file of its own behind one contract (`method.Method`)."""

from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.cuda import ClasswiseConvolution
from cifar10_s.methods.lsp import LinearlySeparable
from cifar10_s.methods.method import Bound, Method
from cifar10_s.methods.random_noise import ClasswiseNoise, SamplewiseNoise

__all__ = ["METHODS", "Bound", "Method"]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        LinearlySeparable(),
        Autoregressive(),
        ClasswiseConvolution(),
        ClasswiseNoise(),
        SamplewiseNoise(),
    )
}
