"""The views of contrastive learning, against kornia and image by image."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch

from cifar10_s.nn.contrastive_view import BRIGHTNESS, CONTRAST, HUE, SATURATION, ContrastiveView, turned_hue

enhance = pytest.importorskip("kornia").enhance


def batch(count=40, height=11, width=9, channels=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (count, height, width, channels))).float()


def drawn(images, strength=0.6, seed=1):
    return ContrastiveView.draw(np.random.default_rng(seed), images, strength)


def written_out(view, images):
    """Crop, resize, mirror and recolour image by image, with PyTorch's interpolation and kornia's colours."""
    seen = []
    for i, image in enumerate(images):
        top, left, height, width = view.boxes[:, i].tolist()
        planes = (image[top : top + height, left : left + width] / 255).permute(2, 0, 1)[None]
        planes = torch.nn.functional.interpolate(planes, image.shape[:2], mode="bilinear", align_corners=True)
        planes = planes.flip(3) if view.flip[i] else planes
        for change in view.order if view.jittered[i] else ():
            factor = float(view.factors[change, i])
            planes = {
                BRIGHTNESS: enhance.adjust_brightness_accumulative,
                CONTRAST: enhance.adjust_contrast_with_mean_subtraction,
                SATURATION: enhance.adjust_saturation_with_gray_subtraction,
                HUE: lambda planes, turn: enhance.adjust_hue(planes, 2 * np.pi * turn),
            }[change](planes, factor)
        if view.grey[i]:
            planes = (
                (planes * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).repeat(1, 3, 1, 1)
            )
        seen.append(255 * planes[0].permute(1, 2, 0))
    return torch.stack(seen)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_written_out(strength, seed):
    images = batch()
    view = drawn(images, strength, seed)
    assert torch.allclose(view(images), written_out(view, images), atol=2e-2)


def test_what_is_drawn():
    """Crops of at least the share, every place, both sides; each change as often as said."""
    images = torch.empty(20000, 32, 32, 3)
    view = drawn(images)
    top, left, height, width = view.boxes
    assert (top >= 0).all()
    assert (top + height <= 32).all()
    assert (left + width <= 32).all()
    area = height * width / 32**2
    assert area.min() >= 0.46 * 0.93  # sides are whole pixels
    assert area.max() == 1
    assert abs(area.mean() - 0.71) < 0.03
    ratio = width / height
    assert 0.7 < ratio.min() < 0.8 < 1.25 < ratio.max() < 1.42
    assert set(top.tolist()) == set(range(int(top.max()) + 1))
    for chosen, share in ((view.flip, 0.5), (view.jittered, 0.48), (view.grey, 0.12)):
        assert abs(chosen.float().mean() - share) < 0.015
    for factor, middle, reach in zip(view.factors, (1, 1, 1, 0), (0.24, 0.24, 0.24, 0.06)):
        assert abs(factor - middle).max() <= reach + 1e-6
        assert abs(factor - middle).max() > 0.95 * reach
    assert len({drawn(batch(2), seed=seed).order for seed in range(200)}) == 24


def test_no_strength_is_a_mirror_or_nothing():
    images = batch(height=9)
    view = drawn(images, 0.0)
    assert torch.allclose(view(images), torch.where(view.flip[:, None, None, None], images.flip(2), images), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 1), (9, 21, 3), (8, 8, 2)])
def test_any_shape(shape):
    images = batch(30, *shape)
    seen = drawn(images, 1.0)(images)
    assert seen.shape == images.shape
    assert torch.isfinite(seen).all()
    assert -1e-3 <= seen.min() <= seen.max() <= 255 + 1e-3


def test_gradients_are_those_of_the_slow_version():
    images = batch(12).requires_grad_()
    view = drawn(images, 1.0, 3)
    weights = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad((written_out(view, images) * weights).sum(), images)[0]
    got = torch.autograd.grad((view(images) * weights).sum(), images)[0]
    assert torch.allclose(got, expected, atol=2e-2)


def test_grey_images_have_gradients():
    images = torch.full((20, 6, 6, 3), 128.0).requires_grad_()
    view = replace(drawn(images, 1.0), jittered=torch.ones(20, dtype=torch.bool))
    gradient = torch.autograd.grad(view(images).sum(), images)[0]
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum((1, 2, 3)).min() > 0


def test_hue_turns_as_colorsys_has_it():
    levels = torch.rand(4, 5, 6, 3, generator=torch.Generator().manual_seed(0)) * 255
    levels[0, 0] = torch.tensor([[9.0, 9, 9], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [7, 7, 200]])
    turns = torch.tensor([0.1, -0.1, 0.0, 0.37])
    ours = turned_hue(levels, turns).numpy()
    for number, turn in enumerate(turns.tolist()):
        for pixel, turned in zip(levels[number].view(-1, 3).tolist(), ours[number].reshape(-1, 3)):
            hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in pixel))
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert np.allclose(turned / 255, expected, atol=1e-4)


def test_the_least_area_may_be_said():
    view = ContrastiveView.draw(np.random.default_rng(0), torch.empty(4000, 32, 32, 3), 1.0, least_area=0.5)
    areas = view.boxes[2:].prod(0) / 1024
    assert areas.min() >= 0.45  # sides are whole pixels
    assert areas.float().mean() < 0.8
