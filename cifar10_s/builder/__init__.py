"""Build a release folder from images and recipes."""

__all__ = ["dataset_builder", "from_recipe", "parquet_folder", "pipeline", "renewal"]
