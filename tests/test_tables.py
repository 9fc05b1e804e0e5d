"""Tables and the report: what records say, beside what papers published."""

import itertools
import json
import math
import re
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from synthetic_records import RESNET, SOURCE, record
from typer.testing import CliRunner

from cifar10_s.benchmark.measured import Measured, groups
from cifar10_s.benchmark.published import TABLES
from cifar10_s.benchmark.report import Report
from cifar10_s.benchmark.sheet import Sheet, latex, markdown
from cifar10_s.benchmark.strategies import STRATEGIES
from cifar10_s.benchmark.tables import COMPARED, NAMES, is_shown, layouts, render
from cifar10_s.cli import app
from cifar10_s.errors import SourceError, UsageError, printable
from cifar10_s.nets import NETWORKS
from cifar10_s.recipes import RECIPES

EVALUATIONS = {"clean", "em", "ops", "em-shuffled", "ops-shuffled"}
KNOWN = {
    "configuration": set(RECIPES),
    "strategy": set(STRATEGIES),
    "network": set(NETWORKS),
    "evaluation": EVALUATIONS,
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_published_tables_are_whole_and_speak_our_names(table):
    for axis in (table.rows, table.columns):
        assert set(axis.heads) <= KNOWN[axis.varies]
    for what, name in table.fixed.items():
        assert name in KNOWN[what]
    assert list(table.values) == list(table.rows.heads)
    for values in table.values.values():
        assert len(values) == len(table.columns.heads)
        assert all(value is None or 0 < value < 100 for value in values)


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("1", "clean", "ops", 15.48), ("1", "em", "ops", None), ("1", "ops-shuffled", "ops", 72.43),
        ("2", "cct-7-3x1", "clean", 88.98), ("2", "wrn-28-10", "ops", 12.76), ("3", "wrn-28-4", "ops", 21.75),
        ("5", "standard", "em-ops", 16.67), ("5", "at", "em", 83.02), ("5", "at-randaugment", "ops", 44.86),
        ("6", "cutout", "ops", 61.68), ("6", "standard", "ops-3", 9.74), ("6", "mixup", "clean", 94.75),
        ("apbench", "rem", "ueraser-max", 92.43), ("apbench", "ops", "at", 14.95), ("apbench", "tap", "jpeg-10", 84.08),
    ],
)  # fmt: skip
def test_published_numbers(table, row, column, value):
    assert TABLES[table].published(row, column) == value


def test_tables_5_and_6_agree_where_they_report_the_same():
    for strategy in ("standard", "mixup", "cutout", "randaugment"):
        for configuration in ("clean", "ops"):
            assert TABLES["5"].published(strategy, configuration) == TABLES["6"].published(strategy, configuration)


GOLDEN = """\
Table 3 of Wu et al. (ICLR 2023): clean test accuracy (%) of WRN-28-k, from 0.37 M to 145.84 M parameters. \
Measured: accuracy after the last epoch, protocol quick-v1, images: CIFAR-10, strategy standard; a machine, float32, \
torch 2. Mean ± sample standard deviation of n seeds; failed runs are counted, not averaged.

| Network | OPS, published | OPS, measured |
| --- | --: | --: |
| WRN-28-1 | 21.20 | 20.00 ± 4.00 (n=3) |
| WRN-28-2 | 14.74 | 12.50 (n=1) |
| WRN-28-4 | 21.75 | 10.00 ± 1.41 (n=2, 1 failed) |
| WRN-28-8 | 18.01 | — (2 failed) |
| WRN-28-16 | 15.36 | — |
| WRN-28-20 | 18.04 | — |
"""


def wide_records():
    """Records by hand: 16, 20, 24 have the mean 20 and the sample deviation √(32 / 2) = 4; 9 and 11: 10 and √2."""
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


