"""End a command on Ctrl-C, SIGTERM or SIGHUP, so that nothing half-written stays.

The handler raises in whatever runs. Python drops what is raised in a finaliser (`__del__`), and so does a library that
catches everything, as some do while they are imported. So it raises again, until the command is ending.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

# Seconds until the handler checks whether the command is ending.
PATIENCE = 0.5


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn the signals that end a process into an orderly end of the context; one that nohup ignores stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    sys.unraisablehook = _say_nothing_of_ends
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end(number: int, frame: object) -> NoReturn:
    def end_unless_ending(alarm: int, frame: object) -> None:
        if not _is_ending():
            _end(number, frame)

    signal.signal(signal.SIGALRM, end_unless_ending)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _is_ending() -> bool:
    """Return whether what now runs handles an end, or an error on the way."""
    handled = sys.exc_info()[1]
    while handled is not None and not _is_end(handled):
        handled = handled.__context__
    return handled is not None


def _is_end(error: BaseException | None) -> bool:
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128
    )


def _say_nothing_of_ends(unraisable: Any) -> None:
    if not _is_end(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)
