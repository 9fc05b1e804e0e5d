"""Imports point one way and end at what is public, and the numeric half runs on a bare machine."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cifar10_s

PACKAGE = Path(cifar10_s.__file__).parent
ROOT = PACKAGE.parent
# The rooms and the folders in them.
FOLDERS = sorted(path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*/__init__.py"))
# Pages with Python in them.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# What runs with torch, NumPy, Pillow, msgspec and filelock alone, as on a bare GPU machine; the search needs no torch
# either. The page needs Jinja2, too.
BARE = [
    "common.extras",
    "common.rng",
    "common.checksums",
    "common.records",
    "data.array_files.registry",
    "data.cluster",
    "data.images",
    "data.stream",
    "nn.networks.registry",
    "nn.pgd",
    "nn.trainer",
    "detection.pixel_audit",
    "shortcut.accumulate",
    "shortcut.moments",
    "shortcut.pixel_search",
    "shortcut.shortcut",
    "shortcut.torch_device",
    "methods.noise_file",
    "methods.registry",
    "release.compose",
    "release.metrics.perceptibility",
    "release.metrics.separability",
    "release.metrics.ssim",
    "release.recipes",
    "benchmark.grid",
    "report.page.page",
]
COMPILED = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")) if "\n@compiled" in path.read_text()]


def imported(path):
    """Name the modules of the package that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cifar10_s"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("cifar10_s"))


def public(folder):
    """Read the `__all__` of a room, or of a folder in one."""
    assigned = [node for node in ast.parse((PACKAGE / folder / "__init__.py").read_text()).body if not is_text(node)]
    assert [target.id for node in assigned for target in node.targets] == ["__all__"], folder
    return ast.literal_eval(assigned[0].value)


def is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def private_imports(code, of=Path()):
    """Name what some code, of a folder of the package or of none, imports of a folder that does not list it."""
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        for package, *path in (name.split(".") for name in names):
            entered = [(Path(*path[:depth]), part) for depth, part in enumerate(path) if package == PACKAGE.name]
            closed = [pair for pair in entered if pair[0] in FOLDERS and not of.is_relative_to(pair[0])]
            yield from (f"{folder}: {part}" for folder, part in closed if part not in public(folder))


