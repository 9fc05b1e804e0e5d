"""What somebody may have published, cited or cached stays as it is: digests, recipes, files, run ids, checkpoints.

Everything here goes through the build script, the public names and files, so that no change inside the package changes
this test. A change of what is frozen is a new version of the dataset, and says so in CHANGELOG.md. Then
``pytest tests/end_to_end/test_frozen.py -m "" --record-frozen`` records it: look at the changes, then commit.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cifar10_s

ROOT = Path(__file__).resolve().parents[2]
FROZEN = Path(__file__).parent / "frozen"
RESULTS = [ROOT / "results/benchmark.jsonl", ROOT / "results/benchmark-float32.jsonl"]
# The linear separability in these may differ between processors in its last digits.
MEASURED_FILES = {"manifest.json", "README.md"}


def frozen(name):
    return json.loads((FROZEN / f"{name}.json").read_text())


@pytest.fixture
def recording(request):
    return request.config.getoption("--record-frozen")


def record(name, values):
    (FROZEN / f"{name}.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def keys_now(budget):
    """Return the keys under which the methods keep their noise for the sample: in bfloat16, and in float32."""
    from cifar10_s.methods.learned import Learned
    from cifar10_s.nn.runtime import Runtime

    images, methods = cifar10_s.load_images("sample"), cifar10_s.METHODS.values()
    of_budget = [method if budget == "full" else method.small() for method in methods if isinstance(method, Learned)]
    return {
        method.name: [
            method.checkpoint(images, 0, Runtime(torch.device("cpu"), bfloat16)).finished.stem.rpartition("-")[2]
            for bfloat16 in (True, False)
        ]
        for method in of_budget
    }


def processor():
    """Return what decides which multiplications run: the vectors, and bfloat16 by them and by tiles."""
    capabilities = torch.cpu.get_capabilities()
    bfloat16 = [bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16")]
    return [torch.backends.cpu.get_cpu_capability(), *bfloat16]


def build(folder, cache, *options, source="sample"):
    # EM's bits depend on the number of threads that the program chooses, not on what the tests set.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    script = [sys.executable, ROOT / "build_dataset.py", "--source", source, "--output", folder]
    subprocess.run(
        [*script, "--name", "frozen-s", "--device", "cpu", "--yes", *options],
        env=environment | {"CIFAR10_S_CACHE": str(cache)},
        check=True,
    )
    return folder


def put_noise(cache, keys):
    """Put noise into the cache under every key, as if the methods had made it; return the paths."""
    images = cifar10_s.load_images("sample")
    paths = []
    for method, of_method in keys.items():
        rows = len(images.class_names) if cifar10_s.METHODS[method].classwise else len(images)
        noise = np.random.default_rng(list(method.encode())).integers(-8, 9, (rows, *images.shape[1:]), dtype=np.int8)
        for key in of_method:
            path = cache / "noise" / f"{method}-{key}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, noise)
            paths.append(path)
    return paths


def facts(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    return {
        "processor": processor(),
        "libraries": manifest.pop("libraries"),
        "pixels": {name: entry["pixels_sha256"] for name, entry in manifest["configurations"].items()},
        "recipes": {path.stem: json.loads(path.read_text()) for path in sorted((folder / "recipes").iterdir())},
        "manifest_fields": {key: value for key, value in manifest.items() if key != "configurations"},
        "sums": sums,
    }


def assert_same(got, expected):
    for key in ("pixels", "recipes", "manifest_fields"):
        assert got[key] == expected[key]
    # Files are the same bytes only where the same libraries write them.
    if got["libraries"] == expected["libraries"]:
        unmeasured = set() if got["processor"] == expected["processor"] else MEASURED_FILES
        differing = {name for name in got["sums"].keys() | expected["sums"].keys()
                     if got["sums"].get(name) != expected["sums"].get(name)}  # fmt: skip
        assert differing <= unmeasured


@pytest.mark.parametrize("budget", ["full", "small"])
def test_a_release_of_every_configuration(tmp_path, budget, recording):
    cache = tmp_path / "cache"
    if recording:
        record(f"checkpoints-{budget}", keys_now(budget))
    paths = put_noise(cache, frozen(f"checkpoints-{budget}"))
    folder = build(tmp_path / "frozen-s", cache, "-c", "all", "--budget", budget)
    # Had a key changed, a method would have made its noise anew under another.
    assert sorted(path for path in (cache / "noise").iterdir() if path.suffix != ".lock") == sorted(paths)
    if recording:
        record(f"sample-{budget}", facts(folder))
    assert_same(facts(folder), frozen(f"sample-{budget}"))


def test_error_minimising_noise(tmp_path, recording):
    expected = frozen("sample-em")
    if not recording and processor() != expected["processor"]:
        pytest.skip(f"recorded on {expected['processor']}: another kind of processor has other bits")
    folder = build(tmp_path / "frozen-s", tmp_path / "cache", "-c", "em", "-c", "em-ops", "--budget", "small")
    if recording:
        record("sample-em", facts(folder))
    assert_same(facts(folder), frozen("sample-em"))


@pytest.mark.slow
@pytest.mark.data
def test_the_jpeg_copy(tmp_path, jpeg_copy, recording):
    names = frozen("jpeg-copy")["pixels"]
    if recording:
        names = [name for name, recipe in cifar10_s.CONFIGURATIONS.items() if recipe.budget is None]
    options = [part for name in names for part in ("-c", name)]
    folder = build(tmp_path / "frozen-s", tmp_path / "cache", *options, source=jpeg_copy)
    if recording:
        record("jpeg-copy", facts(folder))
    assert_same(facts(folder), frozen("jpeg-copy"))


def write_records(path, records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def described(folder, manifest, records):
    """Write the folder of a release that is described as the one on which these records were measured."""
    settings = [record["settings"] for record in records]
    entry = manifest["configurations"]["clean"]
    digests = {one["configuration"]: one["pixels_sha256"] for one in settings}
    for clean in {one["clean_sha256"] for one in settings if "clean_sha256" in one}:
        digests["clean"] = clean
    configurations = {name: entry | {"pixels_sha256": digest, "rows": 50_000} for name, digest in digests.items()}
    test = {"rows": 10_000, "pixels_sha256": settings[0]["test_sha256"]}
    folder.mkdir()
    source = manifest["source"] | {"kind": "parquet", "name": "cifar10-jpeg", "title": settings[0]["source"]}
    changed = {"configurations": configurations, "splits": {"test": test}, "shape": [32, 32, 3], "source": source}
    (folder / "manifest.json").write_text(json.dumps(manifest | changed))
    return folder


@pytest.mark.parametrize("path", [*RESULTS, FROZEN / "runs.jsonl"], ids=lambda path: path.stem)
def test_runs_that_are_recorded_are_not_run_again(tmp_path, release, path):
    """A run whose id were another would be begun, and end with an error: there are no images to train on."""
    if not path.is_file():
        pytest.skip("needs the results of the repository")
    manifest = json.loads((release.folder / "manifest.json").read_text())
    grids = {}
    for record in map(json.loads, path.read_text().splitlines()):
        settings = record["settings"]
        axes = settings["protocol"]["name"], settings["network"], settings["strategy"]["name"]
        grids.setdefault((*axes, settings["configuration"], settings["pixels_sha256"]), []).append(record)
    for number, ((protocol, network, strategy, configuration, _), records) in enumerate(grids.items()):
        folder = described(tmp_path / f"release-{number}", manifest, records)
        file = tmp_path / f"{number}.jsonl"
        write_records(file, records)
        done = cifar10_s.bench(
            folder, file, configurations=[configuration], strategies=[strategy], protocol=protocol,
            networks=[network], seeds=len(records), device="cpu", allow_unverified=True,
        )  # fmt: skip
        assert sorted(record["id"] for record in done) == sorted(record["id"] for record in records)
