"""The methods that train a network, and their parts: gradient descent, crop and flip, training, checkpoints."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity
from support.command import quick_command
from support.images import learnable, make_images, photographs
from support.learning_oracle import NOISE
from support.method_contract import LEARNED, TRIED
from support.options import on_cpu

import cifar10_s
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import BuildError, UsageError
from cifar10_s.methods.checkpoint import Checkpoint
from cifar10_s.methods.dune import penalty, ssim
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.learned import RoundSize, Work
from cifar10_s.methods.registry import METHODS
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.pgd import pgd, project
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import batches
from cifar10_s.release.compose import check_fit, check_time
from cifar10_s.release.recipes import CONFIGURATIONS

CPU = Runtime.on("cpu")
# Several rounds even of short recipes.
SMALL_ROUNDS = RoundSize(images=20, steps=2)


class KilledError(Exception):
    """Raised to interrupt a method at a chosen moment."""


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_descent_written_out(data):
    """Against the same steps in NumPy, value by value, on a loss whose gradient is known."""
    seed, epsilon = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.floats(0, 20))
    step, steps = data.draw(st.floats(0.1, 5)), data.draw(st.integers(0, 6))
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, 12).astype(float)
    goal = random.uniform(0, 255, 12)
    begin = random.uniform(-30, 30, 12)
    expected = [min(max(min(max(d, -epsilon), epsilon), -p), 255 - p) for d, p in zip(begin, pixels)]
    for _ in range(steps):
        for i in range(12):
            moved = expected[i] - step * np.sign(pixels[i] + expected[i] - goal[i])
            moved = min(max(moved, -epsilon), epsilon)
            expected[i] = min(max(pixels[i] + moved, 0), 255) - pixels[i]
    got = pgd(
        torch.from_numpy(pixels),
        torch.from_numpy(begin),
        lambda x: x - torch.from_numpy(goal),
        epsilon=epsilon,
        step=step,
        steps=steps,
    )
    assert np.allclose(got.numpy(), expected)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epsilon=st.floats(0, 300))
def test_projection_keeps_both_bounds_and_what_is_within(seed, epsilon):
    random = np.random.default_rng(seed)
    pixels = torch.from_numpy(random.integers(0, 256, 50).astype(np.float32))
    once = project(torch.from_numpy(random.uniform(-400, 400, 50).astype(np.float32)), pixels, epsilon)
    assert once.abs().max() <= epsilon + 1e-4
    assert (pixels + once).min() >= 0
    assert (pixels + once).max() <= 255
    assert torch.allclose(project(once, pixels, epsilon), once, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_and_flip_written_out(dtype):
    images = torch.from_numpy(np.random.default_rng(0).integers(1, 256, (8, 5, 7, 2))).to(dtype)
    view = replace(CropAndFlip.draw(np.random.default_rng(1), images.repeat(1, 5, 5, 1)), padding=3)
    padded = np.pad(images.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)))
    for i, seen in enumerate(view(images).numpy()):
        cut = padded[i, view.top[i] : view.top[i] + 5, view.left[i] : view.left[i] + 7]
        assert np.array_equal(seen, cut[:, ::-1] if view.flip[i] else cut)


def test_crop_and_flip_draws_every_place_and_both_sides():
    view = CropAndFlip.draw(np.random.default_rng(0), torch.empty(4000, 32, 33, 1))
    assert view.padding == 4
    for places in (view.top, view.left):
        counts = torch.bincount(places, minlength=9)
        assert len(counts) == 9
        assert counts.min() > 300
    assert 0.45 < view.flip.float().mean() < 0.55


def test_gradients_flow_through_a_view_to_where_values_came_from():
    images = torch.rand(3, 6, 6, 1, requires_grad=True)
    view = CropAndFlip.draw(np.random.default_rng(0), images)
    weights = torch.rand(3, 6, 6, 1)
    (view(images) * weights).sum().backward()
    for i in range(3):
        for y in range(6):
            for x in range(6):
                lone = torch.zeros(3, 6, 6, 1)
                lone[i, y, x] = 1
                assert torch.isclose(images.grad[i, y, x, 0], (view(lone) * weights).sum())


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 40), size=st.integers(1, 50), first=st.integers(0, 60))
def test_batches_go_on_from_any_number(count, size, first):
    stream = list(islice(batches(count, size, 0, seed=0, name="t"), first + 5))
    later = list(islice(batches(count, size, first, seed=0, name="t"), 5))
    assert all(torch.equal(a, b) for a, b in zip(stream[first:], later))
    an_epoch = count // min(size, count)
    seen = torch.cat(list(islice(batches(count, size, 0, seed=0, name="t"), an_epoch)))
    assert len(seen.unique()) == len(seen) == an_epoch * min(size, count)


def interrupted_at(method, images, moment, monkeypatch):
    """Run a method, but interrupt it after ``moment`` passes of an image; return whether that came."""
    passed = 0
    count = Work.count

    def count_and_end(self, images):
        nonlocal passed
        passed += images
        count(self, images)
        if passed >= moment:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Work, "count", count_and_end)
        try:
            method.noise(images, on_cpu(), round_size=SMALL_ROUNDS)
        except KilledError:
            return True
    return False


@pytest.mark.parametrize("name", LEARNED)
def test_interrupted_work_ends_with_the_same_bits(name, tmp_path, monkeypatch):
    """At any moment, and more than once."""
    method, images = TRIED[name], photographs(count=50, shape=(8, 8, 3))
    expected = method.noise(images, on_cpu(), round_size=SMALL_ROUNDS)
    total = method.passes(len(images))
    for share in (0.05, 0.35, 0.6, 0.95):
        monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / str(share)))
        assert interrupted_at(method, images, share * total * 0.9, monkeypatch)
        interrupted_at(method, images, 0.3 * total, monkeypatch)
        assert np.array_equal(method.noise(images, on_cpu(), round_size=SMALL_ROUNDS), expected)


@pytest.mark.parametrize("name", LEARNED)
def test_rounds_that_are_done_are_not_done_again(name, monkeypatch):
    method, images = TRIED[name], photographs(count=50, shape=(8, 8, 3))
    total = method.passes(len(images))
    assert interrupted_at(method, images, 0.85 * total, monkeypatch)
    checkpoint = method.checkpoint(images, 0, CPU)
    assert 0 < checkpoint.load(torch.device("cpu"))["passed"] <= 0.85 * total
    assert not interrupted_at(method, images, 0.8 * total, monkeypatch)
    assert not checkpoint.unfinished.exists()
    assert checkpoint.finished.exists()


@pytest.mark.parametrize("name", LEARNED)
def test_passes_are_counted_as_they_were_announced(name, monkeypatch):
    """So that the progress bar ends at 100 %, and the estimated time is right."""
    method, images = TRIED[name], photographs(count=50, shape=(8, 8, 3))
    passed = []
    monkeypatch.setattr(Work, "count", lambda self, images: passed.append(images))
    method.perturb(images, on_cpu())
    assert sum(passed) <= method.passes(50)
    # An epoch skips the images that do not fill a batch.
    assert sum(passed) >= 0.9 * method.passes(50)


# Recipes of few steps, with effects large enough to be seen; whole levels, so that half precision is exact.
EXACT = {
    "network": "tiny", "batch": 7, "learning_rate": 0.05, "weight_decay": 0.02, "epsilon": 100.0, "step": 20.0,
    "steps": 3, "train_batches": 3, "max_rounds": 4, "stop_error": -1.0, "epochs": 5, "milestones": (0.4, 0.8),
    "train_steps": 4, "decay_every": 2, "samples": 2, "adversary_epsilon": 30.0, "adversary_step": 12.0,
    "adversary_steps": 2, "start_error": 2.0, "deviations": (0.0, 0.1, 0.3), "noise_draws": 2, "train_draws": 3,
    "particles": 4, "iterations": 3,
}  # fmt: skip

# With these, EM takes several rounds until it stops.
SLOW = {"learning_rate": 0.003, "train_batches": 1, "steps": 1, "max_rounds": 50}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("em", {}),
        ("em", {"augment": True}),
        ("em", {"clip": 0.5, "epsilon": 30.0}),
        ("em", {**SLOW, "step": 3.0, "stop_error": 0.1}),
        ("em-classwise", {"share": 0.7, "subset_batch": 9, "steps": 1}),
        ("em-classwise", {"share": 0.5, "augment": True, "steps": 2}),
        ("em-classwise", {**SLOW, "step": 5.0, "stop_error": 0.3, "share": 1.0}),
        ("rem", {}),
        ("rem", {"random_start": False, "samples": 1}),
        ("sem", {}),
        ("sem", {"random_start": False, "adversary_epsilon": 90.0}),
        ("aue", {}),
        ("aue", {"strength": 1.0, "epsilon": 30.0, "epochs": 3}),
        ("pue", {}),
        ("pue", {"share": 0.7, "subset_batch": 9, "steps": 1, "augment": True}),
        ("pue", {"clip": 0.05, "deviations": (0.2, 0.0), "epsilon": 30.0}),
        ("pue", {**SLOW, "step": 5.0, "start_error": 0.5, "stop_error": 0.1, "share": 1.0}),
        ("tap", {}),
        ("tap-untargeted", {}),
        ("tap-untargeted", {"restarts": 3, "snapshots": 2, "epochs": 6}),
        ("sep", {"snapshots": 3, "epochs": 6}),
        ("hypo", {"augment": True}),
        ("hypo", {"epsilon": 30.0, "milestones": ()}),
        ("dune", {"offset": 1, "snapshots": 2, "epochs": 6, "epsilon": 20.0, "step": 4.0}),
        ("dune", {"offset": 2, "snapshots": 1, "share": 1.0, "shift": 60.0, "epsilon": 5.0}),
        ("pil", {}),
        ("pil", {"share": 0.3, "epsilon": 30.0, "step": 12.0}),
    ],
)
def test_a_method_written_out(name, changes, tiny):
    """Against the recipe in plain loops; rounding may flip a sign, and a mean may lie between two levels."""
    method, images = METHODS[name], make_images(count=24, height=6, width=5, channels=2)
    numbers = {key: value for key, value in EXACT.items() if hasattr(method, key)}
    method = replace(method, **{**numbers, **changes})
    expected = NOISE[name](method, images, 0).numpy()
    got = method.noise(images, on_cpu())
    assert got.shape == expected.shape
    assert np.mean(np.abs(got - expected) > 0.6) < 0.002


def test_em_makes_images_easy_and_stops(caplog):
    """The training error falls to where the recipe stops, though the images do not depend on the class."""
    images = photographs(count=300, classes=3, shape=(8, 8, 3))
    method = replace(METHODS["em"].small(), batch=50, learning_rate=0.02, epsilon=16.0, augment=False, max_rounds=20)
    method.noise(images, on_cpu())
    assert not caplog.text


def test_em_class_wise_has_one_noise_a_class():
    images = LabeledImages(np.full((60, 8, 8, 3), 128, np.uint8), np.arange(60) % 3, tuple("abc"))
    noise = TRIED["em-classwise"].perturb(images, on_cpu()).astype(int) - 128
    assert all(np.array_equal(noise[i], noise[i % 3]) for i in range(60))
    assert TRIED["em-classwise"].noise(images, on_cpu()).shape == (3, 8, 8, 3)


def test_a_class_without_images_in_the_subset_keeps_its_noise():
    images = photographs(count=20, classes=2, shape=(8, 8, 3))
    images = LabeledImages(images.pixels, np.array([1] + [0] * 19), images.class_names)
    method = replace(TRIED["em-classwise"], share=0.1)
    noise = method.noise(images, on_cpu())
    subset = Work(method, images, CPU, 0).random("subset").permutation(20)[:2]
    assert 0 not in subset
    assert noise[0].any()
    assert not noise[1].any()


@pytest.mark.parametrize("changes", [{"deviations": (0.0,)}, {"start_error": 0.0}])
def test_pue_without_weight_noise_is_class_wise_em(changes):
    images = photographs(count=50, shape=(8, 8, 3))
    pue = replace(TRIED["pue"], **changes)
    em = replace(
        TRIED["em-classwise"], name="pue", batch=pue.batch, subset_batch=pue.subset_batch,
        train_batches=pue.train_batches,
    )  # fmt: skip
    assert np.array_equal(pue.noise(images, on_cpu()), em.noise(images, on_cpu()))
    assert not np.array_equal(pue.noise(images, on_cpu()), TRIED["pue"].noise(images, on_cpu()))


@pytest.mark.work
def test_weight_noise_stays_once_the_error_was_small(monkeypatch):
    """Also if the error grows again, and if the work goes on from a checkpoint."""
    errors = [0.6, 0.5, 0.4, 0.7, 0.9, 0.9]
    monkeypatch.setattr(ErrorMinimizing, "_error", lambda self, work, net: errors[work.done])
    method = replace(TRIED["pue"], start_error=0.5, max_rounds=len(errors))
    images, saved, passed = photographs(count=50, shape=(8, 8, 3)), None, [0]
    while len(passed) <= len(errors):
        work = Work(method, images, CPU, 0)
        if saved is not None:
            work.load_state_dict(saved)
        next(method.rounds(work), None)
        work.done += 1
        saved = work.state_dict()
        passed.append(work.passed)
    plain = 2 * 16 + 3 * 10
    noised = 3 * 2 * 16 + 3 * 3 * 10
    assert np.diff(passed).tolist() == [plain] * 3 + [noised] * 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tap", lambda y: (y + 1) % 4), ("sep", lambda y: (y + 5) % 4), ("hypo", lambda y: y), ("tap-untargeted", None)],
)
def test_a_surrogate_is_moved_where_the_recipe_says(name, expected):
    images = learnable()
    method = replace(
        METHODS[name].small(), epochs=6, batch=20, learning_rate=0.003, epsilon=80.0, step=8.0, steps=30,
        snapshots=2, augment=False,
    )  # fmt: skip
    work = Work(method, images, CPU, seed=0)
    list(method.rounds(work))
    nets = work._kept["snapshots"]
    noised = work.pixels.float() + work.noise.float()
    clean, after = (CPU.logits(nets[-1], levels).argmax(1) for levels in (work.pixels.float(), noised))
    assert (clean == work.labels).float().mean() > 0.9
    if expected is None:
        assert (after == work.labels).float().mean() < 0.1
    else:
        assert (after == expected(work.labels)).float().mean() > 0.9


@pytest.mark.parametrize(("name", "classes"), [("sep", 5), ("dune", 3)])
def test_a_target_that_is_the_own_class_is_refused(name, classes):
    images = photographs(count=20, classes=classes, shape=(8, 8, 3))
    with pytest.raises(UsageError, match=rf"{name}: with {classes} classes, its target .* own class"):
        METHODS[name].perturb(images, on_cpu())
    with pytest.raises(UsageError, match=f"{name}: with {classes} classes"):
        check_fit(CONFIGURATIONS[f"{name}-ops"], images)


def test_a_colour_that_networks_take_for_the_target():
    """It is found within what the penalties allow, differs between classes, and is the same for all of a class."""
    images = learnable()
    method = replace(METHODS["dune"].small(), epochs=6, batch=20, learning_rate=0.003, epsilon=1.0, share=1.0, steps=0)
    work = Work(method, images, CPU, seed=0)
    list(method.rounds(work))
    nets, colors = work._kept["snapshots"], work._kept["colors"].levels
    assert torch.equal(work.noise, colors.half()[work.labels][:, None, None].expand(work.noise.shape))
    assert len(torch.unique(colors, dim=0)) == len(images.class_names)
    clean = work.pixels.float()
    seen = (clean + work.noise.float()).clamp(0, 255)
    assert penalty(clean, seen).mean() < 0.1
    target = (work.labels + 3) % 4
    before, after = (sum(method._loss(work, nets, levels, target)).item() for levels in (clean, seen))
    assert after < before


@pytest.mark.parametrize("shape", [(9, 12, 3), (7, 7, 1), (6, 5, 2), (32, 32, 3)])
def test_the_similarity_of_scikit_image(shape):
    random = np.random.default_rng(0)
    clean = random.uniform(0, 255, (4, *shape)).astype(np.float32)
    seen = np.clip(clean + random.normal(0, [[[[1.0]]], [[[10.0]]], [[[60.0]]], [[[0.0]]]], clean.shape), 0, 255)
    seen = seen.astype(np.float32)
    side = min(7, *shape[:2]) - (1 - min(7, *shape[:2]) % 2)
    options = {"data_range": 255, "channel_axis": -1, "win_size": side}
    expected = [structural_similarity(*pair, **options) for pair in zip(clean, seen)]
    assert np.allclose(ssim(torch.from_numpy(clean), torch.from_numpy(seen)), expected, atol=1e-4)


def test_pil_is_read_without_the_image():
    """A linear classifier that saw clean images names the class of the noise, and no class of the rest."""
    images = learnable()
    method = replace(METHODS["pil"], batch=20, learning_rate=0.01)
    work = Work(method, images, CPU, seed=0)
    list(method.rounds(work))
    net = work._kept["trainer"].frozen()
    # As it is subtracted, clipping at 0 and 255 included.
    right = CPU.logits(net, -work.noise.float()).argmax(1) == work.labels
    assert right.float().mean() > 0.9


def test_published_recipes_are_the_defaults():
    """All parameters of the papers' recipes, as they are recorded."""
    poison = {
        "epochs": 40, "milestones": [0.375, 0.625, 0.875], "snapshots": 1, "steps": 250, "step": 0.4, "epsilon": 8,
        "augment": True, "gaussian_start": True,
    }  # fmt: skip
    expected = {
        "em": {
            "epsilon": 8, "step": 0.8, "steps": 20, "train_batches": 10, "stop_error": 0.01, "clip": 5,
            "augment": False, "batch": 512,
        },
        "em-classwise": {
            "epsilon": 8, "step": 0.8, "steps": 1, "train_batches": 10, "share": 0.2, "stop_error": 0.1, "clip": 5,
            "augment": False, "batch": 512,
        },
        "rem": {
            "epsilon": 8, "step": 1.6, "steps": 10, "adversary_epsilon": 4, "adversary_step": 0.8,
            "adversary_steps": 10, "samples": 5, "train_steps": 5000, "decay_every": 2000, "random_start": True,
        },
        "sem": {
            "epsilon": 8, "step": 1.6, "steps": 10, "adversary_epsilon": 4, "adversary_step": 0.8,
            "adversary_steps": 10, "samples": 5, "train_steps": 5000, "decay_every": 2000, "random_start": True,
        },
        "aue": {
            "epsilon": 8, "step": 0.8, "steps": 5, "epochs": 60, "strength": 0.6, "weight_decay": 1e-4, "clip": None,
        },
        "pue": {
            "epsilon": 8, "step": 0.8, "steps": 1, "train_batches": 20, "share": 0.2, "subset_batch": 128,
            "start_error": 0.5, "stop_error": 0.1, "clip": 5, "augment": False, "noise_draws": 10, "train_draws": 100,
            "deviations": [0.0, 0.05, 0.1, 0.15, 0.2, 0.25],
        },
        "tap": {**poison, "offset": 1, "away": False, "restarts": 1},
        "tap-untargeted": {**poison, "offset": 0, "away": True, "restarts": 8},
        "sep": {
            "epochs": 120, "milestones": [0.625, 0.75], "snapshots": 30, "steps": 30, "step": 1, "epsilon": 8,
            "offset": 5, "away": False, "augment": False,
        },
        "pil": {
            "network": "linear", "batch": 512, "learning_rate": 0.003, "steps": 30, "step": 0.8, "epsilon": 8,
            "epochs": 30, "share": 0.9,
        },
        "dune": {
            "epochs": 120, "milestones": [0.625, 0.75], "snapshots": 5, "steps": 30, "step": 0.5, "epsilon": 8,
            "offset": 3, "away": False, "augment": False, "gaussian_start": False, "particles": 10, "iterations": 10,
            "shift": 25.5, "share": 0.2,
        },
        "hypo": {"steps": 100, "step": 0.8, "epsilon": 8, "snapshots": 1, "offset": 0, "away": False, "augment": False},
    }  # fmt: skip
    shared = {
        "network": "resnet-18", "batch": 128, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4,
        "budget": "full",
    }  # fmt: skip
    assert set(expected) == set(LEARNED)
    for name, numbers in expected.items():
        assert METHODS[name].settings().items() >= {**shared, **numbers}.items()
        small = METHODS[name].small().settings()
        assert (small["budget"], small["network"]) == ("small", "linear" if name == "pil" else "small")
        assert METHODS[name].small().passes(50_000) < METHODS[name].passes(50_000)


