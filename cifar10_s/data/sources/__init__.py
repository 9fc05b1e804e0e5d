"""Sources of clean images, one format per module; `registry.SOURCES` is the table."""

__all__ = ["choices", "parquet", "place", "registry", "release_folder", "splits"]
