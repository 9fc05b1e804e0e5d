"""The options of a caller are resolved once."""

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

import cifar10_s
from cifar10_s.common.machine import memory_limit
from cifar10_s.common.options import Options
from cifar10_s.errors import UsageError


def test_what_is_chosen_is_resolved():
    assert Options.resolve(seed=3, device="cpu", memory="1.5GiB") == Options(3, "cpu", 3 << 29)


@pytest.mark.parametrize(("has_cuda", "device"), [(True, "cuda"), (False, "cpu")])
def test_what_is_not_chosen_is_what_the_machine_has(monkeypatch, has_cuda, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    assert Options.resolve() == Options(0, device, memory_limit())


WITHOUT, CUDA, ROCM = (
    f"from typing import Optional\ncuda: Optional[str] = {cuda}\ngit_version = '1'\nhip: Optional[str] = {hip}\n"
    for cuda, hip in (("None", "None"), ("'12.8'", "None"), ("None", "'6.4.2'"))
)


@pytest.mark.parametrize(
    ("versions", "driver", "asks"),
    [
        (WITHOUT, True, False),
        (CUDA, False, False),
        (CUDA, True, True),
        (ROCM, False, True),
        ("cuda = None", False, True),
        (None, False, True),
    ],
    ids=["built without", "no driver", "driver", "ROCm", "another form", "no versions"],
)
def test_torch_is_only_asked_for_cuda_where_it_could_have_it(tmp_path, monkeypatch, versions, driver, asks):
    """A stand-in for torch says that it has CUDA; a library that is there stands in for the driver."""
    torch = tmp_path / "torch"
    torch.mkdir()
    (torch / "__init__.py").write_text("class cuda:\n    is_available = staticmethod(lambda: True)\n")
    if versions is not None:
        (torch / "version.py").write_text(versions)
    code = f"""
import sys
from cifar10_s.common import machine
machine.CUDA_DRIVER = {"libc.so.6" if driver else "libabsent.so.1"!r}
print(machine.resolve_device("auto"), "torch" in sys.modules)
"""
    path = os.pathsep.join([str(tmp_path), str(Path(cifar10_s.__file__).parents[1])])
    got = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, text=True)
    assert got.split() == (["cuda", "True"] if asks else ["cpu", "False"])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"seed": -1}, r"^seed: expected a whole number from 0, got -1$"),
        ({"device": "abacus"}, r"^device 'abacus' is not available .*: expected auto, cpu or a torch device"),
        ({"memory": "much"}, r"^memory: expected a size such as 500MB or 1GiB, got 'much'$"),
    ],
)
def test_what_cannot_be_gets_a_line(chosen, message):
    with pytest.raises(UsageError, match=message):
        Options.resolve(**chosen)


def test_options_stay_as_they_are():
    with pytest.raises(FrozenInstanceError):
        Options.resolve(device="cpu").seed = 1


@pytest.mark.parametrize(
    "entry",
    [
        lambda folder, images: cifar10_s.search(images, device="cpu", memory="much"),
        lambda folder, images: cifar10_s.score_maps(images, device="cpu", memory="much"),
        lambda folder, images: cifar10_s.build("sample", folder / "out", device="cpu", memory="much"),
        lambda folder, images: cifar10_s.verify(folder, memory="much"),
    ],
    ids=["search", "score_maps", "build", "verify"],
)
def test_each_public_function_resolves_what_it_is_given(entry, tmp_path, sample):
    """Also if the sums of these images are kept from an earlier search."""
    cifar10_s.search(sample, device="cpu")
    with pytest.raises(UsageError, match=r"^memory: expected a size"):
        entry(tmp_path, sample)
    assert not list(tmp_path.iterdir())


def test_a_negative_seed_is_refused_before_anything_is_read(tmp_path):
    """The source does not exist."""
    for make in (
        lambda: cifar10_s.build("nowhere", tmp_path / "out", seed=-1, device="cpu"),
        lambda: cifar10_s.load("ops", source="nowhere", seed=-1, device="cpu", cache_dir=tmp_path),
    ):
        with pytest.raises(UsageError, match=r"^seed: expected a whole number from 0, got -1$"):
            make()


def test_a_device_is_resolved_once(monkeypatch, tmp_path):
    """Shortcuts, noise and the manifest use it, and so does the verification of the result, on the CPU."""
    asked = []
    monkeypatch.setattr("cifar10_s.common.options.resolve_device", lambda device: asked.append(device) or "cpu")
    cifar10_s.build("sample", tmp_path / "out", configurations=["lsp-ops", "random-pixel"], device="abacus")
    assert asked == ["abacus"]
