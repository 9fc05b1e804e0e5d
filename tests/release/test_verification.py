"""Whatever is changed in a release, `verify` names the file and the failure."""

import io
import json
import re
import shutil
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from support.releases import BUILT

import cifar10_s
from cifar10_s.common.checksums import SUMS, write_sums
from cifar10_s.errors import SourceError, VerificationError
from cifar10_s.release.layout import MANIFEST

OPS = "data/ops/train-00000-of-00001.parquet"
RANDOM = "data/random-pixel/train-00000-of-00001.parquet"
TEST = "data/test-00000-of-00001.parquet"


@pytest.fixture
def folder(release, tmp_path):
    return shutil.copytree(release.folder, tmp_path / "copy")


def failures(folder, *, sums=True):
    if sums:
        write_sums(folder)
    with pytest.raises(VerificationError) as caught:
        cifar10_s.verify(folder)
    return caught.value.failures


def change_json(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def change_table(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def change_image(path, row, change):
    """Replace the PNG of one row by that of changed pixels."""

    def swap(table):
        images = table["img"].to_pylist()
        pixels = np.asarray(Image.open(io.BytesIO(images[row]["bytes"]))).copy()
        buffer = io.BytesIO()
        Image.fromarray(change(pixels)).save(buffer, "PNG")
        images[row]["bytes"] = buffer.getvalue()
        return table.set_column(0, table.schema.field("img"), pa.array(images, table.schema.field("img").type))

    change_table(path, swap)


def test_a_release_verifies(release):
    verified = cifar10_s.verify(str(release.folder))
    assert verified.files == release.files
    assert verified.images == (len(BUILT) + 1) * 1438 + 359


def test_what_is_no_release(tmp_path):
    assert failures(tmp_path / "nowhere", sums=False)[0].endswith("expected a release that `cifar10-s build` wrote")
    assert failures(tmp_path, sums=False)[0].startswith("SHA256SUMS: is missing")


def test_every_file_is_covered(folder, release):
    """One flipped bit anywhere makes `verify` name the file."""
    random = np.random.default_rng(0)
    for name in [*release.files, SUMS]:
        path = folder / name
        original = path.read_bytes()
        for at in random.integers(0, len(original), 4):
            data = bytearray(original)
            data[at] ^= 1 << int(random.integers(8))
            path.write_bytes(data)
            found = failures(folder, sums=False)
            assert any(failure.startswith((f"{name}:", f"{SUMS}:")) for failure in found) or name == SUMS
        path.write_bytes(original)
    assert cifar10_s.verify(folder).files == release.files


@pytest.mark.parametrize("name", [OPS, TEST, "recipes/ops.json", "figures/ops.png", "README.md", "manifest.json"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    assert any(failure == f"{name}: is missing" for failure in failures(folder, sums=False))
    # With the sums recomputed, an empty folder, an incomplete split or the file itself is named.
    assert any(failure.startswith(name.split("/train-0")[0].split("-0")[0]) for failure in failures(folder))


@pytest.mark.parametrize("name", ["data/ops/train-00001-of-00002.parquet", "extra.txt", "figures/x.png", ".hidden"])
def test_an_extra_file(folder, name):
    shutil.copy(folder / OPS, folder / name)
    assert f"{name}: is not listed in SHA256SUMS" in failures(folder, sums=False)
    assert any(name in failure for failure in failures(folder))


def test_a_link_is_no_file(folder):
    target = folder.parent / "outside.json"
    (folder / "recipes/ops.json").rename(target)
    (folder / "recipes/ops.json").symlink_to(target)
    assert "recipes/ops.json: is not a regular file" in failures(folder)
    (folder / "recipes/ops.json").unlink()
    target.rename(folder / "recipes/ops.json")
    (folder / "linked").symlink_to("/etc")
    assert "linked: is not a regular file" in failures(folder)


def test_what_the_hubs_command_git_and_macos_add(folder, release):
    added = [
        ".gitattributes", ".cache/huggingface/.gitignore", ".cache/huggingface/CACHEDIR.TAG", ".git/HEAD", ".DS_Store",
        ".cache/huggingface/download/README.md.metadata", "__MACOSX/._data", "data/.DS_Store", "data/ops/._x.parquet",
    ]  # fmt: skip
    for name in added:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / ".git/refs/tags").mkdir(parents=True)
    assert cifar10_s.verify(folder).files == release.files
    (folder / ".cache/huggingface/x.parquet").touch()
    (folder / ".cache/x").symlink_to("/etc/passwd")
    assert set(failures(folder, sums=False)) == {
        ".cache/huggingface/x.parquet: is not listed in SHA256SUMS",
        ".cache/x: is not a regular file",
    }


def test_a_folder_of_the_hubs_cache(folder, release, tmp_path):
    repository = tmp_path / "datasets--me--digits-s"
    snapshot = repository / "snapshots" / ("0" * 40)
    (repository / "blobs").mkdir(parents=True)
    for name, digest in {**release.files, SUMS: "f" * 64}.items():
        blob = repository / "blobs" / digest
        shutil.copy(folder / name, blob)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    assert cifar10_s.verify(snapshot).files == release.files
    assert len(cifar10_s.Release(snapshot).train("ops")) == 1438
    (snapshot / "README.md").unlink()
    (repository / "blobs" / release.files["recipes/ops.json"]).unlink()
    how = f"run hf download me/digits-s {{}} --repo-type dataset --revision {'0' * 40}"
    assert list(failures(snapshot, sums=False)) == [
        f"README.md: is missing: {how.format('README.md')}",
        f"recipes/ops.json: is a link to what is not in the Hub's cache: {how.format('recipes/ops.json')}",
    ]
    (snapshot / "README.md").symlink_to("/etc/hostname")
    assert "README.md: is not a regular file" in failures(snapshot, sums=False)
    (snapshot / SUMS).unlink()
    assert failures(snapshot, sums=False)[0].endswith(f"if it was fetched in part, {how.replace(' {}', '')}")


def test_a_clone_without_its_large_files(folder, release):
    for name in (OPS, TEST):
        size = (folder / name).stat().st_size
        oid = release.files[name]
        (folder / name).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
    (folder / ".git").mkdir()
    (folder / "README.md").unlink()
    assert list(failures(folder, sums=False)) == [
        "README.md: is missing: run git restore README.md",
        *(f"{name}: is a Git LFS pointer: run git lfs pull" for name in sorted((OPS, TEST))),
    ]
    with pytest.raises(SourceError, match=r"train-.*\.parquet: is a Git LFS pointer: run git lfs pull"):
        cifar10_s.Release(folder)._decode("ops", "train")
    shutil.copy(folder / OPS, folder / SUMS)
    assert list(failures(folder, sums=False)) == [f"{SUMS}: is a Git LFS pointer: run git lfs pull"]
    shutil.copy(folder / OPS, folder / MANIFEST)
    with pytest.raises(SourceError, match=r"manifest\.json: is a Git LFS pointer: run git lfs pull"):
        cifar10_s.Release(folder)


def test_sums_of_another_form(folder):
    text = (folder / SUMS).read_text()
    for broken in ("", text + "x\n", text + text.splitlines()[0] + "\n", text.replace("  ", " "), "\xff"):
        (folder / SUMS).write_text(broken, encoding="latin-1")
        assert failures(folder, sums=False)


def test_two_configurations_swapped(folder):
    data = (folder / OPS).read_bytes()
    shutil.copy(folder / RANDOM, folder / OPS)
    (folder / RANDOM).write_bytes(data)
    found = failures(folder)
    for name in ("ops", "random-pixel"):
        assert any(failure.startswith(f"data/{name}/train: ") for failure in found)


def test_one_value_of_one_image(folder):
    """One level more, far from the stamped pixel."""

    def brighten(pixels):
        pixels[4, 4] ^= 1
        return pixels

    change_image(folder / OPS, 700, brighten)
    assert f"{OPS}: row 700: 1 image is not what the recipe makes of the clean images" in failures(folder)


def test_the_stamped_pixel_itself(folder):
    """One level less in the stamped pixel fails too."""
    pixel = json.loads((folder / "recipes/ops.json").read_text())["shortcut"]["classes"][0]["pixels"][0]

    def dim(pixels):
        assert pixels[pixel["row"], pixel["column"]] == 255
        pixels[pixel["row"], pixel["column"]] = 254
        return pixels

    change_image(folder / OPS, 0, dim)
    assert f"{OPS}: row 0: 1 image is not what the recipe makes of the clean images" in failures(folder)


@pytest.mark.parametrize("configuration", ["lsp", "lsp-ops"])
def test_noise_beyond_the_methods_bound(folder, configuration):
    """One patch a few levels brighter exceeds the norm that the method declares."""

    def brighten(pixels):
        pixels[2:6, 2:6] ^= 8
        return pixels

    name = f"data/{configuration}/train-00000-of-00001.parquet"
    change_image(folder / name, 3, brighten)
    assert f"{name}: row 3: 1 image is further from the clean images than the method's bound" in failures(folder)


def test_the_stamped_pixel_over_noise(folder):
    pixel = json.loads((folder / "recipes/lsp-ops.json").read_text())["shortcut"]["classes"][0]["pixels"][0]

    def dim(pixels):
        pixels[pixel["row"], pixel["column"]] = 254
        return pixels

    name = "data/lsp-ops/train-00000-of-00001.parquet"
    change_image(folder / name, 0, dim)
    assert f"{name}: row 0: 1 image is not what the recipe makes of the clean images" in failures(folder)


@pytest.fixture(scope="module")
def drawn_release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "digits"
    return cifar10_s.build("sample", folder, name="digits", device="cpu", configurations=["ar", "ar-ops"]).folder


@pytest.fixture
def drawn(drawn_release, tmp_path):
    return shutil.copytree(drawn_release, tmp_path / "copy")


def test_images_of_another_start_than_the_recorded_processes_make(drawn):
    """Even if they are within the method's bound."""
    cifar10_s.verify(drawn)
    name = "data/ar/train-00000-of-00001.parquet"
    change_image(drawn / name, 3, lambda pixels: np.where(pixels > 128, pixels - 2, pixels + 2).astype(np.uint8))
    found = failures(drawn)
    assert f"{name}: row 3: 1 image is not what the recipe makes of the clean images" in found
    assert not any("bound" in line for line in found)


def test_other_processes_than_the_images_are_made_with(drawn):
    def swap(data):
        data["drawn"]["processes"].reverse()

    change_json(drawn / "recipes/ar.json", swap)
    found = failures(drawn)
    assert any(
        re.fullmatch("data/ar/.* images are not what the recipe makes of the clean images", line) for line in found
    )
    assert not any(line.startswith("data/ar-ops") for line in found)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda data: data.pop("drawn"), "recipes/ar.json: .*drawn: expected processes, .* got something else"),
        (
            lambda data: data["drawn"]["processes"].pop(),
            r"recipes/ar.json: ar: the recorded processes are \(9, 1, 3, 3\)",
        ),
        (lambda data: data["drawn"].update(more=1), r"recipes/ar.json: drawn.more: expected no such field, got 1"),
    ],
)
def test_malformed_processes(drawn, change, line):
    change_json(drawn / "recipes/ar.json", change)
    assert any(re.match(line, found) for found in failures(drawn))


