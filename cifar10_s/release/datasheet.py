"""The datasheet of a release: the texts that its card and ``croissant.json`` share."""

from dataclasses import dataclass
from typing import Any

from cifar10_s.release.manifest import Manifest
from cifar10_s.release.papers import cite_methods

# Who makes and keeps a release that names no authors: CIFAR-10-S itself, or one of other images.
MAINTAINERS, PUBLISHER = "the maintainers of cifar10-s", "whoever published it"
# The last tells which program made it.
KEYWORDS = ("unlearnable-examples", "data-poisoning", "robustness", "cifar10-s")
SHORTCUT_KEYWORD = "one-pixel-shortcut"
PAPER = "https://arxiv.org/abs/2205.12141"
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar.html"

CITATION = """\
@inproceedings{wu2023onepixel,
  title     = {One-Pixel Shortcut: On the Learning Preference of Deep Neural Networks},
  author    = {Wu, Shutong and Chen, Sizhe and Xie, Cihang and Huang, Xiaolin},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}
"""
CIFAR10_CITATION = """\
@techreport{krizhevsky2009learning,
  title       = {Learning Multiple Layers of Features from Tiny Images},
  author      = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year        = {2009}
}
"""


@dataclass(frozen=True)
class About:
    """The datasheet of a release, in plain text; its makers' ``terms`` and ``citation`` are untrusted.

    Attributes
    ----------
    rationale
        Why it was made.
    uses, misuses
        What it is for, and what it is not for.
    collection, annotation
        How the images and labels were collected.
    terms
        Terms of use of the images.
    personal
        Personal or sensitive information in it.
    biases, limitations
        Biases of the images, and limits of conclusions from them.
    impact
        Whom it can help and harm.
    maintenance
        Who maintains it, and how changes are visible.
    citation
        References in BibTeX: that of its makers, the paper's if a shortcut was searched, and CIFAR-10's.
    papers
        References in BibTeX of the methods' papers.
    keywords
        By which it is found.
    """

    rationale: str
    uses: tuple[str, ...]
    misuses: tuple[str, ...]
    collection: str
    annotation: str
    terms: str
    personal: tuple[str, ...]
    biases: tuple[str, ...]
    limitations: tuple[str, ...]
    impact: str
    maintenance: str
    citation: str
    papers: str
    keywords: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> "About":
        """Return the datasheet of the release with this manifest."""
        source, attribution = manifest.source, manifest.attribution
        searched = bool(manifest.objectives)
        texts = _COMMON | (_CIFAR10 if source.is_cifar10 else _OTHER) | (_SHORTCUT if searched else _NO_SHORTCUT)
        if attribution.terms is not None:
            texts["terms"] = attribution.terms
        of_images = CIFAR10_CITATION if source.claims_cifar10 else ""
        return cls(
            **texts,
            citation=(attribution.citation or "") + (CITATION if searched else "") + of_images,
            papers=cite_methods(manifest.configurations),
            keywords=(*KEYWORDS, SHORTCUT_KEYWORD) if searched else KEYWORDS,
        )


def keeper(manifest: Manifest) -> str:
    """Return who made a release and keeps it, for the middle of a sentence; authors are untrusted text."""
    if manifest.attribution.authors:
        return ", ".join(manifest.attribution.authors)
    return MAINTAINERS if manifest.source.is_cifar10 else PUBLISHER


_COMMON: dict[str, Any] = {
    "uses": (
        "Research on shortcut learning, unlearnable examples and their countermeasures: train on a configuration, test "
        "on the clean images, compare with training on the configuration clean.",
        "Evaluating methods that detect or remove poisoned images: every change is known.",
    ),
    "misuses": (
        "Training a classifier that is meant to work: the training images are made so that it does not.",
        "Proof that an image so changed is protected from being learned from: it is not (see the limitations).",
        "Poisoning data that others train on without their knowledge.",
    ),
    "limitations": (
        "Networks learn the changes because they prefer them, not because the content is gone: strong augmentation "
        "weakens many of them. Do not rely on them to protect images.",
        "What was found on small images with few classes need not hold on others.",
        "Noise that networks made is the same only on one kind of device. The noise of AR may differ by one level "
        "between machines. Everything else is the same on every machine.",
        "The test images are clean. Accuracy on perturbed test images is another question.",
    ),
    "impact": (
        "Unlearnable examples are dual-use. What keeps a person's images from being trained on also poisons a dataset. "
        "The methods are published; this dataset makes both the protection's limits and the attack's traces "
        "measurable. Every change is recorded, and can be found and undone."
    ),
    "maintenance": (
        "Versions follow SemVer: other pixels under a configuration's name are a new major version. Nothing published "
        "is replaced."
    ),
}
_SHORTCUT: dict[str, Any] = {
    "rationale": (
        "To study what networks learn instead of the images' content. One pixel per class is the simplest shortcut "
        "there is; here it stands beside other perturbations of the same images, each made by a recorded recipe, so "
        "that results can be compared and repeated."
    ),
}
_NO_SHORTCUT: dict[str, Any] = {
    "rationale": (
        "To study what networks learn instead of the images' content: perturbations of the same images, each made by a "
        "recorded recipe, so that results can be compared and repeated."
    ),
}
_CIFAR10: dict[str, Any] = {
    "collection": (
        "No image was collected for this dataset. CIFAR-10 was chosen by Alex Krizhevsky, Vinod Nair and Geoffrey "
        "Hinton from the 80 Million Tiny Images, which were found by image search on the web."
    ),
    "annotation": (
        "The labels are those of CIFAR-10, unchanged: paid students sorted out the images that did not show what they "
        "had been searched for, and the authors checked the labels."
    ),
    "terms": (
        "CIFAR-10 was published without a stated licence; its page asks that its technical report be cited. The images "
        "here are under the same terms. We claim no rights in the changes."
    ),
    "personal": (
        "CIFAR-10's images come from the web, and nobody in them was asked for consent. Its classes are animals and "
        "vehicles; a few images show people. At 32×32 pixels hardly anybody can be recognised. There are no names, "
        "places or other data on them.",
        "Nothing personal was added.",
    ),
    "biases": (
        "The bias of CIFAR-10: ten classes of equal size, one object per image, what image search showed in the 2000s.",
        "The 80 Million Tiny Images, from which it was taken, were withdrawn in 2020 for offensive labels and images. "
        "CIFAR-10 has none of these labels.",
    ),
}
_OTHER: dict[str, Any] = {
    "collection": "No image was collected for this dataset: all are of the source, which says where they come from.",
    "annotation": "The labels are those of the source, unchanged.",
    "terms": "Those of the source images. We claim no rights in the changes.",
    "personal": ("Whatever the source has; it was not looked through.", "Nothing personal was added."),
    "biases": ("The images and labels have whatever bias their source has.",),
}
