"""The benchmark: protocols, training, records, grids that resume after a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import learning_oracle
from support.images import learnable
from typer.testing import CliRunner

import cifar10_s
from cifar10_s.benchmark.evaluations import shuffle_perturbations
from cifar10_s.benchmark.grid import bench
from cifar10_s.benchmark.protocols import NETWORK_SETTINGS, PROTOCOLS, Protocol
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.last_layer import LastLayer
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run, accuracy, train
from cifar10_s.cli.app import app
from cifar10_s.common.records import RECORD_FIELDS, Records, run_id
from cifar10_s.errors import BuildError, SourceError, UsageError, VerificationError
from cifar10_s.nn.networks.registry import NETWORKS
from cifar10_s.nn.networks.small import SmallNet
from cifar10_s.nn.pgd import Adversary
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import DivergedError
from cifar10_s.release.reader import Release
from cifar10_s.shortcut.pixel_search import search

CPU = Runtime.on("cpu")
SHORT = Protocol(name="short-v1", network="small", epochs=2, batch=32, learning_rate=0.02, warmup=0.3)


@pytest.fixture
def short(monkeypatch):
    """Add a protocol that takes a second."""
    monkeypatch.setitem(PROTOCOLS, "short-v1", SHORT)


def record(seed=0, **changes):
    settings = {"seed": seed}
    empty = {field: {} for field in RECORD_FIELDS}
    return empty | {"id": run_id(settings), "settings": settings, "status": "done"} | changes


def test_the_paper_s_protocol():
    """Published: SGD 0.1, momentum 0.9, decay 5e-4, batch 128, 200 epochs, a tenth after 1/2 and 3/4."""
    protocol = PROTOCOLS["paper-v1"]
    numbers = {"epochs": 200, "batch": 128, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    assert protocol.settings().items() >= {**numbers, "network": "resnet-18", "optimizer": "sgd"}.items()
    rates = [protocol.learning_rate_at(done) for done in (0, 0.499, 0.5, 0.749, 0.75, 0.999)]
    assert np.allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_networks_with_numbers_of_their_own():
    """Published: 64 images per step for WRN-28-10; AdamW, 5e-4, decay 3e-2 for the compact transformers."""
    protocol = PROTOCOLS["paper-v1"]
    assert protocol.for_network("resnet-18") == protocol
    assert protocol.for_network("wrn-28-10") == replace(protocol, batch=64)
    for network in ("cct-7-3x1", "cvt-7-4"):
        own = replace(protocol, optimizer="adamw", learning_rate=5e-4, weight_decay=3e-2)
        assert protocol.for_network(network) == own


@pytest.mark.parametrize("name", ["quick-v1", "cpu-v1"])
def test_one_cycle_goes_up_once_and_down_to_nothing(name):
    protocol = PROTOCOLS[name]
    rates = [protocol.learning_rate_at(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(protocol.learning_rate)
    top = int(np.argmax(rates))
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert rates[-1] == pytest.approx(0)


def test_published_settings_never_change():
    """Run ids are hashes of these: a number that changes without a new version would orphan every record."""
    assert run_id(PROTOCOLS["cpu-v1"].settings()) == "94ce80e3381e32a4"
    assert run_id(PROTOCOLS["quick-v1"].settings()) == "5157c446c4410b2e"
    assert run_id(PROTOCOLS["paper-v1"].settings()) == "b4a8b0f1cde6a9e4"
    assert STRATEGIES["standard"].settings() == {"name": "standard", "draws": 1}
    assert STRATEGIES["at"].settings() == {
        "name": "at", "draws": 1, "adversary": {"is": "Adversary", "epsilon": 8.0, "step": 2.0, "steps": 10},
    }  # fmt: skip


def test_other_numbers_are_a_protocol_of_another_name():
    protocol = PROTOCOLS["cpu-v1"]
    assert protocol.customised() is protocol
    short = protocol.customised(epochs=10)
    assert (short.name, short.epochs, short.per_class) == ("custom-cpu-v1-epochs-10", 10, None)
    assert "per_class" not in short.settings()
    few = PROTOCOLS["smoke-v1"].customised(per_class=3)
    assert few.name == "custom-smoke-v1-limit-3"
    assert few.settings() == PROTOCOLS["smoke-v1"].settings() | {"name": few.name, "per_class": 3}
    with pytest.raises(UsageError, match="'custom-cpu-v1-epochs-0': epochs: expected a whole number from 1, got 0"):
        protocol.customised(epochs=0)
    # The numbers that a network has of its own stay.
    assert PROTOCOLS["paper-v1"].for_network("wrn-28-10").customised(epochs=1).batch == 64


def test_few_images_for_few_epochs_are_recorded_as_such(release, tmp_path):
    command = ["bench", str(release.folder), "-c", "clean", "-s", "dilution-30", "-s", "standard", "--device", "cpu"]
    command += ["--records", str(tmp_path / "r.jsonl"), "--json", "--allow-unverified"]
    done = CliRunner().invoke(app, [*command, "--epochs", "2", "--limit", "5"])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["settings"]["protocol"]["name"] for one in records} == {"custom-cpu-v1-epochs-2-limit-5"}
    # 50 images, of which one step of 50 is made.
    images, test = Release(release.folder).train("clean"), Release(release.folder).test()
    rows = [row for row in range(len(images)) if (images.labels[:row] == images.labels[row]).sum() < 5]
    protocol = replace(PROTOCOLS["cpu-v1"], epochs=2)
    epochs = list(train(Run(images.take(rows), test, protocol, STRATEGIES["standard"], "small", 0), CPU))
    assert records[1]["results"]["test_accuracy"] == [epoch["test_accuracy"] for epoch in epochs]
    too_few = CliRunner().invoke(app, [*command, "--limit", "2"])
    assert "dilution: expected at most the 20 images there are, got 30" in str(too_few.exception or too_few.output)


def a_run(strategy="standard", seed=0, protocol=SHORT):
    images = learnable(count=160)
    test = images.with_pixels(np.flip(images.pixels, axis=2).copy())
    return Run(images, test, protocol, STRATEGIES[strategy], protocol.network, seed)


@pytest.mark.parametrize("strategy", ["standard", "at"])
def test_a_run_learns_and_depends_on_its_seed_alone(strategy):
    first, again, other = (list(train(a_run(strategy, seed), CPU)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(first) == SHORT.epochs
    assert first[-1]["test_accuracy"] > 60
    assert ("robust_accuracy" in first[-1]) == (strategy == "at")
    assert all("robust_accuracy" not in epoch for epoch in first[:-1])


def test_layers_that_draw_draw_by_the_seed():
    """As dropout does: the same run twice, whatever the caller drew before; the caller's random state is restored."""
    protocol = replace(SHORT, network="cct-7-3x1", epochs=1, optimizer="adamw", learning_rate=0.001)
    few = learnable(count=40)
    run = Run(few, few, protocol, STRATEGIES["standard"], protocol.network, 0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = list(train(run, CPU))
    assert torch.equal(torch.rand(3), expected)
    assert list(train(run, CPU)) == first


def test_perturbations_are_shuffled_onto_other_images():
    images = learnable(count=60)
    shortcut = search(images, device="cpu")
    perturbed = shortcut.stamp(images)
    shuffled = shuffle_perturbations(perturbed, images, np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(60)
    for i in range(60):
        change = perturbed.pixels[i].astype(int) - images.pixels[i]
        assert np.array_equal(shuffled.pixels[i], np.clip(images.pixels[order[i]] + change, 0, 255))
    assert shuffled.labels is perturbed.labels


def test_networks_of_table_1_meet_the_images_of_table_1(release, tmp_path, short):
    done = bench(
        release.folder,
        tmp_path / "r.jsonl",
        configurations=["clean", "ops", "ops-2"],
        protocol="short-v1",
        device="cpu",
    )
    found = {r["settings"]["configuration"]: set(r["results"].get("evaluations", {})) for r in done}
    assert found == {"clean": {"clean", "ops", "ops-shuffled"}, "ops": {"clean", "ops", "ops-shuffled"}, "ops-2": set()}


def test_a_run_that_diverges_says_so():
    with pytest.raises(DivergedError, match="after epoch 1"):
        list(train(a_run(protocol=replace(SHORT, learning_rate=1e30)), CPU))


# Settings large enough to show in a few steps.
EXACT = Protocol(
    name="exact", network="tiny", epochs=2, batch=20, learning_rate=0.05, weight_decay=0.05, schedule="multistep",
    milestones=(0.3, 0.7),
)  # fmt: skip


def mixed(images, clean, random):
    """A random defence that needs the clean images."""
    return images.with_pixels(np.roll(images.pixels // 2 + clean.pixels // 2, random.integers(1, 5), axis=1))


def noised(levels, targets, random):
    """A random augmentation that changes targets too."""
    noise = torch.from_numpy(random.normal(0, 40, levels.shape).astype(np.float32))
    return (levels + noise).clamp(0, 255), 0.8 * targets + 0.2 * targets.roll(1, 1)


class Fits:
    """Makes a change of batches from all training images."""

    def fitted(self, images, random):
        mean = torch.from_numpy(images.pixels.mean((0, 1, 2)).astype(np.float32)) + float(random.integers(9))
        return lambda levels, targets, random: ((levels - mean).abs(), targets)


PLAIN = Strategy(name="plain", summary="")
ATTACKED = replace(PLAIN, adversary=Adversary(epsilon=20.0, step=9.0, steps=3))
ALL = replace(ATTACKED, prepare=mixed, needs_clean=True, augment=noised, draws=3)
ATTACKED_FIRST = replace(ATTACKED, attack_first=True, augment=noised)
REFIT = replace(PLAIN, refit=LastLayer(count=60, epochs=1, batch=30), needs_clean=True)


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        (PLAIN, {}),
        (PLAIN, {"schedule": "one-cycle", "warmup": 0.3, "batch": 7}),
        (PLAIN, {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 3.0}),
        (ATTACKED, {}),
        (ALL, {}),
        (ATTACKED_FIRST, {}),
        (replace(PLAIN, before=noised), {}),
        (replace(PLAIN, before=Fits()), {}),
        (REFIT, {}),
        (replace(ALL, before=Fits(), attack_first=True, refit=REFIT.refit), {}),
    ],
)
def test_a_run_written_out(strategy, changes, tiny):
    """Against a plain training loop: a measurement in the wrong mode, or without the attack, would differ."""
    images, test = learnable(count=80), learnable(count=100)
    clean = images.with_pixels(images.pixels[:, ::-1].copy())
    grain = np.random.default_rng(0).integers(-50, 50, test.pixels.shape)
    test = test.with_pixels((test.pixels + grain).clip(0, 255).astype(np.uint8))
    run = Run(images, test, replace(EXACT, **changes), strategy, "tiny", 0, clean, lambda: {"seen": images})
    expected = learning_oracle.train(run)
    for ours, theirs in zip(train(run, tiny), expected, strict=True):
        assert ours.pop("evaluations", None) == pytest.approx(theirs.pop("evaluations", None))
        # L-BFGS has conditions: what differs in the last bits can end up further apart.
        assert ours == pytest.approx(theirs, rel=1e-4 if strategy.refit is None else 0.02)


def test_an_attack_stays_within_its_bound_and_finds_worse():
    images = learnable(count=40)
    net = CPU.place(SmallNet(3, (8, 8), 4)).eval().requires_grad_(False)
    levels, labels = torch.from_numpy(images.pixels).float(), torch.from_numpy(images.labels)
    adversary = Adversary(epsilon=6.0, step=2.0, steps=5)
    start = adversary.random_start(levels, np.random.default_rng(0))
    assert start.abs().max() <= 6
    attacked = adversary.attack(CPU, net, levels, labels, torch.zeros_like(levels))
    assert (attacked - levels).abs().max() <= 6.01
    assert attacked.min() >= 0
    assert attacked.max() <= 255

    def loss(seen):
        return torch.nn.functional.cross_entropy(CPU.logits(net, seen), labels)

    assert loss(attacked) > loss(levels)


def test_accuracy_is_the_share_that_is_right():
    images = learnable(count=300)
    net = CPU.place(SmallNet(3, (8, 8), 4)).eval()
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    with torch.inference_mode():
        right = [int(CPU.logits(net, pixels[i : i + 1]).argmax()) == labels[i] for i in range(300)]
    # Rounding may decide a near tie otherwise.
    assert accuracy(CPU, net, pixels, labels) == pytest.approx(100 * np.mean(right), abs=1)


def test_ids_depend_on_settings_and_not_on_their_order():
    assert run_id({"a": 1, "b": [2, 3]}) == run_id({"b": [2, 3], "a": 1})
    assert len({run_id({"a": a, "b": b}) for a in (1, 2) for b in (None, "1")}) == 4


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, data):
    """As a killed process leaves it: whole lines are read, and the next record follows them."""
    path = tmp_path_factory.mktemp("cut") / "records.jsonl"
    records = Records(path)
    count = data.draw(st.integers(0, 4))
    for seed in range(count):
        records.append(record(seed, results={"text": "ü" * data.draw(st.integers(0, 3000))}))
    text = path.read_bytes() if count else b""
    cut = data.draw(st.integers(0, len(text)))
    path.write_bytes(text[:cut])
    # A line that lacks only its line break is whole.
    whole = text[:cut].count(b"\n") + (text[cut : cut + 1] == b"\n")
    assert [r["settings"]["seed"] for r in records.read()] == list(range(whole))
    records.append(record(99))
    assert [r["settings"]["seed"] for r in records.read()] == [*range(whole), 99]


@pytest.mark.parametrize("last", ["my notes", '[{"id": "a"}]', '{"id": "0123", "settings": {}}', '{"results": NaN'])
def test_a_last_line_that_nobody_cut_is_kept(tmp_path, last):
    """A killed process leaves the beginning of a record; anything else is of worth to somebody."""
    records = Records(tmp_path / "records.jsonl")
    records.append(record(0))
    with records.path.open("a") as file:
        file.write(last)
    before = records.path.read_bytes()
    for use in (records.read, lambda: records.append(record(1))):
        with pytest.raises(SourceError, match=r"records\.jsonl: its last line is not a record"):
            use()
    assert records.path.read_bytes() == before


def test_numbers_and_texts_that_json_lacks_are_no_records(tmp_path):
    path = tmp_path / "records.jsonl"
    endless = json.dumps(record(results={"x": 1})).replace('"x": 1', '"x": 1e999')
    not_a_number, half = record(results={"x": float("nan")}), record(environment={"device": "\ud800"})
    for text in (json.dumps(not_a_number), endless, json.dumps(half)):
        path.write_text(text + "\n")
        with pytest.raises(SourceError, match="line 1: is not a record"):
            Records(path).read()


def test_files_of_records_have_locks_of_their_own(tmp_path):
    one, two = (Records(tmp_path / f"results.host{number}") for number in (1, 2))
    with one.claimed("run") as first, two.claimed("run") as second, Records(one.path).claimed("run") as again:
        assert (first, second, again) == (True, True, False)


def test_records_are_not_written_into_a_release_or_a_device(release, tmp_path):
    with pytest.raises(UsageError, match="expected a path outside the release"):
        bench(release.folder, release.folder / "bench.jsonl", protocol="cpu-v1")
    (tmp_path / "null").symlink_to(os.devnull)
    os.mkfifo(tmp_path / "pipe")
    for name in ("null", "pipe"):
        with pytest.raises(UsageError, match="it is a device, pipe or socket"):
            bench(release.folder, tmp_path / name, protocol="cpu-v1")


@pytest.mark.parametrize(
    "settings", [{"epochs": 1.5}, {"learning_rate": float("nan")}, {"learning_rate": -1}, {"momentum": "x"}]
)
def test_numbers_of_own_protocols_are_checked(settings):
    with pytest.raises(UsageError, match=f"{next(iter(settings))}: expected a"):
        replace(SHORT, **settings)


def test_a_line_that_was_cut_is_reported(tmp_path, caplog):
    records = Records(tmp_path / "records.jsonl")
    records.append(record(0))
    assert not caplog.text
    with records.path.open("a") as file:
        file.write('{"id": "ab')
    said = "records.jsonl: the last line is truncated"
    reader = Records(records.path)
    assert [reader.read(), reader.read()] == [[record(0)]] * 2
    assert caplog.text.count(said) == 1
    records.append(record(1))
    assert caplog.text.count(said) == 2
    assert records.read() == [record(0), record(1)]
    assert caplog.text.count(said) == 2


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"id": 1}', json.dumps(record(0, id="0" * 16)), "[" * 100_000])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = tmp_path / "records.jsonl"
    Records(path).append(record(0))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError, match=r"records.jsonl, line 2: is not a record"):
        Records(path).read()


