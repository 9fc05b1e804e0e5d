"""The configurations of the shared release, a small manifest, and the folder of the real images."""

from pathlib import Path

from cifar10_s.data.provenance import Provenance
from cifar10_s.release.manifest import NO_RESULTS, ConfigurationEntry, Manifest, Source, SplitEntry
from cifar10_s.release.metrics.perceptibility import Visibility

# One of each kind: unchanged, one and more pixels, the other objective, the control, a method, and both.
BUILT = ["clean", "ops", "ops-2", "ops-std", "random-pixel", "lsp", "lsp-ops"]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

UNCHANGED = Visibility(
    l0_mean=0.0, l0_max=0, l2_mean=0.0, l2_max=0.0, linf_max=0, psnr_mean=None, psnr_min=None,
    ssim_mean=1.0, ssim_min=1.0,
)  # fmt: skip


def small_manifest(*, name, version, is_cifar10, configurations, splits):
    """Return the manifest of an imaginary release; ``configurations`` and ``splits`` map names to pixel digests."""
    provenance = Provenance("memory", "digits", claims_cifar10=is_cifar10, check="x" if is_cifar10 else None)
    entries = {
        name: ConfigurationEntry(
            summary=name, budget=None, rows=1, pixels_sha256=digest, perceptibility=UNCHANGED, separability=None
        )
        for name, digest in configurations.items()
    }
    return Manifest(
        format=1, name=name, version=version, date="2026-11-22", title="One-Pixel Shortcut on digits",
        source=Source.of(provenance, {}), classes=("0",), shape=(1, 1, 1), seed=0, default="ops", objectives=(),
        device="cpu", libraries={},
        splits={split: SplitEntry(rows=1, pixels_sha256=digest) for split, digest in splits.items()},
        configurations=entries, results=NO_RESULTS,
    )  # fmt: skip
