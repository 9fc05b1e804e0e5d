"""A release is pushed completely or not at all, with the real Hub library against a local server."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from support.hub_server import TOKEN, File, Hub, git_id
from support.options import on_cpu
from support.releases import small_manifest

import cifar10_s
from cifar10_s.cli import app as cli
from cifar10_s.common.checksums import hash_folder, write_sums
from cifar10_s.errors import HubError, SourceError, UsageError, VerificationError
from cifar10_s.hub import publish
from cifar10_s.hub.repository import MAX_SMALL_BYTES
from cifar10_s.hub.verification import verify_on_hub
from cifar10_s.release.verification.verifier import Verified

WRITES = {"create", "preupload", "batch", "upload", "check", "commit", "tag", "branch"}
REPO = "me/digits-s"


@pytest.fixture
def waits(monkeypatch):
    """Record the seconds to sleep instead of sleeping."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def small_release(
    folder, *, version="0.3.0", name="digits-s", is_cifar10=False, pixels="aa", shards=4, also=(), splits=("test",)
):
    """Return a small folder as if it had been verified; `push` does not open the images again."""
    (folder / "data/ops").mkdir(parents=True)
    for i in range(shards):
        shard = f"data/ops/train-{i:05d}-of-{shards:05d}.parquet"
        (folder / shard).write_bytes(f"{pixels} {i}".encode() * 40_000)
    (folder / "README.md").write_text("---\nlicense: unknown\n---\n# Digits\n")
    manifest = small_manifest(
        name=name, version=version, is_cifar10=is_cifar10,
        configurations=dict.fromkeys(("ops", *also), pixels * 32),
        splits=dict.fromkeys(splits, "cc" * 32),
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.to_json())
    write_sums(folder)
    return Verified(folder, manifest, hash_folder(folder), 1)


@pytest.fixture
def small(tmp_path):
    return small_release(tmp_path / "small")


def push(hub, release, repo_id=REPO, **options):
    return cifar10_s.push(release, repo_id, endpoint=hub.endpoint, **options)


def bytes_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_published(hub, release, commits=1):
    """Check that branch and tag have the release's exact bytes, after this many commits."""
    tag = f"v{release.manifest.version}"
    assert hub.files(REPO) == hub.files(REPO, tag) == bytes_of(release.folder)
    assert len(hub.repos[REPO].messages) == 1 + commits


def assert_untouched(hub, repo_id=REPO):
    assert not WRITES & set(hub.requests)
    assert repo_id not in hub.repos or len(hub.repos[repo_id].messages) == 1


def test_a_push_is_one_commit_and_a_tag(hub, release):
    done = push(hub, release)
    assert done.status == "published"
    assert done.commit == hub.repos[REPO].branches["main"] == hub.repos[REPO].tags[done.tag]
    assert set(done.difference.new) == set(done.sizes) == {*release.files, "SHA256SUMS"}
    assert_published(hub, release)
    before = list(hub.requests)
    again = push(hub, release)
    assert (again.status, again.commit) == ("unchanged", done.commit)
    assert not again.difference
    assert not WRITES & set(hub.requests[len(before) :])


def test_datasets_loads_what_was_pushed(hub, release, tmp_path):
    push(hub, release)
    code = f"""
import json, sys
import numpy as np
from datasets import load_dataset
plain = load_dataset("{REPO}", "ops")
assert not any(name.startswith("cifar10_s") for name in sys.modules)
streamed = load_dataset("{REPO}", "ops", streaming=True)
for split in ("train", "test"):
    rows, flow = plain[split], list(streamed[split])
    assert [row["label"] for row in flow] == rows["label"][:]
    pixels = np.stack([np.asarray(image) for image in rows["img"]])
    assert (pixels == np.stack([np.asarray(row["img"]) for row in flow])).all()
    np.save(f"{{sys.argv[1]}}/{{split}}.npy", pixels)
"""
    environment = {
        **os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": "",
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    environment.pop("HF_TOKEN")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, cwd=tmp_path)
    images = {split: cifar10_s.load_images("sample", split=split) for split in ("train", "test")}
    images["train"] = cifar10_s.search(images["train"], device="cpu").stamp(images["train"])
    for split, expected in images.items():
        assert np.array_equal(np.load(tmp_path / f"{split}.npy"), expected.pixels[..., 0])


def test_a_published_release_is_no_source(hub, release, monkeypatch):
    """`datasets` would load its default configuration, which is poisoned."""
    push(hub, release)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    with pytest.raises(SourceError, match=rf"^{REPO}: is a release .*: take the images that it was built from$"):
        cifar10_s.load_images(REPO)


