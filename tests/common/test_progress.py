"""Progress bars: on a terminal and in a notebook, with the step they belong to; none in a log."""

import io
import logging
import sys
from types import SimpleNamespace

import datasets

import cifar10_s
from cifar10_s.common.progress import progress_bar, step


class Terminal(io.StringIO):
    def isatty(self):
        return True


def standard_error(monkeypatch, stream):
    """Replace standard error; a fixture would do so before pytest does."""
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def count():
    with progress_bar("read", 3) as bar:
        bar.update(3)


def test_a_terminal_shows_the_step(monkeypatch):
    stderr = standard_error(monkeypatch, Terminal())
    with step(2, 4, "ops"):
        count()
    count()
    inside, _, outside = stderr.getvalue().rpartition("2/4 ops: read")
    assert inside
    assert "read: " in outside
    with progress_bar("read", 3, hidden=True) as bar:
        assert bar.disable


def test_a_log_shows_nothing(monkeypatch):
    stderr = standard_error(monkeypatch, io.StringIO())
    count()
    assert stderr.getvalue() == ""


def test_a_notebook_shows_bars(monkeypatch):
    standard_error(monkeypatch, io.StringIO())
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with progress_bar("read", 3) as bar:
        assert not bar.disable
    with progress_bar("read", 3, hidden=True) as bar:
        assert bar.disable


def test_a_build_counts_its_configurations_and_shows_no_foreign_bar(monkeypatch, tmp_path):
    stderr = standard_error(monkeypatch, Terminal())
    # The command, in another test, may have left a handler of a standard error that is closed.
    monkeypatch.setattr(logging.getLogger("cifar10_s"), "handlers", [])
    datasets.enable_progress_bars()
    try:
        cifar10_s.build("sample", tmp_path / "digits-s", name="digits-s", configurations=["ops"], device="cpu")
        assert not datasets.are_progress_bars_disabled()
    finally:
        datasets.disable_progress_bars()
    shown = {line.partition(": ")[0] for line in stderr.getvalue().replace("\r", "\n").splitlines() if ": " in line}
    assert shown == {"read", "1/2 clean", "2/2 ops"}
    assert "2/2 ops: encode train" in stderr.getvalue()
    assert "2/2 ops: verify" in stderr.getvalue()