def test_two_processes_do_not_do_the_same_work():
    images = photographs(count=20, shape=(8, 8, 3))
    with TRIED["em"].checkpoint(images, 0, CPU).held(), pytest.raises(BuildError, match="another process"):
        TRIED["em"].perturb(images, on_cpu())


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    checkpoint = TRIED["em"].checkpoint(photographs(count=20, shape=(8, 8, 3)), 0, CPU)
    checkpoint.folder.mkdir(parents=True)
    torch.save({"done": Hostile()}, checkpoint.unfinished)
    with pytest.raises(BuildError, match=r"is not a checkpoint .*: remove it"):
        TRIED["em"].perturb(photographs(count=20, shape=(8, 8, 3)), on_cpu())
    assert not marker.exists()


def test_a_checkpoint_of_another_form_gets_a_line():
    images = photographs(count=20, shape=(8, 8, 3))
    checkpoint = TRIED["em"].checkpoint(images, 0, CPU)
    with checkpoint.held():
        checkpoint.save({"done": 1})
    assert TRIED["em"].seconds_left(images, on_cpu())[1] > 0
    with pytest.raises(BuildError, match=r"is not a checkpoint of em .*: remove it"):
        TRIED["em"].perturb(images, on_cpu())


def test_a_save_that_fails_leaves_the_one_before():
    checkpoint = Checkpoint("x", {})
    with checkpoint.held():
        checkpoint.save({"done": 1})
        with pytest.raises(Exception, match="pickle"):
            checkpoint.save({"done": (i for i in range(3))})
        assert checkpoint.load(torch.device("cpu")) == {"done": 1}


