"""Write folders of arrays and of Parquet, as users have them."""

import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Image as ImageColumn
from PIL import Image

from cifar10_s.data.codec import encode

CLASSES = ["cat", "dog", "cow"]
PIXELS, LABELS = np.arange(4 * 3 * 2 * 3, dtype=np.uint8).reshape(4, 3, 2, 3), np.array([0, 1, 1, 0])


def write_arrays(folder, pixels=PIXELS, labels=LABELS, *, name="a", classes=None):
    """Write one shard, and the class names, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.pixels.npy", pixels)
    if labels is not None:
        np.save(folder / f"{name}.labels.npy", labels)
    if classes is not None:
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    return folder


def write_parquet(path, images, *, column="img", label="label", names=CLASSES, group=7, files=None):
    """Write images in the Hub's layout, ``group`` per row group; ``files`` replace the encoded images, if not PNG."""
    files = encode(images.pixels) if files is None else files
    kind = Value("int64") if names is None else ClassLabel(names=names)
    rows = {column: [{"bytes": data, "path": None} for data in files], label: images.labels.tolist()}
    table = Dataset.from_dict(rows, features=Features({column: ImageColumn(), label: kind})).data.table
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return table


def write_pictures(folder, images):
    """Write images in memory as PNG files, in one folder per class."""
    for number, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
        target = folder / f"class {label}" / f"{number:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
    return folder
