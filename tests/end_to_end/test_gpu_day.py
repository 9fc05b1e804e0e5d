"""The GPU day, rehearsed on a CPU with tiny sizes, without the libraries that a GPU machine lacks."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar10_s.common.records import Records
from cifar10_s.data.sources.splits import load_splits
from cifar10_s.errors import UsageError
from speed.gpu_day import REHEARSAL, RUNS, STEPS, Data, Day, OutOfTimeError, main, read_images

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ["datasets", "kornia", "msgspec", "typer", "imagecodecs", "matplotlib", "ray", "yaml"]
SPLITS = {"train": 140, "test": 20}


def packed(path, files, labels):
    """Write an NPZ of image files, by split."""
    arrays = {}
    for split in files:
        arrays[f"{split}_bytes"] = np.frombuffer(b"".join(files[split]), np.uint8)
        arrays[f"{split}_ends"] = np.cumsum([len(file) for file in files[split]])
        arrays[f"{split}_labels"] = np.asarray(labels[split])
    np.savez_compressed(path, **arrays)
    return path


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def drawn(split):
    return np.random.default_rng(len(split)).integers(0, 256, (SPLITS[split], 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    files = {split: [png(pixels) for pixels in drawn(split)] for split in SPLITS}
    labels = {split: np.arange(count) % 10 for split, count in SPLITS.items()}
    return packed(tmp_path_factory.mktemp("images") / "images.npz", files, labels)


@pytest.fixture(scope="module")
def rehearsed(images, tmp_path_factory):
    """The folder of a whole rehearsal."""
    out = tmp_path_factory.mktemp("gpu-day") / "out"
    code = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
from speed.gpu_day import main
sys.exit(main(["--rehearse", "--images", {str(images)!r}, "--out", {str(out)!r}, "--seconds", "600"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def lines(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def named(out, step):
    return {line["what"]: line for line in lines(out) if line["step"] == step}


def test_every_step_gives_results(rehearsed):
    assert {line["step"] for line in lines(rehearsed)} == {"day", *STEPS}
    assert not [line for line in lines(rehearsed) if ("failed" in line and line["what"] != "end") or "cut" in line]
    assert all(line["same"] for line in named(rehearsed, "a").values())
    assert named(rehearsed, "b")["all sizes"]
    ways = named(rehearsed, "c")
    assert ways["CUDA graph"]["left_out"] == "needs CUDA"
    values = {name: line["value"] for name, line in ways.items() if "value" in line and "way" not in line}
    assert {"plain PyTorch", "this package", "torch.compile"} < set(values)
    best = ways[f"best of {len(values)}"]
    assert (best["way"], best["value"]) == max(values.items(), key=lambda item: item[1])


def test_the_ways_to_train_reach_the_same_loss(rehearsed):
    ways = named(rehearsed, "c")
    assert ways["this package"]["loss"] == ways["torch.compile"]["loss"]
    assert ways["plain PyTorch"]["loss"] == pytest.approx(ways["this package"]["loss"], rel=0.01)


def test_networks_are_recorded_as_bench_records_them(rehearsed):
    runs = {**named(rehearsed, "d"), **named(rehearsed, "f"), **named(rehearsed, "g")}
    records = {record["id"]: record for record in Records(rehearsed / "benchmark.jsonl").read()}
    assert {line["id"] for line in runs.values() if "id" in line} == set(records)
    for line in runs.values():
        if "id" in line:
            assert line["final"] == records[line["id"]]["results"]["final"]
    assert len(named(rehearsed, "d")) == len(RUNS)
    # EM came after step d, and before f.
    assert "em-ops (small recipe), standard, rehearsal" in named(rehearsed, "d")
    assert "em-ops (full recipe), at, rehearsal" in named(rehearsed, "f")
    assert list(named(rehearsed, "e")) == ["round 1", "round 2", "EM by the full recipe"]


def test_what_is_there_is_skipped(images, rehearsed, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("results.jsonl", "benchmark.jsonl"):
        (out / name).write_bytes((rehearsed / name).read_bytes())
    with (out / "results.jsonl").open("a") as file:
        file.write('{"step": "a", "wh')  # the last line of a process that was killed
    whole = (rehearsed / "results.jsonl").read_text()
    assert main(["--rehearse", "--images", str(images), "--out", str(out), "--steps", "a,b,g", "--seconds", "1e4"]) == 0
    added = (out / "results.jsonl").read_text().removeprefix(whole).splitlines()[1:]
    assert [json.loads(line)["what"] for line in added] == ["machine", "end"]


def test_a_step_ends_when_its_seconds_are_over(images, tmp_path):
    day = Day(tmp_path, Data(images, REHEARSAL), REHEARSAL, 1e6)
    deadline, start = day.deadline, time.perf_counter()
    with pytest.raises(OutOfTimeError), day.within(0.05):
        time.sleep(10)
    assert time.perf_counter() < start + 5
    assert day.deadline == deadline


def test_without_time_nothing_is_begun(images, tmp_path):
    arguments = ["--rehearse", "--images", str(images), "--out", str(tmp_path), "--seconds", "0"]
    assert main(arguments) == 0
    assert {line["step"]: line["left_out"] for line in lines(tmp_path)[1:-1]} == dict.fromkeys(
        STEPS, "no time was left"
    )


def test_what_fails_is_said_and_tried_again(images, tmp_path):
    day = Day(tmp_path, Data(images, REHEARSAL), REHEARSAL, 1e6)
    day.do("a", "kernel", lambda: 1 / 0)
    assert day.failed
    assert lines(tmp_path)[0]["failed"] == "ZeroDivisionError: division by zero"
    again = Day(tmp_path, Data(images, REHEARSAL), REHEARSAL, 1e6)
    again.do("a", "kernel", lambda: {"same": True})
    again.do("a", "kernel", lambda: 1 / 0)
    assert [line.get("same") for line in lines(tmp_path)] == [None, True]
    again.do("a", "other", lambda: {"same": False})
    assert again.failed


def test_the_images_of_the_file(images):
    for split in SPLITS:
        read = read_images(images, split)
        assert np.array_equal(read.pixels, drawn(split))
        assert read.labels.tolist() == [number % 10 for number in range(SPLITS[split])]
        assert read.provenance.title == "“images”"


def test_another_file_is_one_line(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UsageError, match=r"other\.npz: expected an NPZ with train_bytes"):
        read_images(tmp_path / "other.npz", "train")


@pytest.mark.data
def test_the_jpeg_copy_has_the_pixels_and_the_name_that_a_release_has(jpeg_copy, tmp_path):
    """Pillow and imagecodecs decode the same: runs have the ids that `bench` gives them."""
    table = pq.read_table(next((jpeg_copy / "plain_text").glob("test-*.parquet")))
    files = [file.as_py() for file in table["img"].combine_chunks().field("bytes")]
    path = packed(tmp_path / "cifar10-jpeg.npz", {"test": files}, {"test": table["label"].to_numpy()})
    expected, read = load_splits(str(jpeg_copy))["test"], read_images(path, "test")
    assert read.digest() == expected.digest()
    assert read.provenance.title == expected.provenance.title
