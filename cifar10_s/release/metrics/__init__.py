"""Metrics of perturbations: how visible they are, and how well they alone predict the class."""

__all__ = ["perceptibility", "separability", "survey"]