def test_drawn_values_of_a_method_that_draws_none(folder):
    change_json(folder / "recipes/lsp.json", lambda data: data.update(drawn={"processes": []}))
    assert any(line.startswith("recipes/lsp.json: drawn: expected no such field") for line in failures(folder))


def test_a_test_image(folder):
    change_image(folder / TEST, 3, lambda pixels: 255 - pixels)
    assert any(failure.startswith("data/test: pixel digest") for failure in failures(folder))


@pytest.mark.parametrize("change", [lambda pixels: pixels[:7], lambda pixels: np.stack([pixels] * 3, -1)])
def test_an_image_of_another_shape(folder, change):
    change_image(folder / OPS, 5, change)
    assert f"{OPS}: row 5: expected a PNG of 8-bit 8×8 greyscale and nothing else in it" in failures(folder)


def with_chunk(data, kind, content):
    """Insert a chunk after the header of a PNG."""
    chunk = len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


def orientation():
    exif = Image.Exif()
    exif[0x0112] = 3
    return exif.tobytes()[6:]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.update(bytes=with_chunk(row["bytes"], b"eXIf", orientation())),
        lambda row: row.update(bytes=with_chunk(row["bytes"], b"gAMA", (30_000).to_bytes(4, "big"))),
        lambda row: row.update(bytes=with_chunk(row["bytes"], b"tEXt", b"a\0b")),
        lambda row: row.update(bytes=row["bytes"] + bytes(700)),
        lambda row: row.update(bytes=row["bytes"][:-12]),
        lambda row: row.update(path="/etc/passwd"),
    ],
    ids=["orientation", "gamma", "text", "trailing bytes", "no end", "path"],
)
def test_what_another_reader_might_show_otherwise(folder, change):
    """The pixels are the same for this package, but other readers may rotate, brighten or replace them."""

    def swap(table):
        images = table["img"].to_pylist()
        change(images[5])
        return table.set_column(0, table.schema.field("img"), pa.array(images, table.schema.field("img").type))

    change_table(folder / OPS, swap)
    assert any(failure.startswith(OPS) for failure in failures(folder))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"not an image", None])
