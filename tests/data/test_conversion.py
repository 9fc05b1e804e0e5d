"""Decoding: the pixels that `datasets` and Pillow give, and one size and mode for all images."""

import io
import pickle
import struct
import zlib
from dataclasses import replace

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.images import make_images
from support.sources import write_pictures
from support.streams import InTurn

import cifar10_s
from cifar10_s.data.codec import encode
from cifar10_s.data.conversion import Conversion
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.errors import SourceError, UsageError


def picture(height=12, width=16, mode="RGB", seed=0):
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (4, 4, 4 if "A" in mode else 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(*files, **conversion):
    labels = np.zeros(len(files), np.int64)
    return stream_files(files, labels, ("x",), Provenance(), conversion=Conversion(**conversion)).load().pixels


def as_datasets_reads(data):
    return np.asarray(datasets.Image().decode_example({"bytes": data, "path": None}))


def oriented(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    return encoded(picture(), kind, exif=exif, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_their_orientation_says(kind, orientation):
    data = oriented(kind, orientation)
    expected = as_datasets_reads(data)
    assert expected.shape[:2] == ((16, 12) if orientation in (5, 6, 7, 8) else (12, 16))
    assert np.array_equal(decode(data)[0], expected)
    # A turned image among others that are stored upright.
    assert np.array_equal(decode(encoded(Image.fromarray(expected)), data)[1], expected)


def test_an_orientation_in_xmp_counts_too():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(picture(), "JPEG", xmp=xmp)
    assert np.array_equal(decode(data)[0], as_datasets_reads(data))
    assert decode(data).shape[1:3] == (16, 12)


def test_exif_without_an_orientation_changes_nothing():
    exif = Image.Exif()
    exif[271] = "a camera"
    data = encoded(picture(), "JPEG", exif=exif)
    assert np.array_equal(decode(data)[0], as_datasets_reads(data))


def test_a_large_png_of_pixels_alone_is_decoded_once(monkeypatch):
    large = encoded(picture(96, 128))
    blocks = encode(np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8))[0]
    assert blocks.count(b"IDAT") > 1
    # Pillow decodes a PNG to see whether it has an orientation.
    monkeypatch.setattr("cifar10_s.data.codec.orientation", lambda image: pytest.fail("looked for an orientation"))
    for data in (large, blocks):
        assert np.array_equal(decode(data)[0], as_datasets_reads(data))


def test_an_orientation_after_the_pixels_of_a_large_png_counts():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    data = encode(pixels)[0]
    exif = Image.Exif()
    exif[274] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\x00\x00")
    turned = data[:-12] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[-12:]
    assert decode(turned).shape[1:3] == (128, 96)
    assert np.array_equal(decode(turned)[0], as_datasets_reads(turned))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read(kind):
    frames = [picture(seed=seed) for seed in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.array_equal(decode(data)[0], np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def white_below(image):
    """Composite on white by the formula, in floating point."""
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + 255 * (1 - alpha)


def with_transparent_palette():
    image = picture().quantize(8)
    image.info["transparency"] = 3
    return encoded(image, transparency=3)


TRANSPARENT = {
    "RGBA": encoded(picture(mode="RGBA")),
    "LA": encoded(picture(mode="RGBA").convert("LA")),
    "palette": with_transparent_palette(),
    "WebP": encoded(picture(mode="RGBA"), "WEBP", lossless=True),
    "GIF": encoded(picture().quantize(8), "GIF", transparency=3),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparency_needs_a_mode_and_becomes_white(name):
    data = TRANSPARENT[name]
    with pytest.raises(SourceError, match=r"with transparency \(mode .*\(1 of 2 images differ\); .*--mode RGB"):
        decode(encoded(picture()), data)
    with pytest.raises(SourceError, match=r"\(2 of 2 images differ\); .*--mode RGB"):
        decode(data, data)
    read = decode(encoded(picture()), data, mode="RGB")
    expected = white_below(Image.open(io.BytesIO(data)))
    assert np.abs(read[1] - expected).max() <= 1
    assert np.array_equal(read[0], np.asarray(picture()))
    grey = decode(data, mode="L")
    assert grey.shape == (1, 12, 16, 1)
    assert np.array_equal(grey[0, ..., 0], np.asarray(Image.fromarray(read[1]).convert("L")))


def sixteen_bits(shape):
    return np.random.default_rng(0).integers(0, 1 << 16, shape, dtype=np.uint16)


def test_of_sixteen_bits_the_upper_eight_are_taken():
    import imagecodecs

    levels = sixteen_bits((12, 16))
    grey, colour = encoded(Image.fromarray(levels)), bytes(imagecodecs.png_encode(sixteen_bits((12, 16, 3))))
    tiff = encoded(Image.fromarray(levels), "TIFF")
    for data in (grey, tiff):
        assert np.array_equal(decode(data, mode="L")[0, ..., 0], levels >> 8)
        assert np.array_equal(decode(data, mode="RGB")[0], np.repeat(levels[..., None] >> 8, 3, axis=-1))
        with pytest.raises(SourceError, match="--mode"):
            decode(data)
    assert np.array_equal(decode(colour, mode="RGB")[0], sixteen_bits((12, 16, 3)) >> 8)
    with pytest.raises(SourceError, match=r"16 bits per channel.*--mode"):
        decode(colour)


def test_floating_point_is_refused():
    data = encoded(Image.fromarray(np.ones((12, 16), np.float32)), "TIFF")
    for asked in ({}, {"mode": "L"}, {"resize": 8}):
        with pytest.raises(SourceError) as caught:
            decode(data, **asked)
        assert str(caught.value) == (
            "image 0: its levels are floating point, expected whole numbers; save it with 8 bits"
        )


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_one_mode_for_all(mode):
    images = [picture(), picture(mode="L"), picture(mode="CMYK"), picture().quantize(8), picture(mode="1")]
    kinds = ["PNG", "JPEG", "JPEG", "GIF", "TIFF"]
    files = [encoded(image, kind) for image, kind in zip(images, kinds, strict=True)]
    for read, data in zip(decode(*files, mode=mode), files, strict=True):
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").convert(mode))
        assert np.array_equal(read.squeeze(), expected)


def evaluated(data, side, mode="RGB"):
    """Scale and crop as torchvision's Resize and CenterCrop do with an image of Pillow."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode)
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - side) / 2.0), round((size[1] - side) / 2.0)
    return np.asarray(image.crop((left, top, left + side, top + side)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.sampled_from(["PNG", "JPEG"]))
def test_the_usual_transform_for_evaluation(height, width, side, kind):
    data = encoded(picture(height, width), kind)
    assert np.array_equal(decode(data, resize=side)[0], evaluated(data, side))
    assert np.array_equal(decode(data, resize=side, mode="L")[0, ..., 0], evaluated(data, side, "L"))


def test_turned_then_scaled():
    data = oriented("JPEG", 6)
    assert np.array_equal(decode(data, resize=8)[0], evaluated(data, 8))


def test_sizes_that_differ_are_counted_and_the_option_is_named():
    files = [encoded(picture(seed=seed)) for seed in range(5)]
    files[2], files[4] = encoded(picture(20, 24)), encoded(picture(20, 24, "L"))
    with pytest.raises(SourceError) as caught:
        decode(*files)
    assert str(caught.value) == (
        "image 2: expected 12×16 RGB like the images before it, got 20×24 RGB (2 of 5 images differ); "
        "take them with --resize 12"
    )
    with pytest.raises(SourceError, match=r"image 4: .*\(1 of 5 images differ\); take them with --mode RGB"):
        decode(*files, resize=8)
    with pytest.raises(SourceError, match=r"image 2: .*\(2 of 5 images differ\); take them with --resize 12"):
        decode(*files, mode="RGB")
    assert decode(*files, resize=8, mode="RGB").shape == (5, 8, 8, 3)


def test_a_mode_that_has_to_be_converted_is_not_compared_with_images_before():
    files = [encoded(picture(mode="CMYK"), "JPEG"), encoded(picture())]
    with pytest.raises(SourceError) as caught:
        decode(*files)
    assert str(caught.value) == (
        "image 0: expected 12×16 RGB, got 12×16 of mode CMYK (1 of 2 images differ); take them with --mode RGB"
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_without_a_file_are_converted_alike(channels):
    pixels = make_images(height=9, width=14, channels=channels, count=5).pixels
    conversion = Conversion(resize=6, mode="RGB")
    assert np.array_equal(conversion.apply_to_pixels(pixels), decode(*encode(pixels), resize=6, mode="RGB"))
    assert Conversion(resize=6).apply_to_pixels(pixels).shape == (5, 6, 6, channels)


def test_what_no_conversion_is():
    for wrong in ({"resize": 0}, {"resize": 1 << 20}, {"mode": "CMYK"}):
        with pytest.raises(UsageError, match="expected"):
            Conversion(**wrong)


def test_a_long_strip_is_not_scaled_without_end():
    with pytest.raises(SourceError, match="too long"):
        decode(encoded(Image.new("L", (1 << 20, 1))), resize=4096)


class Elsewhere(InTurn):
    """A mapper that sends work and results as a cluster does: pickled."""

    def __call__(self, function, items):
        for item in items:
            try:
                result = function(pickle.loads(pickle.dumps(item)))
            except SourceError as error:
                raise pickle.loads(pickle.dumps(error)) from None
            yield pickle.loads(pickle.dumps(result))


@pytest.mark.parametrize("choices", [{}, {"classes": ("class 0", "class 2"), "limit": 9}])
def test_on_other_machines_bits_and_lines_are_the_same(tmp_path, choices):
    folder = write_pictures(tmp_path / "pets", make_images(height=9, width=14))
    small = cifar10_s.open_images(folder, choices=cifar10_s.Choices(resize=7, **choices))
    assert np.array_equal(replace(small, mapper=Elsewhere()).load().pixels, small.load().pixels)
    picture(20, 24).save(folder / "class 0" / "0000.png")
    plain, lines = cifar10_s.open_images(folder, choices=cifar10_s.Choices(**choices)), []
    for mapper in (None, Elsewhere()):
        with pytest.raises(SourceError) as caught:
            replace(plain, mapper=mapper).load()
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    assert f"({len(plain) - 1} of {len(plain)} images differ)" in lines[0]


@pytest.mark.parametrize("block", [1, 3])
def test_a_stream_converts_to_the_same_bits(tmp_path, block):
    folder = write_pictures(tmp_path / "pets", make_images(height=9, width=14))
    images = cifar10_s.open_images(folder, choices=cifar10_s.Choices(resize=7, mode="L"))
    rows = np.arange(0, len(images), block)
    assert np.array_equal(images.read(rows), images.load().pixels[rows])
    assert images.shape == (40, 7, 7, 1)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pixels_that_are_too_long_get_a_line(channels):
    with pytest.raises(SourceError, match="1×40 is too long to be scaled to a shorter side of 4096"):
        Conversion(resize=4096).apply_to_pixels(np.zeros((1, 1, 40, channels), np.uint8))
