"""Plots show what records hold, and are readable PNG files, the same each time."""

import io
import json
import random
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from support.synthetic_records import RESNET, record, record_set
from typer.testing import CliRunner

from cifar10_s.cli.app import app
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.report import plots
from cifar10_s.report.filled_table import FilledTable
from cifar10_s.report.plot_style import COLORS
from cifar10_s.report.report import Report
from cifar10_s.report.tables import layouts


def curves():
    """Two configurations of three seeds, one run failed; a second strategy; a second network."""
    records = [record("clean", seed=seed, curve=(20, 40, 60 + seed), parameter_distance=[1, 2, 3]) for seed in range(3)]
    records += [record("ops", seed=seed, curve=(30, 50 - 10 * seed, 11), final=None if seed == 1 else 11)
                for seed in range(3)]  # fmt: skip
    return [*records, record("ops", "at", curve=(10, 11, 12)), record("ops", network="vgg-16", curve=(5, 5, 5))]


@pytest.fixture
def measured():
    return record_set(curves(), protocol="cpu-v1")


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert not image.info.keys() & {"Software", "Creation Time", "date:create"}
        return np.asarray(image.convert("RGB"))


def count(content, color):
    """Count the pixels of nearly a colour."""
    return int((np.abs(pixels(content).astype(int) - np.round(255 * np.array(to_rgb(color)))).max(-1) <= 2).sum())


def every_figure(measured):
    return [
        plots.training_curves(measured, network="small", strategy="standard"),
        plots.training_curves(measured, network="small", configuration="ops"),
        *(
            plots.comparison(FilledTable(layout, measured))
            for name in ("5", "grid", "transfer")
            for layout in layouts(name, measured)
        ),
        plots.parameter_distance(measured, network="small"),
    ]


def test_each_figure_is_a_png_900_pixels_wide_and_not_blank(measured):
    for figure in every_figure(measured):
        content = plots.png(figure)
        height, width, _ = pixels(content).shape
        assert width == 900
        assert 200 <= height <= 900
        # Ink of the data, and of axes and letters, on mostly white paper.
        assert count(content, COLORS[0]) > 20
        assert count(content, "black") > 500
        assert count(content, "white") > 0.6 * height * width


@pytest.mark.work
def test_the_bytes_follow_from_the_records_alone(measured, monkeypatch):
    first = list(map(plots.png, every_figure(measured)))
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9)
    monkeypatch.setitem(mpl.rcParams, "savefig.facecolor", "red")
    shuffled = random.Random(1).sample(curves(), len(curves()))
    assert list(map(plots.png, every_figure(record_set(shuffled, protocol="cpu-v1")))) == first
    assert mpl.rcParams["lines.linewidth"] == 9
    other = record_set([*curves(), record("ops", seed=2, curve=(99, 99, 99), protocol="paper-v1")], protocol="cpu-v1")
    assert list(map(plots.png, every_figure(other))) == first


def test_curves_are_mean_and_bounds_of_the_runs_that_are_done(measured):
    clean, ops = plots.training_curves(measured, network="small", strategy="standard").axes
    assert (clean.get_title(), ops.get_title()) == ("clean (n=3)", "ops (n=2)")
    on_test, training = clean.lines
    assert on_test.get_xdata().tolist() == [1, 2, 3]
    assert on_test.get_ydata().tolist() == [20, 40, 61]
    assert training.get_ydata().tolist() == [40, 60, 81]
    assert on_test.get_linestyle() != training.get_linestyle()
    # Seeds 0 and 2: 50 and 30 in the second epoch.
    assert ops.lines[0].get_ydata().tolist() == [30, 40, 11]
    (outline,) = ops.collections[0].get_paths()
    second = outline.vertices[outline.vertices[:, 0] == 2, 1]
    assert (second.min(), second.max()) == (30, 50)


def test_a_configurations_figure_has_a_panel_a_strategy(measured):
    figure = plots.training_curves(measured, network="small", configuration="ops")
    assert [axis.get_title() for axis in figure.axes] == ["standard (n=2)", "at (n=1)"]
    assert figure.axes[1].lines[0].get_ydata().tolist() == [10, 11, 12]


def test_a_comparison_has_both_numbers_on_the_line_of_their_row():
    records = [record("ops", seed=seed, final=final, **RESNET) for seed, final in enumerate((10.0, 14.0, None))]
    several = record_set(records, protocol="quick-v1")
    (layout,) = layouts("5", several)
    clean, em, ops, both = plots.comparison(FilledTable(layout, several)).axes
    assert [axis.get_title() for axis in (clean, em, ops, both)] == ["Clean", "EM", "OPS", "CIFAR-10-S"]
    assert [len(axis.containers) for axis in (clean, em, ops, both)] == [0, 0, 1, 0]
    published = {round(float(line.get_ydata()[0])): float(line.get_xdata()[0]) for line in em.lines}
    assert published == dict(enumerate([19.58, 38.18, 25.83, 51.66, 83.02, 86.71, 84.24, 85.06]))
    point, _, (bar,) = ops.containers[0]
    assert (point.get_xdata().tolist(), round(float(point.get_ydata()[0]))) == ([12.0], 0)
    (ends,) = bar.get_segments()
    assert ends[:, 0] == pytest.approx([12 - 8**0.5, 12 + 8**0.5])
    assert clean.get_yticklabels()[0].get_text() == "Standard"


