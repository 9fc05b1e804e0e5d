"""README and docs: every block of code runs. What cannot run here is only parsed; the reasons are listed below."""

import importlib.metadata
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from support import method_contract
from support.learning_oracle import TinyNet

import cifar10_s
from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.builder.dataset_builder import OnePixelShortcutBuilder
from cifar10_s.cli.app import app, run
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.registry import METHODS
from cifar10_s.nn.networks.registry import NETWORKS, Network
from cifar10_s.release import layout, recipes
from cifar10_s.release.recipes import ALL, BUDGETS, CONFIGURATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

# Replacements for what tests do not have. In addition, protocols train a tiny network for one epoch (`quick`).
SUBSTITUTIONS = {
    "uoft-cs/cifar10": "sample",  # is on the Hub
    "/path/to/images": "images",
    "<namespace>/cifar10-s": "me/digits-s",  # on the local Hub; digits must not be called CIFAR-10
    "--seeds 3": "--seeds 1",
}
# Options added to a command: a source, because the default is on the Hub; the local Hub (`place`); and no plots on the
# page and the site, because `tables --plots` draws the same.
GIVEN = {"build": ["--source", "sample"], "report": ["--no-plots"], "site": ["--no-plots"]}
# Commands that are only parsed: their options and names must exist. For `make`, the target must exist.
PARSED = {
    "cifar10-s build -c em -c em-ops --budget small": "trains models for minutes",
    "cifar10-s build -c all --yes": "trains models for days",
    "cifar10-s bench cifar10-s -c clean -s at --measure autoattack --measure-limit 1000": "takes minutes",
    "cifar10-s bench cifar10-s -c ops --network resnet-18 --weights resnet18.safetensors": "needs weights",
    "cifar10-s tables results.jsonl -t grid --measure autoattack-on-1000": "needs the above",
    "cifar10-s bench cifar10-s -c ops --protocol paper-v1 --network resnet-18 --network wrn-28-10": "takes hours",
    "hf auth login": "asks a person for a token",
    "pip install 'cifar10-s[distributed]'": "needs the Internet; a test installs the wheel",
    **dict.fromkeys(
        (
            "cifar10-s search --source /shared/images --engine ray --address auto",
            "cifar10-s build --source /shared/images --name mine-s --output mine-s -c ops --engine ray",
            "cifar10-s bench mine-s -c clean -c ops --engine ray --records results.jsonl",
        ),
        "starts a cluster, which takes a minute; `tests/data/test_cluster.py` has one",
    ),
    **dict.fromkeys(
        (
            "cifar10-s apply <namespace>/imagenet100-s --source imagenet",
            "cifar10-s push imagenet100-s --repo-id <namespace>/imagenet100-s",
            "cifar10-s apply <namespace>/imagenet100-s@v1.0.0 --source /path/to/imagenet --output imagenet100",
        ),
        "needs ImageNet; `tests/builder/test_from_recipe.py` does the same with small images",
    ),
}
# Commands that find something, and say so by their status.
FINDING = {
    "cifar10-s audit cifar10-s -c ops",
    "cifar10-s audit cifar10-s -c ops --figures findings --clean recovered --json",
}
# Blocks that are not code.
PLAIN = {"text": "pictures of folders", "bibtex": "a reference", "toml": "of another package"}
# The release is in the folder of every page except the one that builds it; two pages show results of a benchmark. The
# pages of `MODULES` begin with an empty folder, in which the first block of Python is saved as their module.
BUILDS = "docs/build.md"
WITH_RESULTS = (BUILDS, "docs/publish.md")
MODULES = {"docs/add-a-method.md": "mine.py", "docs/add-a-strategy.md": "mine.py"}


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```(.*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
    return [Block(match[1], match[2], text[: match.start(2)].count("\n") + 1) for match in found]


def commands(block):
    return [line for line in (line.partition(" #")[0].strip() for line in block.text.splitlines()) if line]


def substituted(text):
    for old, new in SUBSTITUTIONS.items():
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Build a release of digits with EM's noise from a file; return its folder, with that file and some images."""
    folder, random = tmp_path_factory.mktemp("docs"), np.random.default_rng(0)
    torch.save(torch.from_numpy(random.integers(-8, 9, (10, 1, 8, 8)).astype(np.int16)), folder / "noise.pt")
    cifar10_s.build(
        "sample",
        folder / "cifar10-s",
        name="digits-s",  # digits must not be published as CIFAR-10
        configurations=["ops", "em-ops"],
        noise={"em": folder / "noise.pt"},
        device="cpu",
    )
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(random.integers(0, 256, (12, 9, 3), np.uint8)).save(folder / "images" / name / f"{i}.png")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Let each protocol train a tiny network for one epoch."""
    monkeypatch.setitem(NETWORKS, "tiny", Network(TinyNet, min_side=1))
    for name, protocol in PROTOCOLS.items():
        monkeypatch.setitem(PROTOCOLS, name, replace(protocol, network="tiny", epochs=1))


@pytest.fixture
def place(made, quick, hub, tmp_path, monkeypatch):
    """Return a page's own folder, in which its commands run; the Hub is the local one."""
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder), str(ROOT)])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setitem(GIVEN, "push", ["--endpoint", hub.endpoint])
    monkeypatch.setitem(GIVEN, "verify me/digits-s", ["--endpoint", hub.endpoint])
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language not in PLAIN for block in blocks(page))])
def test_every_block_runs(page, place, monkeypatch, capsys):
    names = {"__name__": "docs"}
    if page in WITH_RESULTS:
        cifar10_s.bench(place / "cifar10-s", place / "results.jsonl", configurations=["ops"], device="cpu")
    if page == BUILDS:
        shutil.rmtree(place / "cifar10-s")
    if page in MODULES:
        shutil.rmtree(place)
        place.mkdir()
        monkeypatch.chdir(place)
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        (place / MODULES[page]).write_text(next(block.text for block in blocks(page) if block.language == "python"))
    for block in blocks(page):
        if block.language == "python":
            # A traceback then has the page's line numbers.
            code = "\n" * (block.line - 1) + substituted(block.text)
            exec(compile(code, page, "exec", dont_inherit=True), names)
        elif block.language == "console":
            for command in commands(block):
                execute(command, capsys)
        elif block.language == "yaml":
            (place / "about.yaml").write_text(block.text)
        else:
            assert block.language in PLAIN


def execute(command, capsys):
    program, *arguments = shlex.split(substituted(command))
    if program == "make":
        make(arguments)
    elif command in PARSED:
        parse(program, arguments)
    else:
        assert program == "cifar10-s", command
        given = next((given for start, given in GIVEN.items() if " ".join(arguments).startswith(start)), [])
        status = run([arguments[0], *given, *arguments[1:]])
        assert status == (command in FINDING), f"{command}: {capsys.readouterr().err}"


def make(arguments):
    """Check that the target exists, and that our commands in it take their options."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for program, *rest in map(shlex.split, done.stdout.splitlines()):
        if program.endswith("/cifar10-s"):
            parse("cifar10-s", rest)
        elif rest[:1] == ["build_dataset.py"]:
            parse("cifar10-s", ["build", *rest[1:]])


def parse(program, arguments):
    """Check that the options exist, and so do the names given to them."""
    if program == "pip":
        extras = importlib.metadata.metadata("cifar10-s").get_all("Provides-Extra")
        assert set(re.findall(r"\[(\w+)\]", arguments[-1])) <= set(extras)
        return
    if program != "cifar10-s":
        assert importlib.metadata.entry_points(group="console_scripts", name=program)
        return
    parsed = typer.main.get_command(app).commands[arguments[0]].make_context(arguments[0], list(arguments[1:])).params
    tables = {
        "configuration": [*CONFIGURATIONS, ALL], "strategy": STRATEGIES, "protocol": PROTOCOLS, "network": NETWORKS,
        "budget": BUDGETS,
    }  # fmt: skip
    for option, known in tables.items():
        value = parsed.get(option) or []
        assert ({value} if isinstance(value, str) else set(value)) <= set(known)


def test_options_and_names_that_are_not_there_do_not_parse():
    with pytest.raises(Exception, match="No such option"):
        parse("cifar10-s", ["build", "--budgets", "small"])
    for arguments in (["build", "-c", "em-opps"], ["build", "--budget", "tiny"], ["bench", "x", "--network", "x"]):
        with pytest.raises(AssertionError):
            parse("cifar10-s", arguments)
    with pytest.raises(AssertionError):
        make(["no-such-target"])


def test_what_is_only_parsed_is_there():
    written = [command for page in PAGES for block in blocks(page) for command in commands(block)]
    assert not set(PARSED) - set(written)


def test_no_block_is_overlooked():
    for page in PAGES:
        fences = re.findall(r"^\s*(?:```|~~~)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks(page)), page


