"""README and docs: every block of code runs. What cannot run here is parsed, and stands below with the reason."""

import importlib.metadata
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import test_methods
import torch
import typer
from learning_oracle import TinyNet
from PIL import Image
from test_architecture import ORDER
from test_publish import hub  # noqa: F401 (a fixture)

import cifar10_s
from cifar10_s import recipes
from cifar10_s.benchmark import PROTOCOLS, STRATEGIES
from cifar10_s.builder import OnePixelShortcutBuilder
from cifar10_s.cli import app, run
from cifar10_s.methods import METHODS, Learned
from cifar10_s.nets import NETWORKS
from cifar10_s.nets.network import Network
from cifar10_s.recipes import ALL, BUDGETS, RECIPES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

# What takes the place of what a test has not. Protocols also have one epoch of a tiny network (`quick`).
SUBSTITUTIONS = {
    "uoft-cs/cifar10": "sample",  # of the Hub
    "/path/to/images": "images",
    "<namespace>/cifar10-s": "me/digits-s",  # on a Hub on loopback; digits must not be called CIFAR-10
    "--seeds 3": "--seeds 1",
}
# What a command is given besides: the source, which would be the Hub's where none is named; the Hub on loopback
# (`place`); and no plots on the page, since `tables --plots` draws the same.
GIVEN = {"build": ["--source", "sample"], "report": ["--no-plots"]}
# What is only parsed: its options and the names in it exist. Of `make`, the same: the target exists.
PARSED = {
    "cifar10-s build -c em -c em-ops --budget small": "trains networks, for minutes",
    "cifar10-s build -c all --yes": "trains networks, for days",
    "cifar10-s bench cifar10-s -c ops --protocol paper-v1 --network resnet-18 --network wrn-28-10": "hours",
    "hf auth login": "asks a person for a token",
    "pip install 'cifar10-s[distributed]'": "the network; a test installs the wheel",
    **dict.fromkeys(
        (
            "cifar10-s search --source /shared/images --engine ray --address auto",
            "cifar10-s build --source /shared/images --name mine-s --output mine-s -c ops --engine ray",
            "cifar10-s bench mine-s -c clean -c ops --engine ray --records results.jsonl",
        ),
        "a cluster, for a minute; `test_distributed` has one",
    ),
}
# No code.
PLAIN = {"text": "pictures of folders", "bibtex": "a reference"}
# The folder holds a release, but for the page that builds it; a page's module is saved as a file too.
BUILDS = "docs/build.md"
MODULES = {"docs/add-a-strategy.md": "mine.py"}


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
    """A release of digits with EM's noise from a file, that file, some images, and records."""
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
    """One epoch of a tiny network for each protocol."""
    monkeypatch.setitem(NETWORKS, "tiny", Network(TinyNet, smallest=1))
    for name, protocol in PROTOCOLS.items():
        monkeypatch.setitem(PROTOCOLS, name, replace(protocol, network="tiny", epochs=1))


@pytest.fixture
def place(made, quick, hub, tmp_path, monkeypatch):  # noqa: F811 (the fixture)
    """A folder of a page's own, in which its commands run; the Hub is the one on loopback."""
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder), str(ROOT)])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setitem(GIVEN, "push", ["--endpoint", hub.endpoint])
    monkeypatch.setitem(GIVEN, "verify me/digits-s", ["--endpoint", hub.endpoint])
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language not in PLAIN for block in blocks(page))])
def test_every_block_runs(page, place, capsys):
    names = {"__name__": "docs"}
    if page == BUILDS:
        cifar10_s.benchmark.bench(place / "cifar10-s", place / "results.jsonl", configurations=["ops"], device="cpu")
        shutil.rmtree(place / "cifar10-s")
    for block in blocks(page):
        if block.language == "python":
            if page in MODULES:
                (place / MODULES[page]).write_text(block.text)
            # The line's number is the page's, for whoever reads a traceback.
            code = "\n" * (block.line - 1) + substituted(block.text)
            exec(compile(code, page, "exec", dont_inherit=True), names)
        elif block.language == "console":
            for command in commands(block):
                execute(command, capsys)
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
        assert status == 0, f"{command}: {capsys.readouterr().err}"


def make(arguments):
    """The target exists, and what it would run of ours takes these options."""
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for program, *rest in map(shlex.split, done.stdout.splitlines()):
        if program.endswith("/cifar10-s"):
            parse("cifar10-s", rest)
        elif rest[:1] == ["build_dataset.py"]:
            parse("cifar10-s", ["build", *rest[1:]])


def parse(program, arguments):
    """The options exist, and so do the names given to them."""
    if program == "pip":
        extras = importlib.metadata.metadata("cifar10-s").get_all("Provides-Extra")
        assert set(re.findall(r"\[(\w+)\]", arguments[-1])) <= set(extras)
        return
    if program != "cifar10-s":
        assert importlib.metadata.entry_points(group="console_scripts", name=program)
        return
    parsed = typer.main.get_command(app).commands[arguments[0]].make_context(arguments[0], list(arguments[1:])).params
    tables = {
        "configuration": [*RECIPES, ALL], "strategy": STRATEGIES, "protocol": PROTOCOLS, "network": NETWORKS,
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
    """The cells of a page's tables, without marks."""
    lines = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def test_the_speeds_of_the_readme_are_those_of_the_record():
    record = json.loads((ROOT / "results" / "bench-cifar10-jpeg.json").read_text())
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
    assert [row for row in rows(BUILDS) if row[0] in METHODS] == expected


def test_the_rooms_of_the_house_are_in_order():
    modules = [name for row in rows("docs/design.md")[2:] for name in row[1].split(", ")]
    assert modules == ORDER


def test_the_protocols_and_strategies_are_those_of_the_tables():
    table = {row[0]: row[1:3] for row in rows("docs/benchmark.md")[2:]}
    assert table == {name: [protocol.network, str(protocol.epochs)] for name, protocol in PROTOCOLS.items()}
    text = (ROOT / "docs/benchmark.md").read_text(encoding="utf-8").partition("## Strategies")[2]
    assert set(re.findall(r"`([a-z0-9-]+)`", text.partition("## ")[0])) == set(STRATEGIES)


def test_the_method_of_the_page_keeps_the_contract_and_builds(tmp_path, monkeypatch):
    """Registered as the page says, it passes what every method passes, and its two configurations verify."""
    names = {"__name__": "docs"}
    exec(blocks("docs/add-a-method.md")[0].text, names)
    tiles = names["Tiles"]()
    monkeypatch.setitem(METHODS, tiles.name, tiles)
    monkeypatch.setitem(test_methods.TRIED, tiles.name, tiles)
    for recipe in recipes._of_method(tiles):
        monkeypatch.setitem(RECIPES, recipe.name, recipe)
    configurations = {name: datasets.BuilderConfig(name=name) for name in RECIPES}
    monkeypatch.setattr(OnePixelShortcutBuilder, "builder_configs", configurations)
    for shape in test_methods.SIZES:
        with monkeypatch.context() as patch:
            test_methods.test_the_contract(tiles.name, shape, tmp_path, patch)
    with monkeypatch.context() as patch:
        test_methods.test_the_number_of_threads_changes_nothing(tiles.name, patch)
    test_methods.test_alone_and_with_ops_in_the_table(tiles.name)
    test_methods.test_no_class_is_degenerate(tiles.name)
    release = cifar10_s.build("sample", tmp_path / "tiles-s", configurations=["tiles", "tiles-ops"], device="cpu")
    assert list(release.manifest["configurations"]) == ["clean", "tiles", "tiles-ops"]