def test_other_settings_are_other_work():
    names = {Checkpoint("x", {"seed": seed}).finished for seed in range(5)}
    assert len(names) == 5


def test_determinism_is_asked_for_on_a_gpu_and_given_back():
    gpu = Runtime(torch.device("cuda"), bfloat16=True)
    with gpu.deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with CPU.deterministic():
        assert not torch.are_deterministic_algorithms_enabled()


def test_em_that_does_not_get_there_says_so(caplog):
    TRIED["em"].perturb(photographs(count=20, shape=(8, 8, 3)), on_cpu())
    assert "em: ended after 3 rounds with a training error of" in caplog.text


def test_a_frozen_network_measures_and_learns_nothing():
    trainer = Work(TRIED["em"], learnable(count=40), CPU, seed=0).trainer()
    trainer.step(torch.rand(8, 8, 8, 3) * 255, torch.zeros(8, dtype=torch.int64), 0.1)
    net = trainer.frozen()
    assert not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_noise_is_rounded_to_the_nearest_level():
    work = Work(TRIED["em"], learnable(count=40), CPU, seed=0)
    for value, level in ((2.6, 3), (-2.6, -3), (2.4, 2), (-0.4, 0)):
        work.noise.fill_(value)
        assert (work.levels() == level).all()


@pytest.mark.parametrize("broken", [np.zeros((3, 2), np.int8), np.full((20, 8, 8, 3), 100, np.int8)])
def test_a_result_of_another_form_is_made_again(broken):
    images = photographs(count=20, shape=(8, 8, 3))
    expected = TRIED["em"].perturb(images, on_cpu())
    np.save(TRIED["em"].checkpoint(images, 0, CPU).finished, broken)
    assert np.array_equal(TRIED["em"].perturb(images, on_cpu()), expected)


