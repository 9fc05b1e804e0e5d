"""What the makers of a dataset say of it: read from YAML, refused with one line, and shown everywhere."""

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import cifar10_s
from cifar10_s.data.provenance import Provenance, names_cifar10
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.methods.registry import METHODS
from cifar10_s.release.attribution import Attribution, read_attribution
from cifar10_s.release.papers import PAPERS, cite_methods
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.metadata import check_manifest

ABOUT = """\
title: Pets with shortcuts
authors: [Ada Lovelace, Grace Hopper]
licence: cc-by-4.0
contact: ada@example.org
homepage: https://example.org/pets?x=1#a
citation: |
  @misc{lovelace2026pets,
    title = {Pets with Shortcuts},
  }
terms: For research on shortcuts;
  tell us what you find.
"""


@pytest.fixture
def about(tmp_path):
    def write(text):
        path = tmp_path / "about.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_every_field_is_read(about):
    assert read_attribution(about(ABOUT)) == Attribution(
        title="Pets with shortcuts",
        authors=("Ada Lovelace", "Grace Hopper"),
        licence="cc-by-4.0",
        contact="ada@example.org",
        homepage="https://example.org/pets?x=1#a",
        citation="@misc{lovelace2026pets,\n  title = {Pets with Shortcuts},\n}\n",
        terms="For research on shortcuts; tell us what you find.",
    )
    assert read_attribution(about("authors: Ada Lovelace")).authors == ("Ada Lovelace",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "licens: mit",
            "unknown field 'licens' (did you mean licence?): expected one of title, authors, licence, contact",
        ),
        ("licence: MIT", "unknown licence 'MIT' (did you mean mit?): expected one of apache-2.0, mit"),
        ("licence: other", "terms: is missing, and licence is 'other': say what is allowed"),
        ("title: <b>Pets</b>", "title: expected plain text, got markup: '<' in '<b>Pets</b>'"),
        ("title: '[Pets](https://x.org)'", "title: expected plain text, got markup: ']('"),
        ("terms: '**bold**'", "terms: expected plain text, got markup"),
        ("authors: ['`x`']", "authors[0]: expected plain text, got markup"),
        ("authors: ['']", "authors[0]: expected text on one line, got ''"),
        ('title: "a\\u0007b"', "title: expected text on one line, got"),
        ("title: 2026", "title: expected text, got 2026; put it in quotes"),
        ("title: 2026-01-01", "title: expected text, got 2026-01-01"),
        ("authors: {a: b}", "authors: expected text"),
        ("homepage: example.org", "homepage: expected a URL, such as https://example.org, got 'example.org'"),
        ("homepage: 'javascript:alert(1)'", "homepage: expected a URL"),
        ("contact: Ada", "contact: expected an e-mail address or a URL, got 'Ada'"),
        ("citation: Lovelace 2026", "citation: expected BibTeX"),
        ("citation: '@misc{x, title={```}}'", "citation: expected BibTeX"),
        ("citation: '@misc{x, <!-- results: begin --> }'", "citation: expected BibTeX"),
        ("- title", "expected fields such as"),
        ("", "expected fields such as"),
    ],
)
def test_what_is_wrong_gets_one_line(about, text, line):
    path = about(text)
    with pytest.raises(UsageError) as caught:
        read_attribution(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        b"\xff",
        "a: !!python/object/apply:os.system ['true']",
        "[" * 5000,
        "a: 2026-99-99",
        "- " * 40_000,
    ],
)
def test_what_is_no_safe_yaml_gets_one_line(about, text):
    path = about(text)
    with pytest.raises(SourceError, match=f"^{path}: (is not YAML|expected at most)") as caught:
        read_attribution(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="cannot be read"):
        read_attribution(tmp_path / "about.yaml")


