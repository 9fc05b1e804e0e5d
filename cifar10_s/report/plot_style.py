"""Style, panels, titles, PNG and SVG of all plots; matplotlib comes with the extra ``report``."""

import io
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cifar10_s.common.extras import require
from cifar10_s.errors import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PIXELS, DPI = 900, 100
# The height of the title and legend together, and the number of letters that fit into a line of the title.
TITLE_AND_LEGEND_PIXELS, LETTERS_PER_LINE = 110, 115
# The colour-blind safe palette of Okabe and Ito; lines differ in their strokes too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES = ("-", "--", "-.", ":")
STYLE = {
    "font.size": 10.0, "axes.titlesize": 10.0, "figure.titlesize": 10.0, "axes.grid": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    # Ids within an SVG file are derived from this instead of being random.
    "svg.hashsalt": "cifar10-s",
}  # fmt: skip

# What `savefig` would write of an SVG file's making.
SVG_METADATA = ("Date", "Creator", "Format", "Type")
# What black and the darker colours of lines become in dark mode.
DARK = {"#000000": "#ececf0", "#0072b2": "#56a8e0"}


@contextmanager
def styled() -> Iterator[None]:
    """Apply our style within the context, independent of the user's matplotlib settings.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    style = require("matplotlib.style", extra="report", what="plots")
    with style.context(["default", STYLE]):
        yield


@styled()
def png(figure: "Figure") -> bytes:
    """Return a figure as PNG, `WIDTH_PIXELS` wide; the same bytes for the same records and version of matplotlib."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


@styled()
def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG; the bytes are as reproducible as those of `png`."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


@styled()
def page_svg(figure: "Figure") -> bytes:
    """Return a figure as SVG for a page: text as text, in the colours of the reader's mode, light or dark.

    It is less than a fifth of the size of `svg`, and as reproducible.
    """
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(SVG_METADATA))
    text = re.sub(
        r"<\?xml[^>]*>|<!DOCTYPE[^>]*>|<metadata>.*?</metadata>", "", file.getvalue().decode(), flags=re.DOTALL
    )
    text = _in_tags(r"\d+\.\d\d+", _tenths, text)
    text = re.sub(r">\s+<", "><", re.sub(r"\s+", " ", re.sub(r" ?font-family: [^;\"]*;", "", text)))
    text = _in_tags(r' d="[^"]*"', lambda path: re.sub(r" ?([MLCQz]) ?", r"\1", path[0]), text)
    text = _with_short_ids(_without_bare_groups(_in_tags(r' transform="rotate\(-0 [^"]*"', "", text)))
    # Each style is written once.
    names = {style: f"s{number}" for number, style in enumerate(dict.fromkeys(re.findall(r' style="([^"]*)"', text)))}
    text = re.sub(r' style="([^"]*)"', lambda style: f' class="{names[style[1]]}"', text)
    rules = {f".{name}{{{style}}}": f".{name}{{{_darkened(style)}}}" for style, name in names.items()}
    dark = "".join(rule for light, rule in rules.items() if rule != light)
    sheet = f"text{{font-family:system-ui,sans-serif}}{''.join(rules)}@media(prefers-color-scheme:dark)"
    sheet += f"{{text{{fill:{DARK['#000000']}}}{dark}}}"
    return text.replace("</style>", f"{sheet}</style>", 1).strip().encode()


def _without_bare_groups(text: str) -> str:
    """Return an SVG text without the groups that have no more than an id."""
    parts, is_kept = [], []
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace("<g/>", "")
    # Every second part is a tag of a group; one that closes itself is none.
    for number, part in enumerate(re.split(r"(<g>|<g [^>]*[^>/]>|</g>)", text)):
        is_tag = number % 2 == 1
        if is_tag and part != "</g>":
            is_kept.append(part != "<g>")
        if not is_tag or is_kept[-1]:
            parts.append(part)
        if part == "</g>":
            is_kept.pop()
    return "".join(parts)


def _with_short_ids(text: str) -> str:
    """Return an SVG text whose ids are numbers with a letter before them."""
    names = {name: f"i{number}" for number, name in enumerate(re.findall(r'<[^>]* id="([^"]*)"', text))}
    return _in_tags(r'(?<= id=")[^"]*|(?<=#)\w+(?=["\)])', lambda name: names.get(name[0], name[0]), text)


def _in_tags(pattern: str, replacement: str | Callable[[re.Match[str]], str], text: str) -> str:
    """Return an SVG text with replacements in its tags alone: other text, such as titles, may be anybody's."""
    return re.sub(r"<[^>]*>", lambda tag: re.sub(pattern, replacement, tag[0]), text)


def _tenths(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _darkened(style: str) -> str:
    return re.sub("#[0-9a-f]{6}", lambda color: DARK.get(color[0], color[0]), style)


@styled()
def pdf(figure: "Figure") -> bytes:
    """Return a figure as PDF; the bytes are as reproducible as those of `png`."""
    file = io.BytesIO()
    figure.savefig(file, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return file.getvalue()


PLOT_FORMATS: dict[str, Callable[["Figure"], bytes]] = {"png": png, "svg": svg, "pdf": pdf}


def panels(count: int, *, columns: int, height: int, share_rows: bool = False) -> tuple["Figure", list["Axes"]]:
    """Make a figure with ``count`` panels in at most ``columns`` columns, each about ``height`` pixels high."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(
        figsize=(WIDTH_PIXELS / DPI, (TITLE_AND_LEGEND_PIXELS + rows * height) / DPI), dpi=DPI, layout="constrained"
    )
    axes = list(figure.subplots(rows, columns, sharey="row" if share_rows else False, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def finish(figure: "Figure", title: str, *, legend_columns: int = 4) -> None:
    """Add the title, and one legend for all panels."""
    figure.suptitle("\n".join(textwrap.wrap(escape(title), LETTERS_PER_LINE)), ha="left", x=0.01)
    entries: dict[str, Artist] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=legend_columns)


def escape(text: str) -> str:
    """Escape a text for matplotlib, so that no part of it is read as a formula."""
    return printable(text).replace("$", r"\$")
