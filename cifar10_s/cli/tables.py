"""Tables on standard output: coloured, and wrapped by column, on a terminal; plain in a pipe or a log."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from cifar10_s.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

# Takes the cells of a row; names a colour for the second, or none.
Color = Callable[[Sequence[str]], str]


def echo_table(
    rows: Iterable[Sequence[str]],
    *,
    headings: Sequence[str] = (),
    indent: int = 0,
    color: Color = lambda row: "",
) -> None:
    """Print a table.

    Parameters
    ----------
    rows
        Its cells, which may be untrusted.
    headings
        Of the columns; none by default.
    indent
        Spaces before each line.
    color
        Names a colour for the second cell of a row, on a terminal; none by default.
    """
    from rich.console import Console

    cells, console = [[printable(cell) for cell in row] for row in rows], Console(highlight=False)
    if not cells:
        return
    if console.is_terminal:
        _draw(console, cells, headings, indent, color)
        return
    lines = [list(headings), *cells] if headings else cells
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo((" " * indent + "  ".join(map(str.ljust, line, widths))).rstrip())


def echo_title(text: str, color: str = "") -> None:
    """Print a line that stands out on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console, text = Console(highlight=False), printable(text)
    if console.is_terminal:
        console.print(Text(text, style=f"bold {color}".strip()), soft_wrap=True)
    else:
        typer.echo(text)


def _draw(
    console: "Console", cells: Sequence[Sequence[str]], headings: Sequence[str], indent: int, color: Color
) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings), header_style="bold")
    for heading in headings or cells[0]:
        table.add_column(heading, overflow="fold")
    for first, second, *others in cells:
        table.add_row(Text(first, "cyan"), Text(second, color((first, second, *others))), *map(Text, others))
    console.print(Padding(table, (0, 0, 0, indent)))
