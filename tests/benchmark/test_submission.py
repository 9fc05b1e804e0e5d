"""Submitted records are taken if nothing in them is impossible; whatever else a file holds gets a line."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.submissions import PIXELS, SUBMITTER, TEST, changed, submitted, written
from support.synthetic_records import record

from cifar10_s.benchmark.measures.registry import MEASURES
from cifar10_s.benchmark.record_checks import KnownImages
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.submission import MAX_FAILURES, MAX_RECORDS, read_submission
from cifar10_s.cli.app import run
from cifar10_s.errors import Cifar10SError, SourceError, VerificationError
from cifar10_s.release.known_pixels import KNOWN_PIXELS

ATTACK = json.loads(json.dumps(MEASURES["autoattack"].settings()))
ROOT = Path(__file__).resolve().parents[2]


def failures(path, **options):
    with pytest.raises(VerificationError) as error:
        read_submission(path, **options)
    assert all(one.startswith(f"{path}, line ") for one in error.value.failures[:MAX_FAILURES])
    return error.value.failures


def refusals(path):
    """Return the lines of what is refused, or none."""
    try:
        read_submission(path)
    except Cifar10SError as error:
        return str(error).splitlines()
    return []


def strategy_settings(name):
    return {"strategy": json.loads(json.dumps(STRATEGIES[name].settings()))}


def test_the_known_pixels_are_the_frozen_ones():
    frozen = json.loads((ROOT / "tests/end_to_end/frozen/jpeg-copy.json").read_text())
    assert {TEST: frozen["pixels"]} == {test: dict(pixels) for test, pixels in KNOWN_PIXELS.items()}


def test_our_own_records_could_be_handed_in(tmp_path):
    """But for those of adversaries and images of before, all of them say what a record must."""
    lines = (ROOT / "results/benchmark.jsonl").read_bytes().splitlines()
    refused = refusals(written(tmp_path / "ours.jsonl", lines))
    assert all("pixels_sha256 of 'ar'" in line or "our 'at'" in line for line in refused), refused


def test_a_submission_is_read(tmp_path):
    lines = [
        submitted(),
        submitted(seed=1, final=13.0),
        submitted("ops", pixels=PIXELS["ops"], strategy="mine:Defence"),
        submitted("ops", pixels=PIXELS["ops"], strategy="cutout", settings=strategy_settings("cutout")),
        # The noise of em has other bits on other machines.
        submitted("em", pixels="cd" * 32),
        record("two-pixel-wonder", final=None, test=TEST, pixels="ab" * 32, seed=2),
    ]
    submission = read_submission(written(tmp_path / "s.jsonl", lines))
    assert vars(submission.submitter) == SUBMITTER
    assert [one.line for one in submission.records] == lines


def nested(line, depth):
    """Return a record with so many lists in each other, in a field that is not read."""
    inside = "[" * depth + "]" * depth
    return json.dumps(changed(line, "environment", "lists", value="@")).replace('"@"', inside).encode()


MEASURED = changed(submitted(measures={"autoattack": 4.0}), "settings", "measures", value=[ATTACK])
BAD = {
    "another id": (changed(submitted(), "id", value="0" * 16), "expected the fields id"),
    "another status": (changed(submitted(), "status", value="best"), "status: expected 'done' or 'failed'"),
    "too high": (changed(submitted(), "results", "final", value=100.1), "results.final: expected"),
    "below zero": (changed(submitted(), "results", "test_accuracy", value=[-1.0] * 10), "results.test_accuracy"),
    "no number": (changed(submitted(), "results", "final", value=float("nan")), "not JSON compliant"),
    "infinite": (changed(submitted(), "results", "seconds", value=float("inf")), "not JSON compliant"),
    "peak below final": (changed(submitted(final=60.0), "results", "peak", value=50.0), "results.peak: expected 60"),
    "another end": (changed(submitted(), "results", "final", value=99.0), "results.final: expected 12"),
    "another mean": (changed(submitted(), "results", "last_5_mean", value=1.0), "results.last_5_mean: expected 18.4"),
    "too few epochs": (
        submitted() | {"results": record(curve=[20, 12])["results"]},
        "results.test_accuracy: expected a number for each of 10 epochs, got 2",
    ),
    "no curve": (changed(submitted(), "results", "train_accuracy", value=[]), "results.train_accuracy: expected"),
    "no results": (changed(submitted(), "results", value={}), "results.test_accuracy: expected"),
    "negative distance": (
        changed(submitted(), "results", "parameter_distance", value=[-1.0] * 10),
        "results.parameter_distance",
    ),
    "markup": (submitted("<script>alert(1)</script>"), "settings.configuration: expected up to 200 printable letters"),
    "markup in the machine": (
        changed(submitted(), "environment", "device", value="<img src=x>"),
        "environment.device: expected",
    ),
    "markup as a field": (changed(submitted(), "results", "<b>", value=1), "name of a field: expected"),
    "a terminal's letters": (submitted("a\x1b[31m"), "settings.configuration: expected"),
    "a name with a space": (submitted("ops 4e2ae408"), "settings.configuration: expected up to 80"),
    "no digest": (submitted(pixels="00"), "settings.pixels_sha256: expected 64 hexadecimal digits"),
    "unknown test images": (changed(submitted(), "settings", "test_sha256", value="0" * 64), "settings.test_sha256"),
    "foreign pixels": (submitted("ops"), "settings.pixels_sha256 of 'ops': expected 4e2ae408…"),
    "pixels of ours": (submitted(pixels=PIXELS["clean"]), "settings.configuration: expected 'clean'"),
    "another clean": (changed(submitted(), "settings", "clean_sha256", value="0" * 64), "settings.clean_sha256"),
    "an unknown strategy": (submitted(strategy="nope"), "settings.strategy.name: expected one of ours"),
    "another cutout": (submitted(strategy="cutout"), "settings.strategy: expected the settings of our 'cutout'"),
    "another protocol": (
        changed(submitted(), "settings", "protocol", "epochs", value=9),
        "settings.protocol: expected the settings of our 'cpu-v1', got others (epochs)",
    ),
    "no digest of weights": (
        changed(submitted(), "settings", "weights_sha256", value="resnet"),
        "settings.weights_sha256: expected 64 hexadecimal digits",
    ),
    "a weaker attack": (
        changed(MEASURED, "settings", "measures", 0, "epsilon", value=1.0),
        "settings.measures: expected the settings of our 'autoattack', got others (epsilon)",
    ),
    "an unknown measure": (
        changed(MEASURED, "settings", "measures", 0, "name", value="cheapattack"),
        "settings.measures: unknown measure 'cheapattack'",
    ),
    "a measure of no settings": (
        changed(submitted(), "results", "measures", value={"autoattack": 50.0}),
        "results.measures: expected those of the settings, [], got 'autoattack'",
    ),
    "a negative seed": (submitted(seed=-1), "settings.seed: expected"),
    "a long text": (changed(submitted(), "environment", "torch", value="2" * 201), "environment.torch: expected"),
    "no object": (b"[]", "expected the fields"),
    "a list": (b"[" * 100_000, "is not JSON|RecursionError|Expecting"),
    "nested deeply": (nested(submitted(), 11), "environment.lists: is nested too deeply"),
    "nested very deeply": (nested(submitted(), 900), "environment.lists: is nested too deeply"),
    "nested too deeply": (nested(submitted(), 50_000), "recursion"),
    "no JSON": (b"{", "JSONDecodeError"),
    "no text": (b"\xff\xfe\x00", "Decode"),
    "an empty line": (b"", "JSONDecodeError"),
    "a huge number": (b'{"id": 1' + b"0" * 5000 + b"}", "ValueError"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_impossible_gets_a_line(tmp_path, name):
    line, reason = BAD[name]
    (failure,) = failures(written(tmp_path / "s.jsonl", [submitted(seed=7), line]))
    assert failure.startswith(f"{tmp_path / 's.jsonl'}, line 3: ")
    assert any(one in failure for one in reason.split("|")), failure
    assert failure.isprintable()
    assert len(failure) < 500


@pytest.mark.parametrize(
    ("submitter", "reason"),
    [
        (None, "and nothing else"),
        ({**SUBMITTER, "name": "<b>me</b>"}, "submission.name: expected"),
        ({**SUBMITTER, "name": " "}, "submission.name: expected a name"),
        ({**SUBMITTER, "name": 3}, "submission.name: expected"),
        ({**SUBMITTER, "paper": "javascript:alert(1)"}, "submission.paper: expected an address"),
        ({**SUBMITTER, "code": 'https://x.org/" onload=alert(1)'}, "submission.code: expected"),
        ({**SUBMITTER, "contact": "call me"}, "submission.contact: expected"),
        ({**SUBMITTER, "rank": "first"}, "got 'rank' too"),
        ({"name": "x"}, "submission.paper: is missing"),
    ],
)
def test_who_submits_must_be_said(tmp_path, submitter, reason):
    assert reason in failures(written(tmp_path / "s.jsonl", [submitted()], submitter))[0]


def test_a_run_counts_once_and_a_file_has_at_least_one(tmp_path):
    path = tmp_path / "s.jsonl"
    assert "occurs twice" in failures(written(path, [submitted(), submitted()]))[0]
    assert "line 2: expected a record, got the end" in failures(written(path, []))[0]
    path.write_bytes(b"")
    assert "line 1: expected a record, got the end" in failures(path)[0]
    with pytest.raises(SourceError, match="does not exist"):
        read_submission(tmp_path / "absent")


def test_a_release_s_images_are_known(tmp_path):
    digests = {"clean": "aa" * 32, "ops": "bb" * 32}
    line = changed(submitted("ops", pixels="bb" * 32), "settings", "test_sha256", value="cc" * 32)
    path = written(tmp_path / "s.jsonl", [line])
    assert "name the release with --release" in failures(path)[0]
    assert len(read_submission(path, KnownImages.of([("cc" * 32, digests)])).records) == 1
    other = KnownImages.of([("cc" * 32, digests | {"ops": "dd" * 32})])
    assert "expected dddddddd…" in failures(path, known=other)[0]


def test_names_of_one_s_own_are_never_imported(tmp_path, monkeypatch):
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    lines = [submitted(strategy="hostile:Defence"), submitted(protocol="hostile:protocol", final=20.0)]
    lines[1] = changed(lines[1], "settings", "protocol", "epochs", value=10)
    assert len(read_submission(written(tmp_path / "s.jsonl", lines)).records) == 2


def test_nor_are_entry_points(tmp_path, monkeypatch):
    point = EntryPoint("theirs", "hostile:Defence", "cifar10_s.strategies")
    monkeypatch.setattr("cifar10_s.common.own.entry_points", lambda group: [point])
    imported = []
    monkeypatch.setattr("cifar10_s.common.own.import_module", imported.append)
    (refused,) = failures(written(tmp_path / "s.jsonl", [submitted(strategy="theirs")]))
    assert "settings.strategy.name: expected one of ours" in refused
    assert not imported


def test_runs_that_started_from_weights_can_be_handed_in(tmp_path):
    line = changed(submitted(), "settings", "weights_sha256", value="cd" * 32)
    (one,) = read_submission(written(tmp_path / "s.jsonl", [line])).records
    assert one.settings.coordinates["network"] == "small from cdcdcdcd"


def test_runs_with_measures_can_be_handed_in(tmp_path):
    (one,) = read_submission(written(tmp_path / "s.jsonl", [MEASURED])).records
    assert one.results.measures == {"autoattack": 4.0}


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"{}\n", b"x" * (40 << 20)])
def test_whatever_a_file_holds_memory_and_output_are_bounded(tmp_path, line):
    path = tmp_path / "s.jsonl"
    path.write_bytes(line * ((60 << 20) // len(line)))
    peaks = []
    for arguments in ([str(tmp_path / "absent")], [str(path)]):
        code = (
            f"import resource, sys\nfrom cifar10_s.cli.app import run\nrun(['check-records', *{arguments}])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        peaks.append(int(done.stderr.splitlines()[-1]))
    assert len(done.stderr.splitlines()) <= MAX_FAILURES + 3
    assert peaks[1] - peaks[0] < 60_000


def test_millions_of_lines_are_not_read(tmp_path):
    path = written(tmp_path / "s.jsonl", [b"{}"] * (MAX_RECORDS + 50))
    found = failures(path)
    assert len(found) == MAX_FAILURES + 1
    assert found[-1] == f"{path}: {MAX_RECORDS + 1 - MAX_FAILURES:,} further lines are refused".replace(",", "")


def test_the_command_says_what_it_found(tmp_path, capfd):
    path = written(tmp_path / "s.jsonl", [submitted(), submitted(seed=1)])
    assert run(["check-records", str(path)]) == 0
    assert capfd.readouterr().out == f"{path}: Two-Pixel Wonder: 2 records, ready to be handed in\n"
    assert run(["check-records", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"name": "Two-Pixel Wonder", "records": 2}
    written(path, [submitted("ops")])
    assert run(["check-records", str(path)]) == 1
    assert capfd.readouterr().err.count("\n") == 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_is_taken_or_gets_a_line(tmp_path_factory, data):
    """A random byte is changed, or a random value replaced; nothing but an error of ours comes out."""
    whole = "\n".join(json.dumps(one) for one in ({"submission": SUBMITTER}, submitted())).encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path_factory.mktemp("s") / "s.jsonl"
    path.write_bytes(whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + 1 :])
    assert all(line.isprintable() for line in refusals(path))
