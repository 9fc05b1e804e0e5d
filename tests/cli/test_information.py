"""``list``, ``info`` and ``doctor``."""

import json

import pytest
from typer.testing import CliRunner

import cifar10_s
from cifar10_s.cli.app import app, run
from cifar10_s.cli.information import KINDS


def invoke(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_everything_by_name_is_listed_with_a_line():
    listed = json.loads(invoke("list", "--json"))
    assert list(listed) == list(KINDS)
    for kind, summaries in listed.items():
        assert list(summaries) == list(getattr(cifar10_s, kind.upper()))
        assert all(summary and "\n" not in summary for summary in summaries.values())
    lines = invoke("list").splitlines()
    assert len(lines) == len(KINDS) + sum(map(len, listed.values()))
    assert invoke("list", "protocols").split()[:2] == ["paper-v1", "resnet-18,"]


def test_an_unknown_kind_gets_a_line(capsys):
    assert run(["list", "pets"]) == 2
    assert capsys.readouterr().err.startswith("cifar10-s: unknown kind 'pets': expected one of configurations, ")


def test_a_release_says_what_it_is(tmp_path):
    folder = tmp_path / "digits-s"
    release = cifar10_s.build("sample", folder, name="digits-s", configurations=["ops"], device="cpu")
    shown = json.loads(invoke("info", folder, "--json"))
    assert shown["pixels_sha256"] == {name: one.pixels_sha256 for name, one in release.manifest.configurations.items()}
    text = invoke("info", folder)
    assert "8×8×1, 10 classes" in text
    assert "ops (default)" in text
    assert release.manifest.configurations["ops"].pixels_sha256[:8] in text


def test_what_is_no_release_gets_a_line(tmp_path, capsys):
    assert run(["info", str(tmp_path)]) == 2
    assert "is not a release" in capsys.readouterr().err


@pytest.mark.parametrize("offline", [True, False])
def test_the_doctor_says_what_is_here(monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    facts = json.loads(invoke("doctor", "--json", *(["--offline"] if offline else [])))
    assert facts["cifar10-s"] == cifar10_s.__version__
    assert facts["device"] in ("cpu", "cuda")
    assert facts["hub"] == "not checked" if offline else facts["hub"].startswith("http://127.0.0.1:9: not reached (")
    assert "secret" not in str(facts)