def cell_texts(text):
    """Give the cells of a Markdown table by the names of row and column, as a reader sees them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    rows = []
    for token in itertools.dropwhile(lambda token: token.type != "table_open", tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            rows[-1].append("".join(child.content for child in token.children))
    (_, *heads), *body = rows
    return {(row[0], head): text for row in body for head, text in zip(heads, row[1:], strict=True)}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_mean_deviation_and_n(finals):
    records = [record("ops", seed=seed, final=final, **RESNET) for seed, final in enumerate(finals)]
    text = cell_texts(quick("5", records))["Standard", "OPS, measured"]
    found = re.fullmatch(r"([\d.]+)(?: ± ([\d.]+))? \(n=(\d)\)", text)
    mean = sum(finals) / len(finals)
    assert math.isclose(float(found[1]), mean, abs_tol=0.00501)
    assert int(found[3]) == len(finals)
    assert (found[2] is None) == (len(finals) == 1)
    if len(finals) > 1:
        deviation = math.sqrt(sum((final - mean) ** 2 for final in finals) / (len(finals) - 1))
        assert math.isclose(float(found[2]), deviation, abs_tol=0.00501)


def quick(table, records, **options):
    return render(table, records, protocol="quick-v1", **options)


def test_each_record_stands_in_its_own_cell_alone():
    table = TABLES["5"]
    places = list(itertools.product(table.rows.heads, table.columns.heads))
    records = [
        record(configuration, strategy, final=float(number), **RESNET)
        for number, (strategy, configuration) in enumerate(places)
    ]
    found = cell_texts(quick("5", records))
    for number, (strategy, configuration) in enumerate(places):
        row, head = table.rows.heads[strategy], table.columns.heads[configuration]
        assert found[row, f"{head}, measured"] == f"{number:.2f} (n=1)"
        assert found[row, f"{head}, published"] == f"{table.published(strategy, configuration):.2f}"


@pytest.mark.parametrize(
    ("measure", "value", "says"),
    [
        ("final", 30.0, "accuracy after the last epoch"),
        ("peak", 70.0, "best accuracy of all epochs"),
        ("last-5-mean", 50.0, "mean accuracy of the last five epochs"),
    ],
)
def test_the_measure_is_a_parameter_and_named(measure, value, says):
    records = [record("ops", curve=(5, 70, 50, 60, 40, 30), **RESNET)]
    text = quick("6", records, measure=measure)
    assert cell_texts(text)["Standard", "n = 1, measured"] == f"{value:.2f} (n=1)"
    assert says in text.splitlines()[0]


def test_robust_accuracy_is_of_runs_with_an_adversary(tmp_path):
    attacked = {"settings": {"strategy": {"adversary": {"steps": 10}}}}
    records = [
        record("ops", final=11), record("ops", "cutout", final=None), record("em", final=20),
        record("ops", "at", robust_accuracy=30.0, **attacked), record("ops", "at", seed=1, **attacked),
        record("ops", "at", seed=2, final=None, **attacked), record("clean", "at", robust_accuracy=40.0, **attacked),
    ]  # fmt: skip
    text = render("grid", records, protocol="cpu-v1", measure="robust")
    assert text.startswith(
        "Robust test accuracy (%) by configuration and training strategy. Measured: accuracy under PGD"
    )
    assert {place: one for place, one in cell_texts(text).items() if one != "—"} == {
        ("ops", "at"): "30.00 (n=1, 1 failed)", ("clean", "at"): "40.00 (n=1)",
    }  # fmt: skip
    assert "clean test accuracy" in render("5", records, protocol="cpu-v1", measure="robust")
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    report = Report.of([path])
    (alone,) = report.robust(report.measured("cpu-v1", SOURCE))
    assert cell_texts(markdown(alone)) == {("clean", "at"): "40.00 (n=1)", ("ops", "at"): "30.00 (n=1)"}
    assert not list(report.robust(Measured(records[:3], protocol="cpu-v1")))


def test_failed_runs_are_counted_and_never_averaged():
    records = [record("em", seed=seed, final=final, **RESNET) for seed, final in enumerate([20.0, None, 30.0, None])]
    # What a failed run had measured before it failed.
    records[1]["results"]["final"] = 99.0
    assert cell_texts(quick("5", records))["Standard", "EM, measured"] == (
        f"25.00 ± {statistics.stdev([20, 30]):.2f} (n=2, 2 failed)"
    )


@pytest.mark.parametrize("table", NAMES)
def test_a_table_without_records_is_empty(table):
    cells = cell_texts(quick(table, []))
    assert {text for (_, head), text in cells.items() if head.endswith("measured")} == (
        {"—"} if table in TABLES else set()
    )


def test_one_protocol_alone_is_in_a_table():
    records = [record("ops", final=11, **RESNET), record("ops", final=99, network="resnet-18", protocol="paper-v1")]
    assert cell_texts(quick("5", records))["Standard", "OPS, measured"] == "11.00 (n=1)"
    assert "protocol quick-v1" in quick("5", records)
    with pytest.raises(UsageError, match=r"^unknown protocol 'quick-v2': expected one of paper-v1, quick-v1$"):
        render("5", records, protocol="quick-v2")


def test_two_sources_are_never_mixed():
    records = [record("ops", final=11, **RESNET), record("ops", final=99, source="“mine”", **RESNET)]
    with pytest.raises(UsageError, match="several sources, CIFAR-10, “mine”: expected one: name it as source"):
        quick("5", records)
    text = quick("5", records, source="“mine”")
    assert cell_texts(text)["Standard", "OPS, measured"] == "99.00 (n=1)"
    assert "images: “mine”" in text
    with pytest.raises(UsageError, match="unknown source 'x'"):
        quick("5", records, source="x")


def test_two_pixel_digests_are_an_error_unless_one_is_picked():
    records = [record("em", final=final, pixels=pixels, **RESNET) for final, pixels in ((11, "ab1"), (99, "ab2"))]
    records.append(record("ops", final=50, **RESNET))
    with pytest.raises(UsageError, match=r"^'em' has records with 2 pixel digests, ab1, ab2: expected one: [^\n]*$"):
        quick("5", records)
    text = quick("5", records, pixels={"em": "ab2"})
    assert cell_texts(text)["Standard", "EM, measured"] == "99.00 (n=1)"
    assert cell_texts(text)["Standard", "OPS, measured"] == "50.00 (n=1)"
    assert "pixels of em: ab2" in text
    for start in ("ab", "x"):
        with pytest.raises(
            UsageError, match=f"pixels of 'em': expected the beginning of one of ab1, ab2, got '{start}'"
        ):
            quick("5", records, pixels={"em": start})


def test_the_same_images_mean_the_same_in_every_strategy():
    records = [record("em", pixels="a", **RESNET), record("em", "at", pixels="b", **RESNET)]
    with pytest.raises(UsageError, match="2 pixel digests"):
        quick("grid", records)


def test_two_sets_of_test_images_are_an_error_unless_one_is_picked():
    records = [record("em", final=11, test="c1", **RESNET), record("ops", final=22, test="c2", **RESNET)]
    with pytest.raises(UsageError, match="'test' has records with 2 pixel digests, c1, c2"):
        quick("5", records)
    found = cell_texts(quick("5", records, pixels={"test": "c2"}))
    assert (found["Standard", "EM, measured"], found["Standard", "OPS, measured"]) == ("—", "22.00 (n=1)")


@pytest.mark.parametrize("what", ["protocol", "strategy"])
def test_other_settings_under_one_name_are_an_error(what):
    records = [record("em", **RESNET), record("em", settings={what: {"weight": 2}}, **RESNET)]
    with pytest.raises(UsageError, match=f"^{what} '.*': runs .* have different settings"):
        quick("5", records)


def test_a_run_recorded_twice_with_different_results_is_an_error():
    records = [record("em", final=1, **RESNET), record("em", final=2, **RESNET)]
    with pytest.raises(UsageError, match=f"run {records[0]['id']} is recorded twice with different results"):
        quick("5", records)


def test_a_done_run_without_its_result_is_an_error():
    broken = record("em", **RESNET)
    del broken["results"]["peak"]
    with pytest.raises(SourceError, match=f"run {broken['id']}: is done, but has no result 'peak'"):
        quick("5", [broken], measure="peak")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("4", {}, "unknown table '4': expected one of 1, 2, 3, 5, 6, apbench, grid, transfer, dilution"),
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
        some = Measured([one for one in records if one["settings"]["network"] in names], protocol="cpu-v1")
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
    assert cell_texts(text)["ops", "standard"] == "3.00 (n=1)"
    both = render("grid", records[1:], protocol="cpu-v1").split("\n\nClean")
    assert [cell_texts(one)["ops", "standard"] for one in both] == ["3.00 (n=1)", "2.00 (n=1)"]


def test_transfer_is_shown_of_two_networks(tmp_path):
    records = [
        record("clean", network="lenet-5", final=60), record("ops", network="lenet-5", final=20),
        record("ops", network="vgg-16", final=30), record("em", "at", network="resnet-50"),
    ]  # fmt: skip
    path = tmp_path / "bench.jsonl"

    def captions(count):
        path.write_text("".join(json.dumps(one) + "\n" for one in records[:count]))
        report = Report.of([path])
        return [one.splitlines()[0].split(" (%)")[0] for one in report.tables() + report.tables(["transfer"])]

    title = "Transfer between networks: clean test accuracy"
    assert captions(2).count(title) == 1
    assert captions(4).count(title) == 2
    assert cell_texts(Report.of([path]).tables(["transfer"])[0]) == {
        ("lenet-5", "clean"): "60.00 (n=1)", ("lenet-5", "ops"): "20.00 (n=1)",
        ("vgg-16", "clean"): "—", ("vgg-16", "ops"): "30.00 (n=1)",
    }  # fmt: skip


def test_the_grid_holds_what_there_is_in_our_order():
    records = [
        record(configuration, strategy, final=final)
        for configuration, strategy, final in (
            ("theirs", "at", 1), ("em", "standard", 2), ("clean", "a-new-one", 3), ("ops-2", "standard", 4),
        )
    ]  # fmt: skip
    assert cell_texts(render("grid", records, protocol="cpu-v1")) == {
        (row, column): {("clean", "a-new-one"): "3.00 (n=1)", ("ops-2", "standard"): "4.00 (n=1)",
                        ("em", "standard"): "2.00 (n=1)", ("theirs", "at"): "1.00 (n=1)"}.get((row, column), "—")
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
    assert text.splitlines()[2] == "| Clean images | ops | em |"
    assert cell_texts(text) == {
        ("0", "ops"): "10.00 (n=1)", ("0", "em"): "—",
        ("100", "ops"): "—", ("100", "em"): "— (1 failed)",
        ("250", "ops"): "22.00 ± 2.83 (n=2)", ("250", "em"): "30.00 (n=1)",
        ("5000", "ops"): "40.00 (n=1)", ("5000", "em"): "—",
    }  # fmt: skip
    (table,) = layouts("dilution", Measured(records[-2:], protocol="cpu-v1"))
    assert not is_shown(table)


def test_the_shuffled_noise_test_takes_evaluations_where_records_have_them():
    records = [
        record("em", seed=0, evaluations={"em-shuffled": 40.0, "em": 99.0}, **RESNET),
        record("em", seed=1, evaluations={"em-shuffled": 50.0}, **RESNET),
        record("ops", seed=0, **RESNET),
    ]
    text = quick("1", records)
    found = cell_texts(text)
    assert found["Shuffled EM", "EM, measured"] == "45.00 ± 7.07 (n=2)"
    assert found["EM training images", "EM, measured"] == "99.00 (n=1)"
    assert found["EM training images", "OPS, published"] == found["OPS training images", "OPS, measured"] == "—"
    assert "epoch" not in text


# Text that anybody may have called a folder or a configuration.
texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
nasty = st.text(alphabet="\\`*_{}[]<>|&$#%~^\"'“”—–…±×a1 -", max_size=20)


@given(st.lists(texts | nasty, min_size=2, max_size=2))
@example(["~~a~~ *b* _c_ `d`", "[e](f) <g> &lt; |h| i\\"])
def test_markdown_shows_any_text_as_it_is(names):
    row, head = names
    assert cell_texts(markdown(Sheet("c", "r", (head,), ("",), ((row, "1"),)))) == {
        (printable(row), printable(head)): "1"
    }


COMMANDS = {
    r"\textbackslash{}": "\\", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&", r"\#": "#", r"\%": "%", r"\_": "_",
    r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textasciigrave{}": "`", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', "{[}": "[", "{*}": "*", "``": "“", "''": "”",
    "---": "—", "--": "–", r"\ldots{}": "…", r"$\pm$": "±", r"$\times$": "×",
}  # fmt: skip
SPECIAL = set('\\{}$&#%_^~`<>|"[*“”—–…±×')


def read_latex(text):
    """Read LaTeX that our escapes could have written; a special letter outside one is an error."""
    read = ""
    while text:
        command = next((command for command in COMMANDS if text.startswith(command)), None)
        assert command or text[0] not in SPECIAL, text
        read += COMMANDS[command] if command else text[0]
        text = text[len(command or " ") :]
    return read


@given(st.text(alphabet='\\`*_{}[]<>|&$#%~^"“—±×a1 ', max_size=20))
def test_latex_shows_any_text_as_it_is(name):
    lines = latex(Sheet(name, "r", ("c",), ("",), ((name, "1"),))).splitlines()
    assert read_latex(lines[3].removeprefix(r"\caption{").removesuffix("}")) == printable(name)
    assert read_latex(lines[9].removesuffix(r" & 1 \\")) == printable(name)


def test_latex_is_a_whole_table():
    text = render(
        "5", [record("ops", final=11, source="50%_of {CIFAR}", **RESNET)], protocol="quick-v1", format="latex"
    )
    assert r"images: 50\%\_of \{CIFAR\}, network" in text
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert begun == ended[::-1] == ["table", "adjustbox", "tabular"]
    columns = len(re.search(r"\\begin{tabular}{(l(r+))}", text)[1])
    rows = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 + 8
    for row in rows:
        spans = sum(int(width) - 1 for width in re.findall(r"\\multicolumn{(\d)}", row))
        assert row.count("&") + 1 + spans == columns == 9
    assert r"Standard & 94.01 & --- & 19.58 & --- & 15.56 & 11.00 (n=1) & 16.67 & --- \\" in text


def test_groups_come_in_the_order_of_our_protocols():
    kinds = [("theirs-v9", "a"), ("cpu-v1", "b"), ("paper-v1", "z"), ("cpu-v1", "a")]
    records = [record(protocol=protocol, source=source) for protocol, source in kinds]
    assert groups(records) == [("paper-v1", "z"), ("cpu-v1", "a"), ("cpu-v1", "b"), ("theirs-v9", "a")]


@pytest.fixture
def file(tmp_path):
    """Two files of records: of two sources, and of another protocol."""
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
    assert [re.search("protocol (.*), images: (.*), network (.*?);", line).groups() for line in captions] == [
        ("quick-v1", "CIFAR-10", "small"), ("cpu-v1", SOURCE, "small"), ("cpu-v1", "“a b”", "small"),
    ]  # fmt: skip
    assert "| 12.00 ± 1.41 (n=2) |" in done.stdout
    every = invoke(file / "0.jsonl")
    assert every.stdout.count("Measured: ") == len(NAMES) - len(COMPARED)
    assert every.stdout == "\n".join(Report.of([file / "0.jsonl"]).tables())


def test_the_command_narrows_what_it_prints(file):
    both = file / "0.jsonl", file / "1.jsonl"
    done = invoke(*both, "-t", "grid", "--protocol", "cpu-v1", "--source", "“a b”", "--format", "latex")
    assert done.stdout.count(r"\begin{table}") == 1
    assert r"em & 33.00 (n=1) \\" in done.stdout
    peak = invoke(file / "0.jsonl", "-t", "grid", "--measure", "peak", "--network", "small", "--pixels", "ops=00")
    assert "best accuracy" in peak.stdout
    assert "network small, pixels of ops: 00" in peak.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-t", "7"], "unknown table '7': expected one of 1, 2, 3, 5, 6, apbench, grid, transfer, dilution, all"),
        (["--protocol", "x"], "unknown protocol 'x': expected one of cpu-v1"),
        (["--source", "x"], "unknown source 'x': expected one of CIFAR-10"),
        (["--pixels", "ops"], "--pixels: expected CONFIGURATION=DIGEST, such as em=58e7baca, got 'ops'"),
        (["--pixels", "em=zz"], "unknown configuration of pixels 'em': expected one of ops, test"),
        (["-t", "5", "--plots", "0.jsonl"], "0.jsonl: figures cannot be written there (File exists): expected"),
        (["-t", "5", "--plots", "/proc/x"], "/proc/x: figures cannot be written there ("),
        (["empty"], "empty: holds no record"),
        (["nowhere"], "nowhere: is not there"),
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
