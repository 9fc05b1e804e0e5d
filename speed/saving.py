"""Print the rows of a measurement, and save them under results/."""

import importlib.metadata
import json
import platform
import re
from pathlib import Path
from typing import Any

from cifar10_s.common.machine import cores, processor
from speed.growth import draw
from speed.timing import percent

ROOT = Path(__file__).resolve().parents[1]


def report(part: str, rows: list[dict[str, Any]], data: str, *, save: bool, **more: Any) -> None:
    """Print the rows; save them with what they were measured on, and ``more``, of which a growth is drawn."""
    for line in rows:
        share = f"{percent(line['share'])} of {line['limit']:,.4g} at best" if "share" in line else ""
        bound = f"must be {line['must']}" if "must" in line else ""
        print(f"{line['what']:66} {line['value']:>10,.4g} {line['unit']:9} {bound:25} {share}".rstrip())
    if not save:
        return
    libraries = ("torch", "kornia", "numpy", "numba", "imagecodecs", "pyarrow", "datasets", "pillow", "ray")
    record = {
        "data": data,
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
        "rows": rows,
        **more,
    }
    target = ROOT / "results" / f"{part}-{'-'.join(re.findall('[a-z0-9]+', data.split(',')[0].lower()))}.json"
    target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    if "growth" in more:
        draw(more["growth"], target.with_suffix(".png"))
    print(f"\nsaved: {target.relative_to(ROOT)}")
