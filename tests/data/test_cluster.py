"""A Ray cluster of several nodes gives the same bits as one machine, even if nodes and workers are lost."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.images import make_images
from support.moments import compute_moments
from support.sources import write_pictures

import cifar10_s
from cifar10_s.benchmark.grid import bench
from cifar10_s.common.records import Records
from cifar10_s.data.cluster import Cluster, distribute, in_blocks
from cifar10_s.data.codec import encode
from cifar10_s.errors import BuildError, SourceError, UsageError
from speed import own_images

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """A head and two more nodes on this machine, each with one CPU."""
    from ray import cluster_utils

    store = 100 << 20
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=store)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def mapper(cluster):
    return Cluster.connect(cluster.address)


def write_arrays(folder, images, shards=3):
    """Write images as a folder of arrays."""
    folder.mkdir(parents=True)
    for number, index in enumerate(np.array_split(np.arange(len(images)), shards)):
        np.save(folder / f"{number}.pixels.npy", images.pixels[index])
        np.save(folder / f"{number}.labels.npy", images.labels[index])
    return folder


def same(first, second):
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("counts", "sums", "products"))


pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_results_come_in_order_or_as_they_are_done(mapper):
    def late(item):
        time.sleep(0.3 if item == 0 else 0)
        return item

    assert (mapper.workers, mapper.workers_per_node) == (3, 1)
    assert list(mapper(late, range(12))) == list(range(12))
    assert sorted(replace(mapper, ordered=False)(late, range(12))) == list(range(12))
    assert list(mapper(late, [])) == []


def test_the_program_around_it_stays_as_it_was(cluster, mapper, caplog):
    level = caplog.handler.level
    Cluster.connect(cluster.address)
    assert list(mapper(str, [1])) == ["1"]
    assert caplog.handler.level == level
    assert print is pickle.loads(pickle.dumps(print))


def test_the_search_gives_the_same_bits(mapper, tmp_path, sample):
    images = make_images(seed=3, count=3_000, height=6, width=5, classes=7)
    sources = [images, sample, cifar10_s.open_images(write_arrays(tmp_path / "arrays", images))]
    sources.append(cifar10_s.open_images(write_pictures(tmp_path / "pictures", make_images(count=60))))
    for source in sources:
        far = distribute(source, mapper)
        assert same(compute_moments(far), compute_moments(source.load()))
        assert far.digest() == source.digest()
        for pixels in (1, 3):
            here = cifar10_s.search(source, pixels=pixels, device="cpu")
            assert cifar10_s.search(far, pixels=pixels).to_json() == here.to_json()
            assert here.stamp(far).digest() == here.stamp(source).digest()


def test_images_in_order_of_class_send_few_sums(mapper):
    """As in folders: a task has images of few classes, and sends the moments of these alone."""
    shuffled = make_images(seed=4, count=600, classes=20)
    images = shuffled.take(np.argsort(shuffled.labels, kind="stable"))
    sent = []

    def counting(function, items):
        for count, (first, moments) in mapper(function, items):
            sent.append(len(moments.counts))
            yield count, (first, moments)

    counting.workers, counting.workers_per_node = mapper.workers, mapper.workers_per_node
    far = in_blocks(images, 10, counting)
    assert same(compute_moments(far), compute_moments(images))
    assert sum(sent) <= 20 + len(sent)


@pytest.mark.parametrize(("size", "bundle_bytes"), [(7, 1), (500, 100_000)])
def test_the_number_of_blocks_and_bundles_changes_nothing(mapper, size, bundle_bytes):
    images = make_images(seed=5, count=150)
    far = replace(in_blocks(images, size, mapper), bundle_bytes=bundle_bytes)
    assert far.digest() == images.digest()
    assert cifar10_s.search(far).to_json() == cifar10_s.search(images, device="cpu").to_json()


def test_a_build_has_the_same_bytes(mapper, tmp_path):
    source = write_arrays(tmp_path / "source", make_images(count=900, classes=4, height=12, width=12))
    options = {"configurations": ["ops", "random-samplewise-ops", "lsp"], "device": "cpu", "name": "mine"}
    here = cifar10_s.build(source, tmp_path / "here", **options)
    there = cifar10_s.build(source, tmp_path / "there", **options, engine="ray")
    assert there.files == here.files


def test_a_folder_of_large_jpegs_from_the_command_line(cluster, mapper, tmp_path):
    """Own images end to end; `python -m speed --only own` does the same with 20,000."""
    for number in range(90):
        own_images.draw(tmp_path / "own", number % 30 + 100 * (number // 30))
    program = [sys.executable, "-c", "from cifar10_s.cli.app import main; main()"]
    build = [*program, "build", "--source", str(tmp_path / "own"), "--name", "own-s", "-c", "ops", "--output"]
    on_ray = ["--engine", "ray", "--address", cluster.address]
    subprocess.run([*build, str(tmp_path / "here")], check=True)
    subprocess.run([*build, str(tmp_path / "there"), *on_ray], check=True)
    for folder in ("here", "there"):
        subprocess.run([*program, "verify", str(tmp_path / folder)], check=True)
    here, there = [(tmp_path / folder / "SHA256SUMS").read_text() for folder in ("here", "there")]
    assert here == there
    assert "ops/train-" in here


def test_a_worker_that_is_killed_is_replaced(mapper, tmp_path):
    """The first one that gets item 5 kills itself."""
    killed = tmp_path / "killed"

    def work(item):
        if item == 5 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item**2

    assert list(mapper(work, range(20))) == [item**2 for item in range(20)]
    assert killed.exists()


def test_a_node_that_is_lost_is_made_up_for(cluster, mapper):
    def late(rows, pixels):
        time.sleep(0.2)
        return pixels

    images, lost = make_images(seed=9, count=3_000, height=6, width=6), []
    doomed = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    cluster.wait_for_nodes()

    def lose():
        cluster.remove_node(doomed, allow_graceful=False)
        lost.append(time.monotonic())

    killer = threading.Timer(4.0, lose)
    killer.start()
    got = compute_moments(in_blocks(images, 25, replace(mapper, workers=8)).with_transform(late))
    ended = time.monotonic()
    killer.join()
    assert same(got, compute_moments(images))
    assert lost[0] < ended


def test_a_build_goes_on_if_workers_are_killed(mapper, tmp_path, monkeypatch):
    """Two workers, while they encode images."""
    source = write_arrays(tmp_path / "source", make_images(count=900, classes=4, height=12, width=12))
    options = {"configurations": ["ops"], "device": "cpu", "name": "mine"}
    here = cifar10_s.build(source, tmp_path / "here", **options)

    killed = tmp_path / "killed"
    killed.mkdir()

    def encode_or_die(surveyor, rows, before, after):
        if len(list(killed.iterdir())) < 2:
            (killed / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(after), surveyor(rows, before, after)

    monkeypatch.setattr("cifar10_s.builder.dataset_builder._encode_and_measure", encode_or_die)
    there = cifar10_s.build(source, tmp_path / "there", **options, engine="ray")
    assert there.files == here.files
    assert 2 <= len(list(killed.iterdir())) <= 4, "a worker that looked at the same time was killed too"


def test_an_error_of_the_images_is_the_same_line(mapper, tmp_path):
    folder = write_pictures(tmp_path / "pictures", make_images(count=60))
    broken = sorted(folder.rglob("*.png"))[7]
    broken.write_bytes(b"nothing")
    with pytest.raises(SourceError, match=rf"{broken.name}: is not an image"):
        cifar10_s.search(cifar10_s.open_images(folder, engine="ray"))


def test_a_path_is_the_same_wherever_a_worker_stands(cluster, mapper, tmp_path, monkeypatch):
    """The workers' current folder is not that of the caller."""
    images = make_images(count=30, classes=3)
    write_pictures(tmp_path / "pictures", images)
    monkeypatch.chdir(tmp_path)
    stream = cifar10_s.open_images("pictures", engine="ray", address=cluster.address)
    found, expected = cifar10_s.search(stream), cifar10_s.search(cifar10_s.open_images("pictures"))
    assert found.to_dict() == expected.to_dict()


