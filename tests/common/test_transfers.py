"""What tools that fetch, clone or unpack a folder add to it."""

import hashlib

import pytest

from cifar10_s.common.transfers import explain, how_to_get, is_added, is_cache_link, is_pointer

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"
DIGEST = "0123456789abcdef" * 4


def put(folder, path, data=b"x"):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    return folder / path


@pytest.mark.parametrize(
    "path",
    [
        ".gitattributes", ".git", ".git/HEAD", ".git/objects/ab/cdef",
        ".cache/huggingface/.gitignore", ".cache/huggingface/.gitignore.lock", ".cache/huggingface/CACHEDIR.TAG",
        ".cache/huggingface/download/README.md.metadata", ".cache/huggingface/download/data/ops/x.parquet.lock",
        ".cache/huggingface/download/AbC=.0123.incomplete", ".cache/huggingface/upload/README.md.metadata",
        ".huggingface/download/README.md.metadata", ".DS_Store", "data/ops/.DS_Store", "__MACOSX/data/._ops",
        "data/._ops", "._README.md",
    ],
)  # fmt: skip
def test_what_a_tool_adds(tmp_path, path):
    put(tmp_path, path)
    assert is_added(tmp_path, path)


@pytest.mark.parametrize(
    "path",
    [
        "x", ".hidden", "data/.gitattributes", "data/.git/HEAD", ".gitignore", ".cache/x",
        ".cache/huggingface/x.parquet",
        ".cache/huggingface/download/x.parquet", "data/.cache/huggingface/.gitignore", "__MACOSX/x.parquet", "DS_Store",
        ".DS_Store/x", "gitattributes", ".cache/huggingface/CACHEDIR.TAG/x", ".gitattributes\n",
    ],
)  # fmt: skip
def test_what_no_tool_adds(tmp_path, path):
    put(tmp_path, path)
    assert not is_added(tmp_path, path)


def test_empty_folders_and_links(tmp_path):
    for path in (".git/refs/tags", ".cache/huggingface/download/data", "__MACOSX", "data"):
        (tmp_path / path).mkdir(parents=True)
        assert is_added(tmp_path, path) == (path != "data")
    (tmp_path / ".gitattributes").symlink_to("/etc/passwd")
    (tmp_path / ".git/refs/heads").symlink_to("/etc")
    assert not is_added(tmp_path, ".gitattributes")
    assert not is_added(tmp_path, ".git/refs/heads")


def test_links_to_the_hubs_cache(tmp_path):
    cache = tmp_path / "hub/datasets--me--x"
    blob = put(cache, f"blobs/{DIGEST}")
    snapshot = cache / "snapshots/abc"
    (snapshot / "data").mkdir(parents=True)
    outside = put(tmp_path, "outside")
    put(cache, "secret")
    links = {
        "good": (f"../../blobs/{DIGEST}", True),
        "data/good": (f"../../../blobs/{DIGEST}", True),
        "absolute": (blob, True),
        "not-fetched": (f"../../blobs/{'f' * 64}", True),
        "outside": (outside, False),
        "beside": ("../../secret", False),
        "inside": ("data/good2", False),
        "etc": ("/etc/passwd", False),
        "folder": ("../../blobs", False),
        "circle": ("circle", False),
        "through": ("../../blobs/link", False),
    }
    (cache / "blobs/link").symlink_to(outside)
    put(snapshot, "data/good2")
    for name, (target, expected) in links.items():
        (snapshot / name).symlink_to(target)
        assert is_cache_link(snapshot, name) == expected, name
    assert not is_cache_link(snapshot, "data/good2")
    # As `hf download --local-dir` linked files before it copied them.
    local = tmp_path / "local"
    local.mkdir()
    (local / "old").symlink_to(blob)
    (local / "other").symlink_to(put(tmp_path, "models/blobs/" + DIGEST))
    (local / "no-hash").symlink_to(put(cache, "blobs/passwd"))
    assert [is_cache_link(local, name) for name in ("old", "other", "no-hash")] == [True, False, False]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (POINTER, True),
        (POINTER.replace(b"oid", b"ext-0-foo sha256:11\noid"), True),
        (POINTER + b"\0" * 2000, False),
        (POINTER[:-10], False),
        (b"# card\n" + POINTER, False),
        (b"", False),
    ],
)
def test_pointers(tmp_path, data, expected):
    assert is_pointer(put(tmp_path, "x", data)) is expected
    assert not is_pointer(tmp_path / "nowhere")


def test_how_to_get_what_is_missing(tmp_path):
    assert how_to_get(tmp_path, "x") == ""
    snapshot = tmp_path / "datasets--my-group--my--data/snapshots/abc"
    snapshot.mkdir(parents=True)
    command = "run hf download my-group/my--data 'a b' --repo-type dataset --revision abc"
    assert how_to_get(snapshot, "a b") == command
    assert how_to_get(snapshot) == command.replace(" 'a b'", "")
    put(tmp_path, "clone/.git/HEAD")
    assert how_to_get(tmp_path / "clone", "a b") == "run git restore 'a b'"
    put(tmp_path, "local/.cache/huggingface/CACHEDIR.TAG")
    assert "the same hf download" in how_to_get(tmp_path / "local", "x")


def test_explanations(tmp_path):
    put(tmp_path, ".git/HEAD")
    texts = {"same": b"a\n", "pointer": POINTER, "windows": b"a\r\nb\r\n", "other": b"x", "missing": None}
    expected = dict.fromkeys(texts, DIGEST) | {"windows": hashlib.sha256(b"a\nb\n").hexdigest()}
    got = {}
    for name, data in texts.items():
        if data is not None:
            got[name] = hashlib.sha256(put(tmp_path, name, data).read_bytes()).hexdigest()
    expected["same"] = got["same"]
    found = explain(tmp_path, expected, got)
    assert list(found) == ["missing", "pointer", "windows"]
    assert found["missing"] == "is missing: run git restore missing"
    assert found["pointer"] == "is a Git LFS pointer: run git lfs pull"
    assert "core.autocrlf=false" in found["windows"]