def test_a_claim_is_one_process_s(tmp_path):
    one, other = Records(tmp_path / "r.jsonl"), Records(tmp_path / "r.jsonl")
    with one.claimed("a") as mine, other.claimed("a") as theirs, other.claimed("b") as another:
        assert (mine, theirs, another) == (True, False, True)
    with other.claimed("a") as theirs:
        assert theirs


def test_a_grid_does_each_cell_once(release, tmp_path, short, monkeypatch):
    folder, path = release.folder, tmp_path / "r.jsonl"
    options = {"protocol": "short-v1", "device": "cpu"}
    first = bench(folder, path, configurations=["clean", "ops"], seeds=1, **options)
    assert [r["settings"]["configuration"] for r in first] == ["clean", "ops"]
    assert all(sorted(r.line) == sorted(RECORD_FIELDS) and r["status"] == "done" for r in first)
    environment = first[0]["environment"]
    assert environment["dataset_version"] == release.manifest.version
    assert environment["cifar10_s"] == cifar10_s.__version__
    assert environment["commit"] is None or re.fullmatch("[0-9a-f]{40}", environment["commit"])
    assert date.fromisoformat(environment["date"]).year >= 2026
    results = first[0]["results"]
    assert results["final"] == results["test_accuracy"][-1]
    assert results["peak"] == max(results["test_accuracy"])
    assert results["last_5_mean"] == pytest.approx(np.mean(results["test_accuracy"]))
    assert first[0]["settings"]["pixels_sha256"] == release.manifest.configurations["clean"].pixels_sha256
    started = []

    def seen(run, engine):
        started.append(run)
        return train(run, engine)

    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", seen)
    both = bench(folder, path, configurations=["ops"], seeds=2, **options)
    assert [run.seed for run in started] == [1]
    assert [r["settings"]["seed"] for r in both] == [0, 1]
    assert len(Records(path).read()) == 3