def test_of_gpus_a_task_sees_its_own():
    on_gpus = Cluster(1, has_gpus=True)
    devices = {name: on_gpus.device(name) for name in ("auto", "cpu", "cuda", "cuda:3")}
    assert devices == {"auto": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:3": "cuda"}
    assert Cluster(1).device("auto") == "cpu"


def test_what_ray_says_becomes_a_line(mapper, monkeypatch):
    def fails(error, *_, **__):
        raise error

    for error, line in (
        (ray.exceptions.ObjectStoreFullError("no room"), "object store is full .*--object-store-memory"),
        (ray.exceptions.OutOfMemoryError("killed"), "a worker was lost .*more memory or fewer CPUs"),
        (ray.exceptions.RaySystemError("gone"), "gone.* run the same command again"),
    ):
        monkeypatch.setattr("ray.data.from_items", partial(fails, error))
        with pytest.raises(BuildError, match=line):
            list(mapper(str, [1]))


def test_the_command_line(cluster, mapper, tmp_path):
    program = "from cifar10_s.cli.app import main; main()"
    command = [sys.executable, "-c", program, "search", "--source", "sample", "--json"]
    here = subprocess.run(command, capture_output=True, text=True, check=True)
    there = subprocess.run(
        [*command, "--engine", "ray", "--address", cluster.address], capture_output=True, text=True, check=True
    )
    assert there.stdout == here.stdout
    assert json.loads(there.stdout)["objective"] == "mean-over-variance"
    assert there.stderr == here.stderr


def test_the_benchmark(mapper, release, tmp_path, monkeypatch):
    """Each run is a task; its record is that of one machine, and it is not done again."""
    grid = {"configurations": ["clean", "ops"], "protocol": "cpu-v1", "device": "cpu"}
    here = bench(release.folder, tmp_path / "here.jsonl", **grid)
    there = bench(release.folder, tmp_path / "there.jsonl", **grid, engine="ray")
    assert {record["id"] for record in there} == {record["id"] for record in here}
    finals = [{record["id"]: record["results"]["test_accuracy"] for record in records} for records in (here, there)]
    assert finals[0] == finals[1]
    bench(release.folder, tmp_path / "there.jsonl", **grid, engine="ray")
    assert len(Records(tmp_path / "there.jsonl").read()) == 2


def test_without_ray_there_is_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"^ray is needed for the engine ray, .*'cifar10-s\[distributed\]'$"):
        Cluster.of("ray")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_a_cluster_that_is_not_there_is_a_line_at_once(monkeypatch, address):
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    began = time.monotonic()
    with pytest.raises(UsageError, match=f"no Ray cluster is reached at {address}"):
        Cluster.connect(address)
    assert time.monotonic() - began < 30


def test_wrong_use_gets_a_line():
    with pytest.raises(UsageError, match="unknown engine 'dask': expected one of local, ray"):
        Cluster.of("dask")
    with pytest.raises(UsageError, match="address: only a Ray cluster has one: expected engine ray, got local"):
        Cluster.of("local", "auto")
    assert Cluster.of("local") is None
    assert Cluster(2, has_gpus=True).device("auto") == "cuda"
    assert Cluster(2).device("auto") == "cpu"
    assert Path(cifar10_s.__file__).parent.name == "cifar10_s"
