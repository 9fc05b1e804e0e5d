"""Galleries and score maps of the card, and pictures of an audit's findings; drawn with Pillow alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cifar10_s.data.images import Images, to_uint8
from cifar10_s.data.pictures import rgb, ring
from cifar10_s.detection.findings import Finding
from cifar10_s.shortcut.shortcut import Shortcut

CELL_PIXELS = 128
GAP_PIXELS = 8
PANEL_GAP_PIXELS = 3
LINE_HEIGHT = 20
MIN_WIDTH = 640
HEADER_HEIGHT = 40
LABEL_WIDTH = 120
EXAMPLES_PER_CLASS = 3
# The examples in the picture of a finding, and the images of which it shows the mean.
EXAMPLES_PER_FINDING, EXAMPLES_FOR_MEAN = 4, 400
MAX_CLASSES = 20
MAX_MAP_COLUMNS = 5
# The usual bound of noise, 8 levels, becomes black or white.
DIFFERENCE_GAIN = 16
INK, PAPER, FRAME = (30, 30, 30), (255, 255, 255), (150, 150, 150)
# Five colours of the viridis map, from dark blue to yellow.
VIRIDIS_STOPS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)


def gallery(clean: Images, perturbed: Images, title: str, shortcut: Shortcut | None = None) -> Image.Image:
    """Draw a row of examples per class: clean, perturbed, and their difference, with the shortcut's pixels ringed."""
    count = min(MAX_CLASSES, len(clean.class_names))
    shape = clean.shape[1:3]
    cell_height, cell_width = _cell(shape)
    step_x, step_y = cell_width + PANEL_GAP_PIXELS, max(cell_height, LINE_HEIGHT) + GAP_PIXELS
    width = max(LABEL_WIDTH + EXAMPLES_PER_CLASS * (3 * step_x + 2 * GAP_PIXELS), MIN_WIDTH)
    canvas = Image.new("RGB", (width, HEADER_HEIGHT + count * step_y), PAPER)
    draw = ImageDraw.Draw(canvas)
    caption = f"{title}: clean / perturbed / difference x{DIFFERENCE_GAIN}, grey = none"
    draw.text((GAP_PIXELS, GAP_PIXELS), caption + _extent(count, len(clean.class_names)), INK, _font(16))
    shown = np.concatenate([np.flatnonzero(clean.labels == label)[:EXAMPLES_PER_CLASS] for label in range(count)])
    before, after = clean.take(np.sort(shown)), perturbed.take(np.sort(shown))
    for label in range(count):
        top = HEADER_HEIGHT + label * step_y
        _write(draw, (GAP_PIXELS, top + cell_height // 2 - 8), clean.class_names[label], LABEL_WIDTH - GAP_PIXELS)
        for column, i in enumerate(np.flatnonzero(before.labels == label)):
            left = LABEL_WIDTH + column * (3 * step_x + 2 * GAP_PIXELS)
            panels = before.pixels[i], after.pixels[i], difference(before.pixels[i], after.pixels[i])
            drawn = [_enlarge(pixels) for pixels in panels]
            if shortcut is not None:
                ring(drawn[2], shortcut.positions[label], _scale(shape))
            for panel, image in enumerate(drawn):
                _paste(canvas, image, (left + panel * step_x, top))
    return canvas


def difference(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the amplified difference, (…, C) uint8: mid-grey for none, lighter if levels rise, darker if they fall."""
    signed = perturbed.astype(np.int32) - clean
    return np.asarray(np.clip(128 + DIFFERENCE_GAIN * signed, 0, 255), np.uint8)


def score_map(scores: NDArray[np.float64], shortcut: Shortcut) -> Image.Image:
    """Draw the best score at each position per class, on a log scale, with the shortcut's pixels ringed.

    ``scores`` is (K, H, W) as `score_maps` returns it, of all classes or of the first `MAX_CLASSES`.
    """
    count = min(MAX_CLASSES, len(scores))
    cell_height, cell_width = _cell(scores.shape[1:])
    columns = min(MAX_MAP_COLUMNS, count)
    rows = -(-count // columns)
    step_x, step_y = cell_width + 2 * GAP_PIXELS, cell_height + 2 * GAP_PIXELS + LINE_HEIGHT
    canvas = Image.new("RGB", (max(columns * step_x + GAP_PIXELS, MIN_WIDTH), HEADER_HEIGHT + rows * step_y), PAPER)
    draw = ImageDraw.Draw(canvas)
    caption = f"best {shortcut.objective} score at each position, log scale; ring: chosen"
    draw.text((GAP_PIXELS, GAP_PIXELS), caption + _extent(count, len(shortcut.class_names)), INK, _font(16))
    for label in range(count):
        left, top = GAP_PIXELS + label % columns * step_x, HEADER_HEIGHT + label // columns * step_y
        _write(draw, (left, top), shortcut.class_names[label], cell_width)
        panel = _enlarge(colormap(scores[label]))
        ring(panel, shortcut.positions[label], _scale(scores.shape[1:]))
        _paste(canvas, panel, (left, top + LINE_HEIGHT))
    return canvas


def finding_picture(images: Images, finding: Finding) -> Image.Image:
    """Draw what an audit found: examples of the class and of others, and their means, with the positions ringed.

    The means are of up to `EXAMPLES_FOR_MEAN` images. For noise, the amplified difference of the means follows, without
    what is smooth in it.
    """
    is_member, is_other = images.labels == finding.label, ~np.isin(images.labels, [finding.label, *finding.also])
    cell_height, cell_width = _cell(images.shape[1:3])
    step_x, step_y = cell_width + PANEL_GAP_PIXELS, cell_height + LINE_HEIGHT + GAP_PIXELS
    width = max(2 * GAP_PIXELS + (EXAMPLES_PER_FINDING + 2) * step_x, MIN_WIDTH)
    canvas = Image.new("RGB", (width, HEADER_HEIGHT + 2 * step_y), PAPER)
    draw, means = ImageDraw.Draw(canvas), []
    _write(draw, (GAP_PIXELS, GAP_PIXELS), _title(finding), width - 2 * GAP_PIXELS)
    for number, (title, members) in enumerate(((finding.class_name, is_member), ("other classes", is_other))):
        top = HEADER_HEIGHT + number * step_y
        _write(draw, (GAP_PIXELS, top), f"{title}: examples and mean", width - 2 * GAP_PIXELS)
        rows = np.flatnonzero(members)
        pixels = images.read(rows[np.unique(np.linspace(0, len(rows) - 1, EXAMPLES_FOR_MEAN).astype(int))])
        means.append(pixels.mean(0))
        for column, panel in enumerate([*pixels[:EXAMPLES_PER_FINDING], to_uint8(means[-1])]):
            drawn = _enlarge(panel)
            ring(drawn, finding.positions, _scale(panel.shape))
            _paste(canvas, drawn, (GAP_PIXELS + column * step_x, top + LINE_HEIGHT))
    if finding.amplitude is not None:
        pattern = _enlarge(to_uint8(128 + DIFFERENCE_GAIN * _without_slope(means[0] - means[1])))
        _paste(canvas, pattern, (GAP_PIXELS + (EXAMPLES_PER_FINDING + 1) * step_x, HEADER_HEIGHT + LINE_HEIGHT))
    return canvas


def _title(finding: Finding) -> str:
    shared = f", in {len(finding.also) + 1} classes" if finding.also else ""
    return f"{finding.class_name}: {finding.kind}{shared}"


def _without_slope(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (H, W, C) levels without the mean of the 3×3 window around each; the border is repeated."""
    height, width = levels.shape[:2]
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), "edge")
    windows = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(levels - np.mean(windows, axis=0))


def _extent(shown: int, count: int) -> str:
    return f" (first {shown} of {count} classes)" if shown < count else ""


def _paste(canvas: Image.Image, panel: Image.Image, corner: tuple[int, int]) -> None:
    """Put a panel on the canvas in a thin frame, so that a white edge is visible."""
    left, top = corner
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + panel.width, top + panel.height), outline=FRAME)
    canvas.paste(panel, corner)


