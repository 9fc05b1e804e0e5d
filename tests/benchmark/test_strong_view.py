"""The strong augmentation of orthogonal projection against loops and torchvision's formulas; the float projection."""

import math

import numpy as np
import pytest
import torch
from support.images import make_images, photographs

from cifar10_s.benchmark.strategies.projection import OrthogonalProjection, ProjectBatch
from cifar10_s.benchmark.strategies.strong_view import StrongView
from cifar10_s.errors import UsageError


def moved(image, inverse):
    """Each pixel from the nearest to where ``inverse`` maps its place, measured from the centre; black outside."""
    height, width, _ = image.shape
    result, sure = np.zeros_like(image), np.ones((height, width), bool)
    for y in range(height):
        for x in range(width):
            dx, dy = inverse(x - (width - 1) / 2, y - (height - 1) / 2)
            place = dy + (height - 1) / 2, dx + (width - 1) / 2
            sure[y, x] = all(abs(along - math.floor(along) - 0.5) > 1e-3 for along in place)
            row, column = round(place[0]), round(place[1])
            if 0 <= row < height and 0 <= column < width:
                result[y, x] = image[row, column]
    return result, sure


def jittered(image, factors, order):
    for change in order:
        grey = (image @ [0.299, 0.587, 0.114])[..., None]
        base = [0, grey.mean(), grey][change]
        image = np.clip(factors[change] * image + (1 - factors[change]) * base, 0, 255)
    return image


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 5), (1, 6)])
def test_a_strong_view_against_loops(height, width):
    pixels = photographs(count=12, shape=(height, width, 3)).pixels.astype(float)
    view = StrongView(jitter=0.0)
    seen = view(torch.from_numpy(pixels).float(), torch.zeros(12, 1), np.random.default_rng(2))[0].numpy()
    random = np.random.default_rng(2)
    angles, scales = random.uniform(-1, 1, (2, 12)) * math.radians(10), random.uniform(0.8, 1.2, 12)
    for i in range(12):
        turn, shear, scale = *angles[:, i], scales[i]
        turned, first = moved(
            pixels[i],
            lambda dx, dy, a=turn: (math.cos(a) * dx - math.sin(a) * dy, math.sin(a) * dx + math.cos(a) * dy),
        )
        # The inverse of: shear along the rows by tan, then scale.
        expected, second = moved(turned, lambda dx, dy, s=shear, k=scale: ((dx + math.tan(s) * dy) / k, dy / k))
        if first.all():
            assert np.allclose(seen[i][second], expected[second], atol=0.01)


def test_jitter_has_a_random_order_per_image():
    pixels = photographs(count=40, shape=(6, 5, 3)).pixels.astype(float)
    still = StrongView(rotate=0.0, shear=0.0, scale=(1.0, 1.0), jitter=0.2)
    seen = still(torch.from_numpy(pixels).float(), torch.zeros(40, 1), np.random.default_rng(2))[0].numpy()
    random = np.random.default_rng(2)
    random.uniform(-1, 1, (2, 40)), random.uniform(1, 1, 40)
    factors = random.uniform(0.8, 1.2, (3, 40))
    orders = random.permuted(np.tile(np.arange(3), (40, 1)), axis=1)
    assert len({tuple(order) for order in orders}) == 6
    for i in range(40):
        assert np.allclose(seen[i], jittered(pixels[i], factors[:, i], orders[i]), atol=0.01)


def test_angles_and_scales_are_of_their_range():
    """A single bright pixel, moved: the places that it takes are those of the range."""
    levels = torch.zeros(4000, 33, 33, 1)
    levels[:, 16, 30] = 255.0
    seen = StrongView(jitter=0.0)(levels, torch.zeros(4000, 1), np.random.default_rng(0))[0]
    places = seen[..., 0].nonzero()
    assert abs(int(places[:, 1].min()) - 16 - -3) <= 1
    assert 25 <= int(places[:, 2].min()) <= 28


def test_a_batch_is_projected_without_rounding_or_clipping():
    images = make_images(0, 60, 4, 4, classes=3)
    projection = OrthogonalProjection(epochs=2)
    levels = torch.from_numpy(images.pixels).float()
    project = ProjectBatch(projection=projection).fitted(images, np.random.default_rng(1))
    seen, targets = project(levels, torch.eye(60), None)
    basis = projection.basis(images, np.random.default_rng(1))
    flat = images.pixels.reshape(60, -1).astype(float)
    assert np.allclose(seen.flatten(1), flat - flat @ basis @ basis.T, atol=0.01)
    assert seen.min() < 0
    assert torch.equal(targets, torch.eye(60))
    with pytest.raises(UsageError, match="expected a call of `fitted` first"):
        ProjectBatch()(levels, targets, None)
