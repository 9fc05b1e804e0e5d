"""Figures of the card: galleries and score maps, drawn with Pillow alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cifar10_s.images import Images
from cifar10_s.shortcut import Shortcut

CELL = 128
GAP = 8
SEAM = 3
LINE = 20
MIN_WIDTH = 640
HEADER = 40
LABEL_WIDTH = 120
EXAMPLES = 3
MAX_CLASSES = 20
MAP_COLUMNS = 5
# A difference of 8 levels, the usual bound of the noises, is full swing.
GAIN = 16
INK, PAPER, MARK, FRAME = (30, 30, 30), (255, 255, 255), (220, 20, 60), (150, 150, 150)
# Dark blue to yellow, even in lightness: five stops of the viridis map.
STOPS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)


def gallery(clean: Images, perturbed: Images, title: str, shortcut: Shortcut | None = None) -> Image.Image:
    """Draw a row a class: examples, each clean, perturbed, and their difference with the shortcut's pixels ringed."""
    count = min(MAX_CLASSES, len(clean.class_names))
    shape = clean.shape[1:3]
    cell_height, cell_width = _cell(shape)
    step_x, step_y = cell_width + SEAM, max(cell_height, LINE) + GAP
    width = max(LABEL_WIDTH + EXAMPLES * (3 * step_x + 2 * GAP), MIN_WIDTH)
    canvas = Image.new("RGB", (width, HEADER + count * step_y), PAPER)
    draw = ImageDraw.Draw(canvas)
    caption = f"{title}: clean / perturbed / difference x{GAIN}, grey = none"
    draw.text((GAP, GAP), caption + _extent(count, len(clean.class_names)), INK, _font(16))
    shown = np.concatenate([np.flatnonzero(clean.labels == label)[:EXAMPLES] for label in range(count)])
    before, after = clean.take(np.sort(shown)), perturbed.take(np.sort(shown))
    for label in range(count):
        top = HEADER + label * step_y
        _write(draw, (GAP, top + cell_height // 2 - 8), clean.class_names[label], LABEL_WIDTH - GAP)
        for column, i in enumerate(np.flatnonzero(before.labels == label)):
            left = LABEL_WIDTH + column * (3 * step_x + 2 * GAP)
            panels = before.pixels[i], after.pixels[i], difference(before.pixels[i], after.pixels[i])
            drawn = [_enlarge(pixels) for pixels in panels]
            if shortcut is not None:
                _ring(drawn[2], shortcut.positions[label], _scale(shape))
            for panel, image in enumerate(drawn):
                _paste(canvas, image, (left + panel * step_x, top))
    return canvas


def difference(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Show what changed, (…, C) uint8: mid-grey for nothing, lighter for more, darker for less."""
    signed = perturbed.astype(np.int32) - clean
    return np.asarray(np.clip(128 + GAIN * signed, 0, 255), np.uint8)


def score_map(scores: NDArray[np.float64], shortcut: Shortcut) -> Image.Image:
    """Draw each class's best score at each position, log scale, and mark the pixels of the shortcut.

    ``scores`` is (K, H, W) as from `search.score_maps`, of all classes or of the first `MAX_CLASSES`.
    """
    count = min(MAX_CLASSES, len(scores))
    cell_height, cell_width = _cell(scores.shape[1:])
    columns = min(MAP_COLUMNS, count)
    rows = -(-count // columns)
    step_x, step_y = cell_width + 2 * GAP, cell_height + 2 * GAP + LINE
    canvas = Image.new("RGB", (max(columns * step_x + GAP, MIN_WIDTH), HEADER + rows * step_y), PAPER)
    draw = ImageDraw.Draw(canvas)
    caption = f"best {shortcut.objective} score at each position, log scale; ring: chosen"
    draw.text((GAP, GAP), caption + _extent(count, len(shortcut.class_names)), INK, _font(16))
    for label in range(count):
        left, top = GAP + label % columns * step_x, HEADER + label // columns * step_y
        _write(draw, (left, top), shortcut.class_names[label], cell_width)
        panel = _enlarge(colormap(scores[label]))
        _ring(panel, shortcut.positions[label], _scale(scores.shape[1:]))
        _paste(canvas, panel, (left, top + LINE))
    return canvas


def _extent(shown: int, count: int) -> str:
    return f" (first {shown} of {count} classes)" if shown < count else ""


def _paste(canvas: Image.Image, panel: Image.Image, where: tuple[int, int]) -> None:
    """Put a panel on the canvas in a thin frame, so that white at its edge is seen."""
    left, top = where
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + panel.width, top + panel.height), outline=FRAME)
    canvas.paste(panel, where)


def _ring(panel: Image.Image, positions: NDArray[np.int64], scale: int) -> None:
    """Draw a ring round each (row, column) of a panel."""
    draw, radius = ImageDraw.Draw(panel), max(7, scale * 4 // 5)
    for y, x in (positions + 0.5) * scale:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=MARK, width=2)


def _cell(shape: Sequence[int]) -> tuple[int, int]:
    height, width = shape
    scale = _scale(shape)
    return height * scale, width * scale


def _scale(shape: Sequence[int]) -> int:
    return max(1, CELL // max(shape[:2]))


def _enlarge(pixels: NDArray[np.uint8]) -> Image.Image:
    """Enlarge by whole pixels, so that one pixel stays one sharp square; (H, W, C), C from 1 to 4."""
    scale = _scale(pixels.shape)
    return Image.fromarray(np.ascontiguousarray(rgb(pixels.repeat(scale, 0).repeat(scale, 1))))


def rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give pixels as they are shown, (…, 3) uint8; (…, C) in, C from 1 to 4.

    One channel is grey; a second has no colour of its own, a fourth no ink: three are shown.
    """
    channels = pixels.shape[-1]
    return pixels.repeat(3, -1) if channels == 1 else pixels[..., [0, 1, -1 if channels == 2 else 2]]


def colormap(scores: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Give the colours of one class's scores, log scale from its least to its largest: (H, W) to (H, W, 3) uint8."""
    finite = scores[np.isfinite(scores) & (scores > 0)]
    low, high = (np.log(finite.min()), np.log(finite.max())) if len(finite) else (0.0, 1.0)
    with np.errstate(divide="ignore"):
        position = np.clip((np.log(scores) - low) / max(high - low, 1e-12), 0, 1)
    stops = np.linspace(0, 1, len(STOPS))
    return np.stack([np.interp(position, stops, STOPS[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(draw: ImageDraw.ImageDraw, where: tuple[int, int], text: str, width: int) -> None:
    """Write one line, cut to a width."""
    font, text = _font(14), " ".join(text.split())
    while len(text) > 1 and draw.textlength(text, font) > width:
        text = text[:-2] + "…"
    draw.text(where, text, INK, font)
