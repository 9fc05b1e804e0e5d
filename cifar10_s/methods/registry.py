"""Table of all methods, by name."""

from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.aue import AugmentedErrorMinimizing
from cifar10_s.methods.base import Method
from cifar10_s.methods.cuda import ClasswiseConvolution
from cifar10_s.methods.dune import DualBranch
from cifar10_s.methods.em import ErrorMinimizing, ErrorMinimizingClasswise
from cifar10_s.methods.hypo import Hypocritical
from cifar10_s.methods.lsp import LinearlySeparable
from cifar10_s.methods.pil import InducedLinearization
from cifar10_s.methods.pue import ProvablyUnlearnable
from cifar10_s.methods.random_noise import ClasswiseNoise, SamplewiseNoise
from cifar10_s.methods.rem import RobustErrorMinimizing
from cifar10_s.methods.sem import StableErrorMinimizing
from cifar10_s.methods.sep import SelfEnsemble
from cifar10_s.methods.tap import TargetedPoison, UntargetedPoison

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        ErrorMinimizing(),
        ErrorMinimizingClasswise(),
        RobustErrorMinimizing(),
        StableErrorMinimizing(),
        AugmentedErrorMinimizing(),
        ProvablyUnlearnable(),
        TargetedPoison(),
        UntargetedPoison(),
        SelfEnsemble(),
        Hypocritical(),
        DualBranch(),
        InducedLinearization(),
        LinearlySeparable(),
        Autoregressive(),
        ClasswiseConvolution(),
        ClasswiseNoise(),
        SamplewiseNoise(),
    )
}
