"""The templates of pages, which load nothing: style and script stand in them."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from cifar10_s.errors import printable

PAGE_FOLDER = Path(__file__).parent


def fill(name: str, *, script: str, **values: Any) -> str:
    """Return a page: a template of this folder with these values, the style, and a script of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["plain"] = printable
    environment.filters["sha256"] = _sha256
    return environment.get_template(name).render(style=_file("page.css"), script=_file(script), **values)


def _file(name: str) -> Markup:
    """Return a file of this folder that the page includes unchanged."""
    return Markup((PAGE_FOLDER / name).read_text(encoding="utf-8"))  # noqa: S704 (none of it comes from outside)


def _sha256(text: str) -> str:
    """Return what a policy names a script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
