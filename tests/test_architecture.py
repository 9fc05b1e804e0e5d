"""Imports point one way, and the numeric half runs on a bare machine."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cifar10_s

PACKAGE = Path(cifar10_s.__file__).parent

# The house, top to bottom: a module imports only from those above it.
ORDER = [
    "errors",
    "form",
    "seeds",
    "parallel",
    "device",
    "memory",
    "provenance",
    "images",
    "checksums",
    "records",
    "array_files",
    "noise_file",
    "stream",
    "codec",
    "parquet",
    "shards",
    "image_files",
    "image_folder",
    "array_folder",
    "hub",
    "unpickling",
    "archive",
    "distributed",
    "sources",
    "_compile",
    "_kernel",
    "moments",
    "_triton",
    "compiled_sums",
    "device_sums",
    "summation",
    "shortcut",
    "search",
    "nets",
    "augment",
    "engine",
    "pgd",
    "adversary",
    "training",
    "cache",
    "checkpoint",
    "methods",
    "recipes",
    "compose",
    "_ssim_kernel",
    "ssim",
    "perceptibility",
    "separability",
    "findings",
    "about",
    "croissant",
    "card",
    "declarations",
    "verification",
    "benchmark",
    "builder",
    "figures",
    "measurements",
    "package",
    "staging",
    "release",
    "repository",
    "published",
    "publish",
    "page",
    "cli_bench",
    "cli_hub",
    "cli",
]
BARE = [
    "seeds",
    "images",
    "checksums",
    "records",
    "array_files",
    "noise_file",
    "stream",
    "moments",
    "device_sums",
    "summation",
    "distributed",
    "shortcut",
    "search",
    "nets",
    "pgd",
    "adversary",
    "training",
    "methods",
    "recipes",
    "compose",
    "ssim",
    "perceptibility",
    "separability",
    "benchmark",
    "page",
]


def imported(path):
    """Name the package's own modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "cifar10_s":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cifar10_s."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("cifar10_s."))


def test_every_module_has_its_place():
    modules = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    assert {path.stem for path in modules} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("module", [name for name in ORDER if name != "cli"])
def test_imports_point_one_way(module):
    above = {*ORDER[: ORDER.index(module)]}
    folder = PACKAGE / module
    files = folder.glob("*.py") if folder.is_dir() else [PACKAGE / f"{module}.py"]
    for file in files:
        assert set(imported(file)) - ({module} if folder.is_dir() else set()) <= above


@pytest.mark.parametrize("module", ["_kernel", "_ssim_kernel"])
def test_compiled_code_depends_on_its_own_file(module):
    """It is kept until that file changes: with a number from another it would go on with the old one."""
    assert set(imported(PACKAGE / f"{module}.py")) == {"_compile"}


def test_the_command_line_uses_the_public_names():
    assert set(imported(PACKAGE / "cli.py")) <= {"errors", "cli_bench", "cli_hub", *cifar10_s.__all__}
    assert set(imported(PACKAGE / "cli_bench.py")) == {"errors", "benchmark", "page"}
    assert set(imported(PACKAGE / "cli_hub.py")) == {"cli_bench", "publish"}


def test_what_is_imported_is_declared():
    """Another package may bring it today, and not tomorrow."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    given = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in given}
    of = importlib.metadata.packages_distributions()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names} - {"cifar10_s", *sys.stdlib_module_names}:
                assert {found.lower() for found in of[name]} & declared, f"{path.name} imports {name}"


def test_every_public_name_is_there():
    assert all(getattr(cifar10_s, name) is not None for name in cifar10_s.__all__)


@pytest.mark.parametrize("module", BARE)
def test_the_numeric_half_needs_only_torch_numpy_and_pillow(module):
    absent = ["datasets", "huggingface_hub", "pyarrow", "imagecodecs", "sklearn", "typer", "tqdm", "yaml", "numba"]
    absent += ["kornia", "matplotlib", "ray", "safetensors", "triton"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
import cifar10_s.{module}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_search_runs_on_a_bare_machine():
    code = """
import sys
sys.modules.update(dict.fromkeys(["datasets", "huggingface_hub", "pyarrow", "imagecodecs", "tqdm", "numba"]))
import numpy as np, cifar10_s
pixels = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)
images = cifar10_s.LabeledImages(pixels, np.array([0, 0, 1, 1]), ("a", "b"))
print(cifar10_s.search(images, device="cpu").stamp(images).pixels.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(4, 2, 2, 3)\n"
