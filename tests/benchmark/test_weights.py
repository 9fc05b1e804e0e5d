"""Weights that training starts from: every form of a file, what does not fit, and what a table calls them."""

import json
import pickle
import re
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from cifar10_s.benchmark.weights import Weights
from cifar10_s.cli.app import app
from cifar10_s.errors import SourceError
from cifar10_s.nn.networks.registry import make_network


def network(name="small", classes=4, channels=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = make_network(name, channels=channels, size=(8, 8), classes=classes)
    for tensor in net.state_dict().values():  # also the statistics, which are the same for each seed
        tensor.copy_(torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed)))
    return net


def is_features_of(net, other):
    """Whether all but the classifier are the other's."""
    pairs = [(name, tensor, other.state_dict()[name]) for name, tensor in net.state_dict().items()]
    counted = [pair for pair in pairs if "classifier" not in pair[0] and "num_batches" not in pair[0]]
    assert len(counted) > 4
    return all(torch.equal(mine, theirs) for _, mine, theirs in counted)


def torchvision_names(net):
    """Rename the tensors of a ResNet-18 as torchvision has them, written out block by block."""
    own, names = list(net.state_dict()), ["conv1"] + ["bn1"] * 5
    for stage in range(1, 5):
        for block in range(2):
            at = f"layer{stage}.{block}"
            names += [f"{at}.conv1", *[f"{at}.bn1"] * 5, f"{at}.conv2", *[f"{at}.bn2"] * 5]
            names += [f"{at}.downsample.0", *[f"{at}.downsample.1"] * 5] if stage > 1 and block == 0 else []
    names += ["fc", "fc"]
    ends = [name.rpartition(".")[2] for name in own]
    return dict(zip((f"{name}.{end}" for name, end in zip(names, ends, strict=True)), net.state_dict().values()))


def write(path, content):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


FORMS = {
    "plain.pt": lambda state: state,
    "plain.safetensors": lambda state: dict(reversed(state.items())),
    "checkpoint.pth": lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
    "features.pt": lambda state: {k: v for k, v in state.items() if "classifier" not in k},
    "old.bin": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("form", FORMS)
def test_all_but_the_classifier_is_taken(tmp_path, form):
    pretrained, net, before = network(classes=7, seed=1), network(seed=2), network(seed=2)
    Weights.read(write(tmp_path / form, FORMS[form](pretrained.state_dict()))).put_into(net)
    assert is_features_of(net, pretrained)
    assert torch.equal(net.classifier.weight, before.classifier.weight)
    assert torch.equal(net.classifier.bias, before.classifier.bias)


@pytest.mark.parametrize("end", ["pt", "safetensors"])
def test_a_resnet_of_other_code_is_taken(tmp_path, end):
    """In the alphabetical order of a .safetensors file, too."""
    pretrained, net = network("resnet-18", 7, seed=1), network("resnet-18", seed=2)
    weights = Weights.read(write(tmp_path / f"w.{end}", torchvision_names(pretrained)))
    weights.put_into(net)
    assert is_features_of(net, pretrained)
    with pytest.raises(SourceError, match=r"does not fit SmallNet: expected 20 tensors .*, got 100, such as bn1\.bias"):
        weights.put_into(network())


def test_another_shape_is_refused(tmp_path):
    weights = Weights.read(write(tmp_path / "w.pt", network(channels=1).state_dict()))
    with pytest.raises(SourceError, match=r"features\.0\.weight of shape \(32, 3, 3, 3\), got \(32, 1, 3, 3\): choose"):
        weights.put_into(network())
    with pytest.raises(SourceError, match="does not fit ResNet: expected 100 tensors besides the classifier"):
        weights.put_into(network("resnet-18"))


class Evil:
    def __reduce__(self):
        return print, ("run!",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "evil.pt",
            {"a": Evil()},
            "its pickle names __builtin__.print, .*save the weights as a tensor, or as .safetensors",
        ),
        ("list.pt", [torch.zeros(3)], "holds no state dict"),
        ("text.safetensors", b"no tensors", "cannot be read"),
        ("bare.pt", pickle.dumps({"a": Evil()}, 2), "expected a zip, .*save the weights with a newer torch"),
        ("absent.pt", None, "does not exist: expected a file of weights, or namespace/name on the Hub"),
    ],
)
def test_what_holds_no_weights_gets_one_line_and_runs_nothing(tmp_path, capsys, name, content, reason):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SourceError, match=reason) as caught:
        Weights.read(path)
    assert "\n" not in str(caught.value)
    assert "run!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "files", [["README.md", "pytorch_model.bin"], ["model.safetensors", "pytorch_model.bin"], ["x"]]
)
def test_a_model_on_the_hub(tmp_path, monkeypatch, files):
    """The Hub is replaced at the two functions that speak with it."""
    asked, pretrained = [], network(seed=1)

    def info(self, name, revision, timeout):
        asked.append((name, revision))
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in files])

    def download(name, file, revision):
        asked.append((name, revision, file))
        return str(write(tmp_path / file, pretrained.state_dict()))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    if files == ["x"]:
        with pytest.raises(SourceError, match=r"has no model\.safetensors or pytorch_model\.bin"):
            Weights.read("me/net@v1")
        return
    net = network()
    Weights.read("me/net@v1").put_into(net)
    assert is_features_of(net, pretrained)
    assert asked == [("me/net", "v1"), ("me/net", "v1", files[0] if "model" in files[0] else files[1])]


def test_a_hub_that_does_not_answer_gets_one_line(monkeypatch):
    def info(self, *_, **__):
        raise ConnectionError("no route\nat all")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(
        SourceError, match=r"me/net: is not a file, and cannot be downloaded from the Hub .*check the name"
    ) as caught:
        Weights.read("me/net")
    assert "\n" not in str(caught.value)


def test_runs_from_weights_have_ids_and_cells_of_their_own(release, tmp_path):
    pretrained = make_network("small", channels=release.manifest.shape[2], size=release.manifest.shape[:2], classes=2)
    path, file = write(tmp_path / "w.safetensors", pretrained.state_dict()), tmp_path / "r.jsonl"
    bench = ["bench", str(release.folder), "-c", "clean", "--device", "cpu", "--records", str(file), "--json"]
    bench += ["--epochs", "1", "--allow-unverified"]
    plain, tuned = (
        json.loads(CliRunner().invoke(app, [*bench, *more]).stdout) for more in ([], ["--weights", str(path)])
    )
    assert tuned["settings"] == plain["settings"] | {"weights_sha256": Weights.read(path).sha256}
    assert tuned["results"]["parameter_distance"] != plain["results"]["parameter_distance"]
    shown = CliRunner().invoke(app, ["tables", str(file), "-t", "grid"]).stdout
    assert len(re.findall(r"measured: network small[;.]", shown)) == 1
    assert f"measured: network small from {tuned['settings']['weights_sha256'][:8]}" in shown
    wrong = CliRunner().invoke(app, [*bench, "--weights", str(path), "--network", "resnet-18"])
    assert isinstance(wrong.exception, SourceError)
