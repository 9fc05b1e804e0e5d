"""Networks for small images, one family per module: input (B, C, H, W) float, output (B, K) logits."""

__all__ = ["registry"]
