"""A release from end to end: what is written, what `datasets` loads, and that no partial output remains."""

import gc
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from support.images import make_images
from support.options import on_cpu
from support.releases import BUILT
from support.sources import write_pictures
from support.synthetic_records import record

import cifar10_s
from cifar10_s.builder import order, pipeline
from cifar10_s.builder.noise_files import read_noise_files
from cifar10_s.builder.parquet_folder import write_folder
from cifar10_s.builder.write import write_metadata
from cifar10_s.cli.app import run
from cifar10_s.common.checksums import hash_folder, read_sums
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.splits import load_splits
from cifar10_s.errors import BuildError, UsageError, VerificationError
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.from_file import GivenNoise
from cifar10_s.methods.own import Origin
from cifar10_s.release.compose import check_fit
from cifar10_s.release.metrics.survey import Survey
from cifar10_s.release.recipes import CONFIGURATIONS, DATASET_VERSION, select, with_noise
from cifar10_s.report.page import page
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.survival import measure_survival


def test_no_images_are_kept_of_what_is_written(tmp_path, monkeypatch):
    """With 58 configurations of CIFAR-10, those that separability is measured on would take gigabytes."""
    alive = weakref.WeakSet()

    class Watched(Survey):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive.add(self)

    def last(*arguments):
        gc.collect()
        kept.append(len(alive))
        return write_metadata(*arguments)

    kept = []
    monkeypatch.setattr("cifar10_s.builder.write.Survey", Watched)
    monkeypatch.setattr("cifar10_s.builder.write.write_metadata", last)
    cifar10_s.build("sample", tmp_path / "digits-s", name="digits-s", configurations=["ops", "lsp"], device="cpu")
    assert kept == [0]


def load(folder, configuration=None, **options):
    return datasets.load_dataset(str(folder), configuration, **options)


def pixels_of(split):
    pixels = np.stack([np.asarray(image) for image in split["img"]])
    return pixels if pixels.ndim == 4 else pixels[..., None]


@pytest.mark.parametrize("configuration", BUILT)
def test_stock_datasets_loads_what_the_recipe_makes(release, sample, configuration):
    loaded = load(release.folder, configuration)
    assert loaded["train"].features["label"].names == list(sample.class_names)
    assert loaded["train"]["label"] == sample.labels.tolist()
    record = json.loads((release.folder / f"recipes/{configuration}.json").read_text())
    method = CONFIGURATIONS[configuration].method
    expected = sample.pixels.copy() if method is None else method.perturb(sample, on_cpu())
    if record["shortcut"]:
        for label, entry in enumerate(record["shortcut"]["classes"]):
            assert len(entry["pixels"]) == CONFIGURATIONS[configuration].pixels
            for pixel in entry["pixels"]:
                expected[sample.labels == label, pixel["row"], pixel["column"]] = pixel["color"]
    assert np.array_equal(pixels_of(loaded["train"]), expected)
    assert np.array_equal(pixels_of(loaded["test"]), cifar10_s.load_images("sample", split="test").pixels)


def test_noise_is_made_once_for_all_configurations_of_a_method(tmp_path, monkeypatch):
    """Also if others are listed between them; the release keeps the order of the table."""
    lsp, made = CONFIGURATIONS["lsp"].method, []
    transform = type(lsp).transform

    def counted(method, images, options):
        made.append(method.name)
        return transform(method, images, options)

    monkeypatch.setattr(type(lsp), "transform", counted)
    names = ["clean", "lsp", "lsp-ops", "random-samplewise", "lsp-ops-spread-2"]
    chosen = cifar10_s.Choices(limit=30)
    built = cifar10_s.build("sample", tmp_path / "x", choices=chosen, configurations=names, device="cpu")
    assert made == ["lsp"]
    assert list(built.manifest.configurations) == names


def test_all_leaves_out_what_does_not_fit_and_says_so(caplog):
    images, recipes = make_images(height=8, width=8, classes=4), select(["all"])
    fitting = pipeline._that_fit(recipes, images, ["all"])
    left_out = [recipe.name for recipe in recipes if recipe not in fitting]
    assert left_out == [name for name in CONFIGURATIONS if "ops-patches-" in name]
    for number, line in zip("24", caplog.messages, strict=True):
        of_number = [name for name in left_out if name.endswith(number)]
        assert line.startswith(f"all: leaves out {', '.join(of_number)}: images of 8×8 have no room")
    # What is asked for by its name is not left out.
    named = select(["ops-patches-2", "lsp-ops-patches-2"])
    own = replace(named[2], name="own", origin=Origin("mine:Own", "0" * 64))
    assert pipeline._that_fit([*named[:2], own], images, ["all", "ops-patches-2", "mine:Own"]) == [*named[:2], own]
    assert pipeline._that_fit(recipes, make_images(height=32, width=32, classes=4), ["all"]) == recipes


