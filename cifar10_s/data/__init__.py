"""Labelled images in memory, streamed or on a cluster; image files to pixels and back; the sources of images."""

__all__ = [
    "array_files", "cifar10", "cluster", "codec", "conversion", "images", "pictures", "provenance", "sources",
    "stream", "thumbnails", "torch_dataset", "unpickling", "whole_numbers",
]  # fmt: skip
