"""The files around the package parse, and name versions, targets and commands that exist."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cifar10_s
from cifar10_s.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
GITHUB = sorted(path for path in (ROOT / ".github").rglob("*") if path.is_file())


def pins(name):
    """Read a file of constraints: names, in the form that indexes compare, to versions."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in found}


def lower_bounds(*without):
    """Names of the dependencies and of what extras add, to the oldest version of each; ``without`` names extras."""
    extras = PROJECT["optional-dependencies"]
    added = (line for extra in extras if extra not in without for line in extras[extra])
    lines = {*PROJECT["dependencies"], *added}
    found = [needed for needed in map(Requirement, lines) if needed.name != PROJECT["name"]]
    assert all(re.fullmatch(r">=[\d.]+", str(needed.specifier)) for needed in found)
    return {canonicalize_name(needed.name): Version(str(needed.specifier).removeprefix(">=")) for needed in found}


def test_what_make_test_oldest_installs_are_the_lower_bounds():
    oldest, bounds = pins("constraints-oldest.txt"), lower_bounds("fuzz", "docs")  # of `make install`
    given = {name: oldest.get(name) for name in bounds}
    assert given == bounds, "write constraints-oldest.txt anew: its head says how"


def test_all_that_is_declared_is_pinned():
    assert set(lower_bounds("fuzz")) <= set(pins("constraints.txt"))


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == cifar10_s.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    (paper,) = citation["references"]
    assert paper["title"] in (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["url"] == PROJECT["urls"]["Paper"]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_as_github_takes_them(form):
    read = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= read.keys()
    ids = [field["id"] for field in read["body"]]
    assert len(ids) == len(set(ids))
    for field in read["body"]:
        assert field["type"] in {"input", "textarea", "dropdown"}
        assert field["attributes"]["label"]
        assert ("options" in field["attributes"]) == (field["type"] == "dropdown")


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_targets_commands_and_pages_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= TARGETS
    commands = {command.name for command in app.registered_commands}
    assert set(re.findall(r"\bcifar10-s ([a-z-]+)", text)) <= commands
    for page in re.findall(r"[\w/.-]+\.md", text):
        assert (ROOT / page).is_file(), page


def test_the_workflow_runs_what_is_there():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert {"push", "pull_request"} == set(workflow[True])  # YAML's `on`
    ran = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert ran == [".ci/run", f"make test-oldest TORCH={pins('constraints-oldest.txt')['torch']}"]


def test_hooks_run_the_ruff_of_the_checks():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["entry"].startswith(f".venv/bin/{hook['name']} ")
        assert f"$(BIN)/{hook['name']} " in (ROOT / "Makefile").read_text()
