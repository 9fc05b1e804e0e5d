"""Measures of a trained network: AutoAttack on linear classifiers, whose robustness is known in closed form."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import cifar10_s
from cifar10_s.benchmark.measures.auto_attack import AutoAttack
from cifar10_s.benchmark.measures.registry import MEASURES, find_measure
from cifar10_s.cli.app import app
from cifar10_s.errors import UsageError
from cifar10_s.nn.runtime import Runtime

pytest.importorskip("pyautoattack")

CPU = Runtime.on("cpu")
SIDE = 5


class LinearNet(nn.Module):
    def __init__(self, classes, seed):
        super().__init__()
        self.classifier = nn.Linear(3 * SIDE * SIDE, classes)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.classifier.weight.data = torch.randn(classes, 3 * SIDE * SIDE)
            self.classifier.bias.data.zero_()

    def forward(self, images):
        return self.classifier(images.flatten(1))


def robust(net, pixels, labels, norm, epsilon):
    """Return the share of images whose margin to each other class is above the most that noise in the bound takes.

    A linear function w of noise of norm 1 is at most the dual norm of w. The images are grey enough for all noise.
    """
    dual = {"linf": 1, "l2": 2}[norm]
    weights = net.classifier.weight.detach().double().numpy()
    count = 0
    for image, label in zip(pixels, labels):
        inputs = (image.transpose(2, 0, 1).ravel() / 255 - 0.5) / 0.25
        others = [k for k in range(len(weights)) if k != label]
        count += all(
            (weights[label] - weights[k]) @ inputs
            > epsilon / 255 / 0.25 * np.linalg.norm(weights[label] - weights[k], dual)
            for k in others
        )
    return 100 * count / len(labels)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "norm", "epsilon"), [(10, "linf", 2.0), (4, "linf", 4.0), (12, "l2", 12.0)])
def test_it_is_the_robustness_of_a_linear_classifier(classes, norm, epsilon):
    net, random = LinearNet(classes, seed=1), np.random.default_rng(2)
    pixels = random.integers(64, 192, (40, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.no_grad():
        labels = CPU.logits(net, torch.from_numpy(pixels)).argmax(1)
    labels[::6] = (labels[::6] + 1) % classes  # these are wrong without an attack
    expected = robust(net, pixels, labels.numpy(), norm, epsilon)
    measure = AutoAttack(name="a", summary="a", norm=norm, epsilon=epsilon)
    before = torch.random.get_rng_state()
    measured = measure(CPU, net.eval(), torch.from_numpy(pixels), labels)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert 10 < expected < 80
    assert measured == pytest.approx(expected, abs=100 / 40 + 1e-9)  # one image may be at the very edge
    assert measured == measure(CPU, net, torch.from_numpy(pixels), labels)


def test_some_images_are_the_same_ones_for_every_run():
    seen = []

    class Kept(AutoAttack):
        def measure(self, runtime, net, pixels, labels):
            seen.append((pixels[:, 0, 0, 0].tolist(), labels.tolist()))
            return 0.0

    pixels, labels = torch.arange(100, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(100)
    for images in (7, 7, 100, 101):
        Kept(name="a", summary="a").limited(images)(CPU, nn.Identity(), pixels, labels)
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][1] == sorted(set(seen[0][0]))
    assert [len(rows) for rows, _ in seen] == [7, 7, 100, 100]


def test_names_say_what_may_not_be_compared():
    assert find_measure("autoattack") is MEASURES["autoattack"]
    assert MEASURES["autoattack"].settings() == {
        "is": "AutoAttack", "name": "autoattack", "images": None, "norm": "linf", "epsilon": 8.0, "seed": 0,
    }  # fmt: skip
    few = find_measure("autoattack-l2-127.5-on-1000")
    assert (few.norm, few.epsilon, few.images) == ("l2", 127.5, 1000)
    assert find_measure("autoattack").limited(1000) == find_measure("autoattack-on-1000")
    assert find_measure("autoattack-on-1000").limited(50) == find_measure("autoattack-on-50")
    names = [
        f"autoattack-{norm}-{epsilon}{end}" for norm, epsilon, end in product(("linf", "l1"), (4, 8), ("", "-on-9"))
    ]
    assert len({json.dumps(find_measure(name).settings()) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["auto", "autoattack-8", "autoattack-linf-0", "autoattack-l3-8", "autoattack-on-0"])
def test_an_unknown_measure_gets_one_line(name):
    with pytest.raises(UsageError, match=r"unknown measure .*: expected one of autoattack, autoattack-N-E for any"):
        find_measure(name)


def test_what_cannot_be_measured_is_said_before_the_training():
    with pytest.raises(UsageError, match="expected 4 or more classes, got 3"):
        MEASURES["autoattack"].check(3, (32, 32))
    with pytest.raises(UsageError, match="expected images of at least 5×5 pixels, got 4×9: take linf"):
        find_measure("autoattack-l2-9").check(10, (4, 9))
    MEASURES["autoattack"].check(10, (4, 9))
    with pytest.raises(UsageError, match="expected 1 or more images, got 0"):
        MEASURES["autoattack"].limited(0)


def test_a_limit_of_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="measure limit: there is nothing to measure"):
        cifar10_s.bench("nowhere", tmp_path / "r.jsonl", measure_limit=8)


def test_bench_measures_and_tables_show_it(release, tmp_path):
    file = tmp_path / "r.jsonl"
    bench = ["bench", str(release.folder), "-c", "clean", "--device", "cpu", "--records", str(file), "--json"]
    bench += ["--epochs", "1", "--allow-unverified"]
    measured = ["--measure", "autoattack-linf-255", "--measure-limit", "8"]
    plain, robust = (json.loads(CliRunner().invoke(app, [*bench, *more]).stdout) for more in ([], measured))
    assert robust["settings"] == plain["settings"] | {"measures": [find_measure("autoattack-linf-255-on-8").settings()]}
    assert robust["results"]["test_accuracy"] == plain["results"]["test_accuracy"]
    value = robust["results"]["measures"]["autoattack-linf-255-on-8"]
    assert value == 0  # within the whole range, no image is safe
    tables = ["tables", str(file), "-t", "grid", "--format", "json"]
    (cell,) = json.loads(CliRunner().invoke(app, [*tables, "--measure", "autoattack-linf-255-on-8"]).stdout)
    assert cell["mean"] == value
    (cell,) = json.loads(CliRunner().invoke(app, tables).stdout)  # one training is one value
    assert (cell["mean"], cell["n"]) == (plain["results"]["final"], 1)
    text = CliRunner().invoke(app, ["tables", str(file), "-t", "grid", "--measure", "autoattack-linf-255-on-8"]).stdout
    assert "Robust test accuracy" in text
    assert "robust accuracy under AutoAttack within ℓ∞ 255/255" in text
    assert CliRunner().invoke(app, [*tables, "--measure", "auto"]).exit_code != 0