def test_a_grid_is_of_several_networks(release, tmp_path, monkeypatch):
    """Each with the settings that the protocol has for it."""
    monkeypatch.setitem(PROTOCOLS, "short-v1", replace(SHORT, epochs=1))
    monkeypatch.setitem(NETWORK_SETTINGS, ("short-v1", "lenet-5"), {"batch": 16})
    records, networks = tmp_path / "r.jsonl", ("lenet-5", "small")
    command = ["bench", str(release.folder), "-c", "ops-2", "--protocol", "short-v1", "--device", "cpu", "--json"]
    named = [word for network in networks for word in ("--network", network)]
    done = CliRunner().invoke(app, [*command, *named, "--records", str(records)])
    found = [record["settings"] for record in map(json.loads, done.stdout.splitlines())]
    assert [(one["network"], one["protocol"]["batch"]) for one in found] == [("lenet-5", 16), ("small", 32)]
    options = {"configurations": ["ops-2"], "protocol": "short-v1", "device": "cpu"}
    again = bench(release.folder, records, networks=networks, **options)
    assert [record.line for record in again] == Records(records).read()


@pytest.mark.parametrize("diverges", [False, True])
def test_progress_counts_an_epoch_as_what_it_costs(release, tmp_path, short, monkeypatch, diverges):
    """PGD-10 takes eleven passes where standard training takes one; UEraser-max draws five times."""
    shown = []

    def bar(description, total, unit):
        shown.append(total)
        return nullcontext(SimpleNamespace(update=shown.append, set_postfix_str=len))

    def epochs(run, engine):
        yield {"test_accuracy": 1.0, "train_accuracy": 1.0, "parameter_distance": 0.0}
        if diverges:
            raise DivergedError
        yield {"test_accuracy": 1.0, "train_accuracy": 1.0, "parameter_distance": 0.0}

    monkeypatch.setattr("cifar10_s.benchmark.grid.progress_bar", bar)
    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", epochs)
    options = {"configurations": ["ops"], "protocol": "short-v1", "device": "cpu", "allow_unverified": True}
    bench(release.folder, tmp_path / "r.jsonl", strategies=["standard", "at", "ueraser-max"], **options)
    assert shown == [2 * (1 + 11 + 5), 1, 1, 11, 11, 5, 5]


