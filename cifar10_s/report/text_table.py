"""Tables whose cells are text, and their formats: Markdown and LaTeX."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from cifar10_s.errors import printable

EMPTY_CELL = "—"

LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
        "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "`": r"\textasciigrave{}", "<": r"\textless{}",
        ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
        # At the start of a line, LaTeX would read these two as options of the line break before.
        "[": "{[}", "*": "{*}",
        "“": "``", "”": "''", "—": "---", "–": "--", "…": r"\ldots{}", "±": r"$\pm$", "×": r"$\times$",
        **{mark: f"$^{{{number}}}$" for number, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }
)  # fmt: skip


@dataclass(frozen=True)
class TextColumn:
    """The heading of a column, and its parts, such as published and measured."""

    heading: str
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table whose cells are text.

    Attributes
    ----------
    caption
        What this table shows.
    conditions
        How its numbers were measured; tables on the same conditions follow each other, and say them once.
    corner
        The heading of the row names.
    columns
        The columns after the row names.
    rows
        The name of each row, followed by a text for each part of each column.
    footnotes
        Sentences, the first of which is marked ¹ in the headings.
    """

    caption: str
    corner: str
    columns: tuple[TextColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    conditions: str = ""
    footnotes: tuple[str, ...] = ()

    @property
    def has_parts(self) -> bool:
        """Whether any column has several parts, so that they need names."""
        return any(len(column.parts) > 1 for column in self.columns)

    @property
    def starts(self) -> tuple[int, ...]:
        """The position among the cells of a row at which each column starts, without the row's name."""
        return tuple(accumulate((len(column.parts) for column in self.columns[:-1]), initial=0))

    @property
    def marked_footnotes(self) -> tuple[str, ...]:
        """The footnotes, each after its mark."""
        return tuple(f"{mark(number)} {note}" for number, note in enumerate(self.footnotes, 1))


def mark(number: int) -> str:
    """Return the mark of a footnote, such as ¹."""
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def write_all(tables: Iterable[TextTable], write: Callable[[TextTable], str]) -> list[str]:
    """Return tables as text; of tables on the same conditions, only the first says them."""
    said, texts = "", []
    for table in tables:
        texts.append(write(replace(table, conditions="") if table.conditions == said else table))
        said = table.conditions
    return texts


def markdown(table: TextTable) -> str:
    """Return a table as GitHub's Markdown: conditions, caption, table and footnotes, with empty lines between."""
    headings = [
        f"{column.heading}, {part}" if table.has_parts else column.heading
        for column in table.columns
        for part in column.parts
    ]
    first, *others = [
        "| " + " | ".join(map(_markdown_text, line)) + " |" for line in ((table.corner, *headings), *table.rows)
    ]
    rule = "| --- |" + " --: |" * len(headings)
    notes = "  \n".join(map(_markdown_text, table.marked_footnotes))
    texts = (_markdown_text(table.conditions), _markdown_text(table.caption), "\n".join([first, rule, *others]), notes)
    return "\n\n".join(filter(None, texts)) + "\n"


def latex(table: TextTable) -> str:
    """Return a table as LaTeX; it needs the package ``adjustbox``, which keeps it within the page."""
    widths = [len(column.parts) for column in table.columns]
    headings = [
        _latex_headings([(table.corner, 1), *((column.heading, len(column.parts)) for column in table.columns)])
    ]
    if table.has_parts:
        headings.append(_latex_headings([("", 1), *((part, 1) for column in table.columns for part in column.parts)]))
    rows = [" & ".join(map(_latex_text, row)) + r" \\" for row in table.rows]
    caption = " ".join(filter(None, (table.caption, table.conditions, *table.marked_footnotes)))
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_latex_text(caption)}}}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{l{'r' * sum(widths)}}}", r"\hline",
        *headings, r"\hline", *rows, r"\hline",
        r"\end{tabular}", r"\end{adjustbox}", r"\end{table}",
    ]  # fmt: skip
    return "% needs \\usepackage{adjustbox}\n" + "\n".join(lines) + "\n"


def _latex_headings(headings: Iterable[tuple[str, int]]) -> str:
    """Return a line of headings, each spanning its number of columns."""
    texts = ((_latex_text(heading), width) for heading, width in headings)
    spans = [rf"\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 else text for text, width in texts]
    return " & ".join(spans) + r" \\"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_~\[\]<>|&$])", r"\\\1", printable(text))


def _latex_text(text: str) -> str:
    return printable(text).translate(LATEX_ESCAPES)