def test_cifar10_has_its_own_title_and_terms():
    cifar10 = Provenance("hub", "x", claims_cifar10=True, check="x")
    for field in ({"title": "Mine"}, {"licence": "mit"}, {"terms": "Mine."}):
        with pytest.raises(ValueError, match=f"^{next(iter(field))}: the images are CIFAR-10"):
            Attribution(**field).check_claims(cifar10)
    Attribution(authors=("Ada",), homepage="https://x.org").check_claims(cifar10)
    with pytest.raises(ValueError, match="not verified CIFAR-10"):
        Attribution(title="CIFAR 10 of mine").check_claims(Provenance())


def test_names_of_cifar10():
    assert all(map(names_cifar10, ["cifar10-s", "CIFAR-10", "my_cifar_10", "Cifar 10"]))
    assert not any(map(names_cifar10, ["cifar100", "CIFAR-100", "cifar", "digits-10"]))


@given(st.dictionaries(st.sampled_from(["title", "terms", "contact", "citation", "homepage"]), st.text()))
def test_what_is_taken_is_plain(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("about") / "about.yaml"
    path.write_text(yaml.safe_dump(fields))
    try:
        taken = read_attribution(path)
    except (SourceError, UsageError):
        return
    assert not set("<>`") & set("".join(taken.to_dict().values()))


def test_every_method_cites_its_paper():
    assert METHODS.keys() - PAPERS.keys() == {"random-classwise", "random-samplewise"}
    assert cite_methods(["clean", "ops", "random-classwise"]) == ""
    cited = cite_methods(["em", "em-ops", "em-classwise", "lsp-ops-spread-2"])
    assert cited.count("@inproceedings") == 2
    assert "huang2021unlearnable" in cited
    assert "yu2022availability" in cited


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Build a release with every field; return it, and its file."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "about.yaml").write_text(ABOUT)
    release = cifar10_s.build(
        "sample", folder / "pets", name="pets-s", configurations=["lsp-ops"], about=folder / "about.yaml", device="cpu"
    )
    return release, folder / "about.yaml"


def test_card_manifest_and_croissant_say_it(described):
    release, about = described
    card = (release.folder / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert (head["pretty_name"], head["license"]) == ("Pets with shortcuts", "cc-by-4.0")
    said = ["# Pets with shortcuts\n", "by Ada Lovelace, Grace Hopper.", "<ada@example.org>", "tell us what you find."]
    said += ["<https://example.org/pets?x=1#a>", "@misc{lovelace2026pets,", "wu2023onepixel", "yu2022availability"]
    assert [text for text in said if text not in card] == []
    assert json.loads((release.folder / "manifest.json").read_text())["attribution"]["licence"] == "cc-by-4.0"
    croissant = json.loads((release.folder / "croissant.json").read_text())
    assert [author["name"] for author in croissant["creator"]] == ["Ada Lovelace", "Grace Hopper"]
    assert croissant["contactPoint"] == {"@type": "sc:ContactPoint", "email": "ada@example.org"}
    assert croissant["sameAs"] == "https://example.org/pets?x=1#a"
    assert croissant["license"]["name"] == "cc-by-4.0"
    assert croissant["license"]["description"] == "For research on shortcuts; tell us what you find."
    assert croissant["citeAs"].startswith("@misc{lovelace2026pets,")
    assert "yu2022availability" in croissant["citation"][1]
    # The same build again is left as it is; another says so.
    again = {"name": "pets-s", "configurations": ["lsp-ops"], "device": "cpu"}
    assert cifar10_s.build("sample", release.folder, about=about, **again).files == release.files
    with pytest.raises(UsageError, match="holds something other than this build"):
        cifar10_s.build("sample", release.folder, **again)


def test_mlcroissant_takes_it(described):
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(described[0].folder / "croissant.json")
    assert dataset.metadata.name == "pets-s"


def test_what_a_manifest_says_is_checked_again(described):
    """A manifest is untrusted: it is held to the same rules as the file."""
    manifest = described[0].manifest
    for change, line in (({"licence": "MIT"}, "unknown licence"), ({"title": "CIFAR-10"}, "title: ")):
        changed = replace(manifest, attribution=replace(manifest.attribution, **change))
        failures = Failures(described[0].folder)
        check_manifest(failures, changed, changed.to_dict())
        assert any(line in failure for failure in failures.lines)
