"""What a user chooses of a source, if it offers more than one thing."""

from dataclasses import dataclass, fields

from cifar10_s.data.conversion import Conversion
from cifar10_s.errors import SourceError, UsageError

# The test split's name if there is to be none.
NONE = "none"
# What only some formats have; every format takes the other choices.
COLUMNS = frozenset({"image_column", "label_column"})
SPECIAL = frozenset({"config", "revision"}) | COLUMNS


def option(choice: str) -> str:
    """Return the option of the command line for a field of `Choices`."""
    return "--source-config" if choice == "config" else f"--{choice.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What to take of a source; by default all of it, as it is, and nothing is guessed.

    Each field is an option of the command line, and is recorded in the manifest if it is set.

    Attributes
    ----------
    config
        The configuration, of a dataset with several: the name in its card, or the folder (``--source-config``).
    image_column, label_column
        The columns of a table that has several.
    train_split, test_split
        The source's names of the splits; a test split ``none`` leaves the test images out.
    classes
        The classes to take: names, numbers, or ranges such as ``0:100``, whose end is left out. They keep the order
        of the source.
    limit
        How many images per class and split to take: the first ones.
    resize
        Scale the shorter side to this many pixels, and cut out the centre square (`Conversion`).
    mode
        ``RGB`` or ``L``: convert all images (`Conversion`).
    revision
        A branch, tag or commit of a dataset on the Hub.

    Raises
    ------
    UsageError
        If a number or a mode is out of range, or a name is empty.

    Examples
    --------
    >>> import cifar10_s
    >>> few = cifar10_s.Choices(classes=("0", "1"), limit=10)
    >>> cifar10_s.load_images("sample", choices=few).shape
    (20, 8, 8, 1)
    """

    config: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    resize: int | None = None
    mode: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            raise UsageError(f"classes: expected a tuple of names or numbers, got the text {self.classes!r}")
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(str(name).strip() for name in self.classes))
            if commas := [name for name in self.classes if "," in name]:
                raise UsageError(
                    f"--classes: {commas[0]!r} has a comma, which separates names: give the class's number"
                )
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit: expected at least one image per class, got {self.limit}")
        for name, value in self.given().items():
            if value == "" or (name == "classes" and "" in (self.classes or ("",))):
                raise UsageError(f"{option(name)}: expected a name, got none")
        _ = self.conversion

    @property
    def conversion(self) -> Conversion:
        """How the images are made alike."""
        return Conversion(self.resize, self.mode)

    def given(self) -> dict[str, str | int]:
        """Return what is set, by name, as the manifest records it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: ",".join(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    def check_taken(self, source: str, taken: frozenset[str]) -> None:
        """Refuse choices that a format does not offer.

        Raises
        ------
        SourceError
            If a choice is set that is special to formats, and is not in ``taken``.
        """
        for name in self.given():
            if name in SPECIAL and name not in taken:
                raise SourceError(f"{source}: has no {name.replace('_', ' ')} to choose; leave out {option(name)}")


# Nothing is chosen.
NO_CHOICES = Choices()
