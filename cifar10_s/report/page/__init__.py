"""A release, and the results measured on it, as one HTML page that works offline."""

__all__ = ["page", "site"]
