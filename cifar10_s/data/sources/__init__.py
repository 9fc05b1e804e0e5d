"""Sources of clean images, one format per module; `registry.SOURCES` is the table."""

__all__ = ["choices", "parquet", "registry", "release_folder", "splits"]
