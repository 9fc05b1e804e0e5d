"""The existing unlearnable methods, each in a file of its own behind one contract (`method.Method`)."""

from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.cuda import ClasswiseConvolution
from cifar10_s.methods.em import ErrorMinimizing, ErrorMinimizingClasswise
from cifar10_s.methods.given import GivenNoise
from cifar10_s.methods.hypo import Hypocritical
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.lsp import LinearlySeparable
from cifar10_s.methods.method import Bound, Method
from cifar10_s.methods.random_noise import ClasswiseNoise, SamplewiseNoise
from cifar10_s.methods.rem import RobustErrorMinimizing
from cifar10_s.methods.sep import SelfEnsemble
from cifar10_s.methods.tap import TargetedPoison, UntargetedPoison

__all__ = ["METHODS", "Bound", "GivenNoise", "Learned", "Method"]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        ErrorMinimizing(),
        ErrorMinimizingClasswise(),
        RobustErrorMinimizing(),
        TargetedPoison(),
        UntargetedPoison(),
        SelfEnsemble(),
        Hypocritical(),
        LinearlySeparable(),
        Autoregressive(),
        ClasswiseConvolution(),
        ClasswiseNoise(),
        SamplewiseNoise(),
    )
}
