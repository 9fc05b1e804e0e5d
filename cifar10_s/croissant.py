"""Croissant: a release's manifest and the digests of its files → ``croissant.json``, for machines.

The format is Croissant 1.1 (http://mlcommons.org/croissant/1.1) with the RAI vocabulary 1.0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cifar10_s.about import CIFAR10, KEYWORDS, MAINTAINERS, PAPER, About

CROISSANT = "croissant.json"
IMAGE, LABEL = "img", "label"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
PARQUET = "application/x-parquet"
PURPOSES = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}
# The format's own terms, by the names that it gives them.
TERMS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
    "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
    "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator",
    "source", "subField", "transform",
)  # fmt: skip
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in TERMS},
}


def describe(manifest: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Give what ``croissant.json`` says of a release.

    Parameters
    ----------
    manifest
        As in ``manifest.json``.
    files
        The SHA-256 of the release's files, by path; those that are no Parquet files may be there too.
    """
    about = About.of(manifest["source"])
    shards = {path: files[path] for path in sorted(files) if path.endswith(".parquet")}
    splits = ["train", *manifest["splits"]]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": manifest["name"],
        "description": _description(manifest),
        "version": manifest["version"],
        "datePublished": manifest["date"],
        # The card, which is wherever this file is.
        "url": "README.md",
        "license": _license(manifest, about),
        "creator": {"@type": "sc:Organization", "name": MAINTAINERS},
        "keywords": list(KEYWORDS),
        "citeAs": about.citation,
        "citation": PAPER,
        "isLiveDataset": False,
        **({"prov:wasDerivedFrom": {"@id": CIFAR10}} if manifest["source"]["is_cifar10"] else {}),
        **_responsible_ai(manifest, about),
        "distribution": [
            *(_file_object(path, digest) for path, digest in shards.items()),
            *(_file_set(name, splits) for name in manifest["configurations"]),
        ],
        "recordSet": [
            _splits(splits),
            _classes(manifest["classes"]),
            *(_record_set(name, manifest) for name in manifest["configurations"]),
        ],
    }


def _description(manifest: Mapping[str, Any]) -> str:
    height, width, channels = manifest["shape"]
    return (
        f"{manifest['title']}: {manifest['source']['title']} in {len(manifest['configurations'])} configurations, each "
        "with the same labels in the same order: the clean images, and such as were changed so that networks learn the "
        "changes and little else, foremost by the One-Pixel Shortcut (Wu et al., ICLR 2023). "
        f"Images of {height}×{width}×{channels}, {len(manifest['classes'])} classes; the default is "
        f"{manifest['default']}."
    )


def _license(manifest: Mapping[str, Any], about: About) -> dict[str, str]:
    work = {"@type": "sc:CreativeWork", "description": about.terms}
    if manifest["source"]["is_cifar10"]:
        return {**work, "name": "No licence is stated", "url": CIFAR10}
    return {**work, "name": "That of the source images"}


def _responsible_ai(manifest: Mapping[str, Any], about: About) -> dict[str, Any]:
    """Give the terms of the RAI vocabulary."""
    source = manifest["source"]
    checked = f", checked by {source['check']}" if source["check"] else ""
    changes = "; ".join(f"{name}: {entry['summary']}" for name, entry in manifest["configurations"].items())
    return {
        "rai:dataCollection": about.collection,
        "rai:dataCollectionType": ["Secondary Data analysis"],
        "rai:dataCollectionRawData": f"{source['title']}{checked} (kind: {source['kind']}).",
        "rai:dataCollectionMissingData": "No image and no label is missing.",
        "rai:dataManipulationProtocol": (
            "Programs changed the training images of every configuration but clean; the test images are unchanged. "
            f"recipes/ has each recipe in full. {changes}."
        ),
        "rai:dataAnnotationProtocol": about.annotation,
        "rai:dataUseCases": list(about.uses),
        "rai:dataLimitations": [*about.limitations, *(f"Not for: {misuse}" for misuse in about.misuses)],
        "rai:dataBiases": list(about.biases),
        "rai:personalSensitiveInformation": list(about.personal),
        "rai:dataSocialImpact": about.impact,
        "rai:dataReleaseMaintenancePlan": about.maintenance,
    }


def _file_object(path: str, digest: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": PARQUET,
        "sha256": digest,
    }


def _file_set(name: str, splits: Iterable[str]) -> dict[str, Any]:
    patterns = {
        split: f"data/{name}/{split}-*.parquet" if split == "train" else f"data/{split}-*.parquet" for split in splits
    }
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "description": f"The Parquet files of {name}.",
        "encodingFormat": PARQUET,
        "includes": list(patterns.values()),
    }


def _splits(splits: Iterable[str]) -> dict[str, Any]:
    fields = [_field("splits/name", "The split's name.", "sc:Text"), _field("splits/url", "Its use.", "sc:URL")]
    return _list("splits", "cr:Split", fields, ((split, PURPOSES[split]) for split in splits))


def _classes(names: Iterable[str]) -> dict[str, Any]:
    fields = [
        _field("classes/label", "The label.", "sc:Integer"),
        _field("classes/name", "The class's name.", "sc:Text"),
    ]
    return _list("classes", "sc:Enumeration", fields, enumerate(names))


def _list(name: str, data_type: str, fields: list[dict[str, Any]], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Describe a record set whose rows stand in the file itself; the first field is its key."""
    identifiers = [field["@id"] for field in fields]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": data_type,
        "key": {"@id": identifiers[0]},
        "field": fields,
        "data": [dict(zip(identifiers, row, strict=True)) for row in rows],
    }


def _record_set(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a configuration: a record an image."""
    entry, files = manifest["configurations"][name], {"fileSet": {"@id": f"{name}-files"}}
    rows = [f"{entry['rows']} train", *(f"{of['rows']} {split}" for split, of in manifest["splits"].items())]
    shape = "×".join(map(str, manifest["shape"]))
    split = _field(f"{name}/split", "The split.", "sc:Text")
    image = _field(f"{name}/{IMAGE}", f"The image, {shape}, as a lossless PNG.", "sc:ImageObject")
    label = _field(f"{name}/{LABEL}", "The class, from 0; classes has the names.", ["sc:Integer", "cr:Label"])
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"{entry['summary']}. Images: {', '.join(rows)}. Pixel digest: {entry['pixels_sha256']}.",
        "field": [
            {
                **split,
                "source": {
                    **files,
                    "extract": {"fileProperty": "fullpath"},
                    # It matches the split's bare name too: mlcroissant applies it twice where there is a reference.
                    "transform": {"regex": rf"^(?:data/)?(?:{name}/)?(train|test)(?:-.*\.parquet)?$"},
                },
                "references": {"field": {"@id": "splits/name"}},
            },
            {
                **image,
                "source": {**files, "extract": {"column": IMAGE}, "transform": {"jsonPath": "bytes"}},
            },
            # Without a reference to the classes: mlcroissant cannot take one split where there are two references.
            {**label, "source": {**files, "extract": {"column": LABEL}}},
        ],
    }


def _field(identifier: str, description: str, data_type: str | list[str]) -> dict[str, Any]:
    name = identifier.rpartition("/")[2]
    return {"@type": "cr:Field", "@id": identifier, "name": name, "description": description, "dataType": data_type}
