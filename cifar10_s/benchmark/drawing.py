"""Drawing: what the plots share: style, panels, titles, PNG; matplotlib comes with the extra ``report``."""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cifar10_s.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI = 900, 100
# Pixels that title and legend take, and letters of the title in a line of that width.
HEAD, LETTERS = 110, 115
# Okabe and Ito's colours, which the colour-blind tell apart; lines differ in their strokes too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES = ("-", "--", "-.", ":")
STYLE = {
    "font.size": 10.0, "axes.titlesize": 10.0, "figure.titlesize": 10.0, "axes.grid": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    # Names within an SVG file follow from this and not from chance.
    "svg.hashsalt": "cifar10-s",
}  # fmt: skip


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style inside, whatever the user's own settings of matplotlib.

    Raises
    ------
    UsageError
        Where matplotlib is not installed.
    """
    try:
        import matplotlib.style
    except ImportError:
        raise UsageError(
            "plots need matplotlib, which is not installed: pip install 'cifar10-s[report]', or ask for no plots"
        ) from None
    with matplotlib.style.context(["default", STYLE]):
        yield


@styled()
def png(figure: "Figure") -> bytes:
    """Give a figure as PNG, `WIDTH` pixels wide: the same bytes for the same records and version of matplotlib."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


@styled()
def svg(figure: "Figure") -> bytes:
    """Give a figure as SVG; the same bytes as `png` does."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def panels(count: int, *, columns: int, height: int, share_rows: bool = False) -> tuple["Figure", list["Axes"]]:
    """Make a figure of so many panels in so many columns, each about so many pixels high."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH / DPI, (HEAD + rows * height) / DPI), dpi=DPI, layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey="row" if share_rows else False, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def finish(figure: "Figure", title: str) -> None:
    """Add the title, and one legend for all panels."""
    figure.suptitle("\n".join(textwrap.wrap(text(title), LETTERS)), ha="left", x=0.01)
    entries: dict[str, Artist] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4)


def text(of: str) -> str:
    """Give a text as matplotlib writes it, no part of it taken for a formula."""
    return printable(of).replace("$", r"\$")
