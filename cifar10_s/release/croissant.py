"""Describe a release in ``croissant.json``: Croissant 1.1 with the RAI vocabulary 1.0.

See http://mlcommons.org/croissant/1.1.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cifar10_s.release.datasheet import CIFAR10, PAPER, About, keeper
from cifar10_s.release.layout import (
    CARD,
    IMAGE_COLUMN,
    LABEL_COLUMN,
    RECIPES,
    SHARD_SUFFIX,
    TEST,
    TRAIN,
    is_shard,
    shard_pattern,
    split_expression,
)
from cifar10_s.release.manifest import Manifest

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
PARQUET = "application/x-parquet"
PURPOSES = {TRAIN: "cr:TrainingSplit", TEST: "cr:TestSplit"}
# Terms of the format, under their own names.
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


def describe(manifest: Manifest, files: Mapping[str, str]) -> dict[str, Any]:
    """Return the contents of ``croissant.json``.

    Parameters
    ----------
    manifest
        Manifest of the release.
    files
        SHA-256 of the files of the release, by path; only Parquet files are described.
    """
    about = About.of(manifest)
    shards = {path: files[path] for path in sorted(files) if is_shard(path)}
    splits = [TRAIN, *manifest.splits]
    stored = [] if manifest.recipe_only else list(manifest.configurations)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": manifest.name,
        "description": _description(manifest),
        "version": manifest.version,
        "datePublished": manifest.date,
        # The card is in the same folder as this file.
        "url": CARD,
        "license": _license(manifest, about),
        **_makers(manifest),
        "keywords": list(about.keywords),
        **_citations(manifest, about),
        "isLiveDataset": False,
        **({"prov:wasDerivedFrom": {"@id": CIFAR10}} if manifest.source.is_cifar10 else {}),
        **_responsible_ai(manifest, about),
        "distribution": [
            *(_file_object(path, digest) for path, digest in shards.items()),
            *(_file_set(name, splits) for name in stored),
        ],
        "recordSet": [
            _splits(splits),
            _classes(manifest.classes),
            *(_record_set(name, manifest) for name in stored),
        ],
    }


def _description(manifest: Manifest) -> str:
    height, width, channels = manifest.shape
    foremost = ", foremost by the One-Pixel Shortcut (Wu et al., ICLR 2023)" if manifest.objectives else ""
    return (
        f"{manifest.title}: {manifest.source.title} in {len(manifest.configurations)} configurations, each "
        "with the same labels in the same order: the clean images, and versions changed so that networks learn the "
        f"changes and little else{foremost}. "
        f"Images of {height}×{width}×{channels}, {len(manifest.classes)} classes; the default is "
        f"{manifest.default}."
        f"{' Recipes and digests only: the program cifar10-s makes the images.' if manifest.recipe_only else ''}"
    )


def _citations(manifest: Manifest, about: About) -> dict[str, Any]:
    """Return how to cite the dataset, and what it is based on; neither if nothing is known of it."""
    cite_as = about.citation or about.papers
    based_on = [*([PAPER] if manifest.objectives else []), *([about.papers] if about.papers else [])]
    return {**({"citeAs": cite_as} if cite_as else {}), **({"citation": based_on} if based_on else {})}


def _makers(manifest: Manifest) -> dict[str, Any]:
    """Return who made the dataset, and whom to ask."""
    attribution = manifest.attribution
    made: dict[str, Any] = {"creator": {"@type": "sc:Organization", "name": keeper(manifest)}}
    if attribution.authors:
        made = {"creator": [{"@type": "sc:Person", "name": author} for author in attribution.authors]}
    if attribution.contact is not None:
        made["contactPoint"] = {"@type": "sc:ContactPoint", _kind_of(attribution.contact): attribution.contact}
    return made if attribution.homepage is None else {**made, "sameAs": attribution.homepage}


def _kind_of(contact: str) -> str:
    return "url" if "://" in contact else "email"


def _license(manifest: Manifest, about: About) -> dict[str, str]:
    work = {"@type": "sc:CreativeWork", "description": about.terms}
    if manifest.attribution.licence is not None:
        return {**work, "name": manifest.attribution.licence}
    if manifest.source.is_cifar10:
        return {**work, "name": "No licence is stated", "url": CIFAR10}
    return {**work, "name": "That of the source images"}


def _responsible_ai(manifest: Manifest, about: About) -> dict[str, Any]:
    """Return the fields of the RAI vocabulary."""
    source = manifest.source
    checked = f", checked by {source.check}" if source.check else ""
    changes = "; ".join(f"{name}: {entry.summary}" for name, entry in manifest.configurations.items())
    return {
        "rai:dataCollection": about.collection,
        "rai:dataCollectionType": ["Secondary Data analysis"],
        "rai:dataCollectionRawData": f"{source.title}{checked} (kind: {source.kind}).{source.taken}",
        "rai:dataCollectionMissingData": "No image and no label is missing.",
        "rai:dataManipulationProtocol": (
            "Programs changed the training images of every configuration but clean; the test images are unchanged. "
            f"{RECIPES}/ has each recipe in full. {changes}."
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
    patterns = {split: shard_pattern(name, split, SHARD_SUFFIX) for split in splits}
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
    """Describe a record set with inline rows; the first field is its key."""
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


def _record_set(name: str, manifest: Manifest) -> dict[str, Any]:
    """Describe a configuration, with one record per image."""
    entry, files = manifest.configurations[name], {"fileSet": {"@id": f"{name}-files"}}
    rows = [f"{entry.rows} {TRAIN}", *(f"{of.rows} {split}" for split, of in manifest.splits.items())]
    shape = "×".join(map(str, manifest.shape))
    split = _field(f"{name}/split", "The split.", "sc:Text")
    image = _field(f"{name}/{IMAGE_COLUMN}", f"The image, {shape}, as a lossless PNG.", "sc:ImageObject")
    label = _field(f"{name}/{LABEL_COLUMN}", "The class, from 0; classes has the names.", ["sc:Integer", "cr:Label"])
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"{entry.summary}. Images: {', '.join(rows)}. Pixel digest: {entry.pixels_sha256}.",
        "field": [
            {
                **split,
                "source": {
                    **files,
                    "extract": {"fileProperty": "fullpath"},
                    # It matches the bare name of a split too, as mlcroissant applies it twice if there is a reference.
                    "transform": {"regex": split_expression(name)},
                },
                "references": {"field": {"@id": "splits/name"}},
            },
            {
                **image,
                "source": {**files, "extract": {"column": IMAGE_COLUMN}, "transform": {"jsonPath": "bytes"}},
            },
            # Without a reference to the classes, as mlcroissant cannot filter by split if there are two references.
            {**label, "source": {**files, "extract": {"column": LABEL_COLUMN}}},
            *(_other_field(name, column, names, files) for column, names in manifest.column_names.items()),
        ],
    }


def _other_field(name: str, column: str, names: Sequence[str] | None, files: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a column of labels of another kind."""
    described = "" if names is None else f": {', '.join(names)}"
    field = _field(f"{name}/{column}", f"Labels of another kind, from 0{described}.", "sc:Integer")
    return {**field, "source": {**files, "extract": {"column": column}}}


def _field(identifier: str, description: str, data_type: str | list[str]) -> dict[str, Any]:
    name = identifier.rpartition("/")[2]
    return {"@type": "cr:Field", "@id": identifier, "name": name, "description": description, "dataType": data_type}
