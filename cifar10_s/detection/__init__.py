"""Detect shortcuts in any labelled images, and take out the pixels that carry them."""

__all__ = ["findings", "pixel_audit", "rules", "significance"]
