"""The plasma fractal: against kornia's, which convolves, and against a loop over nodes."""

import numpy as np
import pytest
import torch

from cifar10_s.benchmark.strategies.plasma import plasma

SHAPES = [
    (5, 3, 32, 32), (4, 1, 8, 8), (3, 2, 5, 7), (3, 2, 1, 1), (2, 3, 3, 3), (2, 3, 2, 9), (2, 1, 33, 12),
    (2, 1, 12, 40), (1, 1, 17, 70), (1, 2, 70, 17),
]  # fmt: skip


def roughness(count):
    return torch.linspace(0.1, 0.9, count)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_kornia_s_from_the_same_draws(shape):
    diamond_square = pytest.importorskip("kornia.contrib").diamond_square
    ours, theirs = np.random.default_rng(1), np.random.default_rng(1)

    def draw(size, device, dtype):
        return torch.from_numpy(theirs.random(tuple(size), dtype=np.float32))

    expected = diamond_square(shape, roughness=roughness(shape[0]), random_fn=draw, dtype=torch.float32)
    assert torch.allclose(plasma(shape, roughness(shape[0]), ours), expected, atol=1e-6)
    assert ours.bit_generator.state == theirs.bit_generator.state


def test_a_node_is_the_mean_of_its_neighbours_and_a_draw():
    """Written out for 5×5: corners and the middle of a cross of 3×3, then one doubling with weight r."""
    r, random = 0.3, np.random.default_rng(4)
    corners = random.random((1, 2, 2), dtype=np.float32)[0].astype(float).T
    first = np.zeros((3, 3))
    first[::2, ::2] = corners
    first[1, 1] = corners.mean()
    for y, x in ((0, 1), (1, 0), (1, 2), (2, 1)):
        ends = [first[0, x], first[2, x]] if x != 1 else [first[y, 0], first[y, 2]]
        first[y, x] = (sum(ends) + first[1, 1]) / 3
    draws = random.random((1, 5, 5), dtype=np.float32)[0].astype(float)
    grid = np.full((5, 5), np.nan)
    grid[::2, ::2] = first
    for odd in (True, False):  # centres of cells before the nodes between two
        for y in range(5):
            for x in range(5):
                if (y % 2 and x % 2) == odd and np.isnan(grid[y, x]):
                    around = ((-1, -1), (-1, 1), (1, -1), (1, 1)) if odd else ((-1, 0), (1, 0), (0, -1), (0, 1))
                    seen = [grid[y + a, x + b] for a, b in around if 0 <= y + a < 5 and 0 <= x + b < 5]
                    grid[y, x] = (1 - r) * np.mean(seen) + r * draws[y, x]
    result = plasma((1, 1, 5, 5), torch.tensor([r]), np.random.default_rng(4))
    assert np.allclose(result[0, 0], grid, atol=1e-6)
