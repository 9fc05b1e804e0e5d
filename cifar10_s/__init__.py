"""CIFAR-10-S and its kin: the One-Pixel Shortcut search, the datasets it makes, and their verification."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cifar10_s.common.files import give_libraries_a_cache
from cifar10_s.errors import (
    BuildError,
    ChecksumError,
    Cifar10SError,
    HubError,
    SourceError,
    UsageError,
    VerificationError,
)

if TYPE_CHECKING:
    from cifar10_s.benchmark.grid import bench
    from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
    from cifar10_s.benchmark.strategies.base import Strategy
    from cifar10_s.benchmark.strategies.registry import STRATEGIES
    from cifar10_s.builder.dataset_builder import load
    from cifar10_s.builder.from_recipe import apply
    from cifar10_s.builder.pipeline import build
    from cifar10_s.builder.renewal import renew
    from cifar10_s.data.images import Images, LabeledImages
    from cifar10_s.data.sources.choices import Choices
    from cifar10_s.data.sources.splits import load_images, open_images
    from cifar10_s.detection.findings import Audit, Finding
    from cifar10_s.detection.pixel_audit import audit
    from cifar10_s.hub.publish import PushResult, push
    from cifar10_s.hub.verification import verify
    from cifar10_s.methods.registry import METHODS
    from cifar10_s.nn.networks.registry import NETWORKS
    from cifar10_s.release.reader import Release
    from cifar10_s.release.recipes import CONFIGURATIONS
    from cifar10_s.release.verification.verifier import Verified
    from cifar10_s.report.report import Report
    from cifar10_s.shortcut.pixel_search import score_maps, search
    from cifar10_s.shortcut.shortcut import Shortcut

__version__ = "0.1.0"

__all__ = [
    "CONFIGURATIONS",
    "METHODS",
    "NETWORKS",
    "PROTOCOLS",
    "STRATEGIES",
    "Audit",
    "BuildError",
    "ChecksumError",
    "Choices",
    "Cifar10SError",
    "Finding",
    "HubError",
    "Images",
    "LabeledImages",
    "Protocol",
    "PushResult",
    "Release",
    "Report",
    "Shortcut",
    "SourceError",
    "Strategy",
    "UsageError",
    "VerificationError",
    "Verified",
    "__version__",
    "apply",
    "audit",
    "bench",
    "build",
    "load",
    "load_images",
    "open_images",
    "push",
    "renew",
    "score_maps",
    "search",
    "verify",
]

# Imported when first used: the search runs without `datasets`, and `--version` without NumPy.
_MODULES = {
    "CONFIGURATIONS": "release.recipes",
    "METHODS": "methods.registry",
    "NETWORKS": "nn.networks.registry",
    "PROTOCOLS": "benchmark.protocols",
    "STRATEGIES": "benchmark.strategies.registry",
    "Audit": "detection.findings",
    "Finding": "detection.findings",
    "Choices": "data.sources.choices",
    "Images": "data.images",
    "LabeledImages": "data.images",
    "Protocol": "benchmark.protocols",
    "PushResult": "hub.publish",
    "Release": "release.reader",
    "Report": "report.report",
    "Shortcut": "shortcut.shortcut",
    "Strategy": "benchmark.strategies.base",
    "Verified": "release.verification.verifier",
    "apply": "builder.from_recipe",
    "audit": "detection.pixel_audit",
    "bench": "benchmark.grid",
    "build": "builder.pipeline",
    "load": "builder.dataset_builder",
    "load_images": "data.sources.splits",
    "open_images": "data.sources.splits",
    "push": "hub.publish",
    "renew": "builder.renewal",
    "score_maps": "shortcut.pixel_search",
    "search": "shortcut.pixel_search",
    "verify": "hub.verification",
}
# Names of version 0.1 development, kept for one version.
_DEPRECATED = {
    "load_source": "load_images",
    "open_source": "open_images",
    "Publication": "PushResult",
    "PublishedRelease": "Verified",
    "VerifiedRelease": "Verified",
    "verify_published": "verify",
}

# Libraries decide where their caches are when they are imported.
give_libraries_a_cache()


def __getattr__(name: str) -> Any:
    if name in _DEPRECATED:
        import warnings

        new = _DEPRECATED[name]
        warnings.warn(f"cifar10_s.{name} is now cifar10_s.{new}", DeprecationWarning, stacklevel=2)
        name = new
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]
