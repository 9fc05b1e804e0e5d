"""Every public function and class has an example; all examples of the package run and print what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
from huggingface_hub import constants

import cifar10_s

PUBLIC = {name: getattr(cifar10_s, name) for name in cifar10_s.__all__}
FUNCTIONS = [name for name, value in PUBLIC.items() if inspect.isfunction(value)]
CLASSES = ["LabeledImages", "Release", "Report", "Shortcut"]
PACKAGE = Path(cifar10_s.__file__).parent
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the release and the records that the examples use."""
    folder = tmp_path_factory.mktemp("examples")
    options = {"name": "digits-s", "configurations": ["ops"], "device": "cpu"}
    cifar10_s.build("sample", folder / "digits-s", **options)
    cifar10_s.bench(
        folder / "digits-s", folder / "records.jsonl", configurations=["clean"], protocol="cpu-v1", device="cpu"
    )
    return folder


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_the_example(name, folder, hub, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    examples = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name)
    assert sum(len(example.examples) for example in examples) > 1, f"{name} has no example"
    assert not failed(examples)


@pytest.mark.parametrize("module", MODULES)
def test_the_other_examples_of_a_module(module, folder, monkeypatch):
    monkeypatch.chdir(folder)
    public = {f"{one.__module__}.{one.__name__}" for one in map(PUBLIC.get, [*FUNCTIONS, *CLASSES])}
    examples = doctest.DocTestFinder().find(importlib.import_module(module))
    assert not failed(example for example in examples if example.name not in public)


def failed(examples):
    """Run examples, and return the names of those that print something else."""
    runs = ((example.name, doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)) for example in examples)
    return [name for name, result in runs if result.failed]


def test_completion_finds_every_public_name():
    assert set(dir(cifar10_s)) == set(cifar10_s.__all__)
    assert all(getattr(cifar10_s, name) is not None for name in cifar10_s.__all__)


@pytest.mark.parametrize("old", sorted(cifar10_s._DEPRECATED))
def test_an_old_name_works_and_says_the_new_one(old):
    new = cifar10_s._DEPRECATED[old]
    with pytest.warns(DeprecationWarning, match=f"cifar10_s.{old} is now cifar10_s.{new}"):
        found = getattr(cifar10_s, old)
    assert found is getattr(cifar10_s, new)
