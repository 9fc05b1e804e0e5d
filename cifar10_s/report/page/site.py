"""A static site: the leaderboard of all records, the page of a release, and the records to download."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.record_checks import KnownImages
from cifar10_s.benchmark.submission import HEADER, Submission, read_submission
from cifar10_s.common.files import expand
from cifar10_s.common.staging import Staging
from cifar10_s.errors import UsageError, VerificationError, printable
from cifar10_s.release.layout import CARD
from cifar10_s.release.reader import Release
from cifar10_s.report.headline import Headline, headline
from cifar10_s.report.leaderboard import Leaderboard, leaderboards
from cifar10_s.report.page.accuracy import Plot, plot_of
from cifar10_s.report.page.page import render, verification_failures
from cifar10_s.report.page.templates import fill
from cifar10_s.report.report import Report

# The files of a site beside its card. The records mark a folder as one that may be replaced.
INDEX, GALLERIES, OUR_RECORDS = "index.html", "galleries.html", "records.jsonl"
SITE_FILES = frozenset({INDEX, GALLERIES, OUR_RECORDS, CARD})
# What the Hub's static Spaces read.
CARD_TEXT = """---
title: {title}
emoji: 🟥
colorFrom: red
colorTo: gray
sdk: static
app_file: index.html
pinned: false
---

Results of unlearnable datasets: made by `cifar10-s site` from the records beside this file.
"""
TITLE = "CIFAR-10-S: results"


@dataclass(frozen=True)
class Board:
    """A leaderboard, its headline, and the curves of each strategy."""

    leaderboard: Leaderboard
    headline: Headline | None
    plots: tuple[Plot, ...]


def write_site(
    output: str | Path,
    records: Iterable[str | Path],
    *,
    release: str | Path | None = None,
    submissions: Iterable[str | Path] = (),
    plots: bool = True,
    allow_unverified: bool = False,
    is_verified: bool = False,
) -> Path:
    """Write a site, atomically, and return its folder.

    It opens from disk and from any static host, loads nothing from elsewhere, and is what the Hub's static Spaces take.

    Parameters
    ----------
    output
        The folder: a new one, or one that this function wrote, which is replaced.
    records
        Files that `bench` wrote.
    release
        A release whose galleries are shown and whose pixels are compared with what models learned; a folder or a name
        on the Hub.
    submissions
        Files of others (see `read_submission`); their runs are marked.
    plots
        Whether to draw plots, which needs matplotlib.
    allow_unverified
        Take a release that does not verify; its page says so.
    is_verified
        The release was verified just now, and need not be again.

    Raises
    ------
    SourceError
        If a file holds no records, or the release is none.
    VerificationError
        If a submission has lines that are refused, or the release does not verify.
    UsageError
        If the folder is something else or cannot be written, matplotlib is missing, or records do not belong together.
    """
    folder = expand(output).absolute()
    _check_output(folder)
    report = Report.read(list(records))
    opened = None if release is None else Release(release)
    known = [] if opened is None else [(opened.test_digest, opened.manifest.pixels)]
    read = [read_submission(path, KnownImages.of(known, report.records)) for path in submissions]
    files = {INDEX: _index(report, read, opened, plots)}
    if opened is not None:
        files[GALLERIES] = _galleries(opened, allow_unverified=allow_unverified, is_verified=is_verified)
    files[OUR_RECORDS] = _lines(record.line for record in _once(report.records))
    files |= {submitted_name(number): _submitted(one) for number, one in enumerate(read, 1)}
    files[CARD] = CARD_TEXT.format(title=json.dumps(TITLE))
    _write(folder, files)
    return folder


def submitted_name(number: int) -> str:
    """Return the name of the file with the records of a submission, counted from 1."""
    return f"submitted-{number}.jsonl"


def _check_output(folder: Path) -> None:
    """Refuse a folder that holds anything but a site, since all that it holds is replaced."""
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    others = sorted(
        name for name in names if name not in SITE_FILES and not re.fullmatch(r"submitted-\d+\.jsonl", name)
    )
    if others:
        raise UsageError(
            f"{folder}: holds other than a site, such as {printable(others[0])}: expected the name of a new folder, or "
            "of a site"
        )


def _write(folder: Path, files: dict[str, str]) -> None:
    staging = Staging(folder)
    try:
        with staging.held() as new:
            new.mkdir(exist_ok=True)
            for name, text in files.items():
                (new / name).write_text(text, encoding="utf-8")
            if folder.exists():
                staging.replace()
            else:
                staging.put_in_place()
    except OSError as error:
        raise UsageError(f"{folder}: the site cannot be written there ({error.strerror}): choose another") from None


def _index(report: Report, submissions: Sequence[Submission], release: Release | None, plots: bool) -> str:
    boards = leaderboards(report.records, submissions)
    return fill(
        "site.html",
        script="site.js",
        title=TITLE,
        boards=[_board(report, board, plots) for board in boards],
        survival=_survival(release, boards) if plots and release is not None else None,
        galleries=GALLERIES if release is not None else None,
        records=OUR_RECORDS,
        count=len(_once(report.records)),
        submissions={submitted_name(number): one for number, one in enumerate(submissions, 1)},
        sparkline=sparkline,
    )


def _board(report: Report, board: Leaderboard, plots: bool) -> Board:
    ours = any(row.submitter is None for row in board.rows)
    figures = report.training_figures(board.record_set, board.network) if plots and ours else ()
    is_own = ours and board.record_set.network == board.network
    return Board(board, headline(board.record_set) if is_own else None, tuple(plot_of(one) for one in figures))


def _survival(release: Release, boards: Sequence[Leaderboard]) -> Plot | None:
    """Draw what is left of a release's pixels against what a network learned from them, on the first leaderboard."""
    from cifar10_s.report.survival_plot import survival, survival_points

    for board in boards:
        if points := survival_points(release, board):
            return plot_of(survival(points, board))
    return None


def _galleries(release: Release, *, allow_unverified: bool, is_verified: bool) -> str:
    failures = () if is_verified else verification_failures(release)
    if failures and not allow_unverified:
        advice = "build it again, or use it nevertheless with --allow-unverified"
        raise VerificationError([*failures, f"{release.name}: does not verify: {advice}"])
    return render(release.name, failures=failures)


def sparkline(curve: Sequence[float]) -> str:
    """Return the points of a curve in percent, 0 at the bottom, in a box of 60×20."""
    step = 60 / max(1, len(curve) - 1)
    return " ".join(f"{place * step:.4g},{20 - value / 5:.4g}" for place, value in enumerate(curve))


def _once(records: Iterable[Record]) -> list[Record]:
    return list({record.id: record for record in records}.values())


def _submitted(submission: Submission) -> str:
    """Return the file of a submission without the contact."""
    header = {HEADER: {name: text for name, text in asdict(submission.submitter).items() if name != "contact"}}
    return _lines([header, *(record.line for record in submission.records)])


def _lines(lines: Iterable[object]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