@pytest.mark.parametrize(
    ("images", "methods", "reason"),
    [
        (make_images(height=32, width=32, classes=5), ["sep"], "sep: with 5 classes, its target"),
        (make_images(height=32, width=32, classes=3), ["dune"], "dune: with 3 classes, its target"),
    ],
)
def test_all_leaves_out_methods_that_do_not_fit(images, methods, reason, caplog):
    """Before the others are computed, which takes days."""
    recipes = select(["all"])
    fitting = pipeline._that_fit(recipes, images, ["all"])
    left_out = [recipe.name for recipe in recipes if recipe not in fitting]
    assert left_out == [recipe.name for recipe in recipes if recipe.method and recipe.method.name in methods]
    assert caplog.text.count(f"all: leaves out {', '.join(left_out)}: {reason}") == 1


def test_what_does_not_fit_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(ErrorMinimizing, "noise", lambda *args: pytest.fail("computed"))
    chosen = cifar10_s.Choices(classes=["0", "1", "2", "3", "4"], limit=5)
    with pytest.raises(UsageError, match="sep: with 5 classes, its target"):
        cifar10_s.build("sample", tmp_path / "x", choices=chosen, configurations=["em", "sep"], device="cpu", yes=True)
    with pytest.raises(UsageError, match="sep: with 5 classes, its target"):
        cifar10_s.load("sep", source="sample", choices=chosen, device="cpu", yes=True, cache_dir=tmp_path)
    with pytest.raises(UsageError, match=r"em: network 'resnet-18' needs .*; try its reduced recipe"):
        check_fit(CONFIGURATIONS["em"], make_images(height=7, width=9))


def test_configurations_may_be_named_by_a_generator(tmp_path):
    noise = tmp_path / "lsp.npy"
    np.save(noise, np.ones((1438, 8, 8, 1), np.int8))
    asked = (name for name in ["lsp"])
    built = cifar10_s.build("sample", tmp_path / "x", configurations=asked, noise={"lsp": noise}, device="cpu")
    assert list(built.manifest.configurations) == ["clean", "lsp"]


def test_the_card_says_what_augmentation_leaves_of_the_pixels(release):
    card = (release.folder / "README.md").read_text()
    for name in BUILT:
        record = json.loads((release.folder / f"recipes/{name}.json").read_text())["shortcut"]
        if record is None:
            assert f"| `{name}` |" not in card.split("### What augmentation leaves")[1].split("\n## ")[0]
            continue
        left = measure_survival(Shortcut.from_dict(record), (8, 8)).values()
        cells = " | ".join(f"{100 * one.lost_share:.1f}, {100 * one.accuracy:.1f}" for one in left)
        assert f"\n| `{name}` | {cells} |\n" in card


def test_the_default_streams_and_passes_the_librarys_own_checks(release, sample, tmp_path):
    first = next(iter(load(release.folder, split="train", streaming=True)))
    shortcut = Shortcut.from_dict(json.loads((release.folder / "recipes/ops.json").read_text())["shortcut"])
    assert np.array_equal(np.asarray(first["img"])[..., None], shortcut.stamp(sample).pixels[0])
    # In a cache of its own: versions before 5 compare checksums with those of an earlier load, which has none.
    checked = load(release.folder, "ops-2", verification_mode="all_checks", cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in checked.items()} == {"train": 1438, "test": 359}


def test_sha256sum_agrees(release):
    done = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=release.folder, capture_output=True)
    assert done.returncode == 0
    assert not done.stderr


def test_what_is_not_cifar10_says_so(release):
    card = (release.folder / "README.md").read_text()
    assert "This is not CIFAR-10-S" in card
    assert "# One-Pixel Shortcut on scikit-learn's handwritten digits\n" in card
    assert release.manifest.source.is_cifar10 is False
    assert "{{" not in card
    assert "{%" not in card


