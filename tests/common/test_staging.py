"""A folder is whole or absent, even if its build is killed, the disk is full, or another build runs beside it."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from support.command import quick_command

import cifar10_s
from cifar10_s.common.checksums import SUMS, hash_folder
from cifar10_s.common.staging import Staging
from cifar10_s.errors import BuildError, VerificationError

MOMENTS = 30


@pytest.fixture
def staging(tmp_path):
    return Staging(tmp_path / "digits")


def fill(folder, content):
    folder.mkdir(parents=True)
    (folder / "a").write_text(content)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("moment", ["mkdir", "acquire"])
def test_an_end_before_it_is_held_leaves_nothing(staging, monkeypatch, moment, done):
    """A signal just before or after the folder is created, or the lock is acquired."""
    owner = {"mkdir": Path, "acquire": FileLock}[moment]
    do = getattr(owner, moment)

    def interrupted(self, *arguments, **options):
        if moment == "acquire" or self == staging.folder:
            monkeypatch.setattr(owner, moment, do)
            if done:
                do(self, *arguments, **options)
            raise KeyboardInterrupt
        return do(self, *arguments, **options)

    monkeypatch.setattr(owner, moment, interrupted)
    with pytest.raises(KeyboardInterrupt), staging.held():
        pass
    assert left(staging.output.parent) == []
    with staging.held():
        pass


def test_a_new_folder_gets_its_name(staging):
    with staging.held() as new:
        (new / "a").write_text("new")
        staging.put_in_place()
    assert (staging.output / "a").read_text() == "new"
    assert left(staging.output.parent) == ["digits"]


def test_a_name_that_is_taken_stays(staging):
    with staging.held():
        fill(staging.output, "years of work")
        with pytest.raises(FileExistsError):
            staging.put_in_place()
    assert (staging.output / "a").read_text() == "years of work"
    assert left(staging.output.parent) == ["digits"]


@pytest.mark.parametrize("old", ["folder", "file"])
def test_what_is_replaced_is_removed(staging, old):
    fill(staging.output, "old") if old == "folder" else staging.output.write_text("old")
    with staging.held() as new:
        (new / "a").write_text("new")
        staging.replace()
    assert (staging.output / "a").read_text() == "new"
    assert left(staging.output.parent) == ["digits"]


@pytest.mark.parametrize("moment", [1, 2])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
def test_a_swap_that_is_interrupted_keeps_a_whole_folder(staging, monkeypatch, moment, done, error):
    """Before or after either rename: the old folder, or the new one if it was already renamed."""
    fill(staging.output, "old")
    rename, calls = Path.rename, []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) != moment or done:
            rename(self, target)
        if len(calls) == moment:
            raise error

    with staging.held() as new:
        (new / "a").write_text("new")
        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises((KeyboardInterrupt, OSError)):
            staging.replace()
    assert (staging.output / "a").read_text() == ("new" if done and moment == 2 else "old")
    assert left(staging.output.parent) == ["digits"]


def test_what_a_killed_process_left_is_cleared(staging):
    fill(staging.new, "half")
    (staging.folder / "lock").touch()
    fill(staging.output, "old")
    staging.recover()
    assert left(staging.output.parent) == ["digits"]
    assert (staging.output / "a").read_text() == "old"


def test_a_folder_that_was_moved_aside_gets_its_name_back(staging):
    """Killed between the two renames of a swap."""
    fill(staging.folder / "old", "years of work")
    fill(staging.new, "new")
    staging.recover()
    assert (staging.output / "a").read_text() == "years of work"
    assert left(staging.output.parent) == ["digits"]


def test_what_is_of_another_kind_is_not_cleared(staging):
    fill(staging.folder, "years of work")
    fill(staging.output.parent / ".digits-backup", "years of work")
    staging.recover()
    assert (staging.folder / "a").read_text() == (staging.output.parent / ".digits-backup/a").read_text()


def test_no_link_is_followed(staging, tmp_path):
    fill(tmp_path / "precious", "years of work")
    staging.folder.mkdir()
    staging.new.symlink_to(tmp_path / "precious")
    staging.recover()
    assert (tmp_path / "precious/a").read_text() == "years of work"


def test_the_second_of_two_is_refused(staging):
    with staging.held() as new:
        (new / "a").write_text("half")
        for call in (staging.recover, staging.held().__enter__):
            with pytest.raises(BuildError, match="another process is building it: wait for it, or choose another"):
                call()
        assert (new / "a").read_text() == "half"
    with staging.held():
        pass


# The whole command


def write_pictures(folder):
    """Write sixteen small pictures in two classes."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / label / f"{number}.png")
    return folder


def start(folder, *options, **settings):
    """Start a build in a folder, of the pictures beside it, with the cache in it."""
    command = "build --source ../pictures --name x -c ops -c em-classwise --budget small --device cpu --output out"
    return subprocess.Popen(
        [*quick_command(), *command.split(), *options],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "CIFAR10_S_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "home")}, **settings,
    )  # fmt: skip


