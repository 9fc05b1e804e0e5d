"""Sheet: a table as text, and its two spellings, Markdown and LaTeX."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from cifar10_s.errors import printable

EMPTY = "—"

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
        "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "`": r"\textasciigrave{}", "<": r"\textless{}",
        ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
        # After a line's end these two would be taken for its options.
        "[": "{[}", "*": "{*}",
        "“": "``", "”": "''", "—": "---", "–": "--", "…": r"\ldots{}", "±": r"$\pm$", "×": r"$\times$",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    Attributes
    ----------
    caption
        All that its numbers need to be understood.
    corner
        What stands over the names of the rows.
    heads
        The heads of the columns.
    parts
        What each column is divided into, such as published and measured.
    rows
        For each row its name, and a text for each part of each column.
    """

    caption: str
    corner: str
    heads: tuple[str, ...]
    parts: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(sheet: Sheet) -> str:
    """Write a sheet as GitHub's Markdown: the caption, an empty line, the table."""
    subheads = [f"{head}, {part}" if len(sheet.parts) > 1 else head for head in sheet.heads for part in sheet.parts]
    lines = [(sheet.corner, *subheads), *sheet.rows]
    head, *body = ["| " + " | ".join(map(_markdown_text, line)) + " |" for line in lines]
    rule = "| --- |" + " --: |" * len(subheads)
    return "\n".join([_markdown_text(sheet.caption), "", head, rule, *body]) + "\n"


def latex(sheet: Sheet) -> str:
    """Write a sheet as a LaTeX table; it needs the package ``adjustbox``, which keeps it within the page."""
    count = len(sheet.heads) * len(sheet.parts)
    heads = [(sheet.corner, *sheet.heads)]
    if len(sheet.parts) > 1:
        heads.append(("", *sheet.parts * len(sheet.heads)))
    spans = [_latex_spans(line, 1 if index else len(sheet.parts)) for index, line in enumerate(heads)]
    body = [" & ".join(map(_latex_text, row)) + r" \\" for row in sheet.rows]
    lines = [
        r"\begin{table}", r"\centering", rf"\caption{{{_latex_text(sheet.caption)}}}",
        r"\begin{adjustbox}{max width=\textwidth}", rf"\begin{{tabular}}{{l{'r' * count}}}", r"\hline",
        *spans, r"\hline", *body, r"\hline",
        r"\end{tabular}", r"\end{adjustbox}", r"\end{table}",
    ]  # fmt: skip
    return "% needs \\usepackage{adjustbox}\n" + "\n".join(lines) + "\n"


def _latex_spans(line: tuple[str, ...], width: int) -> str:
    """Write a line of heads, each but the first over ``width`` columns."""
    first, *others = map(_latex_text, line)
    spans = [rf"\multicolumn{{{width}}}{{c}}{{{text}}}" if width > 1 else text for text in others]
    return " & ".join([first, *spans]) + r" \\"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_~\[\]<>|&$])", r"\\\1", printable(text))


def _latex_text(text: str) -> str:
    return printable(text).translate(LATEX)


FORMATS: dict[str, Callable[[Sheet], str]] = {"markdown": markdown, "latex": latex}
