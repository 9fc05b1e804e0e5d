"""Images that are read block by block are the images in memory, in every respect."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import make_images
from support.options import on_cpu
from support.streams import InTurn, memory_of, stream_of

from cifar10_s.data.images import LabeledImages, row_numbers, split_rows
from cifar10_s.data.stream import Stream
from cifar10_s.errors import UsageError
from cifar10_s.methods.base import CHUNK_IMAGES, Method
from cifar10_s.methods.from_file import GivenNoise
from cifar10_s.methods.registry import METHODS
from cifar10_s.shortcut.accumulate import moments_by_class
from cifar10_s.shortcut.objectives import RANDOM, SEARCHED
from cifar10_s.shortcut.pixel_search import best_colors, find_pixels, score_maps, search
from cifar10_s.shortcut.shortcut import Shortcut


def shifted(images):
    """Return a transform that depends on each row's number and label, so that a wrong row shows."""
    added = (np.arange(len(images)) * 7 + images.labels * 31).astype(np.uint8)
    return lambda rows, pixels: pixels + added[row_numbers(rows)][:, None, None, None]


def inverted(rows, pixels):
    return 255 - pixels


def gathered(results, shape):
    """Concatenate the row numbers and the pixels of all parts."""
    rows, pixels = [np.arange(0)], [np.empty((0, *shape), np.uint8)]
    for of_part, read in results:
        rows.append(row_numbers(of_part))
        pixels.append(read)
    return np.concatenate(rows), np.concatenate(pixels)


@st.composite
def pairs(draw):
    """Images in memory, the same as a stream, and a mask for both."""
    count = draw(st.integers(1, 40))
    images = make_images(draw(st.integers(0, 99)), count=count, height=2, width=3, classes=draw(st.integers(1, 3)))
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any))
    mapper = draw(st.sampled_from([None, InTurn()]))
    stream, _ = stream_of(images, sizes, draw(st.integers(1, 5)), mapper)
    for change in draw(st.lists(st.sampled_from([shifted(images), inverted]), max_size=3)):
        images, stream = images.with_transform(change), stream.with_transform(change)
    mask = np.array(draw(st.lists(st.booleans(), min_size=len(images), max_size=len(images))), bool)
    return images, stream, mask


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_a_stream_is_the_images(pair):
    images, stream, _ = pair
    assert (len(stream), stream.shape, stream.digest()) == (len(images), images.shape, images.digest())
    loaded = stream.load()
    assert np.array_equal(loaded.pixels, images.pixels)
    assert loaded.labels is stream.labels
    assert (loaded.class_names, loaded.provenance) == (images.class_names, images.provenance)
    assert stream.load_if_fits(3 * images.pixels.size - 1) is stream
    assert isinstance(stream.load_if_fits(3 * images.pixels.size), LabeledImages) is not stream.is_distributed


def assert_rows(found, images, expected):
    rows, pixels = found
    assert np.array_equal(rows, expected)
    assert np.array_equal(pixels, images.pixels[expected])


@settings(max_examples=100, deadline=None)
@given(pairs())
def test_map_batches_yields_each_row_of_the_mask_once_in_order(pair):
    images, stream, some = pair
    for mask, expected in [(None, np.arange(len(images))), (some, np.flatnonzero(some))]:
        for either in (images, stream):
            found = gathered(either.map_batches(lambda *part: part, mask=mask), images.shape[1:])
            assert_rows(found, images, expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 50))