def test_the_command_line(hub, release, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_VERBOSITY", "error")
    folder, endpoint = str(release.folder), ["--endpoint", hub.endpoint]
    assert cli.run(["push", folder, "--repo-id", REPO, *endpoint, "--dry-run"]) == 0
    out = capsys.readouterr().out
    size = (release.folder / "manifest.json").stat().st_size
    assert f"+ {size:>15,}  manifest.json\n" in out
    assert f"{len(release.files) + 1} new, 0 changed, 0 removed, 0 the same" in out
    assert_untouched(hub)
    assert cli.run(["push", folder, "--repo-id", REPO, *endpoint, "--private"]) == 0
    assert "published as v" in capsys.readouterr().out
    assert hub.repos[REPO].private
    assert cli.run(["push", folder, "--repo-id", REPO, *endpoint, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "unchanged"
    assert cli.run(["verify", REPO, *endpoint]) == 0
    assert "verified: " in capsys.readouterr().out
    assert cli.run(["verify", f"{REPO}@main", *endpoint, "--download", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["verified"], printed["images"]) == (True, cifar10_s.verify(release.folder).images)
    repo = hub.repos[REPO]
    del repo.commits[repo.branches["main"]]["figures/ops.png"]
    assert cli.run(["verify", REPO, *endpoint]) == 1
    assert capsys.readouterr().err == "cifar10-s: figures/ops.png: is missing\n"
    # A local folder of that name takes precedence.
    shutil.copytree(folder, tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    asked = len(hub.requests)
    assert cli.run(["verify", REPO]) == 0
    assert len(hub.requests) == asked


# Errors during a push ------------------------------------------------------------------------------------------

ON_THE_WAY = ["whoami", "info", "create", "tree", "preupload", "batch", "upload", "check", "yaml", "commit", "tag"]


@pytest.mark.parametrize("what", ["cut", "cut half-way", "cut after", 503])
@pytest.mark.parametrize("kind", ON_THE_WAY)
def test_a_conversation_that_is_cut_goes_on(hub, small, waits, kind, what):
    hub.fail(kind, what)
    assert push(hub, small).status == "published"
    assert_published(hub, small)
    assert not [fault for fault in hub.faults if fault.times]
    assert waits
    if (kind, what) != ("upload", "cut after"):
        assert len(hub.uploads) == len(set(hub.uploads)) == 4


@pytest.fixture
def next_to(hub, small, tmp_path):
    """Yield a function that pushes to another branch than the older release on main; check the outcome afterwards."""
    old = small_release(tmp_path / "old", version="0.2.9")
    push(hub, old)
    yield lambda: push(hub, small, revision="next")
    assert hub.files(REPO) == hub.files(REPO, "v0.2.9") == bytes_of(old.folder)
    tags, branches = hub.repos[REPO].tags, hub.repos[REPO].branches
    if "v0.3.0" in tags:
        assert tags["v0.3.0"] == branches["next"]
        assert hub.files(REPO, "next") == bytes_of(small.folder)
    else:
        assert branches.get("next", branches["main"]) == branches["main"]


FOR_ANOTHER_BRANCH = ["refs", "resolve", "branch"]


@pytest.mark.parametrize("what", ["cut", "cut half-way", "cut after", 502])
@pytest.mark.parametrize("kind", FOR_ANOTHER_BRANCH)
def test_a_push_to_another_branch_that_is_cut_goes_on(hub, next_to, waits, kind, what):
    hub.fail(kind, what)
    assert next_to().status == "published"
    assert "v0.3.0" in hub.repos[REPO].tags
    assert waits


@pytest.mark.parametrize("status", [401, 403, 409])
@pytest.mark.parametrize("kind", FOR_ANOTHER_BRANCH)
def test_a_push_to_another_branch_that_is_refused_gets_a_line(hub, next_to, waits, kind, status):
    hub.fail(kind, status, times=1000, message=f"not with {TOKEN}")
    with pytest.raises(HubError, match=rf"^{REPO}: cannot be published: [^\n]+$") as caught:
        next_to()
    assert TOKEN not in str(caught.value)
    assert not waits
    assert not {"v0.3.0", "next"} & {*hub.repos[REPO].tags, *hub.repos[REPO].branches}


@pytest.mark.parametrize("kind", FOR_ANOTHER_BRANCH)
def test_for_another_branch_too_the_hub_is_left_alone_for_as_long_as_it_asks(hub, next_to, waits, kind):
    hub.fail(kind, 429, headers={"Retry-After": "37"})
    assert next_to().status == "published"
    assert max(waits) in (37, 38)


@pytest.mark.parametrize("kind", ["commit", "upload"])
def test_the_hub_is_left_alone_for_as_long_as_it_asks(hub, small, waits, kind):
    hub.fail(kind, 429, headers={"Retry-After": "37"})
    push(hub, small)
    assert_published(hub, small)
    assert max(waits) in (37, 38)


def test_a_hub_that_asks_for_an_hour_is_not_waited_for(hub, small, waits):
    hub.fail("commit", 429, headers={"RateLimit": '"api";r=0;t=3600'})
    with pytest.raises(HubError, match=r"HTTP 429"):
        push(hub, small)
    assert not waits


@pytest.mark.parametrize("kind", ["info", "preupload", "upload", "commit"])
def test_what_stays_broken_gets_a_line(hub, small, waits, kind):
    hub.fail(kind, 500, times=1000)
    with pytest.raises(HubError, match=r"HTTP 500 told to fail; run the same command again: uploaded files are not"):
        push(hub, small)
    assert REPO not in hub.repos or not hub.files(REPO)
    hub.faults.clear()
    push(hub, small)
    assert_published(hub, small)
    assert len(hub.uploads) == 4


@pytest.mark.parametrize(
    ("kind", "status"),
    # 409 for a repository means that it exists already.
    [(kind, status) for kind in ON_THE_WAY for status in (401, 403, 409) if (kind, status) != ("create", 409)],
)
def test_a_refusal_gets_a_line_without_the_token(hub, small, waits, kind, status):
    hub.fail(kind, status, times=1000, message=f"not with {TOKEN}", headers={"X-Error-Code": ""})
    with pytest.raises(HubError) as caught:
        push(hub, small)
    assert TOKEN not in str(caught.value)
    assert str(caught.value).startswith(f"{REPO}: cannot be ")
    assert "\n" not in str(caught.value)
    assert not waits
    assert REPO not in hub.repos or not hub.repos[REPO].tags
    assert kind == "tag" or REPO not in hub.repos or not hub.files(REPO)


def test_an_answer_of_another_form_gets_a_line(hub, small):
    hub.fail("create", 409)
    with pytest.raises(HubError, match="cannot be published: KeyError"):
        push(hub, small)


def test_without_a_token(hub, small, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    for dry_run in (False, True):
        with pytest.raises(HubError, match=r"cannot be published without a token; .*hf auth login"):
            push(hub, small, dry_run=dry_run)
    assert not hub.requests
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(HubError, match=r"HTTP 401.*hf auth login"):
        push(hub, small)
    with pytest.raises(
        HubError, match=r"^you/digits: the token belongs to me, who is not a member of you; use a token"
    ):
        push(hub, small, "you/digits", token=TOKEN)
    hub.account["orgs"] = [{"name": "you", "roleInOrg": "contributor"}]
    with pytest.raises(HubError, match=r"HTTP 403 .*rights to create"):
        push(hub, small, "you/digits", token=TOKEN)


@pytest.mark.parametrize(
    "endpoint", ["", "foo", "huggingface.co", "ftp://x", "https://", "http://:80", "http://x:99999"]
)
def test_an_endpoint_that_is_no_address(hub, small, waits, endpoint):
    for function, what in ((cifar10_s.push, (small, REPO)), (cifar10_s.verify_published, (REPO,))):
        with pytest.raises(UsageError, match=r"endpoint: expected http:// or https:// and a host, .* got"):
            function(*what, endpoint=endpoint)
    assert not waits


def test_an_endpoint_of_the_environment_that_is_no_address(small, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "foo")
    with pytest.raises(UsageError, match="got 'foo'; check --endpoint and HF_ENDPOINT"):
        cifar10_s.push(small, REPO)


def test_a_malformed_token(hub, small, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")
    for token in (None, "hf_se\ncret", "hf_s cret"):
        with pytest.raises(UsageError, match=r"token: is malformed: .*check HF_TOKEN") as caught:
            push(hub, small, token=token)
        assert "cret" not in str(caught.value)
    assert not hub.requests


def test_somebody_else_commits_meanwhile(hub, small, monkeypatch):
    push(hub, small)
    del hub.repos[REPO].tags["v0.3.0"]
    hub.repos[REPO].commit("main", {"manifest.json": File((small.folder / "manifest.json").read_bytes())}, "older")
    api, repo = huggingface_hub.HfApi, hub.repos[REPO]
    validate = api._validate_yaml

    def meanwhile(self, *arguments, **options):
        repo.commit("main", {"theirs.txt": File(b"theirs")}, "theirs")
        return validate(self, *arguments, **options)

    monkeypatch.setattr(api, "_validate_yaml", meanwhile)
    with pytest.raises(HubError, match=r"HTTP 412 A commit has happened"):
        push(hub, small)
    assert hub.files(REPO) == {"theirs.txt": b"theirs"}
    assert not repo.tags


@pytest.mark.parametrize("name", ["README.md", "data/ops/train-00001-of-00004.parquet"])
def test_other_hashes_on_the_hub_are_not_tagged(hub, small, name):
    wrong = "0" * 64
    large = name.endswith("parquet")
    hub.lies[name] = {"lfs": {"oid": wrong, "size": 9, "pointerSize": 9}} if large else {"oid": wrong[:40]}
    with pytest.raises(VerificationError) as caught:
        push(hub, small)
    assert len(caught.value.failures) == 1
    assert caught.value.failures[0].startswith(f"{name}: expected ")
    assert not hub.repos[REPO].tags


def test_a_killed_client(hub, small):
    """No partial release becomes visible; the next push sends only the files that were not uploaded."""
    hub.fail("upload", "stall")
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from cifar10_s.common.checksums import hash_folder
from cifar10_s.release.manifest import read_manifest
from cifar10_s.release.verification.verifier import Verified
import cifar10_s
folder = Path({str(small.folder)!r})
manifest = read_manifest((folder / "manifest.json").read_bytes())
cifar10_s.push(Verified(folder, manifest, hash_folder(folder), 1), {REPO!r}, endpoint={hub.endpoint!r})
"""
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    client = subprocess.Popen([sys.executable, "-c", code], env=environment)
    assert hub.stalled.wait(60)
    deadline = time.monotonic() + 60
    while len(hub.uploads) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert len(hub.uploads) == 3
    assert not hub.files(REPO)
    push(hub, small)
    assert_published(hub, small)
    assert len(hub.uploads) == len(set(hub.uploads)) == 4


@pytest.mark.parametrize(
    ("error", "is_repeated"),
    [
        (AttributeError("'NoneType' object has no attribute 'request'"), True),
        (RuntimeError("Cannot send a request, as the client has been closed."), True),
        (AttributeError("'str' object has no attribute 'request'"), False),
        (RuntimeError("the disk is on fire"), False),
    ],
)
def test_threads_of_the_library_that_close_each_others_client(hub, small, monkeypatch, error, is_repeated):
    """On a lost connection, one closes the client of all: what was uploaded before is not sent again."""
    upload, errors = huggingface_hub.HfApi.preupload_lfs_files, [error]

    def hindered(*args, **kwargs):
        upload(*args, **kwargs)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(huggingface_hub.HfApi, "preupload_lfs_files", hindered)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    if not is_repeated:
        with pytest.raises(HubError, match="cannot be uploaded"):
            push(hub, small)
        return
    push(hub, small)
    assert_published(hub, small)
    assert len(hub.uploads) == len(set(hub.uploads))


@pytest.mark.parametrize("what", ["kill", "kill half-way", "kill after"])
@pytest.mark.parametrize("kind", ["create", "upload", "commit", "tag"])
@pytest.mark.usefixtures("hub")  # for the token
def test_a_hub_that_is_killed_and_started_again(small, tmp_path, monkeypatch, kind, what):
    """The server keeps what it had acknowledged, and the push continues."""
    folder, servers, lock = tmp_path / "killed", [], threading.Lock()

    def start(port, *fault):
        command = [
            sys.executable,
            "-c",
            "from support import hub_server; hub_server.serve()",
            folder,
            str(port),
            *fault,
        ]
        servers.append(subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True))
        return int(servers[-1].stdout.readline())

    def start_again(seconds):
        with lock:
            if len(servers) == 1 and servers[0].wait() == -signal.SIGKILL:
                start(port)

    port = start(0, kind, what)
    monkeypatch.setattr(time, "sleep", start_again)
    try:
        assert cifar10_s.push(small, REPO, endpoint=f"http://127.0.0.1:{port}").status == "published"
    finally:
        for server in servers:
            server.kill()
            server.communicate()
    assert len(servers) == 2
    with Hub(folder) as hub:
        assert_published(hub, small)


# Refused pushes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10-s", "CIFAR-10-S", "cifar_10.ops", "my-cifar10"])
def test_a_stand_in_is_not_called_cifar10(hub, small, tmp_path, name):
    with pytest.raises(UsageError, match="made from digits, not from verified CIFAR-10"):
        push(hub, small, f"me/{name}")
    assert_untouched(hub, f"me/{name}")
    push(hub, small_release(tmp_path / "true", is_cifar10=True), f"me/{name}")
    assert push(hub, small, "me/cifar100-s", dry_run=True).status == "dry run"


def test_a_stand_in_does_not_call_itself_cifar10(hub, tmp_path):
    """Its manifest and Croissant would claim CIFAR-10 on the Hub, whatever the repository is called."""
    with pytest.raises(UsageError, match=r"cifar10-s: was made from digits, .*; build it with another --name"):
        push(hub, small_release(tmp_path / "small", name="cifar10-s"))
    assert_untouched(hub)
    assert push(hub, small_release(tmp_path / "true", name="cifar10-s", is_cifar10=True)).status == "published"


def test_a_tag_is_not_replaced(hub, small, tmp_path):
    push(hub, small)
    other = small_release(tmp_path / "other")
    (other.folder / "README.md").write_text("another card")
    write_sums(other.folder)
    other = replace(other, files=hash_folder(other.folder))
    with pytest.raises(HubError, match=r"has v0\.3\.0 with other files \(0 new, 2 changed, 0 removed, 5 the same\)"):
        push(hub, other)
    assert_published(hub, small)


def test_other_pixels_are_another_major_version(hub, small, tmp_path):
    push(hub, small)
    for version in ("0.3.1", "0.4.0"):
        with pytest.raises(HubError, match=f"has other pixels in ops; .* this is v{version}"):
            push(hub, small_release(tmp_path / version, version=version, pixels="bb"))
    assert_published(hub, small)
    major = small_release(tmp_path / "major", version="1.0.0", pixels="bb")
    push(hub, major)
    assert_published(hub, major, commits=2)
    # The branch has moved on; the tag of the same major version still counts.
    with pytest.raises(HubError, match=r"v0\.3\.0, version 0\.3\.0, has other pixels in ops"):
        push(hub, small_release(tmp_path / "late", version="0.3.1", pixels="cc"))


def test_a_configuration_that_is_gone_is_another_major_version(hub, small, tmp_path):
    more = small_release(tmp_path / "more", version="0.4.0", also=["lsp", "ar"])
    push(hub, small)
    push(hub, more)
    # The older version is published already: there is nothing to do, and nothing to refuse.
    assert push(hub, small).status == "unchanged"
    fewer = small_release(tmp_path / "fewer", version="0.4.1", also=["lsp"])
    with pytest.raises(
        HubError, match=r"main, version 0\.4\.0, has ar, but this release does not; .* this is v0\.4\.1"
    ):
        push(hub, fewer)
    unsplit = small_release(tmp_path / "unsplit", version="0.4.1", also=["lsp", "ar"], splits=())
    with pytest.raises(HubError, match="has test, but this release does not"):
        push(hub, unsplit)
    # Another branch, the same tags.
    hub.repos[REPO].commit("next", {"README.md": File(b"")}, "new")
    with pytest.raises(HubError, match=r"v0\.4\.0, version 0\.4\.0, has ar, but this release does not"):
        push(hub, fewer, revision="next")
    assert_published(hub, more, commits=3)
    # A fix of an older version may lack what was added later, but main keeps what it has.
    mended = small_release(tmp_path / "mended", version="0.3.1")
    with pytest.raises(HubError, match=r"main, version 0\.4\.0, has ar, lsp, but this release does not"):
        push(hub, mended)
    push(hub, mended, revision="older")
    assert hub.files(REPO, "v0.3.1") == bytes_of(mended.folder)
    major = small_release(tmp_path / "major", version="1.0.0")
    push(hub, major)
    assert hub.files(REPO) == bytes_of(major.folder)


def test_more_configurations_are_another_minor_version(hub, small, tmp_path):
    push(hub, small)
    late = small_release(tmp_path / "late", version="0.3.1", also=["lsp"])
    with pytest.raises(
        HubError, match=r"main, version 0\.3\.0, does not have lsp; .* this is 0\.4\.0: `cifar10-s renew"
    ):
        push(hub, late, dry_run=True)
    push(hub, small_release(tmp_path / "minor", version="0.4.0", also=["lsp"]))


def test_a_push_proposes_the_version(hub, small, tmp_path):
    """What differs says which part; a version that is taken on another branch is passed over."""
    push(hub, small)
    advice = r"after 0\.3\.0 this is {}: `cifar10-s renew [^`]+ --dataset-version {}`, or choose another repo-id$"
    for number, (changes, version) in enumerate(
        [({"shards": 2}, "0.3.1"), ({"also": ["lsp"]}, "0.4.0"), ({"pixels": "bb"}, "1.0.0")]
    ):
        for dry_run in (True, False):
            other = small_release(tmp_path / f"{number}-{dry_run}", **changes)
            with pytest.raises(HubError, match=advice.format(version, version)):
                push(hub, other, dry_run=dry_run)
    push(hub, small_release(tmp_path / "next", version="0.3.1", shards=3), revision="next")
    with pytest.raises(HubError, match=advice.format("0.3.2", "0.3.2")):
        push(hub, small_release(tmp_path / "again", shards=2))


def test_what_is_renewed_is_pushed_without_its_pixels(hub, release, tmp_path):
    """The advice of the refusal, followed: the images are not sent again, and stay under both tags."""
    push(hub, release)
    sent, folder = len(hub.uploads), shutil.copytree(release.folder, tmp_path / "copy")
    (tmp_path / "about.yaml").write_text("authors: Ada Lovelace\n")
    cifar10_s.renew(folder, about=tmp_path / "about.yaml")
    with pytest.raises(HubError, match=r"this is 1\.0\.1: `cifar10-s renew"):
        push(hub, folder)
    cifar10_s.renew(folder, dataset_version="1.0.1")
    done = push(hub, folder)
    assert (done.tag, done.difference.new, done.difference.removed) == ("v1.0.1", (), ())
    assert set(done.difference.changed) == {"README.md", "manifest.json", "croissant.json", "SHA256SUMS"}
    assert len(hub.uploads) == sent
    assert verify(hub, f"{REPO}@v1.0.1").manifest.pixels == release.manifest.pixels
    assert hub.files(REPO, "v1.0.0") == bytes_of(release.folder)


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_is_cheap_to_tell_is_told_before_an_image_is_opened(hub, release, tmp_path, monkeypatch, dry_run):
    folder = shutil.copytree(release.folder, tmp_path / "copy")
    monkeypatch.setattr(publish, "verify_folder", lambda *_: pytest.fail("verified"))
    with pytest.raises(UsageError, match="choose another repo-id"):
        push(hub, folder, "me/cifar10-s", dry_run=dry_run)
    assert not hub.requests
    hub.account["auth"]["accessToken"]["role"] = "read"
    with pytest.raises(HubError, match=f"^{REPO}: the token may only read; use a token that has this permission"):
        push(hub, folder, dry_run=dry_run)
    assert hub.requests == ["whoami"]
    hub.account["auth"]["accessToken"]["role"] = "write"
    push(hub, small_release(tmp_path / "small", version=release.manifest.version))
    with pytest.raises(HubError, match=r"has v1\.0\.0 with other files"):
        push(hub, folder, dry_run=dry_run)


def test_the_size_is_said_before_it_is_sent(hub, small, caplog):
    hub.fail("batch", 403, times=1000)
    with caplog.at_level("INFO", logger="cifar10_s"), pytest.raises(HubError, match="cannot be uploaded"):
        push(hub, small)
    assert f"{REPO}: sending 7 files, at most 642 kB" in caplog.text


def test_a_newer_version_leaves_nothing_of_the_older(hub, small, tmp_path):
    push(hub, small)
    newer = small_release(tmp_path / "newer", version="0.3.1", shards=2)
    done = push(hub, newer, dry_run=True)
    assert (len(done.difference.new), len(done.difference.removed)) == (2, 4)
    push(hub, newer)
    assert_published(hub, newer, commits=2)
    assert hub.files(REPO, "v0.3.0") == bytes_of(small.folder)
    # The older version is published already: there is nothing to do, and the newer one stays.
    assert push(hub, small).status == "unchanged"
    assert_published(hub, newer, commits=2)


def test_a_missing_tag_alone_is_set(hub, small):
    push(hub, small)
    commit = hub.repos[REPO].tags.pop("v0.3.0")
    sent = len(hub.uploads)
    done = push(hub, small)
    assert (done.status, done.commit, bool(done.difference)) == ("published", commit, False)
    assert_published(hub, small)
    assert len(hub.uploads) == sent


def test_a_branch(hub, small, tmp_path):
    push(hub, small)
    newer = small_release(tmp_path / "newer", version="0.3.1", shards=2)
    done = push(hub, newer, revision="next")
    assert done.head == done.commit == hub.repos[REPO].branches["next"]
    assert hub.files(REPO) == bytes_of(small.folder)
    assert hub.files(REPO, "next") == hub.files(REPO, "v0.3.1") == bytes_of(newer.folder)


def test_a_branch_is_not_made_or_moved_for_what_is_published(hub, release, capsys):
    """If the tag exists, the branch is not touched, and the output says so."""
    version = f"v{release.manifest.version}"
    published = push(hub, release).commit
    command = ["push", str(release.folder), "--repo-id", REPO, "--endpoint", hub.endpoint, "--revision", "next"]
    assert cli.run(command) == 0
    out = capsys.readouterr().out
    assert f"nothing to do: {version} is there" in out
    assert "; the branch next does not exist, and was not created" in out
    assert "next" not in hub.repos[REPO].branches
    head = hub.repos[REPO].commit("next", {"README.md": File(b"theirs")}, "theirs")
    assert cli.run([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["status"], printed["commit"], printed["head"]) == ("unchanged", published, head)
    assert cli.run(command) == 0
    assert f"; the branch next is at {head}, and was not moved" in capsys.readouterr().out
    assert hub.repos[REPO].branches["next"] == head


@pytest.mark.parametrize(
    "revision",
    ["", "v0.3.0", "v10.0.12", "0123456789" * 4, "ABCDEF0123" * 4, "a b..c", "a..b", "a b", "-a", ".a", "a.", "a/.b",
     "a//b", "/a", "a/", "a.lock", "a.lock/b", "a~1", "a^", "a:b", "a\\b", "a@{1}", "HEAD", "refs/heads/a", "a\n"],
)  # fmt: skip
def test_what_is_no_branch_is_no_revision(hub, small, revision):
    with pytest.raises(UsageError, match="revision: expected a branch's name, such as main or next, got"):
        push(hub, small, revision=revision)
    assert not hub.requests


@pytest.mark.parametrize("revision", ["v1.0", "v1.0.0-rc1", "2026", "feature/a.b_c", "v0.3.0.x", "a" * 39])
def test_what_can_be_a_branch_is_a_revision(hub, small, revision):
    assert push(hub, small, revision=revision, dry_run=True).status == "dry run"


@pytest.mark.parametrize("files", [{"model.bin": b"1"}, {"manifest.json": b"[]"}, {"manifest.json": b"{"}])
def test_what_somebody_else_has_there_stays(hub, small, files):
    huggingface_hub.HfApi(hub.endpoint).create_repo(REPO, repo_type="dataset")
    hub.repos[REPO].commit("main", {name: File(data) for name, data in files.items()}, "theirs")
    hub.requests.clear()
    with pytest.raises(HubError, match="choose another repo-id"):
        push(hub, small)
    assert hub.files(REPO) == files
    assert not WRITES & set(hub.requests)


def test_private_is_not_published_in_public(hub, small):
    huggingface_hub.HfApi(hub.endpoint).create_repo(REPO, repo_type="dataset")
    with pytest.raises(HubError, match="is public, but --private was given"):
        push(hub, small, private=True)
    assert not hub.files(REPO)


@pytest.mark.parametrize("name", ["README.md", "SHA256SUMS", "data/ops/train-00001-of-00004.parquet"])
@pytest.mark.parametrize("change", ["rewrite", "remove"])
def test_what_has_changed_since_it_was_verified(hub, small, name, change):
    path = small.folder / name
    path.unlink() if change == "remove" else path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(VerificationError, match=f"{name}: has changed since"):
        push(hub, small)
    assert REPO not in hub.repos or not hub.files(REPO)


def test_a_large_file_that_changes_before_it_is_sent(hub, small):
    path = small.folder / "data/ops/train-00001-of-00004.parquet"
    path.write_bytes(bytes(MAX_SMALL_BYTES + 1))
    with pytest.raises(VerificationError, match=r"train-00001-of-00004\.parquet: has changed since"):
        push(hub, small)
    assert not hub.files(REPO)


# Verification on the Hub ---------------------------------------------------------------------------------------


def head_of(hub):
    repo = hub.repos[REPO]
    return repo.commits[repo.branches["main"]]


def lfs(data):
    return File(data, hashlib.sha256(data).hexdigest())


def verify(hub, name=REPO, **options):
    return cifar10_s.verify(name, endpoint=hub.endpoint, **options)


def test_a_published_release_verifies(hub, release):
    push(hub, release)
    hub.requests.clear()
    verified = verify(hub, f"{REPO}@v{release.manifest.version}")
    assert (verified.files, verified.images, verified.manifest) == (release.files, 0, release.manifest)
    assert "cdn" not in hub.requests
    full = verify(hub, download=True)
    assert (full.files, full.images) == (release.files, release.images)
    assert "cdn" in hub.requests


def test_what_verify_gives_says_where_it_is(hub, release):
    commit = push(hub, release).commit
    there, here = verify(hub), cifar10_s.verify(release.folder)
    assert (there.folder, there.repo_id, there.commit) == (None, REPO, commit)
    assert (here.folder, here.repo_id, here.commit) == (release.folder, None, None)
    assert there.manifest == here.manifest == release.manifest
    with pytest.raises(UsageError, match=f"^{REPO}: is on the Hub already; expected a folder"):
        push(hub, there, "me/other-s")
    assert "me/other-s" not in hub.repos


def test_a_local_folder_of_that_name_wins(hub, release, tmp_path, monkeypatch):
    """A path is never taken for a name on the Hub, whether it exists or not."""
    shutil.copytree(release.folder, tmp_path / REPO)
    monkeypatch.chdir(tmp_path)
    assert cifar10_s.verify(REPO).folder == Path(REPO)
    for options in ({"download": True}, {"endpoint": hub.endpoint}, {"token": TOKEN}):
        with pytest.raises(UsageError, match=r"are for a dataset on the Hub, and this is a path$"):
            cifar10_s.verify(REPO, **options)
    for path in (Path("me/other-s"), "./me/other-s", "~/other-s", "/me/other-s", "other-s"):
        with pytest.raises(VerificationError, match="is not a folder"):
            cifar10_s.verify(path)
    assert not hub.requests


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda files: files.update({"data/x-00000-of-00001.parquet": lfs(b"x")}), "data/x-00000-of-00001.parquet: is"),
        (lambda files: files.update({"README.md": File(b"x")}), "README.md: expected SHA-256"),
        (lambda files: files.update({"figures/ops.png": lfs(b"x")}), "figures/ops.png: expected SHA-256"),
        (lambda files: files.pop("figures/ops.png"), "figures/ops.png: is missing"),
        (lambda files: files.pop("manifest.json"), "manifest.json: is missing"),
        (lambda files: files.pop("croissant.json"), "croissant.json: is missing"),
        (lambda files: files.pop("SHA256SUMS"), "SHA256SUMS: is missing"),
        (lambda files: files.update({"SHA256SUMS": File(b"\xff")}), "SHA256SUMS: is not of the expected form"),
        (lambda files: files.update({"../x": File(b"x")}), "'../x': is not a plain path"),
        (lambda files: files.update({"/etc/x": File(b"x")}), "'/etc/x': is not a plain path"),
        (lambda files: files.update({"big.txt": File(b" " * (11 << 20))}), "big.txt: expected at most"),
    ],
    ids=range(11),
)
def test_what_is_wrong_on_the_hub_is_named(hub, release, change, failure):
    push(hub, release)
    change(head_of(hub))
    with pytest.raises(VerificationError) as caught:
        verify(hub)
    assert any(line.startswith(failure) for line in caught.value.failures)


def test_sums_made_anew_do_not_hide_a_missing_configuration(hub, release, tmp_path):
    """The files match the sums, but not the manifest."""
    folder = shutil.copytree(release.folder, tmp_path / "copy")
    shutil.rmtree(folder / "data/ops")
    write_sums(folder)
    push(hub, replace(release, folder=folder, files=hash_folder(folder)))
    with pytest.raises(VerificationError, match="data/ops/train"):
        verify(hub)


def test_sums_made_anew_do_not_hide_what_croissant_says(hub, release, tmp_path):
    folder = shutil.copytree(release.folder, tmp_path / "copy")
    croissant = json.loads((folder / "croissant.json").read_text())
    (folder / "croissant.json").write_text(json.dumps({**croissant, "version": "9.9.9"}))
    write_sums(folder)
    push(hub, replace(release, folder=folder, files=hash_folder(folder)))
    with pytest.raises(VerificationError, match=r"croissant\.json: version: expected .*, got 9\.9\.9"):
        verify(hub)


def test_other_bytes_than_the_hub_says(hub, release):
    push(hub, release)
    hub.lies["README.md"] = {"oid": git_id(b"x")}
    with pytest.raises(VerificationError, match=r"README\.md: expected git's SHA-1 .* got"):
        verify(hub)
    hub.lies.clear()
    file = head_of(hub)["figures/ops.png"]
    hub.objects[file.sha256] = b"\0" * len(file.data)
    verify(hub)
    with pytest.raises(VerificationError, match=r"figures/ops\.png: expected SHA-256"):
        verify(hub, download=True)


@pytest.mark.parametrize(
    ("kind", "what"),
    [(kind, what) for kind in ("info", "tree", "resolve") for what in ("cut", "cut after", 503)] + [("cdn", "cut")],
)
def test_a_verification_that_is_cut_goes_on(hub, release, waits, kind, what):
    push(hub, release)
    hub.fail(kind, what)
    assert verify(hub, download=kind == "cdn").files == release.files
    assert waits


def test_a_verification_sends_nothing_and_does_not_speak_of_it(hub, waits):
    hub.fail("info", 500, times=1000)
    with pytest.raises(HubError, match=r"cannot be verified: HTTP 500 told to fail; run the same command again$"):
        verify(hub)


def test_what_is_not_on_the_hub(hub, release):
    with pytest.raises(HubError, match=r"HTTP 404 .*check name and revision"):
        verify(hub)
    push(hub, release)
    with pytest.raises(HubError, match=r"HTTP 404 .*Invalid rev id: v9"):
        verify(hub, f"{REPO}@v9")
    for name in ("digits", "me/digits@", "a/b/c", "me/../x", "-/x"):
        with pytest.raises(UsageError, match="expected <namespace>/<name>"):
            verify_on_hub(name, on_cpu(), endpoint=hub.endpoint)


def test_offline(hub, small, waits, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push(hub, small)
    assert not waits
    assert not hub.requests
