"""A release includes the benchmark results on its own images, and `verify` checks them."""

import json
import re
import shutil

import pytest
from support.synthetic_records import record

import cifar10_s
from cifar10_s.common.checksums import write_sums
from cifar10_s.common.records import Records, run_id
from cifar10_s.errors import SourceError, UsageError, VerificationError
from cifar10_s.release.layout import RESULTS

NAMES = ["clean", "ops"]


def runs(release, configurations=("clean", "ops"), network="small", **changes):
    """Yield synthetic runs on a release's own images."""
    manifest = release.manifest
    for seed, name in enumerate(configurations):
        yield record(
            name, seed=seed, network=network, source=manifest.title,
            pixels=manifest.pixels[name], test=manifest.test_pixels, **changes,
        )  # fmt: skip


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def build(folder, records, **options):
    return cifar10_s.build("sample", folder, name="digits-s", configurations=NAMES, records=records, **options)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return build(tmp_path_factory.mktemp("plain") / "digits", [])


@pytest.fixture(scope="module")
def measured(plain, tmp_path_factory):
    """Build a release with two runs on its own images; a third run was on other images."""
    folder = tmp_path_factory.mktemp("measured")
    own = list(runs(plain))
    other = record("ops", seed=7, network="small", source="“other”", pixels="0" * 64)
    return build(folder / "digits", [write(folder / "r.jsonl", [*own, other])])


def test_the_card_shows_what_was_measured_on_these_images(plain, measured):
    assert measured.manifest.results.records == 2
    assert Records(measured.folder / RESULTS).read() == list(runs(plain))
    card = (measured.folder / "README.md").read_text()
    table = card[card.index("Clean test accuracy (%) by configuration") :]
    for run in runs(plain):
        row = f"| {run['settings']['configuration']} | {run['results']['final']:.2f} ({run['results']['peak']:.2f}) |"
        assert row in table
    assert "“other”" not in card
    figures = measured.manifest.results.figures
    assert figures
    for path in figures:
        assert f"]({path})" in card
        assert (measured.folder / path).is_file()
    assert "## What networks learn from them" not in (plain.folder / "README.md").read_text()
    # The images are the same with and without results.
    assert {
        k: v for k, v in plain.files.items() if k.startswith(("data/", "recipes/"))
    }.items() <= measured.files.items()


def test_records_of_other_networks_alone_have_a_grid_each(plain, tmp_path):
    """Neither network is the protocol's own."""
    own = [one for network in ("lenet-5", "vgg-16") for one in runs(plain, network=network)]
    build(tmp_path / "digits", [write(tmp_path / "r.jsonl", own)])
    card = (tmp_path / "digits" / "README.md").read_text()
    assert card.count("Clean test accuracy (%) by configuration") == 2
    assert card.count("Transfer between networks") == 1


def test_the_same_records_are_the_same_build_and_others_are_not(plain, measured, tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(measured.folder, folder)
    own = write(tmp_path / "own.jsonl", runs(plain))
    assert build(folder, [own]).files == measured.files
    for other in ([], [write(tmp_path / "less.jsonl", list(runs(plain))[:1])]):
        with pytest.raises(UsageError, match="holds something other than this build"):
            build(folder, other)
    assert build(folder, [], overwrite=True).files == plain.files


def test_a_file_without_records_stops_the_build_before_it_begins(tmp_path):
    (tmp_path / "r.jsonl").write_text("{}\n")
    for name in ("r.jsonl", "absent.jsonl"):
        with pytest.raises(SourceError, match=name):
            build(tmp_path / "digits", [tmp_path / name])
    assert not (tmp_path / "digits").exists()


def tampered_record(folder, manifest):
    first, *others = Records(folder / RESULTS).read()
    first["settings"]["pixels_sha256"] = "0" * 64
    write(folder / RESULTS, [{**first, "id": run_id(first["settings"])}, *others])


def one_record_less(folder, manifest):
    write(folder / RESULTS, Records(folder / RESULTS).read()[1:])


def another_result_id(folder, manifest):
    text = (folder / RESULTS).read_text()
    (folder / RESULTS).write_text(re.sub(r'"seed": 0', '"seed": 9', text, count=1))


def no_figure_in_the_card(folder, manifest):
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace(manifest["results"]["figures"][0], "figures/ops.png"))


def a_figure_elsewhere(folder, manifest):
    manifest["results"]["figures"].append("../secret.png")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def more_records_said(folder, manifest):
    manifest["results"]["records"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))


def section(card):
    """Split a card into the parts before, in and after its section of results."""
    return re.fullmatch(r"(.*)(<!-- results: begin -->\n.*<!-- results: end -->\n)(.*)", card, re.DOTALL).groups()


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda before, results, after: before + after, "''"),
        (lambda before, results, after: results + before + after, "'<!-- results: begin -->'"),
        (lambda before, results, after: before + after + results, "''"),
        (lambda before, results, after: before + results + results + after, "'<!-- results: begin -->'"),
        (lambda before, results, after: before + results + "Buy now.\n" + after, "'Buy now.'"),
        (lambda before, results, after: before + results.replace("results: end", "end") + after, "''"),
    ],
    ids=["gone", "first", "last", "twice", "more after it", "without an end"],
)
def test_what_was_measured_stands_in_its_place_in_the_card(measured, tmp_path, change, got):
    folder = shutil.copytree(measured.folder, tmp_path / "digits")
    path = folder / "README.md"
    path.write_text(change(*section(path.read_text())))
    write_sums(folder)
    with pytest.raises(VerificationError) as caught:
        cifar10_s.verify(folder)
    assert all(line.startswith("README.md: expected ") for line in caught.value.failures)
    assert got in caught.value.failures[-1]


def test_nothing_was_measured_where_the_manifest_says_so(plain, measured, tmp_path):
    """If the manifest has no results, the card must not have a section of results."""
    folder = shutil.copytree(plain.folder, tmp_path / "digits")
    path = folder / "README.md"
    _, results, _ = section((measured.folder / "README.md").read_text())
    path.write_text(path.read_text().replace("## Dataset creation\n", f"{results}\n## Dataset creation\n"))
    write_sums(folder)
    with pytest.raises(VerificationError, match=r"^README\.md: expected .*, got '<!-- results: begin -->'$"):
        cifar10_s.verify(folder)


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (tampered_record, r"results/benchmark.jsonl: line 1: pixel digests"),
        (one_record_less, r"results/benchmark.jsonl: records: expected 2, got 1"),
        (another_result_id, r"results/benchmark.jsonl, line 1: is not a record"),
        (no_figure_in_the_card, r"README.md: expected its results to mention figures/results-"),
        (a_figure_elsewhere, r"manifest.json: results: expected figures/results-\*-\*.png, got ../secret.png"),
        (more_records_said, r"results/benchmark.jsonl: records: expected 3, got 2"),
    ],
)
def test_verify_names_what_does_not_belong(measured, tmp_path, tamper, named):
    folder = tmp_path / "digits"
    shutil.copytree(measured.folder, folder)
    tamper(folder, json.loads((folder / "manifest.json").read_text()))
    write_sums(folder)
    with pytest.raises(VerificationError, match=named):
        cifar10_s.verify(folder)