def test_half_precision_resolves_far_less_than_a_level():
    steps = torch.linspace(-8, 8, 4001)
    assert (steps.half().float() - steps).abs().max() < 1 / 200


def test_long_work_needs_a_yes(tmp_path):
    """Before anything is built, and with what to do in one line; REM takes days on a CPU."""
    with pytest.raises(UsageError, match=r"at most rem .*(hours|days).*--yes.*--budget"):
        cifar10_s.build("sample", tmp_path / "out", name="x", configurations=["rem-ops"], device="cpu")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--yes"):
        cifar10_s.load("rem", source="sample", device="cpu", cache_dir=tmp_path)


def test_long_work_is_refused_with_the_time_of_each_method():
    images, recipes = photographs(count=20, shape=(8, 8, 3)), [CONFIGURATIONS["em"], CONFIGURATIONS["sep-ops"]]
    check_time(recipes, images, on_cpu(), limit_hours=float("inf"))
    check_time([CONFIGURATIONS["ops"]], images, on_cpu(), limit_hours=0)
    with pytest.raises(
        UsageError,
        match=r"at most em \d+\.\d (hours|days) \(usually \d+\.\d hours\), sep \d+\.\d (hours|days)\): pass --yes",
    ):
        check_time(recipes, images, on_cpu(), limit_hours=0)


