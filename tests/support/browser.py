"""Pages as a browser has them: parsed, and opened in Chromium with a script that acts as a user does."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

VOID = {"meta", "img", "input", "br", "hr", "link"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--force-color-profile=srgb", "--enable-logging=stderr", "--v=0", "--window-size=1400,900",
]  # fmt: skip
# The beginning of each test's script: functions that act as a user does, and report the outcome.
SCRIPT = """
const set = (input, change) => { Object.assign(input, change); input.dispatchEvent(new Event("input")); };
const say = (outcome) => {
  const paper = top.document.createElement("template"); paper.id = "outcome";
  paper.setAttribute("data-outcome", JSON.stringify(outcome)); top.document.body.append(paper);
};
const gallery = (name) => document.querySelector(`.gallery[aria-label="Gallery of ${name}"]`);
"""


def browse(folder, page, script, *flags, width=1280):
    """Open a page of a width with a script at its end, which its policy is made to allow; no console message may come.

    The page is in a frame, since windows have a minimum width.
    """
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    script = f"{{{SCRIPT}\n{script}}}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    file = folder / "page.html"
    acting = html.escape(page.replace("</body>", f"<script>{script}</script></body>"))
    style = f"position: fixed; left: 0; top: 0; border: 0; width: {width}px; height: 900px"
    file.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body><iframe style="{style}" srcdoc="{acting}"></iframe>')
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'user'}", *flags]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout


def outcome(folder, page, script, *flags, **options):
    """Return the outcome that the script has reported."""
    dumped = browse(folder, page, script, "--dump-dom", *flags, **options)
    (reported,) = re.findall(r'<template id="outcome" data-outcome="(.*?)">', dumped)
    return json.loads(html.unescape(reported))


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and the text per kind of element; tags must be balanced."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag):
        return " ".join(" ".join(self.texts.get(tag, [])).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def violations(folder, page, *flags, width=1280):
    """Return what axe finds, with details open: a line for each rule that is broken."""
    found = find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("needs axe: pip install --no-deps axe-playwright-python")
    axe = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    script = (
        axe
        + """;
    for (const one of document.querySelectorAll("details")) one.open = true;
    axe.run(document, {resultTypes: ["violations"]}).then((found) => say(found.violations.map((one) =>
      `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3).join(" ")}`)));
    """
    )
    return outcome(folder, page, script, "--virtual-time-budget=60000", *flags, width=width)