def test_what_another_process_ended_meanwhile_is_not_done_again(release, tmp_path, short, monkeypatch):
    """Between the look at the records and the claim."""
    options = {"configurations": ["ops-2"], "protocol": "short-v1", "networks": ["lenet-5"], "device": "cpu"}
    theirs = bench(release.folder, tmp_path / "theirs.jsonl", **options)
    ours, claimed = Records(tmp_path / "ours.jsonl"), Records.claimed

    @contextmanager
    def late(self, identity):
        ours.append(theirs[0].line)
        with claimed(self, identity) as mine:
            yield mine

    monkeypatch.setattr(Records, "claimed", late)
    assert bench(release.folder, ours.path, **options) == theirs
    assert ours.read() == [record.line for record in theirs]


def test_records_are_appended_one_at_a_time(tmp_path, monkeypatch):
    """Otherwise two processes could take each other's half-written line for a truncated one."""
    inside, met = threading.Lock(), []

    def slowly(file):
        met.append(not inside.acquire(blocking=False))
        time.sleep(0.1)
        if not met[-1]:
            inside.release()

    monkeypatch.setattr(os, "fsync", slowly)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda seed: Records(tmp_path / "r.jsonl").append(record(seed)), range(3)))
    assert met == [False] * 3
    assert len(Records(tmp_path / "r.jsonl").read()) == 3