def finish(process):
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the root folder, the checksums of a whole build, and the seconds until it is staged and until it ends."""
    root = tmp_path_factory.mktemp("killed")
    write_pictures(root / "pictures")
    (root / "whole").mkdir()
    begun, process = time.monotonic(), start(root / "whole")
    wait_for(root / "whole", ".out*", process)
    staged = time.monotonic() - begun
    assert finish(process) == (0, "")
    return root, (root / "whole/out" / SUMS).read_bytes(), staged, time.monotonic() - begun


def wait_for(folder, pattern, process):
    """Wait until a file matches, or the process has ended."""
    while not list(folder.glob(pattern)) and process.poll() is None:
        time.sleep(0.005)


def kill_and_build_again(whole, number, wait, *, old):
    """Kill a build once ``wait(folder, process)`` returns, build again, and return whether it was killed in time."""
    root, sums, *_ = whole
    folder = root / f"moment-{number}"
    folder.mkdir()
    before = None
    if old:
        shutil.copytree(root / "whole/out", folder / "out")
        (folder / "out/README.md").write_text("an older one")
        before = hash_folder(folder / "out")
    process = start(folder, *(["--overwrite"] if old else []))
    wait(folder, process)
    process.send_signal(signal.SIGKILL)
    status, _ = finish(process)
    output = folder / "out"
    if status == 0 or ((output / SUMS).is_file() and hash_folder(output) != before):
        assert cifar10_s.verify(output)
        assert (output / SUMS).read_bytes() == sums
    elif output.exists():
        assert hash_folder(output) == before
        with pytest.raises(VerificationError):
            cifar10_s.verify(output)
    assert set(left(folder)) <= {"out", ".out.building", "cache", "home"}
    assert finish(start(folder, *(["--overwrite"] if old else []))) == (0, "")
    assert (output / SUMS).read_bytes() == sums
    assert cifar10_s.verify(output)
    assert set(left(folder)) <= {"out", "cache", "home"}
    return status == -signal.SIGKILL


def test_killed_while_it_writes(whole):
    def until_it_writes(folder, process):
        wait_for(folder, ".out.building/new/data", process)

    assert kill_and_build_again(whole, "fast", until_it_writes, old=True)


@pytest.mark.slow
@pytest.mark.alone
def test_killed_at_any_moment(whole):
    """Thirty moments, two in three of them after the staging folder is created."""
    _, _, staged, ended = whole
    rng = random.Random(0)
    delays = [rng.uniform(0.5, staged) if number % 3 == 0 else rng.uniform(staged, ended) for number in range(MOMENTS)]
    killed = [
        kill_and_build_again(whole, number, lambda folder, process, delay=delay: time.sleep(delay), old=number % 2 == 1)
        for number, delay in enumerate(delays)
    ]
    # If the machine is less busy than during the first build, some builds end before they are killed.
    assert sum(killed) > MOMENTS // 3


@pytest.mark.slow
def test_two_builds_into_one_folder(whole):
    """At least one succeeds; the other succeeds too, or is refused."""
    root, sums, *_ = whole
    folder = root / "two"
    folder.mkdir()
    ends = sorted(map(finish, [start(folder, "--overwrite"), start(folder, "--overwrite")]))
    assert ends[0] == (0, "")
    assert ends[1][0] == 0 or "another process is" in ends[1][1]
    assert ends[1][1].count("\n") == ends[1][0]
    assert (folder / "out" / SUMS).read_bytes() == sums
    assert set(left(folder)) == {"out", "cache"} | ({"home"} & set(left(folder)))


def mounted(folder, size):
    """Mount a small file system, which raises the error of a full disk, and return whether that is permitted."""
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)], capture_output=True)
    return mount.returncode == 0


@pytest.mark.parametrize(
    ("full", "size"),
    [
        ("out", 60),
        ("cache", 8),
        *(pytest.param("out", size, marks=pytest.mark.slow) for size in (8, 16, 24, 32)),
        *(pytest.param("cache", size, marks=pytest.mark.slow) for size in (60, 200)),
    ],
)
def test_a_full_disk(whole, full, size, monkeypatch):
    """A real one if it can be mounted, otherwise a limit on the size of a file: one line, and nothing left."""
    # Under such a limit, Python 3.11 leaves truncated bytecode.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folder = whole[0] / f"full-{full}-{size}"
    folder.mkdir()
    disk = folder / ("disk" if full == "out" else "cache")
    options = ["--output", str(disk / "out")] if full == "out" else []
    is_mounted = mounted(disk, size)
    try:
        limit = None if is_mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * size,) * 2)
        status, errors = finish(start(folder, *options, preexec_fn=limit))
        assert status == 1, errors
        assert errors.count("\n") == 1
        assert ("out: could not be written" if full == "out" else "the cache cannot be written") in errors
        assert not (folder / "out").exists()
        assert [path for path in disk.rglob("*") if path.suffix not in (".lock", "") or path.name == "out"] == []
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    finally:
        if is_mounted:
            subprocess.run(["umount", str(disk)], check=True)
