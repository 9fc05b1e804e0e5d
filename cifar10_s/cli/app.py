"""The command line: ``cifar10-s`` and its commands, each in the file of its group."""

import io
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cifar10_s import __version__
from cifar10_s.cli import benchmark, dataset, detection, hub, information
from cifar10_s.cli.signals import ending_on_signals
from cifar10_s.errors import Cifar10SError, VerificationError, printable

app = typer.Typer(
    name="cifar10-s",
    help="The One-Pixel Shortcut on CIFAR-10 and on your own images: search, build a dataset, verify, publish "
    "and measure it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cifar10-s {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop."),
    ] = False,
) -> None:
    """Accept the options that stand before the command."""


for module in (dataset, detection, hub, benchmark, information):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return the exit status; errors of this package become one line each."""
    # Our progress bars are silent in a pipe; those of the library are not.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # A broken file gets one line from us; the libraries' own warnings say less.
    logging.getLogger("imagecodecs").setLevel(logging.ERROR)
    logging.getLogger("datasets").setLevel(logging.CRITICAL)
    _print_what_the_terminal_can()
    _log_to_standard_error()
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        Path.cwd()
    except OSError:
        return _fail("the current folder no longer exists; change to another", status=2)
    try:
        app(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
        # A signal that `ending_on_signals` turned into an orderly end.
        return (
            _fail("interrupted; no partial output is left; run the same command again to continue", status=status)
            if status > 128
            else status
        )
    except VerificationError as error:
        return _fail(*error.failures, status=error.exit_status)
    except Cifar10SError as error:
        return _fail(str(error), status=error.exit_status)
    except OSError as error:
        return _fail(str(error), status=1)
    return 0


def _open_what_is_closed() -> None:
    """Lead standard streams that are closed, as services close them, to nowhere.

    Python has no object for one, which libraries expect; and the next file to be opened would get its number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 (open to the end)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(getattr(sys, name).fileno(), number)


def _print_what_the_terminal_can() -> None:
    """Print a question mark for a character that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _log_to_standard_error() -> None:
    """Show the package's log messages in the form of its errors."""
    ours = logging.getLogger("cifar10_s")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("cifar10-s: %(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)


def _fail(*lines: str, status: int) -> int:
    for line in lines:
        typer.echo(f"cifar10-s: {printable(line)}", err=True)
    return status


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run ``cifar10-s`` and end the process; signals end it in order, too."""
    _open_what_is_closed()
    with ending_on_signals():
        status = run(arguments)
    sys.exit(status)
