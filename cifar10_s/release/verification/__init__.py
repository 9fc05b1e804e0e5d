"""Verify releases; nothing here imports from `builder`, which writes them."""

__all__ = ["failures", "verifier"]
