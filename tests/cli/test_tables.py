"""Tables: plain in a pipe, coloured and wrapped on a terminal."""

import re

import pytest

from cifar10_s.cli.tables import echo_table, echo_title

ROWS = [("kornia", "not installed"), ("torch\x1b[2J", "2.13.0 " * 12)]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(monkeypatch):
    """Let the library think that it writes to a terminal of 60 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def pipe(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def test_a_pipe_gets_plain_columns(pipe, capsys):
    echo_title("libraries", "green")
    echo_table(ROWS, headings=("name", "version"), indent=2, color=lambda row: "red")
    long = ("2.13.0 " * 12).strip()
    assert capsys.readouterr().out == (
        f"libraries\n  name       version\n  kornia     not installed\n  torch?[2J  {long}\n"
    )


def test_a_terminal_gets_colour_and_no_long_line(terminal, capsys):
    echo_title("libraries", "green")
    echo_table(ROWS, headings=("name", "version"), indent=2, color=lambda row: "red" if "not" in row[1] else "")
    out = capsys.readouterr().out
    title, headings, first, *wrapped = out.splitlines()
    assert "\x1b[1;32mlibraries" in title
    assert "\x1b[31mnot installed" in first
    assert "\x1b[2J" not in out
    plain = [ESCAPES.sub("", line) for line in (title, headings, first, *wrapped)]
    assert all(len(line) <= 60 for line in plain)
    assert len(wrapped) == 2
    assert " ".join(" ".join(plain[3:]).split()[1:]) == " ".join(["2.13.0"] * 12)


@pytest.mark.parametrize("where", ["pipe", "terminal"])
def test_no_rows_are_no_table(where, request, capsys):
    request.getfixturevalue(where)
    echo_table([], headings=("name", "version"))
    assert capsys.readouterr().out == ""
