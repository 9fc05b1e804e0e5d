"""A folder of Parquet files as a stream: the pixels that `datasets` reads, and one line for everything wrong."""

import io
import re

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.images import make_images
from support.sources import CLASSES, write_parquet

from cifar10_s.data.codec import encode
from cifar10_s.data.images import MAX_PART_IMAGES
from cifar10_s.data.sources import parquet
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.splits import load_images, open_images
from cifar10_s.errors import SourceError


def write_groups(path, schema, tables):
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)


def refusal(folder):
    with pytest.raises(SourceError) as caught:
        open_images(folder).load()
    message = str(caught.value)
    assert message.isprintable()
    return message.replace(f"{folder}/", "")


def open_in_small_blocks(folder, column="img"):
    """Open the train split with five images of 5×4×3 per block, three decoded at a time: a row group has several."""
    images, files = open_images(folder), sorted(map(str, folder.glob("train-*.parquet")))
    return parquet.read_stream(
        files, f"{folder}: train", column, images.labels, images.class_names, images.provenance,
        block_bytes=5 * 5 * 4 * 3, max_part_images=3,
    )  # fmt: skip


@pytest.mark.parametrize(("column", "label"), [("img", "label"), ("image", "labels")])
@pytest.mark.parametrize("names", [CLASSES, None])
@pytest.mark.parametrize("group", [1, 7, 1_000])
def test_the_pixels_that_datasets_reads(tmp_path, column, label, names, group):
    parts = [make_images(seed, count=23) for seed in range(3)]
    for number, part in enumerate(parts):
        write_parquet(tmp_path / f"train-{number}.parquet", part, column=column, label=label, names=names, group=group)
    images = open_images(tmp_path)
    expected = datasets.load_dataset(str(tmp_path), split="train")
    assert images.class_names == tuple(names or "012")
    assert images.labels.tolist() == expected[label]
    pixels = np.stack([np.asarray(row[column]) for row in expected])
    in_small_blocks = open_in_small_blocks(tmp_path, column)
    for stream in (images, in_small_blocks):
        assert np.array_equal(stream.load().pixels, pixels)
        for rows in (np.array([0, 1, 22, 23, 24, 60, 68]), np.array([40]), slice(3, 29), np.arange(0)):
            assert np.array_equal(stream.read(rows), pixels[rows])
    assert max(map(len, in_small_blocks.blocks)) == min(group, 5)
    assert max(len(part) for part in in_small_blocks.map_batches(lambda rows, pixels: pixels)) == min(group, 3)


def test_jpegs_in_parquet_are_those_that_datasets_reads(tmp_path):
    images, files = make_images(height=16, width=24, levels=2), []
    for pixels in images.pixels:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        files.append(file.getvalue())
    write_parquet(tmp_path / "train-0.parquet", images, files=files)
    expected = datasets.load_dataset(str(tmp_path), split="train")
    read = open_images(tmp_path).load().pixels.astype(int)
    assert np.abs(read - np.stack([np.asarray(row["img"]) for row in expected])).max() <= 4


def test_row_groups_without_rows(tmp_path):
    images = make_images(count=10)
    table = write_parquet(tmp_path / "train-1.parquet", images)
    empty = table.slice(0, 0)
    write_groups(tmp_path / "train-0.parquet", table.schema, [empty, table.slice(0, 4), empty, table.slice(4), empty])
    write_groups(tmp_path / "train-2.parquet", table.schema, [])
    pixels = open_images(tmp_path).load().pixels
    assert np.array_equal(pixels, np.concatenate([images.pixels] * 2))