def test_every_link_leads_somewhere():
    linked = set()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
            if "://" not in target:
                path = (ROOT / page).parent / target
                assert path.exists(), f"{page}: {target}"
                linked.add((page, path.resolve()))
    assert {("README.md", path.resolve()) for path in (ROOT / "docs").glob("*.md")} <= linked


# --- what the pages say of the tables and the records ---


def rows(page):
    """Return the cells of a page's tables, without backticks."""
    lines = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_speeds_of_the_readme_are_those_of_the_record():
    record = json.loads((ROOT / "results" / "speed-cifar10-jpeg.json").read_text())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    values = {row["what"]: row["value"] for row in record["rows"]}
    assert f"{values['search']:.0f} ms in memory, {values['search: times as fast as the plain loop']:.0f} times" in (
        " ".join(readme.split())
    )
    for what in ("build a configuration, search and stamp included", "verify"):
        assert f"{values[what]:,.0f}" in readme


def test_the_passes_are_those_of_the_recipes():
    def passes(method):
        return f"{round(method.passes(50_000) / 50_000):,} × {method.network}"

    learned = [method for method in METHODS.values() if isinstance(method, Learned)]
    expected = [[method.name, passes(method), passes(method.small())] for method in learned]
    assert [row for row in rows(BUILDS) if row[0] in METHODS and len(row) == 3] == expected


