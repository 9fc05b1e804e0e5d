"""What identifies CIFAR-10: its classes and checksums, and the comparison with them."""

import numpy as np

from cifar10_s.data.images import Images, PixelDigest, values_sha256

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# MD5 of the files in cifar-10-python.tar.gz (170,498,071 bytes, MD5 c58f30108f718f92721af3b95e74349a).
BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
SPLIT_BATCHES = {"train": tuple(BATCH_MD5)[:5], "test": ("test_batch",)}

# In the Hub's order: the pixel digest (`PixelDigest`) of the first 1,000 images of every 10,000, computed from the
# originals, and the SHA-256 of all labels as little-endian int64.
DIGEST_EVERY, DIGEST_FIRST = 10_000, 1_000
PIXEL_DIGESTS = {
    "train": "b17b911ad7ef7e27e8230e0fd4307f3c888933d67cf2a5e3f1620017137afc56",
    "test": "060410b2a521faf4a28590ccfdd74f8288a471416a24567f2877ed7ddc69d239",
}
LABELS_SHA256 = {
    "train": "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
    "test": "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
}


def compare_with_cifar10(images: Images, split: str) -> str | None:
    """Compare a whole split with CIFAR-10's checksums; return None if equal, otherwise what was expected and found."""
    if images.class_names != CLASS_NAMES:
        return f"expected the classes {', '.join(CLASS_NAMES)}, got {', '.join(images.class_names)}"
    labels = values_sha256(images.labels)
    if labels != LABELS_SHA256[split]:
        return f"expected labels of SHA-256 {LABELS_SHA256[split]}, got {labels}"
    sample = images.take(np.flatnonzero(np.arange(len(images)) % DIGEST_EVERY < DIGEST_FIRST))
    digest = PixelDigest(sample.shape, sample.labels)
    digest.update(sample.pixels)
    if digest.hexdigest() != PIXEL_DIGESTS[split]:
        return (
            f"expected pixel digest {PIXEL_DIGESTS[split]} of the first {DIGEST_FIRST} of every {DIGEST_EVERY} "
            f"images, got {digest.hexdigest()}"
        )
    return None
