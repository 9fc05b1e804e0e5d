"""Plasma fractals: random, cloud-like fields by the diamond-square algorithm."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad


def plasma(shape: tuple[int, int, int, int], roughness: Tensor, random: np.random.Generator) -> Tensor:
    """Draw a fractal for each channel of each image (Fournier, Fussell & Carpenter, CACM 1982).

    The grid starts with three nodes along the shorter side and doubles until it covers the image. A new node is the
    mean of its neighbours, mixed with a uniform draw; the draw's weight is the roughness to the power of the level.
    The same generator gives the field of kornia's ``diamond_square`` but for rounding; kornia convolves the whole grid,
    and takes four times as long.

    Parameters
    ----------
    shape
        (B, C, H, W).
    roughness : (B,) float32, 0 to 1
        How much of the detail is random.
    random
        The source of all draws.

    Returns
    -------
    Tensor
        (B, C, H, W) float32, 0 to 1, on the device of ``roughness``.
    """
    count, channels, height, width = shape
    levels_high, levels_wide = (math.ceil(math.log2(max(side, 3) - 1)) for side in (height, width))
    doublings = min(levels_high, levels_wide) - 1
    fields = count * channels
    grid = _first_grid(fields, 2 ** (levels_high - doublings) + 1, 2 ** (levels_wide - doublings) + 1, random)
    grid = grid.to(roughness.device)
    steps = roughness.repeat_interleave(channels)[:, None, None]
    for level in range(1, doublings + 1):
        grid = _doubled(grid, steps**level, random)
    return grid[:, :height, :width].reshape(shape)


def _draw(shape: tuple[int, ...], random: np.random.Generator) -> Tensor:
    return torch.from_numpy(random.random(shape, dtype=np.float32))


def _first_grid(fields: int, height: int, width: int, random: np.random.Generator) -> Tensor:
    """Draw the corners of the cells of a grid with three nodes along one side; all other nodes are means."""
    if width == 3:
        return _with_midpoints(_draw((fields, 2, (height + 1) // 2), random)).transpose(1, 2)
    return _with_midpoints(_draw((fields, 2, (width + 1) // 2), random))


def _with_midpoints(corners: Tensor) -> Tensor:
    """Return a grid with new nodes between all nodes of (n, h, w): means of their neighbours."""
    nothing = corners.new_zeros(())
    count, height, width = corners.shape
    return _filled(corners, nothing, corners.new_zeros(count, 2 * height - 1, 2 * width - 1))


def _doubled(grid: Tensor, weight: Tensor, random: np.random.Generator) -> Tensor:
    """Return a grid with new nodes between all nodes of (n, h, w), of which (n, 1, 1) weights are random."""
    count, height, width = grid.shape
    draws = _draw((count, 2 * height - 1, 2 * width - 1), random).to(grid.device)
    return _filled(grid, weight, draws)


def _filled(grid: Tensor, weight: Tensor, draws: Tensor) -> Tensor:
    """Put (n, h, w) nodes into (n, 2h - 1, 2w - 1) draws; mix the other draws with the means of their neighbours."""
    above, below = grid[:, :-1], grid[:, 1:]
    centres = (above[:, :, :-1] + above[:, :, 1:] + below[:, :, :-1] + below[:, :, 1:]) / 4
    centres = torch.lerp(centres, draws[:, 1::2, 1::2], weight)
    beside, over = pad(centres, (1, 1)), pad(centres, (0, 0, 1, 1))
    rows = (above + below + beside[:, :, :-1] + beside[:, :, 1:]) / _neighbours(grid.shape[2], grid.device)
    columns = (grid[:, :, :-1] + grid[:, :, 1:] + over[:, :-1] + over[:, 1:]) / _neighbours(
        grid.shape[1], grid.device
    ).unsqueeze(1)
    filled = draws  # nobody else holds it
    filled[:, ::2, ::2] = grid
    filled[:, 1::2, 1::2] = centres
    filled[:, 1::2, ::2] = torch.lerp(rows, draws[:, 1::2, ::2], weight)
    filled[:, ::2, 1::2] = torch.lerp(columns, draws[:, ::2, 1::2], weight)
    return filled


def _neighbours(nodes: int, device: torch.device) -> Tensor:
    """Return the number of neighbours of nodes along a side: three at its ends, four between."""
    number = torch.full((nodes,), 4.0, device=device)
    number[[0, -1]] = 3.0
    return number
