"""Draw docs/house.svg: the rooms of the package in their order, and what each imports from those below.

    make house

Rooms and arrows are read from the imports (grimp), the order from the contract of import-linter in pyproject.toml, a
room's purpose from the first sentence of its docstring. The same imports give the same bytes.
"""

import ast
import re
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "cifar10_s"

# In pixels: the picture's width and margin, between two boxes side by side, between floors, and inside a box.
WIDTH, MARGIN, SEAM, GAP, PADDING = 900, 24, 20, 38, 16
TITLE_LINE, LINE = 24, 19
# How far from between two rooms side by side an arrow begins and ends.
BEND = 34
# Of the purpose's font, on average; a line that is wider is wrapped.
LETTER = 6.9

STYLE = """
  text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #3d4451 }
  .name { font: 600 17px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #14213d }
  .part { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #6b7280 }
  .note { font-size: 13px; fill: #6b7280 }
  .ground { fill: #f6f4ee }
  .room { fill: #ffffff; stroke: #cfc8b8 }
  .door { fill: #fff3d6; stroke: #e0b354 }
  .arrow { fill: none; stroke: #7f93b2 }
  .head { fill: #7f93b2 }
  .count { font-size: 12px; fill: #54678a }
  @media (prefers-color-scheme: dark) {
    text { fill: #c5ccd8 }
    .name { fill: #f2f5fa }
    .part, .note { fill: #95a0b3 }
    .ground { fill: #14181f }
    .room { fill: #1f252f; stroke: #3a4454 }
    .door { fill: #33290f; stroke: #8a6a22 }
    .arrow { stroke: #6c83a8 }
    .head { fill: #6c83a8 }
    .count { fill: #9db1d3 }
  }
"""
CAPTION = (
    "A room imports only from rooms below it. Beside each arrow, and by its width: how many imports, module to module.",
    "An arrow is left out if other arrows already lead from its room to where it ends.",
)


@dataclass(frozen=True)
class Room:
    """A folder or file at the top of the package; its sub-folders; its number of modules, none for the public names."""

    name: str
    purpose: str
    parts: tuple[str, ...]
    modules: int


@dataclass(frozen=True)
class Box:
    """Where a room is drawn, and its purpose in lines."""

    room: Room
    left: float
    top: float
    width: float
    height: float
    lines: tuple[str, ...]

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height


def main(target: Path) -> None:
    """Write the picture."""
    target.write_text(draw(), encoding="utf-8")
    print(f"wrote {target}")


def draw() -> str:
    """Return the picture as SVG."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    floors = read_floors()
    arrows = reduce(count_imports(graph))
    boxes = place(graph, floors, arrows)
    foot = max(box.bottom for box in boxes.values()) + GAP
    height = foot + LINE * (len(CAPTION) - 1) + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
            f'height="{height:g}" role="img">',
            f"<title>The rooms of {PACKAGE}, and what they import from one another</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height:g}" rx="12"/>',
            *(draw_arrow(boxes[upper], boxes[lower], number) for (upper, lower), number in arrows.items()),
            *(line for box in boxes.values() for line in draw_box(box)),
            *(text(MARGIN, foot + LINE * i, "note", line) for i, line in enumerate(CAPTION)),
            "</svg>\n",
        ]
    )


def read_floors() -> list[list[str]]:
    """Return the rooms of each floor, from the top; the public names stand below the command line, which calls them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    top, *rest = [layer.split(" | ") for layer in layers]
    return [top, [PACKAGE], *rest]


def count_imports(graph: grimp.ImportGraph) -> dict[tuple[str, str], int]:
    """Count the imports from room to room, module to module."""
    pairs = Counter(
        (room_of(module), room_of(imported))
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
    )
    return {pair: number for pair, number in sorted(pairs.items()) if len(set(pair)) == 2 and "__main__" not in pair}


def room_of(module: str) -> str:
    """Return the room that a module is in; that of the package's own `__init__` is the package."""
    return module.split(".")[min(1, module.count("."))]