def _cell(shape: Sequence[int]) -> tuple[int, int]:
    height, width = shape
    scale = _scale(shape)
    return height * scale, width * scale


def _scale(shape: Sequence[int]) -> int:
    return max(1, CELL_PIXELS // max(shape[:2]))


def _enlarge(pixels: NDArray[np.uint8]) -> Image.Image:
    """Enlarge (H, W, C) pixels, C from 1 to 4, by an integer factor, so that each pixel is a sharp square."""
    scale = _scale(pixels.shape)
    return Image.fromarray(np.ascontiguousarray(rgb(pixels.repeat(scale, 0).repeat(scale, 1))))


def colormap(scores: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours of (H, W) scores, on a log scale from least to largest, as (H, W, 3) uint8."""
    finite = scores[np.isfinite(scores) & (scores > 0)]
    low, high = (np.log(finite.min()), np.log(finite.max())) if len(finite) else (0.0, 1.0)
    with np.errstate(divide="ignore"):
        position = np.clip((np.log(scores) - low) / max(high - low, 1e-12), 0, 1)
    stops = np.linspace(0, 1, len(VIRIDIS_STOPS))
    return np.stack([np.interp(position, stops, VIRIDIS_STOPS[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int) -> None:
    """Write one line of text, shortened to a width."""
    font, text = _font(14), " ".join(text.split())
    while len(text) > 1 and draw.textlength(text, font) > width:
        text = text[:-2] + "…"
    draw.text(corner, text, INK, font)
