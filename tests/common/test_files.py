"""The user's folders, for accounts with and without a home."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cifar10_s.common import files
from cifar10_s.common.files import cache_folder, expand, give_libraries_a_cache
from cifar10_s.errors import UsageError

VARIABLES = (
    "HOME", "XDG_CACHE_HOME", "CIFAR10_S_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE",
    "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR",
)  # fmt: skip


@pytest.fixture
def account(monkeypatch, tmp_path):
    """An account with none of the variables, and a folder of its own for temporary files."""
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    files._temporary_home.cache_clear()
    yield environment
    files._temporary_home.cache_clear()


@pytest.fixture
def no_entry(account, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return account


def test_the_home_is_expanded(account, tmp_path):
    account["HOME"] = str(tmp_path)
    assert [expand("~/x.pt"), expand(Path("~")), expand("a/~"), expand("~nobody-at-all/x")] == [
        tmp_path / "x.pt", tmp_path, Path("a/~"), Path("~nobody-at-all/x"),
    ]  # fmt: skip


def test_without_a_home_a_tilde_is_one_line(no_entry):
    with pytest.raises(UsageError, match=r"^~/x: no home folder is known for this account: write the whole path"):
        expand("~/x")
    no_entry["CIFAR10_S_CACHE"] = "~/cache"
    with pytest.raises(UsageError, match="no home folder is known"):
        cache_folder()


def test_where_the_cache_is(account, tmp_path):
    account["HOME"] = str(tmp_path / "home")
    assert cache_folder() == tmp_path / "home/.cache/cifar10-s"
    account["XDG_CACHE_HOME"] = str(tmp_path / "xdg")
    assert cache_folder() == tmp_path / "xdg/cifar10-s"
    account["CIFAR10_S_CACHE"] = str(tmp_path / "ours")
    assert cache_folder() == tmp_path / "ours"
    before = dict(account)
    give_libraries_a_cache()
    assert account == before
    assert not list(tmp_path.iterdir())


def test_without_a_home_there_is_a_private_cache(no_entry, tmp_path, caplog):
    caplog.set_level("INFO", logger="cifar10_s")
    files._tell_once.cache_clear()
    home = tmp_path / f"cifar10-s-{os.getuid()}"
    assert cache_folder() == home / "cifar10-s"
    give_libraries_a_cache()
    assert cache_folder() == home / "cifar10-s"
    assert [record.message for record in caplog.records] == [
        f"this account has no cache that it can write: using {home}/cifar10-s; set CIFAR10_S_CACHE to another folder"
    ]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert no_entry["HOME"] == str(home)
    assert no_entry["HF_HOME"] == str(home / "huggingface")
    assert all(no_entry[name].startswith(str(home)) for name in VARIABLES if name.endswith(("DIR", "HOME")))


def test_a_home_that_can_only_be_read_keeps_what_is_there(account, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".cache/huggingface/hub").mkdir(parents=True)
    account["HOME"] = str(home)
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: home not in (path, *path.parents) and writable(path, mode))
    give_libraries_a_cache()
    temporary = tmp_path / f"cifar10-s-{os.getuid()}"
    assert account["HOME"] == str(home)
    assert account["HF_HOME"] == str(home / ".cache/huggingface")
    assert account["HF_DATASETS_CACHE"] == str(temporary / "huggingface/datasets")
    assert "HF_HUB_CACHE" not in account
    assert cache_folder() == temporary / "cifar10-s"


@pytest.mark.parametrize("wrong", ["open to others", "a link", "a file"])
def test_a_folder_that_another_account_could_have_made_is_not_used(no_entry, tmp_path, wrong):
    place = tmp_path / f"cifar10-s-{os.getuid()}"
    if wrong == "a link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif wrong == "a file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    found = cache_folder().parent
    assert found not in (place, tmp_path / "elsewhere")
    assert found.parent == tmp_path
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_a_container_whose_account_has_no_entry_and_no_home(tmp_path):
    """The command line in a folder that can be written, which afterwards has no folder called ``~``."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.chown(work, 12345, 12345)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o005)
    reads = "+dac_read_search"
    who = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
    who += [f"--inh-caps=-all,{reads}", f"--ambient-caps=-all,{reads}"]
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    environment |= {"TMPDIR": str(work), "PYTHONPATH": str(Path(files.__file__).parents[2]), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "cifar10_s", "build", "--source", "sample", "--name", "x", "-c", "ops"]
    done = subprocess.run(
        [*who, *command], cwd=work, env=environment, text=True, capture_output=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert {"x"} == {path.name for path in work.iterdir() if not path.name.startswith("cifar10-s-")}
