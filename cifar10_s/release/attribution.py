"""Read ``about.yaml``: title, authors, licence, contact, citation and terms, as the makers of a dataset give them."""

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cifar10_s.common.typed_json import convert
from cifar10_s.data.provenance import CIFAR10, Provenance, names_cifar10
from cifar10_s.errors import SourceError, UsageError, one_line, printable, unknown

MAX_BYTES = 64 << 10
# Identifiers of https://huggingface.co/docs/hub/repositories-licenses, without those of single models.
LICENCES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0",
    "isc", "lppl-1.3c", "ms-pl", "mpl-2.0", "odc-by", "odbl", "openrail++", "osl-3.0", "postgresql", "ofl-1.1",
    "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr", "unknown", "other",
)  # fmt: skip

# HTML, Markdown's links and code, and the end of a block of code.
_MARKUP = re.compile(r"[<>`]|\]\(|\*\*|~~~")
_URL = r"https?://[\w.-]+(:\d+)?(/[\w.~%/?=&#+,:@-]*)?"
_EMAIL = r"[\w.+-]+@[\w-]+(\.[\w-]+)+"
# The fields that builders of CIFAR-10-S cannot set.
_OF_CIFAR10 = ("title", "licence", "terms")


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """The makers' description of a dataset; every field is optional.

    Attributes
    ----------
    title
        Its title, on one line.
    authors
        Their names.
    licence
        An identifier that the Hub knows: one of `LICENCES`. ``other`` needs ``terms``.
    contact
        An e-mail address, or a URL.
    homepage
        A URL.
    citation
        How to cite it: BibTeX.
    terms
        Terms of use, in sentences.
    """

    title: str | None = None
    authors: tuple[str, ...] = ()
    licence: str | None = None
    contact: str | None = None
    homepage: str | None = None
    citation: str | None = None
    terms: str | None = None

    def __bool__(self) -> bool:
        return bool(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {name: value for name, value in asdict(self).items() if value}

    def check_form(self) -> None:
        """Check an untrusted attribution, except for what depends on the images.

        Raises
        ------
        ValueError
            If a field has another form, or markup; one line.
        """
        for name, text in self._lines():
            if not text or text != " ".join(text.split()) or not text.isprintable():
                raise ValueError(f"{name}: expected text on one line, got {printable(text)[:80]!r}")
            if found := _MARKUP.search(text):
                raise ValueError(f"{name}: expected plain text, got markup: {found[0]!r} in {text[:80]!r}")
        if self.licence is not None and self.licence not in LICENCES:
            raise unknown("licence", self.licence, LICENCES)
        if self.licence == "other" and self.terms is None:
            raise ValueError("terms: is missing, and licence is 'other': say what is allowed")
        _expect("homepage", self.homepage, _URL, "a URL, such as https://example.org")
        _expect("contact", self.contact, f"{_URL}|{_EMAIL}", "an e-mail address or a URL")
        _expect(
            "citation", self.citation, r"@\w+\s*\{[^`<>]*\}\n", "BibTeX, such as @misc{…}, without <, > and backticks"
        )
        if not all(map(str.isprintable, (self.citation or "").splitlines())):
            raise ValueError("citation: has characters that cannot be printed; remove them")

    def _lines(self) -> list[tuple[str, str]]:
        """Return the name and text of each field whose text has one line."""
        alone = {"title": self.title, "terms": self.terms}
        return [(name, text) for name, text in alone.items() if text is not None] + [
            (f"authors[{number}]", author) for number, author in enumerate(self.authors)
        ]

    def check_claims(self, provenance: Provenance) -> None:
        """Check that images with this provenance allow what the attribution claims.

        Raises
        ------
        ValueError
            If they do not; one line.
        """
        if provenance.is_cifar10:
            if given := next((name for name in _OF_CIFAR10 if getattr(self, name) is not None), None):
                raise ValueError(f"{given}: the images are {CIFAR10}, whose {given} is not yours to say; leave it out")
        elif self.title is not None and names_cifar10(self.title):
            raise ValueError(
                f"title: the images are {provenance.title}, not verified {CIFAR10}; expected a title without that "
                f"name, got {self.title!r}"
            )


NO_ATTRIBUTION = Attribution()


def read_attribution(path: str | Path) -> Attribution:
    """Read an ``about.yaml``, and check its form.

    Raises
    ------
    SourceError
        If it cannot be read, is larger than 64 KiB, or is not YAML.
    UsageError
        If a field is unknown or of another form.
    """
    data = _load(path)
    known = [field.name for field in fields(Attribution)]
    if not isinstance(data, dict):
        raise UsageError(
            f"{path}: expected fields such as 'title: …' ({', '.join(known)}), got {printable(str(data))[:80]!r}"
        )
    for name, value in data.items():
        if name not in known:
            raise UsageError(f"{path}: {unknown('field', name, known)}")
        if not isinstance(value, str | list | None):
            raise UsageError(f"{path}: {name}: expected text, got {printable(str(value))[:80]}; put it in quotes")
    try:
        attribution = convert({name: _unfolded(name, value) for name, value in data.items()}, Attribution)
        attribution.check_form()
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    return attribution


def _load(path: str | Path) -> Any:
    import yaml

    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise SourceError(f"{path}: expected at most {MAX_BYTES:,} bytes")
        return yaml.safe_load(text.decode())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); expected a YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not YAML ({one_line(error)})") from None


def _unfolded(name: str, value: object) -> object:
    """Join the lines of each text except a citation, and turn a single author into a list."""
    if name == "citation":
        return value.strip() + "\n" if isinstance(value, str) else value
    if name == "authors" and isinstance(value, str):
        value = [value]
    return " ".join(value.split()) if isinstance(value, str) else value


def _expect(name: str, value: str | None, form: str, what: str) -> None:
    if value is not None and not re.fullmatch(form, value, re.ASCII):
        raise ValueError(f"{name}: expected {what}, got {printable(value)[:80]!r}")
