"""Forms of datasets that are recognised but not read, and what to do instead."""

import re
from fnmatch import fnmatch, translate
from pathlib import Path

from cifar10_s.data.sources.place import Place
from cifar10_s.errors import SourceError

PARQUET = "load it with the library that wrote it, and write Parquet with columns img and label"
# By the patterns of file names; what is said in full is "FILE: is WHAT, which is not read: ADVICE".
FORMS: dict[tuple[str, ...], tuple[str, str]] = {
    ("*.tfrecord", "*.tfrecords", "*.tfrecord-*-of-*", "*.tfrecord*.gz"): ("a TFRecord file", PARQUET),
    ("data.mdb", "lock.mdb", "*.lmdb"): ("an LMDB database", PARQUET),
    ("*.h5", "*.hdf5", "*.hdf"): (
        "an HDF5 file",
        "save its pixels and labels as NAME.pixels.npy and NAME.labels.npy in a folder",
    ),
    ("*.7z", "*.rar", "*.tar.bz2", "*.tbz2", "*.tar.xz", "*.txz", "*.tar.zst"): (
        "an archive of this kind",
        "unpack it, and give the folder, or pack it as .zip or .tar",
    ),
    ("*.parquet", "*.arrow", "*-ubyte", "*-ubyte.gz"): ("a part of a dataset", "give the folder that it is in"),
    ("*.beton",): ("an FFCV file", "give the dataset that it was written from"),
    ("*.rec", "*.idx"): ("an MXNet RecordIO file", "unpack it to one folder of images per class"),
    ("instances_*.json", "*_annotations.coco.json", "annotations.json"): (
        "a file of COCO object annotations",
        "each image needs exactly one class: list them in metadata.csv with columns file_name and label",
    ),
    ("*.csv", "*.tsv", "*.arff"): (
        "a table",
        "for one of images call it metadata.csv, with columns file_name and label; for one of pixels save them as "
        "NAME.pixels.npy and NAME.labels.npy in a folder",
    ),
    ("*.pkl", "*.pickle", "*.pt", "*.pth"): (
        "a file that can run code when it is loaded",
        "save its pixels and labels as NAME.pixels.npy and NAME.labels.npy in a folder",
    ),
}
# One pattern for all, since every file of a folder is asked.
_ANY_FORM = re.compile("|".join(translate(pattern) for patterns in FORMS for pattern in patterns))
VOC_FOLDERS = {"Annotations", "JPEGImages"}


def refuse_unsupported(place: Place) -> None:
    """Refuse a file or folder of a form that is recognised but not read.

    Raises
    ------
    SourceError
        If it is one; the line says what to do instead.
    """
    if place.path.is_file():
        _refuse_file(place.path.name, Path(place.text).parent)
        return
    if not place.is_folder:
        return
    for folder in (place.folder, *place.folder.folders):
        if {one.name for one in folder.folders} >= VOC_FOLDERS:
            raise SourceError(
                f"{folder.path}: is a dataset of objects as Pascal VOC has it, which is not read: images are to have "
                "one class each: list them in metadata.csv with columns file_name and label"
            )
        for file in folder.files:
            _refuse_file(file, folder.path)


def _refuse_file(name: str, folder: Path) -> None:
    if _ANY_FORM.match(name.lower()) is None:
        return
    for patterns, (what, advice) in FORMS.items():
        if any(fnmatch(name.lower(), pattern) for pattern in patterns):
            raise SourceError(f"{folder / name}: is {what}, which is not read: {advice}")
