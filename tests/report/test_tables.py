"""Tables and the report: what was measured beside what papers published."""

import csv
import itertools
import json
import math
import re
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.synthetic_records import RESNET, SOURCE, record, record_set
from typer.testing import CliRunner

from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.cli.app import app
from cifar10_s.common.records import run_id
from cifar10_s.errors import SourceError, UsageError, printable
from cifar10_s.nn.networks.registry import NETWORKS
from cifar10_s.release.recipes import CONFIGURATIONS
from cifar10_s.report import formats
from cifar10_s.report.paper_tables import TABLES
from cifar10_s.report.record_set import COPIES_OF_CIFAR10, protocols_and_sources
from cifar10_s.report.report import Report
from cifar10_s.report.tables import TABLE_NAMES, is_shown_by_default, layouts
from cifar10_s.report.text_table import TextColumn, TextTable, latex, mark, markdown

EVALUATIONS = {"clean", "em", "ops", "em-shuffled", "ops-shuffled"}
KNOWN = {
    "configuration": set(CONFIGURATIONS),
    "strategy": set(STRATEGIES),
    "network": set(NETWORKS),
    "evaluation": EVALUATIONS,
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_published_tables_are_whole_and_speak_our_names(table):
    for axis in (table.rows, table.columns):
        assert set(axis.headings) <= KNOWN[axis.varies]
        assert set(axis.notes) | set(axis.substitutes) <= set(axis.headings)
        assert {substitute.name for substitute in axis.substitutes.values()} <= KNOWN[axis.varies]
    for what, name in table.fixed.items():
        assert name in KNOWN[what]
    assert list(table.values) == list(table.rows.headings)
    for values in table.values.values():
        assert len(values) == len(table.columns.headings)
        assert all(value is None or 0 < value < 100 for value in values)


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("1", "clean", "ops", 15.48), ("1", "em", "ops", None), ("1", "ops-shuffled", "ops", 72.43),
        ("2", "cct-7-3x1", "clean", 88.98), ("2", "wrn-28-10", "ops", 12.76), ("3", "wrn-28-4", "ops", 21.75),
        ("5", "standard", "em-ops", 16.67), ("5", "at", "em", 83.02), ("5", "at-randaugment-ops", "ops", 44.86),
        ("6", "cutout-black", "ops", 61.68), ("6", "standard", "ops-3", 9.74), ("6", "mixup", "clean", 94.75),
        ("apbench", "rem", "ueraser-max", 92.43), ("apbench", "ops-std", "at", 14.95),
        ("apbench", "tap", "jpeg-10", 84.08),
        ("iss", "sep", "grayscale", 3.57), ("iss", "ops-std", "standard", 36.55), ("bridgepure", "ops-std", "at", 9.60),
        ("bridgepure", "em", "add-500", None), ("bridgepure-cifar100", "ops-std", "standard", 12.18),
        ("bridgepure", "ops-std", "d-vae", 89.48), ("bridgepure", "em", "d-vae", None),
        ("bridgepure-cifar100", "ops-std", "d-vae", 62.83),
        ("cuda", "cuda", "cutmix", 26.93), ("pil", "pil", "standard", 12.77), ("dune", "dune", "grayscale", 10.18),
        ("dune", "sem", "grayscale", None), ("dune", "dune", "at", 24.96), ("dune", "sem", "jpeg-10", 81.58),
    ],
)  # fmt: skip
def test_published_numbers(table, row, column, value):
    assert TABLES[table].published(row, column) == value


def test_tables_5_and_6_agree_where_they_report_the_same():
    for strategy in ("standard", "mixup", "cutout-black", "randaugment-ops"):
        for configuration in ("clean", "ops"):
            assert TABLES["5"].published(strategy, configuration) == TABLES["6"].published(strategy, configuration)