def test_no_rows_at_all(tmp_path):
    table = write_parquet(tmp_path / "x" / "train-0.parquet", make_images())
    write_groups(tmp_path / "x" / "train-0.parquet", table.schema, [table.slice(0, 0)])
    assert "has no rows: expected at least one image" in refusal(tmp_path / "x")


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("name", ["img", "label"])
def test_two_columns_of_a_name_are_not_chosen_from(tmp_path, name, second):
    """As a join leaves them; the first was read of a second file, and of the first it ended in a traceback."""
    images = make_images(count=10)
    write_parquet(tmp_path / "train-0.parquet", images)
    table = write_parquet(tmp_path / "train-1.parquet", images)
    pq.write_table(table.append_column(name, table[name]), tmp_path / f"train-{int(second)}.parquet")
    assert f"train-{int(second)}.parquet: expected one column '{name}', got 2; rename or drop one" in refusal(tmp_path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize(
    ("labels", "line"),
    [(["", "a"], "5 rows have no label"), (["a", " \t"], "5 rows have no label"), ([""], "has no labels: all of them")],
    ids=range(3),
)
def test_an_empty_text_is_no_label(tmp_path, kind, labels, line):
    """It became a class without a name; in `metadata.csv`, it is a missing label."""
    table = write_parquet(tmp_path / "train-0.parquet", make_images(count=10))
    texts = (labels * 10)[:10]
    pq.write_table(table.set_column(1, "label", pa.array(texts).cast(kind)), tmp_path / "train-0.parquet")
    assert line in refusal(tmp_path)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_labels_that_are_texts_of_other_libraries(tmp_path, kind):
    images = make_images(count=10)
    table = write_parquet(tmp_path / "train-0.parquet", images)
    texts = [("a", "b")[label % 2] for label in images.labels]
    pq.write_table(table.set_column(1, "label", pa.array(texts, kind)), tmp_path / "train-0.parquet")
    read = load_images(tmp_path)
    assert [read.class_names[label] for label in read.labels] == texts


@pytest.mark.parametrize(
    "column",
    [pa.array([[0] * 12] * 2), pa.array(["aGVsbG8="] * 2), pa.array([{"bytes": None, "path": "a.png"}] * 2)],
    ids=("pixels", "base64", "paths"),
)
def test_a_column_of_no_image_files_says_what_to_write(tmp_path, column):
    pq.write_table(pa.table({"image": column, "label": [0, 1]}), tmp_path / "train-0.parquet")
    assert "expected a column of image files, got the columns image, label; lists of pixels" in refusal(tmp_path)


def test_whole_numbers_of_several_sizes(tmp_path):
    """As shards from different programs have them; `datasets` reads them too."""
    images = make_images(count=10)
    for number, kind in enumerate([pa.int64(), pa.int32(), pa.uint8()]):
        table = write_parquet(tmp_path / f"train-{number}.parquet", images, names=None)
        pq.write_table(table.set_column(1, "label", table["label"].cast(kind)), tmp_path / f"train-{number}.parquet")
    assert open_images(tmp_path).load().labels.tolist() == images.labels.tolist() * 3


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda table: table.drop_columns("label"), "train-1.parquet: expected a column 'label', found none"),
        (lambda table: table.drop_columns("img"), "train-1.parquet: expected a column 'img' with the images' bytes"),
        (
            lambda table: table.set_column(1, "label", table["label"].cast(pa.string())),
            "train-0.parquet: column 'label': expected one type in all files, got int64, string",
        ),
        (
            lambda table: table.set_column(1, "label", pa.array([0, 2**64 - 1] * 5, pa.uint64())),
            r"train-1.parquet: cannot be read \(ArrowInvalid: Integer value 18446744073709551615 not in range",
        ),
        (
            lambda table: table.set_column(
                0, "img", pa.array([*table["img"].to_pylist()[:9], None], table["img"].type)
            ),
            "{folder}: train: row 19 has no image: expected the image's bytes in every row",
        ),
        (
            lambda table: table.set_column(0, "img", pa.array([{"bytes": None, "path": "x"}] * 10, table["img"].type)),
            "{folder}: train: row 10 has no image: expected the image's bytes in every row",
        ),
    ],
    ids=range(6),
)
def test_a_second_file_of_another_form_gets_a_line(tmp_path, change, line):
    folder = tmp_path / "pets"
    table = write_parquet(folder / "train-0.parquet", make_images(count=10))
    pq.write_table(change(table), folder / "train-1.parquet")
    assert re.match(line.format(folder=folder), refusal(folder))


@pytest.mark.parametrize("row", [0, 9, 10, 13, 19])
def test_a_corrupt_image_is_named_by_its_row(tmp_path, row):
    """The row of the split, whatever its file and row group; the images of other rows can be read."""
    folder, images = tmp_path / "pets", make_images(count=20)
    files = encode(images.pixels)
    if row:
        files[row] = files[row][:-20]
    else:
        files[row] = b"no image"
    for number in range(2):
        part = slice(10 * number, 10 * number + 10)
        write_parquet(folder / f"train-{number}.parquet", images.take(part), files=files[part], group=4)
    assert refusal(folder).startswith(f"{folder}: train image {row}: ")
    if row:
        in_small_blocks, others = open_in_small_blocks(folder), np.delete(np.arange(20), row)
        assert np.array_equal(in_small_blocks.read(others), images.pixels[others])
        with pytest.raises(SourceError, match=f"{folder}: train image {row}: "):
            in_small_blocks.load()