def test_two_processes_share_a_grid(release, tmp_path):
    """Two processes at once: each run is executed by one of them, and neither waits for the other."""
    records, cells = Records(tmp_path / "r.jsonl"), ["ops-2", "ops-std", "random-pixel"]
    options = {"configurations": cells, "protocol": "short-v1", "networks": ["lenet-5"], "device": "cpu"}
    code = f"""
from cifar10_s import PROTOCOLS, bench
from cifar10_s.benchmark.protocols import Protocol
PROTOCOLS["short-v1"] = Protocol(**{replace(SHORT, epochs=1).settings()})
print("ready", flush=True)
input()
print(len(bench({str(release.folder)!r}, {str(records.path)!r}, **{options})))
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in "ab"]
    assert [process.stdout.readline() for process in processes] == ["ready\n", "ready\n"]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [int(process.communicate(timeout=300)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(r["settings"]["configuration"] for r in records.read()) == cells
    # The last one to end has seen the records of both.
    assert max(found) == len(cells)


def test_a_failed_run_is_recorded_and_the_grid_goes_on(release, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "wild-v1", replace(SHORT, name="wild-v1", learning_rate=1e30))
    done = bench(
        release.folder, tmp_path / "r.jsonl", configurations=["clean", "ops"], protocol="wild-v1", device="cpu"
    )
    assert [r["status"] for r in done] == ["failed", "failed"]
    assert "not finite" in done[0]["results"]["reason"]


@pytest.mark.parametrize(
    "records", ["", "folder", "file/bench.jsonl", "/proc/bench.jsonl", "/proc/x/bench.jsonl", "/dev/full/x"]
)
def test_a_place_for_no_record_is_refused_before_a_run(release, tmp_path, short, monkeypatch, records):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="records cannot be written there"):
        bench(release.folder, records, configurations=["ops"], protocol="short-v1", device="cpu")


def test_a_run_that_does_not_fit_is_not_recorded_and_the_grid_goes_on(release, tmp_path, short, monkeypatch):
    def too_large(run, engine):
        if run.seed == 0:
            raise torch.OutOfMemoryError
        return train(run, engine)

    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", too_large)
    records = tmp_path / "bench.jsonl"
    with pytest.raises(BuildError, match=r"1 of 2 runs did not fit .* \(small on ops, standard"):
        bench(release.folder, records, configurations=["ops"], seeds=2, protocol="short-v1", device="cpu")
    assert [record["settings"]["seed"] for record in Records(records).read()] == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configurations": ["nope"]}, "unknown configuration 'nope': expected one of clean, ops"),
        ({"strategies": ["nope"]}, "unknown strategy 'nope'"),
        ({"protocol": "nope"}, "unknown protocol 'nope': expected one of paper-v1"),
        ({"networks": ["small", "nope"]}, "unknown network 'nope'"),
        ({"seeds": 0}, "seeds: expected 1 to 1000, got 0"),
        ({"seeds": 10**20}, "seeds: expected 1 to 1000, got 1000"),
        ({"strategies": ["standard", "dilution-5000"]}, "expected at most the 1438 images there are, got 5000"),
        (
            {"networks": ["small", "of-large-images"]},
            "'of-large-images' needs images of at least 16×16 pixels, got 8×8",
        ),
    ],
)
def test_a_grid_of_what_is_not_there_is_refused(release, tmp_path, monkeypatch, options, message):
    monkeypatch.setitem(NETWORKS, "of-large-images", replace(NETWORKS["small"], min_side=16))
    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", lambda *_: pytest.fail("a run was begun"))
    with pytest.raises(UsageError, match=message):
        bench(release.folder, tmp_path / "r.jsonl", device="cpu", **options)
    assert not (tmp_path / "r.jsonl").exists()


def test_a_release_is_decoded_once(release, monkeypatch):
    released = Release(release.folder)
    first = released.train("ops")
    assert first.digest() == released.digest("ops")
    monkeypatch.setattr(Release, "_decode", lambda *_: pytest.fail("decoded again"))
    again = Release(release.folder).train("ops")
    assert np.array_equal(again.pixels, first.pixels)
    assert np.array_equal(again.labels, first.labels)


def test_a_broken_cache_is_not_believed(release):
    from cifar10_s.common.files import cache_folder

    released = Release(release.folder)
    first = released.train("ops")
    cached = cache_folder() / "images" / f"{released.digest('ops')}.npz"
    np.savez(cached, pixels=first.pixels[::-1], labels=first.labels)
    assert np.array_equal(released.train("ops").pixels, first.pixels)
    cached.write_bytes(cached.read_bytes()[:1000])
    assert np.array_equal(released.train("ops").pixels, first.pixels)


def test_images_that_are_not_the_manifest_s_are_refused(release, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(release.folder, folder)
    shutil.copy(*[folder / f"data/{name}/train-00000-of-00001.parquet" for name in ("clean", "ops")])
    with pytest.raises(SourceError, match=r"ops/train are not those of its manifest"):
        Release(folder).train("ops")


def test_a_folder_that_does_not_verify_is_refused_unless_told(release, tmp_path, short):
    folder, records = tmp_path / "digits", tmp_path / "bench.jsonl"
    shutil.copytree(release.folder, folder)
    (folder / "figures" / "ops.png").write_bytes(b"another picture")
    options = {"configurations": ["ops"], "protocol": "short-v1", "device": "cpu"}
    with pytest.raises(VerificationError, match=r"figures/ops.png[\s\S]*--allow-unverified"):
        bench(folder, records, **options)
    assert not records.exists()
    assert len(bench(folder, records, allow_unverified=True, **options)) == 1
    # Recorded runs need no images.
    assert len(bench(folder, records, **options)) == 1


def test_the_command_takes_so_many_seeds_and_no_more(release, capfd):
    from cifar10_s.cli.app import run

    for seeds in ("0", "9" * 20):
        assert run(["bench", str(release.folder), "--seeds", seeds, "--device", "cpu"]) == 2
        assert capfd.readouterr().err == f"cifar10-s: seeds: expected 1 to 1000, got {seeds}\n"


EPOCH = {"test_accuracy": 12.5, "train_accuracy": 99.0, "parameter_distance": 1.0}


def test_the_command_prints_each_run_as_it_ends(release, tmp_path, monkeypatch, capsys):
    from cifar10_s.cli.app import run

    printed = []

    def instant(of, engine):
        printed.append(capsys.readouterr().out.splitlines())
        yield EPOCH

    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", instant)
    grid = ["bench", str(release.folder), "-c", "clean", "-c", "ops", "--device", "cpu"]
    grid += ["--records", str(tmp_path / "r.jsonl")]
    assert run(grid) == 0
    first, second = (f"{name:20} standard     small     seed 0" for name in ("clean", "ops"))
    measured = "  test  12.5 %, peak  12.5 %"
    assert printed == [[], [first + measured]]
    assert capsys.readouterr().out.splitlines() == [second + measured]
    assert run([*grid, "--seeds", "2"]) == 0
    # Those that were there come last.
    lines = capsys.readouterr().out.splitlines()
    assert [line.removesuffix(measured)[-1] for line in lines] == ["1", "0", "0"]
    assert run([*grid, "--seeds", "2", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records == Records(tmp_path / "r.jsonl").read()


def test_runs_that_another_process_is_at_are_counted(release, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("cifar10_s.benchmark.outcome.train", lambda *_: iter([EPOCH]))
    options = {"configurations": ["clean", "ops"], "device": "cpu"}
    clean, ops = bench(release.folder, tmp_path / "theirs.jsonl", **options)
    assert not caplog.text
    with Records(tmp_path / "ours.jsonl").claimed(clean["id"]):
        ours = bench(release.folder, tmp_path / "ours.jsonl", **options)
    assert [record["id"] for record in ours] == [ops["id"]]
    assert "1 of 2 runs are being executed by another process that shares the records: run again" in caplog.text


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"source": {"title": "x"}}'])
def test_what_is_no_release_gets_a_line(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(SourceError, match="is not a release "):
        Release(tmp_path)


def test_a_release_without_a_test_split_has_none_to_measure_on(release, tmp_path):
    manifest = json.loads((release.folder / "manifest.json").read_text())
    del manifest["splits"]["test"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="has no test split"):
        bench(tmp_path, tmp_path.parent / "bench.jsonl", device="cpu")


def bench_command(release, records, cache):
    options = f"bench {release.folder} -c clean -c ops --records {records} --device cpu --json"
    code = "from cifar10_s.cli.app import main; main()"
    environment = {**os.environ, "CIFAR10_S_CACHE": str(cache)}
    return [sys.executable, "-c", code, *options.split()], environment


def test_a_grid_killed_with_kill_9_goes_on(release, tmp_path):
    """The unfinished run starts again, the finished one does not, and nothing is counted twice."""
    records = Records(tmp_path / "r.jsonl")
    command, environment = bench_command(release, records.path, tmp_path / "cache")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not records.read() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = records.read()
    assert [r["settings"]["configuration"] for r in before] == ["clean"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    after = records.read()
    assert after[0] == before[0]
    assert [r["settings"]["configuration"] for r in after] == ["clean", "ops"]
    assert [json.loads(line) for line in done.stdout.splitlines()] == after
    assert after[0]["results"]["final"] > 85
