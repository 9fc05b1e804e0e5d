"""Only the layout defines the paths, patterns and columns of a release; no other file repeats them."""

import ast
import re
from pathlib import Path

import pytest

import cifar10_s
from cifar10_s.release.layout import (
    CARD,
    CROISSANT,
    IMAGE_COLUMN,
    LABEL_COLUMN,
    MANIFEST,
    RESULTS,
    SUMS,
    find_shards,
    is_results_figure,
    shard_path,
    shard_pattern,
    split_expression,
    stored_shards,
)

PACKAGE = Path(cifar10_s.__file__).parent
# Below the release: what refuses a release as a source, and the checksums.
OWNERS = {"release/layout.py", "common/checksums.py", "data/sources/release_folder.py"}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("[!_]*.py"))
NAMES = re.compile("|".join(map(re.escape, (MANIFEST, CARD, CROISSANT, RESULTS, SUMS))))
# The rooms that read and write releases; sources have their own columns and Parquet files.
OF_A_RELEASE = ("release/", "builder/", "hub/", "report/page/", "cli/")
PARTS = re.compile(r"recipes/|recipes$|figures/|figures$|\bdata/|scores-|results-|results/|-of-|\.parquet")
COLUMNS = {IMAGE_COLUMN, LABEL_COLUMN}


def texts(tree):
    """Yield the string literals of a file, including parts of f-strings, but not docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docstrings = {id(node.value) for node in first if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def facts(file, tree):
    """Yield the literals that repeat the layout of a release."""
    for text in texts(tree):
        is_part = file.startswith(OF_A_RELEASE) and (text in COLUMNS or PARTS.search(text))
        if NAMES.search(text) or is_part:
            yield text


@pytest.mark.parametrize("file", sorted(set(FILES) - OWNERS))
def test_nobody_else_writes_the_layout_down(file):
    assert list(facts(file, ast.parse((PACKAGE / file).read_text()))) == []


@pytest.mark.parametrize("file", sorted(OWNERS))
def test_the_owners_do(file):
    """Otherwise the test above would look for nothing."""
    assert list(facts(file, ast.parse((PACKAGE / file).read_text())))


@pytest.mark.parametrize(
    "code",
    [
        "folder / 'manifest.json'",
        "f'recipes/{name}.json'",
        "f'{name}/figures/x.png'",
        "table['img']",
        "glob('data/test-*')",
        "f'{split}-{i:05d}-of-{n:05d}.parquet'",
        "def f():\n    'SHA256SUMS'\n    return 'SHA256SUMS'",
    ],
)
def test_what_the_test_would_find(code):
    assert len(list(facts("hub/x.py", ast.parse(code)))) >= 1
    assert list(facts("hub/x.py", ast.parse("def f():\n    'Read manifest.json.'"))) == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_paths_and_patterns_agree(tmp_path, split):
    paths = [shard_path("ops", split, number, 3) for number in range(3)]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        assert re.fullmatch(split_expression("ops"), path)[1] == split
    assert re.fullmatch(split_expression("ops"), split)[1] == split
    others = [shard_path("ops-2", "train", 0, 1), f"x/{paths[0]}", f"{paths[0]}.part", paths[0].replace("-0", "-x")]
    assert find_shards("ops", split, [*reversed(paths), *others]) == paths
    assert [file.relative_to(tmp_path).as_posix() for file in stored_shards(tmp_path, "ops", split)] == paths
    assert sorted(tmp_path.glob(shard_pattern("ops", split))) == stored_shards(tmp_path, "ops", split)


def test_a_plot_of_the_results_is_in_the_figures():
    assert is_results_figure("figures/results-1-curves.png")
    for path in ("figures/ops.png", "figures/results-../x.png", "figures/results-É.png", "x/figures/results-1.png", ""):
        assert not is_results_figure(path)