def test_the_house_is_as_drawn():
    """The order of the rooms is a contract of import-linter in pyproject.toml; `make check` runs it."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = {room for layer in layers for room in layer.split(" | ")} - {"errors"}
    assert {path.name for path in PACKAGE.iterdir()} - {"__pycache__"} == {
        *rooms, "__init__.py", "__main__.py", "errors.py", "py.typed"
    }  # fmt: skip
    subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=PACKAGE.parent, check=True, capture_output=True
    )


def test_the_picture_is_of_these_imports(tmp_path):
    subprocess.run([sys.executable, ROOT / "docs" / "house.py", tmp_path / "house.svg"], cwd=ROOT, check=True)
    drawn, kept = (folder / "house.svg" for folder in (tmp_path, ROOT / "docs"))
    assert kept.read_bytes() == drawn.read_bytes(), "run `make house`"


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_room_lists_modules_that_are_there_and_imports_none(folder):
    listed = public(folder)
    assert listed == sorted(set(listed))
    there = {
        path.stem for path in (PACKAGE / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert listed
    assert set(listed) <= there - {"__init__"}


def test_nobody_imports_what_a_room_does_not_list():
    found = {
        str(path.relative_to(PACKAGE)): imports
        for path in PACKAGE.rglob("*.py")
        if (imports := list(private_imports(path.read_text(), path.parent.relative_to(PACKAGE))))
    }
    assert not found
    code = [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    for page in PAGES:
        code += re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert not [name for text in code for name in private_imports(text)]


@pytest.mark.parametrize(
    ("line", "of"),
    [
        ("from cifar10_s.methods.em import ErrorMinimizing", "release"),
        ("from cifar10_s.methods import em", "release"),
        ("import cifar10_s.methods.em", ""),
        ("from cifar10_s.data.sources.parquet import x, y\nfrom cifar10_s.data.sources.sample import z", "data"),
    ],
)
def test_a_private_import_is_found(line, of):
    assert list(private_imports(line, Path(of)))
    assert not list(private_imports(line, Path("methods" if "methods" in line else "data/sources")))


def additions():
    """Read the table "I want to add …" of CONTRIBUTING: what, where, registered in, tested by, documented in."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## I want to add …")[2].partition("## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def defined(file):
    """Name what a file defines at its top."""
    for node in ast.parse((PACKAGE / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("row", additions(), ids=lambda row: row[0])
def test_where_an_addition_goes(row):
    what, where, entered, held, told = row
    (where,), entered, (held,) = (re.findall("`(.+?)`", cell) for cell in (where, entered, held))
    assert (PACKAGE / where).is_dir() if where.endswith("/") else (PACKAGE / where).is_file()
    *names, file = entered
    assert set(names) <= set(defined(file)), f"{what}: {file}"
    assert (ROOT / "tests" / held).is_file()
    assert (ROOT / re.fullmatch(r"\[.+\]\((.+)\)", told)[1]).is_file()


def test_every_public_table_is_among_the_additions():
    tables = {name for name in cifar10_s.__all__ if name.isupper()}
    assert tables
    assert tables <= {name for row in additions() for name in re.findall("`([A-Z_]+)`", row[2])}


def test_no_module_bears_a_public_functions_name():
    """It would be hidden by the function, or hide it."""
    functions = {name for name in cifar10_s.__all__ if name.islower()}
    assert not functions & {path.stem for path in PACKAGE.rglob("*") if path.is_dir() or path.suffix == ".py"}


@pytest.mark.parametrize("file", COMPILED)
def test_compiled_code_depends_on_its_own_file(file):
    """It is kept until that file changes: with a number from another it would go on with the old one."""
    assert set(imported(PACKAGE / file)) == {"cifar10_s.common.jit"}


def numba_internals(code):
    """Name the private attributes and internal modules of numba and llvmlite that some code uses."""
    nodes = list(ast.walk(ast.parse(code)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    compilers = [name for name in modules if name.partition(".")[0] in ("numba", "llvmlite")]
    yield from (name for name in compilers if name not in ("numba", "numba.extending", "llvmlite"))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and compilers]
    names = [node.attr for node in attributes if ast.unparse(node.value) != "self"]
    yield from (name for name in names if re.match("_(?!_)", name) or name in ("core", "codegen"))


def test_nothing_private_of_numba_is_used():
    used = {path.name: [*numba_internals(path.read_text())] for path in PACKAGE.rglob("*.py")}
    assert not {path: names for path, names in used.items() if names}
    bad = "import numba.core\nfrom numba import njit\nnjit(f)._compiler\ncontext.codegen().magic_tuple()"
    assert sorted(numba_internals(bad)) == ["_compiler", "codegen", "numba.core"]


@cache
def distributions():
    """Return which packages, as they are installed, bring each module."""
    return importlib.metadata.packages_distributions()


def third_party(nodes):
    """Name the packages, as they are installed, that import statements among syntax nodes take from."""
    of = distributions()
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in {name.partition(".")[0] for name in names} - {"cifar10_s", *sys.stdlib_module_names}:
            yield name, set(map(canonicalize_name, of[name]))


def declared(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_imported_is_declared(path):
    """Another package may bring it today, and not tomorrow. What only an extra installs is imported when needed."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    base, extras = declared(project["dependencies"]), project["optional-dependencies"].values()
    tree = ast.parse(path.read_text())
    for name, found in third_party(ast.walk(tree)):
        assert found & base.union(*map(declared, extras)), name
    for name, found in third_party(tree.body):
        assert found & base or path.name == "triton_kernel.py", name


def test_every_public_name_is_there():
    assert all(getattr(cifar10_s, name) is not None for name in cifar10_s.__all__)


# Import torch, then each module in a process of its own that has torch already; print those that cannot be imported.
BARE_IMPORTS = """
import importlib, os, sys
absent, modules = (words.split() for words in sys.argv[1:])
sys.modules.update(dict.fromkeys(absent))
import torch
assert not any(name.startswith("cifar10_s") for name in sys.modules)
for module in modules:
    if os.fork() == 0:
        importlib.import_module(f"cifar10_s.{module}")
        os._exit(0)
    if os.wait()[1]:
        print(module)
"""


@pytest.fixture(scope="module")
def not_bare():
    """Return the modules that cannot be imported where only the few libraries of `BARE` are, and all errors."""
    absent = ["datasets", "huggingface_hub", "pyarrow", "imagecodecs", "sklearn", "typer", "tqdm", "yaml", "numba"]
    absent += ["kornia", "matplotlib", "ray", "safetensors", "triton", "pandas", "rich", "threadpoolctl"]
    command = [sys.executable, "-c", BARE_IMPORTS, " ".join(absent), " ".join([*BARE, "cli.app"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("module", BARE)
def test_the_numeric_half_needs_few_libraries(module, not_bare):
    names, errors = not_bare
    assert module not in names, errors
    # The command line needs typer: what cannot be imported is found.
    assert "cli.app" in names


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