def test_every_picture_shows_its_pixels(release, sample):
    """In the gallery's first row, the perturbed panel differs from the clean one only where the recipe says."""
    from cifar10_s.report import figures

    record = json.loads((release.folder / "recipes/ops-2.json").read_text())
    gallery = np.asarray(Image.open(release.folder / "figures/ops-2.png"))
    top, left, size = figures.HEADER_HEIGHT, figures.LABEL_WIDTH, 128
    panels = [gallery[top : top + size, left + i * (size + figures.PANEL_GAP_PIXELS) :][:, :size] for i in range(3)]
    changed = (panels[0] != panels[1]).any(-1).reshape(8, 16, 8, 16).any((1, 3))
    centres = (panels[2] != 128).any(-1)[8::16, 8::16]
    expected = [(pixel["row"], pixel["column"]) for pixel in record["shortcut"]["classes"][0]["pixels"]]
    assert sorted(map(tuple, np.argwhere(changed).tolist())) == sorted(expected)
    assert np.array_equal(changed, centres)


def test_two_builds_are_the_same_bytes(release, tmp_path):
    options = {"name": "digits-s", "configurations": BUILT, "device": "cpu"}
    again = cifar10_s.build("sample", tmp_path / "elsewhere" / "again", **options)
    assert read_sums(again.folder) == read_sums(release.folder)


