"""The moments of all classes at once."""

from dataclasses import replace

from cifar10_s.shortcut.accumulate import moments_by_class
from support.options import on_cpu


def compute_moments(images, options=None):
    """Sum up afresh: a copy of the images keeps no moments, which would be compared with themselves."""
    (moments,) = moments_by_class(replace(images), options or on_cpu())
    return moments
