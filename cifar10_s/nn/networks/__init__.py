"""Networks for small images, one family per module: input (B, C, H, W) float; those of the registry return logits."""

__all__ = ["disentangling_vae", "registry"]
