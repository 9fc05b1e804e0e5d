"""The command line: ``cifar10-s`` and its commands, each in the file of its group."""

import io
import logging
import os
import signal
import sys
import threading
import warnings
from typing import Annotated, Any, NoReturn

import typer

from cifar10_s import __version__
from cifar10_s.cli import benchmark, dataset, detection, hub, information
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
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A signal that nohup ignores stays ignored.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        app(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
        # Ctrl-C, or a signal that `_stop` turned into an orderly end.
        return (
            _fail(
                "interrupted; nothing half-done is left, and the same command goes on from what is done", status=status
            )
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


def _stop(number: int, frame: object) -> NoReturn:
    """End as after Ctrl-C, so that nothing half-written stays."""
    sys.exit(128 + number)


def _not_lost(unraisable: Any) -> None:
    """Send again the signal whose end Python drops because it arrived inside a finaliser (`__del__`)."""
    match unraisable.exc_value:
        case KeyboardInterrupt():
            number: int = signal.SIGINT
        case SystemExit(code=int(status)) if status > 128:
            number = status - 128
        case _:
            sys.__unraisablehook__(unraisable)
            return
    _send_soon(number)


def _send_soon(number: int) -> None:
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    except (KeyboardInterrupt, SystemExit):  # the machine is so busy that it came before the hook had returned
        _send_soon(number)


def _fail(*lines: str, status: int) -> int:
    for line in lines:
        typer.echo(f"cifar10-s: {printable(line)}", err=True)
    return status


def main() -> None:
    """Run ``cifar10-s``."""
    sys.unraisablehook = _not_lost
    sys.exit(run())