def test_a_file_that_changes_while_it_is_read_gets_a_line(tmp_path):
    table = write_parquet(tmp_path / "train-0.parquet", make_images(count=10), group=10)
    images = open_images(tmp_path)
    pq.write_table(table.slice(0, 6), tmp_path / "train-0.parquet")
    with pytest.raises(SourceError, match=r"train-0\.parquet: has changed while it was read"):
        images.load()
    assert len(images.read(np.arange(6))) == 6
    (tmp_path / "train-0.parquet").unlink()
    with pytest.raises(SourceError, match=r"train-0\.parquet: cannot be read"):
        images.load()


def test_a_row_group_is_not_decoded_beyond_what_is_wanted(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train-0.parquet", make_images(count=4 * MAX_PART_IMAGES, height=1, width=1), group=10**6)
    images, batches = open_images(tmp_path), []

    def watched(*arguments):
        for batch in parquet_batches(*arguments):
            batches.append(len(batch))
            yield batch

    parquet_batches = parquet._batches
    monkeypatch.setattr(parquet, "_batches", watched)
    assert len(images.read(np.array([5, MAX_PART_IMAGES + 1]))) == 2
    assert batches == [MAX_PART_IMAGES] * 2


def test_a_folder_is_a_stream_without_a_network_too(tmp_path, monkeypatch):
    write_parquet(tmp_path / "train-0.parquet", make_images())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("cifar10_s.data.sources.hf_dataset.read_dataset", None)
    assert len(open_images(tmp_path)) == 40


class LostError(Exception):
    """What libraries raise if a connection is lost is neither an OSError nor a ValueError."""


def test_a_lost_connection_gets_a_line(monkeypatch):
    def lose(*arguments):
        raise LostError("peer\nclosed")

    monkeypatch.setattr("fsspec.open", lose)
    with pytest.raises(SourceError, match=r"hf://x/train\.parquet: cannot be read \(LostError: peer closed\)"):
        parquet.read_column(["hf://x/train.parquet"], "label")


def test_a_mistake_of_ours_is_no_line(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", make_images())
    with pytest.raises(ZeroDivisionError), parquet.opened(str(tmp_path / "train-0.parquet")):
        _ = 1 / 0


class Counted(io.FileIO):
    """A file that records the most that was read of it at a time."""

    most = 0

    def read(self, size=-1):
        data = super().read(size)
        Counted.most = max(Counted.most, len(data))
        return data


def test_a_large_row_group_is_never_read_at_once(tmp_path, monkeypatch):
    """Otherwise memory would grow with the number of images in it."""
    random, count = np.random.default_rng(0), 32
    images = [{"bytes": random.bytes(1 << 20), "path": None} for _ in range(count)]
    options = {"row_group_size": count, "write_batch_size": 1, "use_dictionary": False, "compression": None}
    pq.write_table(pa.table({"img": images}), tmp_path / "x.parquet", **options)
    monkeypatch.setattr(parquet, "open", lambda path, mode: Counted(path), raising=False)
    read = [batch[0].as_py() for batch in parquet._batches(str(tmp_path / "x.parquet"), 0, "img", 1)]
    assert read == [image["bytes"] for image in images]
    assert 0 < Counted.most <= parquet.BUFFER_BYTES


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_image_files_as_plain_bytes(tmp_path, kind):
    """Other libraries than the Hub's write a column of files, without a struct around them."""
    images = make_images(count=9, classes=3)
    columns = {"image": pa.array(encode(images.pixels), kind), "label": pa.array(images.labels)}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet", row_group_size=4)
    read = load_images(tmp_path)
    assert np.array_equal(read.pixels, images.pixels)
    assert read.labels.tolist() == images.labels.tolist()
    two = pa.table(columns | {"mask": columns["image"]})
    pq.write_table(two, tmp_path / "train.parquet")
    with pytest.raises(SourceError, match=r"several \(image, mask\).*--image-column"):
        load_images(tmp_path)
    assert np.array_equal(load_images(tmp_path, choices=Choices(image_column="mask")).pixels, images.pixels)
