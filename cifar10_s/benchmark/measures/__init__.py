"""What can be measured of a trained network besides its accuracy; `registry.MEASURES` is the table."""

__all__ = ["base", "registry"]
