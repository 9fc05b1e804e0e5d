"""Training strategies: augmentations, defences, adversaries; `registry.STRATEGIES` is the table."""

__all__ = ["base", "dilution", "last_layer", "registry"]