def write_folder(folder):
    """Write a folder of 40 small images in two classes."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


# Four short rounds: on some processors these few images are learned in the first one.
ROUNDS = """
from dataclasses import replace
from cifar10_s.methods.em import ErrorMinimizing as EM
small = EM.small
EM.small = lambda method: replace(small(method), stop_error=-1.0, train_batches=10, max_rounds=4)
"""
# After each round that is saved, the process waits for the kill, for longer than the test does.
WAITING = """
import time
from cifar10_s.methods.checkpoint import Checkpoint
save = Checkpoint.save
Checkpoint.save = lambda checkpoint, state: (save(checkpoint, state), time.sleep(150))
"""


def build_command(source, cache, output, *, prepared=ROUNDS):
    options = f"build --source {source} --name x -c em -c em-ops --budget small --device cpu --output {output}"
    environment = {**os.environ, "CIFAR10_S_CACHE": str(cache)}
    return [*quick_command(prepared), *options.split()], environment


def test_killed_with_kill_9_it_goes_on_to_the_same_bits(tmp_path):
    """From the command line: killed as soon as a round is saved, then started again."""
    source = write_folder(tmp_path / "pictures")
    command, environment = build_command(source, tmp_path / "cache", tmp_path / "out", prepared=ROUNDS + WAITING)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not done_rounds(tmp_path / "cache") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert done_rounds(tmp_path / "cache") >= 1
    command, environment = build_command(source, tmp_path / "cache", tmp_path / "out")
    subprocess.run(command, env=environment, check=True, capture_output=True)
    again, environment = build_command(source, tmp_path / "fresh", tmp_path / "again")
    subprocess.run(again, env=environment, check=True, capture_output=True)
    digests = [
        {name: entry["pixels_sha256"] for name, entry in json.loads(path.read_text())["configurations"].items()}
        for path in (tmp_path / "out" / "manifest.json", tmp_path / "again" / "manifest.json")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == 3


def done_rounds(cache):
    """Return the number of rounds in the checkpoint, which may be replaced meanwhile."""
    for path in (cache / "noise").glob("em-*.pt"):
        try:
            return torch.load(path, weights_only=True)["done"]
        except (OSError, RuntimeError):
            pass
    return 0


@pytest.mark.parametrize("name", LEARNED)
def test_one_class_teaches_a_network_nothing(name):
    images = make_images(count=6, classes=1, height=8, width=8)
    with pytest.raises(UsageError, match=f"{name}: expected images of two or more classes, got 6 of 1"):
        METHODS[name].small().perturb(images, on_cpu())


def test_large_images_are_taken_fewer_at_a_time():
    assert [CPU.chunk(torch.empty(1, side, side, 3)) for side in (8, 32, 64, 224, 1000)] == [125, 125, 31, 2, 1]


def test_images_too_small_for_the_published_network_get_a_hint_to_the_reduced_recipe():
    images = make_images(count=6, classes=2, height=4, width=4)
    with pytest.raises(UsageError, match=r"em: network 'resnet-18' needs .* 8×8 .*; try .*--budget small"):
        METHODS["em"].noise(images, on_cpu())
