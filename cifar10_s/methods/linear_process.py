"""Linear processes in the plane: a value follows from the 3×3 window that ends in it; the noise of AR."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Float64Array

# The window has two rows above the value and two columns to its left.
WINDOW, BORDER = 3, 2


def draw_filters(random: np.random.Generator, count: int) -> Float64Array:
    """Draw filters, (count, 3, 3): N(0, 1), the last tap 0, divided by their sum."""
    filters = random.standard_normal((count, WINDOW, WINDOW))
    filters[:, -1, -1] = 0
    return np.asarray(filters / filters.sum((1, 2), keepdims=True))


def run_each(
    filters: Float64Array, random: np.random.Generator, height: int, width: int, limit: float
) -> tuple[Float64Array, NDArray[np.bool_]]:
    """Run each of (F, 3, 3) filters once from a random start in raster order.

    Only the first two rows and columns of a start are used.

    Returns
    -------
    values : (F, height, width) float64
        Unfinished if they are not bounded.
    bounded : (F,) bool
        Whether all computed values are within ±limit.
    """
    values, bounded = np.zeros((len(filters), height, width)), np.empty(len(filters), bool)
    values[:, :BORDER] = random.standard_normal((len(filters), BORDER, width))
    values[:, BORDER:, :BORDER] = random.standard_normal((len(filters), height - BORDER, BORDER))
    _kernels()[0](filters, values, limit, bounded)
    return values, bounded


def run_plain(filters: Float64Array, values: Float64Array, limit: float, bounded: NDArray[np.bool_]) -> None:
    """See `linear_process_kernel.run`; this does not stop early."""
    taps = [(dy, dx, filters[:, dy, dx]) for dy in range(WINDOW) for dx in range(WINDOW)][:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        for y in range(values.shape[1] - BORDER):
            for x in range(values.shape[2] - BORDER):
                terms = [tap * values[:, y + dy, x + dx] for dy, dx, tap in taps]
                values[:, y + BORDER, x + BORDER] = sum(terms[1:], terms[0])
        bounded[:] = (np.abs(values[:, BORDER:, BORDER:]) <= limit).all((1, 2))


def least_responses(processes: Float64Array, noise: Float64Array, floor: float) -> Float64Array:
    """Return the least response of K processes, (K, C, 3, 3), to each of n images of noise, (n, H, W, C), as (n,).

    As in the authors' code: the filters, with -1 as the last tap, are one convolution of the noise, scaled to unit ℓ2
    norm; its positive outputs are summed up. A process does not respond to its own noise. Without processes the least
    response is infinite; one below ``floor`` may be of another process than the least.
    """
    norms = np.sqrt(np.square(noise).sum((1, 2, 3), keepdims=True))
    planes = np.ascontiguousarray((noise / norms).transpose(0, 3, 1, 2))
    weights, least = processes.copy(), np.full(len(noise), np.inf)
    weights[:, :, -1, -1] = -1
    _kernels()[1](weights, planes, floor, least)
    return least


def least_responses_plain(weights: Float64Array, noise: Float64Array, floor: float, least: Float64Array) -> None:
    """See `linear_process_kernel.least_responses`."""
    _, channels, height, width = noise.shape
    for process in weights:
        wanted = np.flatnonzero(least >= floor)
        outputs = np.zeros((len(wanted), height - BORDER, width - BORDER))
        for c in range(channels):
            for dy in range(WINDOW):
                for dx in range(WINDOW):
                    window = noise[wanted, c, dy : dy + height - BORDER, dx : dx + width - BORDER]
                    outputs += process[c, dy, dx] * window
        # `cumsum` adds one after another, as the kernel does.
        totals = np.maximum(outputs, 0).reshape(len(wanted), (height - BORDER) * (width - BORDER)).cumsum(1)[:, -1]
        least[wanted] = np.minimum(least[wanted], totals)


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled kernels, or the plain versions without numba or if they do not compile; decided once."""
    try:
        from cifar10_s.common.jit import compiled_or_plain
        from cifar10_s.methods import linear_process_kernel as kernel
    except ImportError:  # a machine that only searches may lack numba
        return run_plain, least_responses_plain
    filters, planes, bounded = np.empty((0, WINDOW, WINDOW)), np.empty((0, 0, 0)), np.empty(0, bool)
    return (
        compiled_or_plain(kernel.run, run_plain, (filters, planes, 1.0, bounded)),
        compiled_or_plain(
            kernel.least_responses, least_responses_plain, (filters[None], filters[None], 1.0, np.empty(0))
        ),
    )


class LinearProcess:
    """A process with one filter per channel, which runs many starts at once.

    A row follows from the two above it and its own first two values by one matrix: within a row the recursion is a
    triangular system.

    Parameters
    ----------
    filters : (C, 3, 3) float64
        One filter per channel.
    width
        The number of columns to run.
    """

    def __init__(self, filters: Float64Array, width: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.above, self.left = _row_matrices(filters, width)

    def run(self, rows: Float64Array, columns: Float64Array) -> Float64Array:
        """Return (C, H, W, n) values that go on from starts.

        Parameters
        ----------
        rows : (C, 2, W, n) float64
            The first two rows.
        columns : (C, H - 2, 2, n) float64
            The first two values of the rows below.
        """
        channels, _, width, count = rows.shape
        height = BORDER + columns.shape[1]
        values = np.empty((channels, height, width, count))
        values[:, :BORDER], values[:, BORDER:, :BORDER] = rows, columns
        with np.errstate(over="ignore", invalid="ignore"):
            for y in range(BORDER, height):
                before = values[:, y - BORDER : y].reshape(channels, BORDER * width, count)
                values[:, y, BORDER:] = self.above @ before + self.left @ values[:, y, :BORDER]
        return values


def _row_matrices(filters: Float64Array, width: int) -> tuple[Float64Array, Float64Array]:
    """Return the matrices, per channel, that map the two rows above and a row's first two values to its other values.

    With A and B for the rows above and G for the row itself, u = A·a + B·b + G·(l, u), so that
    u = (I - G_u)⁻¹ (A·a + B·b + G_l·l). That inverse holds the impulse response of the row recursion.
    """
    unknown = width - BORDER
    diagonal = np.arange(unknown)
    bands = np.zeros((len(filters), WINDOW, unknown, width))
    for row in range(WINDOW):
        for offset in range(WINDOW):
            if (row, offset) != (WINDOW - 1, WINDOW - 1):
                bands[:, row, diagonal, diagonal + offset] = filters[:, row, offset, None]
    inverse = np.zeros((len(filters), unknown, unknown))
    response = np.zeros((unknown + BORDER, len(filters)))
    response[BORDER] = 1
    for n in range(unknown):
        if n:
            response[n + BORDER] = filters[:, -1, 0] * response[n] + filters[:, -1, 1] * response[n + 1]
        inverse[:, diagonal[n:], diagonal[: unknown - n]] = response[n + BORDER][:, None]
    above = inverse @ np.concatenate([bands[:, row] for row in range(BORDER)], axis=-1)
    return above, inverse @ bands[:, -1, :, :BORDER]
