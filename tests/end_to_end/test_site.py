"""The site of the documentation: it leaves nothing out, its tutorials run, and it builds without a dead link."""

import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import cifar10_s

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))


def navigation(entries):
    for entry in entries:
        for value in entry.values():
            yield from navigation(value) if isinstance(value, list) else [value]


def test_every_page_and_tutorial_is_in_the_navigation():
    listed = list(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    pages += [f"tutorials/{path.name}" for path in TUTORIALS]
    assert sorted(listed) == sorted([*pages, "changes.md", "contributing.md"])


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: cifar10_s\.(\w+)$", text, re.MULTILINE) + re.findall("`([A-Z_]+)`", text)
    assert sorted(named) == sorted(set(cifar10_s.__all__) - {"__version__"})


def test_every_question_leads_to_a_tutorial_once_there_is_one():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert all(f"(tutorials/{path.name})" in index for path in TUTORIALS)


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_what_it_says(tutorial, monkeypatch, capsys):
    shown = []
    display = SimpleNamespace(Markdown=str, Image=lambda path: shown.append(path), display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    runpy.run_path(str(tutorial))
    printed = capsys.readouterr().out
    match tutorial.stem:
        case "use_in_pytorch":
            clean, ops = (
                list(map(float, re.findall(r"([\d.]+) %", line)))
                for line in printed.splitlines()
                if line.startswith("trained on")
            )
            assert min(*clean, ops[0]) > 80
            assert ops[1] < 75
        case "poison_your_images":
            assert "findings in the repaired images: 0" in printed
        case "write_a_method":
            assert "largest change: 24 levels of 24" in printed
            assert "same again: True" in printed
        case "read_results":
            assert "| ops |" in shown[0]
            assert shown[1].is_file()
        case _:
            pytest.fail(f"{tutorial.name} has no check here")


class Links(HTMLParser):
    """Collect the links and the anchors of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.anchors.update(value for name, value in of.items() if name in ("id", "name"))
        self.links += [of[name] for name in ("href", "src") if of.get(name)]


@pytest.mark.slow
def test_the_site_builds_and_every_link_leads_somewhere(tmp_path):
    """`make docs` installs what this needs."""
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    pages = {path: Links() for path in site.rglob("*.html") if path.name != "404.html"}
    for path, links in pages.items():
        links.feed(path.read_text(encoding="utf-8"))
    assert len(pages) > len(TUTORIALS) + 10
    for path, links in pages.items():
        for link in map(urlsplit, links.links):
            if link.scheme or link.netloc:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            assert target.exists(), f"{path.name}: {link.geturl()}"
            if link.fragment and target in pages and not link.fragment.startswith("__"):
                assert unquote(link.fragment) in pages[target].anchors, f"{path.name}: {link.geturl()}"
