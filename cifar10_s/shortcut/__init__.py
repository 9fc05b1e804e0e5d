"""The One-Pixel Shortcut: moments of the images, objectives, search and stamp, and what survives augmentation."""

__all__ = ["augmentation", "objectives", "pixel_search", "shortcut", "spread", "survival"]
