"""`python -m speed.peers` finds whose clone a folder is, and times and compares its search; stand-ins for clones."""

import subprocess

import pytest

from cifar10_s.errors import UsageError
from speed import peers
from speed.synthetic import synthetic

# What the programs are known to take and to return; the search itself is ours here, wrong for one class if asked.
STAND_IN = """
import numpy as np, cifar10_s

def stamped(pixels, labels, objective, wrong):
    images = cifar10_s.LabeledImages(pixels, labels, tuple(map(str, range(labels.max() + 1))))
    stamped = cifar10_s.search(images, objective=objective, device="cpu").stamp(images).pixels / 255
    if wrong:
        stamped[labels == 3] = pixels[labels == 3] / 255
        stamped[labels == 3, 0, 0] = (0.5, 0.5, 0.5)
    return stamped
"""
PIXEL_SEARCH = """
def pixel_search(clean_train_data, pert_init=None, sparsity=1):
    print("searching class 0")
    pixels = clean_train_data.data
    return stamped(pixels, clean_train_data.targets, "mean-over-std", {wrong}) - pixels / 255
"""
POISON = """
class OnePixelShortcutAttack:
    def poison(self, x, y=None):
        assert x.dtype == np.float32
        return stamped(np.rint(255 * x).astype(np.uint8), y, "mean-minus-variance", False).astype(np.float32), y
"""
CALLS = {
    "the authors' program": PIXEL_SEARCH.format(wrong=False),
    "APBench": PIXEL_SEARCH.format(wrong=True),
    "ART": POISON,
}


@pytest.mark.work
@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_a_search_is_timed_and_compared(tmp_path, peer):
    clone = tmp_path / "clone"
    (clone / peer.file).parent.mkdir(parents=True)
    (clone / peer.file).write_text(STAND_IN + CALLS[peer.name])
    assert peers.find_peer(clone) is peer
    theirs, ours, times, same = peers.search_rows(peer, clone, synthetic(400), tmp_path)
    assert times["value"] == theirs["value"] / ours["value"]
    assert same["value"] == (9 if peer.name == "APBench" else 10)


def test_another_folder_gets_a_line(tmp_path):
    with pytest.raises(UsageError, match=r"expected a clone with one of perturb.py \(the authors' program\), "):
        peers.find_peer(tmp_path)


def test_the_commit_of_a_clone_is_recorded(tmp_path):
    assert peers.commit(tmp_path) == "unknown: not a clone by git"
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for line in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *line], check=True)
    assert len(peers.commit(tmp_path)) == 40


def test_both_ways_of_building_are_timed(tmp_path):
    plain, ours, times = peers.build_rows(synthetic(200), tmp_path)
    assert times["value"] == plain["value"] / ours["value"]
