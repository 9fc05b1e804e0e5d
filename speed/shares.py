"""Draw the share of the limit that each measured row reaches, as bars; the same rows give the same bytes."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from speed.timing import percent

# In pixels: the picture's width and margin; where the bars begin and end; a line, and the heading of a part.
WIDTH, MARGIN, BARS, END = 900, 16, 470, 830
LINE, HEADING, BAR = 22, 40, 12
LETTERS = 62
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #3d4451 }
  .part { font-weight: 600; font-size: 15px }
  .what { text-anchor: end }
  .ground { fill: #ffffff }
  .limit { stroke: #9aa3b2; stroke-dasharray: 3 3 }
  .bar { fill: #0072b2 }
  .short { fill: #d55e00 }
  .must { stroke: #14213d; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #c5ccd8 }
    .ground { fill: #14181f }
    .bar { fill: #56b4e9 }
    .short { fill: #e69f00 }
    .must { stroke: #f2f5fa }
  }
"""
CAPTION = (
    "Share of the limit, which is the dashed line. A stroke marks the share to be reached; orange bars fall short."
)


def draw(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return an SVG with the rows of each part that have a limit; ``times`` of a row becomes a mark at its inverse."""
    drawn, top = [f'<text x="{MARGIN}" y="{MARGIN + 8}">{CAPTION}</text>'], MARGIN + 12
    for title, rows in parts.items():
        limited = [row for row in rows if "limit" in row]
        if not limited:
            continue
        top += HEADING
        drawn.append(f'<text class="part" x="{MARGIN}" y="{top - 10}">{escape(title)}</text>')
        for row in limited:
            drawn += _bar(row, top)
            top += LINE
    height = top + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Share of the limit that each measured row reaches">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        f'<line class="limit" x1="{END}" y1="{MARGIN + 20}" x2="{END}" y2="{top}"/>',
        *drawn,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bar(row: Mapping[str, Any], top: int) -> list[str]:
    share, must = row["share"], 1 / row["times"] if "times" in row else None
    what, middle = row["what"].replace("`", ""), top + LINE // 2
    what = what if len(what) <= LETTERS else f"{what[: LETTERS - 1]}…"
    kind = "bar" if must is None or share >= must else "bar short"
    end = _at(min(share, 1))
    bar = [
        f'<text class="what" x="{BARS - 8}" y="{middle + 4}">{escape(what)}</text>',
        f'<rect class="{kind}" x="{BARS}" y="{middle - BAR // 2}" width="{end - BARS:.1f}" height="{BAR}"/>',
        f'<text x="{END + 8}" y="{middle + 4}">{percent(share)}</text>',
    ]
    if must is not None:
        bar.append(
            f'<line class="must" x1="{_at(must):.1f}" y1="{top + 2}" x2="{_at(must):.1f}" y2="{top + LINE - 2}"/>'
        )
    return bar


def _at(share: float) -> float:
    return BARS + share * (END - BARS)