def test_an_image_that_does_not_decode(folder, data):
    def swap(table):
        images = table["img"].to_pylist()
        images[9]["bytes"] = data
        return table.set_column(0, table.schema.field("img"), pa.array(images, table.schema.field("img").type))

    change_table(folder / OPS, swap)
    assert any(failure.startswith(OPS) for failure in failures(folder))


def swap_rows(table):
    order = np.arange(len(table))
    order[[10, 20]] = [20, 10]
    return table.take(pa.array(order))


def change_label(table, value):
    labels = table["label"].to_pylist()
    labels[10] = value(labels[10])
    return table.set_column(1, table.schema.field("label"), pa.array(labels, pa.int64()))


@pytest.mark.parametrize(
    "change",
    [
        swap_rows,
        lambda table: change_label(table, lambda label: (label + 1) % 10),
        lambda table: change_label(table, lambda label: 10),
        lambda table: change_label(table, lambda label: -1),
        lambda table: change_label(table, lambda label: None),
        lambda table: table.slice(0, len(table) - 1),
        lambda table: table.slice(0, 0),
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        lambda table: table.rename_columns(["image", "label"]),
        lambda table: table.append_column("secret", table["label"]),
        lambda table: table.drop_columns(["label"]),
        lambda table: table.set_column(1, "label", table["label"].cast(pa.int32())),
        lambda table: pa.table([*table.columns, table["label"]], [*table.column_names, "label"]),
        lambda table: table.replace_schema_metadata({"huggingface": "{}"}),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("name", [OPS, "data/clean/train-00000-of-00001.parquet", TEST])
def test_rows_and_columns(folder, name, change):
    before = pq.read_table(folder / name)
    if change is swap_rows and name == TEST and before["label"][10] == before["label"][20]:
        pytest.fail("choose rows of two classes")
    change_table(folder / name, lambda table: change(table.select(["img", "label"])))
    split = name.split("-00")[0]
    assert any(
        split in failure or "data/clean" in failure or failure.startswith("README.md") for failure in failures(folder)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe["shortcut"]["classes"][2]["pixels"][0].update(row=5),
        lambda recipe: recipe["shortcut"]["classes"][2]["pixels"][0].update(score=1.0),
        lambda recipe: recipe["shortcut"]["classes"][2]["pixels"][0].update(row=10**30),
        lambda recipe: recipe["shortcut"]["classes"][2]["pixels"][0].update(color="red"),
        lambda recipe: recipe["shortcut"].update(objective="mean-over-std"),
        lambda recipe: recipe["shortcut"]["classes"].pop(),
        lambda recipe: recipe.update(shortcut=None),
        lambda recipe: recipe.update(seed=7),
        lambda recipe: recipe["recipe"].update(pixels=2),
        lambda recipe: recipe.pop("shortcut"),
        lambda recipe: recipe.clear(),
        lambda recipe: recipe["shortcut"]["classes"][0]["pixels"][0].update(row=False),
        lambda recipe: recipe.update(note="x"),
    ],
    ids=range(13),
)
def test_a_changed_recipe(folder, change):
    change_json(folder / "recipes/ops.json", change)
    assert any(failure.startswith("recipes/ops.json: ") for failure in failures(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["configurations"]["ops"].update(pixels_sha256="0" * 64),
        lambda m: m["configurations"]["ops"].update(rows=1437),
        lambda m: m["configurations"]["ops"]["perceptibility"].update(l0_mean=0.5),
        lambda m: m["configurations"]["ops"]["perceptibility"].pop("linf_max"),
        lambda m: m["configurations"].pop("ops"),
        lambda m: m["configurations"].pop("clean"),
        lambda m: m["configurations"].update(other=m["configurations"]["ops"]),
        lambda m: m["configurations"].update({"../x": m["configurations"]["ops"]}),
        lambda m: m["splits"].pop("test"),
        lambda m: m["splits"]["test"].update(pixels_sha256="0" * 64),
        lambda m: m["source"]["pixels_sha256"].update(train="0" * 64),
        lambda m: m["source"].update(is_cifar10=True),
        lambda m: m.update(title="CIFAR-10-S"),
        lambda m: m.update(default="clean"),
        lambda m: m.update(seed=1),
        lambda m: m.update(shape=[8, 8, 3]),
        lambda m: m.update(shape="8x8"),
        lambda m: m.update(shape=[10**9, 10**9, 10**9]),
        lambda m: m.update(classes=m["classes"][:-1]),
        lambda m: m.update(classes=7),
        lambda m: m.update(objectives=[]),
        lambda m: m.update(configurations=3),
        lambda m: m.clear(),
        lambda m: m.update(title="CIFAR-10"),
        lambda m: m["source"].update(title="CIFAR-10"),
        lambda m: m["source"].update(claims_cifar10=True, check="trust me", is_cifar10=True),
        lambda m: m["source"].update(kind="divine"),
        lambda m: m.update(version="latest"),
        lambda m: m.update(format="1"),
        lambda m: m.update(objectives=[*m["objectives"], "evil"]),
        lambda m: m.update(secret=1),
        lambda m: m["configurations"]["ops"].update(rows=1438.0),
        lambda m: m["configurations"]["ops"].update(perceptibility="none"),
        lambda m: m["configurations"].update(ops=None),
        lambda m: m.pop("libraries"),
    ],
    ids=range(35),
)
def test_a_changed_manifest(folder, change):
    change_json(folder / "manifest.json", change)
    assert all(": " in failure for failure in failures(folder))


@pytest.mark.parametrize("field", ["l2_mean", "psnr_mean", "psnr_min", "ssim_mean", "ssim_min"])
@pytest.mark.parametrize("change", [lambda x: x + 1e-5, lambda x: x - 1e-5, lambda x: None], ids=range(3))
def test_every_measure_is_made_anew(folder, field, change):
    def tamper(manifest):
        measures = manifest["configurations"]["lsp"]["perceptibility"]
        measures[field] = change(measures[field])

    change_json(folder / "manifest.json", tamper)
    found = failures(folder)
    assert len(found) == 1
    assert re.fullmatch(rf"manifest.json: .*configurations\.lsp\.perceptibility\.{field}: expected .*", found[0])


@pytest.mark.parametrize(
    ("configuration", "change"),
    [
        ("ops", lambda entry: entry["separability"].update(accuracy=98.0)),
        ("ops", lambda entry: entry["separability"].update(accuracy=100)),
        ("ops", lambda entry: entry["separability"].update(scored=251)),
        ("ops", lambda entry: entry["separability"].update(fitted=None)),
        ("ops", lambda entry: entry["separability"].update(note="x")),
        ("ops", lambda entry: entry.update(separability=None)),
        ("ops", lambda entry: entry.update(separability={})),
        ("clean", lambda entry: entry.update(separability={"accuracy": 10.0, "fitted": 1020, "scored": 250})),
    ],
    ids=range(8),
)
def test_the_separability_is_measured_anew(folder, configuration, change):
    change_json(folder / "manifest.json", lambda manifest: change(manifest["configurations"][configuration]))
    found = failures(folder)
    assert len(found) == 1
    assert re.match(rf"manifest.json: .*configurations\.{configuration}\.separability[.:]", found[0])


def test_a_separability_that_another_machine_may_measure(folder):
    """The accuracy may differ by two of the 250 scored images."""
    change_json(folder / "manifest.json", lambda m: m["configurations"]["ops"]["separability"].update(accuracy=99.2))
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(re.sub(r"(\| `ops` \| .* \| )100\.0 \|", r"\g<1>99.2 |", card))
    write_sums(folder)
    cifar10_s.verify(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null", '{"configurations": NaN}'])
def test_a_manifest_that_is_none(folder, text):
    (folder / "manifest.json").write_text(text)
    assert failures(folder)[0].startswith("manifest.json: is not of the expected form")


def change_card(folder, change):
    _, metadata, body = (folder / "README.md").read_text().split("---\n", 2)
    data = yaml.safe_load(metadata)
    change(data)
    (folder / "README.md").write_text(
        f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)}---\n{body}"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["configs"].pop(),
        lambda card: card["configs"][1]["data_files"][0].update(path="data/clean/train-*"),
        lambda card: card["configs"][1].pop("default"),
        lambda card: card["configs"][0].update(default=True),
        lambda card: card["configs"].append({"config_name": "x", "data_files": []}),
        lambda card: card["dataset_info"].pop(),
        lambda card: card["dataset_info"][1]["splits"][0].update(num_examples=1),
        lambda card: card["dataset_info"][1].update(download_size=1),
        lambda card: card["dataset_info"][1].update(dataset_size=1),
        lambda card: card["dataset_info"][1]["features"][1]["dtype"]["class_label"]["names"].update({"0": "9"}),
        lambda card: card.update(pretty_name="CIFAR-10-S"),
        lambda card: card.clear(),
        lambda card: card["dataset_info"][1]["splits"].append(card["dataset_info"][1]["splits"][0]),
        lambda card: card["dataset_info"][1].update(version="x"),
        lambda card: card["dataset_info"][1]["splits"][0].update(num_bytes=-5),
    ],
    ids=range(15),
)
def test_a_changed_card(folder, change):
    change_card(folder, change)
    (failure,) = failures(folder)
    assert failure.startswith("README.md: expected ")


