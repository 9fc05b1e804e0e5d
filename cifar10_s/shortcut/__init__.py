"""The One-Pixel Shortcut: moments of the images, objectives, search and stamp, and what survives augmentation."""

__all__ = ["augmentation", "layout", "objectives", "pixel_search", "shortcut", "slots", "spread", "survival"]