def test_building_again_changes_nothing_and_something_else_is_refused(tmp_path):
    folder = tmp_path / "digits"
    build = lambda **options: cifar10_s.build("sample", folder, device="cpu", **options)  # noqa: E731
    build(configurations=["ops"])
    before, times = hash_folder(folder), [file.stat().st_mtime_ns for file in folder.rglob("*")]
    assert list(build(configurations=["ops"]).manifest.configurations) == ["clean", "ops"]
    assert times == [file.stat().st_mtime_ns for file in folder.rglob("*")]
    with pytest.raises(UsageError, match="holds something other than this build"):
        build(configurations=["ops-2"])
    assert hash_folder(folder) == before
    build(configurations=["ops-2"], overwrite=True)
    assert list(cifar10_s.verify(folder).manifest.configurations) == ["clean", "ops-2"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("what", ["a folder", "a file"])
def test_what_is_not_a_release_is_never_overwritten_unasked(tmp_path, what):
    output = tmp_path / "precious"
    if what == "a folder":
        output.mkdir()
        (output / "thesis.tex").write_text("years of work")
    else:
        output.write_text("years of work")
    with pytest.raises(UsageError, match="--overwrite"):
        cifar10_s.build("sample", output, device="cpu")
    assert (output / "thesis.tex" if what == "a folder" else output).read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_overwrite_does_not_remove_the_current_folder(tmp_path, monkeypatch):
    """An empty variable, as in `--output "$OUT"`, is the current folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("precious")
    monkeypatch.chdir(tmp_path / "work")
    for output in (".", "", tmp_path):
        with pytest.raises(UsageError, match="is the current folder, or holds it"):
            cifar10_s.build("sample", output, name="x", configurations=["ops"], overwrite=True, device="cpu")


def test_nothing_is_written_into_a_release(release, tmp_path):
    """It would no longer verify."""
    inside = release.folder / "more"
    (tmp_path / "bench.jsonl").write_text(
        json.dumps(record("clean", seed=0, network="small", source="x", pixels="0" * 64, test="1" * 64)) + "\n"
    )
    report = cifar10_s.Report.read(tmp_path / "bench.jsonl")
    for write in (
        lambda: cifar10_s.build("sample", inside, name="x", configurations=["ops"], device="cpu"),
        lambda: page.write(release.folder, inside),
        lambda: report.plot(inside),
        lambda: write_folder(cifar10_s.load_images("sample"), inside, on_cpu()),
    ):
        with pytest.raises(UsageError, match="expected a path outside the release"):
            write()
    assert run(["audit", str(release.folder), "-c", "ops-2", "--figures", str(inside)]) == 2
    assert not inside.exists()


def test_overwrite_does_not_remove_records_that_are_read(tmp_path, release):
    (tmp_path / "out").mkdir()
    line = record("clean", seed=0, network="small", source="x", pixels="0" * 64, test="1" * 64)
    (tmp_path / "out" / "bench.jsonl").write_text(json.dumps(line) + "\n")
    options = {"name": "x", "configurations": ["ops"], "records": [tmp_path / "out" / "bench.jsonl"], "device": "cpu"}
    with pytest.raises(UsageError, match=r"bench\.jsonl: is read for this build"):
        cifar10_s.build("sample", tmp_path / "out", overwrite=True, **options)


def test_a_cached_configuration_has_the_present_class_names(tmp_path):
    pixels, labels = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3), np.array([0, 0, 1, 1])
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "0.pixels.npy", pixels)
    np.save(tmp_path / "a" / "0.labels.npy", labels)
    for names in (["cat", "dog"], ["aardvark", "zebra"]):
        (tmp_path / "a" / "classes.txt").write_text("\n".join(names))
        loaded = cifar10_s.load("ops", source=tmp_path / "a", cache_dir=str(tmp_path / "cache"), device="cpu")
        assert loaded["train"].features["label"].names == names


@pytest.mark.parametrize("output", ["photos", "photos/train", "link", "photos/../photos"])
def test_what_is_read_is_never_overwritten(tmp_path, monkeypatch, output):
    """`--overwrite` replaces the whole folder, and the images may have no copy."""
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("photos/train"), make_images(seed=1, count=8))
    Path("link").symlink_to("photos")
    before = hash_folder(tmp_path / "photos")
    options = {"name": "x", "configurations": ["ops"], "overwrite": True, "device": "cpu"}
    with pytest.raises(UsageError, match="photos/train: is read for this build, and --overwrite would remove it"):
        cifar10_s.build("photos/train", output, **options)
    assert hash_folder(tmp_path / "photos") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "photos"]


def test_a_description_that_is_read_is_never_overwritten(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "about.yaml").write_text("title: Digits\n")
    options = {"name": "x", "configurations": ["ops"], "about": output / "about.yaml", "overwrite": True}
    with pytest.raises(UsageError, match=r"about\.yaml: is read for this build"):
        cifar10_s.build("sample", output, device="cpu", **options)
    assert [path.name for path in output.iterdir()] == ["about.yaml"]


def test_noise_that_is_read_is_never_overwritten(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    np.save(output / "em.npy", np.ones((10, 8, 8, 1), np.int8))
    options = {"configurations": ["em-ops"], "noise": {"em": output / "em.npy"}, "overwrite": True, "device": "cpu"}
    with pytest.raises(UsageError, match=r"em\.npy: is read for this build"):
        cifar10_s.build("sample", output, **options)
    assert [path.name for path in output.iterdir()] == ["em.npy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"configurations": ["ops", "opps"]},
            r"unknown configuration 'opps' \(did you mean ops\?\): expected one of clean, ops",
        ),
        ({"configurations": []}, "no configuration is named"),
        ({"device": "abacus"}, "device 'abacus'"),
        ({"name": "a/b"}, "name"),
        ({"max_shard_size": "large"}, "max_shard_size"),
    ],
)
def test_wrong_use_writes_nothing(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        cifar10_s.build("sample", tmp_path / "out", **{"device": "cpu", **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError("bug")])
@pytest.mark.parametrize("step", ["write_release", "verify_folder", "_put_in_place"])
def test_a_build_that_fails_leaves_the_old_folder(tmp_path, monkeypatch, step, error):
    folder = tmp_path / "digits"
    cifar10_s.build("sample", folder, device="cpu", configurations=["ops"])
    before = hash_folder(folder)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(order, step, fail)
    expected = BuildError if isinstance(error, OSError) else error if isinstance(error, type) else type(error)
    with pytest.raises(expected):
        cifar10_s.build("sample", folder, device="cpu", configurations=["ops-3"], overwrite=True)
    assert hash_folder(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_full_disk_gets_a_line_and_leaves_nothing(tmp_path):
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    build = "import sys; from cifar10_s.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", build, "build", "--source", "sample", "-c", "ops", "--device", "cpu", "--name", "out"],
        cwd=tmp_path, capture_output=True, text=True, preexec_fn=no_large_files,
        env={**os.environ, "HF_DATASETS_CACHE": str(tmp_path.parent / "cache"), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "out: could not be written" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.0, 0.4, 1.0])
def test_a_signal_leaves_nothing(tmp_path, delay, number):
    """Interrupted while writing, a build exits with status 128 plus the signal, one line and no folder."""
    code = "import sys; from cifar10_s.cli.app import main; main()"
    fitting = pipeline._that_fit(select(["all"]), make_images(height=8, width=8, classes=4), ["all"])
    quick = [word for recipe in fitting if recipe.budget is None for word in ("-c", recipe.name)]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "build", "--source", "sample", "--device", "cpu", "--name", "out", *quick],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # Ctrl-C is ignored if the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the build was over before it was interrupted")
    assert process.returncode == 128 + number
    assert errors == "cifar10-s: interrupted; no partial output is left; run the same command again to continue\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["a finaliser", "what catches everything", "a cleanup"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost(number, where):
    """Python drops what is raised in a finaliser, and some libraries all that is raised while they are imported.

    A cleanup that takes longer than the signal's patience is left alone.
    """
    code = (
        "import os, sys, time\n"
        "from cifar10_s.cli import app as cli\n"
        f"def kill(): os.kill(os.getpid(), {number:d}); time.sleep(0.1)\n"
        "class Lock:\n"
        "    def __del__(self): kill()\n"
        "def app(arguments):\n"
        f"    if {where!r} == 'a finaliser': Lock()\n"
        f"    if {where!r} == 'what catches everything':\n"
        "        try: kill()\n"
        "        except: pass\n"
        f"    if {where!r} == 'a cleanup':\n"
        "        try: kill()\n"
        "        finally: time.sleep(1.5); print('clean')\n"
        "    time.sleep(30)\n"
        "cli.app = app\n"
        "cli.main()\n"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert time.monotonic() - begun < 30
    assert "Exception ignored" not in done.stderr
    assert (done.stdout == "clean\n") == (where == "a cleanup")
    if number == signal.SIGTERM:
        assert (done.returncode, done.stderr.count("\n")) == (128 + number, 1)
    else:
        assert done.returncode in (130, -number)


def test_what_appears_during_a_build_is_not_overwritten(tmp_path, monkeypatch):
    output = tmp_path / "digits"
    write_release = order.write_release

    def meanwhile(*arguments, **options):
        write_release(*arguments, **options)
        output.mkdir()
        (output / "thesis.tex").write_text("years of work")

    monkeypatch.setattr(order, "write_release", meanwhile)
    with pytest.raises(UsageError, match="holds something other"):
        cifar10_s.build("sample", output, configurations=["ops"], device="cpu")
    assert (output / "thesis.tex").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("given", [".", "../here", "link"])
def test_the_folder_itself_is_written_however_it_is_called(tmp_path, monkeypatch, given):
    here = tmp_path / "here"
    (here / "target").mkdir(parents=True)
    monkeypatch.chdir(here)
    if given == "link":
        (here / "link").symlink_to("target")
    else:
        (here / "target").rmdir()
    release = cifar10_s.build("sample", given, configurations=["ops"], device="cpu")
    assert release.folder == Path(given)
    where = here / "target" if given == "link" else here
    assert (where / "SHA256SUMS").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"here"}


def test_a_class_without_images_gets_its_own_line(tmp_path):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    (tmp_path / "source").mkdir()
    table = {"img": [Image.new("RGB", (4, 4))], "label": [0]}
    datasets.Dataset.from_dict(table, features=features).to_parquet(tmp_path / "source" / "train.parquet")
    with pytest.raises(UsageError, match=r"class 1 \(b\) has no images"):
        cifar10_s.build(tmp_path / "source", tmp_path / "out", device="cpu", configurations=["ops"])
    with pytest.raises(UsageError, match=r"class 1 \(b\) has no images"):
        cifar10_s.load("ops", source=tmp_path / "source", device="cpu", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "out").exists()


def test_names_that_are_markup_stay_names(tmp_path):
    names = ["p|pe", "<b>bold</b>", "*star* `tick` $x$ [l](u)", "naïve 日本", "it's"]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    source = tmp_path / "so  |urce # `x`"
    source.mkdir()
    table = {"img": [Image.new("RGB", (4, 4), (k, k, k)) for k in range(5)], "label": list(range(5))}
    datasets.Dataset.from_dict(table, features=features).to_parquet(source / "train.parquet")
    release = cifar10_s.build(source, tmp_path / "out", configurations=["ops"], device="cpu")
    assert load(release.folder, "ops")["train"].features["label"].names == names
    card = (release.folder / "README.md").read_text().split("\n---\n", 1)[1]
    assert "<b>" not in card
    assert "p|pe" not in card
    # The row of the field `label`, and those of the shortcut's pixels.
    assert {line.count("|") for line in card.splitlines() if "bold" in line} == {3, 4}


def test_the_card_has_the_manifests_measures(release):
    card = (release.folder / "README.md").read_text()
    table = card.split("### How much is changed")[1].split("\n### ")[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("| `")]
    rows = {row[1].split("`")[1]: row for row in cells}
    assert rows["clean"][2:8] == ["0", "0.00", "0", "—", "1.0000 (1.0000)", "—"]
    entry = release.manifest.configurations["lsp"]
    found, accuracy = entry.perceptibility, entry.separability.accuracy
    assert rows["lsp"][2:8] == [
        f"{found.l0_mean:.4g}",
        f"{found.l2_mean:.2f}",
        str(found.linf_max),
        f"{found.psnr_mean:.1f} ({found.psnr_min:.1f})",
        f"{found.ssim_mean:.4f} ({found.ssim_min:.4f})",
        f"{accuracy:.1f}",
    ]


def test_the_cards_example_runs(release, monkeypatch):
    card = (release.folder / "README.md").read_text()
    example, arrays = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert f'on the Hub "<namespace>/{release.folder.name}", where revision="v{DATASET_VERSION}" pins' in example
    monkeypatch.chdir(release.folder.parent)
    names = {}
    exec(example, names)
    assert set(names["poisoned"]["train"].column_names) == {"img", "label"}
    assert names["poisoned"]["test"]["label"] == names["clean"]["test"]["label"]
    assert names["poisoned"]["train"][0]["img"] != names["clean"]["train"][0]["img"]
    exec(arrays, names)
    pixels, labels = names["pixels"], names["labels"]
    assert f"np.empty((len(files), {', '.join(map(str, pixels.shape[1:]))}), np.uint8)" in arrays
    images = cifar10_s.LabeledImages(pixels[..., None], labels, release.manifest.classes)
    assert images.digest() == release.manifest.pixels["ops"]


def test_the_card_has_the_sections_that_the_hub_asks_for(release):
    body = (release.folder / "README.md").read_text().split("\n---\n", 1)[1]
    headings = re.findall(r"^##+ (.*)$", body, re.MULTILINE)
    expected = [
        "Uses", "Direct use", "Out-of-scope use", "Dataset structure", "How much is changed", "Dataset creation",
        "Curation rationale", "Source data", "Annotations", "Changes to the images", "Checks",
        "Bias, risks and limitations", "Ethics", "Personal and sensitive information", "Citation", "Glossary",
        "Maintenance and contact",
    ]  # fmt: skip
    assert [heading for heading in headings if heading in expected] == expected
    # None of them is empty.
    assert not re.search(r"^(##+) .*\n\s*(?=\1 |\Z)", body, re.MULTILINE)


def test_a_card_speaks_only_of_what_is_there(tmp_path):
    release = cifar10_s.build("sample", tmp_path / "out", configurations=["clean"], device="cpu")
    card = (release.folder / "README.md").read_text()
    assert "poisoned =" not in card
    assert "ops-std" not in card
    assert "Where the search looks" not in card
    assert "Control" not in card
    assert "separability** was not measured" in card


def test_own_images_of_any_size(tmp_path):
    """Colour images that are not square, in one folder per class, without a test split."""
    images = make_images(count=30, height=20, width=35, classes=3)
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
        folder = tmp_path / "pets" / f"kind | `{label}`"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
    release = cifar10_s.build(tmp_path / "pets", tmp_path / "pets-s", configurations=["ops"], device="cpu")
    assert release.manifest.shape == (20, 35, 3)
    assert release.manifest.title == "One-Pixel Shortcut on “pets”"
    loaded = load(release.folder, "ops")
    assert list(loaded) == ["train"]
    assert len(loaded["train"]) == 30
    different = (pixels_of(loaded["train"]) != pixels_of(load(release.folder, "clean")["train"])).any(-1)
    assert set(different.sum((1, 2)).tolist()) <= {0, 1}


def test_small_shards(sample, tmp_path):
    release = cifar10_s.build(
        "sample", tmp_path / "digits", configurations=["ops"], device="cpu", max_shard_size="50KB"
    )
    shards = sorted(file.name for file in (release.folder / "data/ops").iterdir())
    assert shards == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert load(release.folder, "ops")["train"]["label"] == sample.labels.tolist()


def test_load_makes_a_configuration_once(sample, tmp_path, monkeypatch):
    options = {"source": "sample", "device": "cpu", "cache_dir": tmp_path}
    loaded = cifar10_s.load("ops", **options)
    assert isinstance(loaded, datasets.DatasetDict)
    assert np.array_equal(pixels_of(loaded["train"]), cifar10_s.search(sample, device="cpu").stamp(sample).pixels)
    monkeypatch.setattr("cifar10_s.builder.dataset_builder.compose", None)
    assert cifar10_s.load("ops", **options)["train"]["label"] == sample.labels.tolist()
    monkeypatch.undo()
    one, two = (cifar10_s.load("random-pixel", seed=seed, **options)["train"] for seed in (1, 2))
    assert not np.array_equal(pixels_of(one), pixels_of(two))
    with pytest.raises(UsageError, match="unknown configuration 'opps'"):
        cifar10_s.load("opps", **options)


@pytest.mark.data
def test_cifar10_jpeg_copy_end_to_end(jpeg_copy, tmp_path):
    """All 50,000 training images differ from the clean ones in exactly the one pixel."""
    folder = tmp_path / "cifar10-s"
    release = cifar10_s.build(jpeg_copy, folder, configurations=["ops"], device="cpu")
    assert release.images == 110_000 + 50_000
    clean = cifar10_s.load_images(jpeg_copy)
    loaded = load(folder, "ops", cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 50_000, "test": 10_000}
    different = (pixels_of(loaded["train"]) != clean.pixels).any(-1)
    assert np.all(different.sum((1, 2)) == 1)
    shortcut = Shortcut.from_dict(json.loads((folder / "recipes/ops.json").read_text())["shortcut"])
    where = np.argwhere(different)
    assert np.array_equal(where[:, 1:], shortcut.positions[clean.labels, 0])
    shutil.rmtree(folder)
    assert Path(tmp_path).exists()


@pytest.mark.data
def test_what_is_checked_is_called_cifar10_s(jpeg_copy, short_archive, tmp_path, monkeypatch):
    """The known originals, completed by the JPEG copy, pass the check, as all of CIFAR-10 would."""
    splits = {}
    for split, images in load_splits(jpeg_copy).items():
        originals = cifar10_s.load_images(short_archive, split=split, allow_unverified=True).pixels
        images.pixels[np.arange(len(images)) % 10_000 < 1_000] = originals
        provenance = Provenance("archive", "cifar-10-python.tar.gz", claims_cifar10=True, check="a test")
        splits[split] = replace(images, provenance=provenance)
    monkeypatch.setattr(pipeline, "open_splits", lambda *_, **__: splits)
    release = cifar10_s.build("x", tmp_path / "cifar10-s", configurations=["ops"], device="cpu")
    assert release.manifest.title == "CIFAR-10-S"
    assert "This is not CIFAR-10-S" not in (release.folder / "README.md").read_text()
    splits["test"].pixels[0] ^= 1
    with pytest.raises(VerificationError, match="the test split is declared to be CIFAR-10, and is not: "):
        cifar10_s.build("x", tmp_path / "forged", configurations=["ops"], device="cpu")
    assert not (tmp_path / "forged").exists()


@pytest.mark.parametrize("kind", ["sample-wise", "class-wise"])
def test_noise_from_a_file_takes_a_method_s_place(sample, tmp_path, caplog, kind):
    """It is recorded as noise from a file, verified, and stamped over by the exact pixel of OPS."""
    random = np.random.default_rng(0)
    rows = len(sample) if kind == "sample-wise" else 10
    noise = random.integers(-8, 9, (rows, 8, 8, 1), dtype=np.int8)
    np.save(tmp_path / "mine.npy", noise)
    folder = tmp_path / "out"
    options = {"name": "x", "configurations": ["em-ops"], "device": "cpu", "noise": {"em": tmp_path / "mine.npy"}}
    cifar10_s.build("sample", folder, **options)
    record = json.loads((folder / "recipes/em-ops.json").read_text())["recipe"]["method"]
    digest = hashlib.sha256((tmp_path / "mine.npy").read_bytes()).hexdigest()
    assert record == {"name": "em", "file": "mine.npy", "sha256": digest, "kind": kind}
    expected = sample.pixels + noise[np.arange(len(sample)) if kind == "sample-wise" else sample.labels].astype(int)
    expected = cifar10_s.search(sample, device="cpu").stamp(
        sample.with_pixels(np.clip(expected, 0, 255).astype(np.uint8))
    )
    loaded = datasets.load_dataset(str(folder), "em-ops", split="train", cache_dir=str(tmp_path / "cache"))
    got = np.stack([np.asarray(image) for image in loaded["img"]])[..., None]
    assert np.array_equal(got, expected.pixels)
    texts = {name: (folder / name).read_text() for name in ("README.md", "manifest.json", "croissant.json")}
    words = {"sample-wise": "one per image", "class-wise": "one per class"}
    for text in texts.values():
        assert "noise from a file" in text
        assert [name for name in words if words[name] in text] == [kind]
    assert ("holds one noise per class, unlike em's own" in caplog.text) == (kind == "class-wise")
    # The same build is recognised, and one with other noise is refused.
    cifar10_s.build("sample", folder, **options)
    np.save(tmp_path / "mine.npy", -noise)
    with pytest.raises(UsageError, match="holds something other"):
        cifar10_s.build("sample", folder, **options)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_noise_in_another_order_is_told_of(sample, tmp_path, caplog, is_sorted):
    patterns = np.random.default_rng(0).integers(-8, 9, (10, 8, 8, 1), dtype=np.int8)
    np.save(tmp_path / "em.npy", patterns[np.sort(sample.labels) if is_sorted else sample.labels])
    read_noise_files({"em": tmp_path / "em.npy"}, [CONFIGURATIONS["em"]], sample)
    assert ("it was made for another order" in caplog.text) == is_sorted


@pytest.mark.parametrize("name", [name for name, recipe in CONFIGURATIONS.items() if recipe.method])
def test_a_summary_says_of_which_kind_noise_from_a_file_is(name):
    recipe = CONFIGURATIONS[name]
    for kind, right, wrong in (
        ("sample-wise", "one per image", "one per class"),
        ("class-wise", "one per class", "one per image"),
    ):
        given = GivenNoise.of(recipe.method, file="x.npy", sha256="0" * 64, kind=kind)
        summary = with_noise(recipe, given).summary
        assert wrong not in summary
        # What says nothing of it is one per image.
        assert summary.count(right) == (kind == "class-wise" or "one per" in recipe.summary)
        assert "; noise from a file" in summary


def test_where_no_folder_can_be_renamed_to_is_told_before_anything_is_read(tmp_path, monkeypatch):
    output = tmp_path / "a" / "out"
    output.mkdir(parents=True)
    build = partial(cifar10_s.build, "nowhere", name="x", configurations=["ops"])
    monkeypatch.setattr(Path, "is_mount", lambda path: path == output)
    with pytest.raises(UsageError, match=f"out: is where a disk is mounted, .* such as --output {output}/x"):
        build(output)
    monkeypatch.undo()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "a" and allowed(path, mode))
    with pytest.raises(UsageError, match=f"a cannot be written to by this account; .* such as --output {output}/x"):
        build(output)
    with pytest.raises(UsageError, match="a cannot be written to by this account; choose another --output"):
        build(tmp_path / "a" / "new" / "er")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is not a folder; choose another --output"):
        build(tmp_path / "file" / "x")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "file", "out"]


def test_noise_that_no_configuration_takes_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"unknown method for the noise, .* 'tap': expected one of em"):
        cifar10_s.build("sample", tmp_path / "out", name="x", configurations=["em"], noise={"tap": "x.npy"})


def test_noise_is_held_to_a_euclidean_bound_too(sample, tmp_path):
    """That of LSP is √(H·W·C)·ε/255, plus half a level per value for rounding."""
    options = {"name": "x", "configurations": ["lsp"], "device": "cpu", "noise": {"lsp": tmp_path / "lsp.npy"}}
    noise = np.random.default_rng(0).choice([-6.0, 6.0], (len(sample), 8, 8, 1))
    np.save(tmp_path / "lsp.npy", noise)
    cifar10_s.build("sample", tmp_path / "out", **options)
    noise[7] *= 1.2
    np.save(tmp_path / "lsp.npy", noise)
    with pytest.raises(UsageError, match=r"noise of image 7, .* Euclidean norm 0.2196, .* expected at most 0.2039"):
        cifar10_s.build("sample", tmp_path / "other", **options)


def test_noise_of_a_method_without_a_bound_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cuda: has no bound"):
        cifar10_s.build("sample", tmp_path / "out", name="x", configurations=["cuda"], noise={"cuda": "x.npy"})


def test_noise_beyond_the_method_s_bound_is_refused(sample, tmp_path):
    np.save(tmp_path / "wide.npy", np.full((len(sample), 8, 8, 1), 9, np.int8))
    with pytest.raises(UsageError, match=r"8"):
        cifar10_s.build(
            "sample", tmp_path / "out", name="x", configurations=["em"], device="cpu",
            noise={"em": tmp_path / "wide.npy"},
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("ordered", "warned"), [(True, False), (False, True)])
def test_noise_in_another_order_than_sorted_images_is_said_to_be(tmp_path, caplog, ordered, warned):
    """Noise in CIFAR's order, that is, any other, for a folder, whose images are sorted by class."""
    random = np.random.default_rng(0)
    images = make_images(count=240, height=6, width=6, classes=3)
    images = replace(images, labels=np.sort(images.labels))
    patterns = random.integers(-6, 7, (3, 6, 6, 3))
    labels = images.labels if ordered else random.permutation(images.labels)
    noise = patterns[labels] + random.integers(-2, 3, (240, 6, 6, 3))
    np.save(tmp_path / "em.npy", noise.astype(np.int8))
    folder = write_pictures(tmp_path / "pictures", images)
    options = {"configurations": ["em", "em-ops"], "noise": {"em": tmp_path / "em.npy"}, "device": "cpu"}
    cifar10_s.build(folder, tmp_path / "x", name="x", **options)
    said = [record.getMessage() for record in caplog.records if "no better than guessing" in record.getMessage()]
    assert len(said) == warned
