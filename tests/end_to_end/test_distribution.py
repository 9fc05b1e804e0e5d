"""Wheel and sdist contain what the package needs, and work outside the repository."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import cifar10_s

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(cifar10_s.__file__).parent
NAME = f"cifar10_s-{cifar10_s.__version__}"

pytestmark = pytest.mark.slow


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder of both; the wheel is built from the sdist, offline."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    assert {path.name for path in folder.iterdir()} == {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"}
    return folder


def test_the_wheel_has_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
        assert f"{NAME}.dist-info/licenses/LICENSE" in wheel.namelist()
    package = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    source = {name for name in package if "__pycache__" not in name}
    assert names == {*source, "cifar10_s/dataset_card.md"}


def test_the_sdist_has_what_its_tests_need(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    assert {"dataset_card.md", "constraints.txt", "Makefile", "LICENSE", "CHANGELOG.md", "tests/conftest.py"} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "results").rglob("*.*")} <= names
    assert not any(name.startswith((".ci", ".git/", "dist", ".venv")) for name in names)


@pytest.mark.parametrize("archive", [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"])
def test_what_is_installed_works_alone(built, archive, tmp_path):
    """Only the dependencies are this environment's: the code, its data and its command are the installed ones."""
    target, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", target]
    run(sys.executable, "-m", "pip", *install, built / archive)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])}
    here = {"cwd": empty, "env": environment}
    file = run(sys.executable, "-c", "import cifar10_s; print(cifar10_s.__file__)", **here).strip()
    assert Path(file) == target / "cifar10_s" / "__init__.py"
    command = target / "bin" / "cifar10-s"
    assert run(command, "--version", **here) == f"cifar10-s {cifar10_s.__version__}\n"
    run(command, "build", "--source", "sample", "-c", "ops", "--device", "cpu", "--name", "digits", **here)
    assert (empty / "digits" / "README.md").read_text().startswith("---\npretty_name: One-Pixel Shortcut on")
    assert "verified" in run(command, "verify", "digits", **here)
