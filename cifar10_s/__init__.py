"""CIFAR-10-S and its kin: the One-Pixel Shortcut search, the datasets it makes, and their verification."""

from typing import TYPE_CHECKING, Any

from cifar10_s.errors import (
    BuildError,
    ChecksumError,
    Cifar10SError,
    HubError,
    SourceError,
    UsageError,
    VerificationError,
)
from cifar10_s.images import Images, LabeledImages
from cifar10_s.search import score_maps, search
from cifar10_s.shortcut import Shortcut

if TYPE_CHECKING:
    from cifar10_s.builder import load
    from cifar10_s.publish import Publication, push
    from cifar10_s.published import PublishedRelease, verify_published
    from cifar10_s.release import build
    from cifar10_s.sources import load_source, open_source
    from cifar10_s.verification import VerifiedRelease, verify

__version__ = "0.1.0"

__all__ = [
    "BuildError",
    "ChecksumError",
    "Cifar10SError",
    "HubError",
    "Images",
    "LabeledImages",
    "Publication",
    "PublishedRelease",
    "Shortcut",
    "SourceError",
    "UsageError",
    "VerificationError",
    "VerifiedRelease",
    "__version__",
    "build",
    "load",
    "load_source",
    "open_source",
    "push",
    "score_maps",
    "search",
    "verify",
    "verify_published",
]

# These need `datasets` and pyarrow: the search must import on a machine that has neither.
_LAZY = {
    "Publication": "publish",
    "PublishedRelease": "published",
    "VerifiedRelease": "verification",
    "build": "release",
    "load": "builder",
    "load_source": "sources",
    "open_source": "sources",
    "push": "publish",
    "verify": "verification",
    "verify_published": "published",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
