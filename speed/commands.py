"""What a user waits for: whole commands from start to end, each beside its limit in the same run.

Who measures another command writes a file with a function of the form `Measure`, and adds it to `MEASURES`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed.building import measure_building
from speed.searching import measure_searching

# Takes a folder of Parquet with image files, an empty folder, and whether a tenth of the images is enough.
Measure = Callable[[Path, Path, bool], list[dict[str, Any]]]
MEASURES: dict[str, Measure] = {"searching": measure_searching, "building": measure_building}


def measure_commands(source: Path, folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of all measures, each of which gets a folder of its own."""
    rows = []
    for name, measure in MEASURES.items():
        scratch = folder / name
        scratch.mkdir()
        rows += measure(source, scratch, quick)
    return rows