def reduce(imports: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """Leave out each arrow whose end is reached by other arrows too (the transitive reduction)."""

    def reached(room: str) -> set[str]:
        below = {lower for upper, lower in imports if upper == room}
        return below.union(*map(reached, below))

    def is_needed(upper: str, lower: str) -> bool:
        return not any(lower in reached(other) for first, other in imports if first == upper)

    return {pair: number for pair, number in imports.items() if is_needed(*pair)}


def read_room(graph: grimp.ImportGraph, name: str) -> Room:
    """Read what is written in a room's box."""
    if name == PACKAGE:
        return Room(name, purpose(ROOT / PACKAGE / "__init__.py"), (), 0)
    inside = f"{PACKAGE}.{name}"
    children = graph.find_children(inside)
    if not children:
        return Room(f"{name}.py", purpose(ROOT / PACKAGE / f"{name}.py"), (), 1)
    parts = sorted(child.rpartition(".")[2] for child in children if graph.find_children(child))
    modules = [module for module in graph.find_descendants(inside) if not graph.find_children(module)]
    return Room(f"{name}/", purpose(ROOT / PACKAGE / name / "__init__.py"), tuple(parts), len(modules))


def purpose(file: Path) -> str:
    """Return the first sentence of a file's docstring, without its full stop."""
    words = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split())
    return re.split(r"\.(?: |$)", words)[0].replace("`", "")


def place(
    graph: grimp.ImportGraph, floors: Sequence[Sequence[str]], arrows: Mapping[tuple[str, str], int]
) -> dict[str, Box]:
    """Place the rooms, floor by floor; a room that an arrow passes leaves the right half to it."""
    number = {name: i for i, names in enumerate(floors) for name in names}
    passed = {i for upper, lower in arrows for i in range(number[upper] + 1, number[lower])}
    half = (WIDTH - 2 * MARGIN - SEAM) / 2
    boxes: dict[str, Box] = {}
    top: float = MARGIN
    for i, names in enumerate(floors):
        width = half if len(names) == 2 or i in passed else WIDTH - 2 * MARGIN
        rooms = [read_room(graph, name) for name in names]
        texts = [textwrap.wrap(room.purpose, int((width - 2 * PADDING) / LETTER)) for room in rooms]
        height = 2 * PADDING + TITLE_LINE + LINE * max(map(len, texts)) - 8
        for column, (name, room, lines) in enumerate(zip(names, rooms, texts, strict=True)):
            boxes[name] = Box(room, MARGIN + column * (half + SEAM), top, width, height, tuple(lines))
        top += height + GAP
    return boxes


def draw_box(box: Box) -> Iterator[str]:
    """Draw a room."""
    room, left, baseline = box.room, box.left + PADDING, box.top + PADDING + 14
    yield (
        f'<rect class="{"room" if room.modules else "door"}" x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="8"/>'
    )
    yield text(left, baseline, "name", room.name)
    yield text(left + 11 * len(room.name) + 12, baseline, "part", " ".join(f"{part}/" for part in room.parts))
    counted = f"{room.modules} module{'s' * (room.modules > 1)}" if room.modules else "the public names"
    yield text(box.right - PADDING, baseline, "note", counted, anchor="end")
    for i, line in enumerate(box.lines):
        yield text(left, baseline + TITLE_LINE + LINE * i, "purpose", line)


def draw_arrow(upper: Box, lower: Box, number: int) -> str:
    """Draw an arrow down to the room that is imported from: straight if one stands above the other, else bent."""
    left, right = max(upper.left, lower.left), min(upper.right, lower.right)
    side = 0 if left < right else 1 if upper.left > lower.left else -1
    middle = (left + right) / 2
    start, end = middle + BEND * side, middle - BEND * side
    height, tip = lower.top - GAP / 2, lower.top - 2
    return "\n".join(
        [
            f'<path class="arrow" stroke-width="{1 + number**0.5:.3g}" d="M{start:g} {upper.bottom:g} '
            f'C{start:g} {height:g} {end:g} {height:g} {end:g} {tip - 8:g}"/>',
            f'<path class="head" d="M{end:g} {tip:g} l-7 -10 h14 z"/>',
            text(end - 10 if side else end + 10, height + 4, "count", str(number), anchor="end" if side else "start"),
        ]
    )


def text(x: float, y: float, kind: str, words: str, *, anchor: str = "start") -> str:
    """Write a line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words, quote=False)}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "house.svg")