GOLDEN = """\
Measured: accuracy after the last epoch, in brackets the best of all epochs, protocol quick-v1, images: CIFAR-10; \
a machine, float32, torch 2. Mean ± sample standard deviation of n seeds; failed runs are counted, not averaged.

Table 3 of Wu et al. (ICLR 2023): clean test accuracy (%) of WRN-28-k, from 0.37 M to 145.84 M parameters; \
measured: strategy standard; n = 3 if no other is said.

| Network | OPS¹, published | OPS¹, measured |
| --- | --: | --: |
| WRN-28-1 | 21.20 | 20.00 ± 4.00 (20.00) |
| WRN-28-2 | 14.74 | 12.50 (12.50, n=1) |
| WRN-28-4 | 21.75 | 10.00 ± 1.41 (10.00, n=2, 1 failed) |
| WRN-28-8 | 18.01 | — (2 failed) |
| WRN-28-16 | 15.36 | — |
| WRN-28-20 | 18.04 | — |

¹ The paper states mean over variance (Eq. 2), ours here; its published code searches mean over standard deviation, \
our ops-std.
"""


def render(table, lines, **options):
    return formats.render(table, map(Record.parse, lines), **options)


def wide_records():
    """Known statistics: 16, 20, 24 have mean 20 and sample deviation √(32 / 2) = 4; 9 and 11 have 10 and √2."""
    finals = {"wrn-28-1": (16, 20, 24), "wrn-28-2": (12.5,), "wrn-28-4": (9, 11, None), "wrn-28-8": (None, None)}
    return [
        record("ops", seed=seed, network=network, protocol="quick-v1", final=final)
        for network, values in finals.items()
        for seed, final in enumerate(values)
    ]


def test_a_whole_table():
    assert render("3", wide_records(), protocol="quick-v1") == GOLDEN


def test_the_order_of_records_and_copies_decide_nothing():
    records = wide_records()
    for some in itertools.islice(itertools.permutations(records), 0, None, 5000):
        assert render("3", [*some, some[0]], protocol="quick-v1") == GOLDEN


