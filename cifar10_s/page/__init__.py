"""The page: a release, and what was measured on it, as one HTML file that needs no network."""

from cifar10_s.page.page import render, write

__all__ = ["render", "write"]