def test_the_numbers_and_words_of_a_card_cannot_be_changed(folder):
    """Norms, the pixel of a class, the licence, the name and a line ending."""
    path = folder / "README.md"
    card = path.read_bytes()
    for before, after in (
        (b"| 1 | ", b"| 2 | "),
        (b"license: unknown", b"license: mit"),
        (b"This is not CIFAR-10-S.", b"This is CIFAR-10-S."),
        (b", 0) \xe2\x86\x92 (", b", 1) \xe2\x86\x92 ("),
        (b"## Uses\n", b"## Uses\r\n"),
    ):
        assert before in card
        path.write_bytes(card.replace(before, after, 1))
        (failure,) = failures(folder)
        assert failure.startswith("README.md: expected ")
    path.write_bytes(card)
    change_card(folder, lambda card: None)
    write_sums(folder)
    cifar10_s.verify(folder)


def test_the_card_shows_the_true_digests(folder):
    path = folder / "README.md"
    digest = json.loads((folder / "manifest.json").read_text())["configurations"]["ops"]["pixels_sha256"]
    path.write_text(path.read_text().replace(digest, "0" * 64))
    row = f"'| `ops` | `{digest}` |'"
    assert failures(folder) == (f"README.md: expected {row}, got {row.replace(digest, '0' * 64)}",)


def test_yaml_that_unfolds_without_end_is_refused_at_once(folder):
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
    (folder / "README.md").write_text("---\n" + "\n".join(lines) + "\n---\n")
    assert failures(folder)[0].startswith('README.md: expected "pretty_name: ')


@pytest.mark.parametrize("text", ["", "# no metadata", "---\n{\n---\n", "---\n!!python/object:os.system x\n---\n"])
def test_a_card_that_is_none(folder, text):
    (folder / "README.md").write_text(text)
    assert failures(folder)[0].startswith("README.md: expected ")


def test_a_card_that_is_no_text(folder):
    (folder / "README.md").write_bytes(b"\xff\xfe")
    assert failures(folder)[0].startswith("README.md: is not of the expected form (UnicodeDecodeError")


def large_picture(side):
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"", b"junk", b"\x89PNG\r\n\x1a\n", large_picture(6_000), large_picture(20_000)])
def test_a_picture_that_is_none(folder, data):
    (folder / "figures/ops.png").write_bytes(data)
    assert failures(folder)[0].startswith("figures/ops.png: ")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"junk" * 100])
def test_a_shard_that_is_none(folder, data):
    (folder / OPS).write_bytes(data)
    assert any(failure.startswith(OPS) for failure in failures(folder))
