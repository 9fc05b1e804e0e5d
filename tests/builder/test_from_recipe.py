"""A release of recipes alone: what it holds, what it becomes with its images, and what is refused."""

import json
import shutil
from dataclasses import replace

import datasets
import mlcroissant
import numpy as np
import pytest
from support.images import photographs
from support.sources import write_arrays, write_pictures

import cifar10_s
from cifar10_s.cli.app import run
from cifar10_s.common import typed_json
from cifar10_s.common.checksums import write_sums
from cifar10_s.data.codec import encode
from cifar10_s.errors import BuildError, SourceError, UsageError, VerificationError
from cifar10_s.methods import learned
from cifar10_s.release import card, croissant
from cifar10_s.release.manifest import read_manifest
from cifar10_s.release.recipe_record import read_recipe

BUILT = ["ops", "lsp-ops", "em", "em-ops", "random-classwise", "tap"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures", photographs(count=24, shape=(8, 8, 3)))


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options of a build with noise per image, noise per class, and some that no level is whole of."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("noise")
    np.save(folder / "em.npy", random.integers(-8, 9, (24, 8, 8, 3)).astype(np.int8))
    np.save(folder / "tap.npy", random.uniform(-8, 8, (3, 8, 8, 3)).astype(np.float32))
    noise = {"em": folder / "em.npy", "tap": folder / "tap.npy"}
    return {"name": "small-s", "configurations": BUILT, "noise": noise, "seed": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, pictures, options):
    folder = tmp_path_factory.mktemp("recipe") / "recipe"
    return cifar10_s.build(pictures, folder, **options, recipe_only=True)


@pytest.fixture
def changed(recipe, tmp_path):
    """Return a function that changes a file of a copy of the recipe, with sums that fit."""
    folder = shutil.copytree(recipe.folder, tmp_path / "changed")

    def change(path, function):
        data = json.loads((folder / path).read_text())
        function(data)
        (folder / path).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        write_sums(folder)
        return folder

    return change


def test_applied_it_is_the_release_that_build_writes(recipe, pictures, options, tmp_path):
    """Byte for byte, though its noise comes from the recipe and not from the files."""
    whole = cifar10_s.build(pictures, tmp_path / "whole", **options)
    applied = cifar10_s.apply(recipe.folder, pictures, tmp_path / "applied", device="cpu")
    assert applied.files == whole.files
    assert applied.manifest == whole.manifest
    assert applied.images == 24 * (1 + len(whole.manifest.configurations))
    again = cifar10_s.apply(recipe.folder, pictures, tmp_path / "applied", device="cpu")
    assert again.files == whole.files


def test_what_its_makers_say_and_its_version_are_kept(pictures, tmp_path):
    about = tmp_path / "about.yaml"
    about.write_text("title: Small\nauthors: Ada\nlicence: cc-by-4.0\n")
    options = {"name": "x", "configurations": ["ops"], "about": about, "dataset_version": "1.2.0", "device": "cpu"}
    recipe = cifar10_s.build(pictures, tmp_path / "recipe", **options, recipe_only=True)
    applied = cifar10_s.apply(recipe.folder, pictures, tmp_path / "applied", device="cpu")
    assert applied.manifest == replace(recipe.manifest, recipe_only=False)
    assert (applied.manifest.title, applied.manifest.version) == ("Small", "1.2.0")


def test_its_results_are_in_what_it_becomes(tmp_path):
    options = {"name": "digits-s", "configurations": ["ops"], "device": "cpu"}
    whole = cifar10_s.build("sample", tmp_path / "whole", **options)
    records = tmp_path / "records.jsonl"
    cifar10_s.bench(whole.folder, records, protocol="smoke-v1", epochs=1, limit=20, device="cpu")
    cifar10_s.build("sample", tmp_path / "recipe", **options, records=[records], recipe_only=True)
    applied = cifar10_s.apply(tmp_path / "recipe", "sample", tmp_path / "applied", device="cpu")
    again = cifar10_s.build("sample", tmp_path / "again", **options, records=[records])
    assert applied.manifest.results.records == 2
    assert applied.files == again.files


def test_images_in_the_cache_are_not_taken_for_its_own(recipe, pictures, options, tmp_path):
    whole = cifar10_s.build(pictures, tmp_path / "whole", **options)
    cifar10_s.Release(whole.folder).train("ops")
    with pytest.raises(SourceError, match="has recipes and no images; make them"):
        cifar10_s.Release(recipe.folder).train("ops")


def test_it_holds_no_image(recipe):
    names = sorted(name for name in recipe.files if not name.startswith("recipes/"))
    assert names == [
        "README.md", "croissant.json", "figures/scores-mean-over-variance.png", "manifest.json", "noise/em.npz",
        "noise/tap.npz",
    ]  # fmt: skip
    assert recipe.images == 0
    assert np.load(recipe.folder / "noise/em.npz")["noise"].dtype == np.int8
    assert np.load(recipe.folder / "noise/tap.npz")["noise"].shape == (3, 8, 8, 3)
    assert cifar10_s.verify(recipe.folder) == recipe


def test_without_search_and_noise_there_is_no_empty_folder(pictures, tmp_path):
    made = cifar10_s.build(pictures, tmp_path / "x", name="x", configurations=["lsp"], recipe_only=True)
    assert {path.name for path in made.folder.iterdir() if path.is_dir()} == {"recipes"}


def test_noise_that_a_network_made_is_not_made_again(tmp_path, monkeypatch, tiny):
    images = photographs(count=24, shape=(8, 8, 3))
    folder = write_pictures(tmp_path / "pictures", images)
    options = {"name": "em-s", "configurations": ["em-classwise-ops"], "device": "cpu", "budget": "small"}
    made = cifar10_s.build(folder, tmp_path / "recipe", **options, recipe_only=True, yes=True)
    whole = cifar10_s.build(folder, tmp_path / "whole", **options)
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setattr(learned.Learned, "noise", lambda *_, **__: pytest.fail("it is made again"))
    applied = cifar10_s.apply(made.folder, folder, tmp_path / "applied", device="cpu")
    assert applied.files == whole.files
    assert (applied.folder / "recipes/em-classwise-ops.json").read_text().count("sha256") == 0


def test_what_was_chosen_is_chosen_again(pictures, tmp_path):
    choices = cifar10_s.Choices(classes=("class 0", "2"), limit=5, resize=6, mode="L")
    options = {"name": "few-s", "configurations": ["ops"], "choices": choices, "device": "cpu"}
    made = cifar10_s.build(pictures, tmp_path / "recipe", **options, recipe_only=True)
    whole = cifar10_s.build(pictures, tmp_path / "whole", **options)
    assert made.manifest.shape == (6, 6, 1)
    assert cifar10_s.apply(made.folder, pictures, tmp_path / "a", device="cpu").files == whole.files
    same = cifar10_s.apply(made.folder, pictures, tmp_path / "b", choices=choices, device="cpu")
    assert same.files == whole.files
    for wrong in ({"limit": 4}, {"resize": 5}, {"mode": "RGB"}, {"classes": ("0",)}):
        with pytest.raises(UsageError, match=r"the recipe was made with .*; leave it out"):
            cifar10_s.apply(made.folder, pictures, tmp_path / "c", choices=cifar10_s.Choices(**wrong))
    assert not (tmp_path / "c").exists()


def test_choices_of_another_kind_of_source_are_not_asked_of_it(tmp_path):
    """The recipe was made from a table with two columns of labels; the images come as arrays, in one file."""
    images = photographs(count=24, shape=(8, 8, 3))
    files = [{"bytes": data, "path": None} for data in encode(images.pixels)]
    rows = {"img": files, "fine": images.labels.tolist(), "coarse": (images.labels // 2).tolist()}
    kinds = {"fine": datasets.ClassLabel(names=["0", "1", "2"]), "coarse": datasets.ClassLabel(names=["a", "b"])}
    table = datasets.Dataset.from_dict(rows, features=datasets.Features({"img": datasets.Image(), **kinds}))
    (tmp_path / "table").mkdir()
    table.to_parquet(tmp_path / "table/train.parquet")
    choices = cifar10_s.Choices(label_column="fine")
    options = {"name": "x", "configurations": ["ops"], "device": "cpu", "recipe_only": True}
    made = cifar10_s.build(tmp_path / "table", tmp_path / "recipe", **options, choices=choices)
    assert list(made.manifest.columns) == ["coarse"]
    arrays = write_arrays(tmp_path / "arrays/train", images.pixels, images.labels).parent
    with pytest.raises(SourceError, match="expected the column coarse, got none, or another"):
        cifar10_s.apply(made.folder, arrays, tmp_path / "out", device="cpu")
    assert cifar10_s.apply(made.folder, tmp_path / "table", tmp_path / "out", device="cpu").images == 72


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (photographs(count=24, shape=(8, 8, 3), seed=1), "expected train images of the pixel digest [0-9a-f]{64}, got"),
        (photographs(count=24, shape=(8, 9, 3)), "expected images of 8×8×3, got 8×9×3"),
        (photographs(count=24, shape=(8, 8, 3), classes=2), "expected the classes class 0, class 1, class 2, got"),
    ],
)
def test_other_images_are_one_line_and_nothing_is_written(recipe, tmp_path, images, message):
    other = write_pictures(tmp_path / "pictures", images)
    with pytest.raises(SourceError, match=f"holds other images than the recipe was made from: {message}"):
        cifar10_s.apply(recipe.folder, other, tmp_path / "out", device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_the_images_are_never_overwritten(recipe, tmp_path):
    """The line comes before the images are read, so it does not matter whose they are."""
    write_pictures(tmp_path / "photos", photographs(count=4, shape=(8, 8, 3)))
    with pytest.raises(UsageError, match="photos: is read for this build, and --overwrite would remove it"):
        cifar10_s.apply(recipe.folder, tmp_path / "photos", tmp_path, overwrite=True, device="cpu")
    assert any((tmp_path / "photos").iterdir())


def test_other_pixels_than_recorded_are_not_written(changed, pictures, tmp_path):
    """A digest that was changed with everything that repeats it, as by another version of a method."""
    old = json.loads((changed("manifest.json", lambda data: None) / "manifest.json").read_text())
    digest = old["configurations"]["lsp-ops"]["pixels_sha256"]
    folder = changed("manifest.json", lambda data: data["configurations"]["lsp-ops"].update(pixels_sha256="0" * 64))
    for name in ("README.md", "croissant.json"):
        (folder / name).write_text((folder / name).read_text().replace(digest, "0" * 64))
    write_sums(folder)
    cifar10_s.verify(folder)
    with pytest.raises(BuildError, match=f"lsp-ops: expected the pixel digest 0{{64}}, .* got {digest}: nothing was"):
        cifar10_s.apply(folder, pictures, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"train_split": 4}, "source.choices.train_split: expected str.*, got 4"),
        ({"limit": "x"}, "source.choices.limit: expected int.*, got 'x'"),
        ({"limit": -5}, "source.choices: .*expected at least one image per class"),
    ],
)
def test_recorded_choices_of_another_form_are_one_line(changed, pictures, tmp_path, choices, message):
    folder = changed("manifest.json", lambda data: data["source"].update(choices=choices))
    manifest = read_manifest((folder / "manifest.json").read_bytes())
    found = {name: read_recipe((folder / f"recipes/{name}.json").read_bytes()) for name in manifest.configurations}
    shortcuts = {name: one.shortcut for name, one in found.items() if one.shortcut is not None}
    (folder / "README.md").write_text(card.render(manifest, {}, shortcuts))
    (folder / "croissant.json").write_text(typed_json.dump(croissant.describe(manifest, {})))
    write_sums(folder)
    with pytest.raises(SourceError, match=message):
        cifar10_s.apply(folder, pictures, tmp_path / "out", device="cpu")


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("recipes/ops.json", lambda data: data["shortcut"]["classes"][0]["pixels"][0].update(row=8), "does not fit"),
        ("recipes/ops.json", lambda data: data.update(shortcut=None), "expected objective and pixels per class"),
        ("recipes/ops.json", lambda data: data["recipe"].update(pixels=2), "recipe.pixels: expected 1, got 2"),
        ("recipes/lsp-ops.json", lambda data: data.update(seed=4), "seed: expected 3, got 4"),
        ("recipes/em.json", lambda data: data["recipe"]["method"].update(kind="x"), "noise: kind: expected"),
        ("manifest.json", lambda data: data["configurations"]["ops"].update(rows=23), "ops.rows: expected 24, got 23"),
        ("manifest.json", lambda data: data["source"]["pixels_sha256"].update(train="0" * 64), "source: pixel digests"),
        ("manifest.json", lambda data: data.pop("recipe_only"), "expected shards 0 to n-1 of n"),
    ],
)
def test_verify_finds_what_contradicts(changed, path, change, message):
    with pytest.raises(VerificationError, match=message):
        cifar10_s.verify(changed(path, change))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (np.full((24, 8, 8, 3), 9, np.int8), "expected noise of at most 8 levels"),
        (np.full((24, 8, 8, 3), np.nan, np.float32), "expected noise of at most 8 levels"),
        (np.zeros((3, 8, 8, 3), np.int8), r"expected noise of the shape \(24, 8, 8, 3\)"),
        (np.zeros((24, 8, 8, 3), np.float64), "int8 or float32, got"),
        (np.array([{}]), "Python objects"),
    ],
)
def test_verify_reads_the_noise(changed, noise, message):
    folder = changed("manifest.json", lambda data: None)
    np.savez_compressed(folder / "noise/em.npz", noise=noise)
    write_sums(folder)
    with pytest.raises(VerificationError, match=message):
        cifar10_s.verify(folder)


