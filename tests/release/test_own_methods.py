"""Users' own methods: by path and entry point, in releases, and verified where they are not installed."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest
from support.options import on_cpu
from typer.testing import CliRunner

import cifar10_s
from cifar10_s.cli.app import app
from cifar10_s.common.checksums import write_sums
from cifar10_s.common.own import installed, module_sha256
from cifar10_s.errors import UsageError, VerificationError
from cifar10_s.methods.base import Bound, Method, adding
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.foreign import ForeignMethod
from cifar10_s.methods.own import Origin, load_method, name_reason
from cifar10_s.release.compose import compose
from cifar10_s.release.recipes import CONFIGURATIONS, Recipe, find_recipe, select


@dataclass(frozen=True, kw_only=True)
class Shift(Method):
    """Every image a little lighter; by parts."""

    name: str = "shift"
    summary: str = "shift: every image a little lighter"
    levels: int = 3

    def bound(self, shape):
        return Bound(linf=self.levels)

    def transform(self, images, options):
        return lambda rows, pixels: np.minimum(pixels, 255 - self.levels) + np.uint8(self.levels)


@dataclass(frozen=True, kw_only=True)
class Drawing(Shift):
    """The same by as many levels as it draws for each class; in ℓ2, too."""

    draws: ClassVar[bool] = True
    name: str = "drawing"
    summary: str = "drawing: every class a little lighter"

    def bound(self, shape):
        return Bound(linf=self.levels, l2=1.5)

    def _levels(self, images, options):
        return np.arange(len(images.class_names)) % (self.levels + 1)

    def transform(self, images, options):
        levels = self._levels(images, options).astype(np.float32)
        return adding(lambda rows: levels[images.labels[rows]][:, None, None, None])

    def drawn(self, images, options):
        return {"levels": self._levels(images, options).tolist()}


@dataclass(frozen=True, kw_only=True)
class Nameless(Method):
    def bound(self, shape):
        return Bound()


@dataclass(frozen=True, kw_only=True)
class Learning(ErrorMinimizing):
    name: str = "learning"


@dataclass(frozen=True, kw_only=True)
class Broken(Shift):
    def transform(self, images, options):
        raise RuntimeError("two\nlines")


@dataclass(frozen=True, kw_only=True)
class BrokenLater(Shift):
    def transform(self, images, options):
        return lambda rows, pixels: pixels / 0


@dataclass(frozen=True, kw_only=True)
class Wide(Shift):
    def transform(self, images, options):
        return lambda rows, pixels: pixels.astype(float)


@dataclass(frozen=True, kw_only=True)
class Flat(Shift):
    def transform(self, images, options):
        return None

    def perturb(self, images, options):
        return images.pixels[:3]


@dataclass(frozen=True, kw_only=True)
class Listing(Shift):
    """A list is recorded as it is, and has no hash."""

    per_channel: list[int] = field(default_factory=lambda: [1, 2])


@dataclass(frozen=True, kw_only=True)
class BrokenDraw(Drawing):
    def drawn(self, images, options):
        raise RuntimeError("no luck")


@dataclass(frozen=True, kw_only=True)
class ArrayDraw(Drawing):
    def drawn(self, images, options):
        return {"levels": self._levels(images, options)}


@dataclass(frozen=True, kw_only=True)
class BrokenPasses(Learning):
    def passes(self, count):
        return count / 0


@dataclass(frozen=True, kw_only=True)
class BrokenBound(Shift):
    def bound(self, shape):
        raise RuntimeError("no bound")


@dataclass(frozen=True, kw_only=True)
class Unbounded(Shift):
    def bound(self, shape):
        return 3


@dataclass(frozen=True, kw_only=True)
class Liar(Shift):
    def bound(self, shape):
        return Bound(linf=2)


def own(name):
    return f"{__name__}:{name}"


strong = Shift(name="shift-9", levels=9)
again, taken, ends_with_ops = Shift(), Shift(name="em"), Shift(name="shift-ops")
odd_summary, odd_field = Shift(summary="a | b"), Shift(levels=np.int64(3))


class Listed(Shift):
    def settings(self):
        return [1]


listed = Listed()


def names(*configurations, **options):
    return [recipe.name for recipe in select(configurations, **options)]


def test_a_path_has_all_configurations_of_a_method():
    assert names(own("Shift")) == ["clean", "shift"]
    assert names(own("Shift-ops"), "ops") == ["clean", "ops", "shift-ops"]
    assert names(own("Shift-ops-spread-2"), own("Shift")) == ["clean", "shift", "shift-ops-spread-2"]
    assert names(own("Shift-ops-patches-2")) == ["clean", "shift-ops-patches-2"]
    assert names(own("strong"), own("Shift-ops")) == ["clean", "shift-9", "shift-ops"]
    recipe = find_recipe(own("Shift-ops"))
    assert recipe == replace(CONFIGURATIONS["lsp-ops"], name="shift-ops", base="shift", method=Shift(),
                             summary="shift, and One-Pixel Shortcut", origin=recipe.origin)  # fmt: skip
    assert recipe.origin == Origin(own("Shift"), module_sha256(Shift))
    assert recipe.settings()["method"] == {
        "name": "shift", "levels": 3, "path": own("Shift"), "module_sha256": module_sha256(Shift),
    }  # fmt: skip


def test_an_own_method_that_trains_a_model_has_a_reduced_recipe():
    small = find_recipe(own("Learning"), budget="small")
    assert (small.budget, small.method) == ("small", Learning().small())
    assert small.summary.endswith("; reduced recipe")


def test_the_noise_of_other_code_is_other_work(sample):
    """Own code may change under the same name and numbers; this package's is known by its version."""
    from cifar10_s.nn.runtime import Runtime

    runtime = Runtime.on("cpu")
    mine = Learning(name="em").checkpoint(sample, 0, runtime)
    assert mine.finished != ErrorMinimizing().checkpoint(sample, 0, runtime).finished
    assert module_sha256(ErrorMinimizing) is None
    assert module_sha256(int) is None


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["no.such.module:X"], "method 'no.such.module:X': no.such.module does not import"),
        ([own("absent")], "defines no 'absent'"),
        ([own("own")], "expected a Method, or a class of methods, got function"),
        ([own("EntryPoint")], "expected a Method, or a class of methods, got the class EntryPoint"),
        ([own("Nameless")], "raised TypeError: .*: expected a class of methods that is made without arguments"),
        ([own("taken")], "name: 'em' is a configuration of this package: choose another"),
        ([own("Shift"), own("again")], "name: 'shift' is a configuration of .*:Shift: choose another"),
        ([own("ends_with_ops")], "name: expected up to 40 lower-case letters and digits, .* got 'shift-ops'"),
        ([own("odd_summary")], "summary: expected one line of 1 to 200 letters, .* got 'a | b'"),
        ([own("odd_field")], "its fields: expected numbers, texts, lists and None, .* int64"),
        ([own("listed")], r"its fields: settings\(\) returned list: expected a dict"),
        (["tiels"], "unknown configuration 'tiels': expected one of clean, .*, all, your own as package.module:name"),
    ],
)
def test_what_is_no_method_gets_one_line(names, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        select(names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "tiles", "a-1", "x" * 40])
def test_names(name):
    assert name_reason(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "A", "a_b", "a--b", "-a", "a-", "x" * 41, "../x", "a b", "é", "a-ops", "a-ops-b", "all", "test", "train", 5,
     "a\n"],
)  # fmt: skip
def test_what_is_no_name(name):
    assert "name: expected" in name_reason(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Broken", "method '.*:Broken': raised RuntimeError: two lines"),
        ("BrokenLater", "expected pixels uint8 of .*, got float64 of"),
        ("Wide", "expected pixels uint8 of .*, got float64 of"),
        ("Flat", r"expected pixels uint8 of \(1438, 8, 8, 1\), got uint8 of \(3, 8, 8, 1\)"),
        ("Unbounded", "bound: expected a Bound of linf 0-255 and l2 from 0, got 3"),
        ("BrokenDraw", "method '.*:BrokenDraw': raised RuntimeError: no luck"),
        ("ArrayDraw", "method '.*:ArrayDraw': raised TypeError: Object of type ndarray"),
        ("BrokenPasses", "method '.*:BrokenPasses': raised ZeroDivisionError"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_method_that_does_otherwise_than_it_should_gets_one_line(name, reason, tmp_path):
    with pytest.raises(UsageError, match=reason):
        cifar10_s.build("sample", tmp_path / "x", name="x", configurations=[own(name)], device="cpu")
    assert not (tmp_path / "x").exists()


def test_a_bound_that_raises_gets_one_line_when_noise_is_read(tmp_path):
    np.save(tmp_path / "noise.npy", np.ones((10, 8, 8, 1), np.int8))
    options = {"configurations": [own("BrokenBound")], "noise": {"shift": tmp_path / "noise.npy"}, "device": "cpu"}
    with pytest.raises(UsageError, match="bound: raised RuntimeError: no bound"):
        cifar10_s.build("sample", tmp_path / "x", name="x", **options)


def test_a_parameter_may_be_a_list(tmp_path):
    made = cifar10_s.build("sample", tmp_path / "x", name="x", configurations=[own("Listing")], device="cpu")
    assert json.loads((made.folder / "recipes/shift.json").read_text())["recipe"]["method"]["per_channel"] == [1, 2]


def test_a_bound_that_is_not_kept_is_found(tmp_path):
    with pytest.raises(VerificationError, match="further from the clean images than the method's bound"):
        cifar10_s.build("sample", tmp_path / "x", name="x", configurations=[own("Liar")], device="cpu")
    assert not (tmp_path / "x").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "x"
    return cifar10_s.build(
        "sample", folder, name="x", configurations=["ops", own("Shift"), own("Shift-ops")], device="cpu"
    )


def test_a_release_has_them_and_says_where_they_are_from(built, sample):
    assert list(built.manifest.configurations) == ["clean", "ops", "shift", "shift-ops"]
    declared = json.loads((built.folder / "manifest.json").read_text())["own_methods"]
    assert declared == {
        "shift": {"path": own("Shift"), "summary": "shift: every image a little lighter", "linf": 3, "l2": None}
    }
    release = cifar10_s.Release(built.folder)
    assert np.array_equal(release.train("shift").pixels, np.minimum(sample.pixels, 252) + 3)
    shortcut = release.recipe("shift-ops").shortcut
    assert np.array_equal(release.train("shift-ops").pixels, shortcut.stamp(release.train("shift")).pixels)
    card = (built.folder / "README.md").read_text()
    assert f"`shift` (`{own('Shift')}`, at most ℓ∞ 3)" in card
    loaded = cifar10_s.load(own("Shift"), source="sample", device="cpu")
    assert np.array_equal(np.asarray(loaded["train"][5]["img"]), release.train("shift").pixels[5, :, :, 0])


def test_the_same_build_is_left_as_it_is(built):
    again = cifar10_s.build(
        "sample", built.folder, name="x", configurations=["ops", own("Shift"), own("Shift-ops")], device="cpu"
    )
    assert again.files == built.files


STOCK = """
import sys

def watch(event, arguments):
    if event == "import" and arguments[0].endswith("test_own_methods"):
        raise RuntimeError("verify imported a release's method")

sys.addaudithook(watch)
from cifar10_s.cli.app import main
main()
"""


def test_a_stock_installation_verifies_it_and_says_what_was_not_checked(built):
    """In another process, in another folder, which has none of this file."""
    command = [sys.executable, "-c", STOCK, "verify", str(built.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=built.folder.parent)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith(
        f"not checked: shift: that the noise is what {own('Shift')}, which is not part of this package"
    )
    assert "bound that is declared, ℓ∞ 3" in last
    machine = CliRunner().invoke(app, ["verify", str(built.folder), "--json"])
    assert len(json.loads(machine.stdout)["unchecked"]) == 1


def changed(built, folder, file, change):
    shutil.copytree(built.folder, folder)
    data = json.loads((folder / file).read_text())
    change(data)
    (folder / file).write_text(json.dumps(data))
    write_sums(folder)
    with pytest.raises(VerificationError) as caught:
        cifar10_s.verify(folder)
    return caught.value.failures


def declare(**fields):
    return lambda data: data["own_methods"]["shift"].update(fields)


def rename(name):
    def change(data):
        data["own_methods"][name] = data["own_methods"].pop("shift")

    return change


@pytest.mark.parametrize(
    ("file", "change", "failure"),
    [
        ("manifest.json", declare(linf=2), "further from the clean images than the method's bound"),
        ("manifest.json", declare(linf=256), "own_methods.shift.linf: expected"),
        ("manifest.json", declare(path="os"), "own_methods.shift.path: expected"),
        ("manifest.json", declare(path="a:b\n"), "own_methods.shift.path: expected"),
        ("manifest.json", declare(summary="<script>"), "own_methods.shift.summary: expected"),
        ("manifest.json", declare(path="antigravity:x"), "recipe.method: expected shift of antigravity:x"),
        ("manifest.json", declare(summary="another"), "configurations.shift.summary"),
        ("manifest.json", rename("ops"), "own_methods.ops"),
        ("manifest.json", rename("em"), "own_methods.em: expected a name that no configuration of this package has"),
        ("manifest.json", rename("other"), "expected a configuration that is made by it, got none"),
        ("manifest.json", lambda data: data.pop("own_methods"), "unknown configuration 'shift'"),
        ("recipes/shift.json", lambda data: data["recipe"].update(method=None), "expected shift of"),
        ("recipes/shift.json", lambda data: data["recipe"]["method"].pop("path"), "expected shift of"),
        ("recipes/shift-ops.json", lambda data: data["recipe"].update(pixels=2), "recipe.pixels: expected 1, got 2"),
    ],
)
def test_a_changed_declaration_is_found_and_imports_nothing(built, tmp_path, file, change, failure):
    assert any(failure in line for line in changed(built, tmp_path / "x", file, change))
    assert "antigravity" not in sys.modules


def test_a_release_s_method_is_not_run(sample):
    """As `apply` would have to, for recipes without images."""
    foreign = ForeignMethod(name="shift", summary="shift", path="antigravity:x", linf=3, l2=None)
    with pytest.raises(UsageError, match="shift: is made by antigravity:x, which a release does not make this package"):
        compose(Recipe("shift", "shift", method=foreign), sample, on_cpu())
    assert "antigravity" not in sys.modules


def test_what_it_draws_is_kept_and_its_l2_bound_is_checked(tmp_path):
    built = cifar10_s.build("sample", tmp_path / "x", name="x", configurations=[own("Drawing-ops")], device="cpu")
    recipe = json.loads((built.folder / "recipes" / "drawing-ops.json").read_text())
    assert recipe["drawn"] == {"levels": [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]}
    assert cifar10_s.verify(built.folder).unchecked[0].endswith("bound that is declared, ℓ∞ 3, ℓ2 1.5")
    with_less = changed(
        built, tmp_path / "y", "manifest.json", lambda data: data["own_methods"]["drawing"].update(l2=0.01)
    )
    assert any("further from the clean images" in line for line in with_less)


def test_noise_from_a_file_in_its_place(tmp_path, sample):
    noise = np.where(np.arange(10)[:, None, None, None] % 2, 3, -3) * np.ones((10, 8, 8, 1), np.int16)
    np.save(tmp_path / "noise.npy", noise)
    release = cifar10_s.build(
        "sample", tmp_path / "x", name="x", configurations=[own("Shift")], noise={"shift": tmp_path / "noise.npy"},
        device="cpu",
    )  # fmt: skip
    assert cifar10_s.verify(release.folder).files == release.files
    made = cifar10_s.Release(release.folder).train("shift").pixels
    assert np.array_equal(made, np.clip(sample.pixels + noise[sample.labels], 0, 255))


# --- entry points ---


@pytest.fixture
def package(monkeypatch):
    """Let an installed package offer one of each kind by entry points."""
    offered = {
        "methods": ("shift", own("Shift")),
        "strategies": ("dark", own("dark")),
        "networks": ("net", own("net")),
        "protocols": ("fast", own("fast")),
    }
    points = {f"cifar10_s.{group}": [EntryPoint(*point, f"cifar10_s.{group}")] for group, point in offered.items()}
    monkeypatch.setattr("cifar10_s.common.own.entry_points", lambda group: points.get(group, []))


def dark(levels, targets, random):
    return levels / 2, targets


def net(channels, size, classes):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))


fast = cifar10_s.Protocol(name="fast", network="net", epochs=1, learning_rate=0.01)


def test_entry_points_are_found_by_name_and_recorded_by_path(package, built, tmp_path):
    assert select(["shift-ops"])[1] == find_recipe(own("Shift-ops"))
    (record,) = cifar10_s.bench(
        built.folder, tmp_path / "r.jsonl", configurations=["shift"], strategies=["dark"], protocol="fast", device="cpu"
    )
    assert record.status == "done"
    settings = record["settings"]
    assert settings["strategy"]["name"] == own("dark")
    assert settings["network"] == own("net")
    assert settings["protocol"]["name"] == own("fast")


def test_entry_points_are_listed_and_not_imported(package, monkeypatch):
    monkeypatch.setattr("cifar10_s.common.own.import_module", None)
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    for kind, name in (("methods", "shift"), ("strategies", "dark"), ("networks", "net"), ("protocols", "fast")):
        assert listed[kind][name].startswith("of an installed package, ")
    assert {"shift", "shift-ops", "shift-ops-spread-2"} <= listed["configurations"].keys()
    with pytest.raises(
        UsageError,
        match=r"'shaft' \(did you mean shift\?\): .*random-samplewise-ops-patches-4, all, shift, your own as",
    ):
        select(["shaft"])


def test_an_installed_package_is_found_by_its_metadata(tmp_path, monkeypatch):
    """As pip leaves it, with the entry points that docs/add-a-method.md has."""
    metadata = tmp_path / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    groups = {"methods": "tiles = mine:Tiles [some.extra]", "strategies": "noise = mine:noise", "networks": "n = a.b:c"}
    text = "\n".join(f"[cifar10_s.{group}]\n{line}\n" for group, line in groups.items())
    (metadata / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("method")["tiles"] == "mine:Tiles"
    assert installed("strategy")["noise"] == "mine:noise"
    assert installed("network")["n"] == "a.b:c"
    assert "tiles" not in installed("protocol")
    monkeypatch.setitem(sys.modules, "mine", None)  # is not importable
    with pytest.raises(UsageError, match="method 'mine:Tiles': mine does not import"):
        select(["tiles-ops"])


def test_a_table_s_name_wins(monkeypatch):
    monkeypatch.setattr("cifar10_s.common.own.entry_points", lambda group: [EntryPoint("lsp", own("Shift"), group)])
    assert select(["lsp"])[1] == CONFIGURATIONS["lsp"]
    assert load_method(own("strong"))[0] is strong