@pytest.mark.work
def test_dilution_is_a_line_a_configuration(tmp_path):
    records = [
        record(configuration, strategy, seed=seed, final=final)
        for configuration, strategy, seed, final in (
            ("ops", "dilution-1000", 0, 40), ("ops", "standard", 0, 10), ("ops", "standard", 1, 14),
            ("ops", "dilution-20", 0, 12), ("em", "standard", 0, 20), ("em", "dilution-1000", 0, None),
        )
    ]  # fmt: skip
    some = record_set(records, protocol="cpu-v1")
    (table,) = layouts("dilution", some)
    (axis,) = plots.dilution(FilledTable(table, some)).axes
    ops, em = axis.containers
    assert [one.get_label() for one in (ops, em)] == ["ops", "em"]
    assert [list(map(float, values)) for values in ops[0].get_data()] == [[0, 20, 1000], [12, 12, 40]]
    assert [list(map(float, values)) for values in em[0].get_data()] == [[0], [20]]
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    drawn = Report.read(file).plot(tmp_path / "figures")
    assert "cpu-v1-cifar-10-table-dilution.png" in [path.name for path in drawn]


def test_the_distance_is_drawn_where_it_was_recorded(measured):
    (axis,) = plots.parameter_distance(measured, network="small").axes
    *runs, mark = axis.lines
    assert [list(line.get_ydata()) for line in runs] == [[1, 2, 3]] * 3
    assert list(runs[2].get_xdata()) == [40, 60, 82]
    assert runs[0].get_label() == "clean (n=3)"
    assert set(mark.get_xdata()) == {90}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda some: plots.training_curves(some, network="small"),
            "expected a strategy or a configuration, got neither",
        ),
        (lambda some: plots.training_curves(some, network="small", strategy="x"), "no run of small, x is done"),
        (lambda some: plots.training_curves(some, network="x", configuration="ops"), "no run of x, ops is done"),
        (lambda some: plots.parameter_distance(some, network="vgg-16"), "no run of vgg-16, standard has recorded"),
    ],
)
def test_what_cannot_be_drawn_gets_one_line(measured, draw, message):
    with pytest.raises(UsageError, match=f"^[^\n]*{message}[^\n]*$"):
        draw(measured)


def test_curves_of_other_epochs_get_one_line():
    some = record_set([record(seed=seed, curve=[50] * (2 + seed)) for seed in range(2)], protocol="cpu-v1")
    with pytest.raises(
        SourceError, match=r"^runs \w+, \w+: expected 'test_accuracy' of the same epochs in each: [^\n]*$"
    ):
        plots.training_curves(some, network="small", strategy="standard")


def test_runs_without_curves_are_left_out():
    bare = record(seed=1)
    del bare["results"]["test_accuracy"]
    some = record_set([record(curve=(1, 2)), bare], protocol="cpu-v1")
    (axis,) = plots.training_curves(some, network="small", strategy="standard").axes
    assert axis.get_title() == "clean (n=1)"


def test_names_are_no_formulas():
    some = record_set([record("$\\frac$", source="a $x^2$ _ {", curve=(1, 2))], protocol="cpu-v1")
    figure = plots.training_curves(some, network="small", strategy="standard")
    assert pixels(plots.png(figure)).shape[1] == 900
    assert figure.axes[0].get_title() == r"\$\frac\$ (n=1)"


def test_without_matplotlib_plots_get_one_line_and_tables_none(measured, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"^matplotlib is needed for plots, .*'cifar10-s\[report\]'$"):
        plots.training_curves(measured, network="small", strategy="standard")
    file = tmp_path / "bench.jsonl"
    file.write_text(json.dumps(curves()[0]) + "\n")
    assert CliRunner().invoke(app, ["tables", str(file), "-t", "5"]).exit_code == 0
    failed = CliRunner().invoke(app, ["tables", str(file), "-t", "5", "--plots", str(tmp_path / "figures")])
    assert str(failed.exception).startswith("matplotlib is needed for plots")
    assert not failed.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["bench.jsonl"]


@pytest.mark.work
def test_the_command_writes_a_figure_of_all_that_was_measured(tmp_path):
    others = [record("ops", source=source, final=5) for source in ("A b", "a/B")]
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in [*curves(), *others]))
    folder = tmp_path / "some" / "figures"
    done = CliRunner().invoke(app, ["tables", str(file), "-t", "5", "--plots", str(folder)])
    assert done.exit_code == 0
    of_others = ("curves-small-standard", "table-grid")  # published numbers are not of these images
    assert sorted(path.stem for path in folder.iterdir()) == sorted(
        [f"cpu-v1-cifar-10-{name}" for name in (
            "curves-small-at", "curves-small-standard", "curves-vgg-16-standard", "distance-small-standard",
            "table-5", "table-6", "table-iss", "table-grid-small", "table-grid-vgg-16", "table-transfer",
        )]
        + [f"cpu-v1-a-b-{name}{number}" for name in of_others for number in ("", "-2")]
    )  # fmt: skip
    assert done.stderr.count("wrote ") == len(list(folder.iterdir()))
    assert done.stdout.count("Table 5") == 3
    assert pixels((folder / "cpu-v1-a-b-table-grid-2.png").read_bytes()).shape[1] == 900
