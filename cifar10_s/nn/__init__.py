"""Neural networks, and how they are run, trained and attacked."""

__all__ = ["contrastive_view", "crop_flip", "networks", "pgd", "runtime", "trainer", "weight_noise"]
