"""What is recognised and not read is a line that says what to do instead."""

import pytest
from PIL import Image
from support.images import make_images

from cifar10_s.data.sources.splits import load_images
from cifar10_s.errors import SourceError

NAMES = {
    "train.tfrecord": "Parquet",
    "train.tfrecord-00000-of-00001": "Parquet",
    "data.mdb": "Parquet",
    "images.h5": "NAME.pixels.npy",
    "images.7z": "unpack it",
    "images.rar": "unpack it",
    "images.tar.xz": "unpack it",
    "train.beton": "written from",
    "instances_train2017.json": "metadata.csv",
    "fer2013.csv": "metadata.csv.*NAME.pixels.npy",
    "images.pkl": "NAME.pixels.npy",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_folder", [True, False])
def test_a_form_that_is_not_read_says_what_to_do(tmp_path, name, in_folder):
    path = tmp_path / name
    path.write_bytes(b"x")
    (tmp_path / "cat").mkdir()
    Image.fromarray(make_images().pixels[0]).save(tmp_path / "cat" / "0.png")
    with pytest.raises(SourceError, match=f"{name}: is a.*, which is not read: .*{NAMES[name]}"):
        load_images(tmp_path if in_folder else path)


@pytest.mark.parametrize("name", ["0000.parquet", "data-00000-of-00001.arrow", "train-images-idx3-ubyte.gz"])
def test_a_part_of_a_dataset_says_to_give_the_folder(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match="give the folder that it is in"):
        load_images(tmp_path / name)


def test_pascal_voc_says_what_to_do(tmp_path):
    for folder in ("Annotations", "JPEGImages", "ImageSets"):
        (tmp_path / "VOC2012" / folder).mkdir(parents=True)
    for source in (tmp_path, tmp_path / "VOC2012"):
        with pytest.raises(SourceError, match=r"Pascal VOC.*metadata\.csv"):
            load_images(source)
