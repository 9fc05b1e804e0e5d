"""Training protocols, whose numbers are all pinned and recorded; a changed number is a new version."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from cifar10_s.common.own import load_own, own_names, own_path
from cifar10_s.errors import UsageError, unknown
from cifar10_s.nn.trainer import OPTIMIZERS, multistep, one_cycle

SCHEDULES = ("multistep", "one-cycle")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a network is trained, apart from data, strategy, network and seed.

    Attributes
    ----------
    name
        The name, with a version, which published numbers cite.
    network
        The network that is trained if none is named.
    epochs, batch
        Passes over the training images, and images per step; in each epoch, images that do not fill a batch are left
        out.
    optimizer
        ``sgd`` or ``adamw``.
    learning_rate, momentum, weight_decay
        Settings of the optimiser; AdamW ignores ``momentum`` and takes β (0.9, 0.999).
    schedule
        Of the learning rate. ``multistep``: divided by ten after each of the ``milestones``, shares of the epochs;
        ``one-cycle``: linear warm-up for the ``warmup`` share of the steps, then cosine decay to zero.
    per_class
        How many training images of each class are used, the first ones; None for all.
    """

    name: str
    network: str
    epochs: int
    batch: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    warmup: float = 0.0
    per_class: int | None = None

    def __post_init__(self) -> None:
        """Check the settings, of which a user may have written some.

        Raises
        ------
        UsageError
            If one is unknown or out of range.
        """
        if self.optimizer not in OPTIMIZERS:
            raise unknown(f"optimizer of protocol {self.name!r}", self.optimizer, OPTIMIZERS)
        if self.schedule not in SCHEDULES:
            raise unknown(f"schedule of protocol {self.name!r}", self.schedule, SCHEDULES)
        for what, count in (("epochs", self.epochs), ("batch", self.batch), ("images per class", self.per_class)):
            if count is not None and (not isinstance(count, int) or count < 1):
                raise UsageError(f"protocol {self.name!r}: {what}: expected a whole number from 1, got {count}")
        for field in ("learning_rate", "momentum", "weight_decay"):
            number = getattr(self, field)
            if not (isinstance(number, int | float) and 0 <= number < math.inf):
                raise UsageError(f"protocol {self.name!r}: {field}: expected a number from 0, got {number}")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"protocol {self.name!r}: warmup: expected a share from 0, below 1, got {self.warmup}")

    @property
    def summary(self) -> str:
        """The numbers that tell protocols apart, in one line."""
        images = "" if self.per_class is None else f", {self.per_class:,} images per class"
        return f"{self.network}, {self.epochs} epochs, batches of {self.batch}{images}"

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after a share of all steps, 0 to 1."""
        if self.schedule == "multistep":
            return multistep(self.learning_rate, progress, self.milestones)
        return one_cycle(self.learning_rate, progress, self.warmup)

    def for_network(self, network: str) -> "Protocol":
        """Return the protocol with the settings of a network, if it has its own (see `NETWORK_SETTINGS`)."""
        return replace(self, **NETWORK_SETTINGS.get((self.name, network), {}))

    def customised(self, *, epochs: int | None = None, per_class: int | None = None) -> "Protocol":
        """Return the protocol with other numbers under a name that says them; itself if there are none.

        Raises
        ------
        UsageError
            If a number is less than 1.

        Examples
        --------
        >>> PROTOCOLS["cpu-v1"].customised(epochs=2, per_class=100).name
        'custom-cpu-v1-epochs-2-limit-100'
        """
        given = {"epochs": epochs, "per_class": per_class}
        changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
        if not changes:
            return self
        options = (f"{field.replace('per_class', 'limit')}-{value}" for field, value in changes.items())
        return replace(self, name="-".join(["custom", self.name, *options]), **changes)

    def settings(self) -> dict[str, Any]:
        """Return all numbers, for the record."""
        settings = {**asdict(self), "milestones": list(self.milestones)}
        if self.per_class is None:
            del settings["per_class"]  # it was added later: the ids of earlier runs stay
        return settings


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # The paper's (its section on training).
        Protocol(name="paper-v1", network="resnet-18", epochs=200, schedule="multistep", milestones=(0.5, 0.75)),
        Protocol(name="quick-v1", network="resnet-18", epochs=30, warmup=0.3),
        Protocol(name="cpu-v1", network="small", epochs=10, warmup=0.3),
        # To see that everything works: on CIFAR-10, a fifth of the steps of `cpu-v1`.
        Protocol(name="smoke-v1", network="small", epochs=5, warmup=0.3, per_class=2000),
    )
}

_TRANSFORMER = {"optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 3e-2}

# Settings that differ for a network, by protocol and network (the paper's section on training).
NETWORK_SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("paper-v1", "wrn-28-10"): {"batch": 64},
    ("paper-v1", "cct-7-3x1"): _TRANSFORMER,
    ("paper-v1", "cvt-7-4"): _TRANSFORMER,
}


def find_protocol(name: str) -> Protocol:
    """Look up a protocol: a name of `PROTOCOLS`, or a user's own `Protocol` as ``package.module:name``.

    An entry point's name stands for its path. A user's own gets its path as its name; its numbers are in each record,
    and in the id of its runs.

    Raises
    ------
    UsageError
        If there is no such protocol.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    path = own_path("protocol", name)
    if path is None:
        raise unknown("protocol", name, [*PROTOCOLS, *own_names("protocol")])
    own = load_own("protocol", path)
    if not isinstance(own, Protocol):
        raise UsageError(f"protocol {name!r}: expected a Protocol, got {type(own).__name__}")
    return replace(own, name=path)
