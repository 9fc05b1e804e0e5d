"""Votes for colours: the kernel against its plain version, merging, streams, and what a majority is promised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import make_images
from support.streams import InTurn, stream_of

import cifar10_s
from cifar10_s.detection import votes as votes_module
from cifar10_s.detection.votes import count_colors, take_votes
from cifar10_s.detection.votes_plain import count_plain, pack, unpack, vote_plain

shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "count": st.integers(1, 60),
        "height": st.integers(1, 4),
        "width": st.integers(1, 4),
        "channels": st.integers(1, 4),
        "classes": st.integers(1, 4),
        # Few levels make majorities common.
        "levels": st.sampled_from([1, 2, 3, 256]),
    }
)


def votes_of(images, reach=1, start=0, stop=None):
    classes = range(start, len(images.class_names) if stop is None else stop)
    shape = images.shape[1:]
    centres = np.random.default_rng(1).integers(0, 3, (len(images.class_names), int(np.prod(shape))), np.uint8)
    return take_votes(images, classes, centres[classes.start : classes.stop], reach), centres


def check(images, votes, centres, reach=1):
    """A majority is the candidate, leads bound counts from both sides, and all else is a plain sum."""
    colors = pack(images.pixels).reshape(len(images), -1)
    flat = images.pixels.reshape(len(images), -1)
    for label in range(len(images.class_names)):
        members = images.labels == label
        assert votes.counts[label] == members.sum()
        assert np.array_equal(votes.sums[label], flat[members].sum(0))
        distances = np.abs(flat[members].astype(int) - centres[label]).reshape(members.sum(), colors.shape[1], -1)
        assert np.array_equal(votes.near[label], (distances <= reach).all(-1).sum(0))
        for p in range(colors.shape[1]):
            found, counts = np.unique(colors[members, p], return_counts=True)
            has = dict(zip(found.tolist(), counts.tolist()))
            candidate, lead = int(votes.colors[label, p]), int(votes.leads[label, p])
            assert has.get(candidate, 0) >= lead
            assert 2 * has.get(candidate, 0) <= members.sum() + lead
            assert all(2 * n <= members.sum() - lead for color, n in has.items() if color != candidate)
            for color, n in has.items():
                assert 2 * n <= members.sum() or color == candidate


@settings(max_examples=60, deadline=None)
@given(shape=shapes)
def test_votes_in_memory(shape):
    images = make_images(**shape)
    check(images, *votes_of(images))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, piece=st.integers(1, 5), turns=st.booleans())
def test_votes_of_parts_merge(shape, piece, turns):
    """Streams merge the votes of partitions; on a cluster, so do workers."""
    images = make_images(**shape)
    stream, reads = stream_of(images, sizes=(4, 1, 7), piece=piece, mapper=InTurn() if turns else None)
    check(images, *votes_of(stream))
    assert set(reads.values()) == {1}


@settings(max_examples=60, deadline=None)
@given(shape=shapes, reach=st.integers(0, 3))
def test_the_kernel_gives_the_bits_of_its_plain_version(shape, reach):
    images = make_images(**shape)
    got, centres = votes_of(images, reach)
    rows, counts = images.pixels.reshape(len(images), -1), np.bincount(images.labels, minlength=shape["classes"])
    order = np.argsort(images.labels, kind="stable")
    vote = votes_module._kernels(shape["channels"])[0]
    assert vote is not vote_plain
    states = [votes_module.no_votes(images.shape[1:], shape["classes"]) for _ in "ab"]
    for function, state in zip((vote, vote_plain), states):
        arrays = state.colors, state.leads, state.near, state.sums
        function(rows, order, counts, tuple(range(shape["channels"])), centres, reach, *arrays)
    for name in ("colors", "leads", "near", "sums"):
        assert np.array_equal(getattr(states[0], name), getattr(states[1], name))
    assert np.array_equal(got.sums, states[0].sums)


def test_only_the_images_of_the_classes_are_read():
    images = make_images(count=90, classes=4, levels=3)
    stream, reads = stream_of(images)
    some, _ = votes_of(stream, start=1, stop=3)
    all_, _ = votes_of(images)
    assert np.array_equal(some.sums, all_.sums[1:3])
    assert set(reads) == set(np.flatnonzero((images.labels > 0) & (images.labels < 3)))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, data=st.data())
def test_colours_are_counted(shape, data):
    images = make_images(**shape)
    positions = np.array(
        data.draw(st.lists(st.integers(0, shape["height"] * shape["width"] - 1), max_size=5)), np.int64
    )
    random = np.random.default_rng(0)
    both = np.sort(random.integers(0, 4, (2, len(positions), shape["channels"]), np.uint8), axis=0)
    hits = count_colors(images, positions, *both)
    plain = np.zeros_like(hits)
    count_plain(images.pixels.reshape(len(images), -1), images.labels, positions, *both, plain)
    assert np.array_equal(hits, plain)
    for f, position in enumerate(positions):
        levels = images.pixels.reshape(len(images), -1, shape["channels"])[:, position]
        is_inside = ((both[0][f] <= levels) & (levels <= both[1][f])).all(1)
        assert hits[f].tolist() == [int((is_inside & (images.labels == k)).sum()) for k in range(shape["classes"])]
    assert np.array_equal(count_colors(stream_of(images)[0], positions, *both), hits)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_packed_colours_are_unpacked(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    assert np.array_equal(unpack(pack(pixels), channels), pixels)
    assert len(np.unique(pack(pixels))) == len(np.unique(pixels.reshape(-1, channels), axis=0))


def test_a_group_of_classes_without_images_has_no_votes():
    """Of few classes at a time, one may be all that a group has."""
    images = make_images(count=40, classes=5)
    few = images.take(np.flatnonzero(images.labels != 2))
    assert cifar10_s.audit(few, memory="1KB").findings == cifar10_s.audit(few).findings
