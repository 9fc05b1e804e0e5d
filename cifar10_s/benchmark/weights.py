"""Weights that training starts from: a state dict from a file or the Hub, for all of a network but its classifier."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cifar10_s.common.checksums import hash_file
from cifar10_s.common.files import expand
from cifar10_s.data.array_files.torch_pt import check_plain
from cifar10_s.errors import Cifar10SError, SourceError, one_line, printable, root_cause

SAFETENSORS = ".safetensors"
# The files of a repository on the Hub that may hold the weights, the first one that is there.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@(.+))?", re.ASCII)
# Where checkpoints keep the state dict, and what wrappers put before its names.
NESTED_NAMES = ("state_dict", "model_state_dict", "model", "net")
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")
# A counter that older files lack, and that nothing here reads.
COUNTER = "num_batches_tracked"
# The names of ResNets by torchvision, timm and most code for CIFAR: stage, block, layer, its number, that of its part.
RESNET_NAME = re.compile(
    r"(?:layer([1-4])\.(\d{1,3})\.)?(conv|bn|downsample\.|shortcut\.)(\d)\.(weight|bias|running_mean|running_var)"
)
RESNET_CLASSIFIER = re.compile(r"(?:fc|linear|classifier)\.(?:weight|bias)")
# The order of tensors in a layer's state dict.
TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Weights:
    """A state dict.

    Attributes
    ----------
    source
        Where it is from, for errors.
    sha256
        The digest of its file, which is in the settings of runs.
    tensors
        The tensors by name.
    """

    source: str
    sha256: str
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, source: str | Path) -> "Weights":
        """Read weights; nothing in their file is run.

        Parameters
        ----------
        source
            A file, ``.safetensors`` or of ``torch.save``, or ``namespace/name[@revision]`` on the Hub.

        Raises
        ------
        SourceError
            If it cannot be read, or holds more than tensors.
        """
        path, name = expand(source), str(source)
        if not path.is_file():
            path = _downloaded(name)
        try:
            tensors = _state_dict(_content(path))
        except Cifar10SError:
            raise
        except Exception as error:  # what a reader raises on a broken file is its own
            raise SourceError(
                f"{name}: cannot be read ({one_line(error)}): expected {SAFETENSORS}, or a file of torch.save"
            ) from None
        if not tensors:
            raise SourceError(f"{name}: holds no state dict: expected tensors by name")
        return cls(name, hash_file(path), tensors)

    def put_into(self, net: nn.Module) -> None:
        """Put the weights into a network, all but those of its last linear layer, the classifier, which stay.

        Names must be the network's own, or those of torchvision's ResNets; shapes must be the same.

        Raises
        ------
        SourceError
            If they do not fit.
        """
        own = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)}
        classifier = last_linear(net)
        features = {name: tensor for name, tensor in own.items() if not name.startswith(f"{classifier}.")}
        given = {name: tensor for name, tensor in self.tensors.items() if not name.endswith(COUNTER)}
        if features.keys() <= given.keys() <= own.keys():
            matched = {name: given[name] for name in features}
        else:
            matched = self._by_order(type(net).__name__, list(features), given)
        for name, tensor in matched.items():
            if tensor.shape != features[name].shape:
                raise SourceError(
                    f"{self.source}: does not fit {type(net).__name__}: expected {name} of shape "
                    f"{tuple(features[name].shape)}, got {tuple(tensor.shape)}: choose another network or file"
                )
        net.load_state_dict(matched, strict=False)

    def _by_order(self, network: str, names: list[str], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Match the tensors of a ResNet under the names of other code, by their order in the network."""
        places = {name: _place(name) for name in given if not RESNET_CLASSIFIER.fullmatch(name)}
        unknown = sorted(name for name, place in places.items() if place is None)
        if unknown or len(places) != len(names):
            what = f"{len(names)} tensors besides the classifier, such as {names[0]}"
            got = f"{len(places)}, such as {printable((unknown or sorted(given))[0])[:80]}"
            raise SourceError(
                f"{self.source}: does not fit {network}: expected {what}, got {got}: choose another network or file"
            )
        ordered = sorted(places, key=lambda name: places[name] or ())
        return dict(zip(names, (given[name] for name in ordered), strict=True))


def last_linear(net: nn.Module) -> str:
    """Return the name of a network's last linear layer, its classifier.

    Raises
    ------
    SourceError
        If it has none.
    """
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear) and name]
    if not names:
        raise SourceError(f"{type(net).__name__}: has no linear layer as its classifier: choose another network")
    last: str = names[-1]
    return last


def _place(name: str) -> tuple[int, ...] | None:
    """Return what orders a ResNet's tensors as a network has them; None for another name."""
    found = RESNET_NAME.fullmatch(name)
    if found is None:
        return None
    stage, block, layer, number, tensor = found.groups()
    is_shortcut = layer.endswith(".")
    # Convolution 1, its normalisation, convolution 2, …; those of the shortcut come last.
    in_block = (1, int(number), 0) if is_shortcut else (0, int(number), int(layer == "bn"))
    return int(stage or 0), int(block or 0), *in_block, TENSORS.index(tensor)


def _content(path: Path) -> Any:
    if path.suffix == SAFETENSORS:
        from safetensors.torch import load_file

        return load_file(path)
    check_plain(path, "weights", SAFETENSORS)
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name, without the names of wrappers."""
    if not isinstance(content, dict):
        return {}
    nested = next((content[name] for name in NESTED_NAMES if isinstance(content.get(name), dict)), content)
    return {WRAPPERS.sub("", str(name)): tensor for name, tensor in nested.items() if isinstance(tensor, Tensor)}


def _downloaded(name: str) -> Path:
    """Download weights from the Hub, or find them in its cache."""
    found = HUB_NAME.fullmatch(name)
    if found is None:
        raise SourceError(f"{name}: does not exist: expected a file of weights, or namespace/name on the Hub")
    from huggingface_hub import HfApi, constants, hf_hub_download

    repository, revision = found.groups()
    try:
        files: tuple[str, ...] = HUB_FILES[:1]
        if not constants.HF_HUB_OFFLINE:
            there = HfApi().model_info(repository, revision=revision, timeout=10).siblings or []
            files = tuple(file for file in HUB_FILES if file in {one.rfilename for one in there})
        if files:
            return Path(hf_hub_download(repository, files[0], revision=revision))
    except Exception as error:  # what the connection raises depends on the HTTP library
        raise SourceError(
            f"{name}: is not a file, and cannot be downloaded from the Hub ({one_line(root_cause(error))}): check "
            "the name and the network, or give a file"
        ) from None
    raise SourceError(f"{name}: has no {' or '.join(HUB_FILES)}: download the file of weights, and give its path")