def test_rows_are_split_into_parts_of_a_size(some, size):
    mask = np.array(some, bool)
    for parts, expected in [
        (split_rows(len(mask), size), np.arange(len(mask))),
        (split_rows(len(mask), size, mask), np.flatnonzero(mask)),
    ]:
        numbers = [row_numbers(part) for part in parts]
        assert np.array_equal(np.concatenate([np.arange(0), *numbers]), expected)
        assert all(1 <= len(part) <= size and part[-1] // size == part[0] // size for part in numbers)


@settings(max_examples=100, deadline=None)
@given(pairs(), st.booleans())
def test_map_partitions_yields_each_row_of_the_mask_once_in_order(pair, every):
    images, stream, mask = pair
    expected = np.arange(len(images)) if every else np.flatnonzero(mask)
    partitions = list(stream.map_partitions(lambda labels, parts: (labels, list(parts)), mask=None if every else mask))
    for all_labels, parts in partitions:
        assert np.array_equal(all_labels, np.concatenate([labels for labels, _ in parts]))
    labels, pixels = gathered([part for _, parts in partitions for part in parts], images.shape[1:])
    assert np.array_equal(labels, images.labels[expected])
    assert np.array_equal(pixels, images.pixels[expected])


@settings(max_examples=100, deadline=None)
@given(pairs(), st.data())
def test_read_and_take_give_the_rows(pair, data):
    images, stream, mask = pair
    first = data.draw(st.integers(0, len(images)))
    last = data.draw(st.integers(first, len(images)))
    for rows in (slice(first, last), np.flatnonzero(mask)):
        assert np.array_equal(stream.read(rows), images.read(rows))
        if len(images.labels[rows]):
            taken, expected = stream.take(rows), images.take(rows)
            assert np.array_equal(taken.pixels, expected.pixels)
            assert np.array_equal(taken.labels, expected.labels)


def test_rows_outside_the_mask_are_not_read():
    images = make_images(count=60)
    stream, reads = stream_of(images)
    chosen = np.array([0, 6, 7, 30, 59])
    stream.read(chosen)
    mask = np.isin(np.arange(60), chosen)
    list(stream.map_batches(lambda *part: None, mask=mask))
    list(stream.map_partitions(lambda labels, parts: list(parts), mask=mask))
    assert reads == dict.fromkeys(chosen.tolist(), 3)


def test_images_and_what_they_were_derived_from_are_read_once():
    """Paired with the images that they were derived from, images are read once; paired with others, both are read."""
    images = make_images(count=30)
    stream, reads = stream_of(images)
    changed = stream.with_transform(lambda rows, pixels: pixels // 2).with_transform(lambda rows, pixels: pixels + 1)

    def seen(of, before):
        parts = list(of.map_pairs(before, lambda rows, *both: (rows, *both)))
        assert np.array_equal(np.concatenate([row_numbers(rows) for rows, _, _ in parts]), np.arange(30))
        return [np.concatenate([part[i] for part in parts]) for i in (1, 2)]

    for before in (stream, images, stream_of(images)[0], changed):
        reads.clear()
        first, second = seen(changed, before)
        assert reads == dict.fromkeys(range(30), 2 if before is changed else 1)
        assert np.array_equal(first, before.read(slice(0, 30)))
        assert np.array_equal(second, images.pixels // 2 + 1)


def test_deriving_reads_nothing():
    stream, reads = stream_of(make_images())
    stream.with_transform(inverted).with_transform(inverted)
    assert not reads


def test_blocks_are_bundled_to_be_worth_sending():
    mapper = InTurn()
    stream, _ = stream_of(make_images(count=70), mapper=mapper)
    list(stream.map_batches(lambda *part: None))
    assert mapper.items == 1
    list(replace(stream, bundle_bytes=20 * stream.read(slice(0, 1)).size).map_batches(lambda *part: None))
    assert mapper.items == 1 + 4


def test_an_error_in_a_block_is_the_reader_s():
    def fail(rows, pixels):
        raise UsageError("x")

    stream, _ = stream_of(make_images(count=200))
    with pytest.raises(UsageError, match="x"):
        stream.with_transform(fail).load()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


def test_labels_and_images_that_do_not_go_together():
    stream, _ = stream_of(make_images(count=10))
    with pytest.raises(UsageError, match=r"expected int64 of shape \(10,\)"):
        replace(stream, labels=stream.labels[1:])
    with pytest.raises(UsageError, match="expected 0 to 1"):
        replace(stream, class_names=("a", "b"))


def test_no_images_at_all():
    with pytest.raises(UsageError, match="expected at least one image"):
        Stream((), (2, 2, 3), np.arange(0), ("a",), make_images().provenance)


# Methods


def method_of(name, images):
    """Return a method; one that trains a network is replaced by random noise."""
    method = METHODS[name]
    if type(method).transform is not Method.transform:
        return method
    levels = np.random.default_rng(0).integers(-8, 9, images.shape).astype(np.float32)
    return GivenNoise.of(method, file="x.npy", sha256="0" * 64, kind="sample-wise", levels=levels)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_method_gives_a_stream_the_same_pixels(name, channels):
    """Also across the chunks for which randomness is drawn together."""
    images = make_images(count=2 * CHUNK_IMAGES + 37, height=8, width=9, channels=channels)
    method = method_of(name, images)
    if method.transform(images, on_cpu(seed=3)) is None:
        pytest.skip("needs all images in memory")
    expected = method.perturb(images, on_cpu(seed=3))
    for sizes, piece in (([1, 13, 701], 97), ([4_000], 501)):
        stream, _ = stream_of(images, sizes, piece)
        perturbed = stream.with_transform(method.transform(stream, on_cpu(seed=3)))
        assert np.array_equal(perturbed.load().pixels, expected)
        chosen = np.array([0, 36, CHUNK_IMAGES - 1, CHUNK_IMAGES, 2 * CHUNK_IMAGES + 36])
        assert np.array_equal(perturbed.read(chosen), expected[chosen])


def test_noise_of_a_class(tmp_path):
    images = make_images(count=50)
    levels = np.random.default_rng(0).integers(-8, 9, (3, *images.shape[1:])).astype(np.float32)
    method = GivenNoise.of(METHODS["lsp"], file="x.npy", sha256="0" * 64, kind="class-wise", levels=levels)
    stream, _ = stream_of(images)
    perturbed = stream.with_transform(method.transform(stream, on_cpu()))
    assert np.array_equal(perturbed.load().pixels, method.perturb(images, on_cpu()))


@pytest.mark.parametrize("pixels", [1, 3])
def test_a_stamp_gives_a_stream_the_same_pixels(pixels):
    images = make_images(count=100)
    shortcut = search(images, pixels=pixels, device="cpu")
    stream, _ = stream_of(images, [1, 13, 30], 4)
    stamped = shortcut.stamp(stream)
    assert isinstance(stamped, Stream)
    assert np.array_equal(stamped.load().pixels, shortcut.stamp(images).pixels)
    assert np.array_equal(stream.load().pixels, images.pixels)


# Search


@pytest.mark.parametrize("objective", SEARCHED)
@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7])
def test_a_search_of_some_classes_at_a_time_is_the_search(objective, pixels, at_a_time):
    images = make_images(count=300, classes=7)
    expected = search(images, objective=objective, pixels=pixels, device="cpu").to_json()
    for mapper in (None, InTurn()):
        stream, reads = stream_of(images, [5, 31], 8, mapper)
        memory = memory_of(stream, at_a_time)
        found = search(stream, objective=objective, pixels=pixels, device="cpu", memory=memory)
        assert found.to_json() == expected
        assert reads == dict.fromkeys(range(300), 1)


def test_maps_and_the_control_of_some_classes_at_a_time():
    images = make_images(count=300, classes=7)
    memory = memory_of(images, 2)
    stream, reads = stream_of(images)
    assert find_pixels(stream, RANDOM, on_cpu(seed=5, memory=memory), pixels=2).to_json() == (
        find_pixels(images, RANDOM, on_cpu(seed=5), pixels=2).to_json()
    )
    maps, colors = best_colors(stream, on_cpu(memory=memory), objective="mean-over-variance", classes=3)
    assert np.array_equal(maps, score_maps(images, device="cpu")[:3])
    assert np.array_equal(colors, best_colors(images, on_cpu(), objective="mean-over-variance")[1][:3])
    # Three classes take two passes, over the images of these classes only.
    assert reads == {row: 1 + (label < 3) for row, label in enumerate(images.labels.tolist())}


@pytest.mark.parametrize("mapper", [None, InTurn()], ids=["here", "elsewhere"])
def test_a_class_without_images_has_sums_of_nothing(mapper):
    images = make_images(count=20, classes=2)
    names = ("a", "b", "c")
    stream, _ = stream_of(replace(images, class_names=names), mapper=mapper)
    parts = list(moments_by_class(stream, on_cpu(memory=memory_of(stream, 1))))
    assert [part.counts.tolist() for part in parts] == [[int(n)] for n in np.bincount(images.labels, minlength=3)]
    assert not parts[2].sums.any()
    for searching in (search, score_maps):
        with pytest.raises(UsageError, match=r"class 2 \(c\) has no images"):
            searching(stream, device="cpu")


def test_too_little_memory_for_a_class_gets_a_line():
    stream, reads = stream_of(make_images())
    with pytest.raises(UsageError, match=r"^memory: the sums of one class of 5×4×3 take .* got [\d.]+ kB$"):
        search(stream, device="cpu", memory=memory_of(stream, 1) - 1)
    assert not reads


def test_a_shortcut_of_a_stream_is_one_like_any_other():
    stream, _ = stream_of(make_images())
    shortcut = search(stream, device="cpu")
    assert Shortcut.from_dict(shortcut.to_dict()).to_json() == shortcut.to_json()
