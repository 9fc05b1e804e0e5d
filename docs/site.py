"""What MkDocs does not know of this repository: pages and files outside docs/, and a quiet kernel for the tutorials."""

import logging
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Pages at the root of the repository, and the names of their pages on the site.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}
# `mkdocs build --strict` fails if it warns.
logger = logging.getLogger("mkdocs.hooks.site")
# Where files that the pages link to are on the site.
FILES = "files"
# A link of a tutorial to a page or to another tutorial.
HREF = re.compile(r'href="(?P<to>[^":#]+\.(?:md|py))(?P<anchor>#[^"]*)?"')
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<to>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_startup(command: str, dirty: bool) -> None:
    """Let the kernel that runs the tutorials show no bars and no libraries' warnings, and its threads not spin."""
    os.environ.update(TQDM_DISABLE="1", PYTHONWARNINGS="ignore", OMP_WAIT_POLICY="passive")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages at the root, and the files outside docs/ that pages link to."""
    for source, name in PAGES.items():
        if name not in files.src_uris:
            files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for page in list(files.documentation_pages()):
        if page.src_uri.endswith(".md"):
            for target in filter(Path.is_file, _outside(page.content_string, page.src_uri)):
                name = f"{FILES}/{target.relative_to(ROOT)}"
                if name not in files.src_uris:
                    files.append(File.generated(config, name, abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave docs/ lead to where the site has their targets; a folder is only named."""

    def on_the_site(link: re.Match[str]) -> str:
        target = _target(link["to"], page.file.src_uri)
        if target is None:
            return link[0]
        name = str(target.relative_to(ROOT))
        if target.is_dir():
            return f"`{name}/`" if link["text"].strip("/`") == name else f"{link['text']} (`{name}/`)"
        inside = PAGES.get(name) or name.removeprefix("docs/") if name.startswith("docs/") or name in PAGES else ""
        place = posixpath.relpath(inside or f"{FILES}/{name}", posixpath.dirname(page.file.src_uri) or ".")
        return f"[{link['text']}]({place}{link['anchor'] or ''})"

    return LINK.sub(on_the_site, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a tutorial lead to pages of the site, as MkDocs does for Markdown."""

    def to_the_page(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link["to"]))
        if place not in files.src_uris:
            logger.warning("%s contains a link to %s, which is not there", page.file.src_uri, link["to"])
        return f'href="{posixpath.splitext(link["to"])[0]}.html{link["anchor"] or ""}"'

    return HREF.sub(to_the_page, html) if page.file.src_uri.endswith(".py") else html


def _outside(markdown: str, page: str) -> list[Path]:
    """Return the files and folders that are neither pages nor in docs/, and that a page links to."""
    targets = (_target(link["to"], page) for link in LINK.finditer(markdown))
    outside = (target for target in targets if target is not None and not target.is_relative_to(ROOT / "docs"))
    return [target for target in outside if str(target.relative_to(ROOT)) not in PAGES]


def _target(link: str, page: str) -> Path | None:
    """Return the file or folder of the repository that a link on a page names, or None for others."""
    if "://" in link or link.startswith("mailto:"):
        return None
    root_pages = {page: source for source, page in PAGES.items() if page != "index.md"}
    folder = ROOT if page in root_pages else (ROOT / "docs" / page).parent
    target = Path(os.path.normpath(folder / link))
    return target if target.is_relative_to(ROOT) and target.exists() else None
