"""The command line, as users and programs call it."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

import cifar10_s
from cifar10_s.cli import app
from cifar10_s.common.checksums import write_sums

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {**os.environ, "HF_HOME": str(tmp_path_factory.mktemp("home")), "COLUMNS": "120"}


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    """Run command lines as `run` does, but in this process, which has imported already what they need."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run_here(*arguments):
        status = app.run([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, status, *capfd.readouterr())

    return run_here


def run(*arguments, cwd, environment, program=("-c", "from cifar10_s.cli.app import main; main()")):
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_search_prints_json_and_nothing_else(tmp_path, environment):
    done = run("search", "--source", "sample", "--json", "--device", "cpu", cwd=tmp_path, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    images = cifar10_s.load_images("sample")
    assert data == cifar10_s.search(images, device="cpu").to_dict()
    assert data["objective"] == "mean-over-variance"
    assert data["classes"][3].keys() == {"label", "name", "pixels"}
    assert data["classes"][3]["pixels"][0].keys() == {"row", "column", "color", "score"}


def test_search_prints_a_line_a_pixel(here):
    done = here("search", "--source", "sample", "--pixels", 2, "--objective", "mean-over-std", "--device", "cpu")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 21


def test_a_terminal_without_a_character_gets_another_one(tmp_path, environment):
    """The title of a user's images has typographic quotes; a cluster's terminal may be ISO-8859-1."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), name == "cat" and "red").save(tmp_path / "pets" / name / "0.png")
    narrow = environment | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"}
    done = run("search", "--source", "pets", cwd=tmp_path, environment=narrow)
    assert (done.returncode, done.stderr) == (0, "")
    assert "?pets?, 2 images" in done.stdout


def test_build_and_verify(tmp_path, environment, here):
    build = ["--source", "sample", "-c", "ops", "--device", "cpu", "--name", "digits-s", "--json"]
    built = run(*build, cwd=tmp_path, environment=environment, program=[str(ROOT / "build_dataset.py")])
    assert (built.returncode, built.stderr) == (0, "")
    assert list(json.loads(built.stdout)["manifest"]["configurations"]) == ["clean", "ops"]
    verified = here("verify", "digits-s")
    assert verified.returncode == 0
    assert "verified: 11 files" in verified.stdout
    (tmp_path / "digits-s" / "recipes" / "ops.json").write_text("{}")
    (tmp_path / "digits-s" / "README.md").unlink()
    failed = here("verify", "digits-s", "--json")
    assert failed.returncode == 1
    assert len(json.loads(failed.stdout)["failures"]) == len(failed.stderr.splitlines()) == 2


def test_no_name_commands_the_terminal(tmp_path, here):
    (tmp_path / "\x1b[31mred").mkdir()
    done = here("search", "--source", "\x1b[31mred")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "?[31mred" in done.stderr


def test_of_a_broken_release_each_failure_is_one_line(tmp_path, environment, release):
    """Pillow's warning about a large image is not printed."""
    folder = shutil.copytree(release.folder, tmp_path / "x")
    (folder / "croissant.json").write_text("{\n\n")
    figure = bytearray((folder / "figures/ops.png").read_bytes())
    figure[16:24] = struct.pack(">II", 10_000, 10_000)
    figure[29:33] = struct.pack(">I", zlib.crc32(figure[12:29]))
    (folder / "figures/ops.png").write_bytes(figure)
    write_sums(folder)
    failed = run("verify", "x", "--json", cwd=tmp_path, environment=environment)
    lines = json.loads(failed.stdout)["failures"]
    assert failed.stderr.splitlines() == [f"cifar10-s: {line}" for line in lines]
    assert [line.split(":")[0] for line in lines] == ["figures/ops.png", "croissant.json"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["search", "--source", "./nowhere"], 2, "cifar10-s: ./nowhere: does not exist"),
        (["search", "--source", "sample", "--objective", "best"], 2, "unknown objective 'best'"),
        (["search", "--source", "sample", "--pixels", "99"], 2, "expected 1 to 64"),
        (["search", "--engine", "ray", "--device", "cuda"], 2, "expected auto or cpu, got 'cuda'"),
        (["build", "--source", "sample", "-c", "x"], 2, "unknown configuration 'x'"),
        (["build", "--source", "sample", "--seed", "-1"], 2, "--seed"),
        (["build", "--noise", "em=a", "--noise", "em=b"], 2, "--noise: expected one file for em, got a and b"),
        (["verify", "nowhere"], 1, "nowhere: is not a folder"),
        (["verify"], 2, "Missing argument"),
        (["verify", "nowhere", "--download"], 2, "are for a dataset on the Hub, and this is a path"),
        (["verify", "me/digits@"], 2, "expected <namespace>/<name>[@<revision>]"),
        (["push", "nowhere"], 2, "Missing option '--repo-id'"),
        (["push", "nowhere", "--repo-id", "digits"], 2, "expected <namespace>/<name>, such as me/cifar10-s"),
        (["push", "nowhere", "--repo-id", "me/digits"], 1, "nowhere: is not a folder"),
        (["tables", "nowhere.jsonl"], 2, "cifar10-s: nowhere.jsonl: does not exist"),
        (["sing"], 2, "No such command"),
    ],
    ids=range(16),
)
def test_wrong_use_gets_a_line_and_a_status(tmp_path, here, arguments, status, message):
    done = here(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [[], ["search"], ["build"], ["verify"], ["push"], ["bench"], ["tables"]])
def test_help_teaches(here, command):
    done = here(*command, "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout or not command


def test_without_network_the_default_source_gets_a_line(tmp_path, environment):
    offline = {**environment, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    done = run("search", cwd=tmp_path, environment=offline)
    assert done.returncode == 2
    assert done.stderr.startswith("cifar10-s: uoft-cs/cifar10: cannot be loaded")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", [("-c", "from cifar10_s.cli.app import main; main()"), ("-m", "cifar10_s")])
def test_the_version(tmp_path, environment, program):
    done = run("--version", cwd=tmp_path, environment=environment, program=program)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cifar10-s {cifar10_s.__version__}\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_service_may_close_what_a_terminal_has(tmp_path, environment, closed):
    program = f'"{sys.executable}" -c "from cifar10_s.cli.app import main; main()"'
    for arguments, status in (("info nowhere", 2), ("build --source sample --name x -c ops --device cpu", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{program} {arguments} {closed}"],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == status, arguments
    assert cifar10_s.verify(tmp_path / "x").images == 4673


def test_a_current_folder_that_was_deleted(here, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = here("search", "--source", "sample")
    monkeypatch.chdir(tmp_path)
    assert (result.returncode, result.stderr) == (
        2,
        "cifar10-s: the current folder no longer exists; change to another\n",
    )