def test_the_protocols_and_strategies_are_those_of_the_tables():
    table = {row[0]: row[1:3] for row in rows("docs/benchmark.md")[2:]}
    assert table == {name: [protocol.network, str(protocol.epochs)] for name, protocol in PROTOCOLS.items()}
    text = (ROOT / "docs/benchmark.md").read_text(encoding="utf-8").partition("## Strategies")[2]
    assert set(re.findall(r"`([a-z0-9-]+)`", text.partition("## ")[0])) == set(STRATEGIES)


def test_the_folder_of_a_release_is_that_of_its_layout():
    (folder,) = (block.text for block in blocks("docs/design.md") if block.language == "text")
    assert textwrap.indent(folder, "    ") in layout.__doc__


def test_the_method_of_the_page_keeps_the_contract_and_builds(tmp_path, monkeypatch):
    """Registered as the page says, it passes the tests of every method, and its configurations verify."""
    names = {"__name__": "docs"}
    exec(blocks("docs/add-a-method.md")[0].text, names)
    tiles = names["Tiles"]()
    monkeypatch.setitem(METHODS, tiles.name, tiles)
    monkeypatch.setitem(method_contract.TRIED, tiles.name, tiles)
    for recipe in recipes.of_method(tiles):
        monkeypatch.setitem(CONFIGURATIONS, recipe.name, recipe)
    configurations = {name: datasets.BuilderConfig(name=name) for name in CONFIGURATIONS}
    monkeypatch.setattr(OnePixelShortcutBuilder, "builder_configs", configurations)
    for shape in method_contract.SIZES:
        with monkeypatch.context() as patch:
            method_contract.check_the_contract(tiles.name, shape, tmp_path, patch)
    with monkeypatch.context() as patch:
        method_contract.check_the_number_of_threads_changes_nothing(tiles.name, patch)
    method_contract.check_alone_and_with_ops_in_the_table(tiles.name)
    method_contract.check_no_class_is_degenerate(tiles.name)
    release = cifar10_s.build("sample", tmp_path / "tiles-s", configurations=["tiles", "tiles-ops"], device="cpu")
    assert list(release.manifest.configurations) == ["clean", "tiles", "tiles-ops"]