def cell_texts(text, marks="[⁰¹²³⁴⁵⁶⁷⁸⁹]"):
    """Return the cells of a Markdown table as rendered, by the names of row and column without marks of footnotes."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows = []
    tokens = itertools.dropwhile(lambda token: token.type != "table_open", tokens)
    for token in itertools.takewhile(lambda token: token.type != "table_close", tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            rows[-1].append("".join(child.content for child in token.children))
    (_, *heads), *body = [[re.sub(marks, "", text) for text in row] for row in rows]
    return {(row[0], head): text for row in body for head, text in zip(heads, row[1:], strict=True)}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_mean_deviation_and_n(finals):
    records = [record("ops", seed=seed, final=final, **RESNET) for seed, final in enumerate(finals)]
    text = cell_texts(quick("5", records))["Standard", "OPS, measured"]
    found = re.fullmatch(r"([\d.]+)(?: ± ([\d.]+))? \(([\d.]+)\)", text)
    mean = sum(finals) / len(finals)
    assert math.isclose(float(found[1]), mean, abs_tol=0.00501)
    assert found[3] == found[1]
    assert f"; n = {len(finals)}." in quick("5", records)
    assert (found[2] is None) == (len(finals) == 1)
    if len(finals) > 1:
        deviation = math.sqrt(sum((final - mean) ** 2 for final in finals) / (len(finals) - 1))
        assert math.isclose(float(found[2]), deviation, abs_tol=0.00501)


def quick(table, records, **options):
    return render(table, records, protocol="quick-v1", **options)


def test_each_record_stands_in_its_own_cell_alone():
    table = TABLES["5"]
    places = list(itertools.product(table.rows.headings, table.columns.headings))
    records = [
        record(configuration, strategy, final=float(number), **RESNET)
        for number, (strategy, configuration) in enumerate(places)
    ]
    found = cell_texts(quick("5", records))
    for number, (strategy, configuration) in enumerate(places):
        row, head = table.rows.headings[strategy], table.columns.headings[configuration]
        assert found[row, f"{head}, measured"] == f"{number:.2f} ({number:.2f})"
        published = table.published(strategy, configuration)
        assert found.get((row, f"{head}, published")) == (None if published is None else f"{published:.2f}")


@pytest.mark.parametrize(
    ("measure", "shown", "says"),
    [
        ("final", "30.00 (70.00)", "accuracy after the last epoch, in brackets the best of all epochs, protocol"),
        ("peak", "70.00", "best accuracy of all epochs, protocol"),
        ("last-5-mean", "50.00", "mean accuracy of the last five epochs, protocol"),
    ],
)
def test_the_measure_is_a_parameter_and_named(measure, shown, says):
    records = [record("ops", curve=(5, 70, 50, 60, 40, 30), **RESNET)]
    text = quick("6", records, measure=measure)
    assert cell_texts(text)["Standard", "n = 1, measured"] == shown
    assert says in text.splitlines()[0]


def test_a_measure_that_no_run_has_is_refused(tmp_path):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(record("ops", final=11)) + "\n")
    with pytest.raises(UsageError, match=r"^measure: expected one that a record has, got robust$"):
        Report.read(path, measure="robust").tables("grid")


def test_robust_accuracy_is_of_runs_with_an_adversary(tmp_path):
    attacked = {"settings": {"strategy": {"adversary": {"steps": 10}}}}
    records = [
        record("ops", final=11), record("ops", "cutout", final=None), record("em", final=20),
        record("ops", "at", robust_accuracy=30.0, **attacked), record("ops", "at", seed=1, **attacked),
        record("ops", "at", seed=2, final=None, **attacked), record("clean", "at", robust_accuracy=40.0, **attacked),
    ]  # fmt: skip
    text = render("grid", records, protocol="cpu-v1", measure="robust")
    assert text.startswith("Measured: accuracy under PGD")
    assert (
        "\n\nRobust test accuracy (%) by configuration and training strategy; measured: network small; n = 1." in text
    )
    assert {place: one for place, one in cell_texts(text).items() if one != "—"} == {
        ("ops", "at"): "30.00 (1 failed)", ("clean", "at"): "40.00",
    }  # fmt: skip
    assert "clean test accuracy (%) of ResNet-18" in render("5", records, protocol="cpu-v1", measure="robust")
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    report = Report.read(path)
    (alone,) = report.robust_tables(*report.record_sets())
    assert cell_texts(markdown(alone.text())) == {("clean", "at"): "40.00", ("ops", "at"): "30.00"}
    assert not list(report.robust_tables(record_set(records[:3], protocol="cpu-v1")))


def test_failed_runs_are_counted_and_never_averaged():
    records = [record("em", seed=seed, final=final, **RESNET) for seed, final in enumerate([20.0, None, 30.0, None])]
    # The measurements of a failed run before it failed.
    records[1]["results"]["final"] = 99.0
    assert cell_texts(quick("5", records))["Standard", "EM, measured"] == (
        f"25.00 ± {statistics.stdev([20, 30]):.2f} (25.00, 2 failed)"
    )


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_table_without_records_is_empty(table):
    """It has the published numbers, if any."""
    cells, text = cell_texts(quick(table, [])), quick(table, [])
    published = [value for values in TABLES[table].values.values() for value in values] if table in TABLES else []
    assert sorted(filter("—".__ne__, cells.values())) == sorted(f"{one:.2f}" for one in published if one is not None)
    assert "measured" not in text
    assert "Measured" not in text


def test_one_protocol_alone_is_in_a_table():
    records = [record("ops", final=11, **RESNET), record("ops", final=99, network="resnet-18", protocol="paper-v1")]
    assert cell_texts(quick("5", records))["Standard", "OPS, measured"] == "11.00 (11.00)"
    assert "protocol quick-v1" in quick("5", records)
    with pytest.raises(
        UsageError,
        match=r"^unknown protocol 'quick-v2' \(did you mean quick-v1\?\): expected one of paper-v1, quick-v1$",
    ):
        render("5", records, protocol="quick-v2")


def test_two_sources_are_never_mixed():
    records = [record("ops", final=11, **RESNET), record("ops", final=99, source="“mine”", **RESNET)]
    with pytest.raises(UsageError, match="several sources, CIFAR-10, “mine”: expected one: name it as source"):
        quick("5", records)
    text = quick("5", records, source="“mine”")
    assert cell_texts(text)["Standard", "OPS"] == "99.00 (99.00)"
    assert "images: “mine”" in text
    with pytest.raises(UsageError, match="unknown source 'x'"):
        quick("5", records, source="x")


def test_two_sets_of_pixels_are_two_columns_unless_one_is_picked():
    digests = ("ab" * 32, "cd" * 32)
    records = [
        record("em", final=final, pixels=pixels, **RESNET) for final, pixels in zip((11, 99), digests, strict=True)
    ]
    records.append(record("ops", final=50, **RESNET))
    both = cell_texts(quick("5", records))
    shown = {head: text for (row, head), text in both.items() if row == "Standard" and head.startswith("EM")}
    assert shown == {
        "EM abababab, published": "19.58", "EM abababab, measured": "11.00 (11.00)",
        "EM cdcdcdcd, measured": "99.00 (99.00)",
    }  # fmt: skip
    assert [row for row, _ in cell_texts(quick("grid", records))] == ["ops", "em abababab", "em cdcdcdcd"]
    text = quick("5", records, pixels={"em": "cd"})
    assert cell_texts(text)["Standard", "EM, measured"] == "99.00 (99.00)"
    assert cell_texts(text)["Standard", "OPS, measured"] == "50.00 (50.00)"
    assert "pixels of em: cd" in text
    for start in ("", "x"):
        with pytest.raises(UsageError, match=f"pixels of 'em': expected the beginning of one of .*, got '{start}'"):
            quick("5", records, pixels={"em": start})


def test_digests_that_begin_alike_are_told_apart():
    records = [record("em", final=one, pixels="00000000" + str(one), **RESNET) for one in (1, 2)]
    assert [row for row, _ in cell_texts(quick("grid", records))] == ["em 000000001", "em 000000002"]


def test_other_images_have_no_published_numbers_beside_them():
    records = [record("ops", final=11, source="digits", **RESNET)]
    assert cell_texts(quick("5", records)) == {("Standard", "OPS"): "11.00 (11.00)"}
    copy = [record("ops", final=11, source="“mine”", test=next(iter(COPIES_OF_CIFAR10)), **RESNET)]
    assert ("Standard", "OPS, published") in cell_texts(quick("5", copy))
    assert "images: CIFAR-10 (JPEG copy), “mine”" in quick("5", copy)
    hundred = [record("ops-std", final=11, source="uoft-cs/cifar100", **RESNET)]
    assert cell_texts(quick("bridgepure-cifar100", hundred))["OPS", "None, published"] == "12.18"
    assert ("OPS", "None, published") not in cell_texts(quick("bridgepure", hundred))
    with pytest.raises(UsageError, match="table bridgepure-cifar100: is of CIFAR-100, and these records are not"):
        quick("bridgepure-cifar100", copy)


def test_the_nearest_of_ours_stands_in_with_a_footnote():
    """Until the published experiment itself is measured."""
    nearest, exact = (
        record("ops", "randaugment", final=40, **RESNET),
        record("ops", "randaugment-ops", final=60, **RESNET),
    )
    text = quick("6", [nearest])
    assert cell_texts(text)["RandAugment", "n = 1, measured"] == "40.00 (40.00)"
    assert "RandAugment²" in text
    assert "\n² Measured with torchvision's RandAugment" in text
    assert cell_texts(quick("6", [nearest, exact]))["RandAugment", "n = 1, measured"] == "60.00 (60.00)"
    assert "torchvision" not in quick("6", [nearest, exact])


def test_footnotes_are_marked_in_order():
    assert [mark(number) for number in (1, 9, 10, 23)] == ["¹", "⁹", "¹⁰", "²³"]
    assert "$^{1}$$^{0}$" in latex(TextTable(caption=mark(10), corner="", columns=(), rows=()))


def test_two_sets_of_test_images_are_an_error_unless_one_is_picked():
    records = [record("em", final=11, test="c1", **RESNET), record("ops", final=22, test="c2", **RESNET)]
    with pytest.raises(UsageError, match="'test' has records with 2 pixel digests, c1, c2"):
        quick("5", records)
    found = cell_texts(quick("5", records, pixels={"test": "c2"}))
    assert found["Standard", "OPS, measured"] == "22.00 (22.00)"
    assert ("Standard", "EM, measured") not in found


@pytest.mark.parametrize("what", ["protocol", "strategy"])
def test_other_settings_under_one_name_are_an_error(what):
    records = [record("em", **RESNET), record("em", settings={what: {"weight": 2}}, **RESNET)]
    with pytest.raises(UsageError, match=f"^{what} '.*': runs .* have different settings"):
        quick("5", records)


@pytest.mark.parametrize("field", ["source", "test"])
def test_names_of_several_lines_give_an_error_of_one(field):
    records = [record("em", seed=seed, **{field: name}) for seed, name in enumerate(("a\nb", "c\x1b[2J"))]
    with pytest.raises(UsageError, match=r"^[^\n\x1b]*a b, c\?\[2J[^\n\x1b]*$"):
        render("5", records, protocol="cpu-v1")


def test_a_run_recorded_twice_with_different_results_is_an_error():
    records = [record("em", final=1, **RESNET), record("em", final=2, **RESNET)]
    with pytest.raises(UsageError, match=f"run {records[0]['id']} is recorded twice with different results"):
        quick("5", records)


def test_a_record_may_hold_what_we_do_not_read():
    line = record("em", settings={"strategy": {"new": [1]}}, other={"x": None}, **RESNET)
    line["environment"]["gpus"] = 8
    parsed = Record.parse(line)
    assert parsed.line is line
    assert parsed.all_settings("strategy") == {"name": "standard", "draws": 1, "new": [1]}
    assert str(parsed.environment) == "a machine, float32, torch 2"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("settings.source", 3, "settings.source: expected str, got 3"),
        ("settings.seed", True, "settings.seed: expected int, got True"),
        ("settings.strategy", [], "settings.strategy: expected object, got []"),
        ("settings.protocol", {"name": "x"}, "settings.protocol.network: is missing"),
        ("status", None, "status: expected str, got None"),
        ("results", "none", "results: expected object, got 'none'"),
        ("results.final", "50", "results.final: expected float | null, got '50'"),
        ("results.peak", 10**400, "results.peak: number out of range, got 1000"),
        ("results.final", -1.0, "results.final: expected float >= 0.0, got -1.0"),
        ("results.test_accuracy", [101.0], "results.test_accuracy.0: expected float <= 100.0, got 101.0"),
        ("results.test_accuracy", [1, "2\n"], "results.test_accuracy.1: expected float, got '2\\n'"),
        ("results.test_accuracy", [1.0, 2.0], "results: expected lists per epoch of equal length, got {"),
        ("results.evaluations", {"a\nb": []}, "results.evaluations.a b: expected float, got []"),
        ("environment", None, "environment: expected object, got None"),
    ],
)
def test_a_record_of_another_form_gets_a_line(tmp_path, field, value, message):
    line = record("em", **RESNET)
    *parents, name = field.split(".")
    owner = line
    for parent in parents:
        owner = owner[parent]
    owner[name] = value
    line["id"] = run_id(line["settings"])
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(SourceError) as error:
        Report.read(path)
    assert str(error.value).startswith(f"{path}: run {line['id']}: ")
    assert message in str(error.value)
    assert str(error.value).endswith(": correct or remove its line")
    assert "\n" not in str(error.value)


def test_a_done_run_without_its_result_is_an_error():
    broken = record("em", **RESNET)
    del broken["results"]["peak"]
    with pytest.raises(SourceError, match=f"run {broken['id']}: is done, but has no result 'peak'"):
        quick("5", [broken], measure="peak")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            "4",
            {},
            "unknown table '4': expected one of 1, 2, 3, 5, 6, apbench, iss, ",
        ),
        ("5", {"measure": "best"}, "unknown measure 'best': expected one of final, peak, last-5-mean, robust"),
        ("5", {"format": "html"}, "unknown format 'html': expected one of markdown, latex"),
        ("5", {"network": "resnet-19"}, "unknown network 'resnet-19'"),
    ],
)
def test_unknown_names_list_the_known_ones(table, options, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        quick(table, [record("em", **RESNET)], **options)


def test_one_network_alone_is_in_a_cell():
    records = [
        record("ops", final=final, network=name) for name, final in (("small", 1), ("resnet-18", 2), ("vgg-16", 3))
    ]

    def shown(names, table="5", asked=None):
        some = record_set([one for one in records if one["settings"]["network"] in names], protocol="cpu-v1")
        return [one.fixed.get("network") for one in layouts(table, some, asked)]

    assert shown(["small", "resnet-18", "vgg-16"]) == ["resnet-18"]
    assert shown(["small", "resnet-18", "vgg-16"], "grid") == ["small", "vgg-16", "resnet-18"]
    assert shown(["small", "vgg-16"]) == ["small"]
    assert shown(["vgg-16"]) == ["vgg-16"]
    assert shown(["vgg-16", "resnet-18"], "1") == ["vgg-16", "resnet-18"]
    assert shown(["small", "vgg-16"], asked="vgg-16") == ["vgg-16"]
    assert shown(["small", "vgg-16"], "2") == [None]
    assert shown([], "5") == ["resnet-18"]
    assert shown([], "grid") == [None]
    text = render("grid", records, protocol="cpu-v1", network="vgg-16")
    assert cell_texts(text)["ops", "standard"] == "3.00 (3.00)"
    both = render("grid", records[1:], protocol="cpu-v1").split("\n\nClean test")[1:]
    assert [cell_texts(f"Clean{one}")["ops", "standard"] for one in both] == ["3.00 (3.00)", "2.00 (2.00)"]


def test_transfer_is_shown_of_two_networks(tmp_path):
    records = [
        record("clean", network="lenet-5", final=60), record("ops", network="lenet-5", final=20),
        record("ops", network="vgg-16", final=30), record("em", "at", network="resnet-50"),
    ]  # fmt: skip
    path = tmp_path / "bench.jsonl"

    def captions(count):
        path.write_text("".join(json.dumps(one) + "\n" for one in records[:count]))
        report = Report.read([path])
        return [
            text.split("\n\n|")[0].split("\n\n")[-1].split(" (%)")[0]
            for text in report.tables() + report.tables(["transfer"])
        ]

    title = "Transfer between networks: clean test accuracy"
    assert captions(2).count(title) == 1
    assert captions(4).count(title) == 2
    assert cell_texts(Report.read([path]).tables(["transfer"])[0]) == {
        ("lenet-5", "clean"): "60.00 (60.00)", ("lenet-5", "ops"): "20.00 (20.00)",
        ("vgg-16", "clean"): "—", ("vgg-16", "ops"): "30.00 (30.00)",
    }  # fmt: skip


def test_the_grid_holds_what_there_is_in_our_order():
    records = [
        record(configuration, strategy, final=final)
        for configuration, strategy, final in (
            ("theirs", "at", 1), ("em", "standard", 2), ("clean", "a-new-one", 3), ("ops-2", "standard", 4),
        )
    ]  # fmt: skip
    assert cell_texts(render("grid", records, protocol="cpu-v1")) == {
        (row, column): {("clean", "a-new-one"): "3.00 (3.00)", ("ops-2", "standard"): "4.00 (4.00)",
                        ("em", "standard"): "2.00 (2.00)", ("theirs", "at"): "1.00 (1.00)"}.get((row, column), "—")
        for row in ("clean", "ops-2", "em", "theirs")
        for column in ("standard", "at", "a-new-one")
    }  # fmt: skip


def test_dilution_is_shown_of_configurations_with_two_points():
    records = [
        record(configuration, strategy, seed=seed, final=final)
        for configuration, strategy, seed, final in (
            ("ops", "dilution-5000", 0, 40), ("ops", "dilution-250", 0, 20), ("ops", "dilution-250", 1, 24),
            ("ops", "standard", 0, 10), ("ops", "dilution-mine", 0, 1), ("em", "dilution-250", 0, 30),
            ("em", "dilution-100", 0, None), ("clean", "standard", 0, 90), ("clean", "at", 0, 80),
        )
    ]  # fmt: skip
    text = render("dilution", records, protocol="cpu-v1")
    assert text.splitlines()[4] == "| Clean images | ops | em |"
    assert cell_texts(text) == {
        ("0", "ops"): "10.00 (10.00)", ("0", "em"): "—",
        ("100", "ops"): "—", ("100", "em"): "— (1 failed)",
        ("250", "ops"): "22.00 ± 2.83 (22.00, n=2)", ("250", "em"): "30.00 (30.00)",
        ("5000", "ops"): "40.00 (40.00)", ("5000", "em"): "—",
    }  # fmt: skip
    (table,) = layouts("dilution", record_set(records[-2:], protocol="cpu-v1"))
    assert not is_shown_by_default(table)


def test_the_shuffled_noise_test_takes_evaluations_where_records_have_them():
    records = [
        record("em", seed=0, evaluations={"em-shuffled": 40.0, "em": 99.0}, **RESNET),
        record("em", seed=1, evaluations={"em-shuffled": 50.0}, **RESNET),
        record("ops", seed=0, **RESNET),
    ]
    text = quick("1", records)
    found = cell_texts(text)
    assert found["Shuffled EM", "EM, measured"] == "45.00 ± 7.07 (n=2)"
    assert found["EM training images", "EM, measured"] == "99.00"
    assert found["EM training images", "OPS, published"] == "—"
    assert ("OPS training images", "OPS, measured") not in found


def one_cell(row, head, caption):
    return TextTable(caption=caption, corner="r", columns=(TextColumn(head, ("measured",)),), rows=((row, "1"),))


# Any text can be the name of a folder or a configuration.
texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
nasty = st.text(alphabet="\\`*_{}[]<>|&$#%~^\"'“”—–…±×a1 -", max_size=20)


@given(st.lists(texts | nasty, min_size=2, max_size=2))
@example(["~~a~~ *b* _c_ `d`", "[e](f) <g> &lt; |h| i\\"])
def test_markdown_shows_any_text_as_it_is(names):
    row, head = names
    assert cell_texts(markdown(one_cell(row, head, "c")), marks="$^") == {(printable(row), printable(head)): "1"}


COMMANDS = {
    r"\textbackslash{}": "\\", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&", r"\#": "#", r"\%": "%", r"\_": "_",
    r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textasciigrave{}": "`", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', "{[}": "[", "{*}": "*", "``": "“", "''": "”",
    "---": "—", "--": "–", r"\ldots{}": "…", r"$\pm$": "±", r"$\times$": "×",
}  # fmt: skip
SPECIAL = set('\\{}$&#%_^~`<>|"[*“”—–…±×')


def read_latex(text):
    """Undo our LaTeX escapes; a special character outside an escape is an error."""
    read = ""
    while text:
        command = next((command for command in COMMANDS if text.startswith(command)), None)
        assert command or text[0] not in SPECIAL, text
        read += COMMANDS[command] if command else text[0]
        text = text[len(command or " ") :]
    return read


@given(st.text(alphabet='\\`*_{}[]<>|&$#%~^"“—±×a1 ', max_size=20))
def test_latex_shows_any_text_as_it_is(name):
    lines = latex(one_cell(name, "c", name)).splitlines()
    assert read_latex(lines[3].removeprefix(r"\caption{").removesuffix("}")) == printable(name)
    assert read_latex(lines[9].removesuffix(r" & 1 \\")) == printable(name)


def test_latex_is_a_whole_table():
    text = render(
        "5",
        [record("ops", final=11, source="50%_of {CIFAR}", test=next(iter(COPIES_OF_CIFAR10)), **RESNET)],
        protocol="quick-v1",
        format="latex",
    )
    assert r"images: CIFAR-10 (JPEG copy), 50\%\_of \{CIFAR\}; a machine" in text
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert begun == ended[::-1] == ["table", "adjustbox", "tabular"]
    columns = len(re.search(r"\\begin{tabular}{(l(r+))}", text)[1])
    rows = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 + 8
    for row in rows:
        spans = sum(int(width) - 1 for width in re.findall(r"\\multicolumn{(\d)}", row))
        assert row.count("&") + 1 + spans == columns == 6
    assert r"Standard & 94.01 & 19.58 & 15.56 & 11.00 (11.00) & 16.67 \\" in text


def test_protocols_and_sources_come_in_the_order_of_our_protocols():
    kinds = [("theirs-v9", "a"), ("cpu-v1", "b"), ("paper-v1", "z"), ("cpu-v1", "a")]
    records = [record(protocol=protocol, source=source) for protocol, source in kinds]
    assert protocols_and_sources(map(Record.parse, records)) == [
        ("paper-v1", "z"),
        ("cpu-v1", "a"),
        ("cpu-v1", "b"),
        ("theirs-v9", "a"),
    ]


@pytest.fixture
def file(tmp_path):
    """A folder with two files of records, of two sources and two protocols."""
    records = [
        record("ops", final=11), record("ops", seed=1, final=13), record("em", final=33, source="“a b”"),
        record("clean", final=90, protocol="quick-v1"),
    ]  # fmt: skip
    for number, some in enumerate((records[:2], records[2:])):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in some))
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(app, ["tables", *map(str, arguments)])


def test_the_command_prints_a_table_for_each_protocol_and_source(file):
    done = invoke(file / "0.jsonl", file / "1.jsonl", "-t", "5")
    assert done.exit_code == 0
    captions = [line for line in done.stdout.splitlines() if line.startswith("Table 5")]
    assert len(captions) == 3
    assert all("measured: network small" in caption for caption in captions)
    conditions = re.findall("Measured: .*protocol (.*), images: (.*); a machine", done.stdout)
    assert conditions == [("quick-v1", "CIFAR-10"), ("cpu-v1", SOURCE), ("cpu-v1", "“a b”")]
    assert "| 12.00 ± 1.41 (12.00) |" in done.stdout
    every = invoke(file / "0.jsonl")
    assert every.stdout.count("Measured: ") == 1
    assert re.findall("^Table (.)", every.stdout, re.MULTILINE) == ["5", "6"]
    assert every.stdout == "\n".join(Report.read([file / "0.jsonl"]).tables())


def test_the_command_narrows_what_it_prints(file):
    both = file / "0.jsonl", file / "1.jsonl"
    done = invoke(*both, "-t", "grid", "--protocol", "cpu-v1", "--source", "“a b”", "--format", "latex")
    assert done.stdout.count(r"\begin{table}") == 1
    assert r"em & 33.00 (33.00) \\" in done.stdout
    peak = invoke(file / "0.jsonl", "-t", "grid", "--measure", "peak", "--network", "small", "--pixels", "ops=00")
    assert "best accuracy" in peak.stdout
    assert "images: CIFAR-10, pixels of ops: 00; a machine" in peak.stdout
    assert "measured: network small" in peak.stdout


def test_cells_as_csv_json_and_a_data_frame(file):
    report = Report.read([file / "0.jsonl"])
    (text,) = report.tables("5", format="json")
    cells = json.loads(text)
    ops = next(cell for cell in cells if (cell["configuration"], cell["strategy"]) == ("ops", "standard"))
    assert ops == {
        "table": "5", "protocol": "cpu-v1", "source": SOURCE, "configuration": "ops", "strategy": "standard",
        "network": "small", "evaluation": None, "measure": "final", "published": 15.56, "mean": 12.0,
        "deviation": pytest.approx(2**0.5), "peak": 12.0, "n": 2, "failed": 0,
    }  # fmt: skip
    done = invoke(file / "0.jsonl", "-t", "5", "--format", "csv")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [{name: str("" if value is None else value) for name, value in cell.items()} for cell in cells] == rows
    frame = report.frame("5")
    assert list(frame.columns) == list(ops)
    assert frame.loc[(frame.configuration == "ops") & (frame.strategy == "standard"), "mean"].tolist() == [12.0]
    assert frame.shape[0] == len(cells)
    assert Report.read([file / "0.jsonl"]).tables("grid", format="csv")[0].count("\n") == 2


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_figures_have_other_formats(file, tmp_path, suffix):
    done = invoke(file / "0.jsonl", "-t", "grid", "--plots", tmp_path / "out", "--plot-format", suffix)
    assert done.exit_code == 0
    drawn = list((tmp_path / "out").iterdir())
    assert drawn
    for path in drawn:
        assert path.suffix == f".{suffix}"
        assert path.read_bytes().startswith({"svg": b"<?xml", "pdf": b"%PDF"}[suffix])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plots", "x", "--plot-format", "gif"], "unknown format of plots 'gif': expected one of png, svg, pdf"),
        (
            ["-t", "7"],
            "unknown table '7': expected one of 1, 2, 3, 5, 6, apbench, iss, ",
        ),
        (["--protocol", "x"], "unknown protocol 'x': expected one of cpu-v1"),
        (["--source", "x"], "unknown source 'x': expected one of CIFAR-10"),
        (["--pixels", "ops"], "--pixels: expected CONFIGURATION=DIGEST, such as em=58e7baca, got 'ops'"),
        (["--pixels", "em=zz"], "unknown configuration of pixels 'em': expected one of ops, test"),
        (["-t", "5", "--plots", "0.jsonl"], "0.jsonl: figures cannot be written there (File exists): expected"),
        (["-t", "5", "--plots", "/proc/x"], "/proc/x: figures cannot be written there ("),
        (["empty"], "empty: holds no record"),
        (["nowhere"], "nowhere: does not exist"),
    ],
)
def test_wrong_use_gets_a_line_and_prints_nothing(file, monkeypatch, arguments, message):
    monkeypatch.chdir(file)
    (file / "empty").touch()
    done = invoke("0.jsonl", *arguments)
    assert str(done.exception).startswith(message)
    assert done.exception.exit_status == 2
    assert "\n" not in str(done.exception)
    assert not done.stdout