def test_noise_that_is_missing_or_not_asked_for(changed):
    folder = changed("manifest.json", lambda data: None)
    (folder / "noise/em.npz").rename(folder / "noise/rem.npz")
    write_sums(folder)
    with pytest.raises(VerificationError, match=r"noise/em\.npz: is missing\nnoise/rem\.npz: is not part of a release"):
        cifar10_s.verify(folder)


def test_the_command_line(recipe, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(recipe.folder)
    assert run(["build", "--source", str(pictures), "-c", "ops", "--name", "p", "--recipe-only"]) == 0
    assert run(["apply", "p", "--source", str(pictures), "--output", "q"]) == 0
    assert "q: built and verified, the pixels are those of the recipe" in capsys.readouterr().out
    assert run(["verify", "p"]) == 0
    assert "recipes and card; not the pixels, the search and the metrics" in capsys.readouterr().out
    assert run(["info", folder]) == 0
    assert "without images; `cifar10-s apply` makes them" in capsys.readouterr().out
    advice = f"has recipes and no images; make them of the images that it was built from: cifar10-s apply {folder}"
    for command in (["bench", folder, "--records", "r.jsonl"], ["report", folder], ["audit", folder, "-c", "ops"]):
        assert run(command) in (1, 2)
        error = capsys.readouterr().err
        assert advice in error
        assert error.count("\n") == 1
    assert run(["apply", "q", "--source", str(pictures)]) == 2
    assert "q: has its images; expected a release that `build --recipe-only` wrote" in capsys.readouterr().err
    assert run(["build", "--source", str(pictures), "-c", "ops", "--name", "p"]) == 2
    assert "holds something other than this build" in capsys.readouterr().err
    assert run(["build", "--source", folder, "-c", "ops", "--name", "z"]) == 2
    assert "expected clean images" in capsys.readouterr().err


def test_the_librarys_loader_says_what_it_is(recipe):
    """It takes neither recipes nor figures for the data, and names no file that is missing."""
    loaded = datasets.load_dataset(str(recipe.folder))
    assert loaded["train"][0]["name"] == "small-s"
    with pytest.raises(ValueError, match="recipe-only"):
        datasets.load_dataset(str(recipe.folder), "ops")
    assert "viewer: false" in (recipe.folder / "README.md").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlcroissant_reads_its_description(recipe):
    described = mlcroissant.Dataset(recipe.folder / "croissant.json")
    assert described.metadata.ctx.issues.report() == ""
    assert [one.uuid for one in described.metadata.record_sets] == ["splits", "classes"]


def test_it_is_pushed_and_applied_from_the_hub(hub, recipe, pictures, tmp_path, capsys):
    pushed = cifar10_s.push(recipe, "me/small-s", endpoint=hub.endpoint)
    assert pushed.status == "published"
    name = f"me/small-s@{pushed.tag}"
    assert cifar10_s.verify(name, endpoint=hub.endpoint).manifest == recipe.manifest
    assert cifar10_s.verify(name, endpoint=hub.endpoint, download=True).images == 0
    assert run(["verify", name, "--endpoint", hub.endpoint]) == 0
    assert "by the Hub's hashes; not the pixels" in capsys.readouterr().out
    local = cifar10_s.apply(recipe.folder, pictures, tmp_path / "local", device="cpu")
    applied = cifar10_s.apply(name, pictures, tmp_path / "applied", device="cpu", endpoint=hub.endpoint)
    assert applied.files == local.files
    whole = cifar10_s.push(local, "me/whole-s", endpoint=hub.endpoint)
    with pytest.raises(UsageError, match="has its images"):
        cifar10_s.apply(f"me/whole-s@{whole.tag}", pictures, tmp_path / "x", endpoint=hub.endpoint)


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """Write a user's own method to the current folder, and return its path."""
    (tmp_path / "shift_for_recipes.py").write_text(
        "from dataclasses import dataclass\n"
        "from cifar10_s.methods.base import Bound, Method\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Shift(Method):\n"
        "    name: str = 'shift'\n"
        "    summary: str = 'a shift'\n\n"
        "    def bound(self, shape):\n"
        "        return Bound(linf=8)\n"
    )
    monkeypatch.chdir(tmp_path)
    return "shift_for_recipes:Shift"


def test_users_own_methods_are_refused(own_method, pictures, tmp_path):
    with pytest.raises(UsageError, match="got shift; build the images"):
        cifar10_s.build(pictures, tmp_path / "out", configurations=[own_method], recipe_only=True)
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_declares_users_own_methods_does_not_verify(changed):
    declared = {"path": "a:b", "summary": "c", "linf": 8, "l2": None}
    folder = changed("manifest.json", lambda manifest: manifest.update(own_methods={"d": declared}))
    with pytest.raises(VerificationError, match="own_methods: expected none in a release without images"):
        cifar10_s.verify(folder)
